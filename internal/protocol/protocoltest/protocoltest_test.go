package protocoltest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// An echo is a protocol of lines: "ping\n" is answered by "pong\n". It does by
// hand what wire.Link does, so that it can do each thing wrong: its faults are
// the mistakes that the contract must find.
type echo struct {
	addr string
	fault
}

type fault uint8

const (
	none           fault = iota
	drops                // no mistake: drops its session with the connection
	miscounts            // counts a byte too many
	overlaps             // counts the wait twice in the phases
	forgetsCause         // calls every failure internal
	silent               // fails without words
	keepsBroken          // goes on using a connection that failed
	gullible             // does not look at an idle connection
	unguarded            // dials past the guard
	ignoresTimeout       // waits as long as the server does
	deaf                 // does not hear an interrupt of an exchange
	deafDialing          // does not hear an interrupt of a dial
	leavesConn           // does not close its connection
	lends                // keeps a user's session in the call
	allocates            // allocates for each request
)

type echoSession struct {
	e      *echo
	mu     sync.Mutex
	c      net.Conn // nil for none
	cancel func()   // of the dial under way

	interrupted bool
	used        time.Time
	p           [5]byte
}

func (s *echoSession) Interrupt() {
	if s.e.fault == deaf {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.interrupted = true
	if s.c != nil {
		s.c.SetDeadline(time.Unix(1, 0))
	}
	if s.cancel != nil && s.e.fault != deafDialing {
		s.cancel()
	}
}

func (s *echoSession) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c != nil && s.e.fault != leavesConn {
		s.c.Close()
	}
	s.c = nil
}

var (
	errGarbage = &wire.ProtocolError{Text: "not a pong"}
	ping       = []byte("ping\n")
	sink       []byte
)

// lent is what a call keeps of an echo that lends.
type lent struct{ s *echoSession }

func (e *echo) session(c *protocol.Call) (*echoSession, error) {
	l := protocol.Scratch[lent](c)
	if e.fault == lends && l.s != nil {
		return l.s, nil
	}
	held, err := c.VU.Session(protocol.Key{Kind: "echo"}, func(*protocol.VU) (protocol.Session, error) { return &echoSession{e: e}, nil })
	if err != nil {
		return nil, err
	}
	if e.fault == lends {
		l.s = held.(*echoSession)
	}
	return held.(*echoSession), nil
}

func (e *echo) Do(c *protocol.Call) {
	s, err := e.session(c)
	if err != nil {
		c.Err = err
		return
	}
	r, env := &c.Result, c.VU.Env
	r.Sent = int64(env.Now())
	err = s.exchange(c)
	r.Done = int64(env.Now())
	if err == nil {
		c.Response = answerOf{}
	} else {
		s.fail(c, err)
	}
	r.Phases[load.PhaseFirstByte] = r.Done - r.Sent
	switch e.fault {
	case overlaps:
		r.Phases[load.PhaseTransfer] = r.Done - r.Sent
	case miscounts:
		r.SentBytes++
	case allocates:
		sink = make([]byte, 100)
	}
}

func (s *echoSession) fail(c *protocol.Call, err error) {
	s.mu.Lock()
	interrupted := s.interrupted
	s.mu.Unlock()
	r := &c.Result
	if r.Cause = wire.Classify(err); interrupted {
		r.Cause = load.Canceled
	}
	if s.e.fault == forgetsCause {
		r.Cause = load.Internal
	}
	if c.Err = err; s.e.fault == silent {
		c.Err = nil
	}
	switch s.e.fault {
	case keepsBroken:
	case drops:
		c.VU.Drop(s)
	default:
		s.Close()
	}
}

// spoiled reports whether the connection is closed or holds unasked bytes.
func (s *echoSession) spoiled() bool {
	s.c.SetReadDeadline(time.Now().Add(time.Millisecond))
	n, err := s.c.Read(s.p[:1])
	return n > 0 || !errors.Is(err, os.ErrDeadlineExceeded)
}

