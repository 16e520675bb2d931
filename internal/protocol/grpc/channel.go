package grpc

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/stats"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/wire"
)

// An endpoint is where the steps of a target send their requests, and how.
type endpoint struct {
	key       protocol.Key
	origin    wire.Origin
	address   string // host:port
	authority string
	tls       *wire.TLS // of an origin with TLS
	target    *TargetConfig
}

// A line is the place of one channel, which is replaced when it is of no more use. It is safe
// for concurrent use.
type line struct {
	to     *endpoint
	env    *protocol.Env
	maxAge int64 // ns

	mu      sync.Mutex
	now     *channel // nil for none
	checked int64    // when the address was last compared with DNS, ns since zero
	closed  bool

	resumed tls.ClientSessionCache // of the connections so far; nil for none
}

// A channel is one ClientConn and what is known of its connection.
type channel struct {
	cc   *grpc.ClientConn
	line *line

	users   int  // requests under way; line.mu guards it
	taken   int  // requests so far; likewise
	retired bool // likewise: it is closed when the last of them ends

	sent, received atomic.Int64 // bytes that no result has yet
	arrived        atomic.Int64 // bytes that ever came
	conn           atomic.Pointer[conn]
	dial           atomic.Pointer[dial] // the last one
	why            atomic.Int32         // a load.CloseReason, of connections that end without a failure of the network
}

// A dial is how a connection was opened, in ns since zero and ns.
type dial struct {
	begin, end        int64 // of all phases
	dns, connect, tls int64
	err               error
}

func newLine(e *endpoint, env *protocol.Env, vu int) *line {
	t := env.Transport()
	e.target.Connections.Set(t)
	l := &line{to: e, env: env, maxAge: t.SpreadAge(vu)}
	if e.origin.TLS && e.target.TLS.SessionResumption {
		l.resumed = tls.NewLRUClientSessionCache(1)
	}
	return l
}

// take returns the channel for a request, which give takes back.
func (l *line) take(now int64) (*channel, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, context.Canceled
	}
	if c := l.now; c != nil {
		switch most := l.to.target.Connections.MaxRequests; {
		case most > 0 && c.taken >= most:
			l.drop(c, load.ClosedRequests)
		case l.expired(c, now):
			l.drop(c, load.ClosedAge)
		}
	}
	if l.now == nil {
		c, err := l.open()
		if err != nil {
			return nil, err
		}
		l.now = c
	}
	l.now.users++
	l.now.taken++
	return l.now, nil
}

// expired reports whether a channel's connection is older than its age, or its address is no longer in DNS.
func (l *line) expired(c *channel, now int64) bool {
	nc := c.conn.Load()
	if nc == nil {
		return false
	}
	if now-nc.opened > l.maxAge {
		return true
	}
	if now-l.checked < int64(l.to.target.Connections.DNSRefresh) {
		return false
	}
	l.checked = now
	return nc.addr.IsValid() && l.env.Dialer.Moved(l.to.origin.Host, l.to.origin.Port, nc.addr, l.to.target.Connections.DNSRefresh.D())
}

// give takes a channel back. One that is of no more use is replaced before the next request.
func (l *line) give(c *channel, useless bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.users--; useless {
		l.drop(c, load.ClosedError)
	} else if c.retired && c.users == 0 {
		c.close()
	}
}

// drop lets a channel end with its last request.
func (l *line) drop(c *channel, why load.CloseReason) {
	if l.now == c {
		l.now = nil
	}
	if !c.retired {
		c.retired = true
		c.why.Store(int32(why))
	}
	if c.users == 0 {
		c.close()
	}
}

// renew replaces the channel before the next request.
func (l *line) renew() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now != nil {
		l.drop(l.now, load.ClosedEnd)
	}
}

// Close ends the channel and the requests on it.
func (l *line) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if c := l.now; c != nil {
		l.now, c.retired = nil, true
		c.why.Store(int32(load.ClosedEnd))
		c.close()
	}
	return nil
}

func (c *channel) close() { _ = c.cc.Close() } // it fails where it is closed already

// Sizes, in bytes. The windows are fixed, so that grpc-go sends no pings to estimate them.
const (
	streamWindow = 256 << 10
	connWindow   = 1 << 20
	readBuffer   = 8 << 10
	writeBuffer  = 16 << 10
)

