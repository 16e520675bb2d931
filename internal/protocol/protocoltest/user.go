package protocoltest

import (
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/wire"
)

// Env returns what virtual users of one goroutine have in common. What they share is closed when the test ends.
func Env(t testing.TB, o wire.DialerOptions) *protocol.Env {
	shared := map[protocol.Key]io.Closer{}
	t.Cleanup(func() {
		for _, c := range shared {
			_ = c.Close()
		}
	})
	return newEnv(o, func(k protocol.Key, open func() (io.Closer, error)) (io.Closer, error) {
		if c, ok := shared[k]; ok {
			return c, nil
		}
		c, err := open()
		if err == nil {
			shared[k] = c
		}
		return c, err
	})
}

func newEnv(o wire.DialerOptions, share func(protocol.Key, func() (io.Closer, error)) (io.Closer, error)) *protocol.Env {
	zero := time.Now()
	return &protocol.Env{
		Dialer: wire.NewDialer(o), Shared: share,
		Now: func() time.Duration { return time.Since(zero) }, Zero: zero,
		UserAgent: "perfd/test", Identity: func() string { return "scenario/run" },
		Connections: &load.Connections{}, Log: slog.New(slog.DiscardHandler),
	}
}

// A User is a virtual user that performs steps of one protocol, which are written as in a file. Its fields may be changed between
// them.
type User struct {
	testing.TB
	Kind    protocol.Kind
	VU      *protocol.VU
	Base    string // url of the target
	Target  string // yaml of the target's block of the protocol; empty for the defaults
	Dir     string // of relative paths
	Symbols *expr.Symbols
	Scope   *expr.Scope
	Call    protocol.Call // the last one
}

// NewUser returns a user of a protocol with a target, who leaves when the test ends.
func NewUser(t testing.TB, kind protocol.Kind, base string, o wire.DialerOptions) *User {
	u := &User{
		TB: t, Kind: kind, Base: base, Symbols: expr.NewSymbols(nil), Scope: &expr.Scope{Rand: rand.NewPCG(1, 1)},
		VU: &protocol.VU{ID: 1, Env: Env(t, o), Rand: *rand.NewPCG(1, 2)},
	}
	t.Cleanup(u.VU.Close)
	return u
}

// Compile compiles the yaml of a step's block of the protocol.
func (u *User) Compile(text string) (protocol.Step, error) {
	var errs block.Errors
	target := u.Kind.Target()
	if u.Target != "" {
		block.Decode(block.Parse("target.yaml", []byte(u.Target), &errs), target, &errs)
	}
	c := u.Kind.Step()
	block.Decode(block.Parse("step.yaml", []byte(text), &errs), c, &errs)
	s := c.Compile(&protocol.Compiler{
		Scenario: "s", Step: text, Defaults: target, Base: block.Text{S: u.Base, Path: "url"}, Symbols: u.Symbols, Errors: &errs,
		Allowed: u.VU.Env.Dialer.Guard().CheckHost, Dir: u.Dir,
	})
	return s, errs.Err()
}

// Do performs a step, which must compile, by a deadline. Its phases must not come to more than its duration.
func (u *User) Do(text string, timeout time.Duration) *protocol.Call {
	u.Helper()
	s, err := u.Compile(text)
	if err != nil {
		u.Fatalf("%s: %v", text, err)
	}
	c := &u.Call
	now := u.VU.Env.Now()
	c.VU, c.Scope, c.Keep, c.Deadline = u.VU, u.Scope, &expr.Keep{Body: true}, now+timeout
	c.Result, c.Response, c.Err = load.Result{Due: int64(now), Sent: int64(now), Done: int64(now)}, nil, nil
	s.Do(c)
	var sum int64
	for _, d := range c.Result.Phases {
		sum += d
	}
	if sum > c.Result.Duration() {
		u.Errorf("%s: phases %v come to more than %d ns", text, c.Result.Phases, c.Result.Duration())
	}
	return c
}

// Must performs a step that must be answered, and returns its answer.
func (u *User) Must(text string) string {
	u.Helper()
	c := u.Do(text, 20*time.Second)
	if c.Result.Cause != load.None {
		u.Fatalf("%s: cause %v: %v", text, c.Result.Cause, c.Err)
	}
	return string(c.Response.Body())
}

// Fails performs a step that must fail for a cause, without an answer. It has 200 ms where it must run out of time.
func (u *User) Fails(text string, want load.Cause) *protocol.Call {
	u.Helper()
	timeout := 20 * time.Second
	if want == load.Timeout {
		timeout = 200 * time.Millisecond
	}
	c := u.Do(text, timeout)
	if c.Result.Cause != want || c.Response != nil || c.Result.Code != 0 {
		u.Errorf("%s: cause %v (%v), want %v and no answer", text, c.Result.Cause, c.Err, want)
	}
	return c
}

// CheckSpan performs a step that is answered, and checks that its span has the protocol's name and attributes for the server and
// the transport, besides further ones, and for the cause of a failure.
func (u *User) CheckSpan(text, transport string, further ...protocol.Attribute) {
	u.Helper()
	u.Must(text)
	s, err := u.Compile(text)
	if err != nil {
		u.Fatal(err)
	}
	port, err := strconv.Atoi(u.Base[strings.LastIndexByte(u.Base, ':')+1:])
	if err != nil {
		u.Fatal(err)
	}
	for cause, failed := range map[load.Cause]bool{load.None: false, load.Timeout: true, load.Canceled: false} {
		u.Call.Result.Cause = cause
		var span protocol.Span
		s.(protocol.SpanMapper).Span(&u.Call.Result, u.Call.Address, &span)
		want := slices.Concat([]protocol.Attribute{
			{Key: "network.transport", Text: transport}, {Key: "server.address", Text: "127.0.0.1"}, {Key: "server.port", Number: int64(port), Numeric: true},
		}, further)
		if failed {
			want = append(want, protocol.Attribute{Key: "error.type", Text: cause.String()})
		}
		if span.Name != u.Kind.Name || !slices.Equal(span.Attributes, want) {
			u.Errorf("%v: span %q with %v, want %s with %v", cause, span.Name, span.Attributes, u.Kind.Name, want)
		}
	}
}
