package wire

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perfd/perfd/internal/load"
)

var (
	one   = netip.MustParseAddr("127.0.0.1")
	two   = netip.MustParseAddr("127.0.0.2")
	three = netip.MustParseAddr("127.0.0.3")
)

// A zone is DNS as a test wants it.
type zone struct {
	addrs []netip.Addr
	err   error
	takes time.Duration
	asked atomic.Int64
}

func (z *zone) lookup(ctx context.Context, _ string) ([]netip.Addr, error) {
	z.asked.Add(1)
	select {
	case <-time.After(z.takes):
		return z.addrs, z.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (z *zone) dialer() *Dialer { return NewDialer(DialerOptions{Lookup: z.lookup}) }

func TestNamesAreRememberedAndRefreshed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{addrs: []netip.Addr{one}}
		d := z.dialer()
		resolve := func(want netip.Addr, asked int64) {
			t.Helper()
			got, err := d.Resolve(t.Context(), "localhost", 80, defaultRefresh)
			if err != nil || !slices.Equal(got, []netip.Addr{want}) || z.asked.Load() != asked {
				t.Errorf("Resolve = %v, %v after %d look-ups, want %v after %d", got, err, z.asked.Load(), want, asked)
			}
		}
		resolve(one, 1)
		z.addrs = []netip.Addr{two}
		time.Sleep(29 * time.Second)
		resolve(one, 1)
		if d.Moved("localhost", 80, one, defaultRefresh) {
			t.Error("Moved = true before DNS was asked again, want false")
		}
		time.Sleep(time.Second)
		resolve(two, 2)
		if !d.Moved("localhost", 80, one, defaultRefresh) || d.Moved("localhost", 80, two, defaultRefresh) {
			t.Error("Moved does not follow DNS")
		}
		z.addrs, z.err = nil, errors.New("down")
		time.Sleep(31 * time.Second)
		resolve(two, 3) // the last answer is better than none
		resolve(two, 3)
	})
}

// TestAnAnswerMayMapAddresses has DNS answer as the system's resolver does: with
// IPv4 inside of IPv6. A connection's own address is plain, and has not moved.
func TestAnAnswerMayMapAddresses(t *testing.T) {
	mapped := func(a netip.Addr) netip.Addr { return netip.AddrFrom16(a.As16()) }
	for _, c := range []struct {
		answer []netip.Addr
		addr   netip.Addr
		moved  bool
	}{
		{[]netip.Addr{mapped(one)}, one, false},
		{[]netip.Addr{mapped(one), mapped(two)}, two, false},
		{[]netip.Addr{netip.IPv6Loopback(), mapped(one)}, netip.IPv6Loopback(), false},
		{[]netip.Addr{mapped(one)}, two, true},
	} {
		d := (&zone{addrs: c.answer}).dialer()
		if _, err := d.Resolve(t.Context(), "localhost", 80, defaultRefresh); err != nil {
			t.Fatal(err)
		}
		if got := d.Moved("localhost", 80, c.addr, defaultRefresh); got != c.moved {
			t.Errorf("DNS answers %v: %v has moved %v, want %v", c.answer, c.addr, got, c.moved)
		}
	}
}

func TestMovedNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{addrs: []netip.Addr{one}}
		d := z.dialer()
		if _, err := d.Resolve(t.Context(), "localhost", 80, defaultRefresh); err != nil {
			t.Fatal(err)
		}
		z.addrs, z.takes = []netip.Addr{two}, 3*time.Second
		time.Sleep(31 * time.Second)
		begin := time.Now()
		for range 10 {
			if d.Moved("localhost", 80, one, defaultRefresh) {
				t.Error("Moved = true while DNS is asked, want false")
			}
		}
		if took := time.Since(begin); took > 0 {
			t.Errorf("Moved took %v, want no time", took)
		}
		time.Sleep(4 * time.Second)
		if !d.Moved("localhost", 80, one, defaultRefresh) {
			t.Error("Moved = false after DNS has answered, want true")
		}
		if n := z.asked.Load(); n != 2 {
			t.Errorf("%d look-ups, want 2", n)
		}
		if d.Moved("127.0.0.1", 80, one, defaultRefresh) {
			t.Error("an address has moved")
		}
	})
}

func TestManyAskOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{addrs: []netip.Addr{one}, takes: time.Second}
		d := z.dialer()
		errs := make(chan error)
		for i := range 50 {
			go func() {
				// The first to ask gives up early; the others do not suffer from it.
				patience := 10 * time.Second
				if i == 0 {
					patience = time.Second / 2
				} else {
					time.Sleep(time.Millisecond)
				}
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				_, err := d.Resolve(ctx, "localhost", 80, defaultRefresh)
				errs <- err
			}()
		}
		timeouts := 0
		for range 50 {
			if err := <-errs; errors.Is(err, context.DeadlineExceeded) {
				timeouts++
			} else if err != nil {
				t.Error(err)
			}
		}
		if n := z.asked.Load(); timeouts != 1 || n != 2 {
			t.Errorf("%d gave up and %d look-ups, want 1 and 2", timeouts, n)
		}
	})
}

func TestNamesThatDoNotResolve(t *testing.T) {
	for _, c := range []struct {
		name string
		zone *zone
		host string
		want load.Cause
	}{
		{"no such host", &zone{err: &net.DNSError{IsNotFound: true}}, "localhost", load.DNS},
		{"resolver does not answer", &zone{err: &net.DNSError{IsTimeout: true}}, "localhost", load.DNS},
		{"no addresses", &zone{}, "localhost", load.DNS},
		{"name not allowed", &zone{addrs: []netip.Addr{one}}, "example.com", load.Overload},
		{"leads to an address that is not allowed", &zone{addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}, "localhost", load.Overload},
		{"leads to cloud metadata", &zone{addrs: []netip.Addr{netip.MustParseAddr("169.254.169.254")}}, "localhost", load.Overload},
	} {
		_, err := c.zone.dialer().Resolve(t.Context(), c.host, 80, defaultRefresh)
		if got := Classify(err); got != c.want {
			t.Errorf("%s: cause %v (%v), want %v", c.name, got, err, c.want)
		}
		if c.host == "example.com" && c.zone.asked.Load() > 0 {
			t.Errorf("%s: DNS was asked", c.name)
		}
	}
	z := &zone{addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1"), one}}
	if got, err := z.dialer().Resolve(t.Context(), "localhost", 80, defaultRefresh); err != nil || !slices.Equal(got, []netip.Addr{one}) {
		t.Errorf("Resolve = %v, %v, want only the address that is allowed", got, err)
	}
}