// open returns a channel that connects with its first request.
func (l *line) open() (*channel, error) {
	c := &channel{line: l}
	c.why.Store(int32(load.ClosedError))
	t := l.to.target
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(&handshaker{c}),
		grpc.WithContextDialer(c.connect),
		grpc.WithUserAgent(l.env.UserAgent),
		grpc.WithStatsHandler(meter{c}),
		grpc.WithNoProxy(), grpc.WithDisableServiceConfig(), grpc.WithDisableHealthCheck(), grpc.WithDisableRetry(),
		grpc.WithIdleTimeout(0),
		grpc.WithStaticStreamWindowSize(streamWindow), grpc.WithStaticConnWindowSize(connWindow),
		grpc.WithReadBufferSize(readBuffer), grpc.WithWriteBufferSize(writeBuffer),
		grpc.WithMaxHeaderListSize(uint32(t.MaxHeader)), //nolint:gosec // at most 16 MiB
		grpc.WithAuthority(l.to.authority),
	}
	if k := t.KeepAlive; k.Every > 0 {
		options = append(options, grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: k.Every.D(), Timeout: k.Timeout.D(), PermitWithoutStream: k.Idle,
		}))
	}
	var err error
	c.cc, err = grpc.NewClient("passthrough:///"+l.to.address, options...)
	return c, err
}

func (l *line) clock() int64 { return int64(l.env.Now()) }

// connect opens a connection under guard.
func (c *channel) connect(ctx context.Context, _ string) (net.Conn, error) {
	l := c.line
	d := &dial{begin: l.clock()}
	nc, err := d.open(ctx, l)
	if err != nil {
		d.err = err
	}
	d.end = l.clock()
	c.dial.Store(d)
	if err != nil {
		return nil, err
	}
	return nc, nil
}

func (d *dial) open(ctx context.Context, l *line) (*wire.Conn, error) {
	o := &l.to.origin
	addrs, err := l.env.Dialer.Resolve(ctx, o.Host, o.Port, l.to.target.Connections.DNSRefresh.D())
	d.dns = l.clock() - d.begin
	if err != nil {
		return nil, err
	}
	nc, err := l.env.Dialer.Connect(ctx, o.Host, addrs, o.Port)
	d.connect = l.clock() - d.begin - d.dns
	return nc, err
}

// A handshaker ends the opening of a connection, with TLS or without.
type handshaker struct{ c *channel }

// ClientHandshake returns the connection that requests use.
func (h *handshaker) ClientHandshake(ctx context.Context, _ string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	c := h.c
	l := c.line
	now := l.clock()
	d := dial{}
	if last := c.dial.Load(); last != nil {
		d = *last
	}
	nc := &conn{Conn: raw, raw: raw, of: c}
	if w, ok := raw.(*wire.Conn); ok {
		if peer, ok := w.RemoteAddr().(*net.TCPAddr); ok {
			nc.addr = peer.AddrPort().Addr().Unmap()
		}
	}
	auth := authInfo{}
	if l.to.origin.TLS {
		t, err := l.secure(ctx, raw)
		d.tls = l.clock() - now
		if err != nil {
			d.err, d.end = err, l.clock()
			c.dial.Store(&d)
			return nil, nil, err
		}
		nc.Conn, auth.SecurityLevel = t, credentials.PrivacyAndIntegrity
	}
	nc.opened = l.clock()
	d.end = nc.opened
	c.dial.Store(&d)
	c.conn.Store(nc)
	l.env.Connections.Opened.Add(1)
	return nc, auth, nil
}

// secure opens TLS over a connection.
func (l *line) secure(ctx context.Context, raw net.Conn) (net.Conn, error) {
	config := wire.TLSFor(l.to.tls.Current(l.env.TLSFaults), strings.Trim(l.to.origin.Host, "[]"), false)
	config.NextProtos = []string{"h2"}
	config.ClientSessionCache = l.resumed
	t, err := wire.Handshake(ctx, raw, config)
	if err != nil {
		return nil, err
	}
	if p := t.ConnectionState().NegotiatedProtocol; p != "h2" {
		return nil, &wire.ProtocolError{Text: "the server speaks no HTTP/2: its TLS does not agree on h2"}
	}
	return t, nil
}

// ServerHandshake is of servers.
func (h *handshaker) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.ErrUnsupported
}

// Info says which scheme requests name.
func (h *handshaker) Info() credentials.ProtocolInfo {
	if h.c.line.to.origin.TLS {
		return credentials.ProtocolInfo{SecurityProtocol: "tls"}
	}
	return credentials.ProtocolInfo{SecurityProtocol: "insecure"}
}

// Clone returns h: it has no state of its own.
func (h *handshaker) Clone() credentials.TransportCredentials { return h }

// OverrideServerName is not asked for: the name is the configuration's.
func (h *handshaker) OverrideServerName(string) error { return errors.ErrUnsupported }

