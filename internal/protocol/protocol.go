// Package protocol says what a protocol is. Each protocol is one folder below
// this one and one line in internal/kind/builtin; its configuration struct,
// defaults and validation live beside its code.
//
// A protocol compiles a block of configuration into a Step, which is immutable
// and shared by all virtual users; what belongs to one virtual user (a
// connection, a transaction, a stream) lives in a Session that the VU owns.
package protocol

import (
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/wire"
)

// A Kind is one protocol as the configuration knows it. The key Name chooses
// it: in a step (`http: {…}`) and in a target (its defaults).
type Kind struct {
	Name string
	// Step returns a new, defaulted block of a step, to be decoded into.
	Step func() Config
	// Target returns a new, defaulted block of a target, nil where the protocol has none.
	Target func() any
}

// A Config is the decoded block of one step. Compile starts nothing; it reports
// every mistake, with its position, to c.Errors, and then may return nil.
type Config interface{ Compile(c *Compiler) Step }

// A Compiler carries what a Config needs to become a Step.
type Compiler struct {
	Scenario, Step string
	// Protocol's own block of the step's target, as Kind.Target returned it and
	// the configuration filled it; nil where the target has no such block.
	Defaults any
	// Base is the target's url with its position.
	Base block.Text
	// Symbols are the variables the step may read.
	Symbols *expr.Symbols
	// Dir is the folder that relative file paths of the step start from.
	Dir string
	// Allowed says whether a host name or address may be sent load to; nil allows all.
	Allowed func(host string) error
	Errors  *block.Errors
}

// A Step performs one request. It is immutable and shared by all VUs, and in
// steady state its Do allocates nothing.
//
// Do sets Result.Sent, Done, Phases, Code, Cause (transport's causes; expect,
// checks and extraction are judged by the flow) and the byte counts, and leaves
// the answer in Call.Response. It returns by Call.Deadline and soon after the
// VU is interrupted.
type Step interface{ Do(*Call) }

// Judge is implemented by a Step whose default expectation is not "any answer is
// good". It is asked when the step's configuration has no expect of its own.
type Judge interface {
	// Judge returns load.None or the cause of failure for an answered call.
	Judge(*Call) load.Cause
}

// SpanMapper is implemented by a Step that has conventions for spans.
type SpanMapper interface {
	// Span gives the span of a request its name and attributes; ids, times and
	// kind are set. Address is what Call.Address was. It runs in the exporter, never
	// beside requests.
	Span(r *load.Result, address []byte, span *tracepb.Span)
}

// A Session is what one VU keeps open for one key and lane. Interrupt may come
// from any goroutine, makes a blocked Do return, and leaves the Session usable
// only for Close.
type Session interface {
	Interrupt()
	Close()
}

// Resetter is implemented by a Session that forgets something (cookies, say)
// when its VU begins an iteration.
type Resetter interface{ Reset() }

// A Key names a session or shared resource. Kind is the protocol's name; Name
// tells apart what one VU may hold several of (scheme and address, say).
type Key struct{ Kind, Name string }

// An Env is a VU's only way out of the process, one per run and target.
type Env struct {
	// Dialer resolves and connects under guard: the allow-list is checked on the name and on the resolved address.
	Dialer *wire.Dialer
	// Shared returns the resource named by the key, opening it on first use; it is closed with the run.
	Shared func(Key, func() (io.Closer, error)) (io.Closer, error)
	// Now is the time since the engine's zero.
	Now func() time.Duration
	// Zero is the engine's zero with its monotonic reading: Zero.Add(Now()) is an absolute deadline.
	Zero time.Time
	// UserAgent and Identity are sent with every request (User-Agent, X-Perfd).
	UserAgent, Identity string
	// Connections counts what VUs open and close.
	Connections *load.Connections
	Log         *slog.Logger
}

// A VU is one virtual user as protocols see it: its random source, its way out
// and its open sessions. engine.VU wraps it. Only Interrupt may be called from
// another goroutine.
type VU struct {
	ID   int
	Rand rand.PCG
	Env  *Env

	mu          sync.Mutex // guards writes to sessions, and interrupted; the owner reads sessions without it
	sessions    []held
	interrupted bool
}

type held struct {
	key     Key
	lane    int
	session Session
}

// Session returns the VU's session for the key and lane, opening it on first
// use. A lane is one parallel branch; a session is never shared between lanes.
func (v *VU) Session(k Key, lane int, open func(*VU) (Session, error)) (Session, error) {
	for i := range v.sessions {
		if h := &v.sessions[i]; h.lane == lane && h.key == k {
			return h.session, nil
		}
	}
	s, err := open(v)
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	v.sessions = append(v.sessions, held{k, lane, s})
	gone := v.interrupted
	v.mu.Unlock()
	if gone {
		s.Interrupt()
	}
	return s, nil
}

// Interrupt makes a blocked Do return. It may be called from any goroutine; the
// VU is then good only for Close.
func (v *VU) Interrupt() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.interrupted = true
	for i := range v.sessions {
		v.sessions[i].session.Interrupt()
	}
}

// Interrupted reports whether Interrupt was called.
func (v *VU) Interrupted() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.interrupted
}

// Begin tells the sessions that a new iteration begins.
func (v *VU) Begin() {
	for i := range v.sessions {
		if r, ok := v.sessions[i].session.(Resetter); ok {
			r.Reset()
		}
	}
}

// Close closes all sessions.
func (v *VU) Close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for i := range v.sessions {
		v.sessions[i].session.Close()
	}
	v.sessions = nil
}

// A Call is one request under way. Its fields are reused from call to call.
type Call struct {
	VU       *VU
	Lane     int
	Scope    *expr.Scope
	Deadline time.Duration // since the engine's zero
	Keep     *expr.Keep    // what the step's expect, checks and extractions read of the answer
	Result   load.Result   // Due, Step and Trace are set before Do
	Response expr.Response // valid until this lane's next Do
	// Scratch is the protocol's own, kept from call to call: buffers, say. Calls are lent to VUs, so
	// nothing of one VU may stay in it.
	Scratch any
	// Address is where the request went, as the protocol's SpanMapper reads it; valid until the next Do.
	Address []byte
	// Err explains Result.Cause in words for logs and the ring of recent failures; never a label.
	Err error
}