func (s *echoSession) exchange(c *protocol.Call) error {
	env, r := c.VU.Env, &c.Result
	until := env.Zero.Add(c.Deadline)
	if s.c != nil && time.Since(s.used) > rest/2 && s.e.fault != gullible && s.spoiled() {
		s.Close()
	}
	if s.c == nil {
		if err := s.dial(env, until); err != nil {
			return err
		}
	}
	s.mu.Lock()
	if s.e.fault == ignoresTimeout {
		until = until.Add(time.Hour)
	}
	s.c.SetDeadline(until)
	if s.interrupted {
		s.c.SetDeadline(time.Unix(1, 0))
	}
	s.mu.Unlock()
	n, err := s.c.Write(ping)
	r.SentBytes += int64(n)
	if err != nil {
		return err
	}
	n, err = io.ReadFull(s.c, s.p[:])
	r.ReceivedBytes += int64(n)
	if err == nil && string(s.p[:]) != "pong\n" {
		return errGarbage
	}
	s.used = time.Now()
	return err
}

func (s *echoSession) dial(env *protocol.Env, until time.Time) error {
	ctx, cancel := context.WithDeadline(context.Background(), until)
	defer cancel()
	s.mu.Lock()
	if s.interrupted {
		cancel()
	}
	s.cancel = cancel
	s.mu.Unlock()
	dial := env.Dialer.DialContext
	if s.e.fault == unguarded {
		dial = new(net.Dialer).DialContext
	}
	nc, err := dial(ctx, "tcp", s.e.addr)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.c = nc
	s.mu.Unlock()
	env.Connections.Opened.Add(1)
	env.Connections.Closed[load.ClosedEnd].Add(1)
	return nil
}

type answerOf struct{}

func (answerOf) Code() int                    { return 0 }
func (answerOf) Body() []byte                 { return nil }
func (answerOf) Header(string) (string, bool) { return "", false }
func (answerOf) Duration() time.Duration      { return 0 }
func (answerOf) Size() int64                  { return 5 }
func (answerOf) Sum() uint64                  { return 0 }

func subject(f fault) Subject {
	return Subject{
		Step: func(_ testing.TB, addr string) protocol.Step { return &echo{addr, f} },
		Answer: func(c net.Conn) {
			p, pong := make([]byte, 5), []byte("pong\n")
			for {
				if _, err := io.ReadFull(c, p); err != nil || !bytes.Equal(p, ping) {
					return
				}
				if _, err := c.Write(pong); err != nil {
					return
				}
			}
		},
		Ask:     func(c net.Conn) { _, _ = bufio.NewReaderSize(c, 16).ReadString('\n') },
		Garbage: "hello, who is there?\n",
	}
}

// The contract accepts a protocol that keeps it, and the right rule finds each mistake.
func TestContract(t *testing.T) {
	for _, c := range []struct {
		name   string
		fault  fault
		broken string // the rule that must notice; others may
	}{
		{"no fault", none, ""},
		{"drops its session", drops, ""},
		{"miscounts bytes", miscounts, "an answer is measured"},
		{"phases overlap", overlaps, "an answer is measured"},
		{"forgets the cause", forgetsCause, "a failure has its cause"},
		{"fails without words", silent, "a failure has its cause"},
		{"keeps a broken connection", keepsBroken, "a failure does not spoil the next request"},
		{"does not look at an idle connection", gullible, "a connection that was closed while idle is replaced"},
		{"takes what it finds for the answer", gullible, "an unasked answer is not taken"},
		{"dials past the guard", unguarded, "load goes only where it may"},
		{"ignores the deadline", ignoresTimeout, "the deadline is kept"},
		{"deaf to an interrupt", deaf, "an interrupt unblocks"},
		{"deaf while it dials", deafDialing, "an interrupt ends a dial"},
		{"leaves its connection", leavesConn, "nothing is left behind"},
		{"lends a session", lends, "a call keeps nothing of its user"},
		{"allocates", allocates, "steady state allocates nothing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			patience := time.Minute
			if c.broken != "" {
				patience = 100 * time.Millisecond // what never happens need not be awaited
			}
			found := false
			for _, r := range rules {
				if c.broken != "" && r.name != c.broken {
					continue
				}
				tr := newTrial(t, subject(c.fault), patience)
				err := r.check(tr)
				tr.close()
				if (err != nil) != (c.broken != "") {
					t.Errorf("rule %q = %v", r.name, err)
				}
				found = true
			}
			if !found {
				t.Errorf("there is no rule %q", c.broken)
			}
		})
	}
}
