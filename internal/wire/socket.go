package wire

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/perfd/perfd/internal/load"
)

// largestDatagram is more than any datagram over UDP holds, in bytes.
const largestDatagram = 64 << 10

// mostDrained is how many datagrams that nobody waits for are read before a request. A socket that has more is replaced.
const mostDrained = 64

var datagrams = sync.Pool{New: func() any { return &buffer{make([]byte, largestDatagram)} }}

// A Socket is one VU's UDP socket for one origin, for protocols whose requests and answers are datagrams. It is connected,
// so that datagrams of others never reach it, and replaced when it is older than MaxAge or DNS has dropped its address.
//
// Nothing in UDP says to which request a datagram is the answer. What has come before a request is dropped when that
// begins; and after a request that failed, for which an answer may yet come, the next one has a socket with another port.
// What is left is an answer that comes twice, which only the protocol can tell by what is in it: it asks again with Ask
// for the next, and calls Ignored.
//
// Interrupt may be called from any goroutine. Everything else belongs to the VU.
type Socket struct {
	t      *Transport
	origin Origin
	zero   time.Time
	maxAge int64                 // ns
	ready  func(fd uintptr) bool // onReady, bound once so that a request allocates nothing
	drain  func(fd uintptr)      // onDrain, likewise

	interrupted atomic.Bool

	mu     sync.Mutex         // guards writes of nc, and cancel; the VU reads nc without it
	cancel context.CancelFunc // of the look-up under way, nil for none
	nc     *udpConn           // nil for none

	// Of the socket.
	raw                    syscall.RawConn
	addr                   netip.Addr
	opened, checked, armed int64 // as those of a redialer
	made                   int   // requests
	worn                   bool  // the next request has another
	why                    load.CloseReason

	// Of the exchange under way.
	deadline       int64 // ns since zero
	first          int64 // when the last datagram came, ns since zero; 0 before
	begin          int64 // when the request began on the socket
	sent, received int64 // bytes

	// Of the callback.
	out     []byte // to be written, nil for nothing
	waits   bool   // it reads then
	into    []byte
	ioErr   error
	drained int
}

// NewSocket returns a socket that is not open. The VU's number spreads the age of sockets.
func NewSocket(t *Transport, o Origin, vu int) *Socket {
	s := &Socket{t: t, origin: o, zero: t.Zero, maxAge: t.SpreadAge(vu)}
	s.ready, s.drain = s.onReady, s.onDrain
	return s
}

// Now returns the time since the transport's zero in ns.
func (s *Socket) Now() int64 { return int64(time.Since(s.zero)) }

// Interrupt makes the exchange under way return soon, and all later ones fail with cause canceled.
func (s *Socket) Interrupt() {
	s.interrupted.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.nc != nil {
		_ = s.nc.SetDeadline(time.Unix(1, 0)) // a socket that is closed has nothing to interrupt
	}
	if s.cancel != nil {
		s.cancel()
	}
}

func (s *Socket) cancelled() error {
	if s.interrupted.Load() {
		return errInterrupted
	}
	return nil
}

// Close closes the socket. The next exchange opens another, unless the Socket was interrupted.
func (s *Socket) Close() { s.close(load.ClosedEnd) }

func (s *Socket) close(why load.CloseReason) {
	s.mu.Lock()
	nc := s.nc
	s.nc, s.raw = nil, nil
	s.mu.Unlock()
	s.shut(nc, why)
}

func (s *Socket) shut(nc *udpConn, why load.CloseReason) {
	if nc != nil {
		_ = nc.Close()
		s.t.Counts.Closed[why].Add(1)
	}
}

// Ignored counts a datagram that came and is no answer to the request under way.
func (s *Socket) Ignored() { s.t.Counts.Ignored.Add(1) }

// Exchange performs one request by the deadline, a time since the transport's zero, as Link.Exchange does: do writes it and
// waits for its answer with Ask or Tell. What was sent is not sent again.
func (s *Socket) Exchange(deadline time.Duration, r *load.Result, do func() error) error {
	s.deadline = int64(deadline)
	r.Sent = s.Now()
	s.sent, s.received, s.first = 0, 0, 0
	err := s.connected(r)
	if err == nil {
		s.begin = s.Now()
		if err = s.arm(s.begin); err == nil {
			err = do()
		}
		if err != nil {
			s.wear(load.ClosedError) // an answer may yet come that nobody waits for
			if why := s.cancelled(); why != nil {
				err = why
			}
		}
	}
	r.SentBytes += s.sent
	r.ReceivedBytes += s.received
	r.Done = s.Now()
	if err == nil && s.first > 0 {
		r.Done = s.first // the protocol has looked at it since
	}
	if s.begin >= r.Sent && s.first > 0 {
		r.Phases[load.PhaseFirstByte] += s.first - s.begin
	} else if err == nil {
		r.Phases[load.PhaseFirstByte] += r.Done - s.begin
	}
	return err
}

