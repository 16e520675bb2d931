package grpc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/credential"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/wire"
)

// A streamStep is a compiled request on a stream, shared by all VUs.
type streamStep struct {
	step               // of what opens the stream
	key   protocol.Key // of the stream
	opens bool

	rules     protocol.StreamRules
	reconnect *protocol.Reconnect // nil for none
	lifetime  time.Duration       // 0 for ever

	send      *tree // nil for none
	wanted    protocol.Wanted
	listen    int64 // ns, 0 for none
	ends      bool
	cancels   bool
	sendBound atomic.Pointer[boundSend]
}

var errNotOpen = errors.New("no stream is open: a step with method opens one")

// Timings are those of the streams that the step opens.
func (s *streamStep) Timings() []load.MessageTiming {
	if !s.opens {
		return nil
	}
	t := []load.MessageTiming{load.FirstMessage, load.MessageGap, load.RoundTrip, load.Lifetime}
	if s.reconnect != nil {
		t = append(t, load.Reconnect)
	}
	return t
}

// A streamAnswer is the last message of a request on a stream as expressions read it.
type streamAnswer struct {
	answer
	stream expr.Stream
}

func (a *streamAnswer) Stream() *expr.Stream { return &a.stream }

// streamScratch is what a call keeps from request to request on streams.
type streamScratch struct {
	scratch
	answer streamAnswer
	want   want
	view   answer // a message while it is looked at
	own    []byte // the value that the answer must have
	other  []byte
	sent   []byte // the message that is sent, as JSON
	posted bool   // the message of the request was sent and counted
	search search // while a request waits
}

// A search is for the message that a request waits for.
type search struct {
	s *streamStep
	c *protocol.Call
	w *streamScratch
}

// matches reports whether a message is that one.
func (x *search) matches(raw, body []byte) bool { return x.s.matches(x.c, x.w, raw, body) }

func (s *streamStep) openStream(v *protocol.VU) (protocol.Session, error) {
	if !s.opens {
		return nil, errNotOpen
	}
	conn, err := s.session(v)
	if err != nil {
		return nil, err
	}
	out := &stream{conn: conn, env: v.Env, vu: v.ID, of: s, gone: true, source: protocol.NewSource(v.ID)}
	out.root, out.quit = context.WithCancel(conn.ctx)
	return out, nil
}

// on returns the stream of the VU.
func (s *streamStep) on(c *protocol.Call) (*stream, error) {
	held, err := c.VU.Session(s.key, s.openStream)
	if err != nil {
		return nil, err
	}
	st := held.(*stream) //nolint:forcetypeassert // no other protocol uses the key
	if s.opens && st.of.to.key != s.to.key {
		c.VU.Drop(st)
		if held, err = c.VU.Session(s.key, s.openStream); err != nil {
			return nil, err
		}
		st = held.(*stream) //nolint:forcetypeassert // likewise
	}
	return st, nil
}

// Do performs the request.
func (s *streamStep) Do(c *protocol.Call) {
	w := protocol.Scratch[streamScratch](c)
	a := &w.answer
	spare(&a.raw)
	spare(&a.body)
	a.answer = answer{raw: a.raw[:0], body: a.body[:0]}
	r := &c.Result
	st, err := s.on(c)
	switch {
	case err != nil:
	case st.listening:
		err = s.goOn(c, st)
	default:
		r.Sent = st.clock()
		err = s.perform(c, st, w)
	}
	if err == nil && c.Again > 0 {
		return
	}
	if st != nil {
		s.finish(c, st, w, err)
	}
	w.out = outgoing{}
	if err != nil {
		s.fail(c, err)
		return
	}
	r.Code = int32(a.code) //nolint:gosec // a code is small
	a.duration = time.Duration(r.Duration())
	c.Response = a
}

// spare drops a buffer that is too large to be kept.
func spare(p *[]byte) {
	if cap(*p) > scratchSpare {
		*p = nil
	}
}

// fail notes why a request failed.
func (s *streamStep) fail(c *protocol.Call, err error) {
	r := &c.Result
	r.Done = max(r.Done, r.Sent)
	r.Code, r.Cause, c.Err = 0, wire.Classify(err), err
	switch {
	case errors.Is(err, credential.ErrNone):
		r.Cause = load.NoCredential
	case errors.Is(err, errNotOpen):
		r.Cause = load.Closed
	}
	if end, ok := errors.AsType[*endError](err); ok {
		r.Code, r.Coded = int32(end.code), true //nolint:gosec // a code is small
	}
}

