package wire

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/load"
)

// A caller asks "ping\n" over a link and expects "pong\n".
type caller struct {
	*Link
	counts *load.Connections
	r      load.Result
	answer [5]byte
	greet  bool // a fresh connection is greeted with "helo\n" before
}

func newCaller(t testing.TB, o *Origin, d *Dialer, tune func(*Transport)) *caller {
	c := &caller{counts: &load.Connections{}}
	tr := &Transport{Dialer: d, Counts: c.counts, Zero: time.Now()}
	if tune != nil {
		tune(tr)
	}
	c.Link = NewLink(tr, *o, 1)
	t.Cleanup(c.Close)
	return c
}

var (
	pingText = []byte("ping\n")
	heloText = []byte("helo\n")
)

func (c *caller) call(idempotent bool, timeout time.Duration) error {
	c.r = load.Result{}
	return c.Exchange(time.Duration(c.now())+timeout, idempotent, &c.r, func() error {
		if c.greet && c.Fresh() {
			if err := c.ask(heloText); err != nil {
				return err
			}
			c.Established()
		}
		return c.ask(pingText)
	})
}

func (c *caller) ask(text []byte) error {
	if _, err := c.Write(text); err != nil {
		return err
	}
	_, err := io.ReadFull(c, c.answer[:])
	return err
}

// ponging answers each line of five bytes with "pong\n".
func ponging(c net.Conn) {
	p, pong := make([]byte, 5), []byte("pong\n")
	for {
		if _, err := io.ReadFull(c, p); err != nil {
			return
		}
		if _, err := c.Write(pong); err != nil {
			return
		}
	}
}

func TestALinkMeasuresAndAllocatesNothing(t *testing.T) {
	c := newCaller(t, listen(t, ponging).origin(), NewDialer(DialerOptions{}), nil)
	if err := c.call(true, time.Minute); err != nil {
		t.Fatal(err)
	}
	r := &c.r
	var sum int64
	for _, d := range r.Phases {
		sum += d
	}
	if r.SentBytes != 5 || r.ReceivedBytes != 5 || r.Phases[load.PhaseConnect] <= 0 || r.Phases[load.PhaseFirstByte] <= 0 || sum > r.Duration() {
		t.Errorf("result %+v, want 5 bytes both ways and phases within %d ns", r, r.Duration())
	}
	for _, idempotent := range []bool{true, false} {
		if n := testing.AllocsPerRun(200, func() {
			if err := c.call(idempotent, time.Minute); err != nil {
				t.Error(err)
			}
		}); n > 0 {
			t.Errorf("idempotent %v: an exchange allocates %v times, want 0", idempotent, n)
		}
	}
	if n := c.counts.Opened.Load(); n != 1 {
		t.Errorf("%d connections opened, want 1", n)
	}
}

