package websocket

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/perfd/perfd/internal/credential"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/wire"
)

// A step is a compiled request, shared by all VUs.
type step struct {
	key     protocol.Key
	opening *opening // nil for a step without url

	send   *message // nil for none
	wanted protocol.Wanted
	listen int64 // ns, 0 for none
	ping   bool
	closes int // code, 0 for none
}

const (
	idleCheck = int64(time.Millisecond) // after such a rest it is looked what has come, before something is sent
	closing   = int64(5 * time.Second)  // how long the server may take to answer a close frame
	spare     = 64 << 10                // bytes; a larger buffer is not kept for the next request
)

// Timings are those of the streams that the step opens.
func (s *step) Timings() []load.MessageTiming {
	if s.opening == nil {
		return nil
	}
	return s.opening.timings()
}

// Credential names the entry of credentials that streams are opened with, empty for none.
func (s *step) Credential() string {
	if s.opening == nil {
		return ""
	}
	return s.opening.credential
}

// An answer is the last message of a request, or the answer to the opening, with the buffers of the call.
type answer struct {
	head     *wire.Head // of an opening, nil for none
	body     []byte
	code     int
	duration time.Duration
	stream   expr.Stream

	payload, frame, own, other, address []byte
}

func (a *answer) Code() int               { return a.code }
func (a *answer) Body() []byte            { return a.body }
func (a *answer) Duration() time.Duration { return a.duration }
func (a *answer) Size() int64             { return int64(len(a.body)) }
func (a *answer) Sum() uint64             { return xxhash.Sum64(a.body) }
func (a *answer) Stream() *expr.Stream    { return &a.stream }

// Header returns a header field of the answer to the opening.
func (a *answer) Header(name string) (string, bool) {
	if a.head != nil {
		for v := range a.head.Values(name) {
			return string(v), true
		}
	}
	return "", false
}

func (s *step) open(v *protocol.VU) (protocol.Session, error) {
	o := s.opening
	if o == nil {
		return nil, errNotOpen
	}
	t, err := v.Env.SharedTransport(protocol.Key{Kind: Kind.Name, Name: "transport"}, func(t *wire.Transport) {
		t.TLS, t.NextProtos = o.tls, []string{"http/1.1"}
	})
	if err != nil {
		return nil, err
	}
	return newSession(o, t, v), nil
}

// session returns the stream of the VU, which no attendant has.
func (s *step) session(c *protocol.Call) (*session, error) {
	held, err := c.VU.Session(s.key, s.open)
	if err != nil {
		return nil, err
	}
	sess := held.(*session) //nolint:forcetypeassert // no other protocol uses the key
	if s.opening != nil && sess.of != s.opening && sess.of.origin != s.opening.origin {
		c.VU.Drop(sess)
		if held, err = c.VU.Session(s.key, s.open); err != nil {
			return nil, err
		}
		sess = held.(*session) //nolint:forcetypeassert // likewise
	}
	return sess, nil
}

// Do performs the request.
func (s *step) Do(c *protocol.Call) {
	a := protocol.Scratch[answer](c)
	a.head, a.body, a.code = nil, nil, 0
	r := &c.Result
	sess, err := s.session(c)
	if err == nil && sess.listening {
		if err = s.goOn(c, sess); err == nil && c.Again > 0 {
			return
		}
	} else if err == nil {
		r.Sent = sess.stream.Now()
		sess.attendance.Take()
		if err = s.perform(c, sess, a); err == nil && c.Again > 0 {
			return
		}
	}
	if sess != nil {
		s.finish(c, sess, a, err)
	}
	if err != nil {
		r.Done = max(r.Done, r.Sent)
		r.Cause, c.Err = wire.Classify(err), err
		switch {
		case errors.Is(err, credential.ErrNone):
			r.Cause = load.NoCredential
		case errors.Is(err, errNotOpen):
			r.Cause = load.Closed
		}
		r.Code = 0
		if closed, ok := errors.AsType[*closedError](err); ok {
			r.Code = closed.code
		} else if refused, ok := errors.AsType[*statusError](err); ok {
			r.Code = int32(refused.code)
		}
		return
	}
	a.code, a.duration = int(r.Code), time.Duration(r.Duration())
	c.Response = a
}