// finish notes in the result what the request has cost.
func (s *streamStep) finish(c *protocol.Call, st *stream, w *streamScratch, err error) {
	r := &c.Result
	if err != nil || r.Done <= r.Sent {
		r.Done = st.clock()
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if l := st.now; l != nil {
		r.SentBytes += l.channel.sent.Swap(0)
		r.ReceivedBytes += l.channel.received.Swap(0)
	}
	w.path = append(w.path[:0], st.of.path...)
	w.answer.stream = st.tally.Since
	w.path = protocol.AppendStream(w.path, &st.tally.Since)
	c.Address = w.path
	st.tally.Since = expr.Stream{}
	protocol.SplitWait(r, st.first)
}

// perform makes sure that there is a stream, and does what the step is for.
func (s *streamStep) perform(c *protocol.Call, st *stream, w *streamScratch) error {
	l, reused, err := s.ready(c, st, w)
	if err != nil || l == nil {
		return err
	}
	w.posted = false
	err = s.act(c, st, l, w)
	if !reused || !s.opens || err == nil || !isClosed(l.over) || l.status != nil || st.touched() {
		return err
	}
	if cause := wire.Classify(err); cause != load.Closed && cause != load.Reset {
		return err
	}
	// The server had closed the connection while nobody used it, before it said anything to this request.
	if l, err = st.open(c, s, w); err == nil {
		err = s.act(c, st, l, w)
	}
	return err
}

// touched reports whether a message has come since the request began.
func (s *stream) touched() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.first != 0
}

// does reports whether the step does more than to open a stream.
func (s *streamStep) does() bool {
	return s.send != nil || s.wanted.Receives || s.listen > 0 || s.ends || s.cancels
}

// ready opens the stream where that is to be done, and returns its leg and whether that was open before. It returns no
// leg where there is nothing left to do.
func (s *streamStep) ready(c *protocol.Call, st *stream, w *streamScratch) (l *leg, reused bool, err error) {
	st.mu.Lock()
	st.first = 0
	l, last, lost, opening := st.now, st.last, st.lost, st.now == nil && !st.gone
	again := &w.want
	if opening {
		again.set(want{opening: true})
		st.want = again
	}
	st.mu.Unlock()
	if opening {
		if err = st.await(again, int64(c.Deadline)); err != nil {
			return nil, false, err
		}
		st.mu.Lock()
		defer st.mu.Unlock()
		if st.now == nil {
			return nil, false, st.absent()
		}
		return st.now, false, nil
	}
	end, ended := errors.AsType[*endError](lost)
	switch {
	case l != nil && (s.does() || !s.opens):
		return l, true, nil
	case ended && s.ends && !s.opens:
		return nil, false, s.over(c, st, w, end.statusError)
	case last != nil && s.wanted.Receives && s.send == nil && !s.opens:
		return last, true, nil // what came before the end may wait
	case s.opens:
		l, err = st.open(c, s, w)
		return l, false, err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	return nil, false, st.absent()
}

// absent returns why no stream is open. The caller holds mu.
func (s *stream) absent() error {
	if s.lost != nil {
		return fmt.Errorf("no stream is open, the last one was lost: %w", s.lost)
	}
	return errNotOpen
}

// set makes the want another one.
func (w *want) set(to want) {
	spare(&w.raw)
	spare(&w.body)
	to.raw, to.body, to.done = w.raw[:0], w.body[:0], w.done
	if *w = to; w.done == nil {
		w.done = make(chan struct{}, 1)
	}
}

// act does what the step is for, on a stream that is open.
func (s *streamStep) act(c *protocol.Call, st *stream, l *leg, w *streamScratch) error {
	waits := &w.want
	waits.set(want{})
	if s.send != nil {
		if err := s.write(c, l, w); err != nil {
			return err
		}
	}
	switch {
	case s.wanted.Receives || s.wanted.Echoes:
		defer func() { w.search = search{} }() // it keeps nothing of the VU
		if done, err := s.look(c, st, l, w); done || err != nil {
			return err
		}
		if err := s.await(c, st, l, w); err != nil {
			return err
		}
		return s.take(c, st, l, w)
	case s.send != nil:
		if err := s.post(c, st, l, w); err != nil {
			return err
		}
	}
	switch {
	case s.listen > 0:
		st.listening, st.until = true, st.clock()+s.listen
		st.hear(false)
		return s.goOn(c, st)
	case s.ends:
		return s.leave(c, st, l, w)
	case s.cancels:
		st.end(context.Canceled)
	}
	return st.judged()
}

// judged returns what is wrong with the messages that came since the step before.
func (s *stream) judged() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tally.Judged()
}

