package wire

import (
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/load"
)

// streamTo opens a stream to a listener of the test, and returns it with the server's end.
func streamTo(t *testing.T, l net.Listener) (*Stream, net.Conn) {
	t.Helper()
	addr := l.Addr().(*net.TCPAddr)
	tr := &Transport{Dialer: NewDialer(DialerOptions{}), Counts: &load.Connections{}, Zero: time.Now()}
	s := NewStream(tr, Origin{Host: "127.0.0.1", Port: uint16(addr.Port)}, 1)
	if err := s.Open(int64(30*time.Second), &load.Result{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Shut(load.ClosedEnd) })
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return s, c
}

func soon(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for begin := time.Now(); !holds(); time.Sleep(time.Millisecond) {
		if time.Since(begin) > 30*time.Second {
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}

func newTestPoller(t *testing.T) *Poller {
	t.Helper()
	p, err := NewPoller()
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestAPollerTellsWhatCameOnManyStreams(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := newTestPoller(t)
	const n = 300
	var came [n]atomic.Int64
	var ends [n]net.Conn
	var watches [n]Watch
	var streams [n]*Stream
	for i := range n {
		streams[i], ends[i] = streamTo(t, l)
		watches[i].Ready = func() {
			if ok, err := streams[i].Poll(); err == nil && ok {
				n := len(streams[i].Unread())
				streams[i].Take(n)
				streams[i].Rest()
				came[i].Add(int64(n))
			}
		}
		if err := p.Watch(streams[i], &watches[i]); err != nil {
			t.Fatal(err)
		}
	}
	for _, size := range []int{1, 100, smallBuffer + 1} { // what is more than a buffer is told of again
		for i := range n {
			before := came[i].Load()
			if _, err := ends[i].Write(make([]byte, size)); err != nil {
				t.Fatal(err)
			}
			if i%50 == 0 {
				soon(t, "what was written", func() bool { return came[i].Load() == before+int64(size) })
			}
		}
	}
	for i := range n {
		soon(t, "all that was written", func() bool { return came[i].Load() == 101+smallBuffer+1 })
	}
	if streams[0].in.buf != nil {
		t.Error("a stream that rests holds a buffer")
	}
	now := time.Now()
	p.SetDue(&watches[0], now.Add(20*time.Millisecond))
	p.Unwatch(&watches[0])
	if _, err := ends[0].Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if _, err := ends[1].Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	soon(t, "what came on the other", func() bool { return came[1].Load() == 102+smallBuffer+1 })
	over := make(chan struct{})
	later := Watch{Ready: func() { close(over) }} // after what was due on the first
	p.SetDue(&later, now.Add(40*time.Millisecond))
	<-over
	if got := came[0].Load(); got != 101+smallBuffer+1 {
		t.Errorf("%d bytes came on a stream that is not watched any more", got)
	}
	for i := range n {
		if i > 0 {
			p.Unwatch(&watches[i])
		}
	}
}

func TestWatchesAreDueInTheirOrder(t *testing.T) {
	p := newTestPoller(t)
	order := make(chan int, 16)
	var watches [8]Watch
	now := time.Now()
	for i := range watches {
		watches[i].Ready = func() { order <- i }
		p.SetDue(&watches[i], now.Add(time.Duration(1+(i*5)%8)*20*time.Millisecond)) // in the order 0 5 2 7 4 1 6 3
	}
	p.SetDue(&watches[4], time.Time{})                   // is not due any more
	p.SetDue(&watches[7], now.Add(time.Duration(1e7)))   // is due first
	p.SetDue(&watches[0], now.Add(200*time.Millisecond)) // is due last
	for _, want := range []int{7, 5, 2, 1, 6, 3, 0} {
		select {
		case got := <-order:
			if got != want {
				t.Fatalf("watch %d is due, want %d", got, want)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("watch %d is not due", want)
		}
	}
	if len(order) != 0 {
		t.Errorf("watch %d is due once more", <-order)
	}
}