// connected returns with an open socket on which nothing waits.
func (s *Socket) connected(r *load.Result) error {
	if err := s.cancelled(); err != nil {
		return err
	}
	if s.nc != nil && !s.worn {
		s.age(s.Now())
	}
	if s.nc != nil && !s.worn {
		s.drained = 0
		if err := s.raw.Control(s.drain); err != nil {
			return err
		}
		for range s.drained {
			s.Ignored()
		}
		if s.drained >= mostDrained {
			s.wear(load.ClosedError)
		}
	}
	if s.nc == nil || s.worn {
		if err := s.open(r); err != nil {
			return err
		}
	}
	s.made++
	return nil
}

// Renew gives the next request another socket.
func (s *Socket) Renew() { s.wear(load.ClosedEnd) }

func (s *Socket) wear(why load.CloseReason) { s.worn, s.why = true, why }

// age wears a socket that has taken its requests, is older than its age, or has an address that is no longer in DNS.
func (s *Socket) age(now int64) {
	switch {
	case s.t.MaxRequests > 0 && s.made >= s.t.MaxRequests:
		s.wear(load.ClosedRequests)
	case now-s.opened > s.maxAge:
		s.wear(load.ClosedAge)
	case now-s.checked >= int64(s.t.dnsRefresh()):
		s.checked = now
		if s.t.Dialer.Moved(s.origin.Host, s.origin.Port, s.addr, s.t.dnsRefresh()) {
			s.wear(load.ClosedAge)
		}
	}
}

// open opens a socket. One that is worn is closed after that, so that the new one has another port.
func (s *Socket) open(r *load.Result) error {
	ctx, cancel := context.WithDeadline(context.Background(), s.zero.Add(time.Duration(s.deadline)))
	defer cancel()
	s.mu.Lock()
	s.cancel = cancel
	s.mu.Unlock()
	why := s.why
	if s.nc != nil {
		s.nc.release() // in favour of the new one
	}
	nc, err := s.dial(ctx, r)
	s.mu.Lock()
	s.cancel = nil
	old := s.nc
	if err == nil {
		s.nc = nc
		s.t.Counts.Opened.Add(1)
	} else {
		s.nc, s.raw = nil, nil
	}
	s.mu.Unlock()
	s.shut(old, why)
	if stopped := s.cancelled(); stopped != nil {
		return stopped
	}
	return err
}

// dial opens a socket, timing each phase.
func (s *Socket) dial(ctx context.Context, r *load.Result) (*udpConn, error) {
	if err := s.cancelled(); err != nil {
		return nil, err
	}
	begin := s.Now()
	addrs, err := s.t.Dialer.Resolve(ctx, s.origin.Host, s.origin.Port, s.t.dnsRefresh())
	resolved := s.Now()
	r.Phases[load.PhaseDNS] += resolved - begin
	if err != nil {
		return nil, err
	}
	nc, err := s.t.Dialer.connectUDP(s.origin.Host, addrs, s.origin.Port)
	connected := s.Now()
	r.Phases[load.PhaseConnect] += connected - resolved
	if err != nil {
		return nil, err
	}
	raw, err := nc.SyscallConn()
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	s.raw, s.addr = raw, netip.Addr{}
	if peer, ok := nc.RemoteAddr().(*net.UDPAddr); ok {
		s.addr = peer.AddrPort().Addr().Unmap()
	}
	s.opened, s.checked, s.armed, s.made, s.worn = connected, connected, 0, 0, false
	return nc, nil
}

// arm makes the socket's calls return by the deadline. One that is set already stays if it is early enough.
func (s *Socket) arm(now int64) error {
	if s.armed > now && s.armed <= s.deadline {
		return nil
	}
	s.armed = s.deadline
	if err := s.nc.SetDeadline(s.zero.Add(time.Duration(s.armed))); err != nil {
		return err
	}
	return s.cancelled()
}