// finish notes in the result what the request has cost.
func (s *step) finish(c *protocol.Call, sess *session, a *answer, err error) {
	r := &c.Result
	if err != nil || r.Done <= r.Sent {
		r.Done = sess.stream.Now()
	}
	r.SentBytes = sess.stream.SentBytes - sess.counted.sent
	r.ReceivedBytes = sess.stream.ReceivedBytes - sess.counted.received
	sess.counted.sent, sess.counted.received = sess.stream.SentBytes, sess.stream.ReceivedBytes
	a.stream, sess.tally.Since = sess.tally.Since, expr.Stream{}
	a.address = protocol.AppendStream(append(a.address[:0], sess.of.at...), &a.stream)
	c.Address = a.address
	protocol.SplitWait(r, sess.first)
}

// perform makes sure that there is a stream, and does what the step is for.
func (s *step) perform(c *protocol.Call, sess *session, a *answer) error {
	sess.first = 0
	reused, err := s.ready(c, sess)
	if err != nil {
		return err
	}
	err = s.act(c, sess, a)
	if err == nil || sess.stopped(err) {
		return err
	}
	if errors.Is(err, os.ErrDeadlineExceeded) && !sess.stream.Torn() || isUnmet(err) || isValue(err) {
		return err // the stream itself is as good as before
	}
	untouched := reused && sess.first == 0 && s.opening != nil && (errors.Is(err, io.EOF) || wire.Classify(err) == load.Reset)
	if untouched {
		sess.tally.Unsent()
	}
	sess.lose(err)
	if !untouched {
		return err
	}
	// The server had closed the stream while nobody used it, before it said anything to this request.
	if err = sess.open(c); err == nil {
		if err = s.act(c, sess, a); err != nil && sess.stream.IsOpen() && !sess.stopped(err) && !errors.Is(err, os.ErrDeadlineExceeded) {
			sess.lose(err)
		}
	}
	return err
}

// isUnmet reports whether an error is of messages that do not meet the condition on all.
func isUnmet(err error) bool {
	_, ok := errors.AsType[*protocol.UnmetError](err)
	return ok
}

// isValue reports whether an error is of a value that the request needs: nothing was sent.
func isValue(err error) bool {
	_, ok := errors.AsType[*expr.ValueError](err)
	return ok
}

// does reports whether the step does more than to open a stream.
func (s *step) does() bool {
	return s.send != nil || s.wanted.Receives || s.listen > 0 || s.ping || s.closes > 0
}

// ready opens the stream where that is to be done, and reports whether it was open before. What has come meanwhile is
// taken.
func (s *step) ready(c *protocol.Call, sess *session) (reused bool, err error) {
	if sess.stream.IsOpen() && (s.does() || s.opening == nil) {
		if err = sess.catchUp(int64(c.Deadline)); err == nil {
			return true, nil
		}
		if sess.stopped(err) {
			return false, err
		}
		sess.lose(err)
	}
	switch {
	case sess.reopens():
		return false, sess.reopen(int64(c.Deadline), &c.Result)
	case s.opening != nil:
		sess.of = s.opening
		return false, sess.open(c)
	case sess.lost != nil:
		err := sess.lost
		return false, fmt.Errorf("no stream is open, the last one was lost: %w", err)
	}
	return false, errNotOpen
}

// catchUp takes what has come while nobody waited, if the stream has rested for long enough. It ends by the deadline
// where more comes all the time.
func (s *session) catchUp(deadline int64) error {
	if s.stream.Now()-s.filled < idleCheck && len(s.stream.Unread()) == 0 {
		return nil
	}
	for s.stream.Now() < deadline {
		came, ended := s.stream.Poll()
		if ended != nil && !errors.Is(ended, io.EOF) || !came && len(s.stream.Unread()) == 0 {
			return ended
		}
		if came {
			s.filled = s.stream.Now()
		}
		for {
			payload, err := s.next(0)
			if errors.Is(err, os.ErrDeadlineExceeded) && !s.stream.Torn() {
				break // the rest of a message is not there yet
			}
			if err != nil {
				return err
			}
			s.tally.Record()
			s.tally.Keep(payload)
		}
		if !came {
			return ended
		}
	}
	return nil
}

// act does what the step is for, on a stream that is open.
func (s *step) act(c *protocol.Call, sess *session, a *answer) error {
	sent := sess.stream.Now()
	if s.send != nil {
		if err := s.write(c, sess, a, sent); err != nil {
			return err
		}
	}
	switch {
	case s.listen > 0:
		sess.listening, sess.until = true, sess.stream.Now()+s.listen
		return s.goOn(c, sess)
	case s.wanted.Receives || s.wanted.Echoes:
		return s.await(c, sess, a, sent)
	case s.ping:
		return s.pong(c, sess)
	case s.closes > 0:
		return s.leave(c, sess)
	}
	return sess.tally.Judged()
}

