package wire

import (
	"bytes"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// newSubjectOfTwo returns an agent under test that speaks HTTP/2.
func newSubjectOfTwo(t testing.TB, o *Origin, pool int) *subject {
	s := newSubject(t, o)
	s.t.Version, s.t.Pool = HTTP2, pool
	s.Agent = NewAgent(s.t, 1)
	t.Cleanup(func() { s.Close(); s.t.Close() })
	return s
}

// frames serves a connection of HTTP/2: f is told of each request.
func frames(f func(fr *http2.Framer, id uint32)) func(net.Conn) {
	return func(c net.Conn) {
		if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		fr := http2.NewFramer(c, c)
		if fr.WriteSettings() != nil {
			return
		}
		for {
			switch got, err := fr.ReadFrame(); got := got.(type) {
			case nil:
				if err != nil {
					return
				}
			case *http2.HeadersFrame:
				f(fr, got.StreamID)
			}
		}
	}
}

func respondWith(fr *http2.Framer, id uint32) {
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: []byte{0x88}, EndHeaders: true, EndStream: true})
}

// A connection whose peer has reset it is found out by the write of the next request, which begins in the callback that waits for
// the answer.
func TestAWriteOnAConnectionThatWasReset(t *testing.T) {
	first := make(chan net.Conn, 1)
	n := 0
	var mu sync.Mutex
	s := newSubjectOfTwo(t, listen(t, func(c net.Conn) {
		mu.Lock()
		if n++; n == 1 {
			first <- c
		}
		mu.Unlock()
		frames(respondWith)(c)
	}).origin(), 0)
	if err := s.do(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	c := <-first
	_ = c.(*net.TCPConn).SetLinger(0)
	c.Close()
	m := s.party.own[0].list[0]
	gone := false
	for end := time.Now().Add(5 * time.Second); !gone && time.Now().Before(end); time.Sleep(time.Millisecond) {
		_ = m.raw.Control(func(fd uintptr) { gone = hungUp(fd) })
	}
	if !gone {
		t.Fatal("the reset did not come")
	}
	m.used = s.now() + int64(time.Hour) // so that the connection is not looked at before
	done := make(chan error, 1)
	go func() { done <- s.do(5 * time.Second) }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the exchange does not return")
	}
}

// Of two exchanges that wait, the one that was woken to lead ends before it does. The other is woken in its place.
func TestWhoIsToLeadMayEndBefore(t *testing.T) {
	m := &mux{g: &group{}, over: net.ErrClosed, leader: newStream()}
	a, b := newStream(), newStream()
	a.m, a.id, b.m, b.id, b.waits = m, 1, m, 3, true
	m.streams = []*stream{a, b}
	ended := make(chan bool, 1)
	go func() {
		m.mu.Lock()
		ended <- m.await(a)
	}()
	for waits := false; !waits; time.Sleep(time.Millisecond) {
		m.mu.Lock()
		waits = a.waits
		m.mu.Unlock()
	}
	m.mu.Lock()
	m.leader = nil
	m.handOver()
	m.woken = m.woken[:0]
	a.wake <- false // it is woken, and comes too late
	m.end(a, errInterrupted)
	m.unlock()
	if !<-ended {
		t.Error("the exchange that was to lead goes on")
	}
	select {
	case <-b.wake:
	case <-time.After(5 * time.Second):
		t.Error("nobody leads")
	}
}

// The deadline of a new exchange does not undo that the leader's read is to return, and is in force afterwards.
func TestAnInterruptedLeaderReturnsWhileOthersBegin(t *testing.T) {
	asked := make(chan struct{}, 64)
	s := newSubjectOfTwo(t, listen(t, frames(func(fr *http2.Framer, id uint32) {
		if id == 1 {
			respondWith(fr, id)
			return
		}
		asked <- struct{}{}
	})).origin(), 1)
	if err := s.do(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	leads := &subject{Agent: NewAgent(s.t, 2), origin: s.origin, x: Exchange{Out: s.x.Out, Idempotent: true}}
	done := make(chan error, 1)
	go func() { done <- leads.do(time.Minute) }()
	<-asked
	m := s.t.groups[*s.origin].list[0]
	for leader := (*stream)(nil); leader == nil; time.Sleep(time.Millisecond) {
		m.mu.Lock()
		leader = m.leader
		m.mu.Unlock()
	}
	m.mu.Lock()
	m.abort(leads.party.s, errInterrupted)
	m.rouse()
	err := m.armFor(s.now() + int64(time.Minute))
	armed := m.armed
	m.unlock()
	if err != nil || armed != 0 {
		t.Errorf("%v; another deadline is armed before the leader was roused", err)
	}
	if err := <-done; err == nil {
		t.Error("the exchange was answered")
	}
}

// RFC 7541 section 4.2: of the sizes that a table had since the last block, the smallest is said first.
func TestATableThatShrinksAndGrowsBetweenBlocks(t *testing.T) {
	e, d := newHeaderEncoder(), newHeaderDecoder()
	head := []byte("GET / HTTP/1.1\r\nHost: a\r\nX-Y: z\r\n\r\n")
	want, err := fieldsOf(&d, e.request(nil, head, false))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		sizes []uint32
		want  string
	}{
		{[]uint32{0, 4096}, "\x20\x3f\xe1\x1f"},
		{[]uint32{100, 50, 4096, 200}, "\x3f\x13\x3f\xa9\x01"},
		{[]uint32{4096}, "\x3f\xe1\x1f"},
		{[]uint32{70}, "\x3f\x27"},
	} {
		for _, n := range c.sizes {
			e.resize(n)
		}
		block := e.request(nil, head, false)
		if !bytes.HasPrefix(block, []byte(c.want)) || block[len(c.want)]&0x80 == 0 {
			t.Errorf("after %d a block begins with %x, want %x", c.sizes, block[:6], c.want)
		}
		if got, err := fieldsOf(&d, block); err != nil || !slices.Equal(got, want) || d.table.size != e.table.size {
			t.Errorf("after %d: %v %q, want %q; the tables have %d and %d bytes", c.sizes, err, got, want, e.table.size, d.table.size)
		}
	}
}