// hear says whether messages wait to be received.
func (s *stream) hear(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deaf = !on
}

// write makes the message that is sent.
func (s *streamStep) write(c *protocol.Call, l *leg, w *streamScratch) error {
	if isClosed(l.over) {
		return l.err
	}
	p, err := s.payload(l.bound)
	if err != nil {
		return err
	}
	if w.room, err = p.fill(&w.out, w.room, c.Scope); err != nil {
		return err
	}
	if !s.wanted.Echoes {
		return nil
	}
	w.sent, err = appendJSON(w.sent[:0], w.out.bytes, l.bound.method.Input(), l.bound.types, nil)
	if err != nil {
		return err
	}
	w.view = answer{body: w.sent}
	w.own, err = s.wanted.AppendOwn(w.own[:0], c.Scope, &w.view)
	return err
}

// post sends the message that write made.
func (s *streamStep) post(c *protocol.Call, st *stream, l *leg, w *streamScratch) error {
	at, size := st.clock(), int64(len(w.out.bytes))
	if w.want.sent != 0 {
		at = w.want.sent
	}
	if err := st.send(l, &w.out, int64(c.Deadline)); err != nil {
		return err
	}
	c.Result.Done = st.clock()
	if w.posted { // on the connection that was closed: it is one message
		return nil
	}
	w.posted = true
	st.mu.Lock()
	defer st.mu.Unlock()
	st.tally.Sent(at, 1, size)
	st.tally.Record()
	return nil
}

// look looks for the message among those that came before, and reports whether it is there.
func (s *streamStep) look(c *protocol.Call, st *stream, l *leg, w *streamScratch) (found bool, err error) {
	w.want.reads = c.Keep.Body || s.wanted.Reads()
	w.search = search{s, c, w}
	w.want.is = &w.search
	st.mu.Lock()
	defer st.mu.Unlock()
	if s.send == nil {
		x := st.exchange(l.channel)
		w.want.raw, found = st.tally.Take(w.want.raw, func(raw []byte) bool {
			if w.want.reads && err == nil {
				w.want.body, err = x.decode(l.rpc, l.bound, w.want.body[:0], raw)
			}
			return err != nil || s.matches(c, w, raw, w.want.body)
		})
		if found || err != nil {
			w.answer.raw, w.want.raw = w.want.raw, w.answer.raw
			w.answer.body, w.want.body = w.want.body, w.answer.body
			c.Result.Done = st.clock()
			if err == nil {
				err = st.tally.Judged()
			}
			return true, err
		}
	}
	if isClosed(l.over) || st.now != l {
		return false, st.absent()
	}
	w.want.sent = st.clock()
	if s.send == nil {
		w.want.sent = 0
	}
	st.want = &w.want
	st.limit(&w.want, int64(c.Deadline))
	return false, nil
}

// await waits for the message.
func (s *streamStep) await(c *protocol.Call, st *stream, l *leg, w *streamScratch) error {
	if s.send != nil {
		if err := s.post(c, st, l, w); err != nil {
			if !st.withdraw(&w.want) {
				<-w.want.done
			}
			return err
		}
	}
	return st.await(&w.want, int64(c.Deadline))
}

// take takes what the reader has found.
func (s *streamStep) take(c *protocol.Call, st *stream, l *leg, w *streamScratch) error {
	if w.want.err != nil || w.want.status != nil {
		return w.want.err
	}
	c.Result.Done = w.want.at
	w.answer.raw, w.want.raw = w.want.raw, w.answer.raw
	w.answer.body, w.want.body = w.want.body, w.answer.body
	if len(c.Keep.Headers) > 0 {
		l.header(&w.answer.answer, false)
	}
	return st.judged()
}

// matches reports whether a message is the one that the step waits for.
func (s *streamStep) matches(c *protocol.Call, w *streamScratch, raw, body []byte) bool {
	w.view = answer{raw: raw, body: body}
	defer func() { w.view = answer{} }()
	return s.wanted.Is(c.Scope, &w.view, w.own, &w.other)
}

