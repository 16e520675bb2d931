package wire

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"

	"github.com/perfd/perfd/internal/load"
)

// A headReader makes the header blocks of an answer its head, written as HTTP/1.1 has it, which is what is read of all answers.
type headReader struct {
	s        *stream
	trailers bool
	regular  bool // a field that is none of the protocol's own came
	status   int
	size     int
	most     int
	f        framing
	err      error
}

func (h *headReader) begin(s *stream) {
	if !s.begun && s.x.in.buf == nil { // trailers may come while the exchange uses its input
		s.x.in.buf = s.x.own
	}
	h.s, h.trailers, h.most, h.f = s, s.begun, cmp.Or(s.x.MaxHead, defaultHead), framing{length: -1}
}

// fail notes that a field may not stand where it does.
func (h *headReader) fail(what string, f headerField) {
	h.err = &ProtocolError{fmt.Sprintf("%s: %.60q", what, append(append(bytes.Clone(f.name), ": "...), f.value...))}
}

// field takes a field.
func (h *headReader) field(f headerField) {
	if h.size += len(f.name) + len(f.value) + len(": \r\n"); h.size > h.most {
		h.err = &HeadError{h.most}
		return
	}
	if len(f.name) > 0 && f.name[0] == ':' {
		h.pseudo(f)
		return
	}
	h.regular = true
	for _, c := range f.name {
		if !tokenByte[c] || 'A' <= c && c <= 'Z' {
			h.fail("not a header field", f)
			return
		}
	}
	if len(f.name) == 0 || hasEnd(f.value) || ofConnection[string(f.name)] {
		h.fail("not a header field", f)
		return
	}
	if h.trailers {
		return
	}
	var closes, keepAlive bool
	if h.err = h.f.field(f.name, f.value, &closes, &keepAlive); h.err != nil {
		return
	}
	in := &h.s.x.in
	in.put(f.name)
	in.put(colon)
	in.put(f.value)
	in.put(lineEnd)
}

var colon, lineEnd, version2 = []byte(": "), []byte("\r\n"), []byte("HTTP/2 ")

// hasEnd reports whether a value would end its line.
func hasEnd(p []byte) bool {
	for _, c := range p {
		if c == '\r' || c == '\n' || c == 0 {
			return true
		}
	}
	return false
}

// pseudo takes a field of the protocol's own, of which an answer has one.
func (h *headReader) pseudo(f headerField) {
	v := f.value
	ok := string(f.name) == ":status" && len(v) == 3 && h.status == 0 && !h.regular && !h.trailers
	for _, c := range v {
		ok = ok && '0' <= c && c <= '9'
	}
	if !ok || v[0] == '0' {
		h.fail("not a status", f)
		return
	}
	h.status = int(v[0]-'0')*100 + int(v[1]-'0')*10 + int(v[2]-'0')
	in := &h.s.x.in
	in.put(version2)
	in.put(v)
	in.put(lineEnd)
}

// end takes the end of a header block. The mux's mu is locked.
func (h *headReader) end(m *mux, ends bool) {
	s, x := h.s, h.s.x
	if x.first == 0 {
		x.first = m.clock
	}
	switch {
	case h.trailers && !ends:
		h.err = &ProtocolError{"trailers do not end their stream"}
		return
	case h.trailers:
		return
	case h.status == 0:
		h.err = &ProtocolError{"an answer has no status"}
		return
	case h.status == 101:
		h.err = &ProtocolError{"the server switched protocols, which was not asked for"}
		return
	case h.status < 200 && ends:
		h.err = &ProtocolError{"the answer ends before its head"}
		return
	case h.status < 200:
		x.in.r, x.in.w = 0, 0
		return
	}
	s.begun = true
	x.status, x.cookies = h.status, h.f.cookies
	x.in.keep(x.in.w)
	if s.length = h.f.length; x.HeadOnly || h.status == 204 || h.status == 304 {
		s.length, h.f = -1, framing{}
	}
	s.f = h.f
	s.pull = !ends && (x.Into != nil && x.status/100 == 2 || h.f.coded.decodable(x.Decode) && s.length != 0)
	if s.pull {
		m.stir(s)
	}
}

// roundTrip performs an exchange on an open connection.
func (m *mux) roundTrip(s *stream, x *Exchange, r *load.Result, begin int64) error {
	err := m.start(s, x)
	if err != nil {
		m.unlock()
		return err
	}
	if !s.halted {
		if err := m.upload(s); err != nil {
			m.abort(s, err)
		}
	}
	m.depart()
	for {
		if m.await(s) {
			if s.pull && s.err == nil {
				err = m.receive(s)
			}
			break
		}
		m.mu.Lock()
		s.stirred = false
		if s.pull {
			m.unlock()
			err = m.receive(s)
			break
		}
		if err := m.upload(s); err != nil {
			m.abort(s, err)
		}
		m.flush()
	}
	if err == nil && !x.Adopted {
		err = s.err
	}
	m.account(s, x, r, begin, err)
	return err
}

