package http

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/credential"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/wire"
)

// Events says that an answer is a stream of events, which are read one by one.
type Events struct {
	Stream      string              `yaml:"stream" doc:"Name of the stream, where a virtual user has several."`
	Format      eventFormat         `yaml:"format" doc:"How events stand in the answer: sse (server-sent events), lines (one a line, as NDJSON) or chunks (of chunked coding) (default: sse or lines, as the content type says)."`
	Sequence    block.Text          `yaml:"sequence" doc:"The number of an event in the stream's sequence, such as json.seq, or id for the event's id: events that are missing, come late or twice are counted. It reads the event only."`
	SequencePer string              `yaml:"sequence_per" doc:"connection where the numbers begin anew whenever the request was sent again, stream where they go on: what is missed meanwhile is missing then (default: stream of events with an id, from which the server is asked to go on, else connection)."`
	Each        block.Text          `yaml:"each" doc:"Condition that every event must meet, such as json.type != nil; the step during which one does not fails. It reads the event only."`
	MaxEvent    block.Size          `yaml:"max_event" doc:"Largest event that is taken; a larger one fails as overload (default 1MiB)."`
	Poll        bool                `yaml:"poll" doc:"Each answer is one event, or has no body where there is none yet (long polling): the stream is what the virtual user is told by request after request. Sequence, each and stream go with it, and close."`
	Reconnect   *protocol.Reconnect `yaml:"reconnect" doc:"Send the request again when the stream was lost or ended, with the id of the last event as Last-Event-ID and not before the server's retry (default: the next step that needs it fails)."`

	Receive block.Text     `yaml:"receive" doc:"Wait for the event that meets this condition, such as json.type == 'order', or for any. The step's expect, checks and extract read that event. Events that came since the step before are looked at first."`
	Count   int            `yaml:"count" doc:"Wait for this many events."`
	Listen  block.Duration `yaml:"listen" scale:"time" doc:"Go on taking events for this long. The step's timeout does not count meanwhile."`
	End     bool           `yaml:"end" doc:"Take events until the server ends the answer. The step's expect, checks and extract read the last event."`
	Close   bool           `yaml:"close" doc:"Close the stream after that."`
}

// An eventFormat is the name of a format, with its place.
type eventFormat struct {
	S  string
	at *block.Node // nil where nothing is written
}

// DecodeBlock reads a name.
func (f *eventFormat) DecodeBlock(n *block.Node, errs *block.Errors) {
	f.at = n
	block.Decode(n, &f.S, errs)
}

// JSONSchema describes text.
func (eventFormat) JSONSchema() map[string]any { return map[string]any{"type": "string"} }

// check reports a format that the version of HTTP does not have.
func (f *eventFormat) check(v Version, errs *block.Errors) {
	if f.S == formatNames[chunkFormat] && versions[v] == wire.HTTP2 {
		errs.Add(f.at.Pos, f.at.Path, "chunks are of HTTP/1.1, and the target's version is 2").Hint = "write sse or lines, or version: 1.1 in the target or the scenario"
	}
}

// maxEvent is the default of max_event, in bytes.
const maxEvent = 1 << 20

// ofOpening are the keys that say how a stream is opened.
var ofOpening = []string{"format", "sequence", "sequence_per", "each", "max_event", "poll", "reconnect"}

