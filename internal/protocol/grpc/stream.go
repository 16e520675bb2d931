package grpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/perfd/perfd/internal/credential"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/wire"
)

const (
	idleSpare = 1 << 10 // bytes; a stream that waits holds no larger buffer
)

// A stream is one VU's stream of messages. Its reader, a goroutine that is there from the
// opening of the stream to its end, takes what comes, and opens the stream again where it was
// lost and is to be. What both use is guarded by mu.
type stream struct {
	conn *session // the VU's way to the endpoint
	env  *protocol.Env
	vu   int
	root context.Context //nolint:containedctx // the parent of all that it does, which Interrupt ends
	quit context.CancelFunc

	// Of the last opening. The VU writes them while there is no reader.
	of    *streamStep
	life  context.Context //nolint:containedctx // the parent of its RPCs, which end ends
	kill  context.CancelFunc
	hello []byte        // the first message; nil for none
	list  []string      // metadata
	read  chan struct{} // closed when the reader has ended; nil before there is one

	// Of the VU, while it listens.
	listening bool
	until     int64 // when listening ends

	room   []byte          // of a message as JSON; the reader's
	tries  int             // attempts to open the stream since something came on it; the reader's
	source protocol.Source // of waits; likewise

	mu    sync.Mutex
	tally protocol.Tally
	now   *leg  // nil while the stream is not open
	last  *leg  // whose messages may wait to be received; nil for none
	lost  error // why it was lost; nil for one that is open or was closed
	gone  bool  // nothing opens it again
	want  *want // what the VU waits for; nil for nothing
	deaf  bool  // messages do not wait to be received: the VU listens
	first int64 // when the first message came since the request under way began, 0 for none

	// The deadlines of what the VU does. A timer that runs already is let run, where it rings no later than
	// they are: with a deadline for each of many messages a second it rings seldom, and is set as seldom.
	bell   *time.Timer
	rings  int64 // when, 0 for a bell that is not set
	sends  *leg  // on which a message is being sent; nil for none
	sendBy int64
}

// A leg is one RPC of a stream, from its opening to its end.
type leg struct {
	cs      grpc.ClientStream
	rpc     *rpc
	channel *channel
	bound   *bound
	by      *credential.Credential // nil for none
	value   *credential.Value      // by which the server knows the VU
	cancel  context.CancelFunc
	opened  int64
	answers int // messages that came; the reader's
	over    chan struct{}
	ended   // valid when over is closed

	why error // of a leg that the VU ends, under stream.mu
}

// ended is how a leg ended.
type ended struct {
	status *statusError // by the server's status, OK included; nil for any other end
	err    error        // what that is to a step that needs the stream
}

// A want is what a VU waits for. The reader fills it in under stream.mu, and says so on done.
type want struct {
	opening bool    // that the stream is open again, or given up
	end     bool    // the end of the stream
	reads   bool    // messages are needed as JSON
	is      *search // the message that is waited for; nil for none
	sent    int64   // when the message was sent that is answered, 0 for none
	by      int64   // the deadline, 0 where there is none yet

	raw, body []byte // the message, or the last one before the end
	at        int64
	late      bool // the deadline was over first
	ended
	done chan struct{} // of capacity 1
}

// An endError is the end of a stream by its server.
type endError struct{ *statusError }

func (e *endError) Error() string {
	if e.code == codes.OK {
		return "the server has ended the stream"
	}
	return "the server has ended the stream: " + e.statusError.Error()
}

// Cause returns load.Closed for an end without a failure.
func (e *endError) Cause() load.Cause {
	if e.code == codes.OK {
		return load.Closed
	}
	return load.Status
}

// Interrupt ends the stream, and with it the request under way.
func (s *stream) Interrupt() { s.quit() }

// Close ends the stream and waits for its reader.
func (s *stream) Close() {
	s.quit()
	s.join()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bell != nil {
		s.bell.Stop()
	}
}

// join waits for the reader, which must have been told to end.
func (s *stream) join() {
	if s.read != nil {
		<-s.read
		s.read = nil
	}
}

func (s *stream) clock() int64 { return int64(s.env.Now()) }

// open opens the stream by the call's deadline, in place of one that is open, and returns its leg.
func (s *stream) open(c *protocol.Call, of *streamStep, w *streamScratch) (*leg, error) {
	s.end(context.Canceled)
	list, err := of.fields(c, &w.scratch, nil)
	if err != nil {
		return nil, err
	}
	s.of, s.list, s.tries = of, list, 0
	s.life, s.kill = context.WithCancel(s.root)
	s.mu.Lock()
	s.tally.Begin(c, of.rules)
	s.gone, s.lost = false, nil
	s.mu.Unlock()
	l, err := s.connect(int64(c.Deadline), c)
	if err != nil {
		s.mu.Lock()
		s.gone = true
		s.mu.Unlock()
		s.kill()
		return nil, err
	}
	s.read = make(chan struct{})
	go s.reader(l)
	return l, nil
}