func TestALinkOverTLS(t *testing.T) {
	srv := httptest.NewTLSServer(nil)
	certificate, roots := srv.TLS.Certificates[0], x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	srv.Close()
	var protos []string
	o := listen(t, func(nc net.Conn) {
		s := tls.Server(nc, &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"echo/1"}})
		if s.Handshake() == nil {
			protos = append(protos, s.ConnectionState().NegotiatedProtocol)
			ponging(s)
		}
	}).origin()
	o.TLS = true
	c := newCaller(t, o, NewDialer(DialerOptions{}), func(tr *Transport) {
		tr.TLS, tr.NextProtos = fixed(&tls.Config{RootCAs: roots}), []string{"echo/1"}
	})
	for range 3 {
		if err := c.call(false, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if n := c.counts.Opened.Load(); n != 1 || len(protos) != 1 || protos[0] != "echo/1" {
		t.Errorf("%d connections, protocols %q, want 1 that speaks echo/1", n, protos)
	}
	if err := c.call(false, 0); Classify(err) != load.Timeout {
		t.Error("a request without time does not time out")
	}
}

// A protocol's own handshake is done once a connection, and is part of connecting.
func TestALinkEstablishesEachConnectionOnce(t *testing.T) {
	const slow = 20 * time.Millisecond
	var seen bytes.Buffer
	c := newCaller(t, listen(t, func(nc net.Conn) {
		p := make([]byte, 5)
		for {
			if _, err := io.ReadFull(nc, p); err != nil {
				return
			}
			seen.Write(p)
			if p[0] == 'h' {
				time.Sleep(slow)
			}
			io.WriteString(nc, "pong\n")
		}
	}).origin(), NewDialer(DialerOptions{}), nil)
	c.greet = true
	for i := range 2 {
		if err := c.call(true, time.Minute); err != nil {
			t.Fatal(err)
		}
		if got := c.r.Phases[load.PhaseConnect] >= int64(slow); got != (i == 0) {
			t.Errorf("request %d: connecting took %d ns, want the greeting's %v in the first only", i, c.r.Phases[load.PhaseConnect], slow)
		}
		if c.r.Phases[load.PhaseFirstByte] >= int64(slow) {
			t.Errorf("request %d: the first byte took %d ns, want it without the greeting", i, c.r.Phases[load.PhaseFirstByte])
		}
	}
	if got := seen.String(); got != "helo\nping\nping\n" {
		t.Errorf("the server saw %q, want one greeting", got)
	}
}

// What a server does to a connection between and in exchanges, and what becomes of the next request.
func TestALinkRedials(t *testing.T) {
	read := func(nc net.Conn) { io.ReadFull(nc, make([]byte, 5)) }
	for _, c := range []struct {
		name    string
		between func(nc net.Conn) // after the first answer, before the second request
		during  func(nc net.Conn) // beside the second request
		cause   load.Cause        // of the second request if it is idempotent
		strict  load.Cause        // of the second request if it is not
		closed  load.CloseReason  // of the first connection where the second request is answered
	}{
		{"closed while idle", func(nc net.Conn) { nc.Close() }, func(net.Conn) {}, load.None, load.None, load.ClosedByPeer},
		{"unasked bytes", func(nc net.Conn) { io.WriteString(nc, "pang\n") }, ponging, load.None, load.None, load.ClosedByPeer},
		{"closed after reading", func(net.Conn) {}, read, load.None, load.Closed, load.ClosedStale},
		{"reset after reading", func(net.Conn) {}, func(nc net.Conn) { read(nc); nc.(*net.TCPConn).SetLinger(0) }, load.None, load.Reset, load.ClosedStale},
		{"closed within the answer", func(net.Conn) {}, func(nc net.Conn) { read(nc); io.WriteString(nc, "po") }, load.Closed, load.Closed, load.ClosedError},
	} {
		for _, idempotent := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, idempotent %v", c.name, idempotent), func(t *testing.T) {
				var connections atomic.Int32
				idle := make(chan struct{})
				x := newCaller(t, listen(t, func(nc net.Conn) {
					if connections.Add(1) > 1 {
						ponging(nc)
						return
					}
					read(nc)
					io.WriteString(nc, "pong\n")
					c.between(nc)
					close(idle)
					c.during(nc)
				}).origin(), NewDialer(DialerOptions{}), nil)
				if err := x.call(true, time.Minute); err != nil {
					t.Fatal(err)
				}
				<-idle
				want, closed := c.cause, c.closed
				if !idempotent {
					want = c.strict
				}
				if want != load.None {
					closed = load.ClosedError
				}
				err := x.call(idempotent, time.Minute)
				if Classify(err) != want {
					t.Errorf("cause %v (%v), want %v", Classify(err), err, want)
				}
				if want == load.None && string(x.answer[:]) != "pong\n" {
					t.Errorf("answer %q, want the one that was asked for", x.answer)
				}
				if n := x.counts.Closed[closed].Load(); n != 1 {
					t.Errorf("%d connections closed for reason %v, want 1", n, closed)
				}
				if err := x.call(false, time.Minute); err != nil {
					t.Errorf("the request after: %v", err)
				}
			})
		}
	}
}