// Validate checks what needs no other part of the configuration.
func (e *Events) Validate(at *block.Node, errs *block.Errors) {
	if n := at.Get("format"); n != nil && !slices.Contains(formatNames[1:], e.Format.S) {
		errs.Add(n.Pos, n.Path, "must be sse, lines or chunks, got %q", e.Format.S)
	}
	if n := at.Get("max_event"); n != nil && (e.MaxEvent <= 0 || e.MaxEvent > mostRead) {
		errs.Add(n.Pos, n.Path, "must be more than 0 and at most 1GiB, got %s", n.Scalar)
	}
	if n := at.Get("count"); n != nil && e.Count < 1 {
		errs.Add(n.Pos, n.Path, "must be at least 1, got %s", n.Found())
	}
	if n := at.Get("listen"); n != nil && e.Listen <= 0 {
		errs.Add(n.Pos, n.Path, "must be more than 0, got %s", n.Scalar)
	}
	for key, is := range map[string]bool{"end": e.End, "close": e.Close, "poll": e.Poll} {
		if n := at.Get(key); n != nil && !is {
			errs.Add(n.Pos, n.Path, "must be true").Hint = "leave it out for none"
		}
	}
	protocol.ValidateSequence(at, errs)
	var waits []string
	for _, key := range []string{"receive", "count", "listen", "end"} {
		if at.Get(key) != nil {
			waits = append(waits, key)
		}
	}
	if len(waits) > 1 {
		errs.Add(at.Pos, at.Path, "a step waits for one thing, got %s", strings.Join(waits, " and ")).Hint = "write a step for each"
	}
	for _, key := range []string{"format", "sequence_per", "max_event", "reconnect", "receive", "count", "listen", "end"} {
		if n := at.Get(key); n != nil && e.Poll {
			errs.Add(n.Pos, n.Path, "%s and poll exclude each other: an answer is one event, and the request waits for it", key).Hint = "leave one of them out; repeat the step for more events"
		}
	}
	if n := at.Get("reconnect"); n != nil && e.End && !e.Poll {
		errs.Add(n.Pos, n.Path, "end and reconnect exclude each other: with reconnect an answer that ended is asked for again").Hint = "leave one of them out"
	}
}

// validateEvents checks what events and the rest of the step say together.
func (c *Config) validateEvents(at *block.Node, errs *block.Errors) {
	e := at.Get("events")
	switch {
	case at.Get("url") != nil && c.File != nil && c.Events != nil && c.Events.Reconnect != nil:
		errs.Add(e.Pos, block.Join(e.Path, "reconnect"), "cannot stand beside file: a body from a file is not kept to be sent again").Hint = "write body or json"
	case at.Get("url") != nil:
	case c.Events == nil:
		errs.Add(at.Pos, block.Join(at.Path, "url"), "is required")
	default:
		for _, m := range at.Keys {
			if m.Name != "events" {
				errs.Add(m.Pos, m.Value.Path, "is of a request, and the step has no url").Hint = "write url: /…, or leave it out to go on with the stream that is open"
			}
		}
		for _, key := range ofOpening {
			if n := e.Get(key); n != nil {
				errs.Add(n.Pos, n.Path, "is said where the stream is opened: the step has no url").Hint = "write it beside url"
			}
		}
		if ev := c.Events; ev.Receive.Path == "" && ev.Count == 0 && ev.Listen == 0 && !ev.End && !ev.Close {
			errs.Add(e.Pos, e.Path, "does nothing").Hint = "write url to open a stream, receive, count, listen, end or close"
		}
	}
}

// compile makes a step of one that opens a stream of events, or of none where it goes on with one.
func (e *Events) compile(k *protocol.Compiler, request *step, opens bool) protocol.Step {
	if e.Poll && opens {
		return e.poll(k, request)
	}
	before := k.Errors.Len()
	s := &eventStep{
		step: request, key: protocol.Key{Kind: Kind.Name, Name: "events " + e.Stream}, opens: opens,
		count: e.Count, listen: int64(e.Listen), ends: e.End, closes: e.Close,
		format: format(max(0, slices.Index(formatNames, e.Format.S))), most: int(cmp.Or(e.MaxEvent, maxEvent)), reconnect: e.Reconnect,
	}
	sequence := e.Sequence
	if sequence.S == "id" {
		sequence.S = `header("id")`
	}
	s.rules = protocol.ParseStreamRules(sequence, e.SequencePer, e.Each, k.Errors)
	s.wanted = protocol.ParseWanted(e.Receive, block.Text{}, k)
	if k.Errors.Len() > before {
		return nil
	}
	return s
}

// An eventStep is a step that opens a stream of events, or goes on with one.
type eventStep struct {
	*step // the request; of a step that opens nothing it is empty
	key   protocol.Key
	opens bool

	format    format
	most      int // bytes of an event
	rules     protocol.StreamRules
	reconnect *protocol.Reconnect // nil for none

	wanted protocol.Wanted // the event that is received
	count  int
	listen int64 // ns, 0 for none
	ends   bool
	closes bool
}

