package http

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/perfd/perfd/internal/credential"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/wire"
)

const (
	mostRetry = int64(5 * time.Minute) // the longest wait that a server may ask for where max_wait says nothing
)

// An eventSession is one VU's stream of events. Between requests it is attended, by a poller or a goroutine that owns it until it is
// taken back; otherwise the VU owns it.
type eventSession struct {
	stream     *wire.Stream
	of         *eventStep // that opened the stream
	attendance *protocol.Attendance
	tally      protocol.Tally
	reader     eventReader

	request []byte                 // that opens the stream again, nil where nothing does
	head    int                    // length of its head without the empty line
	proof   proof                  // in it
	by      *credential.Credential // nil for none
	maxHead int

	address []byte // of the request that was sent last, for spans

	opened    bool // the request under way has opened a stream
	listening bool // events are taken as they come, and none waits to be received
	until     int64
	ended     bool // the answer has ended
	filled    int64
	first     int64 // when the first bytes came since the request under way began, 0 for none
	lost      error // why the stream was lost; nil for one that is open or was closed
	lostAt    int64
	trouble   error           // what a look has found
	source    protocol.Source // of waits
	counted   struct{ sent, received int64 }
	packed    []byte
	fields    func(name string) (string, bool) // of the last event, bound once
}

func newEventSession(t *wire.Transport, o wire.Origin, v *protocol.VU) *eventSession {
	s := &eventSession{stream: wire.NewStream(t, o, v.ID), source: protocol.NewSource(v.ID)}
	s.attendance = protocol.NewAttendance(s.stream, v.Env.Poller(v.ID), s.attend, s.look)
	s.fields = func(name string) (string, bool) {
		e := s.event()
		return e.field(name)
	}
	return s
}

// Interrupt makes the request under way return soon.
func (s *eventSession) Interrupt() {
	s.stream.Interrupt()
	s.attendance.Interrupt()
}

// Close ends the stream.
func (s *eventSession) Close() {
	s.attendance.Take()
	s.end()
}

// end closes the stream from this side.
func (s *eventSession) end() {
	if s.stream.IsOpen() {
		s.stream.Shut(load.ClosedEnd)
		s.gone()
	}
	s.lost, s.request = nil, nil
}

// gone counts the end of a stream whose connection it has no more.
func (s *eventSession) gone() {
	s.tally.Closed(s.stream.Now(), 0)
	s.lost, s.request = nil, nil
}

// Attend has the session attended until it is used again.
func (s *eventSession) Attend() {
	if !s.attendance.Lent() && (s.stream.IsOpen() || s.reopens()) {
		s.attendance.Lend()
	}
}

// reopens reports whether a stream that was lost is opened again.
func (s *eventSession) reopens() bool { return s.lost != nil && s.request != nil }

// attend attends to the stream in a goroutine, opens it again where it is lost, and returns where it is quiet.
func (s *eventSession) attend() (quiet bool) {
	err := s.trouble
	s.trouble = nil
	for {
		switch {
		case err == nil:
		case s.stopped(err):
			return false
		default:
			s.lose(err)
		}
		if !s.stream.IsOpen() {
			if !s.reopens() {
				return false
			}
			var r load.Result
			if s.reopen(wire.Forever, &r) != nil {
				return false
			}
		}
		if s.attendance.Watches() {
			return true
		}
		if err = s.next(wire.Forever); err == nil {
			s.take()
		}
	}
}

// take takes an event that nobody waits for.
func (s *eventSession) take() {
	s.tally.Record()
	if !s.listening {
		s.keep()
	}
}

// look takes what has come, without a wait.
func (s *eventSession) look(read bool) (due int64, ok bool) {
	if read {
		came, err := s.stream.Poll()
		if came {
			s.came()
		}
		if s.trouble = err; errors.Is(err, io.EOF) {
			s.trouble = errEnded
		}
	}
	for {
		err := s.next(0)
		if err == nil {
			s.take()
			continue
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			s.trouble = err
		}
		if s.trouble != nil {
			return 0, false
		}
		s.stream.Rest()
		return 0, true
	}
}

// stopped reports whether an error is no loss of the stream: its reader is to stop.
func (s *eventSession) stopped(err error) bool {
	return errors.Is(err, wire.ErrRecalled) || wire.Classify(err) == load.Canceled
}

// begun notes that the stream is open, by a request that was sent at an instant. The first event is waited for from then
// on. Resumes says that it named the last event.
func (s *eventSession) begun(sent int64, resumes bool) {
	s.filled = s.stream.Now()
	s.ended, s.lost = false, nil
	s.tally.Opened(sent, resumes)
}

