package websocket

import (
	"bytes"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/perfd/perfd/internal/credential"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/wire"
)

const (
	politeness  = int64(10 * time.Second)       // how long an answer to a ping may take to be written while nobody waits
	farewell    = int64(100 * time.Millisecond) // how long the last close frame of a VU that ends may take to be written
	longestHead = 64 << 10                      // bytes of the answer to an opening request
)

// A session is one VU's stream. Between requests it is attended, by a poller or a goroutine that
// owns it until it is taken back; otherwise the VU owns it.
type session struct {
	stream     *wire.Stream
	of         *opening
	attendance *protocol.Attendance

	awaits    bool  // the next pong is waited for
	listening bool  // messages are taken as they come, and none waits to be received
	until     int64 // when listening ends

	// What opens the stream again; nil where nothing does.
	hello        *hello
	greetings    []byte
	squeezed     []byte // the greetings for a server that agrees to compression
	greeted      int
	greetedBytes int64

	// Of the message that is being read.
	op        byte // 0 between messages
	packed    bool // it is compressed
	in        bool // within a frame, whose header was read
	fin       bool
	left      uint64 // bytes of the frame that are not read yet
	fragments int
	text      []byte    // of a message in several pieces
	plain     *appender // holds the last message if that was compressed; nil otherwise
	filled    int64     // when the last bytes came
	first     int64     // when the first bytes came since the request under way began, 0 for none
	deflates  bool      // the server has agreed to compression
	lost      error     // why the stream was lost; nil for one that is open or was closed
	lostAt    int64
	looking   bool   // nothing is waited for
	owed      []byte // of a control frame whose begin was written
	trouble   error  // what a look has found
	pend      []byte
	pingAt    int64 // when the next ping is due, 0 for none
	pinged    int64 // when the ping that is not answered was sent, 0 for none
	pings     uint64
	source    protocol.Source // of masks and waits
	counted   struct{ sent, received int64 }
	tally     protocol.Tally
}

func newSession(o *opening, t *wire.Transport, v *protocol.VU) *session {
	s := &session{stream: wire.NewStream(t, o.origin, v.ID), of: o, source: protocol.NewSource(v.ID)}
	s.attendance = protocol.NewAttendance(s.stream, v.Env.Poller(v.ID), s.attend, s.look)
	return s
}

// Interrupt makes the request under way return soon.
func (s *session) Interrupt() {
	s.stream.Interrupt()
	s.attendance.Interrupt()
}

// Close ends the stream, with a close frame where that takes no time.
func (s *session) Close() {
	s.attendance.Take()
	s.end(closeNormal)
}

// end closes the stream from this side, without waiting for the other.
func (s *session) end(code uint16) {
	if s.stream.IsOpen() {
		s.tell(code, s.stream.Now()+farewell)
		s.closed(int32(code), load.ClosedEnd)
	}
	s.lost = nil
}

// Attend has the session attended until it is used again.
func (s *session) Attend() {
	if !s.attendance.Lent() && (s.stream.IsOpen() || s.reopens()) {
		s.attendance.Lend()
	}
}

// reopens reports whether a stream that was lost is opened again.
func (s *session) reopens() bool { return s.lost != nil && s.of.reconnect != nil && s.hello != nil }

// attend attends to the stream in a goroutine, opens it again where it is lost, and returns where it is quiet.
func (s *session) attend() (quiet bool) {
	if err := s.settle(); s.stopped(err) {
		return false
	} else if err != nil {
		s.lose(err)
	}
	for {
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
		payload, err := s.next(wire.Forever)
		switch {
		case err == nil:
			s.take(payload)
		case s.stopped(err):
			return false
		default:
			s.lose(err)
		}
	}
}

// take takes a message that nobody waits for.
func (s *session) take(payload []byte) {
	s.tally.Record()
	if !s.listening {
		s.tally.Keep(payload)
	}
}