// goOn goes on listening. In between the VU holds no goroutine.
func (s *streamStep) goOn(c *protocol.Call, st *stream) error {
	now := st.clock()
	st.mu.Lock()
	open, lost, gone := st.now != nil, st.lost, st.gone
	st.mu.Unlock()
	over := now >= st.until
	if !over && (open || !gone) {
		c.Again = time.Duration(min(now+protocol.LookAgain, st.until))
		return nil
	}
	st.listening = false
	st.hear(true)
	c.Result.Done = st.clock()
	switch {
	case open, over && !gone:
		return st.judged()
	case lost != nil:
		return lost
	}
	return errNotOpen
}

// leave says that nothing more is sent, and takes what comes until the server ends the stream.
func (s *streamStep) leave(c *protocol.Call, st *stream, l *leg, w *streamScratch) error {
	w.want.set(want{end: true, reads: c.Keep.Body})
	x := st.exchange(l.channel)
	st.mu.Lock()
	var err error
	for found := true; found; { // the last one that came
		var raw []byte
		if raw, found = st.tally.Take(w.want.raw[:0], func([]byte) bool { return true }); found {
			if w.want.raw = raw; w.want.reads {
				w.want.body, err = x.decode(l.rpc, l.bound, w.want.body[:0], raw)
			}
		}
	}
	over := st.now != l
	if !over && err == nil {
		st.want = &w.want
	}
	st.mu.Unlock()
	if err != nil {
		return err
	}
	if over {
		<-l.over
		w.want.ended = l.ended
	} else {
		_ = l.cs.CloseSend() // it does not fail
		if err := st.await(&w.want, int64(c.Deadline)); err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
			st.end(err)
			return err
		}
	}
	<-l.over
	if len(c.Keep.Headers) > 0 {
		l.header(&w.answer.answer, true)
	}
	if w.want.status == nil {
		return w.want.err
	}
	w.answer.raw, w.want.raw = w.want.raw, w.answer.raw
	w.answer.body, w.want.body = w.want.body, w.answer.body
	return s.over(c, st, w, w.want.status)
}

// over takes the status with which the server has ended the stream. The step's expect judges it.
func (s *streamStep) over(c *protocol.Call, st *stream, w *streamScratch, by *statusError) error {
	c.Result.Done = st.clock()
	w.answer.code, w.answer.message = int(by.code), by.message
	c.Result.Coded = true
	st.mu.Lock()
	defer st.mu.Unlock()
	st.last, st.lost, st.gone = nil, nil, true
	return st.tally.Judged()
}

// Judge is the default expectation: the status OK, of a stream that the server has ended.
func (s *streamStep) Judge(c *protocol.Call) load.Cause {
	a, ok := c.Response.(*streamAnswer)
	if !ok || a.code == int(codes.OK) {
		return load.None
	}
	c.Err = &statusError{codes.Code(uint32(a.code)), a.message} //nolint:gosec // it was one
	return load.Status
}

// A boundSend is the message of send by the method of a stream.
type boundSend struct {
	method protoreflect.MethodDescriptor
	payload
	err error
}

// bindSend compiles the message of send by a method's descriptor. Mistakes go to errs.
func (s *streamStep) bindSend(md protoreflect.MethodDescriptor, types *dynamicpb.Types, errs *block.Errors) {
	if (s.wanted.Receives || s.wanted.Echoes || s.listen > 0) && !md.IsStreamingServer() {
		errs.Add(s.at.Pos, s.at.Path, "%s answers by one message when all were sent", md.FullName()).Hint = "wait for it by close: end"
	}
	if s.send == nil {
		return
	}
	if !md.IsStreamingClient() {
		errs.Add(s.send.node.Pos, s.send.node.Path, "%s takes one message, which is sent where the stream is opened", md.FullName()).Hint = "write it as message"
		return
	}
	b := binder{types: types, errs: errs}
	s.sendBound.Store(&boundSend{method: md, payload: newPayload(b.bind(s.send, md.Input()))})
}

// payload returns the message of send by the descriptors of a stream.
func (s *streamStep) payload(b *bound) (*payload, error) {
	if of := s.sendBound.Load(); of != nil && of.method == b.method {
		return &of.payload, of.err
	}
	var errs block.Errors
	s.bindSend(b.method, b.types, &errs)
	if err := errs.Err(); err != nil {
		err = &expr.ValueError{Text: err.Error()}
		s.sendBound.Store(&boundSend{method: b.method, err: err})
		return nil, err
	}
	return &s.sendBound.Load().payload, nil
}
