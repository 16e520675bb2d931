package protocoltest

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// An echo is a protocol of lines: "ping\n" is answered by "pong\n". Its faults
// are the mistakes that the contract must find.
type echo struct {
	addr string
	fault
}

type fault uint8

const (
	none           fault = iota
	miscounts            // counts a byte too many
	overlaps             // counts the wait twice in the phases
	forgetsCause         // calls every failure internal
	silent               // fails without words
	keepsBroken          // goes on using a connection that failed
	ignoresTimeout       // waits as long as the server does
	deaf                 // does not hear an interrupt
	leavesConn           // does not close its connection
	allocates            // allocates for each request
)

type echoSession struct {
	e  *echo
	mu sync.Mutex
	c  net.Conn // nil for none

	interrupted bool
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
}

func (s *echoSession) Close() {
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

func (e *echo) Do(c *protocol.Call) {
	held, err := c.VU.Session(protocol.Key{Kind: "echo"}, func(*protocol.VU) (protocol.Session, error) { return &echoSession{e: e}, nil })
	if err != nil {
		c.Err = err
		return
	}
	s := held.(*echoSession)
	r, env := &c.Result, c.VU.Env
	r.Sent = int64(env.Now())
	err = s.exchange(c)
	r.Done = int64(env.Now())
	if err == nil {
		c.Response = answerOf{}
	} else {
		s.mu.Lock()
		gone := s.interrupted
		s.mu.Unlock()
		if r.Cause = wire.Classify(err); gone {
			r.Cause = load.Canceled
		}
		if e.fault == forgetsCause {
			r.Cause = load.Internal
		}
		if c.Err = err; e.fault == silent {
			c.Err = nil
		}
		if s.c != nil && e.fault != keepsBroken {
			s.c.Close()
			s.mu.Lock()
			s.c = nil
			s.mu.Unlock()
		}
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

func (s *echoSession) exchange(c *protocol.Call) error {
	env, r := c.VU.Env, &c.Result
	until := env.Zero.Add(c.Deadline)
	if s.c == nil {
		ctx, cancel := context.WithDeadline(context.Background(), until)
		defer cancel()
		nc, err := env.Dialer.DialContext(ctx, "tcp", s.e.addr)
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.c = nc
		s.mu.Unlock()
		env.Connections.Opened.Add(1)
		env.Connections.Closed[load.ClosedEnd].Add(1)
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
	return err
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

// The contract accepts what keeps it and finds each mistake, and says so under the right name.
func TestContract(t *testing.T) {
	for _, c := range []struct {
		name   string
		fault  fault
		broken string // the rule that must notice; others may
	}{
		{"no fault", none, ""},
		{"miscounts bytes", miscounts, "an answer is measured"},
		{"phases overlap", overlaps, "an answer is measured"},
		{"forgets the cause", forgetsCause, "a failure has its cause"},
		{"fails without words", silent, "a failure has its cause"},
		{"keeps a broken connection", keepsBroken, "a failure does not spoil the next request"},
		{"ignores the deadline", ignoresTimeout, "the deadline is kept"},
		{"deaf to an interrupt", deaf, "an interrupt unblocks"},
		{"leaves its connection", leavesConn, "nothing is left behind"},
		{"allocates", allocates, "steady state allocates nothing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, r := range rules {
				if c.fault != none && r.name != c.broken {
					continue
				}
				tr := newTrial(t, subject(c.fault), time.Second)
				err := r.check(tr)
				tr.close()
				if (err != nil) != (c.fault != none) {
					t.Errorf("rule %q = %v", r.name, err)
				}
			}
		})
	}
}
