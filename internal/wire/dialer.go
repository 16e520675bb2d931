// Package wire is the way onto the network: guarded dial, DNS, TLS, phases,
// cookies, and the HTTP/1.1 user agent that the HTTP family of protocols shares.
//
// A Link is a connection for any protocol, an Agent the connections of HTTP/1.1;
// both belong to one VU, can be interrupted, and redial.
//
// The Agent writes a plaintext request and reads its answer inside one RawConn
// callback: the first call writes, the next ones read. A connection that waits,
// for an answer or for its VU, holds no buffer.
package wire

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// DialerOptions are the options of a Dialer.
type DialerOptions struct {
	Guard Guard
	// DNSRefresh is how long an answer of DNS is used (default 30s).
	DNSRefresh time.Duration
	// MaxConnections bounds the connections that are open or being opened; 0 is no bound.
	MaxConnections int
	// Proxy is what every connection goes through; nil is none. The guard is asked
	// for the proxy's name and address too; behind it, the name of a host is all that
	// can be checked.
	Proxy *Proxy
	// Lookup resolves a name; nil is the system's resolver.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
}

// A Dialer resolves and connects under guard. It is safe for concurrent use.
type Dialer struct {
	guard          Guard
	proxy          *Proxy
	maxConnections int64
	names          names

	open      atomic.Int64
	noPorts   atomic.Uint64
	exhausted atomic.Pointer[Exhaustion]
}

// ErrTooManyConnections says that limits.connections is reached.
var ErrTooManyConnections = errors.New("limits.connections is reached")

// NewDialer returns a Dialer. It starts nothing.
func NewDialer(o DialerOptions) *Dialer {
	if o.DNSRefresh <= 0 {
		o.DNSRefresh = 30 * time.Second
	}
	if o.Lookup == nil {
		o.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	return &Dialer{
		guard:          o.Guard,
		proxy:          o.Proxy,
		maxConnections: int64(o.MaxConnections),
		names:          names{lookup: o.Lookup, refresh: o.DNSRefresh, of: map[string]*name{}},
	}
}

// Guard returns the dialer's guard, which must not be changed.
func (d *Dialer) Guard() *Guard { return &d.guard }

// Open returns the number of connections that are open or being opened.
func (d *Dialer) Open() int { return int(d.open.Load()) }

// NoPorts returns how many connects failed because the machine had no local port left.
func (d *Dialer) NoPorts() uint64 { return d.noPorts.Load() }

// An Exhaustion is a connect that failed because the machine or the process had
// no local port left or, where Ports is not set, no file descriptor.
type Exhaustion struct {
	At    time.Time
	Ports bool
}

// Exhausted returns the last exhaustion, nil where there was none.
func (d *Dialer) Exhausted() *Exhaustion { return d.exhausted.Load() }

// Resolve returns those addresses that the guard allows of what a connection to
// a host is opened to: the host or, where there is one, the proxy. It remembers
// an answer of DNS for DNSRefresh, and for longer if DNS then fails to answer.
func (d *Dialer) Resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if err := d.guard.CheckHost(host); err != nil {
		return nil, err
	}
	if d.proxy != nil {
		host = d.proxy.Host
		if err := d.guard.CheckHost(host); err != nil {
			return nil, err
		}
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr.Unmap()}, nil
	}
	found, err := d.names.resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	allowed := make([]netip.Addr, 0, len(found))
	for _, addr := range found {
		if refused := d.guard.CheckAddr(addr); refused != nil {
			err = refused
			continue
		}
		allowed = append(allowed, addr.Unmap())
	}
	if len(allowed) == 0 {
		return nil, err
	}
	return allowed, nil
}

// Known returns the addresses of a host as far as it was resolved before. It never blocks.
func (d *Dialer) Known(host string) []netip.Addr {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr.Unmap()}
	}
	return d.names.known(host)
}

// Moved reports whether the last answer of DNS for a host lacks an address. It
// never blocks: an answer older than DNSRefresh is refreshed in the background.
func (d *Dialer) Moved(host string, addr netip.Addr) bool {
	if d.proxy != nil {
		host = d.proxy.Host
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return false
	}
	return d.names.moved(host, addr)
}

