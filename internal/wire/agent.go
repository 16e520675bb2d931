package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perfd/perfd/internal/load"
)

// An Agent is one VU's HTTP/1.1 user agent: it owns the VU's connections, one an
// origin, and performs one exchange at a time. Interrupt may come from any goroutine.
type Agent struct {
	t           *Transport
	zero        time.Time
	maxAge      int64
	interrupted atomic.Bool

	mu     sync.Mutex // guards changes of conns, and cancel
	conns  []*conn
	cancel context.CancelFunc // of the dial under way
}

// NewAgent returns an agent without connections. The VU's number spreads the age of connections.
func NewAgent(t *Transport, vu int) *Agent {
	// A golden-ratio sequence spreads neighbours as far apart as can be.
	spread := float64(uint32(vu)*2654435769) / (1 << 32)
	return &Agent{t: t, zero: t.Zero, maxAge: int64(float64(t.maxAge()) * (0.9 + 0.1*spread))}
}

func (a *Agent) now() int64 { return int64(time.Since(a.zero)) }

func (a *Agent) at(ns int64) time.Time { return a.zero.Add(time.Duration(ns)) }

// Interrupt makes the exchange under way return soon; the agent is then good only for Close.
func (a *Agent) Interrupt() {
	a.interrupted.Store(true)
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.conns {
		_ = c.nc.SetDeadline(time.Unix(1, 0)) // a connection that is closed has nothing to interrupt
	}
	if a.cancel != nil {
		a.cancel()
	}
}

// Close closes all connections. An agent that was not interrupted opens new ones when it is used again.
func (a *Agent) Close() {
	for len(a.conns) > 0 {
		a.close(a.conns[0], load.ClosedEnd)
	}
}

func (a *Agent) close(c *conn, why load.CloseReason) {
	a.mu.Lock()
	a.conns = slices.DeleteFunc(a.conns, func(o *conn) bool { return o == c })
	a.mu.Unlock()
	_ = c.nc.Close() // the TCP connection: a TLS farewell to a peer that may hang would block
	a.t.Counts.Closed[why].Add(1)
}

// Do performs one exchange and notes its phases, bytes, Sent and Done in r. A
// reused connection that turns out to have been closed is replaced, and the
// request sent once more (SEMANTICS section 8).
func (a *Agent) Do(o *Origin, x *Exchange, r *load.Result) error {
	begin := a.now()
	if !x.Follows {
		r.Sent = begin
	}
	x.Reset()
	err := a.attempt(o, x, r, begin, true)
	if errors.Is(err, errRetry) {
		if err = rewind(x.Stream); err == nil {
			x.Reset()
			err = a.attempt(o, x, r, begin, false)
		}
	}
	if err != nil {
		r.Done = a.now()
	}
	x.duration = time.Duration(r.Done - r.Sent)
	return err
}

// rewind makes a streamed body begin again.
func rewind(stream io.Seeker) error {
	if stream == nil {
		return nil
	}
	if _, err := stream.Seek(0, io.SeekStart); err != nil {
		return &bodyError{err}
	}
	return nil
}

// attempt performs the exchange on one connection; errRetry asks for another.
func (a *Agent) attempt(o *Origin, x *Exchange, r *load.Result, begin int64, mayRetry bool) error {
	if a.interrupted.Load() {
		return errInterrupted
	}
	c := a.reuse(o, begin)
	reused := c != nil
	if reused {
		x.peek = begin-c.used > idlePeek || !x.Idempotent
	} else {
		var err error
		if c, err = a.open(o, x.Deadline, r); err != nil {
			return err
		}
		begin = a.now()
	}
	c.x = x
	reusable, err := c.perform(begin)
	r.SentBytes += x.written
	r.ReceivedBytes += x.received
	if x.first > 0 {
		r.Phases[load.PhaseFirstByte] += x.first - begin
	}
	if err != nil {
		return a.settle(c, err, mayRetry && reused)
	}
	c.x = nil
	c.used = a.now()
	r.Done = c.used
	r.Phases[load.PhaseTransfer] += c.used - x.first
	if !reusable {
		a.close(c, load.ClosedByAnswer)
	}
	return nil
}