// end ends the stream from this side, for a reason that its leg has then, and waits for that.
func (s *stream) end(why error) {
	if s.read == nil {
		return
	}
	s.mu.Lock()
	s.gone = true
	if s.now != nil {
		s.now.leave(why)
	}
	s.mu.Unlock()
	s.kill()
	s.join()
	s.mu.Lock()
	s.last, s.lost = nil, nil
	s.mu.Unlock()
}

// leave ends a leg for a reason, unless it has one. The caller holds stream.mu.
func (l *leg) leave(why error) {
	if l.why == nil {
		l.why = why
	}
	l.cancel()
}

// silent reports whether nothing at all came on the connection since the leg began: it may be one to nobody.
func (l *leg) silent() bool { return l.channel.arrived.Load() == l.rpc.arrived.Load() }

// exchange returns what is done on the leg's channel.
func (s *stream) exchange(ch *channel) *exchange {
	return &exchange{step: &s.of.step, env: s.env, channel: ch, session: s.conn}
}

// connect opens an RPC by a deadline and sends the first message. C is nil where no step does so.
func (s *stream) connect(deadline int64, c *protocol.Call) (l *leg, err error) {
	var r load.Result
	res := &r
	if c != nil {
		res = &c.Result
	}
	by, value, err := s.of.prove(s.env)
	if err != nil {
		return nil, err
	}
	ch, err := s.conn.line.take(s.clock())
	if err != nil {
		return nil, err
	}
	x := s.exchange(ch)
	l = &leg{channel: ch, over: make(chan struct{}), by: by, value: value}
	var ctx context.Context
	if of := s.of.lifetime; of > 0 {
		ctx, l.cancel = context.WithTimeout(s.life, of)
	} else {
		ctx, l.cancel = context.WithCancel(s.life)
	}
	guard := time.AfterFunc(time.Duration(deadline-s.clock()), l.cancel)
	err = s.begin(metadata.AppendToOutgoingContext(ctx, append(slices.Clip(s.list), s.of.proof(value)...)...), l, x, c, res)
	inTime := guard.Stop()
	res.Done = max(res.Done, s.clock())
	if c != nil {
		if l.rpc != nil {
			x.opened(l.rpc, res)
		}
		res.SentBytes += ch.sent.Swap(0)
		res.ReceivedBytes += ch.received.Swap(0)
	}
	switch {
	case s.life.Err() != nil:
		err = context.Canceled
	case !inTime:
		err = context.DeadlineExceeded
		x.useless = l.rpc == nil || l.rpc.conn.Load() == nil || l.silent()
	}
	if err != nil {
		l.cancel()
		s.conn.line.give(ch, x.useless)
		return nil, err
	}
	l.opened = s.clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now, s.last, s.lost = l, l, nil
	s.tally.Opened(l.opened, false)
	if l.bound.greets {
		s.tally.Sent(l.opened, 1, int64(len(s.hello)))
		s.tally.Record()
	}
	return l, nil
}

// begin starts the leg's RPC.
func (s *stream) begin(ctx context.Context, l *leg, x *exchange, c *protocol.Call, res *load.Result) (err error) {
	if l.bound, err = x.bound(ctx, res); err != nil {
		return err
	}
	if c != nil && l.bound.greets {
		var out outgoing
		if _, err = l.bound.first.fill(&out, nil, c.Scope); err != nil {
			return err
		}
		s.hello = out.bytes
	}
	l.rpc = newRPC(ctx, s.env.Now)
	md := l.bound.method
	desc := &grpc.StreamDesc{ServerStreams: true, ClientStreams: md.IsStreamingClient()}
	if l.cs, err = x.channel.cc.NewStream(l.rpc, desc, s.of.path, s.of.options...); err != nil {
		return s.refused(x, l, err)
	}
	if !l.bound.greets {
		return nil
	}
	if err = l.cs.SendMsg(&outgoing{s.hello, true}); errors.Is(err, io.EOF) {
		err = l.cs.RecvMsg(&incoming{}) // it says why
	}
	if err != nil {
		return s.refused(x, l, err)
	}
	return nil
}

// refused returns why a leg was not opened.
func (s *stream) refused(x *exchange, l *leg, err error) error {
	st, err := x.settle(l.rpc, err, false)
	if st != nil {
		l.told(x, st)
		return &endError{st}
	}
	return err
}

