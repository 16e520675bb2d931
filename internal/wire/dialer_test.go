package wire

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/load"
)

func TestInTurn(t *testing.T) {
	six := netip.MustParseAddr("::1")
	for turn, want := range [][]netip.Addr{{one, two, six}, {two, one, six}, {one, two, six}} {
		if got := inTurn([]netip.Addr{one, six, two}, turn); !slices.Equal(got, want) {
			t.Errorf("inTurn(…, %d) = %v, want %v", turn, got, want)
		}
	}
}

func TestConnectSpreadsOverAddresses(t *testing.T) {
	s := listen(t, func(c net.Conn) { readHead(c) })
	_, port, _ := net.SplitHostPort(s.l.Addr().String())
	// The other two addresses refuse connections, so that each connect tries on to the one that answers.
	d := (&zone{addrs: []netip.Addr{two, one, three}}).dialer()
	for range 6 {
		c, err := d.DialContext(t.Context(), "tcp", net.JoinHostPort("localhost", port))
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		c.Close() // twice is once
	}
	if n := d.Open(); n != 0 {
		t.Errorf("Open() = %d, want 0", n)
	}
}

func TestMaxConnections(t *testing.T) {
	s := listen(t, func(c net.Conn) { readHead(c) })
	d := NewDialer(DialerOptions{MaxConnections: 3})
	type dialled struct {
		c   net.Conn
		err error
	}
	results := make(chan dialled)
	for range 20 {
		go func() {
			c, err := d.DialContext(context.Background(), "tcp", s.l.Addr().String())
			results <- dialled{c, err}
		}()
	}
	var open []net.Conn
	for range 20 {
		switch r := <-results; {
		case r.err == nil:
			open = append(open, r.c)
		case !errors.Is(r.err, ErrTooManyConnections) || Classify(r.err) != load.Overload:
			t.Errorf("dial = %v, want %v", r.err, ErrTooManyConnections)
		}
	}
	if len(open) > 3 || d.Open() != len(open) {
		t.Errorf("%d connections, Open() = %d, want at most 3", len(open), d.Open())
	}
	for _, c := range open {
		c.Close()
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	for range 5 {
		if _, err := d.DialContext(t.Context(), "tcp", l.Addr().String()); Classify(err) != load.Refused {
			t.Errorf("dial of a closed port = %v, want it refused: a failure must give its place back", err)
		}
	}
}

func TestDialIsGuarded(t *testing.T) {
	d := NewDialer(DialerOptions{})
	for _, addr := range []string{"192.0.2.1:80", "169.254.169.254:80", "example.com:80"} {
		if c, err := d.DialContext(t.Context(), "tcp", addr); Classify(err) != load.Overload || c != nil {
			t.Errorf("DialContext(%q) = %v, %v, want it refused", addr, c, err)
		}
	}
	// Addresses that the caller brings are checked, too.
	if _, err := d.Connect(t.Context(), "localhost", []netip.Addr{netip.MustParseAddr("192.0.2.1")}, 80); Classify(err) != load.Overload {
		t.Errorf("Connect = %v, want it refused", err)
	}
	if _, err := d.connectUDP("localhost", []netip.Addr{netip.MustParseAddr("192.0.2.1")}, 80); Classify(err) != load.Overload {
		t.Errorf("connectUDP = %v, want it refused", err)
	}
	for _, addr := range []string{"127.0.0.1", "127.0.0.1:http:", "127.0.0.1:99999"} {
		if _, err := d.DialContext(t.Context(), "tcp", addr); err == nil {
			t.Errorf("DialContext(%q) succeeds", addr)
		}
	}
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	if _, err := d.DialContext(ctx, "tcp", "127.0.0.1:80"); Classify(err) != load.Timeout {
		t.Errorf("dial after the deadline = %v, want a timeout", err)
	}
}
