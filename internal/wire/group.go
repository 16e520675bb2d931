package wire

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/perfd/perfd/internal/load"
)

// A group holds the connections to one origin of which each may carry many exchanges at a time: those that agents share, or
// an agent's own one. An exchange goes to the connection with the fewest; while all have some, and fewer than most are
// open, another is opened. Where none has room, exchanges wait in a line.
type group struct {
	t      *Transport
	origin Origin
	vu     int
	most   int

	mu      sync.Mutex // no mux's mu is locked while it is held
	list    []*mux     // that take exchanges
	line    []*party
	over    bool
	session *tlsSession // of the connections so far
}

// A party is an agent's part in groups.
type party struct {
	s     *stream
	ready chan *mux // of capacity 1: what a group gives an agent in its line
	stop  chan struct{}
	timer *time.Timer

	// The agent's mu guards writes of these; the VU reads own without it.
	own   []*group
	m     *mux  // that has the stream under way, nil for none
	alone *conn // that the agent opens or uses alone, nil for none

	// Of the last exchange: where it was.
	at   Origin
	peer netip.Addr
}

// mostOwn is how many origins an agent has groups of before those that are not used any more are forgotten.
const mostOwn = 8

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

func newParty() *party {
	return &party{s: newStream(), ready: make(chan *mux, 1), stop: make(chan struct{})}
}

func newStream() *stream { return &stream{wake: make(chan bool, 1)} }

// interrupt makes the exchange under way return soon. The agent's mu is locked.
func (p *party) interrupt(before bool) {
	if !before {
		close(p.stop)
	}
	if p.alone != nil {
		p.alone.Interrupt()
	}
	if p.m != nil {
		p.m.interrupt(p.s)
	}
}

// close closes the agent's own connections.
func (p *party) close() {
	for _, g := range p.own {
		g.rest()
	}
}

// group returns the group of an origin, nil where connections speak HTTP/1.1 from the first.
func (a *Agent) group(o *Origin) *group {
	t := a.t
	if t.Version == HTTP1 || !o.TLS && (t.Version == HTTPAuto || o.Foreign) {
		return nil
	}
	if t.Pool > 0 && !o.Foreign {
		if g := t.group(o); g != nil {
			return g
		}
	}
	p := a.party
	for _, g := range p.own {
		if g.origin == *o {
			return g
		}
	}
	g := &group{t: t, origin: *o, vu: a.vu, most: 1}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(p.own) >= mostOwn {
		p.own = slices.DeleteFunc(p.own, func(g *group) bool { return g.isOld() })
	}
	p.own = append(p.own, g)
	return g
}

// isOld closes the connections of a group that are too old, and reports whether it has none.
func (g *group) isOld() bool {
	g.mu.Lock()
	list := slices.Clone(g.list)
	g.mu.Unlock()
	for _, m := range list {
		m.mu.Lock()
		if m.isOpen && len(m.streams) == 0 && m.now()-m.opened > m.maxAge {
			m.shut(load.ClosedAge)
		}
		m.unlock()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.list) == 0
}

// group returns the group that agents share, nil where redirects have led to too many.
func (t *Transport) group(o *Origin) *group {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.groups[*o]
	if g == nil && len(t.groups) < mostPools {
		g = &group{t: t, origin: *o, most: t.Pool}
		if t.groups == nil {
			t.groups = map[Origin]*group{}
		}
		t.groups[*o] = g
	}
	return g
}

// spoke notes the version of a connection that was opened, and counts one that is another than before.
func (t *Transport) spoke(o *Origin, two bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before, known := t.spoken[*o]
	if known && before != two {
		t.Counts.VersionChanges.Add(1)
	}
	if t.spoken == nil {
		t.spoken = map[Origin]bool{}
	}
	if known || len(t.spoken) < mostPools {
		t.spoken[*o] = two
	}
}

// pick returns a connection that has room, nil where there is none. mu is locked.
func (g *group) pick() *mux {
	var best *mux
	for _, m := range g.list {
		if m.users < m.room && (best == nil || m.users < best.users) {
			best = m
			if m.users == 0 {
				break
			}
		}
	}
	if best == nil && len(g.list) < g.most || best != nil && best.users > 0 && len(g.list) < g.most {
		best = newMux(g)
		if g.session == nil && g.origin.TLS {
			g.session = &tlsSession{}
		}
		best.session = g.session
		g.list = append(g.list, best)
	}
	return best
}

// enter takes part in a connection; nil puts p in the line.
func (g *group) enter(p *party) *mux {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.line) == 0 {
		if m := g.pick(); m != nil {
			m.users++
			return m
		}
	}
	g.line = append(g.line, p)
	return nil
}

// serve gives connections that have room to those in the line. mu is locked.
func (g *group) serve() {
	for len(g.line) > 0 {
		m := g.pick()
		if m == nil {
			return
		}
		m.users++
		g.line[0].ready <- m
		g.line = slices.Delete(g.line, 0, 1)
	}
}

