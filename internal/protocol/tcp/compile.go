package tcp

import (
	"regexp"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/protocol"
)

// An exchange is a compiled Exchange.
type exchange struct {
	startTLS bool
	send     *protocol.Payload // nil for nothing
	receive  *receive          // nil for nothing
}

// A receive is a compiled Receive. One of its fields but expect says where it ends.
type receive struct {
	until  []byte
	length int
	prefix *LengthPrefix
	regex  *regexp.Regexp
	end    bool
	during int64 // ns
	expect *regexp.Regexp
}

// Compile turns the block into a step.
func (c *Config) Compile(k *protocol.Compiler) protocol.Step {
	before := k.Errors.Len()
	t, ok := k.Defaults.(*TargetConfig)
	if !ok || t == nil {
		t = DefaultTarget()
	}
	s := &step{fresh: c.Connection == always, maxRead: int(t.MaxRead), connections: t.Connections}
	to := k.Endpoint([]protocol.Scheme{{Name: "tcp"}, {Name: "tls", TLS: true}}, c.Address, t.Address)
	s.tls = t.TLS.Open(k)
	greeting, own := t.OnOpen, ""
	if len(c.OnOpen) > 0 {
		// A connection that began in another way is another one.
		greeting, own = c.OnOpen, " "+k.Scenario+" "+k.Step
	}
	if s.fresh { // which comes and goes beside the one that is kept
		own += " " + always
	}
	s.onOpen = compileAll(greeting, k)
	exchanges := c.Exchanges
	if c.Send != nil || c.Receive != nil {
		exchanges = []Exchange{{Send: c.Send, Receive: c.Receive}}
	}
	s.exchanges = compileAll(exchanges, k)
	if to != nil {
		s.origin = to.Origin
		if to.Path != "/" && to.At.Path != k.Base.Path {
			k.Errors.Add(to.At.Pos, to.At.Path, "must end with its port, got %q", to.At)
		}
		s.checkTLS(to.At, k)
		scheme := "tcp://"
		if s.origin.TLS {
			scheme = "tls://"
		}
		s.key = protocol.Key{Kind: Kind.Name, Name: scheme + to.Address() + own}
		s.shared = protocol.Key{Kind: Kind.Name, Name: "transport"}
	}
	if k.Errors.Len() > before {
		return nil
	}
	for _, x := range s.exchanges {
		if x.receive != nil {
			s.answers = true
		}
	}
	s.listens = len(s.exchanges) > 0 && !s.exchanges[0].startTLS && s.exchanges[0].send == nil
	return s
}

// checkTLS reports a start_tls on a connection that is one of TLS already.
func (s *step) checkTLS(at block.Text, k *protocol.Compiler) {
	secured := s.origin.TLS
	for _, list := range [][]exchange{s.onOpen, s.exchanges} {
		for _, x := range list {
			if x.startTLS && secured {
				k.Errors.Add(at.Pos, at.Path, "start_tls is for a connection that is not one of TLS").Hint = "write tcp://host:port, or leave start_tls out"
				return
			}
			secured = secured || x.startTLS
		}
	}
	for _, x := range s.exchanges {
		if x.startTLS && !s.fresh {
			k.Errors.Add(at.Pos, at.Path, "start_tls is done once for a connection, which the next iteration would use again").
				Hint = "write it below on_open, or connection: new"
			return
		}
	}
}

func compileAll(list []Exchange, k *protocol.Compiler) (out []exchange) {
	for _, x := range list {
		c := exchange{startTLS: x.StartTLS}
		if x.Send != nil {
			c.send = x.Send.Compile(k)
		}
		if x.Receive != nil {
			c.receive = x.Receive.compile(k)
		}
		out = append(out, c)
	}
	return out
}

func (r *Receive) compile(k *protocol.Compiler) *receive {
	out := &receive{length: r.Length, prefix: r.LengthPrefix, end: r.End, during: int64(r.For)}
	if r.Until != nil {
		p := r.Until.Compile(k)
		text, constant := p.Constant()
		at := r.Until.Written()
		switch {
		case !constant:
			k.Errors.Add(at.Pos, at.Path, "must not hold ${…} of the flow").Hint = "write the bytes themselves"
		case len(text) == 0:
			k.Errors.Add(at.Pos, at.Path, "must be at least one byte")
		}
		out.until = text
	}
	if r.Regex.Path != "" {
		out.regex, _ = regexp.Compile(r.Regex.S) // Validate reports mistakes
	}
	if r.Expect.Path != "" {
		out.expect, _ = regexp.Compile(r.Expect.S) // likewise
	}
	return out
}
