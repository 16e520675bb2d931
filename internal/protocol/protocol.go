// Package protocol defines what a protocol is. Each protocol is one folder below
// this one and one line in internal/kind/builtin; its configuration struct,
// defaults and validation live beside its code.
//
// A protocol compiles a block of configuration into a Step, which is immutable
// and shared by all virtual users. What belongs to one virtual user (a
// connection, a transaction, a stream) lives in a Session that the VU owns. What
// belongs to neither, such as buffers, is Scratch of the call.
package protocol

import (
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/credential"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/wire"
)

// A Kind describes one protocol to the configuration. Its name is the key of its
// blocks: in a step (`http: {…}`) and in a target (defaults of all its steps).
type Kind struct {
	Name string
	// Step returns a new block of a step with its defaults, to be decoded into.
	Step func() Config
	// Target returns a new block of a target with its defaults; nil if targets have none.
	Target func() any
	// Scenario returns a new block of a scenario, which says what its steps have other than the target's block that is
	// given, and is decoded over that; nil if scenarios have none.
	Scenario func(target any) ScenarioBlock
	// Garbage says that requests leave garbage, as those of a bought client do: a small heap is collected less often then.
	Garbage bool
	// Shapes are the keys of the target's block of which another value makes what was measured before another measurement.
	Shapes []string
}

// A ScenarioBlock is the block of a scenario for the steps of a protocol.
type ScenarioBlock interface {
	// Target returns the target's block as the scenario has it.
	Target() any
}

// A Config is the decoded block of one step. Compile starts nothing; it reports
// every mistake, with its position, to c.Errors, and then may return nil.
type Config interface{ Compile(c *Compiler) Step }

// A Compiler is what a Config needs to become a Step.
type Compiler struct {
	Scenario, Step string
	// Defaults is the protocol's block of the step's target, of the type that
	// Kind.Target returns; nil if there is none.
	Defaults any
	// Base is the url of the step's target.
	Base block.Text
	// Client returns how the load of the step's target speaks HTTP, for a protocol that begins with it; nil where no
	// block of the target says so. What is wrong with the block, its owner reports.
	Client func() *Client
	// Credentials names the credential of the step's target, empty for none.
	Credentials string
	// Credential returns the entry of credentials of a name, nil where there is none; nil has none.
	Credential func(name string) *credential.Definition
	// Symbols are the variables the step may read.
	Symbols *expr.Symbols
	// Dir is the folder that relative paths of files start from.
	Dir string
	// Allowed returns an error unless load may go to a host, a name or an address; nil allows all.
	Allowed func(host string) error
	Errors  *block.Errors // takes all mistakes
}

// CheckHost reports whether load may go to a host, which the text at names. If
// not, it adds a mistake.
func (c *Compiler) CheckHost(host string, at block.Text) bool {
	if c.Allowed == nil {
		return true
	}
	err := c.Allowed(host)
	if err != nil {
		c.Errors.Add(at.Pos, at.Path, "%v", err).
			Hint = "list it in safety.allowed_hosts or safety.allowed_networks if load may go there"
	}
	return err == nil
}

// AppendTraceparent appends the W3C trace context of a request, with which a protocol sends it. Its
// flag is set if the iteration was sampled when it began.
func AppendTraceparent(dst []byte, r *load.Result) []byte {
	dst = append(dst, "00-"...)
	dst = hex.AppendEncode(dst, r.Trace[:])
	dst = append(dst, '-')
	dst = hex.AppendEncode(dst, r.Span[:])
	if r.Sampled {
		return append(dst, "-01"...)
	}
	return append(dst, "-00"...)
}

// A Step performs one request. It is immutable and shared by all VUs, and in
// steady state its Do allocates nothing.
//
// Do sets Result.Sent, Done, Phases, Code, Cause and the byte counts, and leaves
// the answer in Call.Response, nil after a failure. Its causes are those of transport and protocol;
// the flow judges expect, checks and extraction. Do returns by Call.Deadline, and
// soon after its VU is interrupted, then with cause canceled.
type Step interface{ Do(*Call) }

// Judge is implemented by a Step whose default expectation is not "any answer is
// good". It is asked when the step's configuration has no expect of its own.
type Judge interface {
	// Judge returns load.None or the cause of failure for an answered call.
	Judge(*Call) load.Cause
}

// Authorized is implemented by a Step whose requests may need a credential.
type Authorized interface {
	// Credential names the entry of credentials, empty for none.
	Credential() string
}

// Streaming is implemented by a Step that may open a stream: a Session on which messages come and go. All that happens
// on the stream, by whichever step, goes to the Call.Messages of the call that opened it, as of that call's step.
type Streaming interface {
	// Timings are those of the messages of the streams that the step opens; none of a step that opens none.
	Timings() []load.MessageTiming
}

