package wire

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perfd/perfd/internal/load"
)

// A visitors book holds where the connections of a server came from, and how many requests each brought.
type visitors struct {
	mu       sync.Mutex
	from     []netip.Addr
	requests []int
}

// receive serves each connection as answering does.
func (v *visitors) receive(c net.Conn) {
	v.mu.Lock()
	n := len(v.from)
	v.from = append(v.from, c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap())
	v.requests = append(v.requests, 0)
	v.mu.Unlock()
	for readHead(c) {
		v.mu.Lock()
		v.requests[n]++
		v.mu.Unlock()
		if _, err := c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")); err != nil {
			return
		}
	}
}

func (v *visitors) seen() (from []netip.Addr, requests []int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.from), slices.Clone(v.requests)
}

func TestConnectionsComeFromLocalAddressesInTurn(t *testing.T) {
	var v visitors
	s := newSubject(t, listen(t, v.receive).origin())
	list := []netip.Addr{two, netip.IPv6Loopback(), three}
	s.t.Dialer = NewDialer(DialerOptions{Local: list})
	for range 6 {
		s.Close()
		if err := s.do(time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	from, _ := v.seen()
	count := map[netip.Addr]int{}
	for _, a := range from {
		count[a]++
	}
	// The turn of the address of another family goes to the one after it.
	if len(from) != 6 || count[two] != 2 || count[three] != 4 {
		t.Errorf("connections came from %v, want 2 from %v and 4 from %v", from, two, three)
	}

	for _, c := range []struct {
		local netip.Addr
		want  string
	}{
		{netip.MustParseAddr("192.0.2.1"), "connections cannot come from 192.0.2.1, an entry of local_addresses: cannot assign requested address"},
		{netip.IPv6Loopback(), "127.0.0.1 cannot be reached: no entry of local_addresses is of its family"},
	} {
		s.Close()
		s.t.Dialer = NewDialer(DialerOptions{Local: []netip.Addr{c.local}})
		err := s.do(time.Minute)
		if Classify(err) != load.Overload || !strings.Contains(err.Error(), c.want) {
			t.Errorf("from %v: %v, want %q", c.local, err, c.want)
		}
		if n := s.t.Dialer.NoPorts(); n > 0 {
			t.Errorf("from %v: counted as %d connects without a port", c.local, n)
		}
	}
}

func TestAnAddressWithoutPortsIsPassedOver(t *testing.T) {
	s := listen(t, answering("x"))
	full := map[netip.Addr]bool{two: true}
	noPort := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EADDRNOTAVAIL)}
	d := NewDialer(DialerOptions{Local: []netip.Addr{two, three}, Connect: func(ctx context.Context, from netip.Addr, to netip.AddrPort) (*net.TCPConn, error) {
		if full[from] {
			return nil, noPort
		}
		return connectFrom(ctx, from, to)
	}})
	for range 4 {
		c, err := d.DialContext(t.Context(), "tcp", s.l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if from := c.LocalAddr().(*net.TCPAddr).AddrPort().Addr(); from != three {
			t.Errorf("a connection comes from %v, which has no port", from)
		}
		c.Close()
	}
	if n := d.NoPorts(); n != 0 {
		t.Errorf("NoPorts = %d while there were some", n)
	}
	full[three] = true
	if _, err := d.DialContext(t.Context(), "tcp", s.l.Addr().String()); !errors.Is(err, syscall.EADDRNOTAVAIL) || d.NoPorts() != 1 {
		t.Errorf("without ports: %v, counted %d times", err, d.NoPorts())
	}
}

func TestAConnectionTakesSoManyRequests(t *testing.T) {
	var v visitors
	s := newSubject(t, listen(t, v.receive).origin())
	s.t.MaxRequests = 3
	for range 8 {
		if err := s.do(time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if _, requests := v.seen(); !slices.Equal(requests, []int{3, 3, 2}) {
		t.Errorf("requests of each connection = %v, want 3, 3 and 2", requests)
	}
	if closed, opened := s.counts.Closed[load.ClosedRequests].Load(), s.counts.Opened.Load(); closed != 2 || opened != 3 {
		t.Errorf("%d connections closed and %d opened, want 2 and 3", closed, opened)
	}
}

func TestStaticAddressesAreNotAskedFor(t *testing.T) {
	var v visitors
	o := *listen(t, v.receive).origin()
	port := o.Port
	z := &zone{addrs: []netip.Addr{netip.MustParseAddr("127.0.0.9")}}
	d := NewDialer(DialerOptions{
		Guard:  Guard{Hosts: []string{"*.example.com"}},
		Static: map[HostPort][]netip.Addr{{"shop.example.com", port}: {one}, {"far.example.com", port}: {netip.MustParseAddr("10.0.0.1")}},
		Lookup: z.lookup,
	})
	o.Host = "shop.example.com"
	s := newSubject(t, &o)
	s.t.Dialer = d
	if err := s.do(time.Minute); err != nil {
		t.Fatal(err)
	}
	if from, _ := v.seen(); len(from) != 1 || z.asked.Load() != 0 {
		t.Errorf("%d connections and %d look-ups, want 1 and none", len(from), z.asked.Load())
	}
	if d.Moved(o.Host, port, one, 0) {
		t.Error("an address that the configuration names has moved")
	}
	if got := d.Known(o.Host, port); !slices.Equal(got, []netip.Addr{one}) {
		t.Errorf("Known = %v, want %v", got, one)
	}
	if got, err := d.Resolve(t.Context(), o.Host, port+1, time.Minute); err != nil || !slices.Equal(got, z.addrs) || z.asked.Load() != 1 {
		t.Errorf("another port: %v, %v, want the resolver's answer", got, err)
	}
	if _, err := d.Resolve(t.Context(), "far.example.com", port, time.Minute); Classify(err) != load.Overload {
		t.Errorf("an address outside of the list: %v, want it refused", err)
	}
}

func TestAnAnswerIsUsedForAsLongAsItsUserWants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{addrs: []netip.Addr{one}}
		d := z.dialer()
		resolve := func(refresh time.Duration, want netip.Addr) {
			t.Helper()
			if got, err := d.Resolve(t.Context(), "localhost", 80, refresh); err != nil || !slices.Equal(got, []netip.Addr{want}) {
				t.Errorf("Resolve = %v, %v, want %v", got, err, want)
			}
		}
		resolve(5*time.Second, one)
		z.addrs = []netip.Addr{two}
		time.Sleep(4 * time.Second)
		resolve(5*time.Second, one)
		time.Sleep(2 * time.Second)
		resolve(time.Minute, one)
		resolve(5*time.Second, two)
	})
}
