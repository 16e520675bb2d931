package wire

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/load"
)

func TestAdmit(t *testing.T) {
	local := []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	for _, c := range []struct {
		name  string
		host  string
		open  bool // the connection is open already
		wait  time.Duration
		ok    bool
		limit time.Duration // of the request
		cause load.Cause
		addrs []netip.Addr // that Take is told, nil where it is not asked
	}{
		{"a token that is due", "127.0.0.1", false, 0, true, time.Minute, load.None, local},
		{"one on an open connection", "localhost", true, 0, true, time.Minute, load.None, local},
		{"one to wait for", "127.0.0.1", true, 30 * time.Millisecond, true, time.Minute, load.None, local},
		{"none in time", "127.0.0.1", false, time.Hour, false, time.Minute, load.Overload, local},
		{"a token that is due too late", "127.0.0.1", false, time.Hour, true, 20 * time.Millisecond, load.Overload, local},
		{"a host that is not allowed", "192.0.2.1", false, 0, true, time.Minute, load.Overload, nil},
		{"a name that is not allowed", "example.com", false, 0, true, time.Minute, load.Overload, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := listen(t, answering(hello))
			o := srv.origin()
			o.Host = c.host
			s := newSubject(t, o)
			s.t.Dialer = NewDialer(DialerOptions{Lookup: func(context.Context, string) ([]netip.Addr, error) { return local, nil }})
			if c.open {
				if err := s.do(time.Minute); err != nil {
					t.Fatal(err)
				}
			}
			begin := s.now()
			s.r = load.Result{Sent: begin, Waited: 5}
			var told []netip.Addr
			err := s.Admit(o, netip.Addr{}, begin+int64(c.limit), &s.r, func(addrs []netip.Addr, _ bool) (time.Duration, bool) {
				told = addrs
				return c.wait, c.ok
			})
			if Classify(err) != c.cause || !slices.Equal(told, c.addrs) {
				t.Fatalf("error %v of cause %v, told %v; want %v, %v", err, Classify(err), told, c.cause, c.addrs)
			}
			took := s.now() - begin
			switch {
			case err != nil:
				if s.r.Done < s.r.Sent || took > int64(10*time.Second) {
					t.Errorf("sent %d, done %d, after %v", s.r.Sent, s.r.Done, time.Duration(took))
				}
			case s.r.Sent-begin != s.r.Waited-5 || s.r.Waited-5 < int64(c.wait) || s.r.Waited-5 > took:
				t.Errorf("sent %d ns later, waited %d ns more, of %d; want both the wait of %v", s.r.Sent-begin, s.r.Waited-5, took, c.wait)
			}
		})
	}
}

func TestAWaitForATokenIsInterrupted(t *testing.T) {
	srv := listen(t, func(net.Conn) {})
	s := newSubject(t, srv.origin())
	err := s.Admit(srv.origin(), netip.Addr{}, int64(time.Hour), &s.r, func([]netip.Addr, bool) (time.Duration, bool) {
		go s.Interrupt()
		return time.Minute, true
	})
	if !errors.Is(err, errInterrupted) {
		t.Errorf("error %v, want that of an interrupt", err)
	}
}

// Where a limit has no token to give, it is asked again after the wait, in turn.
func TestALimitIsAskedAgainInTurn(t *testing.T) {
	srv := listen(t, answering(hello))
	s := newSubject(t, srv.origin())
	begin := s.now()
	s.r = load.Result{Sent: begin}
	var turns []bool
	err := s.Admit(srv.origin(), netip.Addr{}, begin+int64(time.Minute), &s.r, func(_ []netip.Addr, turn bool) (time.Duration, bool) {
		turns = append(turns, turn)
		return 10 * time.Millisecond, len(turns) == 3
	})
	if err != nil || !slices.Equal(turns, []bool{false, true, true}) || s.r.Waited < int64(30*time.Millisecond) {
		t.Errorf("error %v, asked in turn %v, waited %v", err, turns, time.Duration(s.r.Waited))
	}
}

