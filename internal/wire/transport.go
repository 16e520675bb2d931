package wire

import (
	"crypto/tls"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/perfd/perfd/internal/load"
)

// An Origin is the server that requests are sent to.
type Origin struct {
	TLS  bool
	Host string // name or literal address, without brackets
	Port uint16
	// Foreign says that a redirect led to the host and not the configuration. It has connections of its own, which
	// show no client certificate.
	Foreign bool
}

// ParseOrigin reads an address of the form host:port, brackets around the host of
// an IPv6 address.
func ParseOrigin(addr string) (Origin, error) {
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		return Origin{}, err
	}
	port, err := strconv.ParseUint(p, 10, 16)
	if err != nil || port == 0 {
		return Origin{}, &net.AddrError{Err: "invalid port", Addr: addr}
	}
	return Origin{Host: strings.ToLower(host), Port: uint16(port)}, nil
}

// Scheme returns http or https.
func (o *Origin) Scheme() string {
	if o.TLS {
		return "https"
	}
	return "http"
}

// A Version says what version of HTTP an agent speaks.
type Version uint8

// The versions.
const (
	HTTP1    Version = iota // HTTP/1.1
	HTTP2                   // HTTP/2: the only one that TLS offers, and spoken unasked without TLS; hosts that only redirects lead to have HTTPAuto
	HTTPAuto                // what the server chooses of both when TLS begins; HTTP/1.1 without TLS
)

// A Transport holds what the connections of one run and target share. Its exported
// fields must not be changed once a connection uses it.
type Transport struct {
	Dialer *Dialer
	TLS    *TLS // of origins with TLS; its ServerName is used where set
	// Version says what version of HTTP agents speak.
	Version Version
	// NextProtos are the application protocols that TLS handshakes offer, the preferred first, where Version says nothing.
	NextProtos []string
	// MaxAge is the age at which a connection is replaced (default 5m), spread over VUs by a tenth.
	MaxAge time.Duration
	// MaxRequests is how many requests a connection takes before it is replaced; 0 is no bound.
	MaxRequests int
	// Pool is how many connections to each origin the agents share; 0 gives each agent its own.
	Pool int
	// DNSRefresh is how long an answer of DNS is used, and how often a connection's address is compared with it (default 30s).
	DNSRefresh time.Duration
	Counts     *load.Connections
	Zero       time.Time // the engine's zero, from which times in ns count
	// Again takes the token of a request that is sent once more (SEMANTICS section 8), as Take does of one to a
	// host and port. Nil limits nothing.
	Again     func(host string, port uint16, addrs []netip.Addr, turn bool) (wait time.Duration, ok bool)
	TLSFaults *TLSFaults // nil for none

	mu      sync.Mutex
	pools   map[Origin]*pool
	groups  map[Origin]*group
	spoken  map[Origin]bool // whether the last connection to an origin speaks HTTP/2
	of      *tls.Config     // what configs were made from
	configs map[hostKey]*tls.Config
}

func (t *Transport) maxAge() time.Duration {
	if t.MaxAge <= 0 {
		return 5 * time.Minute
	}
	return t.MaxAge
}

// SpreadAge is the age in ns at which a VU's connections are replaced: between
// nine tenths of MaxAge and all of it, so that those of many VUs are not replaced
// at once. A golden-ratio sequence puts neighbours as far apart as can be.
func (t *Transport) SpreadAge(vu int) int64 {
	spread := float64(uint32(vu)*2654435769) / (1 << 32)
	return int64(float64(t.maxAge()) * (0.9 + 0.1*spread))
}

func (t *Transport) dnsRefresh() time.Duration {
	if t.DNSRefresh <= 0 {
		return defaultRefresh
	}
	return t.DNSRefresh
}

// hostKey names what a TLS configuration is for.
type hostKey struct {
	host    string
	foreign bool
}

// tlsConfig returns the configuration for an origin at this moment.
func (t *Transport) tlsConfig(o *Origin) *tls.Config {
	host := hostKey{strings.Trim(o.Host, "[]"), o.Foreign}
	of := t.TLS.Current(t.TLSFaults)
	t.mu.Lock()
	defer t.mu.Unlock()
	if of != t.of {
		t.of = of
		clear(t.configs)
	}
	if c, ok := t.configs[host]; ok {
		return c
	}
	c := TLSFor(of, host.host, host.foreign)
	c.NextProtos = t.NextProtos
	switch {
	case t.Version == HTTP2 && !o.Foreign:
		c.NextProtos = []string{"h2"}
	case t.Version != HTTP1:
		c.NextProtos = []string{"h2", "http/1.1"}
	}
	if t.configs == nil {
		t.configs = map[hostKey]*tls.Config{}
	}
	t.configs[host] = c
	return c
}