const (
	mostAfter = 16                      // pieces that are read after the last event for the end of the answer
	idleCheck = int64(time.Millisecond) // after such a rest it is looked what has come
)

var errNoStream = errors.New("no stream of events is open: a step with url opens one")

// Timings are those of the streams that the step opens.
func (s *eventStep) Timings() []load.MessageTiming {
	if !s.opens {
		return nil
	}
	t := []load.MessageTiming{load.FirstMessage, load.MessageGap, load.Lifetime}
	if s.reconnect != nil {
		t = append(t, load.Reconnect)
	}
	return t
}

// Span describes the request where there is one.
func (s *eventStep) Span(r *load.Result, address []byte, span *protocol.Span) {
	span.Name = "events"
	if address = protocol.CutStream(address, span); s.opens {
		s.step.Span(r, address, span)
	}
}

// Judge is the default expectation: a stream, which only a success is.
func (s *eventStep) Judge(c *protocol.Call) load.Cause {
	if _, ok := c.Response.(*eventAnswer); ok {
		return load.None
	}
	if c.Err = (&statusError{int(c.Result.Code)}); c.Result.Code < 400 {
		c.Err = fmt.Errorf("%w: it opens no stream of events", c.Err)
	}
	return load.Status
}

// An eventAnswer is the last event of a request, with the buffers of the call.
type eventAnswer struct {
	head     *wire.Exchange // of an opening, nil for none
	event    event
	code     int
	duration time.Duration
	stream   expr.Stream

	own     []byte // an event that waited
	address []byte
}

// An event is one event as expressions read it.
type event struct{ data, kind, id []byte }

func (a *eventAnswer) Code() int               { return a.code }
func (a *eventAnswer) Body() []byte            { return a.event.data }
func (a *eventAnswer) Duration() time.Duration { return a.duration }
func (a *eventAnswer) Size() int64             { return int64(len(a.event.data)) }
func (a *eventAnswer) Sum() uint64             { return xxhash.Sum64(a.event.data) }
func (a *eventAnswer) Stream() *expr.Stream    { return &a.stream }

// Header returns a field of the event, event or id, or a header field of the answer that it came with.
func (a *eventAnswer) Header(name string) (string, bool) {
	if value, ok := a.event.field(name); ok {
		return value, true
	}
	if a.head != nil {
		return a.head.Header(name)
	}
	return "", false
}

// field returns a field of the event. An event without a type is a message, as in browsers.
func (e *event) field(name string) (string, bool) {
	switch {
	case strings.EqualFold(name, "event") && len(e.kind) == 0:
		return "message", e.data != nil
	case strings.EqualFold(name, "event"):
		return string(e.kind), true
	case strings.EqualFold(name, "id"):
		return string(e.id), e.id != nil
	}
	return "", false
}

func (s *eventStep) openSession(v *protocol.VU) (protocol.Session, error) {
	if !s.opens {
		return nil, errNoStream
	}
	t, err := s.shared(v)
	if err != nil {
		return nil, err
	}
	return newEventSession(t.Transport, s.origin, v), nil
}

// Do performs the request.
func (s *eventStep) Do(c *protocol.Call) {
	a := protocol.Scratch[eventAnswer](c)
	a.head, a.event, a.code = nil, event{}, 0
	r := &c.Result
	var sess *eventSession
	held, err := c.VU.Session(s.key, s.openSession)
	if err == nil {
		sess = held.(*eventSession) //nolint:forcetypeassert // no other protocol uses the key
	}
	opened := false
	switch {
	case err != nil:
	case sess.listening:
		err = s.goOn(c, sess)
	default:
		r.Sent = sess.stream.Now()
		r.Done = r.Sent
		sess.attendance.Take()
		opened, err = s.perform(c, sess, a)
		if opened && !sess.stream.IsOpen() && err == nil && !sess.opened {
			return // an answer that is no stream
		}
	}
	if err == nil && c.Again > 0 {
		return
	}
	if sess != nil {
		sess.finish(c, a, opened)
	}
	if err != nil {
		r.Done = max(r.Done, r.Sent)
		if sess != nil {
			r.Done = max(r.Sent, sess.stream.Now())
		}
		r.Cause, c.Err = wire.Classify(err), err
		switch {
		case errors.Is(err, credential.ErrNone):
			r.Cause = load.NoCredential
		case errors.Is(err, errNoStream):
			r.Cause = load.Closed
		}
		return
	}
	a.code, a.duration = int(r.Code), time.Duration(r.Duration())
	c.Response = a
}