// depart writes what is pending, after other exchanges that are about to add to it. Where there is none, whoever leads
// writes it. mu is locked.
func (m *mux) depart() {
	if m.due || len(m.streams) == 1 && m.leader == nil && m.tls == nil {
		return
	}
	if len(m.streams) > 1 {
		m.due = true
		m.unlock()
		runtime.Gosched()
		m.mu.Lock()
		m.due = false
	}
	m.flush()
}

// account adds what an exchange has cost to its result.
func (m *mux) account(s *stream, x *Exchange, r *load.Result, begin int64, err error) {
	m.mu.Lock()
	if !x.Adopted {
		s.count()
	}
	r.SentBytes += x.framed + m.sentOver
	r.ReceivedBytes += x.received + m.gotOver
	m.sentOver, m.gotOver = 0, 0
	if x.frames == nil {
		x.frames, m.spare = m.spare, nil
	}
	m.used = m.clock
	m.served = m.served || err == nil
	done := s.done
	if s.pull || done < begin {
		done = m.now()
	}
	m.unlock()
	if x.first > 0 {
		x.first = max(x.first, begin)
		r.Phases[load.PhaseFirstByte] += x.first - begin
	}
	if err == nil {
		r.Done = done
		r.Phases[load.PhaseTransfer] += done - x.first
	}
}

// receive takes a body piece by piece: one that is decoded, or that a Stream takes.
func (m *mux) receive(s *stream) error {
	x := s.x
	if x.Into != nil {
		x.Into.attach(s)
		x.Adopted = true
		return nil
	}
	x.hash.Reset()
	x.body = bodyReader{in: &x.in, from: s, maxHead: x.MaxHead, f: framing{length: -1}, left: -1}
	err := x.decode(s.f.coded)
	x.body = bodyReader{}
	if err != nil {
		m.mu.Lock()
		m.abort(s, err)
		m.flush()
		m.unlock()
	}
	return err
}

// fill moves what came of the body to the exchange's input, and waits for it.
func (s *stream) fill() error { return s.fillInto(&s.x.in) }

func (s *stream) fillInto(in *input) error {
	m := s.m
	m.mu.Lock()
	for len(s.data) == 0 && !s.ended {
		s.stirred = false
		if err := m.upload(s); err != nil {
			m.abort(s, err)
			break
		}
		m.flush()
		m.await(s)
		m.mu.Lock()
	}
	defer m.unlock()
	if len(s.data) == 0 {
		if s.err != nil {
			return s.err
		}
		return io.EOF
	}
	s.count()
	in.put(s.data)
	n := len(s.data)
	if s.data = s.data[:0]; cap(s.data) > keptSpare {
		s.data = nil
	}
	m.credited(s, int64(n))
	m.flush()
	return nil
}

// attach takes over a stream whose answer has a body.
func (s *Stream) attach(two *stream) {
	m, x := two.m, two.x
	m.mu.Lock()
	two.x = &Exchange{status: x.status, MaxHead: x.MaxHead, Deadline: x.Deadline}
	two.lasts = true
	two.by = Forever
	m.unlock()
	s.torn = false
	s.in.drop()
	s.mu.Lock()
	s.two = two
	s.mu.Unlock()
	s.answer(framing{length: -1, coded: two.f.coded})
}

// detach ends the stream of HTTP/2, if there is one.
func (s *Stream) detach() {
	two := s.two
	if two == nil {
		return
	}
	s.mu.Lock()
	s.two = nil
	s.mu.Unlock()
	m := two.m
	m.mu.Lock()
	m.abort(two, errInterrupted)
	m.flush()
	m.unlock()
	m.g.leave(m)
	if s.opener != nil {
		s.opener.Close()
		s.opener = nil
	}
}

// Asks reports whether Ask opens the stream, and not Open: it may come to be one of HTTP/2.
func (s *Stream) Asks() bool { return s.t.Version != HTTP1 }

// Ask opens a stream by a request that was written as HTTP/1.1 has it, in place of one that is open, by the deadline, and
// adds the phases to r. Where the answer is a success with a body, that is what the stream holds.
func (s *Stream) Ask(request []byte, most int, deadline int64, r *load.Result) (*Head, error) {
	s.Shut(load.ClosedEnd)
	a := NewAgent(s.t, s.vu)
	s.mu.Lock()
	s.asks = a
	s.mu.Unlock()
	err := s.stopped() // whoever stops it sets a flag, and then looks for who asks
	x := Exchange{Out: request, MaxHead: most, Deadline: deadline, Into: s, Follows: true}
	if err == nil {
		err = a.Do(&s.origin, &x, r)
	}
	s.mu.Lock()
	s.asks = nil
	s.mu.Unlock()
	if why := s.stopped(); why != nil && err != nil {
		err = why
	}
	defer x.Reset()
	s.SentBytes += r.SentBytes
	s.ReceivedBytes += r.ReceivedBytes
	r.SentBytes, r.ReceivedBytes = 0, 0
	if err != nil || !x.Adopted {
		a.Close()
	} else {
		s.opener = a
	}
	if err != nil {
		return nil, err
	}
	return &Head{Status: x.status, text: append([]byte(nil), x.in.head()...)}, nil
}

