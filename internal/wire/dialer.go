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
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/perfd/perfd/internal/load"
)

// DialerOptions are the options of a Dialer.
type DialerOptions struct {
	Guard Guard
	// MaxConnections bounds the connections that are open or being opened; 0 is no bound.
	MaxConnections int
	// Proxy is what every connection goes through; nil is none. The guard is asked
	// for the proxy's name and address too; behind it, the name of a host is all that
	// can be checked.
	Proxy *Proxy
	// Local are the addresses of this machine that connections come from, in turn; without any, the system chooses. An
	// address of a host is reached from one of its own family only.
	Local []netip.Addr
	// Static are the addresses of hosts and ports that no resolver is asked for. The guard is asked as it is for
	// those of a resolver.
	Static map[HostPort][]netip.Addr
	// Lookup resolves a name; nil is the system's resolver.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// Connect opens a connection to an address that the guard allows, from one of Local or, for the zero address, from
	// any; nil is the system's way.
	Connect func(ctx context.Context, from netip.Addr, to netip.AddrPort) (*net.TCPConn, error)
}

// A HostPort is a port of a host.
type HostPort struct {
	Host string // in lower case, without brackets
	Port uint16
}

// A Network is what dialers reach other machines by; the zero Network is that of the system.
type Network struct {
	Lookup  func(ctx context.Context, host string) ([]netip.Addr, error)
	Connect func(ctx context.Context, from netip.Addr, to netip.AddrPort) (*net.TCPConn, error)
}

// NewDialer returns a dialer of the network.
func (n Network) NewDialer(o DialerOptions) *Dialer {
	o.Lookup, o.Connect = n.Lookup, n.Connect
	return NewDialer(o)
}

// A Dialer resolves and connects under guard. It is safe for concurrent use.
type Dialer struct {
	guard          Guard
	proxy          *Proxy
	maxConnections int64
	names          names
	local          []netip.Addr
	static         map[HostPort][]netip.Addr
	dial           func(ctx context.Context, from netip.Addr, to netip.AddrPort) (*net.TCPConn, error)

	open      atomic.Int64
	turn      atomic.Uint64 // of local
	noPorts   atomic.Uint64
	exhausted atomic.Pointer[Exhaustion]
}

// ErrTooManyConnections says that limits.connections is reached.
var ErrTooManyConnections = errors.New("limits.connections is reached")

