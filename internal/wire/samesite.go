package wire

import (
	"net/netip"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// A Crossing says whether a request was led from one site to another, which decides
// whether cookies with SameSite are sent with it (RFC 6265bis, section 5.2).
type Crossing uint8

// The crossings.
const (
	WithinSite      Crossing = iota // of a step's own requests, and of redirects within its site
	AcrossSites                     // by a redirect that is followed with GET or HEAD
	AcrossSitesPost                 // by a redirect with another method
)

// CrossingOf returns the crossing of a request to one origin that a request to another
// began.
func CrossingOf(from, to *Origin, method string) Crossing {
	switch {
	case from.TLS == to.TLS && siteOf(from.Host) == siteOf(to.Host):
		return WithinSite
	case method == "GET" || method == "HEAD":
		return AcrossSites
	}
	return AcrossSitesPost
}

// siteOf returns a host's registrable domain, or the host where it has none.
func siteOf(host string) string {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if _, err := netip.ParseAddr(host); err == nil {
		return host
	}
	if site, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
		return site
	}
	return host
}

// isPublicSuffix reports whether anybody may register names below a domain, so that no
// cookie may be for all of it.
func isPublicSuffix(domain string) bool {
	suffix, _ := publicsuffix.PublicSuffix(domain)
	return suffix == domain
}
