package wire

import (
	"errors"
	"io"
	"iter"
	"math"
	"os"
	"syscall"
	"time"

	"github.com/perfd/perfd/internal/load"
)

// Forever is a deadline that never comes.
const Forever = math.MaxInt64

// ErrRecalled is the error of a Stream whose reader is asked to give it back.
var ErrRecalled = errors.New("recalled")

// A Stream is one VU's connection to one origin that lasts for many requests, and on
// which the peer may speak at any time. Unlike a Link it is opened by Open only, and
// never replaced by itself: what was agreed on it ends with it.
//
// It has one owner at a time, who reads and writes. Interrupt and Recall may be
// called from any goroutine. A stream that waits for bytes holds no buffer.
type Stream struct {
	redialer
	ready func(fd uintptr) bool // onReady, bound once

	in    input
	out   []byte // that the callback writes before it reads
	wrote int
	got   bool // the callback has read
	torn  bool // a write failed, so that a part of something may have been sent
	try   bool // the callback reads once and does not wait
	ioErr error

	body bodyReader // of the answer that comes on the stream
	by   int64      // deadline of body
	two  *stream    // of HTTP/2 that the answer comes on, nil for none; mu guards writes

	vu     int
	asks   *Agent // that opens the stream at the moment, nil for none; mu guards it
	opener *Agent // whose connection the stream is on, nil for that of another

	// SentBytes and ReceivedBytes count since the stream was made, on all its connections.
	SentBytes, ReceivedBytes int64
}

// NewStream returns a stream that is not open.
func NewStream(t *Transport, o Origin, vu int) *Stream {
	s := &Stream{vu: vu}
	s.init(t, o, vu)
	s.ready = s.onReady
	return s
}

// Now returns the time since the transport's zero in ns.
func (s *Stream) Now() int64 { return s.now() }

// IsOpen reports whether there is a connection.
func (s *Stream) IsOpen() bool { return s.nc != nil || s.two != nil }

// Open opens a connection by the deadline, in place of one that is open, and adds the phases to r.
func (s *Stream) Open(deadline int64, r *load.Result) error {
	s.Shut(load.ClosedEnd)
	if err := s.cancelled(); err != nil {
		return err
	}
	s.torn = false
	return s.open(deadline, r)
}

// Admit waits for the token of an opening that no step has taken one for, by the deadline: the target's limit holds for
// what opens a stream again, too.
func (s *Stream) Admit(deadline int64, r *load.Result) error {
	return s.redialer.again(errAgain, deadline, r)
}

// Torn reports whether a write failed since the stream was opened: a part of it may have been sent, and nothing can follow.
func (s *Stream) Torn() bool { return s.torn }

// Shut closes the connection, if there is one, for a reason.
func (s *Stream) Shut(why load.CloseReason) {
	s.detach()
	s.close(why)
	s.in.drop()
}

// Recall makes a read that waits, and a dial, return ErrRecalled, and all later ones until Recalled.
func (s *Stream) Recall() {
	s.recalled.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.nc != nil {
		_ = s.nc.SetReadDeadline(time.Unix(1, 0)) // a connection that is closed has nothing to recall
	}
	if s.cancel != nil {
		s.cancel()
	}
	s.stop()
}

// stop has whoever waits for the stream look again. mu is locked.
func (s *Stream) stop() {
	if s.two != nil {
		s.two.poke()
	}
	if s.asks != nil {
		s.asks.Interrupt()
	}
}

// Interrupt makes the read under way return soon, and all later ones fail with cause canceled.
func (s *Stream) Interrupt() {
	s.redialer.Interrupt()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop()
}

// Recalled ends a recall. The caller owns the stream.
func (s *Stream) Recalled() {
	s.recalled.Store(false)
	s.armed = 0
}

// stopped returns the reason for which a read is to end at once, nil for none.
func (s *Stream) stopped() error {
	if err := s.cancelled(); err != nil {
		return err
	}
	if s.recalled.Load() {
		return ErrRecalled
	}
	return nil
}

// arm makes reads return by the deadline, as Link's does; a deadline that is set already stays if it is early enough.
func (s *Stream) arm(deadline int64) error {
	now := s.now()
	if now >= deadline { // a peer that never makes a read wait is stopped here
		return os.ErrDeadlineExceeded
	}
	if s.armed == 0 || s.armed > deadline || s.armed <= now {
		s.armed = deadline
		var at time.Time
		if deadline != Forever {
			at = s.at(deadline)
		}
		if err := s.nc.SetReadDeadline(at); err != nil {
			return err
		}
	}
	return s.stopped()
}