// write sends the message. Where an answer is waited for it is written when that begins.
func (s *step) write(c *protocol.Call, sess *session, a *answer, now int64) (err error) {
	if cap(a.payload) > spare {
		a.payload, a.frame = nil, nil
	}
	if a.payload, err = s.send.append(a.payload[:0], c.Scope); err != nil {
		return err
	}
	if s.wanted.Echoes {
		a.body = a.payload
		a.own, err = s.wanted.AppendOwn(a.own[:0], c.Scope, a)
		if a.body = nil; err != nil {
			return err
		}
	}
	a.frame = appendMessage(a.frame[:0], s.send.first, uint32(sess.source.Draw()), a.payload, sess.deflates)
	sess.tally.Sent(now, 1, int64(len(a.payload)))
	if (s.wanted.Receives || s.wanted.Echoes) && len(sess.stream.Unread()) == 0 && !sess.in {
		sess.pend = a.frame
		return nil
	}
	err = sess.stream.Write(a.frame, int64(c.Deadline))
	c.Result.Done = sess.stream.Now()
	if err != nil {
		sess.tally.Unsent()
		return err
	}
	sess.tally.Record()
	return nil
}

// await waits for the message that the step is to receive.
func (s *step) await(c *protocol.Call, sess *session, a *answer, sent int64) error {
	if s.send == nil {
		var found bool
		if a.other, found = sess.tally.Take(a.other[:0], func(p []byte) bool { return s.matches(c, a, p) }); found {
			a.body = a.other
			c.Result.Done = sess.stream.Now()
			return sess.tally.Judged()
		}
	}
	for {
		payload, err := sess.next(int64(c.Deadline))
		if err != nil {
			if s.send != nil && errors.Is(err, os.ErrDeadlineExceeded) {
				sess.tally.Record() // the message that was sent counts without an answer, too
			}
			return err
		}
		found := s.matches(c, a, payload)
		if found {
			c.Result.Done = sess.filled
			if s.send != nil {
				sess.tally.Answered(sent, sess.filled)
			}
		}
		sess.tally.Record()
		if found {
			a.body = payload
			return sess.tally.Judged()
		}
	}
}

// matches reports whether a message is the one that the step waits for.
func (s *step) matches(c *protocol.Call, a *answer, payload []byte) bool {
	a.body = payload
	defer func() { a.body = nil }()
	return s.wanted.Is(c.Scope, a, a.own, &a.other)
}

// goOn goes on listening. In between the session is attended, and the VU holds no goroutine.
func (s *step) goOn(c *protocol.Call, sess *session) error {
	now := sess.stream.Now()
	over := now >= sess.until
	if !over && !sess.attendance.Ended() {
		c.Again = time.Duration(min(now+protocol.LookAgain, sess.until))
		return nil
	}
	sess.attendance.Take()
	sess.listening = false
	c.Result.Done = sess.stream.Now()
	switch {
	case sess.stream.IsOpen(), over && sess.reopens():
		return sess.tally.Judged()
	case sess.lost != nil:
		return sess.lost
	}
	return errNotOpen
}

// pong sends a ping and waits for its pong. Messages that come first are kept.
func (s *step) pong(c *protocol.Call, sess *session) error {
	if err := sess.sendPing(int64(c.Deadline)); err != nil {
		return err
	}
	sess.awaits = true
	defer func() { sess.awaits = false }()
	for {
		payload, err := sess.next(int64(c.Deadline))
		if errors.Is(err, errPonged) {
			c.Result.Done = sess.filled
			return sess.tally.Judged()
		}
		if err != nil {
			return err
		}
		sess.tally.Record()
		sess.tally.Keep(payload)
	}
}

// leave closes the stream and waits for the server to close it too.
func (s *step) leave(c *protocol.Call, sess *session) error {
	by := min(int64(c.Deadline), sess.stream.Now()+closing)
	sess.tell(uint16(s.closes), by)
	for {
		_, err := sess.next(by)
		if err == nil {
			sess.tally.Record()
			continue
		}
		if sess.stopped(err) {
			return err
		}
		if closed, ok := errors.AsType[*closedError](err); ok {
			c.Result.Code, err = closed.code, nil
		}
		sess.closed(int32(s.closes), load.ClosedEnd)
		sess.lost, sess.hello = nil, nil
		if err != nil {
			return err
		}
		return sess.tally.Judged()
	}
}
