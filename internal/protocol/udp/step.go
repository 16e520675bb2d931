package udp

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/wire"
)

// none is the receive of a step that waits for nothing.
const none = "none"

// A step is a compiled request, shared by all VUs.
type step struct {
	key, shared protocol.Key
	origin      wire.Origin
	connections protocol.Connections
	fresh       bool // each request has a socket of its own
	send        *protocol.Payload
	waits       bool
	wanted      protocol.Wanted
	id          *ID // nil for none
	answerAt    int // of id
}

// Compile turns the block into a step.
func (c *Config) Compile(k *protocol.Compiler) protocol.Step {
	before := k.Errors.Len()
	t, ok := k.Defaults.(*TargetConfig)
	if !ok || t == nil {
		t = DefaultTarget()
	}
	s := &step{connections: t.Connections, fresh: c.Socket == always, waits: c.Receive.S != none, id: c.ID}
	to := k.Endpoint([]protocol.Scheme{{Name: "udp"}}, c.Address, t.Address)
	if c.Send != nil {
		s.send = c.Send.Compile(k)
		at := c.Send.Written()
		if p, constant := s.send.Constant(); constant && (len(p) == 0 || len(p) > largest) {
			k.Errors.Add(at.Pos, at.Path, "must be from 1 to %d bytes, is %d", largest, len(p))
		}
	}
	if s.waits {
		receive, echo := c.Receive, c.Echo
		if receive.Path == "" && echo.Path == "" {
			receive = block.Text{S: "any", Path: "receive"}
		}
		s.wanted = protocol.ParseWanted(receive, echo, k)
	}
	if s.id != nil {
		s.answerAt = s.id.At
		if s.id.AnswerAt != nil {
			s.answerAt = *s.id.AnswerAt
		}
	}
	if to != nil {
		s.origin = to.Origin
		if to.Path != "/" && to.At.Path != k.Base.Path {
			k.Errors.Add(to.At.Pos, to.At.Path, "must end with its port, got %q", to.At)
		}
		s.key = protocol.Key{Kind: Kind.Name, Name: to.Address()}
		if !s.waits {
			s.key.Name += " " + none // what comes there is no answer to those that wait
		}
		s.shared = protocol.Key{Kind: Kind.Name, Name: "transport"}
	}
	if k.Errors.Len() > before {
		return nil
	}
	return s
}

// A session is one VU's socket.
type session struct {
	*wire.Socket
	renewed bool // each iteration has a new one
}

// Reset closes the socket if each iteration has a new one.
func (s *session) Reset() {
	if s.renewed {
		s.Close()
	}
}

// open returns the socket that one VU keeps for the step's address.
func (s *step) open(v *protocol.VU) (protocol.Session, error) {
	t, err := v.Env.SharedTransport(s.shared, s.connections.Set)
	if err != nil {
		return nil, err
	}
	return &session{wire.NewSocket(t, s.origin, v.ID), s.connections.Renewed()}, nil
}

// An answer is the datagram that answers a request, with the buffers of the call.
type answer struct {
	sent, body, own, other []byte
	ignored                int // datagrams that came before it
	duration               time.Duration
}

func (a *answer) Code() int               { return 0 }
func (a *answer) Body() []byte            { return a.body }
func (a *answer) Duration() time.Duration { return a.duration }
func (a *answer) Size() int64             { return int64(len(a.body)) }
func (a *answer) Sum() uint64             { return xxhash.Sum64(a.body) }

// Header returns the body in hexadecimal digits for the name hex, and for ignored how many datagrams came that are no answer.
func (a *answer) Header(name string) (string, bool) {
	switch {
	case strings.EqualFold(name, "hex"):
		return hex.EncodeToString(a.body), true
	case strings.EqualFold(name, "ignored"):
		return strconv.Itoa(a.ignored), true
	}
	return "", false
}

// Do performs the request.
func (s *step) Do(c *protocol.Call) {
	a := protocol.Scratch[answer](c)
	a.body, a.ignored = a.body[:0], 0
	if err := s.perform(c, a); err != nil {
		c.Result.Cause, c.Err = wire.Classify(err), err
		return
	}
	a.duration = time.Duration(c.Result.Duration())
	c.Response = a
}

func (s *step) perform(c *protocol.Call, a *answer) error {
	held, err := c.VU.Session(s.key, s.open)
	if err != nil {
		return err
	}
	sess := held.(*session) //nolint:forcetypeassert // no other protocol uses the key
	if a.sent, err = s.send.Append(a.sent[:0], c.Scope); err != nil {
		return err
	}
	if len(a.sent) == 0 || len(a.sent) > largest {
		return &expr.ValueError{Text: fmt.Sprintf("send: a datagram is from 1 to %d bytes, this one is %d", largest, len(a.sent))}
	}
	if s.id != nil && s.id.At+s.id.Bytes > len(a.sent) {
		return &expr.ValueError{Text: fmt.Sprintf("send: the datagram has %d bytes, and its id ends at %d", len(a.sent), s.id.At+s.id.Bytes)}
	}
	if s.wanted.Echoes {
		a.body = append(a.body, a.sent...)
		if a.own, err = s.wanted.AppendOwn(a.own[:0], c.Scope, a); err != nil {
			return err
		}
	}
	if s.fresh {
		sess.Renew()
	}
	return sess.Exchange(c.Deadline, &c.Result, func() error { return s.ask(c, a, sess.Socket) })
}

// ask sends the datagram and waits for its answer.
func (s *step) ask(c *protocol.Call, a *answer, socket *wire.Socket) (err error) {
	if !s.waits {
		a.body = a.body[:0]
		return socket.Tell(a.sent)
	}
	for out := a.sent; ; out = nil {
		if a.body, err = socket.Ask(out, a.body); err != nil {
			return err
		}
		if s.answers(c, a) {
			return nil
		}
		a.ignored++
		socket.Ignored()
	}
}

// answers reports whether the datagram that came is the answer to the one that was sent.
func (s *step) answers(c *protocol.Call, a *answer) bool {
	if i := s.id; i != nil && (s.answerAt+i.Bytes > len(a.body) ||
		!bytes.Equal(a.body[s.answerAt:s.answerAt+i.Bytes], a.sent[i.At:i.At+i.Bytes])) {
		return false
	}
	return s.wanted.Is(c.Scope, a, a.own, &a.other)
}

var _ protocol.SpanMapper = (*step)(nil)

// Span gives the span of a request its name, and says where it went.
func (s *step) Span(r *load.Result, _ []byte, span *protocol.Span) {
	span.Name = Kind.Name
	span.AddText("network.transport", "udp")
	span.AddServer(s.origin.Host, s.origin.Port)
	span.AddError(r, "")
}