// keepRequest keeps the request that was sent last, where it may be sent again.
func (s *eventSession) keepRequest(c *protocol.Call, w *scratch) {
	s.request = nil
	if s.of.reconnect == nil || w.x.Stream != nil {
		return
	}
	s.request = bytes.Clone(w.x.Out)
	s.head = bytes.Index(s.request, []byte("\r\n\r\n")) + 2
	if s.proof, s.by = w.proof, nil; s.proof.value != nil {
		s.by = c.VU.Env.Credentials[s.of.credential]
	}
}

// renew has the kept request say the present value of its credential: the one that it was sent with first may have expired,
// and a signature is of its time.
func (s *eventSession) renew() error {
	if s.by == nil {
		return nil
	}
	now, was := s.by.Value(), s.proof.value
	switch {
	case now == nil:
		return fmt.Errorf("%w: %s", credential.ErrNone, s.by.Name())
	case now == was && now.Sign == nil:
		return nil
	}
	request := make([]byte, 0, len(s.request)+len(now.Header)+len(now.Query))
	line, _, _ := bytes.Cut(s.request, []byte("\r\n"))
	rest := len(line)
	if at := bytes.Index(line, was.Query); at > 0 && len(was.Query) > 0 {
		request = append(append(request, line[:at]...), now.Query...)
		rest = at + len(was.Query)
	} else {
		request = append(request, line...)
	}
	request = append(request, s.request[rest:s.proof.from]...)
	from := len(request)
	request = append(request, now.Header...)
	if now.Sign != nil {
		method, target, _ := bytes.Cut(request, []byte(" "))
		target, _, _ = bytes.Cut(target, []byte(" "))
		var err error
		request, err = now.Sign(request, &credential.Request{Method: string(method), Host: hostOf(request), Target: target, Body: s.request[s.head+2:], At: time.Now()})
		if err != nil {
			return err
		}
	}
	to := len(request)
	request = append(request, s.request[s.proof.to:]...)
	s.head += len(request) - len(s.request)
	s.request, s.proof = request, proof{now, from, to}
	return nil
}

// event returns the event that next has found.
func (s *eventSession) event() event {
	return event{s.reader.data, s.reader.kind, s.reader.id}
}

// keep keeps the event until it is received, in a form of which unpack finds the parts: type and id hold no line ends.
func (s *eventSession) keep() {
	e := s.event()
	s.packed = append(append(append(append(append(s.packed[:0], e.kind...), '\n'), e.id...), '\n'), e.data...)
	s.tally.Keep(s.packed)
	if cap(s.packed) > spareEvent {
		s.packed = nil
	}
}

func unpack(p []byte) (e event) {
	e.kind, p, _ = bytes.Cut(p, []byte("\n"))
	e.id, e.data, _ = bytes.Cut(p, []byte("\n"))
	return e
}

// next finds the next event, and notes what is known of it.
func (s *eventSession) next(deadline int64) error {
	last := false
	for {
		found, err := s.reader.next(last)
		if err != nil {
			return err
		}
		if !found && s.ended {
			return errEnded
		}
		if found {
			s.tally.Received(s.filled, len(s.reader.data), s.reader.data)
			return nil
		}
		var p []byte
		before := s.stream.ReceivedBytes
		p, last, err = s.stream.Piece(deadline)
		if s.stream.ReceivedBytes > before {
			s.came()
		}
		if errors.Is(err, io.EOF) {
			s.ended = true
			if found, err = s.reader.end(); err != nil {
				return err
			}
			if found {
				s.tally.Received(s.filled, len(s.reader.data), s.reader.data)
				return nil
			}
			return errEnded
		}
		if err != nil {
			return err
		}
		s.reader.feed(p)
	}
}

// came notes that bytes have come.
func (s *eventSession) came() {
	s.filled = s.stream.Now()
	if s.first == 0 {
		s.first = s.filled
	}
}

// catchUp takes what has come while nobody waited, by the deadline where more comes all the time.
func (s *eventSession) catchUp(deadline int64) error {
	if s.stream.Now()-s.filled < idleCheck && len(s.stream.Unread()) == 0 {
		return nil
	}
	for s.stream.Now() < deadline {
		came, err := s.stream.Poll()
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		for {
			switch nerr := s.next(0); {
			case nerr == nil:
				s.tally.Record()
				s.keep()
				continue
			case !errors.Is(nerr, os.ErrDeadlineExceeded):
				return nerr
			}
			break
		}
		if err != nil {
			return errEnded
		}
		if !came {
			return nil
		}
		s.filled = s.stream.Now()
	}
	return nil
}