// perform makes sure that there is a stream, and does what the step is for. Opened says that the step sent its request.
func (s *eventStep) perform(c *protocol.Call, sess *eventSession, a *eventAnswer) (opened bool, err error) {
	sess.first, sess.opened = 0, false
	deadline := int64(c.Deadline)
	if sess.stream.IsOpen() && (!s.opens || s.does()) {
		if err := sess.catchUp(deadline); err != nil {
			if sess.stopped(err) {
				return false, err
			}
			sess.lose(err)
		}
	}
	switch {
	case sess.stream.IsOpen() && (!s.opens || s.does()):
	case sess.reopens():
		if err := sess.reopen(deadline, &c.Result); err != nil {
			return false, err
		}
	case s.opens:
		if is, err := s.ask(c, sess, a); err != nil || !is {
			return true, err
		}
		opened = true
	case s.ends && errors.Is(sess.lost, errEnded):
		s.lastKept(sess, a)
		sess.lost = nil
		return false, sess.tally.Judged()
	case sess.lost != nil:
		return false, fmt.Errorf("no stream of events is open, the last one was lost: %w", sess.lost)
	default:
		return false, errNoStream
	}
	err = s.act(c, sess, a)
	if err != nil && !sess.stopped(err) && (s.ends || s.closes || !errors.Is(err, os.ErrDeadlineExceeded)) {
		sess.lose(err)
	}
	if err == nil && s.closes && c.Again == 0 {
		s.leave(c, sess)
	}
	if err == nil && c.Again == 0 {
		err = sess.tally.Judged()
	}
	return opened, err
}

// does reports whether the step does more than to open a stream.
func (s *eventStep) does() bool {
	return s.wanted.Receives || s.count > 0 || s.listen > 0
}

// ask sends the request, and reports whether its answer is a stream. Any other answer is c.Response.
func (s *eventStep) ask(c *protocol.Call, sess *eventSession, a *eventAnswer) (is bool, err error) {
	sess.end()
	w := protocol.Scratch[scratch](c)
	w.x.Into = sess.stream
	sent := sess.stream.Now()
	s.step.Do(c)
	w.x.Into = nil
	sess.address = append(sess.address[:0], c.Address...)
	if c.Result.Cause != load.None {
		return false, c.Err
	}
	if !w.x.Adopted {
		return false, nil
	}
	c.Response, a.head = nil, &w.x
	sess.counted.sent, sess.counted.received = sess.stream.SentBytes, sess.stream.ReceivedBytes
	var contentType []byte
	for contentType = range w.x.HeaderValues("Content-Type") {
		break
	}
	f, err := s.formatOf(contentType, sess.stream)
	if err != nil {
		sess.stream.Shut(load.ClosedError)
		return false, err
	}
	sess.opened, sess.of, sess.maxHead = true, s, s.maxHeader
	sess.reader.forget()
	sess.reader.begin(f, s.most)
	sess.tally.Begin(c, s.rules)
	sess.tally.Fields(sess.fields)
	sess.begun(sent, false)
	sess.keepRequest(c, w)
	return true, nil
}

const eventStream = "text/event-stream"

// lineTypes are the content types of which each line is an event.
var lineTypes = []string{
	"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines", "application/jsonlines", "application/json-lines", "application/stream+json",
}