// onReady is the callback of RawConn.Read for plaintext. RawConn.Read resets the poller's edge before the first call,
// which therefore reads after it has written.
func (s *Stream) onReady(fd uintptr) bool {
	if len(s.out) > 0 {
		n, errno := write(fd, s.out)
		if errno == syscall.EAGAIN {
			n, errno = 0, 0
		}
		if errno != 0 {
			s.out, s.ioErr = nil, errno
			return true
		}
		s.wrote = n
		s.SentBytes += int64(n)
		s.nc.sent.Add(int64(n))
		whole := n == len(s.out)
		s.out = nil
		if !whole {
			return true // the rest goes through net.Conn
		}
	}
	n, errno := read(fd, s.in.room())
	switch {
	case errno == syscall.EAGAIN:
		if s.in.r == s.in.w {
			s.in.drop()
		}
		return s.try
	case errno != 0:
		s.ioErr = errno
	case n == 0:
		s.ioErr = io.EOF
	default:
		s.in.w += n
		s.ReceivedBytes += int64(n)
	}
	s.got = true
	return true
}

// Unread returns the bytes that were read and not taken. It is valid until the next Fill.
func (s *Stream) Unread() []byte { return s.in.unread() }

// Take takes the first n unread bytes.
func (s *Stream) Take(n int) { s.in.r += n }

// Widen gives reads a large buffer, for what comes in many pieces.
func (s *Stream) Widen() { s.in.widen() }

// Fill reads more bytes, and waits for them until the deadline.
func (s *Stream) Fill(deadline int64) error { return s.Exchange(nil, deadline) }

// Exchange writes p and then reads more bytes, for which it waits until the deadline.
func (s *Stream) Exchange(p []byte, deadline int64) error {
	if s.two != nil {
		return s.fillTwo(deadline)
	}
	if s.tls != nil {
		if len(p) > 0 {
			if err := s.Write(p, deadline); err != nil {
				return err
			}
		}
		return s.fillTLS(deadline)
	}
	s.out, s.try, s.got, s.ioErr = p, false, false, nil
	for {
		if err := s.arm(deadline); err != nil {
			s.out = nil
			return err
		}
		err := s.raw.Read(s.ready)
		switch {
		case err == nil && s.ioErr != nil:
			return s.ioErr
		case err == nil && s.got:
			return nil
		case err == nil: // a part was written
			rest := p[s.wrote:]
			p, s.wrote = nil, 0
			if err := s.Write(rest, deadline); err != nil {
				return err
			}
		default:
			if err := s.again(err, deadline); err != nil {
				s.out = nil
				return err
			}
			if s.out == nil {
				p = nil
			}
		}
	}
}

// again returns nil where a read that failed is to go on, because an earlier deadline ended it.
func (s *Stream) again(err error, deadline int64) error {
	if why := s.stopped(); why != nil {
		return why
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) || s.now() >= deadline {
		return err
	}
	s.armed = 0
	return nil
}

// fillTLS is Fill over TLS. Unlike a write, a read that times out leaves the connection as it was.
func (s *Stream) fillTLS(deadline int64) error {
	for {
		if err := s.arm(deadline); err != nil {
			return err
		}
		n, err := s.tls.Read(s.in.room())
		s.in.w += n
		s.ReceivedBytes += int64(n)
		switch {
		case n > 0:
			return nil
		case err != nil:
			if err := s.again(err, deadline); err != nil {
				return err
			}
		}
	}
}

// Poll reads what has come already, and reports whether anything has. It does not wait, but over TLS for the rest of a
// record.
func (s *Stream) Poll() (came bool, err error) {
	if s.two != nil {
		return s.pollTwo()
	}
	if s.tls != nil {
		hung := false
		if err := s.raw.Control(func(fd uintptr) { hung = ended(fd) }); err != nil || !hung {
			return false, err
		}
		if err := s.fillTLS(s.now() + int64(time.Millisecond)); !errors.Is(err, os.ErrDeadlineExceeded) {
			return err == nil, err
		}
		return false, nil
	}
	s.out, s.try, s.got, s.ioErr = nil, true, false, nil
	if err := s.arm(Forever); err != nil {
		return false, err
	}
	if err := s.raw.Read(s.ready); err != nil {
		return false, s.again(err, Forever)
	}
	return s.got && s.ioErr == nil, s.ioErr
}

// Rest recycles the buffer of a stream whose reader has taken all that was read.
func (s *Stream) Rest() {
	if s.in.r == s.in.w {
		s.in.drop()
	}
}

// TryWrite writes as much of p as can be written at once, to a stream without TLS.
func (s *Stream) TryWrite(p []byte) (n int, err error) {
	if err = s.nc.SetWriteDeadline(time.Time{}); err != nil {
		return 0, err
	}
	err = s.raw.Write(func(fd uintptr) bool { n, _ = write(fd, p); return true })
	n = max(n, 0) // what is wrong, if something is, the next write says
	s.SentBytes += int64(n)
	s.nc.sent.Add(int64(n))
	return n, err
}