// Tell sends a datagram and waits for nothing.
func (s *Socket) Tell(p []byte) error {
	s.out, s.waits = p, false
	return s.wait()
}

// Ask sends a datagram, or nothing where p is nil, and waits for the next one that comes, which it returns in into.
func (s *Socket) Ask(p, into []byte) (answer []byte, err error) {
	s.out, s.waits, s.into = p, true, into[:0]
	err = s.wait()
	answer, s.into = s.into, nil
	if err == nil {
		s.first = s.Now()
		s.received += int64(len(answer))
	}
	return answer, err
}

// wait runs the callback until it is done.
func (s *Socket) wait() error {
	s.ioErr = nil
	for {
		err := s.raw.Read(s.ready)
		if err == nil {
			return s.ioErr
		}
		if why := s.cancelled(); why != nil {
			return why
		}
		now := s.Now()
		if !errors.Is(err, os.ErrDeadlineExceeded) || now >= s.deadline {
			return err
		}
		s.armed = 0
		if err := s.arm(now); err != nil {
			return err
		}
	}
}

// onReady is the callback of RawConn.Read. RawConn.Read resets the poller's edge before the first call, which therefore
// writes before it waits.
func (s *Socket) onReady(fd uintptr) bool {
	if s.out != nil {
		n, errno := write(fd, s.out)
		s.out = nil
		if errno != 0 { // a full buffer included: what it holds is not the target's, and would be lost on the way
			s.ioErr = errno
			return true
		}
		s.sent += int64(n)
		return !s.waits
	}
	b, _ := datagrams.Get().(*buffer)
	defer datagrams.Put(b)
	n, errno := read(fd, b.b)
	switch {
	case errno == syscall.EAGAIN:
		return false
	case errno != 0:
		s.ioErr = errno
	default:
		s.into = append(s.into, b.b[:n]...)
	}
	return true
}

// onDrain reads what has come, and the errors of what was sent before.
func (s *Socket) onDrain(fd uintptr) {
	var b [1]byte // the rest of a datagram is dropped with it
	for range mostDrained {
		_, errno := read(fd, b[:])
		if errno == syscall.EAGAIN {
			return
		}
		if errno == 0 {
			s.drained++
		}
	}
	s.drained = mostDrained
}

// A udpConn is a UDP socket that counts against its dialer's MaxConnections until it is released or closed.
type udpConn struct {
	*net.UDPConn
	d    *Dialer
	once sync.Once
}

// release ends that the socket counts: it is about to be replaced.
func (c *udpConn) release() { c.once.Do(func() { c.d.open.Add(-1) }) }

// Close closes the socket.
func (c *udpConn) Close() error {
	c.release()
	return c.UDPConn.Close()
}

// connectUDP connects a UDP socket to a host by one of the addresses that Resolve returned, as Connect does.
func (d *Dialer) connectUDP(host string, addrs []netip.Addr, port uint16) (*udpConn, error) {
	if d.proxy != nil {
		return nil, &RefusedError{host, "datagrams do not go through proxy_url"}
	}
	if open := d.open.Add(1); d.maxConnections > 0 && open > d.maxConnections {
		d.open.Add(-1)
		return nil, ErrTooManyConnections
	}
	if len(addrs) > 1 {
		addrs = inTurn(addrs, d.names.next(host))
	}
	err := error(&net.DNSError{Err: "no addresses", Name: host, IsNotFound: true})
	for _, addr := range addrs {
		if err = d.guard.check(host, addr); err != nil {
			continue
		}
		var nc *net.UDPConn
		if nc, err = d.dialUDP(netip.AddrPortFrom(addr, port)); err == nil {
			return &udpConn{UDPConn: nc, d: d}, nil
		}
		d.noteExhaustion(err)
	}
	d.open.Add(-1)
	return nil, err
}

// dialUDP connects from the next local address of the family, where there are any.
func (d *Dialer) dialUDP(to netip.AddrPort) (*net.UDPConn, error) {
	if len(d.local) == 0 {
		return net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	}
	turn := d.turn.Add(1)
	for i := range uint64(len(d.local)) {
		from := d.local[(turn+i)%uint64(len(d.local))]
		if from.Is4() == to.Addr().Is4() {
			return net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), net.UDPAddrFromAddrPort(to))
		}
	}
	return nil, &localError{to.Addr(), errNoFamily}
}
