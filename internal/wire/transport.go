package wire

import (
	"crypto/tls"
	"sync"
	"time"

	"github.com/perfd/perfd/internal/load"
)

// An Origin is where requests go.
type Origin struct {
	TLS  bool
	Host string // name or literal address, without brackets
	Port uint16
}

// Scheme is http or https.
func (o *Origin) Scheme() string {
	if o.TLS {
		return "https"
	}
	return "http"
}

// A Transport is what the agents of one run and target share. Its exported
// fields are not changed once an agent uses it.
type Transport struct {
	Dialer *Dialer
	TLS    *tls.Config // of https origins; its ServerName is used where set
	// MaxAge is how old a connection may grow before it is replaced (default 5m); agents spread it by a tenth.
	MaxAge time.Duration
	// DNSRefresh is how often a connection's address is compared with DNS (default 30s).
	DNSRefresh time.Duration
	Counts     *load.Connections
	Zero       time.Time // of all times that are ns

	mu      sync.Mutex
	configs map[string]*tls.Config // by host
}

func (t *Transport) maxAge() time.Duration {
	if t.MaxAge <= 0 {
		return 5 * time.Minute
	}
	return t.MaxAge
}

func (t *Transport) dnsRefresh() time.Duration {
	if t.DNSRefresh <= 0 {
		return 30 * time.Second
	}
	return t.DNSRefresh
}

// tlsConfig returns the configuration for a host.
func (t *Transport) tlsConfig(host string) *tls.Config {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c, ok := t.configs[host]; ok {
		return c
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.TLS != nil {
		c = t.TLS.Clone()
	}
	if c.ServerName == "" {
		c.ServerName = host
	}
	c.NextProtos = []string{"http/1.1"}
	if t.configs == nil {
		t.configs = map[string]*tls.Config{}
	}
	t.configs[host] = c
	return c
}