// Write writes all of p by the deadline.
func (s *Stream) Write(p []byte, deadline int64) error {
	err := s.write(p, deadline)
	s.torn = s.torn || err != nil
	return err
}

func (s *Stream) write(p []byte, deadline int64) error {
	if s.tls == nil {
		n := 0
		err := s.raw.Write(func(fd uintptr) bool { n, _ = write(fd, p); return true })
		n = max(n, 0)
		s.SentBytes += int64(n)
		s.nc.sent.Add(int64(n))
		if err == nil && n == len(p) {
			return nil
		}
		p = p[n:] // what is wrong, if something is, net.Conn says
	}
	if err := s.nc.SetWriteDeadline(s.at(deadline)); err != nil {
		return err
	}
	if err := s.cancelled(); err != nil {
		return err
	}
	to := io.Writer(s.nc)
	if s.tls != nil {
		to = s.tls
	}
	n, err := to.Write(p)
	s.SentBytes += int64(n)
	if err != nil {
		if why := s.cancelled(); why != nil {
			return why
		}
	}
	return err
}

// A Head is the head of an answer over HTTP/1.1, as Stream.ReadHead returns it.
type Head struct {
	Status int
	text   []byte
	f      framing
}

// Values yields the value of each header field of a name.
func (h *Head) Values(name string) iter.Seq[[]byte] { return headerValues(h.text, name) }

// Has reports whether a field whose value is a list of tokens has one of them.
func (h *Head) Has(name, token string) bool {
	for v := range h.Values(name) {
		if hasToken(v, token) {
			return true
		}
	}
	return false
}

// ReadHead reads the head of an answer over HTTP/1.1 by the deadline and keeps a copy of it. What follows it is unread.
// Interim answers are skipped; one that switches protocols is none.
func (s *Stream) ReadHead(most int, deadline int64) (*Head, error) {
	for {
		p := s.in.unread()
		n := headEnd(p, 0)
		if n > most || n < 0 && len(p) > most {
			return nil, &HeadError{most}
		}
		if n < 0 {
			if err := s.Fill(deadline); err != nil {
				if len(p) > 0 && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) {
					err = errPartial
				}
				return nil, err
			}
			continue
		}
		h := &Head{text: append([]byte(nil), p[:n]...)}
		s.in.r += n
		code, f, err := parseHead(h.text)
		if err != nil {
			return nil, err
		}
		if code >= 200 || code == 101 {
			h.Status, h.f = code, f
			return h, nil
		}
	}
}

// adopt takes over the connection of an exchange, with the body of its answer.
func (s *Stream) adopt(c *conn, f framing) {
	c.move(&s.redialer)
	s.torn = false
	s.in.drop()
	x := c.x
	for rest := x.in.unread(); len(rest) > 0; {
		n := copy(s.in.room(), rest)
		s.in.w += n
		rest = rest[n:]
	}
	x.in.r = x.in.w
	s.answer(f)
}

func (s *Stream) answer(f framing) {
	s.body = bodyReader{in: &s.in, from: s, f: f, left: f.length}
}

// fill reads more of the body.
func (s *Stream) fill() error { return s.Fill(s.by) }

// Answer begins the body of an answer whose head was read.
func (s *Stream) Answer(h *Head) { s.answer(h.f) }

// Coded reports whether the body has content codings, which a stream does not decode.
func (s *Stream) Coded() bool { return s.body.f.coded.n > 0 || s.body.f.coded.other }

// Chunked reports whether the body comes in chunks.
func (s *Stream) Chunked() bool { return s.body.f.chunked }

// Piece returns the next bytes of the body, for which it waits until the deadline, and whether they are the end of a
// chunk. They are valid until the next call. io.EOF is the end of the body; after a deadline or a recall it goes on.
func (s *Stream) Piece(deadline int64) (p []byte, last bool, err error) {
	s.by = deadline
	if !errors.Is(s.body.err, io.EOF) {
		s.body.err = nil
	}
	p, err = s.body.next()
	return p, !s.body.inChunk, err
}

// Return gives the connection back to the agent when the body has ended, or closes it where it cannot be used again.
func (a *Agent) Return(s *Stream) {
	f := &s.body.f
	if !errors.Is(s.body.err, io.EOF) || s.two != nil {
		s.Shut(load.ClosedEnd)
		return
	}
	if f.close || a.group(&s.origin) != nil || f.untilClose() || s.in.r != s.in.w || a.t.pool(&s.origin) != nil {
		s.Shut(load.ClosedByAnswer)
		return
	}
	s.in.drop()
	c := a.conn(&s.origin, a.now())
	if c.nc != nil {
		s.Shut(load.ClosedEnd)
		return
	}
	s.move(&c.redialer)
	c.used = c.now()
}