// told takes the status of a server that has ended the leg.
func (l *leg) told(x *exchange, st *statusError) {
	x.doubt(l.bound, st.code)
	if st.code == codes.Unauthenticated && l.by != nil {
		l.by.Refused(l.value)
	}
}

// reader takes what comes until the stream is not opened again.
func (s *stream) reader(l *leg) {
	defer close(s.read)
	defer s.kill()
	for l != nil {
		s.finish(l, s.receive(l))
		l = s.reopen()
	}
}

// receive takes the messages of a leg, and returns the error that ends it.
func (s *stream) receive(l *leg) error {
	x := s.exchange(l.channel)
	var in incoming
	for {
		if cap(in.bytes) > idleSpare {
			in.bytes = nil
		}
		if err := l.cs.RecvMsg(&in); err != nil {
			return err
		}
		if err := s.arrived(l, x, in.bytes); err != nil {
			return err
		}
	}
}

// arrived takes a message.
func (s *stream) arrived(l *leg, x *exchange, raw []byte) (err error) {
	at := s.clock()
	s.tries = 0
	if l.answers++; l.answers > 1 && !l.bound.method.IsStreamingServer() {
		return &wire.ProtocolError{Text: "the server sends a second message, and the method answers by one"}
	}
	var body []byte
	for {
		s.mu.Lock()
		if body != nil || !s.tally.Reads() && (s.want == nil || !s.want.reads) {
			break
		}
		s.mu.Unlock()
		if cap(s.room) > idleSpare {
			s.room = nil
		}
		if s.room, err = x.decode(l.rpc, l.bound, s.room[:0], raw); err != nil {
			return err
		}
		body = s.room
	}
	defer s.mu.Unlock()
	s.tally.Received(at, len(raw), body)
	if s.first == 0 {
		s.first = at
	}
	w := s.want
	found := false
	switch {
	case w != nil && w.end:
		w.keep(raw, body)
	case w != nil && w.is != nil:
		if found = w.is.matches(raw, body); found {
			w.keep(raw, body)
			w.at = at
			if w.sent > 0 {
				s.tally.Answered(w.sent, at)
			}
		}
	case !s.deaf:
		s.tally.Keep(raw)
	}
	s.tally.Record()
	if found {
		s.satisfy()
	}
	return nil
}

// keep copies a message. Its body is kept where it is needed.
func (w *want) keep(raw, body []byte) {
	w.raw = append(w.raw[:0], raw...)
	if w.reads {
		w.body = append(w.body[:0], body...)
	}
}

// satisfy ends what the VU waits for. The caller holds mu.
func (s *stream) satisfy() {
	w := s.want
	s.want = nil
	w.done <- struct{}{}
}

// wake ends the VU's wait for an opening.
func (s *stream) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.want != nil && s.want.opening {
		s.satisfy()
	}
}

// finish takes the end of a leg.
func (s *stream) finish(l *leg, err error) {
	now := s.clock()
	x := s.exchange(l.channel)
	// The server, which counts from later on, may say first that the time is up.
	by, mortal := l.rpc.Deadline()
	late := mortal && time.Until(by) <= min(s.of.lifetime/10, 100*time.Millisecond)
	s.mu.Lock()
	why := l.why
	s.mu.Unlock()
	var e ended
	code := status.Code(err)
	own, isOwn := errors.AsType[*wire.ProtocolError](err)
	switch {
	case s.root.Err() != nil:
		e.err, code = context.Canceled, codes.Canceled
		x.useless = l.silent()
	case why != nil:
		if e.err = why; errors.Is(why, context.DeadlineExceeded) {
			code = codes.DeadlineExceeded
		}
		x.useless = l.silent()
	case errors.Is(err, io.EOF) && l.answers == 0 && !l.bound.method.IsStreamingServer():
		e.err, code = &wire.ProtocolError{Text: "the server ends the call without the message that the method answers by"}, codes.OK
	case errors.Is(err, io.EOF):
		e.status, code = &statusError{code: codes.OK}, codes.OK
	case isOwn:
		e.err, code = own, codes.Internal
	default:
		e.status, e.err = x.settle(l.rpc, err, late)
	}
	if e.status != nil {
		l.told(x, e.status)
		e.err = &endError{e.status}
	}
	l.cancel()
	l.ended = e
	if now-l.opened > protocol.Reopening {
		s.tries = 0
	}
	s.mu.Lock()
	s.now, s.lost = nil, e.err
	s.tally.Closed(now, int32(code)) //nolint:gosec // a code is small
	if s.of.reconnect == nil || s.life.Err() != nil || s.want != nil && s.want.end {
		s.gone = true
	}
	if w := s.want; w != nil {
		w.ended = e
		s.satisfy()
	}
	s.mu.Unlock()
	s.conn.line.give(l.channel, x.useless)
	close(l.over)
}

