package protocol_test

import (
	"bytes"
	"time"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/wire"
)

// This file is a whole protocol, written from the list "One more protocol" of
// CONTRIBUTING.md: a step says one line to a server that says it back (RFC 862).

// echoKind is what a protocol adds to internal/kind/builtin.
var echoKind = protocol.Kind{
	Name:   "echo",
	Step:   func() protocol.Config { return &echoConfig{} },
	Target: func() any { return &echoTarget{} },
}

// An echoConfig is the echo block of a step.
type echoConfig struct {
	Address block.Text `yaml:"address" doc:"Where to say it, as host:port (default: the target's)."`
	Say     block.Text `yaml:"say" block:"required" doc:"The line to say; may hold ${…}."`
}

// An echoTarget is the echo block of a target.
type echoTarget struct {
	Address block.Text `yaml:"address" doc:"Where its steps say their lines, as host:port."`
}

// Compile turns the block into a step.
func (c *echoConfig) Compile(k *protocol.Compiler) protocol.Step {
	before := k.Errors.Len()
	at := c.Address
	if t, ok := k.Defaults.(*echoTarget); ok && at.Path == "" {
		at = t.Address
	}
	if at.Path == "" {
		k.Errors.Add(c.Say.Pos, c.Say.Path, "there is nobody to say it to").Hint = "add address: host:port"
		return nil
	}
	origin, err := wire.ParseOrigin(at.S)
	if err != nil {
		k.Errors.Add(at.Pos, at.Path, "must be host:port, got %q", at)
	} else {
		k.CheckHost(origin.Host, at)
	}
	s := &echoStep{
		key:    protocol.Key{Kind: echoKind.Name, Name: at.S},
		origin: origin,
		say:    expr.ParseTemplate(c.Say, k.Symbols, k.Errors),
	}
	if k.Errors.Len() > before {
		return nil
	}
	return s
}

// An echoStep is a compiled line, shared by all VUs.
type echoStep struct {
	key    protocol.Key
	origin wire.Origin
	say    *expr.Template
}

// open returns the connection that one VU keeps for the step's address.
func (s *echoStep) open(v *protocol.VU) (protocol.Session, error) {
	return wire.NewLink(v.Env.Transport(), s.origin, v.ID), nil
}

// Do performs the request.
func (s *echoStep) Do(c *protocol.Call) {
	a := protocol.Scratch[echoAnswer](c)
	if err := s.perform(c, a); err != nil {
		c.Result.Cause, c.Err = wire.Classify(err), err
		return
	}
	a.duration = time.Duration(c.Result.Duration())
	c.Response = a
}

func (s *echoStep) perform(c *protocol.Call, a *echoAnswer) error {
	session, err := c.VU.Session(s.key, s.open)
	if err != nil {
		return err
	}
	link := session.(*wire.Link) // the key is the protocol's own
	if a.said, err = s.say.Append(a.said[:0], c.Scope); err != nil {
		return err
	}
	a.said = append(a.said, '\n')
	return link.Exchange(c.Deadline, true, &c.Result, func() error { return a.exchange(link) })
}

// An echoAnswer is the last answer of a call, with its buffers.
type echoAnswer struct {
	said, heard []byte // lines with their ends
	duration    time.Duration
}

// exchange says the line and hears it back. It may run twice.
func (a *echoAnswer) exchange(link *wire.Link) error {
	if _, err := link.Write(a.said); err != nil {
		return err
	}
	a.heard = append(a.heard[:0], a.said...) // for its length
	for n := 0; n < len(a.said); {
		m, err := link.Read(a.heard[n:])
		if n += m; n > 0 && !bytes.HasPrefix(a.said, a.heard[:n]) {
			return &wire.ProtocolError{Text: "the server says something else"}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *echoAnswer) Code() int                    { return 0 }
func (a *echoAnswer) Body() []byte                 { return a.heard[:len(a.heard)-1] }
func (a *echoAnswer) Header(string) (string, bool) { return "", false }
func (a *echoAnswer) Duration() time.Duration      { return a.duration }
func (a *echoAnswer) Size() int64                  { return int64(len(a.heard)) }
func (a *echoAnswer) Sum() uint64                  { return 0 }
