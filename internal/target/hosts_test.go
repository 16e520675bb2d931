package target

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

func TestALimiterOfOneUser(t *testing.T) {
	const ms = time.Millisecond
	l := NewLimiter(10, 1)
	for i, c := range []struct{ now, wait time.Duration }{
		{0, 0}, {0, 100 * ms}, {0, 200 * ms}, {250 * ms, 50 * ms}, {time.Hour, 0}, {time.Hour, 100 * ms},
	} {
		if wait := l.Take(c.now); wait != c.wait {
			t.Errorf("number %d: at %v a wait of %v, want %v", i, c.now, wait, c.wait)
		}
	}
	if wait := NewLimiter(0, 1).Take(0); wait != 0 {
		t.Error("a rate of 0 limits")
	}
}

// TestHostsAreToldApartByAddress has names share a limiter where they lead to one host.
func TestHostsAreToldApartByAddress(t *testing.T) {
	at := func(list ...string) (addrs []netip.Addr) {
		for _, a := range list {
			addrs = append(addrs, netip.MustParseAddr(a))
		}
		return addrs
	}
	h := NewHosts(10, 1)
	one := h.Limiter(at("10.0.0.1", "10.0.0.2"))
	for _, c := range []struct {
		addrs []netip.Addr
		same  bool
	}{
		{at("10.0.0.1"), true},
		{at("10.0.0.2"), true},
		{at("10.0.0.3", "10.0.0.2"), true},
		{at("10.0.0.3"), true}, // an address of the host since the line before
		{at("10.0.0.4"), false},
		{at("fd00::1"), false},
	} {
		if got := h.Limiter(c.addrs) == one; got != c.same {
			t.Errorf("%v: the limiter of the first host %v, want %v", c.addrs, got, c.same)
		}
	}
	if other := h.Limiter(at("10.0.0.4")); other.interval != one.interval || one.interval != NewLimiter(10, 1).interval {
		t.Error("hosts have limits other than the rate's")
	}
}

func TestHostsAreBounded(t *testing.T) {
	h := NewHosts(10, 1)
	first := h.Limiter([]netip.Addr{netip.MustParseAddr("10.1.0.0")})
	for i := range 3 * mostHosts {
		h.Limiter([]netip.Addr{netip.MustParseAddr(fmt.Sprintf("10.1.%d.%d", i/250, i%250))})
	}
	if len(h.of) > mostHosts {
		t.Errorf("%d limiters are kept, want at most %d", len(h.of), mostHosts)
	}
	rest := h.Limiter([]netip.Addr{netip.MustParseAddr("10.2.0.0")})
	if h.Limiter(nil) != rest {
		t.Error("hosts of which nobody knows an address have no limiter in common")
	}
	if rest != h.rest || rest == first || h.Limiter([]netip.Addr{netip.MustParseAddr("10.1.0.0")}) != first {
		t.Error("hosts beyond the bound share a limiter, and no other host has it")
	}
}