// look takes what has come, and sends the ping that is due, without a wait.
func (s *session) look(read bool) (due int64, ok bool) {
	s.looking = true
	defer func() { s.looking = false }()
	if read {
		came, err := s.stream.Poll()
		if err != nil {
			s.trouble = err
			return 0, false
		}
		if came {
			s.came()
		}
	}
	for {
		payload, err := s.next(0)
		switch {
		case err == nil:
			s.take(payload)
		case errors.Is(err, errOwed):
			return 0, false
		case errors.Is(err, os.ErrDeadlineExceeded) && !s.stream.Torn():
			s.stream.Rest()
			if s.op == 0 {
				s.text = nil
			}
			return s.pingAt, true
		default:
			s.trouble = err
			return 0, false
		}
	}
}

// settle does what a look could not do, and returns what it has found.
func (s *session) settle() error {
	if rest := s.owed; rest != nil && s.trouble == nil {
		s.trouble = s.stream.Write(rest, s.stream.Now()+politeness)
	}
	err := s.trouble
	s.owed, s.trouble = nil, nil
	return err
}

// errOwed says that a control frame was written in part.
var errOwed = errors.New("a control frame waits to be written")

// put writes a control frame by a deadline, or without a wait.
func (s *session) put(frame []byte, deadline int64) error {
	if !s.looking {
		return s.stream.Write(frame, deadline)
	}
	n, err := s.stream.TryWrite(frame)
	if err == nil && n < len(frame) {
		s.owed, err = bytes.Clone(frame[n:]), errOwed
	}
	return err
}

// stopped reports whether an error is no loss of the stream: its reader is to stop.
func (s *session) stopped(err error) bool {
	return errors.Is(err, wire.ErrRecalled) || wire.Classify(err) == load.Canceled
}

// open opens the stream for the first time, by a step's deadline.
func (s *session) open(c *protocol.Call) error {
	s.end(closeNormal)
	s.tally.Begin(c, s.of.rules)
	var err error
	if s.hello == nil {
		s.hello = &hello{}
	}
	if err = s.of.appendRequest(s.hello, c); err != nil {
		return err
	}
	s.greetings, s.squeezed, s.greeted, s.greetedBytes = s.greetings[:0], s.squeezed[:0], 0, 0
	for _, m := range s.of.greetings {
		payload, err := m.append(nil, c.Scope)
		if err != nil {
			return err
		}
		s.greetings = appendFrame(s.greetings, m.first, uint32(s.source.Draw()), payload)
		if s.of.deflates {
			s.squeezed = appendMessage(s.squeezed, m.first, uint32(s.source.Draw()), payload, true)
		}
		s.greeted++
		s.greetedBytes += int64(len(payload))
	}
	if err := s.connect(int64(c.Deadline), &c.Result, c); err != nil {
		return err
	}
	if s.of.reconnect == nil {
		s.hello, s.greetings, s.squeezed = nil, nil, nil
	}
	return nil
}

// unauthorized is the status of an opening whose credential was not accepted.
const unauthorized = 401

// A statusError is an answer to an opening request that opens nothing.
type statusError struct{ code int }

func (e *statusError) Error() string {
	return "the server answers the opening of the stream with status " + strconv.Itoa(e.code)
}
func (*statusError) Cause() load.Cause { return load.Status }

// connect opens a connection and the stream on it. C is nil where no step does so.
func (s *session) connect(deadline int64, r *load.Result, c *protocol.Call) error {
	if err := s.stream.Open(deadline, r); err != nil {
		return err
	}
	begin := s.stream.Now()
	err := s.shake(deadline, r, c)
	r.Phases[load.PhaseConnect] += s.stream.Now() - begin
	if err != nil {
		s.stream.Shut(load.ClosedError)
		return err
	}
	s.op, s.in, s.left, s.fragments, s.text, s.pend = 0, false, 0, 0, nil, nil
	opened := s.stream.Now()
	s.tally.Opened(opened, false)
	s.filled, s.lost, s.pinged, s.pingAt = opened, nil, 0, 0
	if s.of.pingEvery > 0 {
		s.pingAt = opened + int64(s.of.pingEvery)
	}
	if s.greeted == 0 {
		return nil
	}
	greetings := s.greetings
	if s.deflates {
		greetings = s.squeezed
	}
	if err := s.stream.Write(greetings, deadline); err != nil {
		s.closed(0, load.ClosedError)
		return err
	}
	s.tally.Sent(opened, uint64(s.greeted), s.greetedBytes)
	s.tally.Record()
	return nil
}

