package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/perfd/perfd/internal/load"
)

// A redialer holds one VU's connection to one origin, for any protocol. It opens
// the connection under guard and times the phases of doing so; it closes a
// connection that is too old or whose address DNS has dropped; and it decides
// whether a request on a reused connection that was closed is sent once more.
//
// Interrupt may be called from any goroutine. Everything else belongs to the VU.
type redialer struct {
	t      *Transport
	origin Origin
	zero   time.Time // of all times that are ns
	maxAge int64     // ns
	left   int64     // requests that the connection may still take; counted where MaxRequests is set

	// from is the address of the host whose redirect leads to the origin; the zero address where the configuration does.
	from netip.Addr

	interrupted atomic.Bool
	recalled    atomic.Bool // of a Stream: whoever uses it is to give it back

	mu     sync.Mutex         // guards writes of nc, and cancel; the VU reads nc without it
	cancel context.CancelFunc // of the dial under way, nil for none
	nc     *Conn              // the TCP connection, nil for none

	// Of the connection.
	raw                   syscall.RawConn
	fd                    int      // of nc; valid while that is open
	tls                   net.Conn // over nc; nil for plaintext
	addr                  netip.Addr
	opened, used, checked int64 // when it was opened, last used, last compared with DNS
	armed                 int64 // the read deadline that is set, ns since zero; 0 for none
	before                int64 // bytes sent before the request under way

	session *tlsSession // of the connections so far
	held    bool        // what TLS writes is held back by a pipe once the connection is open
}

// A tlsSession is what a VU resumes when it connects to an origin again, as a
// browser does: a full handshake costs the server more than most requests. VUs
// share none, since they are different users.
type tlsSession struct {
	mu    sync.Mutex  // a connection that reads may bring a session while another opens
	of    *tls.Config // it was agreed on with; another certificate or authority ends it
	state *tls.ClientSessionState
}

// Get returns the session.
func (s *tlsSession) Get(string) (*tls.ClientSessionState, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state, s.state != nil
}

// Put keeps a session; nil forgets it.
func (s *tlsSession) Put(_ string, state *tls.ClientSessionState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = state
}

// config returns a configuration under which the session is resumed.
func (s *tlsSession) config(of *tls.Config) *tls.Config {
	s.mu.Lock()
	if s.of != of {
		s.of, s.state = of, nil
	}
	s.mu.Unlock()
	c := of.Clone()
	c.ClientSessionCache = s
	return c
}

// init initializes a zero redialer. The VU's number spreads the age of connections.
func (d *redialer) init(t *Transport, o Origin, vu int) {
	d.t, d.origin, d.zero, d.maxAge = t, o, t.Zero, t.SpreadAge(vu)
}

func (d *redialer) now() int64 { return int64(time.Since(d.zero)) }

func (d *redialer) at(ns int64) time.Time { return d.zero.Add(time.Duration(ns)) }

// Interrupt makes the exchange under way return soon, and all later ones fail with
// cause canceled.
func (d *redialer) Interrupt() {
	d.interrupted.Store(true)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.nc != nil {
		_ = d.nc.SetDeadline(time.Unix(1, 0)) // a connection that is closed has nothing to interrupt
	}
	if d.cancel != nil {
		d.cancel()
	}
}

// cancelled returns errInterrupted after Interrupt. Interrupt sets the flag and
// then moves the deadline; the VU sets a deadline and then reads the flag.
func (d *redialer) cancelled() error {
	if d.interrupted.Load() {
		return errInterrupted
	}
	return nil
}

// Close closes the connection. The next exchange opens another, unless the
// redialer was interrupted.
func (d *redialer) Close() { d.close(load.ClosedEnd) }

func (d *redialer) close(why load.CloseReason) {
	nc := d.nc
	if nc == nil {
		return
	}
	d.mu.Lock()
	d.nc = nil
	d.mu.Unlock()
	d.raw, d.tls = nil, nil
	_ = nc.Close() // not the TLS connection, whose close_notify may block
	d.t.Counts.Closed[why].Add(1)
}

// move gives the connection to another redialer, which has none.
func (d *redialer) move(to *redialer) {
	d.mu.Lock()
	nc := d.nc
	d.nc = nil
	d.mu.Unlock()
	to.mu.Lock()
	defer to.mu.Unlock()
	to.origin, to.from, to.maxAge, to.left = d.origin, d.from, d.maxAge, d.left
	to.nc, to.raw, to.fd, to.tls, to.addr, to.session = nc, d.raw, d.fd, d.tls, d.addr, d.session
	to.opened, to.used, to.checked, to.armed, to.before = d.opened, d.used, d.checked, 0, d.before
	d.raw, d.tls = nil, nil
}

// connected returns with an open connection, and reports whether it was open
// before. It adds the phases of opening one to r.
func (d *redialer) connected(now, deadline int64, r *load.Result) (reused bool, err error) {
	if err := d.cancelled(); err != nil {
		return false, err
	}
	if d.nc != nil {
		why, ended := d.expired(now)
		if !ended {
			d.left--
			return true, d.checkRedirect(d.addr)
		}
		d.close(why)
	}
	return false, d.open(deadline, r)
}

