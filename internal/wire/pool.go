package wire

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/perfd/perfd/internal/load"
)

// A pool holds the connections to one origin that the agents of a transport share. Each
// is lent to one agent at a time; agents that find none free wait in a line.
type pool struct {
	most int
	make func(n int) *conn // makes the n-th connection

	mu   sync.Mutex
	open []*conn // free; the one that was used last is lent first, as pools of clients do
	shut []*conn // free and closed
	made int
	line []*borrower
	over bool
}

// A borrower is what an agent needs to share connections.
type borrower struct {
	ready chan *conn    // of capacity 1: what a pool lends an agent in its line
	stop  chan struct{} // closed by Interrupt

	conn *conn // that is lent, nil for none; the agent's mu guards it

	// Of the last exchange: where it was.
	at   Origin
	peer netip.Addr
}

// mostPools bounds the pools of a transport. Hosts of the configuration are few; a server whose redirects lead to one port
// after another must not make more.
const mostPools = 64

// errPoolBusy is the error of a request that no connection was free for.
var errPoolBusy = &poolError{}

type poolError struct{}

func (*poolError) Error() string { return "no connection of the pool was free in time" }

// Cause is that of a request that took too long: its user waited in vain.
func (*poolError) Cause() load.Cause { return load.Timeout }

// get lends a connection; nil puts b in the line.
func (p *pool) get(b *borrower) *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, free := range []*[]*conn{&p.open, &p.shut} {
		if n := len(*free) - 1; n >= 0 {
			c := (*free)[n]
			*free = (*free)[:n]
			return c
		}
	}
	if p.made < p.most {
		p.made++
		return p.make(p.made)
	}
	p.line = append(p.line, b)
	return nil
}

// put takes a connection back, and lends it to the first in the line.
func (p *pool) put(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case len(p.line) > 0:
		p.line[0].ready <- c
		p.line = slices.Delete(p.line, 0, 1)
	case c.nc == nil:
		p.shut = append(p.shut, c)
	case p.over:
		c.Close()
	default:
		p.open = append(p.open, c)
	}
}

// leave takes b out of the line, and back what was lent to it meanwhile.
func (p *pool) leave(b *borrower) {
	p.mu.Lock()
	i := slices.Index(p.line, b)
	if i >= 0 {
		p.line = slices.Delete(p.line, i, i+1)
	}
	p.mu.Unlock()
	if i < 0 {
		p.put(<-b.ready)
	}
}

// close closes the connections that are free, and those that are lent when they come back.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	for _, c := range p.open {
		c.Close()
	}
	p.open = nil
}

// pool returns the pool of an origin, nil where agents have connections of their own:
// hosts that only redirects lead to are not shared.
func (t *Transport) pool(o *Origin) *pool {
	if t.Pool <= 0 || o.Foreign {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.pools[*o]
	if p == nil && len(t.pools) < mostPools {
		p = &pool{most: t.Pool, make: func(n int) *conn { return newConn(t, *o, n) }}
		if t.pools == nil {
			t.pools = map[Origin]*pool{}
		}
		t.pools[*o] = p
	}
	return p
}

// Close closes the connections that are shared. Agents that have ended must have been told to before.
func (t *Transport) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.pools {
		p.close()
	}
	for _, g := range t.groups {
		g.end()
	}
}

// borrow returns a connection of a pool, and the time since which the agent has it. It waits
// until the deadline; the wait is a phase of the request.
func (a *Agent) borrow(p *pool, begin, deadline int64, r *load.Result) (*conn, int64, error) {
	b := a.shares
	c := p.get(b)
	if c == nil {
		t := time.NewTimer(time.Duration(deadline - begin))
		defer t.Stop()
		var err error
		select {
		case c = <-b.ready:
		case <-t.C:
			err = errPoolBusy
		case <-b.stop:
			err = errInterrupted
		}
		if err != nil {
			p.leave(b)
		}
		now := a.now()
		r.Phases[load.PhaseBlocked] += now - begin
		if err != nil {
			return nil, now, err
		}
		begin = now
	}
	a.hold(c)
	return c, begin, nil
}

// hold makes a connection one that Interrupt reaches.
func (a *Agent) hold(c *conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.shares.conn = c
	if a.interrupted {
		c.Interrupt()
	}
}

// release makes the connection that the agent holds one that Interrupt does not reach, and
// undoes what it did to it: another agent's exchange goes on.
func (a *Agent) release() *conn {
	a.mu.Lock()
	c := a.shares.conn
	a.shares.conn = nil
	interrupted := a.interrupted
	a.mu.Unlock()
	if interrupted {
		c.Close()
		c.interrupted.Store(false)
	}
	return c
}

// giveBack ends an exchange on a connection of a pool.
func (a *Agent) giveBack(p *pool) {
	c := a.release()
	a.shares.at, a.shares.peer = c.origin, c.addr
	p.put(c)
}