// settle closes a connection on which an exchange failed, and decides whether the request is sent once more.
func (a *Agent) settle(c *conn, err error, mayRetry bool) error {
	x := c.x
	why := load.ClosedError
	switch {
	case errors.Is(err, errStale):
		why, err = load.ClosedByPeer, errRetry
	case mayRetry && x.received == 0 && died(err) && (x.Idempotent || c.untouched(err)):
		why, err = load.ClosedStale, errRetry
	}
	c.x = nil
	a.close(c, why)
	return err
}

// reuse returns the connection to an origin; nil where there is none that is still good.
func (a *Agent) reuse(o *Origin, now int64) *conn {
	for _, c := range a.conns {
		if c.origin != *o {
			continue
		}
		if now-c.opened > a.maxAge || a.moved(c, now) {
			a.close(c, load.ClosedAge)
			return nil
		}
		return c
	}
	return nil
}

// moved reports, once every DNSRefresh, whether DNS has left a connection's address.
func (a *Agent) moved(c *conn, now int64) bool {
	if now-c.checked < int64(a.t.dnsRefresh()) {
		return false
	}
	c.checked = now
	return a.t.Dialer.Moved(c.origin.Host, c.addr)
}

// open adds a connection to an origin. It is the occasion to close those that
// no request comes back to.
func (a *Agent) open(o *Origin, deadline int64, r *load.Result) (*conn, error) {
	now := a.now()
	for _, v := range slices.Backward(a.conns) {
		if c := v; now-c.opened > a.maxAge {
			a.close(c, load.ClosedAge)
		}
	}
	ctx, cancel := context.WithDeadline(context.Background(), a.at(deadline))
	defer cancel()
	a.mu.Lock()
	a.cancel = cancel
	a.mu.Unlock()
	if a.interrupted.Load() {
		return nil, errInterrupted
	}
	c, err := a.dial(ctx, o, r)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cancel = nil
	if err != nil {
		if a.interrupted.Load() {
			err = errInterrupted
		}
		return nil, err
	}
	a.conns = append(a.conns, c)
	a.t.Counts.Opened.Add(1)
	return c, nil
}

// dial opens a connection, timing each phase.
func (a *Agent) dial(ctx context.Context, o *Origin, r *load.Result) (*conn, error) {
	begin := a.now()
	addrs, err := a.t.Dialer.Resolve(ctx, o.Host)
	resolved := a.now()
	r.Phases[load.PhaseDNS] += resolved - begin
	if err != nil {
		return nil, err
	}
	nc, err := a.t.Dialer.Connect(ctx, o.Host, addrs, o.Port)
	connected := a.now()
	r.Phases[load.PhaseConnect] += connected - resolved
	if err != nil {
		return nil, err
	}
	c := &conn{agent: a, origin: *o, nc: nc, opened: connected, used: connected, checked: connected}
	c.ready = c.onReady
	c.raw, err = nc.SyscallConn()
	if peer, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		c.addr = peer.AddrPort().Addr().Unmap()
	}
	if err == nil && o.TLS {
		err = c.handshake(ctx)
		r.Phases[load.PhaseTLS] += a.now() - connected
	}
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	return c, nil
}

// handshake puts TLS onto a connection.
func (c *conn) handshake(ctx context.Context) error {
	t := tls.Client(c.nc, c.agent.t.tlsConfig(strings.Trim(c.origin.Host, "[]")))
	err := t.HandshakeContext(ctx)
	if err == nil {
		c.tls, c.ready = t, c.onProbe
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if died(err) {
		return err
	}
	return &handshakeError{err}
}