// shake performs the opening handshake (RFC 6455 section 4).
func (s *session) shake(deadline int64, r *load.Result, c *protocol.Call) error {
	var key [16]byte
	rand.Read(key[:])
	if err := s.hello.renew(); err != nil {
		return err
	}
	base64.StdEncoding.Encode(s.hello.key(), key[:])
	if err := s.stream.Exchange(s.hello.text, deadline); err != nil {
		return err
	}
	head, err := s.stream.ReadHead(longestHead, deadline)
	if err != nil {
		return err
	}
	if c != nil {
		if jar := c.VU.Cookies(); jar != nil {
			_, target, _ := strings.Cut(string(s.hello.text), " ")
			target, _, _ = strings.Cut(target, " ")
			path, _, _ := strings.Cut(target, "?")
			for field := range head.Values("Set-Cookie") {
				jar.SetCookie(field, &s.of.origin, []byte(path))
			}
		}
		r.Code = int32(head.Status)
		protocol.Scratch[answer](c).head = head
	}
	if head.Status == unauthorized && s.hello.by != nil {
		s.hello.by.Refused(s.hello.value)
	}
	if head.Status != 101 {
		return &statusError{head.Status}
	}
	return s.agreed(head)
}

// agreed checks what the server has agreed to.
func (s *session) agreed(head *wire.Head) error {
	sum := sha1.Sum(append(slices.Clone(s.hello.key()), "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...))
	accept := base64.StdEncoding.EncodeToString(sum[:])
	if !head.Has("Upgrade", "websocket") || !head.Has("Connection", "upgrade") {
		return protocolError("the server switches to another protocol than WebSocket")
	}
	only := func(name string) (value string, n int) {
		for v := range head.Values(name) {
			value = string(v)
			n++
		}
		return value, n
	}
	if v, _ := only("Sec-WebSocket-Accept"); v != accept {
		return protocolError("the server's Sec-WebSocket-Accept is %.40q and belongs to another request", v)
	}
	v, n := only("Sec-WebSocket-Extensions")
	switch s.deflates = n == 1 && s.of.deflates; {
	case s.deflates:
		if err := agreedDeflate(v); err != nil {
			return err
		}
	case n > 0:
		return protocolError("the server uses extension %.40q, which was not offered", v)
	}
	v, n = only("Sec-WebSocket-Protocol")
	switch {
	case n == 0 && len(s.of.subprotocols) > 0:
		return protocolError("the server chooses none of the subprotocols %s", strings.Join(s.of.subprotocols, ", "))
	case n > 0 && (n > 1 || !slices.Contains(s.of.subprotocols, v)):
		return protocolError("the server chooses subprotocol %.40q, which was not offered", v)
	}
	return nil
}

// reopen opens a stream that was lost, with waits between attempts. An error that is no stop means that there is no
// attempt left, or no time.
func (s *session) reopen(deadline int64, r *load.Result) error {
	o := s.of.reconnect
	since := s.lostAt
	for attempt := 1; ; attempt++ {
		if err := s.attendance.Pause(o.Wait(attempt, s.source.Draw()), deadline); err != nil {
			return err
		}
		by := deadline
		if by == wire.Forever {
			by = s.stream.Now() + protocol.Reopening
		}
		err := s.stream.Admit(by, r)
		if err == nil {
			err = s.connect(by, r, nil)
		}
		switch {
		case err == nil:
			s.tally.Reconnected(since)
			return nil
		case s.stopped(err):
			return err
		case o.Attempts > 0 && attempt >= o.Attempts, s.stream.Now() >= deadline:
			s.lost = err
			if o.Attempts > 0 && attempt >= o.Attempts {
				s.hello = nil
			}
			return err
		}
		s.lost, s.lostAt = err, since
	}
}

// lose ends a stream on which something went wrong, or that the server ended.
func (s *session) lose(err error) {
	if !s.stream.IsOpen() {
		return
	}
	code, why := int32(0), load.ClosedError
	now := s.stream.Now()
	if coded, ok := errors.AsType[*codedError](err); ok {
		s.tell(coded.code, now+farewell)
		code = int32(coded.code)
	}
	if closed, ok := errors.AsType[*closedError](err); ok {
		why = load.ClosedByPeer
		if code = closed.code; code != closeNoStatus {
			s.tell(uint16(code), now+farewell)
		} else {
			s.tell(closeNormal, now+farewell)
		}
	} else if errors.Is(err, io.EOF) {
		why = load.ClosedByPeer
	}
	s.closed(code, why)
	s.lost, s.lostAt = err, now
}

// closed closes the connection and counts the end of the stream.
func (s *session) closed(code int32, why load.CloseReason) {
	s.stream.Shut(why)
	s.text, s.pend = nil, nil
	s.forget()
	s.tally.Closed(s.stream.Now(), code)
}

// tell sends a close frame, if that can be done.
func (s *session) tell(code uint16, deadline int64) {
	var p [2]byte
	binary.BigEndian.PutUint16(p[:], code)
	_ = s.stream.Write(appendFrame(nil, opClose, uint32(s.source.Draw()), p[:]), deadline) // the stream ends either way
}

// next returns the next message, and what is known of it in the tally's Event. The payload is valid until the next call. Pings are
// answered, and due ones sent.
func (s *session) next(deadline int64) (payload []byte, err error) {
	if s.op == 0 {
		s.text = nil // of the message before: a stream that waits holds none
		s.forget()
	}
	for {
		if s.in {
			if whole := s.piece(); whole != nil {
				return s.message(whole)
			}
		}
		if !s.in {
			p := s.stream.Unread()
			h, n, err := parseHeader(p)
			if err != nil {
				return nil, err
			}
			switch {
			case n == 0:
			case h.control():
				if size := n + int(h.length); len(p) >= size {
					s.stream.Take(size)
					if err := s.control(h.op, p[n:size], deadline); err != nil {
						return nil, err
					}
					continue
				}
			default:
				if err := s.admit(&h); err != nil {
					return nil, err
				}
				if h.fin && h.op != opContinuation && uint64(len(p)-n) >= h.length {
					size := n + int(h.length)
					s.stream.Take(size)
					return s.message(p[n:size:size])
				}
				s.stream.Take(n)
				s.in, s.fin, s.left = true, h.fin, h.length
				continue
			}
		}
		if err := s.fill(deadline); err != nil {
			return nil, err
		}
	}
}

// message takes the message that has come whole.
func (s *session) message(payload []byte) (_ []byte, err error) {
	op := s.op
	if s.op = 0; s.packed {
		s.plain = rooms.Get().(*appender) //nolint:forcetypeassert // it holds nothing else
		s.plain.to, err = inflate(s.plain.to, payload, s.of.maxMessage)
		if payload = s.plain.to; err != nil {
			return nil, err
		}
	}
	if op == opText && !utf8.Valid(payload) {
		return nil, errInvalid
	}
	s.tally.Received(s.filled, len(payload), payload)
	return payload, nil
}

// forget gives up the room of a message that was compressed.
func (s *session) forget() {
	if s.plain != nil {
		release(s.plain)
		s.plain = nil
	}
}

var errInvalid error = &codedError{closeInvalid, &wire.ProtocolError{Text: "a text message is not valid UTF-8"}}

// admit checks that a frame may come now, and that its message is not too long.
func (s *session) admit(h *header) error {
	switch {
	case h.compressed && !s.deflates:
		return protocolError("a message is compressed, which was not agreed on")
	case h.compressed && h.op == opContinuation:
		return protocolError("a message becomes compressed after it has begun")
	case h.op == opContinuation && s.op == 0:
		return protocolError("a frame continues a message that has not begun")
	case h.op != opContinuation && s.op != 0:
		return protocolError("a message begins within another")
	}
	if h.op != opContinuation {
		s.op, s.packed, s.fragments, s.text = h.op, h.compressed, 0, nil
	}
	if s.fragments++; s.fragments > maxFragment {
		return protocolError("a message has more than %d frames", maxFragment)
	}
	if h.length > uint64(s.of.maxMessage-len(s.text)) {
		return &codedError{closeTooBig, tooLargeError(s.of.maxMessage)}
	}
	return nil
}

// A tooLargeError is the bound on the bytes of a message.
type tooLargeError int

func (e tooLargeError) Error() string {
	return fmt.Sprintf("a message is larger than %d bytes (max_message)", int(e))
}
func (tooLargeError) Cause() load.Cause { return load.Overload }

// piece takes what has come of a frame, and returns the message if that is its end.
func (s *session) piece() (whole []byte) {
	p := s.stream.Unread()
	p = p[:min(uint64(len(p)), s.left)]
	s.text = append(s.text, p...)
	s.stream.Take(len(p))
	if s.left -= uint64(len(p)); s.left > 0 {
		if s.left > 4<<10 {
			s.stream.Widen()
		}
		return nil
	}
	if s.in = false; !s.fin {
		return nil
	}
	if s.text == nil {
		s.text = []byte{}
	}
	return s.text
}

// fill reads more, and sends the pings that are due meanwhile.
func (s *session) fill(deadline int64) error {
	for {
		until := deadline
		if s.pingAt > 0 {
			if s.filled >= s.pingAt || s.stream.Now() >= s.pingAt {
				if err := s.sendPing(deadline); err != nil {
					return err
				}
			}
			until = min(until, s.pingAt)
		}
		p, before := s.pend, s.stream.SentBytes
		s.pend = nil
		err := s.stream.Exchange(p, until)
		if err != nil && until < deadline && errors.Is(err, os.ErrDeadlineExceeded) && !s.stream.Torn() {
			if s.stream.SentBytes == before { // the ping was due before the message could be written
				s.pend = p
			}
			continue
		}
		if err == nil {
			s.came()
		}
		return err
	}
}

// came notes that bytes have come.
func (s *session) came() {
	s.filled = s.stream.Now()
	if s.first == 0 {
		s.first = s.filled
	}
}

// sendPing sends a ping. One that is not answered yet is given up.
func (s *session) sendPing(deadline int64) error {
	s.pings++
	var p [8]byte
	binary.BigEndian.PutUint64(p[:], s.pings)
	var frame [maxHeader + 8]byte
	now := s.stream.Now()
	if s.of.pingEvery > 0 {
		s.pingAt = now + int64(s.of.pingEvery)
	}
	s.pinged = now
	return s.put(appendFrame(frame[:0], opPing, uint32(s.source.Draw()), p[:]), within(deadline, now))
}

// within is by when a control frame is to be written that stands between messages until a deadline, which may have passed.
func within(deadline, now int64) int64 {
	if deadline <= now {
		return now + farewell
	}
	return min(deadline, now+politeness)
}

// control answers a control frame.
func (s *session) control(op byte, payload []byte, deadline int64) error {
	switch op {
	case opPing:
		var frame [maxHeader + maxControl]byte
		return s.put(appendFrame(frame[:0], opPong, uint32(s.source.Draw()), payload), within(deadline, s.stream.Now()))
	case opPong:
		if s.pinged > 0 && len(payload) == 8 && binary.BigEndian.Uint64(payload) == s.pings {
			s.tally.Event.At = s.filled
			s.tally.Event.Timed[load.PingRoundTrip] = max(1, s.filled-s.pinged)
			s.pinged = 0
			s.tally.Record()
			if s.awaits {
				return errPonged
			}
		}
		return nil
	}
	closed, err := parseClose(payload)
	if err != nil {
		return err
	}
	return closed
}

// errPonged is what ends the wait for a pong.
var errPonged = errors.New("pong")

// errNoCredential says that perfd has no value of a credential.
func errNoCredential(name string) error { return fmt.Errorf("%w: %s", credential.ErrNone, name) }
