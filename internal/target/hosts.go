package target

import (
	"net/netip"
	"sync"
)

// mostHosts bounds the limiters of a Hosts, by address.
const mostHosts = 1000

// Hosts has a limiter for each host that is no target and that redirects lead to.
// A host is known by its addresses, so that its names share a limiter, as do all
// hosts whose addresses only a proxy knows. It is safe for concurrent use.
type Hosts struct {
	rate   float64
	shards int

	mu   sync.Mutex
	of   map[netip.Addr]*Limiter
	rest *Limiter // of the hosts beyond mostHosts, and without addresses
}

// NewHosts returns the limiters of one shard, each as NewLimiter makes it.
func NewHosts(rate float64, shards int) *Hosts {
	return &Hosts{rate: rate, shards: shards, of: map[netip.Addr]*Limiter{}, rest: NewLimiter(rate, shards)}
}

// Rate returns the rate of each limiter.
func (h *Hosts) Rate() float64 { return h.rate }

// Limiter returns the limiter of the host with these addresses.
func (h *Hosts) Limiter(addrs []netip.Addr) *Limiter {
	if len(addrs) == 0 {
		return h.rest
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var l *Limiter
	for _, a := range addrs {
		if l = h.of[a]; l != nil {
			break
		}
	}
	if l == nil {
		if len(h.of)+len(addrs) > mostHosts {
			return h.rest
		}
		l = NewLimiter(h.rate, h.shards)
	}
	for _, a := range addrs {
		if len(h.of) < mostHosts {
			h.of[a] = l
		}
	}
	return l
}