// A MessageSink takes what happens on streams. It is safe for concurrent use and keeps no pointer.
type MessageSink interface {
	Message(vu int, m *load.Message)
}

// An Attended is a Session that something may come for while its VU does nothing: a message, a ping. Attend lends it a
// goroutine, say, and returns at once. The session takes itself back when it is used again, and in Close.
type Attended interface {
	Session
	Attend()
}

// A Session is what one VU keeps open under one key. Interrupt may be called
// from any goroutine: it makes a blocked Do return, and leaves the Session usable
// only for Close. Sessions are compared, so they are pointers.
//
// A session that can break either opens itself again, as a wire.Link does, or is
// given to VU.Drop.
type Session interface {
	Interrupt()
	Close()
}

// A CookieKeeper is a Session that keeps cookies of its VU.
type CookieKeeper interface {
	// AppendCookies appends the Cookie field of a request for a path, with its line end, unless no cookie fits.
	AppendCookies(dst []byte, o *wire.Origin, path []byte) []byte
	// SetCookie keeps the cookie of a Set-Cookie field of an answer to a request for a path.
	SetCookie(field []byte, o *wire.Origin, path []byte)
}

// Cookies returns the session that keeps the cookies of the VU, nil where there is none.
func (v *VU) Cookies() CookieKeeper {
	for i := range v.sessions {
		if k, ok := v.sessions[i].session.(CookieKeeper); ok {
			return k
		}
	}
	if v.of == nil {
		return nil
	}
	v.of.mu.Lock()
	defer v.of.mu.Unlock()
	for i := range v.of.sessions {
		if k, ok := v.of.sessions[i].session.(CookieKeeper); ok {
			return k
		}
	}
	return nil
}

// Resetter is implemented by a Session that forgets something (cookies, say)
// when its VU begins an iteration.
type Resetter interface{ Reset() }

// A Key names a session of a VU or a shared resource. Kind is the protocol's
// name; Name distinguishes several of one kind, by address for example.
type Key struct{ Kind, Name string }

// An Env is the environment of VUs, one for each run and target. It is their only
// way to the network.
type Env struct {
	// Dialer resolves and connects under guard: the allow-list is checked on the name and on the resolved address.
	Dialer *wire.Dialer
	// Redirect takes the token of a request that a redirect sends to a host with these addresses, or that is sent once
	// more, from the limit on requests to that host, as wire.Take. Nil limits nothing.
	Redirect func(host string, port uint16, addrs []netip.Addr, turn bool) (wait time.Duration, ok bool)
	// Credentials are those of the steps, by name. They outlive the run.
	Credentials map[string]*credential.Credential
	// Shared returns the resource under a key, which it opens on first use. The run closes it at its end.
	Shared func(Key, func() (io.Closer, error)) (io.Closer, error)
	// Now returns the time since the engine's zero.
	Now func() time.Duration
	// Zero is the engine's zero with its monotonic reading: Zero.Add(Now()) is an absolute deadline.
	Zero time.Time
	// Shards is how many daemons share the load; numbers of the configuration are those of all.
	Shards int
	// UserAgent is sent with every request.
	UserAgent string
	// Identity is what is sent with a request that is made now, to say which run it belongs to (X-Perfd): a cut
	// gives a run that goes on another. It is safe for concurrent use and allocates nothing.
	Identity func() string
	// Connections counts the connections of the VUs.
	Connections *load.Connections
	Log         *slog.Logger
	// TLSFaults takes what is wrong with certificates that changed; nil for nobody.
	TLSFaults *wire.TLSFaults
}

// Transport returns a transport under the dialer's guard that counts its
// connections. The caller may add TLS and ages to it before its first use.
func (e *Env) Transport() *wire.Transport {
	return &wire.Transport{Dialer: e.Dialer, Counts: e.Connections, Zero: e.Zero, TLSFaults: e.TLSFaults, Again: e.Redirect}
}

// SharedTransport returns the transport that all VUs share under a key. Set adds to it before its first use.
func (e *Env) SharedTransport(k Key, set func(*wire.Transport)) (*wire.Transport, error) {
	shared, err := e.Shared(k, func() (io.Closer, error) {
		t := e.Transport()
		set(t)
		return sharedTransport{t}, nil
	})
	if err != nil {
		return nil, err
	}
	t, ok := shared.(sharedTransport)
	if !ok {
		return nil, fmt.Errorf("the shared resource %v is a %T", k, shared)
	}
	return t.Transport, nil
}

// A sharedTransport is a transport as a resource that the run closes.
type sharedTransport struct{ *wire.Transport }

// Close closes the transport.
func (t sharedTransport) Close() error {
	t.Transport.Close()
	return nil
}

