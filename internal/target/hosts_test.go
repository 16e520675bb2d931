package target

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

func TestTakeWithin(t *testing.T) {
	const ms = time.Millisecond
	l := NewLimiter(10, 1)
	for i, c := range []struct {
		now, most, wait time.Duration
		ok              bool
	}{
		{0, 0, 0, true},
		{0, 99 * ms, 100 * ms, false}, // and takes none
		{0, 100 * ms, 100 * ms, true},
		{0, time.Hour, 200 * ms, true},
		{250 * ms, 49 * ms, 50 * ms, false},
		{250 * ms, 50 * ms, 50 * ms, true},
		{time.Hour, -1, 0, false}, // its time is over
		{time.Hour, 0, 0, true},
	} {
		if wait, ok := l.TakeWithin(c.now, c.most); wait != c.wait || ok != c.ok {
			t.Errorf("number %d: at %v within %v: %v, %v; want %v, %v", i, c.now, c.most, wait, ok, c.wait, c.ok)
		}
	}
	if wait, ok := NewLimiter(0, 1).TakeWithin(0, 0); wait != 0 || !ok {
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