// reopen opens a stream that was lost, with waits between attempts. It returns nil where it is not to be, or there is no
// attempt left.
func (s *stream) reopen() *leg {
	since := s.clock()
	for s.again() {
		err := s.pause()
		var l *leg
		if err == nil {
			l, err = s.connect(s.clock()+protocol.Reopening, nil)
		}
		s.mu.Lock()
		if err == nil {
			s.tally.Reconnected(since)
		} else {
			s.lost = err
		}
		s.mu.Unlock()
		if err == nil {
			s.wake()
			return l
		}
	}
	s.wake()
	return nil
}

// again reports whether there is to be another attempt.
func (s *stream) again() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.of.reconnect
	s.tries++
	s.gone = s.gone || s.life.Err() != nil || o == nil || o.Attempts > 0 && s.tries > o.Attempts
	return !s.gone
}

// pause waits for the next attempt, and for its token: the target's limit holds for what opens a stream again, too.
func (s *stream) pause() error {
	if err := s.sleep(time.Duration(s.of.reconnect.Wait(s.tries, s.source.Draw()))); err != nil {
		return err
	}
	if s.env.Redirect == nil {
		return nil
	}
	to := &s.of.to.origin
	addrs, err := s.env.Dialer.Resolve(s.life, to.Host, to.Port, s.of.to.target.Connections.DNSRefresh.D())
	if err != nil {
		return err
	}
	for turn := false; ; turn = true {
		wait, ok := s.env.Redirect(to.Host, to.Port, addrs, turn)
		if err := s.sleep(wait); err != nil || ok {
			return err
		}
	}
}

// sleep waits, unless the stream is ended meanwhile.
func (s *stream) sleep(d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-s.life.Done():
		return context.Canceled
	}
}

// await waits until the reader has satisfied a want that was set, or the deadline.
func (s *stream) await(w *want, deadline int64) error {
	if w.by == 0 {
		s.mu.Lock()
		s.limit(w, deadline)
		s.mu.Unlock()
	}
	select {
	case <-w.done:
	case <-s.root.Done():
		if s.withdraw(w) {
			return context.Canceled
		}
		<-w.done
	}
	if w.late {
		return context.DeadlineExceeded
	}
	return nil
}

// limit gives a want its deadline. The caller holds mu.
func (s *stream) limit(w *want, by int64) {
	w.by = by
	if s.want == w {
		s.ring(by)
	}
}

// ring has the bell ring by an instant. The caller holds mu.
func (s *stream) ring(by int64) {
	if s.rings != 0 && s.rings <= by {
		return
	}
	s.rings = by
	d := time.Duration(by - s.clock())
	if s.bell == nil {
		s.bell = time.AfterFunc(d, s.rang)
	} else {
		s.bell.Reset(d)
	}
}

// rang ends what has passed its deadline, and has the bell ring for what has not.
func (s *stream) rang() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rings = 0
	if s.root.Err() != nil {
		return
	}
	now := s.clock()
	if l := s.sends; l != nil {
		if s.sendBy <= now {
			s.sends = nil
			l.leave(context.DeadlineExceeded)
		} else {
			s.ring(s.sendBy)
		}
	}
	if w := s.want; w != nil && w.by != 0 {
		if w.by <= now {
			w.late = true
			s.satisfy()
		} else {
			s.ring(w.by)
		}
	}
}

// withdraw takes a want back, and reports whether it was still open.
func (s *stream) withdraw(w *want) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	open := s.want == w
	if open {
		s.want = nil
	}
	return open
}

// send sends a message on a leg by the deadline. A leg on which that takes longer can take no other.
func (s *stream) send(l *leg, out *outgoing, deadline int64) error {
	s.mu.Lock()
	s.sends, s.sendBy = l, deadline
	s.ring(deadline)
	s.mu.Unlock()
	err := l.cs.SendMsg(out)
	s.mu.Lock()
	s.sends = nil
	s.mu.Unlock()
	if err == nil {
		return nil
	}
	if !errors.Is(err, io.EOF) { // else the reader knows why
		s.mu.Lock()
		l.leave(fmt.Errorf("sending: %w", err))
		s.mu.Unlock()
	}
	<-l.over
	return l.err
}

// header takes the metadata of the leg's answer: that before the messages, of which one has come, or all of one that is over.
func (l *leg) header(to *answer, over bool) {
	to.header, _ = l.cs.Header() // it is there, or never will be
	if over {
		to.trailer = l.cs.Trailer()
	}
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