// poke has whoever waits for the stream look again.
func (s *stream) poke() {
	m := s.m
	m.mu.Lock()
	defer m.unlock()
	m.stir(s)
	if m.leader == s {
		m.rouse()
	}
}

// fillTwo is Fill of a stream of HTTP/2.
func (s *Stream) fillTwo(deadline int64) error {
	two := s.two
	m := two.m
	m.mu.Lock()
	for len(two.data) == 0 && !two.ended {
		two.stirred = false
		err := s.stopped()
		if err == nil && s.now() >= deadline {
			err = os.ErrDeadlineExceeded
		}
		if err == nil && deadline != Forever {
			two.by = deadline
			err = m.armFor(deadline)
		}
		if err != nil {
			m.unlock()
			return err
		}
		m.flush()
		m.await(two)
		m.mu.Lock()
	}
	defer m.unlock()
	two.by = Forever
	return s.takeTwo()
}

// takeTwo takes what has come. The mux's mu is locked.
func (s *Stream) takeTwo() error {
	two := s.two
	s.ReceivedBytes += two.came
	two.came = 0
	if n := len(two.data); n > 0 {
		s.in.put(two.data)
		if two.data = two.data[:0]; cap(two.data) > smallBuffer {
			two.data = nil
		}
		two.m.credited(two, int64(n))
		two.m.flush()
		return nil
	}
	if two.err != nil {
		return two.err
	}
	return io.EOF
}

// pollTwo is Poll of a stream of HTTP/2.
func (s *Stream) pollTwo() (came bool, err error) {
	two := s.two
	m := two.m
	m.mu.Lock()
	defer m.unlock()
	if len(two.data) == 0 && !two.ended && m.leader == nil {
		m.glance()
		m.flush()
	}
	if len(two.data) == 0 && !two.ended {
		return false, s.stopped()
	}
	err = s.takeTwo()
	return err == nil, err
}

// interrupt makes the exchange of a stream return soon.
func (m *mux) interrupt(s *stream) {
	m.mu.Lock()
	defer m.unlock()
	if s.stopped = true; s.ended || m.over != nil {
		return
	}
	m.abort(s, errInterrupted)
	if m.leader == s {
		m.rouse()
	}
	m.flush()
}

// onGlance is a callback of RawConn.Control: it reads what has come, and does not wait.
func (m *mux) onGlance(fd uintptr) {
	if m.readErr = nil; !ended(fd) {
		m.readErr = syscall.EAGAIN
		return
	}
	if m.tls != nil {
		return
	}
	n, errno := read(fd, m.feed.room())
	switch {
	case errno != 0:
		m.readErr = errno
	case n == 0:
		m.readErr = io.EOF
	default:
		m.readErr = nil
		m.feed.w += n
	}
}

// mostGlances is how often a connection is read for what came while it was at rest.
const mostGlances = 16

// glance takes what came while no exchange was under way, a GOAWAY for example, or the end of the connection. mu is locked.
func (m *mux) glance() {
	for range mostGlances {
		if m.over != nil || m.leader != nil {
			return
		}
		err := m.raw.Control(m.onLook)
		if err == nil {
			err = m.readErr
		}
		m.readErr = nil
		if err == nil && m.tls != nil {
			_ = m.nc.SetReadDeadline(m.at(m.now() + idlePeek)) // what is wrong, the read says
			m.armed = 0
			var n int
			n, err = m.tls.Read(m.feed.room())
			m.feed.w += n
		}
		m.clock = m.now()
		m.consume()
		if m.over == nil && err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && !anyOf(err, syscall.EAGAIN) {
			if len(m.streams) > 0 { // of a Stream
				m.fail(err)
			} else {
				m.shut(load.ClosedByPeer)
			}
		}
		if m.over != nil || m.feed.empty() {
			m.feed.drop()
		}
		if err != nil {
			return
		}
	}
}

// A pipe is below TLS. Once an open connection is one of HTTP/2, what TLS writes is kept, and written as what is not
// encrypted is: without waiting for the socket.
type pipe struct {
	*Conn
	mu    sync.Mutex
	keeps bool
	kept  []byte
}

// Write writes, or keeps, p.
func (p *pipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	keeps := p.keeps
	if keeps {
		p.kept = append(p.kept, b...)
	}
	p.mu.Unlock()
	if keeps {
		return len(b), nil
	}
	return p.Conn.Write(b)
}

// take appends what was kept.
func (p *pipe) take(dst []byte) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	dst = append(dst, p.kept...)
	if p.kept = p.kept[:0]; cap(p.kept) > keptSpare {
		p.kept = nil
	}
	return dst
}

var _ net.Conn = (*pipe)(nil)