type authInfo struct{ credentials.CommonAuthInfo }

func (authInfo) AuthType() string { return "perfd" }

// A conn is an open connection: it counts its bytes and keeps what broke it.
type conn struct {
	net.Conn          // over raw
	raw      net.Conn // TCP
	of       *channel
	addr     netip.Addr
	opened   int64 // ns since zero

	failure atomic.Pointer[error] // of the network, the first
	once    sync.Once
}

// Read reads from the connection.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.of.received.Add(int64(n))
	c.of.arrived.Add(int64(n))
	c.note(err)
	return n, err
}

// Write writes to the connection. The bytes are counted before, since an answer may be there before the write returns.
func (c *conn) Write(p []byte) (int, error) {
	c.of.sent.Add(int64(len(p)))
	n, err := c.Conn.Write(p)
	c.of.sent.Add(int64(n - len(p)))
	if err != nil && c.of.line.to.origin.TLS && c.failure.Load() == nil {
		err = c.refused(err)
	}
	c.note(err)
	return n, err
}

// alertWait is how long a TLS alert may take to be read after a write failed because the server is gone.
const alertWait = 100 * time.Millisecond

// refused returns why a write failed: a server that refuses a client's certificate says so after the client's part of the
// handshake (RFC 8446 section 4.4.2.4), so that a write may find the connection broken before the alert was read.
func (c *conn) refused(err error) error {
	if c.SetReadDeadline(time.Now().Add(alertWait)) != nil {
		return err
	}
	var rest [256]byte
	for {
		_, said := c.Conn.Read(rest[:])
		switch {
		case said == nil:
		case wire.Classify(said) == load.TLS:
			return said
		default:
			return err
		}
	}
}

// note keeps the first error that is not of Close.
func (c *conn) note(err error) {
	if err != nil && !errors.Is(err, net.ErrClosed) {
		c.failure.CompareAndSwap(nil, &err)
	}
}

// Close closes the connection.
func (c *conn) Close() error {
	c.once.Do(func() { c.of.line.env.Connections.Closed[c.reason()].Add(1) })
	return c.raw.Close() // not the TLS connection, whose close_notify may block
}

// reason says why the connection is closed.
func (c *conn) reason() load.CloseReason {
	switch err := c.failure.Load(); {
	case err != nil && errors.Is(*err, io.EOF):
		return load.ClosedByPeer
	case err != nil:
		return load.ClosedError
	}
	return load.CloseReason(c.of.why.Load()) //nolint:gosec // it was one
}

// noTime is an instant that has not come.
const noTime = math.MinInt64

// An rpc is one RPC as grpc-go carries it: the context of the request, and what was seen of it.
type rpc struct {
	context.Context
	clock    func() time.Duration
	sent     atomic.Int64 // when the request was written, noTime before
	first    atomic.Int64 // when the first of the answer came, noTime before
	answered atomic.Bool  // the server has said how it ended
	conn     atomic.Pointer[conn]
	arrived  atomic.Int64 // bytes that had come on the channel when the request was written
}

type rpcKey struct{}

// Value returns the rpc itself for its key.
func (r *rpc) Value(key any) any {
	if key == (rpcKey{}) {
		return r
	}
	return r.Context.Value(key)
}

func newRPC(ctx context.Context, clock func() time.Duration) *rpc {
	r := &rpc{Context: ctx, clock: clock}
	r.sent.Store(noTime)
	r.first.Store(noTime)
	return r
}

// A meter sees what happens on the wire.
type meter struct{ c *channel }

// TagRPC returns the context of the request.
func (meter) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC notes when the request left and when its answer came.
func (m meter) HandleRPC(ctx context.Context, s stats.RPCStats) {
	switch s.(type) {
	case *stats.OutHeader:
		if r, ok := ctx.Value(rpcKey{}).(*rpc); ok {
			r.conn.Store(m.c.conn.Load())
			r.arrived.Store(m.c.arrived.Load())
			r.sent.CompareAndSwap(noTime, int64(r.clock()))
		}
	case *stats.InHeader:
		if r, ok := ctx.Value(rpcKey{}).(*rpc); ok {
			r.first.CompareAndSwap(noTime, int64(r.clock()))
		}
	case *stats.InTrailer:
		if r, ok := ctx.Value(rpcKey{}).(*rpc); ok {
			r.first.CompareAndSwap(noTime, int64(r.clock()))
			r.answered.Store(true)
		}
	}
}

// TagConn returns the context of the connection.
func (meter) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn does nothing: conn sees more.
func (meter) HandleConn(context.Context, stats.ConnStats) {}