// formatOf returns how events stand in an answer by its content type.
func (s *eventStep) formatOf(contentType []byte, stream *wire.Stream) (format, error) {
	kind, _, _ := bytes.Cut(contentType, []byte(";"))
	kind = bytes.TrimSpace(kind)
	is := func(name string) bool { return strings.EqualFold(string(kind), name) }
	f := s.format
	switch {
	case stream.Coded():
		return f, &wire.ProtocolError{Text: "the stream of events has a content coding, which was not asked for"}
	case f == byType && is(eventStream):
		f = sseFormat
	case f == byType && slices.ContainsFunc(lineTypes, is):
		f = lineFormat
	case f == byType, f == sseFormat && !is(eventStream):
		return f, &wire.ProtocolError{Text: fmt.Sprintf("the answer is no stream of events: its content type is %.60q", contentType)}
	case f == chunkFormat && !stream.Chunked():
		return f, &wire.ProtocolError{Text: "the answer does not come in chunks"}
	}
	return f, nil
}

// act does what the step is for, on a stream that is open.
func (s *eventStep) act(c *protocol.Call, sess *eventSession, a *eventAnswer) error {
	switch {
	case s.listen > 0:
		sess.listening, sess.until = true, sess.stream.Now()+s.listen
		return s.goOn(c, sess)
	case s.wanted.Receives || s.count > 0:
		return s.await(c, sess, a)
	case s.ends:
		s.lastKept(sess, a)
		for {
			if err := sess.next(int64(c.Deadline)); err != nil {
				if !errors.Is(err, errEnded) {
					return err
				}
				c.Result.Done = max(c.Result.Sent, sess.filled)
				s.leave(c, sess)
				return nil
			}
			sess.tally.Record()
			a.event = sess.event()
		}
	}
	return nil
}

// lastKept makes the last event that waits the one that the step reads; none waits any more.
func (s *eventStep) lastKept(sess *eventSession, a *eventAnswer) {
	a.own = a.own[:0]
	sess.tally.Take(nil, func(kept []byte) bool {
		a.own = append(a.own[:0], kept...)
		return false
	})
	if len(a.own) > 0 {
		a.event = unpack(a.own)
	}
}

// await waits for the events that the step is to receive.
func (s *eventStep) await(c *protocol.Call, sess *eventSession, a *eventAnswer) error {
	n := max(1, s.count)
	wanted := func(kept []byte) bool {
		a.event = unpack(kept)
		return s.wanted.Is(c.Scope, a, nil, nil)
	}
	for n > 0 {
		var found bool
		if a.own, found = sess.tally.Take(a.own[:0], wanted); !found {
			break
		}
		a.event = unpack(a.own)
		c.Result.Done = sess.stream.Now()
		n--
	}
	for n > 0 {
		if err := sess.next(int64(c.Deadline)); err != nil {
			a.event = event{}
			return err
		}
		sess.tally.Record()
		a.event = sess.event()
		if s.wanted.Is(c.Scope, a, nil, nil) {
			c.Result.Done = max(c.Result.Sent, sess.filled)
			n--
		}
	}
	return nil
}

// goOn goes on listening. In between the session is attended, and the VU holds no goroutine.
func (s *eventStep) goOn(c *protocol.Call, sess *eventSession) error {
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
		if s.closes {
			s.leave(c, sess)
		}
		return sess.tally.Judged()
	case sess.lost != nil:
		return sess.lost
	}
	return errNoStream
}

// leave ends the stream. Where its answer has ended, or ends with what came already, the connection goes back to the VU.
func (s *eventStep) leave(c *protocol.Call, sess *eventSession) {
	if !sess.stream.IsOpen() {
		return
	}
	for range mostAfter {
		if _, _, err := sess.stream.Piece(0); err == nil {
			continue
		} else if !errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if came, err := sess.stream.Poll(); err != nil || !came {
			break
		}
	}
	held, err := c.VU.Session(s.step.key, s.open)
	if agent, ok := held.(*session); err == nil && ok && sess.stream.IsOpen() {
		agent.agent.Return(sess.stream)
		sess.gone()
		return
	}
	sess.end()
}

// errEnded is the end of an answer.
var errEnded = fmt.Errorf("the server ended the stream of events: %w", io.EOF)
