package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/load"
)

const hello = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

func TestSteadyStateAllocatesNothing(t *testing.T) {
	for name, text := range map[string]string{
		"length": hello,
		"chunks": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			s := newSubject(t, listen(t, func(c net.Conn) {
				p, answer := make([]byte, 1024), []byte(text)
				for {
					if n, err := c.Read(p); n == 0 || err != nil {
						return
					}
					c.Write(answer)
				}
			}).origin())
			for _, idempotent := range []bool{true, false} {
				s.x.Idempotent = idempotent
				if n := testing.AllocsPerRun(200, func() {
					if err := s.do(time.Minute); err != nil {
						t.Error(err)
					}
				}); n > 0 {
					t.Errorf("idempotent %v: an exchange allocates %v times, want 0", idempotent, n)
				}
			}
		})
	}
}

// A deadline that is set is left alone while it is early enough. Neither that,
// nor its firing between two requests, may end a request too early or too late.
func TestDeadlines(t *testing.T) {
	var silent atomic.Bool
	s := newSubject(t, listen(t, func(c net.Conn) {
		for readHead(c) {
			if !silent.Load() {
				io.WriteString(c, hello)
			}
		}
	}).origin())
	answered := func(timeout time.Duration) {
		t.Helper()
		silent.Store(false)
		if err := s.do(timeout); err != nil {
			t.Errorf("a request with %v to go: %v", timeout, err)
		}
	}
	unanswered := func(timeout time.Duration) {
		t.Helper()
		silent.Store(true)
		err := s.do(timeout)
		took := time.Duration(s.r.Duration())
		if Classify(err) != load.Timeout || took < timeout || took > timeout+2*time.Second {
			t.Errorf("an unanswered request with %v to go: %v after %v", timeout, err, took)
		}
	}
	answered(20 * time.Millisecond)
	unanswered(80 * time.Millisecond) // the deadline before it fires on the way
	answered(time.Hour)
	unanswered(30 * time.Millisecond) // the deadline before it would be far too late
	answered(10 * time.Millisecond)
	<-time.After(20 * time.Millisecond) // the deadline fires on the idle connection
	answered(time.Hour)
	if n := s.counts.Opened.Load(); n != 3 {
		t.Errorf("%d connections opened, want one and one after each timeout", n)
	}
}

// untouched is asked about connections that the server closed before, or after, it read the request.
func TestOnlyWhatProvablyWasNotReadIsSentTwice(t *testing.T) {
	for _, c := range []struct {
		name  string
		reads bool // the server reads the second request before it leaves
		want  error
		sent  int64
	}{
		{"closed before", false, nil, 2},
		{"closed after", true, io.EOF, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var connections atomic.Int64
			closed := make(chan struct{})
			s := newSubject(t, listen(t, func(nc net.Conn) {
				if connections.Add(1) > 1 {
					answering(hello)(nc)
					return
				}
				readHead(nc)
				io.WriteString(nc, hello)
				if c.reads {
					readHead(nc)
				}
				nc.Close()
				close(closed)
			}).origin())
			s.x.Out = []byte("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
			s.x.Idempotent = false
			if err := s.do(time.Minute); err != nil {
				t.Fatal(err)
			}
			if !c.reads {
				<-closed
				s.raceTheClose(t)
			}
			err := s.do(time.Minute)
			if !errors.Is(err, c.want) {
				t.Fatalf("the second request: %v, want %v", err, c.want)
			}
			if n := connections.Load(); n != c.sent {
				t.Errorf("%d connections, want %d", n, c.sent)
			}
			if n := s.counts.Closed[load.ClosedStale].Load() + s.counts.Closed[load.ClosedByPeer].Load(); (n == 1) != (c.want == nil) {
				t.Errorf("%d connections were counted as found closed", n)
			}
		})
	}
}

// raceTheClose writes a request as if the server had closed between the test for it and the write.
func (s *subject) raceTheClose(t *testing.T) {
	t.Helper()
	c := s.conns[0]
	s.x.Reset()
	c.x, s.x.Deadline = &s.x, s.now()+int64(time.Minute)
	err := c.send(s.now())
	if !died(err) {
		t.Fatalf("send on a closed connection = %v", err)
	}
	if !c.untouched(err) && runtime.GOOS == "linux" { // other systems do not report it
		t.Errorf("after %v: untouched = false, want true", err)
	}
	c.x = nil
}

