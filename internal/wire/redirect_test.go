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
		{"the end of the request's time", "127.0.0.1", false, time.Hour, true, 20 * time.Millisecond, load.Timeout, local},
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
			err := s.Admit(o, begin+int64(c.limit), &s.r, func(addrs []netip.Addr) (time.Duration, bool) {
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
	err := s.Admit(srv.origin(), int64(time.Hour), &s.r, func([]netip.Addr) (time.Duration, bool) {
		go s.Interrupt()
		return time.Hour, true
	})
	if !errors.Is(err, errInterrupted) {
		t.Errorf("error %v, want that of an interrupt", err)
	}
}