// expired reports whether the connection has taken its requests, is older than its
// age, or has an address that is no longer in DNS. DNS is compared once every DNSRefresh.
func (d *redialer) expired(now int64) (why load.CloseReason, ended bool) {
	if d.left <= 0 && d.t.MaxRequests > 0 {
		return load.ClosedRequests, true
	}
	if now-d.opened > d.maxAge {
		return load.ClosedAge, true
	}
	if now-d.checked < int64(d.t.dnsRefresh()) {
		return 0, false
	}
	d.checked = now
	return load.ClosedAge, d.t.Dialer.Moved(d.origin.Host, d.origin.Port, d.addr, d.t.dnsRefresh())
}

func (d *redialer) open(deadline int64, r *load.Result) error {
	var nc *Conn
	err := d.interruptible(deadline, func(ctx context.Context) (err error) {
		nc, err = d.dial(ctx, r)
		return err
	})
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.nc = nc
	d.t.Counts.Opened.Add(1)
	return nil
}

// interruptible calls do with a context that ends at the deadline and with Interrupt.
func (d *redialer) interruptible(deadline int64, do func(context.Context) error) error {
	ctx, cancel := context.WithDeadline(context.Background(), d.at(deadline))
	defer cancel()
	d.mu.Lock()
	d.cancel = cancel
	d.mu.Unlock()
	if err := d.cancelled(); err != nil {
		return err
	}
	if d.recalled.Load() {
		return ErrRecalled
	}
	err := do(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cancel = nil
	if err != nil {
		if why := d.cancelled(); why != nil {
			err = why
		}
	}
	return err
}

// resolve returns those addresses of the origin that requests may go to.
func (d *redialer) resolve(ctx context.Context) ([]netip.Addr, error) {
	return d.t.Dialer.resolveFrom(ctx, d.origin.Host, d.origin.Port, d.t.dnsRefresh(), d.from)
}

// checkRedirect checks the redirect that leads to the origin by way of a peer's address.
func (d *redialer) checkRedirect(peer netip.Addr) error {
	if !d.from.IsValid() {
		return nil
	}
	return CheckRedirect(d.from, d.t.Dialer.place(d.origin.Host, peer))
}

// dial opens a connection, timing each phase.
func (d *redialer) dial(ctx context.Context, r *load.Result) (*Conn, error) {
	begin := d.now()
	addrs, err := d.resolve(ctx)
	resolved := d.now()
	r.Phases[load.PhaseDNS] += resolved - begin
	if err != nil {
		return nil, err
	}
	nc, err := d.t.Dialer.Connect(ctx, d.origin.Host, addrs, d.origin.Port)
	connected := d.now()
	r.Phases[load.PhaseConnect] += connected - resolved
	if err != nil {
		return nil, err
	}
	d.opened, d.used, d.checked, d.armed, d.before = connected, connected, connected, 0, 0
	d.left = int64(d.t.MaxRequests) - 1
	if d.raw, err = nc.SyscallConn(); err == nil {
		err = d.raw.Control(func(fd uintptr) { d.fd = int(fd) })
	}
	if peer, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		d.addr = peer.AddrPort().Addr().Unmap()
	}
	if err == nil && d.origin.TLS {
		err = d.handshake(ctx, nc)
		r.Phases[load.PhaseTLS] += d.now() - connected
	}
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	return nc, nil
}

// handshake opens TLS over a connection.
func (d *redialer) handshake(ctx context.Context, nc *Conn) error {
	if d.session == nil {
		d.session = &tlsSession{}
	}
	under := net.Conn(nc)
	if d.held {
		under = &pipe{Conn: nc}
	}
	t, err := Handshake(ctx, under, d.session.config(d.t.tlsConfig(&d.origin)))
	if err == nil {
		d.tls = t
	}
	return err
}

// settle closes the connection on which an exchange failed after received bytes of
// its answer. It returns errRetry if the request is to be sent once more (SEMANTICS
// section 8), and err otherwise. A request may be sent once more if it was the
// first attempt and on a reused connection.
func (d *redialer) settle(err error, received int64, idempotent, mayRetry bool) error {
	why := load.ClosedError
	switch {
	case errors.Is(err, errStale):
		why, err = load.ClosedByPeer, errRetry
	case mayRetry && received == 0 && died(err) && (idempotent || d.untouched(err)):
		why, err = load.ClosedStale, errAgain
	}
	d.close(why)
	return err
}

// untouched reports whether the peer provably read nothing of the request: it had
// ended the stream, and its system has acknowledged no byte of the request. TCP's
// count of acknowledged bytes includes one for the connection itself.
func (d *redialer) untouched(err error) bool {
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !anyOf(err, syscall.EPIPE) {
		return false
	}
	none := false
	cerr := d.raw.Control(func(fd uintptr) {
		n, ok := acked(fd)
		none = ok && n <= uint64(d.before)+1
	})
	return cerr == nil && none
}