func TestRedirectsDoNotLeadNearer(t *testing.T) {
	for _, c := range []struct {
		from, to string
		why      string // empty where it is allowed
	}{
		{"192.0.2.1", "127.0.0.1", "loopback"},
		{"192.0.2.1", "127.9.9.9", "loopback"},
		{"192.0.2.1", "::1", "loopback"},
		{"2001:db8::1", "::ffff:127.0.0.1", "loopback"},
		{"192.0.2.1", "64:ff9b::7f00:1", "loopback"},
		{"10.0.0.1", "127.0.0.1", "loopback"},
		{"127.0.0.2", "127.0.0.1", "loopback"}, // stands for another host
		{"127.0.0.2", "127.0.0.3", "loopback"},
		{"127.0.0.2", "::1", "loopback"},
		{"192.0.2.1", "10.0.0.1", "a private network"},
		{"192.0.2.1", "172.16.0.1", "a private network"},
		{"192.0.2.1", "192.168.0.1", "a private network"},
		{"192.0.2.1", "100.64.0.1", "a private network"},
		{"2001:db8::1", "fd00::1", "a private network"},
		{"2001:db8::1", "::ffff:10.0.0.1", "a private network"},
		{"127.0.0.1", "10.0.0.1", "a private network"},
		{"192.0.2.1", "::127.0.0.1", "loopback"},
		{"192.0.2.1", "2002:7f00:1::", "loopback"},
		{"192.0.2.1", "64:ff9b:1:7f00:0:100::", "loopback"},
		{"192.0.2.1", "2002:a00:1::1", "a private network"},
		{"192.0.2.1", "64:ff9b::a00:1", "a private network"},
		{"192.0.2.1", "64:ff9b:1::c000:201", "a private network"},
		{"192.0.2.1", "fec0::1", "a private network"},
		{"192.0.2.1", "2001:db8::5efe:a00:1", "a private network"},
		{"64:ff9b::7f00:1", "127.0.0.1", "loopback"},
		{"2002:a00:1::1", "10.0.0.1", "a private network"}, // anybody can have such an address

		{"127.0.0.1", "127.0.0.1", ""},
		{"127.0.0.2", "127.0.0.2", ""},
		{"127.0.0.1", "127.0.0.2", ""},
		{"127.0.0.1", "::1", ""},
		{"::1", "127.0.0.1", ""},
		{"::ffff:127.0.0.1", "127.0.0.2", ""},
		{"127.0.0.1", "192.0.2.1", ""},
		{"10.0.0.1", "10.0.0.1", ""},
		{"10.0.0.1", "192.168.0.1", ""},
		{"100.64.0.1", "fd00::1", ""},
		{"10.0.0.1", "192.0.2.1", ""},
		{"192.0.2.1", "198.51.100.1", ""},
	} {
		err := CheckRedirect(netip.MustParseAddr(c.from), netip.MustParseAddr(c.to))
		if (err != nil) != (c.why != "") || err != nil && !strings.HasSuffix(err.Error(), "must not lead into "+c.why) {
			t.Errorf("%s to %s: %v, want %q", c.from, c.to, err, c.why)
		}
		if err != nil && Classify(err) != load.Overload {
			t.Errorf("%v has cause %v, want %v", err, Classify(err), load.Overload)
		}
	}
}

// TestARedirectIsHeldAgainstTheAddressThatIsDialled has names and open connections
// that the redirecting host must not lead to.
func TestARedirectIsHeldAgainstTheAddressThatIsDialled(t *testing.T) {
	far := netip.MustParseAddr("192.0.2.1")
	srv := listen(t, answering(hello))
	for _, c := range []struct {
		name    string
		host    string
		answer  []netip.Addr
		from    netip.Addr
		open    bool // by a request of the configuration
		allowed bool
	}{
		{"an address", "127.0.0.1", nil, far, false, false},
		{"a name", "shop.localhost", []netip.Addr{one}, far, false, false},
		{"a name of two", "shop.localhost", []netip.Addr{two, one}, two, false, false}, // nobody listens at the one that is allowed
		{"an open connection", "127.0.0.1", nil, far, true, false},
		{"a name that the host itself has", "shop.localhost", []netip.Addr{two, one}, one, false, true},
		{"an open connection of its own", "localhost", []netip.Addr{one}, one, true, true},
		{"an address of the configuration", "127.0.0.1", nil, netip.Addr{}, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := srv.origin()
			o.Host = c.host
			s := newSubject(t, o)
			s.t.Dialer = NewDialer(DialerOptions{Lookup: func(context.Context, string) ([]netip.Addr, error) { return c.answer, nil }})
			if c.open {
				if err := s.do(time.Minute); err != nil {
					t.Fatal(err)
				}
			}
			s.x.From = c.from
			for range 2 {
				err := s.do(time.Minute)
				if (err == nil) != c.allowed {
					t.Errorf("error %v, want it allowed %v", err, c.allowed)
				}
				admitted := s.Admit(o, c.from, s.now()+int64(time.Minute), &s.r, func([]netip.Addr, bool) (time.Duration, bool) { return 0, true })
				if _, refused := errors.AsType[*RefusedError](admitted); refused != (!c.allowed && c.name != "a name of two") {
					t.Errorf("a token: %v, want it refused %v", admitted, !c.allowed)
				}
			}
			s.x.From = netip.Addr{}
			if err := s.do(time.Minute); c.open && err != nil {
				t.Errorf("the open connection is of no use for the configuration any more: %v", err)
			}
		})
	}
}
