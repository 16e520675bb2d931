package output

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// mostHops is how many redirects of one request are followed.
const mostHops = 5

// CheckRedirect returns the http.Client.CheckRedirect of an output. Only redirects that
// repeat the request are followed: others would ask for a page instead. Outside of the
// scheme, host and port that the configuration names a request has only the header
// fields that say what its body is, as curl does it: any other may be a credential.
func CheckRedirect(plain ...string) func(*http.Request, []*http.Request) error {
	return func(req *http.Request, via []*http.Request) error {
		if code := req.Response.StatusCode; code != http.StatusTemporaryRedirect && code != http.StatusPermanentRedirect || len(via) > mostHops {
			return http.ErrUseLastResponse
		}
		req.Header.Del("Referer") // the address before may hold a secret
		if SameOrigin(req.URL, via[0].URL) {
			return nil
		}
		for name := range req.Header {
			if !slices.ContainsFunc(plain, func(p string) bool { return strings.EqualFold(p, name) }) {
				req.Header.Del(name)
			}
		}
		return nil
	}
}

// SameOrigin reports whether two addresses have one scheme, host and port.
func SameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(authority(a), authority(b))
}

// authority returns the host and port of an address.
func authority(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// AtHome is a RoundTripper that sends requests to the origin of an address one way, the
// one with credentials, and all others another.
type AtHome struct {
	Home      *url.URL
	With      http.RoundTripper
	Elsewhere http.RoundTripper
}

// RoundTrip sends a request.
func (a *AtHome) RoundTrip(req *http.Request) (*http.Response, error) {
	if SameOrigin(req.URL, a.Home) {
		return a.With.RoundTrip(req)
	}
	return a.Elsewhere.RoundTrip(req)
}

// CloseIdleConnections closes those of both ways.
func (a *AtHome) CloseIdleConnections() {
	for _, by := range []http.RoundTripper{a.With, a.Elsewhere} {
		if c, ok := by.(interface{ CloseIdleConnections() }); ok {
			c.CloseIdleConnections()
		}
	}
}
