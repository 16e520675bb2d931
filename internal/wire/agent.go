package wire

import (
	"errors"
	"io"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/perfd/perfd/internal/load"
)

// An Agent is one VU's HTTP/1.1 user agent: it owns the VU's connections, one an
// origin, or borrows them from the pools of its transport, and performs one exchange at a time. Interrupt may be called from any
// goroutine, everything else belongs to the VU.
type Agent struct {
	t    *Transport
	vu   int
	zero time.Time

	shares *borrower // nil where all connections are the agent's own
	party  *party    // nil where no connection speaks HTTP/2

	mu          sync.Mutex // guards writes of conns, and interrupted; the VU reads conns without it
	conns       []*conn
	interrupted bool
}

// NewAgent returns an agent without connections. The VU's number spreads the age of connections.
func NewAgent(t *Transport, vu int) *Agent {
	a := &Agent{t: t, vu: vu, zero: t.Zero}
	if t.Pool > 0 {
		a.shares = &borrower{ready: make(chan *conn, 1), stop: make(chan struct{})}
	}
	if t.Version != HTTP1 {
		a.party = newParty()
	}
	return a
}

func (a *Agent) now() int64 { return int64(time.Since(a.zero)) }

// Interrupt makes the exchange under way return soon; the agent is then good only for Close.
func (a *Agent) Interrupt() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.shares; s != nil {
		if !a.interrupted {
			close(s.stop)
		}
		if s.conn != nil {
			s.conn.Interrupt()
		}
	}
	if a.party != nil {
		a.party.interrupt(a.interrupted)
	}
	a.interrupted = true
	for _, c := range a.conns {
		c.Interrupt()
	}
}

// Close closes all connections. An agent that was not interrupted opens new ones when it is used again.
func (a *Agent) Close() {
	for _, c := range a.conns {
		c.Close()
	}
	if a.party != nil {
		a.party.close()
	}
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
	var err error
	if g := a.group(o); g != nil {
		err = a.multiplexed(g, x, r, begin)
	} else if p := a.t.pool(o); p != nil {
		var c *conn
		if c, begin, err = a.borrow(p, begin, x.Deadline, r); err == nil {
			err = c.exchange(x, r, begin)
			a.giveBack(p)
		}
	} else {
		err = a.conn(o, begin).exchange(x, r, begin)
	}
	if err != nil {
		r.Done = a.now()
	}
	x.duration = time.Duration(r.Done - r.Sent)
	return err
}

// exchange performs the exchange, in two attempts where the first may be repeated.
func (c *conn) exchange(x *Exchange, r *load.Result, begin int64) error {
	err := c.attempt(x, r, begin, true)
	if !errors.Is(err, errRetry) {
		return err
	}
	if err := c.again(err, x.Deadline, r); err != nil {
		return err
	}
	if err := rewind(x.Stream); err != nil {
		return err
	}
	x.Reset()
	return c.attempt(x, r, c.now(), false)
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

// Peer returns the address at which the last exchange with an origin was, the zero
// address where there was none. Of a name behind a proxy it is one that stands for all such.
func (a *Agent) Peer(o *Origin) netip.Addr {
	if p := a.party; p != nil && p.at == *o {
		return a.t.Dialer.place(o.Host, p.peer)
	}
	if s := a.shares; s != nil && s.at == *o {
		return a.t.Dialer.place(o.Host, s.peer)
	}
	for _, c := range a.conns {
		if c.origin == *o {
			return a.t.Dialer.place(o.Host, c.addr)
		}
	}
	return netip.Addr{}
}

// conn returns the connection to an origin, which need not be open.
func (a *Agent) conn(o *Origin, now int64) *conn {
	for _, c := range a.conns {
		if c.origin == *o {
			return c
		}
	}
	return a.addConn(o, now)
}

// addConn adds the connection to an origin. Those that are closed or too old
// are forgotten on this occasion: redirects may lead to any number of origins.
func (a *Agent) addConn(o *Origin, now int64) *conn {
	c := newConn(a.t, *o, a.vu)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.conns = slices.DeleteFunc(a.conns, func(c *conn) bool {
		if c.nc != nil && now-c.opened > c.maxAge {
			c.close(load.ClosedAge)
		}
		return c.nc == nil
	})
	a.conns = append(a.conns, c)
	if a.interrupted {
		c.Interrupt()
	}
	return c
}

// attempt performs the exchange; errRetry asks for a second attempt.
func (c *conn) attempt(x *Exchange, r *load.Result, begin int64, mayRetry bool) error {
	c.from = x.From
	reused, err := c.connected(begin, x.Deadline, r)
	if err != nil {
		return err
	}
	if !reused {
		begin = c.now()
	}
	return c.converse(x, r, begin, reused, mayRetry)
}

// converse performs the exchange on the connection, which is open; errRetry asks for a second attempt.
func (c *conn) converse(x *Exchange, r *load.Result, begin int64, reused, mayRetry bool) error {
	if reused {
		x.peek = begin-c.used > idlePeek || !x.Idempotent
	}
	c.x = x
	reusable, err := c.perform(begin)
	c.x = nil
	r.SentBytes += x.written
	r.ReceivedBytes += x.received
	if x.first > 0 {
		r.Phases[load.PhaseFirstByte] += x.first - begin
	}
	if err != nil {
		return c.settle(err, x.received, x.Idempotent, mayRetry && reused)
	}
	c.used = c.now()
	r.Done = c.used
	r.Phases[load.PhaseTransfer] += c.used - x.first
	if !reusable {
		c.close(load.ClosedByAnswer)
	}
	return nil
}