// Connect opens a connection to a host by one of the addresses that Resolve returned; where one fails it
// tries the next. Successive connections begin with successive addresses of the
// family that DNS lists first. A connection counts against MaxConnections until it
// is closed.
func (d *Dialer) Connect(ctx context.Context, host string, addrs []netip.Addr, port uint16) (*Conn, error) {
	if open := d.open.Add(1); d.maxConnections > 0 && open > d.maxConnections {
		d.open.Add(-1)
		return nil, ErrTooManyConnections
	}
	direct := port
	if d.proxy != nil {
		direct = d.proxy.Port
	}
	tcp, err := d.connect(ctx, host, addrs, direct)
	if err != nil {
		d.open.Add(-1)
		return nil, err
	}
	c := &Conn{TCPConn: tcp, d: d}
	if d.proxy != nil {
		if err := d.proxy.tunnel(ctx, c, net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(int(port)))); err != nil {
			_ = c.Close()
			return nil, err
		}
	}
	return c, nil
}

// elsewhere stands for the address of a name behind a proxy, which only the proxy
// knows: it is neither loopback nor private.
var elsewhere = netip.IPv4Unspecified()

// place returns the address of a host that is reached by a connection to peer. Behind
// the proxy, whose address is the peer's, the host's name is all that says it.
func (d *Dialer) place(host string, peer netip.Addr) netip.Addr {
	if d.proxy == nil {
		return peer
	}
	host = strings.ToLower(strings.Trim(strings.TrimSuffix(host, "."), "[]"))
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap()
	}
	if isLocalhost(host) {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return elsewhere
}

func (d *Dialer) connect(ctx context.Context, host string, addrs []netip.Addr, port uint16) (*net.TCPConn, error) {
	if len(addrs) > 1 {
		addrs = inTurn(addrs, d.names.next(host))
	}
	err := error(&net.DNSError{Err: "no addresses", Name: host, IsNotFound: true})
	for i, addr := range addrs {
		var c *net.TCPConn
		if c, err = d.connectTo(ctx, addr, port, len(addrs)-i); err == nil {
			return c, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, err
}

// inTurn rotates the addresses of the first one's family, and appends the others.
func inTurn(addrs []netip.Addr, turn int) []netip.Addr {
	out := make([]netip.Addr, 0, len(addrs))
	var others []netip.Addr
	for _, addr := range addrs {
		if addr.Is4() == addrs[0].Is4() {
			out = append(out, addr)
		} else {
			others = append(others, addr)
		}
	}
	turn %= len(out)
	return slices.Concat(out[turn:], out[:turn], others)
}

// connectTo connects to one address. With n addresses left it takes at most an
// n-th of the time that is left.
func (d *Dialer) connectTo(ctx context.Context, addr netip.Addr, port uint16, n int) (*net.TCPConn, error) {
	if err := d.guard.CheckAddr(addr); err != nil {
		return nil, err
	}
	if until, ok := ctx.Deadline(); ok && n > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(until)/time.Duration(n))
		defer cancel()
	}
	var dialer net.Dialer
	c, err := dialer.DialTCP(ctx, "tcp", netip.AddrPort{}, netip.AddrPortFrom(addr, port))
	d.noteExhaustion(err)
	return c, err
}

// noteExhaustion notes a connect's error if it is one of the machine's own.
func (d *Dialer) noteExhaustion(err error) {
	if !anyOf(err, syscall.EADDRNOTAVAIL, syscall.EMFILE, syscall.ENFILE) {
		return
	}
	ports := errors.Is(err, syscall.EADDRNOTAVAIL)
	d.exhausted.Store(&Exhaustion{At: time.Now(), Ports: ports})
	if ports {
		d.noPorts.Add(1)
	}
}

// DialContext resolves and connects. It has the signature of net.Dialer.DialContext, for libraries.
func (d *Dialer) DialContext(ctx context.Context, _, addr string) (net.Conn, error) {
	o, err := ParseOrigin(addr)
	if err != nil {
		return nil, err
	}
	addrs, err := d.Resolve(ctx, o.Host)
	if err != nil {
		return nil, err
	}
	c, err := d.Connect(ctx, o.Host, addrs, o.Port)
	if err != nil {
		return nil, err // not c: a nil *Conn is not a nil net.Conn
	}
	return c, nil
}

// A Conn is a TCP connection that counts against its dialer's MaxConnections
// until it is closed. It counts the bytes that are written to it.
type Conn struct {
	*net.TCPConn
	d    *Dialer
	once sync.Once
	sent atomic.Int64
}

// Write writes to the connection.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.TCPConn.Write(p)
	c.sent.Add(int64(n))
	return n, err
}

// ReadFrom writes what it reads to the connection.
func (c *Conn) ReadFrom(r io.Reader) (int64, error) {
	n, err := c.TCPConn.ReadFrom(r)
	c.sent.Add(n)
	return n, err
}

// Close closes the connection.
func (c *Conn) Close() error {
	c.once.Do(func() { c.d.open.Add(-1) })
	return c.TCPConn.Close()
}