// NewDialer returns a Dialer. It starts nothing.
func NewDialer(o DialerOptions) *Dialer {
	if o.Lookup == nil {
		o.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if o.Connect == nil {
		o.Connect = connectFrom
	}
	return &Dialer{
		dial:           o.Connect,
		guard:          o.Guard,
		proxy:          o.Proxy,
		maxConnections: int64(o.MaxConnections),
		names:          names{lookup: o.Lookup, of: map[string]*name{}},
		local:          o.Local,
		static:         o.Static,
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
// a host and port is opened to: the host or, where there is one, the proxy. An
// answer of DNS is used for the time of refresh, and for longer if DNS then fails to answer.
func (d *Dialer) Resolve(ctx context.Context, host string, port uint16, refresh time.Duration) ([]netip.Addr, error) {
	if err := d.guard.CheckHost(host); err != nil {
		return nil, err
	}
	if d.proxy != nil {
		host, port = d.proxy.Host, d.proxy.Port
		if err := d.guard.CheckHost(host); err != nil {
			return nil, err
		}
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr.Unmap()}, nil
	}
	found, err := d.static[HostPort{host, port}], error(nil)
	if found == nil {
		found, err = d.names.resolve(ctx, host, refresh)
	}
	if err != nil {
		return nil, err
	}
	return only(found, func(addr netip.Addr) error { return d.guard.check(host, addr) })
}

// only returns the addresses that are allowed, or why the last one is not where there are none.
func only(found []netip.Addr, check func(netip.Addr) error) (allowed []netip.Addr, err error) {
	allowed = make([]netip.Addr, 0, len(found))
	for _, addr := range found {
		if refused := check(addr); refused != nil {
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

// resolveFrom is Resolve for a host to which a redirect of the host at an address
// leads; the zero address is that of none.
func (d *Dialer) resolveFrom(ctx context.Context, host string, port uint16, refresh time.Duration, from netip.Addr) ([]netip.Addr, error) {
	found, err := d.Resolve(ctx, host, port, refresh)
	if err != nil || !from.IsValid() {
		return found, err
	}
	return only(found, func(addr netip.Addr) error { return CheckRedirect(from, d.place(host, addr)) })
}

// Known returns the addresses of a host and port as far as it was resolved before. It never blocks.
func (d *Dialer) Known(host string, port uint16) []netip.Addr {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr.Unmap()}
	}
	if static := d.static[HostPort{host, port}]; static != nil {
		return static
	}
	return d.names.known(host)
}

// Moved reports whether the last answer of DNS for a host and port lacks an address. It
// never blocks: an answer older than refresh is refreshed in the background.
func (d *Dialer) Moved(host string, port uint16, addr netip.Addr, refresh time.Duration) bool {
	if d.proxy != nil {
		host, port = d.proxy.Host, d.proxy.Port
	}
	if _, err := netip.ParseAddr(host); err == nil || d.static[HostPort{host, port}] != nil {
		return false
	}
	return d.names.moved(host, addr, refresh)
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
	near, direct := host, port
	if d.proxy != nil {
		near, direct = d.proxy.Host, d.proxy.Port
	}
	tcp, err := d.connect(ctx, near, addrs, direct)
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
	return Place(host)
}

// Place returns the address of a host as far as its name says it, and for any other name
// one that is neither loopback nor private.
func Place(host string) netip.Addr {
	host = canonical(host)
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap()
	}
	if addr, ok := numeric(host); ok {
		return addr
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
		if c, err = d.connectTo(ctx, host, addr, port, len(addrs)-i); err == nil {
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

// connectTo connects to one address of a host. With n addresses left it takes at most an
// n-th of the time that is left.
func (d *Dialer) connectTo(ctx context.Context, host string, addr netip.Addr, port uint16, n int) (*net.TCPConn, error) {
	if err := d.guard.check(host, addr); err != nil {
		return nil, err
	}
	if until, ok := ctx.Deadline(); ok && n > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(until)/time.Duration(n))
		defer cancel()
	}
	c, err := d.dialFrom(ctx, netip.AddrPortFrom(addr, port))
	d.noteExhaustion(err)
	return c, err
}

// dialFrom connects from the next local address, and where that has no port left, from the one after it.
func (d *Dialer) dialFrom(ctx context.Context, to netip.AddrPort) (*net.TCPConn, error) {
	if len(d.local) == 0 {
		return d.dial(ctx, netip.Addr{}, to)
	}
	err := error(&localError{to.Addr(), errNoFamily})
	turn := d.turn.Add(1)
	for i := range uint64(len(d.local)) {
		from := d.local[(turn+i)%uint64(len(d.local))]
		if from.Is4() != to.Addr().Is4() {
			continue
		}
		var c *net.TCPConn
		if c, err = d.dial(ctx, from, to); err == nil || !anyOf(err, syscall.EADDRNOTAVAIL) {
			return c, err
		}
		if call, ok := errors.AsType[*os.SyscallError](err); ok && call.Syscall == "bind" {
			return nil, &localError{from, call.Err}
		}
	}
	return nil, err
}

// errNoFamily says that no local address is of a host's family.
var errNoFamily = errors.New("no entry of local_addresses is of its family")

// A localError says what is wrong with the addresses that connections come from. It hides the
// number of the system's error, which is that of a machine without ports too.
type localError struct {
	addr netip.Addr
	err  error
}

func (e *localError) Error() string {
	if errors.Is(e.err, errNoFamily) {
		return e.addr.String() + " cannot be reached: " + e.err.Error()
	}
	return "connections cannot come from " + e.addr.String() + ", an entry of local_addresses: " + e.err.Error()
}

// Cause is that of what perfd keeps back itself.
func (e *localError) Cause() load.Cause { return load.Overload }

// connectFrom opens a connection. The port of a given address is chosen when it connects, so that
// one address has its ports for each host and not once for all.
func connectFrom(ctx context.Context, from netip.Addr, to netip.AddrPort) (*net.TCPConn, error) {
	if !from.IsValid() {
		var d net.Dialer
		return d.DialTCP(ctx, "tcp", netip.AddrPort{}, to)
	}
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error { return c.Control(bindLater) }}
	return d.DialTCP(ctx, "tcp", netip.AddrPortFrom(from, 0), to)
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

// sender is the key of a context's value that Led sets.
type sender struct{}

// Led returns a context in which DialContext goes where a redirect of the host at an
// address leads, so that what CheckRedirect refuses is not dialled.
func Led(ctx context.Context, from netip.Addr) context.Context {
	return context.WithValue(ctx, sender{}, from)
}

// DialContext resolves and connects. It has the signature of net.Dialer.DialContext, for libraries.
func (d *Dialer) DialContext(ctx context.Context, _, addr string) (net.Conn, error) {
	o, err := ParseOrigin(addr)
	if err != nil {
		return nil, err
	}
	from, _ := ctx.Value(sender{}).(netip.Addr)
	addrs, err := d.resolveFrom(ctx, o.Host, o.Port, defaultRefresh, from)
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
