package http

import (
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
)

// A pollStep asks for the next event of a stream, whose events are answers of their own (long polling). The stream is what
// one virtual user is told by its requests, whichever connections they take.
type pollStep struct {
	*step
	key    protocol.Key
	rules  protocol.StreamRules
	closes bool
}

// A pollSession is one VU's stream of answers.
type pollSession struct {
	env   *protocol.Env
	tally protocol.Tally
	open  bool
}

// Interrupt does nothing: the session of the requests is told, too.
func (*pollSession) Interrupt() {}

// Close ends the stream.
func (p *pollSession) Close() {
	if p.open {
		p.open = false
		p.tally.Closed(int64(p.env.Now()), 0)
	}
}

// A pollAnswer is an answer with what is known of its stream.
type pollAnswer struct {
	expr.Response
	stream  expr.Stream
	fields  func(name string) (string, bool) // of the Response, bound once
	keep    expr.Keep
	address []byte
}

func (a *pollAnswer) Stream() *expr.Stream { return &a.stream }

// Cookie returns a cookie where the answer has cookies.
func (a *pollAnswer) Cookie(name string) (string, bool) {
	if h, ok := a.Response.(expr.CookieHolder); ok {
		return h.Cookie(name)
	}
	return "", false
}

// poll makes a step of one whose answers are events.
func (e *Events) poll(k *protocol.Compiler, request *step) protocol.Step {
	before := k.Errors.Len()
	s := &pollStep{step: request, key: protocol.Key{Kind: Kind.Name, Name: "polls " + e.Stream}, closes: e.Close}
	s.rules = protocol.ParseStreamRules(e.Sequence, e.SequencePer, e.Each, k.Errors)
	if k.Errors.Len() > before {
		return nil
	}
	return s
}

// Timings are those of the stream.
func (*pollStep) Timings() []load.MessageTiming {
	return []load.MessageTiming{load.FirstMessage, load.MessageGap, load.Lifetime}
}

// Span is that of the request, with what it added to the stream.
func (s *pollStep) Span(r *load.Result, address []byte, span *protocol.Span) {
	s.step.Span(r, protocol.CutStream(address, span), span)
}

func (*pollStep) openSession(v *protocol.VU) (protocol.Session, error) {
	return &pollSession{env: v.Env}, nil
}

// Do performs the request. A success with a body is an event; any other answer says that there is none yet.
func (s *pollStep) Do(c *protocol.Call) {
	a := protocol.Scratch[pollAnswer](c)
	held, err := c.VU.Session(s.key, s.openSession)
	if err != nil {
		c.Result.Cause, c.Err = load.Internal, err
		return
	}
	sess := held.(*pollSession) //nolint:forcetypeassert // no other protocol uses the key
	t := &sess.tally
	if !sess.open {
		sess.open = true
		t.Begin(c, s.rules)
		t.Opened(int64(c.VU.Env.Now()), false)
	}
	keep := c.Keep
	if t.Reads() && !keep.Body {
		a.keep = *keep
		a.keep.Body, c.Keep = true, &a.keep
	}
	s.step.Do(c)
	c.Keep = keep
	if a.Response = c.Response; a.Response != nil {
		if code := a.Code(); code >= 200 && code < 300 && a.Size() > 0 {
			if a.fields == nil {
				a.fields = func(name string) (string, bool) { return a.Header(name) }
			}
			t.Fields(a.fields)
			t.Received(c.Result.Done, int(a.Size()), a.Body())
			t.Fields(nil) // the call goes to another virtual user
			t.Record()
		}
		c.Response = a
	}
	if err := t.Judged(); err != nil && c.Result.Cause == load.None {
		c.Result.Cause, c.Err, c.Response = load.Expect, err, nil
	}
	a.stream, t.Since = t.Since, expr.Stream{}
	if c.Address != nil {
		a.address = protocol.AppendStream(append(a.address[:0], c.Address...), &a.stream)
		c.Address = a.address
	}
	if s.closes {
		sess.Close()
	}
}

// Judge is the default expectation of a request.
func (s *pollStep) Judge(c *protocol.Call) load.Cause { return s.step.Judge(c) }