// lose ends a stream on which something went wrong, or that the server ended.
func (s *eventSession) lose(err error) {
	if !s.stream.IsOpen() {
		return
	}
	why := load.ClosedError
	if errors.Is(err, io.EOF) {
		why = load.ClosedByPeer
	}
	s.stream.Shut(why)
	s.lostAt = s.stream.Now()
	s.tally.Closed(s.lostAt, 0)
	s.lost = err
}

// reopen opens a stream that was lost, with waits between attempts. An error that is no stop means that there is no
// attempt left, or no time.
func (s *eventSession) reopen(deadline int64, r *load.Result) error {
	o := s.of.reconnect
	since := s.lostAt
	for attempt := 1; ; attempt++ {
		wait := o.Wait(attempt, s.source.Draw())
		if asked := s.reader.retry * int64(time.Millisecond); asked > wait {
			most := mostRetry
			if o.MaxWait > 0 {
				most = int64(o.MaxWait)
			}
			wait = max(wait, min(asked, most))
		}
		if err := s.attendance.Pause(wait, deadline); err != nil {
			return err
		}
		by := deadline
		if by == wire.Forever {
			by = s.stream.Now() + protocol.Reopening
		}
		err := s.stream.Admit(by, r)
		if err == nil {
			err = s.connect(by, r)
		}
		switch over := o.Attempts > 0 && attempt >= o.Attempts || s.request == nil; {
		case err == nil:
			s.tally.Reconnected(since)
			return nil
		case s.stopped(err):
			return err
		case over, s.stream.Now() >= deadline:
			if s.lost = err; over {
				s.request = nil
			}
			return err
		}
		s.lost, s.lostAt = err, since
	}
}

// connect opens a connection and sends the request on it again.
func (s *eventSession) connect(deadline int64, r *load.Result) error {
	if !s.stream.Asks() {
		if err := s.stream.Open(deadline, r); err != nil {
			return err
		}
	}
	err := s.ask(deadline, r)
	if err != nil {
		s.stream.Shut(load.ClosedError)
	}
	return err
}

// ask sends the request again.
func (s *eventSession) ask(deadline int64, r *load.Result) error {
	if err := s.renew(); err != nil {
		return err
	}
	request := append(make([]byte, 0, len(s.request)+len(s.reader.id)+24), s.request[:s.head]...)
	if len(s.reader.id) > 0 {
		request = append(append(append(request, "Last-Event-ID: "...), s.reader.id...), "\r\n"...)
	}
	request = append(request, s.request[s.head:]...)
	head, err := s.send(request, deadline, r)
	if err != nil {
		return err
	}
	if head.Status != 200 {
		if head.Status == unauthorized && s.by != nil {
			s.by.Refused(s.proof.value)
		}
		if head.Status == 204 { // the server asks to come no more (HTML, section 9.2.5)
			s.request = nil
		}
		return &statusError{head.Status}
	}
	if !s.stream.IsOpen() {
		return errEnded // there is no body
	}
	var contentType []byte
	for contentType = range head.Values("Content-Type") {
		break
	}
	f, err := s.of.formatOf(contentType, s.stream)
	if err != nil {
		return err
	}
	s.reader.begin(f, s.of.most)
	s.begun(s.stream.Now(), len(s.reader.id) > 0)
	return nil
}

// send sends a request, and returns the head of its answer, whose body the stream then has.
func (s *eventSession) send(text []byte, deadline int64, r *load.Result) (*wire.Head, error) {
	if s.stream.Asks() {
		return s.stream.Ask(text, s.maxHead, deadline, r)
	}
	if err := s.stream.Exchange(text, deadline); err != nil {
		return nil, err
	}
	head, err := s.stream.ReadHead(s.maxHead, deadline)
	if err == nil && head.Status == 200 {
		s.stream.Answer(head)
	}
	return head, err
}

// finish notes in the result what the request has cost. Opened says that it was sent by the step itself.
func (s *eventSession) finish(c *protocol.Call, a *eventAnswer, opened bool) {
	r := &c.Result
	if r.Done <= r.Sent {
		r.Done = s.stream.Now()
	}
	r.SentBytes += s.stream.SentBytes - s.counted.sent
	r.ReceivedBytes += s.stream.ReceivedBytes - s.counted.received
	s.counted.sent, s.counted.received = s.stream.SentBytes, s.stream.ReceivedBytes
	a.stream, s.tally.Since = s.tally.Since, expr.Stream{}
	a.address = protocol.AppendStream(append(a.address[:0], s.address...), &a.stream)
	c.Address = a.address
	first := s.first
	if opened {
		first = protocol.Explained(r) // the head of the answer has come
	}
	protocol.SplitWait(r, first)
}