func TestALinkReplacesOldConnections(t *testing.T) {
	c := newCaller(t, listen(t, ponging).origin(), NewDialer(DialerOptions{}), nil)
	for range 2 {
		if err := c.call(true, time.Minute); err != nil {
			t.Fatal(err)
		}
		c.opened -= c.maxAge + 1
	}
	if n := c.counts.Closed[load.ClosedAge].Load(); n != 1 || c.counts.Opened.Load() != 2 {
		t.Errorf("%d connections closed for their age of %d, want 1 of 2", n, c.counts.Opened.Load())
	}
}

func TestALinkKeepsDeadlines(t *testing.T) {
	var silent atomic.Bool
	c := newCaller(t, listen(t, func(nc net.Conn) {
		p := make([]byte, 5)
		for {
			if _, err := io.ReadFull(nc, p); err != nil {
				return
			}
			if !silent.Load() {
				io.WriteString(nc, "pong\n")
			}
		}
	}).origin(), NewDialer(DialerOptions{}), nil)
	for i, step := range []struct {
		timeout  time.Duration
		answered bool
	}{
		{20 * time.Millisecond, true},
		{80 * time.Millisecond, false}, // the deadline before it fires on the way
		{time.Hour, true},
		{30 * time.Millisecond, false}, // the deadline before it would be far too late
	} {
		silent.Store(!step.answered)
		err := c.call(true, step.timeout)
		took := time.Duration(c.r.Duration())
		switch {
		case step.answered && err != nil:
			t.Errorf("request %d: %v", i, err)
		case !step.answered && (Classify(err) != load.Timeout || took < step.timeout || took > step.timeout+2*time.Second):
			t.Errorf("request %d with %v to go: %v after %v", i, step.timeout, err, took)
		}
	}
}

func TestALinkIsInterrupted(t *testing.T) {
	asked := make(chan struct{})
	silent := listen(t, func(nc net.Conn) {
		io.ReadFull(nc, make([]byte, 5))
		close(asked)
		io.Copy(io.Discard, nc)
	}).origin()
	resolving := make(chan struct{})
	deaf := NewDialer(DialerOptions{Lookup: func(ctx context.Context, _ string) ([]netip.Addr, error) {
		close(resolving)
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	for _, c := range []struct {
		name   string
		origin *Origin
		d      *Dialer
		after  chan struct{}
	}{
		{"waiting for an answer", silent, NewDialer(DialerOptions{}), asked},
		{"resolving", &Origin{Host: "localhost", Port: 1}, deaf, resolving},
	} {
		x := newCaller(t, c.origin, c.d, nil)
		done := make(chan error)
		go func() { done <- x.call(false, time.Hour) }()
		<-c.after
		x.Interrupt()
		if err := <-done; Classify(err) != load.Canceled {
			t.Errorf("%s: %v, want it canceled", c.name, err)
		}
		if err := x.call(true, time.Hour); Classify(err) != load.Canceled {
			t.Errorf("%s: the next request: %v, want it canceled", c.name, err)
		}
	}
}

// The error of do is the caller's own, unless perfd caused it.
func TestALinkBreaksByAnError(t *testing.T) {
	c := newCaller(t, listen(t, ponging).origin(), NewDialer(DialerOptions{}), nil)
	wrong := errors.New("wrong")
	if err := c.Exchange(time.Hour, true, &c.r, func() error { return wrong }); !errors.Is(err, wrong) {
		t.Errorf("error %v, want %v", err, wrong)
	}
	if c.nc != nil || c.counts.Closed[load.ClosedError].Load() != 1 {
		t.Error("the connection of a failed exchange stays open")
	}
}

func BenchmarkLink(b *testing.B) {
	c := newCaller(b, listen(b, ponging).origin(), NewDialer(DialerOptions{}), nil)
	b.ReportAllocs()
	for b.Loop() {
		if err := c.call(true, time.Minute); err != nil {
			b.Fatal(err)
		}
	}
}
