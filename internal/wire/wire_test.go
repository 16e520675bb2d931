package wire

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/perfd/perfd/internal/load"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A server hands each connection to a function.
type server struct {
	l  net.Listener
	wg sync.WaitGroup
}

func listen(t testing.TB, serve func(net.Conn)) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{l: l}
	s.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.wg.Go(func() {
				defer c.Close()
				serve(c)
			})
		}
	})
	t.Cleanup(func() { l.Close(); s.wg.Wait() })
	return s
}

func (s *server) origin() *Origin {
	addr := s.l.Addr().(*net.TCPAddr)
	return &Origin{Host: addr.IP.String(), Port: uint16(addr.Port)}
}

// readHead reads a request's head, byte by byte so that nothing behind it is taken.
func readHead(c net.Conn) bool {
	var p [1]byte
	for seen := ""; seen != "\r\n\r\n"; {
		if _, err := c.Read(p[:]); err != nil {
			return false
		}
		if seen += string(p[:]); len(seen) > 4 {
			seen = seen[1:]
		}
	}
	return true
}

// answering serves every request on a connection with the same text.
func answering(text string) func(net.Conn) {
	return func(c net.Conn) {
		for readHead(c) {
			if _, err := io.WriteString(c, text); err != nil {
				return
			}
		}
	}
}

// An agent under test, its counts and what it performs.
type subject struct {
	*Agent
	counts *load.Connections
	origin *Origin
	x      Exchange
	r      load.Result
}

func newSubject(t testing.TB, o *Origin) *subject {
	s := &subject{counts: &load.Connections{}, origin: o}
	s.Agent = NewAgent(&Transport{Dialer: NewDialer(DialerOptions{}), Counts: s.counts, Zero: time.Now()}, 1)
	s.x.Out = []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	s.x.Idempotent = true
	t.Cleanup(s.Close)
	return s
}

func (s *subject) do(timeout time.Duration) error {
	s.r = load.Result{}
	s.x.Deadline = s.now() + int64(timeout)
	return s.Do(s.origin, &s.x, &s.r)
}

// open is how many connections the agent has open.
func (s *subject) open() (n int) {
	for _, c := range s.conns {
		if c.nc != nil {
			n++
		}
	}
	return n
}