// A VU is one virtual user as protocols see it: its random source, its
// environment and its open sessions. It performs one request at a time. Only
// Interrupt may be called from another goroutine.
type VU struct {
	ID   int
	Rand rand.PCG
	Env  *Env

	mu          sync.Mutex // guards writes of sessions, and interrupted; the owner reads sessions without it
	sessions    []held
	interrupted bool
	of          *VU // whose branch this is, nil for none
}

// Branch makes b a branch of v: it acts for the same user at the same time, with
// sessions and a random source of its own. While branches act, v does not.
func (v *VU) Branch(b *VU) {
	b.ID, b.Env, b.of = v.ID, v.Env, v
	if v.of != nil {
		b.of = v.of
	}
}

// Shared returns the session under a key of the VU whose branch v is, nil for a VU
// that is no branch. Branches share what it holds, cookies for example, and are
// several that use it at once.
func (v *VU) Shared(k Key, open func(*VU) (Session, error)) (Session, error) {
	if v.of == nil {
		return nil, nil
	}
	v.of.mu.Lock()
	defer v.of.mu.Unlock()
	for i := range v.of.sessions {
		if h := &v.of.sessions[i]; h.key == k {
			return h.session, nil
		}
	}
	s, err := open(v.of)
	if err != nil {
		return nil, err
	}
	v.of.sessions = append(v.of.sessions, holding(k, s))
	if v.of.interrupted {
		s.Interrupt()
	}
	return s, nil
}

type held struct {
	key      Key
	session  Session
	attended bool // it is an Attended
}

func holding(k Key, s Session) held {
	_, attended := s.(Attended)
	return held{k, s, attended}
}

// Session returns the VU's session under a key, opening it on first use.
func (v *VU) Session(k Key, open func(*VU) (Session, error)) (Session, error) {
	for i := range v.sessions {
		if h := &v.sessions[i]; h.key == k {
			return h.session, nil
		}
	}
	s, err := open(v)
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	v.sessions = append(v.sessions, holding(k, s))
	interrupted := v.interrupted
	v.mu.Unlock()
	if interrupted {
		s.Interrupt()
	}
	return s, nil
}

// Drop closes a session that broke. The next call of Session with its key opens
// another.
func (v *VU) Drop(s Session) {
	v.mu.Lock()
	n := len(v.sessions)
	v.sessions = slices.DeleteFunc(v.sessions, func(h held) bool { return h.session == s })
	dropped := len(v.sessions) < n
	v.mu.Unlock()
	if dropped {
		s.Close()
	}
}

// Interrupt makes a blocked Do return, and all later ones fail with cause
// canceled. It may be called from any goroutine.
func (v *VU) Interrupt() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.interrupted = true
	for i := range v.sessions {
		v.sessions[i].session.Interrupt()
	}
}

// Rest has the sessions attended that something may come for, until they are used again.
func (v *VU) Rest() {
	for i := range v.sessions {
		if h := &v.sessions[i]; h.attended {
			h.session.(Attended).Attend()
		}
	}
}

// Begin resets the sessions for a new iteration.
func (v *VU) Begin() {
	for i := range v.sessions {
		if r, ok := v.sessions[i].session.(Resetter); ok {
			r.Reset()
		}
	}
}

// Close closes all sessions. A VU that was not interrupted opens new ones when
// it is used again.
func (v *VU) Close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for i := range v.sessions {
		v.sessions[i].session.Close()
	}
	v.sessions = nil
}

// A Call is one request under way. It is reused for request after request, and
// lent to one VU after another.
type Call struct {
	VU       *VU
	Scope    *expr.Scope
	Deadline time.Duration // since the engine's zero
	Keep     *expr.Keep    // the parts of the answer that the step's expect, checks and extractions read
	Result   load.Result   // before Do, Due, Step and Trace are set, and Sent and Done are its begin
	Response expr.Response // valid until the call's next Do
	// Address is the address of the request in the form that the protocol's SpanMapper reads; valid until the next Do.
	Address []byte
	// Messages takes what happens on streams; nil forgets it.
	Messages MessageSink
	// Again, set by Do, asks for the same call once more at that time since the engine's zero, with the VU resting until
	// then: a step that lasts for long holds no goroutine. The next Do finds Result and Deadline as this one left them.
	Again time.Duration
	// Err explains Result.Cause for logs and the list of recent failures. It is never a label.
	Err error

	scratch []any // pointers of different types
}

// Scratch returns the call's T: buffers, for example. It is zero at first and then
// as the last request left it. Each protocol has a type of its own, so that
// protocols that take turns in a flow keep their buffers. It must not hold state of
// a VU.
func Scratch[T any](c *Call) *T {
	for _, s := range c.scratch {
		if t, ok := s.(*T); ok {
			return t
		}
	}
	t := new(T)
	c.scratch = append(c.scratch, t)
	return t
}