// leave ends a part in a connection. The last that leaves one which takes no more closes it.
func (g *group) leave(m *mux) {
	g.mu.Lock()
	m.users--
	closes := m.users == 0 && (m.retired || g.over)
	if len(g.line) > 0 {
		g.serve()
	}
	g.mu.Unlock()
	if closes {
		m.mu.Lock()
		why := m.why
		if m.leaving != nil {
			why = load.ClosedByPeer
		}
		m.shut(why)
		m.unlock()
	}
}

// quit takes p out of the line, and back what was given to it meanwhile.
func (g *group) quit(p *party) {
	g.mu.Lock()
	i := slices.Index(g.line, p)
	if i >= 0 {
		g.line = slices.Delete(g.line, i, i+1)
	}
	g.mu.Unlock()
	if i < 0 {
		g.leave(<-p.ready)
	}
}

// retire has a connection take no more exchanges.
func (g *group) retire(m *mux) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if m.retired {
		return
	}
	m.retired = true
	if i := slices.Index(g.list, m); i >= 0 {
		g.list = slices.Delete(g.list, i, i+1)
	}
	g.serve()
}

// look reads what came on connections at rest that take no exchange, which may be allowed to, or be at their end.
func (g *group) look() {
	g.mu.Lock()
	var list []*mux
	for _, m := range g.list {
		if m.users == 0 {
			list = append(list, m)
		}
	}
	g.mu.Unlock()
	for _, m := range list {
		m.mu.Lock()
		if m.isOpen && m.two && len(m.streams) == 0 {
			m.glance()
			if m.flush(); m.leaving != nil {
				m.shut(load.ClosedByPeer)
			}
		}
		m.unlock()
	}
}

// allow has a connection take so many exchanges at a time.
func (g *group) allow(m *mux, room int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m.room = room
	g.serve()
}

// shut closes all connections.
func (g *group) shut() {
	g.mu.Lock()
	list := slices.Clone(g.list)
	g.mu.Unlock()
	for _, m := range list {
		m.mu.Lock()
		m.fail(net.ErrClosed)
		m.unlock()
	}
}

// rest closes the connections at rest. One that a Stream is on takes no more exchanges, and is closed when that ends.
func (g *group) rest() {
	g.mu.Lock()
	var list, used []*mux
	for _, m := range g.list {
		if m.users > 0 {
			used = append(used, m)
		} else {
			list = append(list, m)
		}
	}
	g.mu.Unlock()
	for _, m := range used {
		g.retire(m)
	}
	for _, m := range list {
		m.mu.Lock()
		m.fail(net.ErrClosed)
		m.unlock()
	}
}

// end closes all connections, for good.
func (g *group) end() {
	g.mu.Lock()
	g.over = true
	g.mu.Unlock()
	g.shut()
}

// mostAttempts bounds how often a request is sent that connections left behind with GOAWAY: all those that share a server's
// limit on requests may reach it at the same time.
const mostAttempts = 5

// multiplexed performs the exchange, in two attempts where the first may be repeated, and in more while connections do not act on it.
func (a *Agent) multiplexed(g *group, x *Exchange, r *load.Result, begin int64) error {
	for attempt := 1; ; attempt++ {
		why := a.try(g, x, r, begin, attempt)
		if !errors.Is(why, errRetry) {
			return why
		}
		if err := a.apart(&g.origin, func(c *conn) error { return c.again(why, x.Deadline, r) }); err != nil {
			return err
		}
		if err := rewind(x.Stream); err != nil {
			return err
		}
		x.Reset()
		begin = a.now()
	}
}

// apart calls do with a connection that is not open, for what needs none.
func (a *Agent) apart(o *Origin, do func(*conn) error) error {
	c := newConn(a.t, *o, a.vu)
	if err := a.use(c); err != nil {
		return err
	}
	defer func() { _ = a.unused() }() // an interrupt has made do fail, or came too late
	return do(c)
}

// use makes a connection one that Interrupt reaches.
func (a *Agent) use(c *conn) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.interrupted {
		return errInterrupted
	}
	a.party.alone = c
	return nil
}

// unused ends use, and reports whether the agent was interrupted.
func (a *Agent) unused() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.party.alone = nil
	if a.interrupted {
		return errInterrupted
	}
	return nil
}

// ride makes a stream of a connection one that Interrupt reaches; nil is for none.
func (a *Agent) ride(m *mux) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.party.m = nil; m == nil {
		return nil
	}
	if a.interrupted {
		return errInterrupted
	}
	a.party.m, a.party.s.stopped, a.party.s.ended = m, false, true // until it is started
	return nil
}

// try performs the exchange once; errRetry asks for another attempt.
func (a *Agent) try(g *group, x *Exchange, r *load.Result, begin int64, attempt int) error {
	for {
		m, at, err := a.enter(g, begin, x.Deadline, r)
		if err != nil {
			return err
		}
		begin = at
		err = a.performOn(m, x, r, begin, attempt)
		a.party.at, a.party.peer = g.origin, m.addr
		if x.Adopted && m.two {
			a.party.s = newStream()
			return nil
		}
		g.leave(m)
		if !errors.Is(err, errUnsent) {
			return err
		}
		if begin = a.now(); begin >= x.Deadline {
			return errPoolBusy
		}
	}
}

