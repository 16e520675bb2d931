package protocoltest

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// A server passes each connection to a function and counts bytes.
type server struct {
	l             net.Listener        // nil over UDP
	packets       *packets            // nil over TCP
	greet         func(net.Conn) bool // nil for none
	handle        atomic.Pointer[func(net.Conn)]
	read, written atomic.Int64
	wg            sync.WaitGroup
	mu            sync.Mutex
	conns         map[*conn]bool
	closed        bool
}

func listen(t testing.TB, greet func(net.Conn) bool, handle func(net.Conn)) *server {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{l: l, greet: greet, conns: make(map[*conn]bool)}
	s.serve(handle)
	s.wg.Go(s.accept)
	return s
}

// serve changes the function for later connections, or for later datagrams.
func (s *server) serve(handle func(net.Conn)) {
	if s.packets != nil {
		s.packets.hand(handle)
		return
	}
	s.handle.Store(&handle)
}

func (s *server) addr() string {
	if s.packets != nil {
		return s.packets.LocalAddr().String()
	}
	return s.l.Addr().String()
}

func (s *server) accept() {
	for {
		nc, err := s.l.Accept()
		if err != nil {
			return
		}
		c := &conn{TCPConn: nc.(*net.TCPConn), s: s} //nolint:forcetypeassert // of a TCP listener
		if !s.add(c) {
			_ = c.Close() // the client is the test's to look at
			return
		}
		s.wg.Go(func() {
			if s.greet == nil || s.greet(c) {
				(*s.handle.Load())(c)
			}
			_ = c.Close() // the client is the test's to look at
			s.remove(c)
		})
	}
}

func (s *server) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[c] = true
	return !s.closed
}

func (s *server) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// live returns the number of connections that the server has not closed.
func (s *server) live() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// close closes all connections and waits for their functions.
func (s *server) close() {
	if s.packets != nil {
		_ = s.packets.Close() // which ends its function
		s.wg.Wait()
		return
	}
	s.l.Close()
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		_ = c.Close() // likewise
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// A conn counts the bytes that pass through it.
type conn struct {
	*net.TCPConn
	s *server
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	c.s.read.Add(int64(n))
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	c.s.written.Add(int64(len(p)))
	return c.TCPConn.Write(p)
}

// reset closes a connection with a TCP reset.
func reset(c net.Conn) {
	if t, ok := c.(*conn); ok {
		_ = t.SetLinger(0) // of an open socket it does not fail
	}
	c.Close()
}