func TestUploads(t *testing.T) {
	const size = 4 << 20
	body := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	drain := func(c net.Conn) { _, _ = io.CopyN(io.Discard, c, size) }
	const refusal = "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n"
	for _, c := range []struct {
		name   string
		serve  func(net.Conn)
		stream io.ReadSeeker
		cause  load.Cause
		code   int
		whole  bool // all of it was sent, and the connection stays
	}{
		{"read", func(c net.Conn) {
			for readHead(c) {
				drain(c)
				io.WriteString(c, hello)
			}
		}, bytes.NewReader(body), load.None, 200, true},
		{"answered early, then read", func(c net.Conn) {
			// What is left after the answer must be sent within uploadGrace, also by a busy machine.
			const left = 64 << 10
			for readHead(c) {
				_, _ = io.CopyN(io.Discard, c, size-left)
				io.WriteString(c, refusal+"\r\n")
				_, _ = io.CopyN(io.Discard, c, left)
			}
		}, bytes.NewReader(body), load.None, 413, true},
		{"refused and not read", func(c net.Conn) {
			readHead(c)
			io.WriteString(c, refusal+"Connection: close\r\n\r\n")
			c.(*net.TCPConn).CloseWrite()
			c.Read(make([]byte, 1))
		}, bytes.NewReader(body), load.None, 413, false},
		{"not read", func(c net.Conn) { readHead(c); c.(*net.TCPConn).SetLinger(0) }, bytes.NewReader(body), load.Reset, 0, false},
		{"shorter than promised", func(c net.Conn) { readHead(c); drain(c) }, strings.NewReader("short"), load.Internal, 0, false},
		{"cannot be read", func(c net.Conn) { readHead(c); drain(c) }, broken{}, load.Internal, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSubject(t, listen(t, c.serve).origin())
			s.x.Stream, s.x.StreamSize = c.stream, size
			err := s.do(time.Minute)
			if got := Classify(err); got != c.cause || s.x.Code() != c.code {
				t.Fatalf("cause %v (%v), code %d; want %v, %d", got, err, s.x.Code(), c.cause, c.code)
			}
			if whole := s.r.SentBytes == int64(len(s.x.Out))+size; whole != c.whole || (s.open() == 1) != c.whole {
				t.Errorf("%d bytes sent, %d connections left; want all and one: %v", s.r.SentBytes, s.open(), c.whole)
			}
		})
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error)       { return 0, errors.New("broken disk") }
func (broken) Seek(int64, int) (int64, error) { return 0, nil }

func TestConnectionsThatNobodyComesBackToAreClosed(t *testing.T) {
	first, second := listen(t, answering(hello)), listen(t, answering(hello))
	s := newSubject(t, first.origin())
	if err := s.do(time.Minute); err != nil {
		t.Fatal(err)
	}
	s.conns[0].opened -= s.conns[0].maxAge + 1
	s.origin = second.origin()
	if err := s.do(time.Minute); err != nil {
		t.Fatal(err)
	}
	if n := s.counts.Closed[load.ClosedAge].Load(); n != 1 || len(s.conns) != 1 {
		t.Errorf("%d connections closed for their age and %d left, want 1 and 1", n, len(s.conns))
	}
}

func BenchmarkExchange(b *testing.B) {
	s := newSubject(b, listen(b, func(c net.Conn) {
		p, answer := make([]byte, 1024), []byte(hello)
		for {
			if n, err := c.Read(p); n == 0 || err != nil {
				return
			}
			c.Write(answer)
		}
	}).origin())
	b.ReportAllocs()
	for b.Loop() {
		if err := s.do(time.Minute); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReceive(b *testing.B) {
	text := []byte("HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Mon, 23 Nov 2026 20:15:50 GMT\r\nContent-Type: application/json\r\n" +
		"Content-Length: 88\r\nConnection: keep-alive\r\n\r\n" + strings.Repeat("x", 88))
	x := &Exchange{}
	c := &conn{redialer: redialer{zero: time.Now(), tls: &repeat{text: text}}, x: x}
	b.ReportAllocs()
	for b.Loop() {
		x.Reset()
		if _, err := c.receive(); err != nil {
			b.Fatal(err)
		}
	}
}

type repeat struct {
	net.Conn
	text []byte
}

func (r *repeat) Read(p []byte) (int, error) { return copy(p, r.text), nil }

// A request that its peer may have read takes a token again, one that was not written does not.
func TestARequestThatIsSentTwiceTakesTwoTokens(t *testing.T) {
	for _, c := range []struct {
		name   string
		reads  bool // the server reads the second request before it leaves
		wait   time.Duration
		ok     bool
		tokens int
		cause  load.Cause
	}{
		{"not written", false, 0, true, 0, load.None},
		{"written", true, 0, true, 1, load.None},
		{"written, and the token comes later", true, 50 * time.Millisecond, true, 1, load.None},
		{"written, and no token comes in time", true, time.Hour, false, 1, load.Overload},
	} {
		t.Run(c.name, func(t *testing.T) {
			var connections, requests atomic.Int64
			closed := make(chan struct{})
			srv := listen(t, func(nc net.Conn) {
				if connections.Add(1) > 1 {
					requests.Add(1)
					answering(hello)(nc)
					return
				}
				readHead(nc)
				io.WriteString(nc, hello)
				if c.reads {
					readHead(nc)
					requests.Add(1)
				}
				nc.Close()
				close(closed)
			})
			s := newSubject(t, srv.origin())
			tokens := 0
			s.t.Again = func(host string, port uint16, addrs []netip.Addr, _ bool) (time.Duration, bool) {
				if o := srv.origin(); host != o.Host || port != o.Port || len(addrs) != 1 {
					t.Errorf("a token for %s port %d at %v, want one for %v", host, port, addrs, o)
				}
				tokens++
				return c.wait, c.ok
			}
			if err := s.do(time.Minute); err != nil {
				t.Fatal(err)
			}
			if !c.reads {
				<-closed
				time.Sleep(10 * time.Millisecond) // until an idle connection is tested before its use
			}
			s.r = load.Result{}
			err := s.do(time.Minute)
			if Classify(err) != c.cause || tokens != c.tokens {
				t.Fatalf("cause %v (%v) with %d tokens, want %v with %d", Classify(err), err, tokens, c.cause, c.tokens)
			}
			if c.cause == load.None && (s.r.Waited < int64(c.wait) || s.r.Done < s.r.Sent) || s.r.Waited > int64(time.Second) {
				t.Errorf("waited %v, want %v", time.Duration(s.r.Waited), c.wait)
			}
			want := int64(1 + c.tokens)
			if c.cause != load.None {
				want = 1
			}
			if n := requests.Load(); n != want {
				t.Errorf("%d requests reached the server, want %d", n, want)
			}
		})
	}
}