// enter takes part in a connection, and returns the time since which the agent does. It waits until the deadline;
// the wait is a phase of the request.
func (a *Agent) enter(g *group, begin, deadline int64, r *load.Result) (*mux, int64, error) {
	p := a.party
	m := g.enter(p)
	if m != nil {
		return m, begin, nil
	}
	g.look()
	if p.timer == nil {
		p.timer = time.NewTimer(time.Duration(deadline - begin))
	} else {
		p.timer.Reset(time.Duration(deadline - begin))
	}
	var err error
	select {
	case m = <-p.ready:
	case <-p.timer.C:
		err = errPoolBusy
	case <-p.stop:
		err = errInterrupted
	}
	p.timer.Stop()
	if err != nil {
		g.quit(p)
	}
	now := a.now()
	r.Phases[load.PhaseBlocked] += now - begin
	return m, now, err
}

// performOn performs the exchange on a connection, which it opens if need be. errUnsent asks for another connection.
func (a *Agent) performOn(m *mux, x *Exchange, r *load.Result, begin int64, attempt int) error {
	mayRetry := attempt == 1
	reused, err := a.prepare(m, x, r, &begin)
	if err != nil {
		return err
	}
	if !m.two {
		return a.converse(m, x, r, begin, reused, mayRetry)
	}
	r.Version = 2
	s := a.party.s
	s.by, s.again = x.Deadline, attempt > 1
	if err := a.ride(m); err != nil {
		return err
	}
	err = m.roundTrip(s, x, r, begin)
	_ = a.ride(nil) // of none it does not fail
	if again, ok := errors.AsType[*resent](err); ok {
		if _, left := errors.AsType[*goAway](err); mayRetry || left && attempt < mostAttempts {
			return errAgain
		}
		return again.err
	}
	if err != nil && mayRetry && reused && x.received == 0 && died(err) && (x.Idempotent || s.unread) {
		return errAgain
	}
	return err
}

// converse performs the exchange on a connection of HTTP/1.1.
func (a *Agent) converse(m *mux, x *Exchange, r *load.Result, begin int64, reused, mayRetry bool) error {
	if err := a.use(&m.conn); err != nil {
		return err
	}
	r.Version = 0
	err := m.converse(x, r, begin, reused, mayRetry)
	interrupted := a.unused()
	m.mu.Lock()
	defer m.unlock()
	if m.nc == nil || interrupted != nil {
		m.shut(load.ClosedEnd)
	}
	return err
}

// prepare makes sure that a connection is open, and reports whether it was. Begin becomes the time since which it is.
func (a *Agent) prepare(m *mux, x *Exchange, r *load.Result, begin *int64) (reused bool, err error) {
	m.mu.Lock()
	if m.over != nil || m.leaving != nil {
		m.g.retire(m)
		m.unlock()
		return false, errUnsent
	}
	if m.isOpen {
		defer m.unlock()
		if why, ended := m.expired(*begin); ended {
			m.why = why
			m.g.retire(m)
			return true, errUnsent
		}
		if m.two && len(m.streams) == 0 && (*begin-m.used > idlePeek || !x.Idempotent) {
			if m.glance(); m.over != nil || m.leaving != nil {
				m.g.retire(m)
				return true, errUnsent
			}
		}
		m.left--
		if x.From.IsValid() {
			return true, CheckRedirect(x.From, a.t.Dialer.place(m.origin.Host, m.addr))
		}
		return true, nil
	}
	m.unlock()
	m.from = x.From
	if err := a.open(m, x, r); err != nil {
		m.mu.Lock()
		m.shut(load.ClosedError)
		m.unlock()
		return false, err
	}
	*begin = a.now()
	return false, nil
}

// open opens a connection that nobody else has, and finds out what version of HTTP it speaks.
func (a *Agent) open(m *mux, x *Exchange, r *load.Result) error {
	if err := a.use(&m.conn); err != nil {
		return err
	}
	err := m.open(x.Deadline, r)
	if interrupted := a.unused(); err == nil {
		err = interrupted
	}
	if err != nil {
		return err
	}
	two := a.t.Version == HTTP2
	if t, ok := m.tls.(*tls.Conn); ok {
		two = t.ConnectionState().NegotiatedProtocol == "h2"
		if !two && a.t.Version == HTTP2 && !m.origin.Foreign {
			return &ProtocolError{"the server does not choose HTTP/2"}
		}
		if p, ok := t.NetConn().(*pipe); ok && two {
			p.keeps = true
			m.pipe = p
		}
	}
	a.t.spoke(&m.origin, two)
	if two {
		m.begin()
	}
	m.mu.Lock()
	defer m.unlock()
	m.isOpen = true
	return nil
}
