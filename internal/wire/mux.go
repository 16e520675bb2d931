package wire

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/perfd/perfd/internal/load"
)

// A mux is a connection of a group. Where its peer speaks HTTP/2, it carries the streams of many exchanges at a time;
// where the peer chose HTTP/1.1, it is lent to one exchange after another.
//
// No goroutine belongs to it. Of the exchanges that wait for their answers one leads: it reads what comes and
// gives each stream its part. When its own answer is there, it wakes another to lead. A connection with one stream
// has no hand-off at all. An exchange that finds others under way lets them run before it writes, so that
// requests that are made together leave together, in one write.
type mux struct {
	conn // opens the connection, and speaks HTTP/1.1; its raw, tls and nc do not change while anybody reads
	g    *group

	// The group's mu guards these.
	users   int  // exchanges that have the connection
	room    int  // users that there may be
	retired bool // it takes no more users, and is closed by the last

	mu      sync.Mutex // guards all that follows; it is locked before the group's
	two     bool       // the peer speaks HTTP/2
	over    error      // why the connection is of no use any more; nil for one that is
	leaving *goAway    // the peer's GOAWAY, nil for none
	isOpen  bool
	served  bool             // an exchange was answered
	why     load.CloseReason // for which the last user closes it
	streams []*stream        // by rising id
	recent  *stream          // of the frame before
	next    uint32           // id of the next stream
	clock   int64            // when the bytes under way came, ns since zero
	heard   int64            // when the last frame of an answer came

	// Writing.
	enc      headerEncoder
	pipe     *pipe   // of a TLS connection
	out      []byte  // that is to be written
	outOf    *buffer // that out is in, nil where that is an exchange's
	spare    []byte  // the room of an exchange while out is not in it
	writing  bool    // a goroutine writes what the socket did not take
	due      bool    // an exchange writes what is pending after it has let others run
	controls int     // bytes of out that answer what the peer sent
	send     int64
	initial  int64 // send window of new streams
	most     int   // bytes of a frame's payload that the peer takes
	settled  bool  // the peer's first SETTINGS came
	sentOver int64 // bytes that no exchange counts yet
	gotOver  int64

	// Reading.
	dec       headerDecoder
	feed      input
	leader    *stream
	heir      *stream               // was woken to lead, and does not yet
	first     bool                  // the callback writes before it reads
	onSocket  func(fd uintptr) bool // read and write, bound once
	onWrite   func(fd uintptr) bool
	onLook    func(fd uintptr)
	readErr   error
	wrote     int
	writeErr  error
	block     []byte // of a header block that comes in pieces
	blockOf   uint32 // whose it is, 0 for none
	blockEnds bool   // it ends its stream
	pieces    int
	credit    int64 // bytes received that the peer has not been told it may send again
	idle      int   // frames since the last that was of use
	woken     []*stream
}

// A stream is one exchange on a connection of HTTP/2. It belongs to an agent, which uses it again.
type stream struct {
	m     *mux // nil while there is none
	x     *Exchange
	id    uint32
	by    int64     // deadline
	since int64     // when it began
	wake  chan bool // of capacity 1; whether the stream has ended

	// The mux's mu guards these.
	waits   bool // the exchange waits to be woken
	stopped bool // it was interrupted
	fresh   bool // nothing of it was written, and nothing else that the peer may send is waited for
	again   bool // the request was sent before: the peer may have ended the connection since
	stirred bool // what it waits for may have come
	ended   bool
	err     error
	done    int64 // when it ended
	halted  bool  // all of the request was given to the connection
	unread  bool  // the peer provably read nothing of the request

	begun  bool // the head of the final answer came
	f      framing
	length int64 // of the body that the head promises, -1 for none
	got    int64 // bytes of the body
	pull   bool  // the exchange takes the body piece by piece, from data
	data   []byte
	came   int64 // bytes that the exchange does not count yet
	window int64 // send window
	credit int64 // bytes taken that the peer has not been told of
	stall  bool
	lasts  bool // a Stream has it: a deadline ends the wait and not the stream
}

// Limits of HTTP/2.
const (
	streamWindow     = 1 << 20 // bytes of a body that a peer may send ahead
	connectionWindow = 16 << 20
	firstWindow      = 65535     // of both before anything is said (RFC 9113 section 6.9.2)
	frameSize        = 16 << 10  // bytes of a payload, which is the least that may be allowed
	mostPieces       = 1000      // frames of one header block
	mostControls     = 1 << 20   // bytes of answers to control frames that the peer does not read
	mostIdle         = 10_000    // frames in a row that are of no use to any stream
	mostPending      = 256 << 10 // bytes that wait to be written before a body adds to them
	mostStreams      = 1 << 30
	ownBuffer        = smallBuffer - 64 // bytes; of a size that no pool takes
	firstFrames      = 512
	lastStream       = 1<<31 - 1
)

// Frames (section 6).
const (
	frameData         = 0
	frameHeaders      = 1
	framePriority     = 2
	frameReset        = 3
	frameSettings     = 4
	framePush         = 5
	framePing         = 6
	frameGoAway       = 7
	frameWindow       = 8
	frameContinuation = 9
	frameHead         = 9 // bytes

	flagEnd        = 1
	flagAck        = 1
	flagEndHeaders = 4
	flagPadded     = 8
	flagPriority   = 0x20

	settingTableSize = 1
	settingPush      = 2
	settingStreams   = 3
	settingWindow    = 4
	settingFrameSize = 5
)

// count adds what came to what the exchange has received. The mux's mu is locked.
func (s *stream) count() {
	s.x.received += s.came
	s.came = 0
}

// codeNames are the error codes (section 7).
var codeNames = [...]string{
	"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM",
	"CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
}

const (
	codeNone       = 0
	codeProtocol   = 1
	codeRefused    = 7
	codeCancel     = 8
	codeEnhanceYou = 11
)

func codeName(code uint32) string {
	if int(code) < len(codeNames) {
		return codeNames[code]
	}
	return "code " + strconv.FormatUint(uint64(code), 10)
}

// A streamReset is a stream that the server ended by RST_STREAM.
type streamReset struct{ code uint32 }

func (e *streamReset) Error() string { return "the server reset the stream: " + codeName(e.code) }

// Cause returns load.StreamReset.
func (*streamReset) Cause() load.Cause { return load.StreamReset }

// A goAway is a server that takes no more requests on a connection.
type goAway struct {
	code uint32
	last uint32 // the highest stream that it may have acted on
}

func (e *goAway) Error() string { return "the server sent GOAWAY: " + codeName(e.code) }

// Cause returns load.GoAway.
func (*goAway) Cause() load.Cause { return load.GoAway }

// A resent error is one of a request that its server did not act on, so that it may be sent once more.
type resent struct{ err error }

func (e *resent) Error() string { return e.err.Error() }
func (e *resent) Unwrap() error { return e.err }

// errUnsent is the error of a request that found its connection of no use before anything of it was written.
var errUnsent = errors.New("the connection takes no more requests")

func newMux(g *group) *mux {
	m := &mux{g: g, room: 1, why: load.ClosedEnd}
	m.init(g.t, g.origin, g.vu)
	m.ready = m.onReady
	if g.origin.TLS {
		m.ready = m.onProbe
	}
	m.onSocket, m.onWrite, m.onLook = m.onReadable, m.onWritable, m.onGlance
	m.held = true
	return m
}

// preface is what a client begins a connection with (section 3.4), with its settings and the window of the connection.
var preface = func() []byte {
	p := []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	p = appendFrameHead(p, 12, frameSettings, 0, 0)
	p = appendSetting(p, settingPush, 0)
	p = appendSetting(p, settingWindow, streamWindow)
	return appendWindow(p, 0, connectionWindow-firstWindow)
}()

func appendFrameHead(dst []byte, size int, kind, flags byte, id uint32) []byte {
	return append(dst, byte(size>>16), byte(size>>8), byte(size), kind, flags, byte(id>>24), byte(id>>16), byte(id>>8), byte(id))
}

func appendSetting(dst []byte, id uint16, value uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(dst, id), value)
}

func appendWindow(dst []byte, id, n uint32) []byte {
	return binary.BigEndian.AppendUint32(appendFrameHead(dst, 4, frameWindow, 0, id), n)
}

func appendReset(dst []byte, id, code uint32) []byte {
	return binary.BigEndian.AppendUint32(appendFrameHead(dst, 4, frameReset, 0, id), code)
}

// begin makes an open connection one of HTTP/2.
func (m *mux) begin() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.two, m.next, m.most, m.send, m.initial = true, 1, frameSize, firstWindow, firstWindow
	m.enc, m.dec = newHeaderEncoder(), newHeaderDecoder()
	m.heard = m.now()
	m.out = append(m.takeOut(), preface...)
	m.sentOver = int64(len(preface))
}

// takeOut returns the buffer of what is to be written, which a connection that is at rest does not keep.
func (m *mux) takeOut() []byte {
	switch {
	case m.out != nil:
	case m.spare != nil:
		m.out, m.spare = m.spare[:0], nil
	default:
		m.outOf = smallBuffers.Get().(*buffer)
		m.out = m.outOf.b[:0]
	}
	return m.out
}

// start sends the request of a stream, or as much of it as the peer takes. It locks mu, which it leaves locked.
func (m *mux) start(s *stream, x *Exchange) error {
	m.mu.Lock()
	if m.over != nil || m.leaving != nil || m.next > lastStream {
		m.g.retire(m)
		return errUnsent
	}
	if s.stopped {
		return errInterrupted
	}
	if len(m.streams) == 0 {
		m.before = m.nc.sent.Load()
	}
	if err := m.armFor(s.by); err != nil {
		return err
	}
	*s = stream{m: m, x: x, id: m.next, fresh: len(m.streams) == 0 && !s.again, by: s.by, since: m.now(), wake: s.wake, data: s.data[:0], length: -1, window: m.initial}
	select {
	case <-s.wake:
	default:
	}
	if x.own == nil {
		x.own, x.frames = &buffer{make([]byte, ownBuffer)}, make([]byte, 0, firstFrames)
	}
	if m.out == nil && m.spare == nil {
		m.spare, x.frames = x.frames, nil
	}
	m.next += 2
	m.streams = append(m.streams, s)
	out := m.takeOut()
	before := len(out)
	head := headOf(x.Out)
	bare := head == len(x.Out) && x.Stream == nil
	x.written = int64(head) // of Out
	out = m.appendHead(out, s, x.Out[:head], bare)
	m.out = out
	x.framed = int64(len(out) - before)
	s.halted = bare
	return nil
}

// headOf returns the length of the head at the front of a request.
func headOf(p []byte) int {
	if n := headEnd(p, 0); n >= 0 {
		return n
	}
	return len(p)
}

// appendHead appends the frames of a request's head.
func (m *mux) appendHead(out []byte, s *stream, head []byte, ends bool) []byte {
	at := len(out)
	out = appendFrameHead(out, 0, frameHeaders, 0, s.id)
	out = m.enc.request(out, head, m.origin.TLS)
	size := len(out) - at - frameHead
	flags := byte(0)
	if ends {
		flags = flagEnd
	}
	if size <= m.most {
		putFrame(out[at:], size, flags|flagEndHeaders)
		return out
	}
	block := append([]byte(nil), out[at+frameHead:]...)
	putFrame(out[at:], m.most, flags)
	out = out[:at+frameHead+m.most]
	for block = block[m.most:]; len(block) > 0; {
		n := min(len(block), m.most)
		flags = 0
		if n == len(block) {
			flags = flagEndHeaders
		}
		out = append(appendFrameHead(out, n, frameContinuation, flags, s.id), block[:n]...)
		block = block[n:]
	}
	return out
}

// putFrame sets the size and the flags of a frame's head.
func putFrame(p []byte, size int, flags byte) {
	p[0], p[1], p[2], p[4] = byte(size>>16), byte(size>>8), byte(size), flags
}

// pump gives the connection as much of a request's body as its peer takes. mu is locked.
func (m *mux) pump(s *stream) error {
	x := s.x
	for !s.halted && !s.ended {
		total := int64(len(x.Out))
		if x.Stream != nil {
			total += x.StreamSize
		}
		left := total - x.written
		n := min(left, m.send, s.window, int64(m.most))
		if n <= 0 && left > 0 || len(m.out) >= mostPending {
			if n <= 0 && !s.stall {
				s.stall = true
				m.t.Counts.Stalls.Add(1)
			}
			return nil
		}
		s.stall = false
		at := len(m.takeOut())
		out := appendFrameHead(m.out, int(n), frameData, 0, s.id)
		inline := min(n, max(0, int64(len(x.Out))-x.written))
		if inline > 0 {
			out = append(out, x.Out[x.written:x.written+inline]...)
		}
		if rest := int(n - inline); rest > 0 {
			from := len(out)
			out = append(out, make([]byte, rest)...)
			if _, err := io.ReadFull(x.Stream, out[from:]); err != nil {
				if err == io.EOF {
					err = io.ErrUnexpectedEOF // before the promised size
				}
				m.out = out[:at]
				return &bodyError{err}
			}
		}
		x.written += n
		if x.written == total {
			out[at+4] = flagEnd
			s.halted = true
		}
		m.out = out
		x.framed += n + frameHead
		m.send -= n
		s.window -= n
	}
	return nil
}

// upload gives the connection as much of a request's body as its peer and the socket take; drain has the stream go on
// where the socket takes no more. mu is locked, and others may have it meanwhile.
func (m *mux) upload(s *stream) error {
	for {
		if err := m.pump(s); err != nil {
			return err
		}
		if s.halted || s.ended || s.stall {
			return nil
		}
		if m.flush(); m.writing || m.over != nil {
			return nil
		}
		m.unlock()
		m.mu.Lock()
	}
}

// flush writes what is pending. What the socket does not take, a goroutine writes. mu is locked.
func (m *mux) flush() {
	if m.writing || len(m.out) == 0 || m.over != nil {
		return
	}
	if m.pipe != nil {
		if err := m.encrypt(); err != nil {
			m.fail(err)
			return
		}
	}
	m.wrote, m.writeErr = 0, nil
	if err := m.raw.Write(m.onWrite); err != nil {
		m.writeErr = err
	}
	m.written()
}

// encrypt makes what is pending bytes of TLS.
func (m *mux) encrypt() error {
	_, err := m.tls.Write(m.out)
	m.out = m.out[:0]
	if err == nil {
		m.out = m.pipe.take(m.out)
	}
	return err
}

// onWritable is the callback of RawConn.Write.
func (m *mux) onWritable(fd uintptr) bool {
	m.push(fd)
	return true
}

// push writes what the socket takes.
func (m *mux) push(fd uintptr) {
	n, errno := write(fd, m.out)
	switch {
	case errno == syscall.EAGAIN:
	case errno != 0:
		m.writeErr = errno
	default:
		m.wrote = n
	}
}

// written takes account of a write. mu is locked.
func (m *mux) written() {
	if m.writeErr != nil {
		m.fail(m.writeErr)
		return
	}
	m.nc.sent.Add(int64(m.wrote))
	if m.wrote < len(m.out) {
		m.writing = true
		go m.drain(m.nc, append([]byte(nil), m.out[m.wrote:]...))
	}
	m.emptied()
}

// emptied forgets what was written, and the buffer.
func (m *mux) emptied() {
	switch {
	case m.outOf != nil:
		m.outOf.recycle()
		m.outOf = nil
	case cap(m.out) <= keptSpare:
		m.spare = m.out
	}
	m.controls, m.out = 0, nil
}

// drain writes what the socket did not take, and what is pending then.
func (m *mux) drain(nc net.Conn, p []byte) {
	for {
		_, err := nc.Write(p)
		m.mu.Lock()
		switch {
		case err != nil:
			m.writing = false
			m.fail(err)
		case len(m.out) == 0 || m.over != nil:
			m.writing = false
		default:
			if m.pipe != nil {
				if err := m.encrypt(); err != nil {
					m.writing = false
					m.fail(err)
					break
				}
			}
			p = append(p[:0], m.out...)
			m.emptied()
		}
		writes := m.writing
		for _, s := range m.streams { // one that waits for room
			if !s.halted {
				m.stir(s)
			}
		}
		if m.leader != nil && !m.leader.halted {
			m.rouse()
		}
		m.unlock()
		if !writes {
			return
		}
	}
}

// stir has a stream's exchange look again. mu is locked.
func (m *mux) stir(s *stream) {
	s.stirred = true
	if s.waits {
		s.waits = false
		m.woken = append(m.woken, s)
	}
}

// rouse makes the read of the leader return. mu is locked.
func (m *mux) rouse() {
	if m.over == nil {
		m.armed = 0
		_ = m.nc.SetReadDeadline(longAgo) // a read that fails otherwise returns, too
	}
}

// unlock unlocks mu, and wakes whom there is news for.
func (m *mux) unlock() {
	for _, s := range m.woken {
		s.wake <- s.ended
	}
	m.woken = m.woken[:0]
	m.mu.Unlock()
}

// end ends a stream. mu is locked.
func (m *mux) end(s *stream, err error) {
	if s.ended {
		return
	}
	s.ended, s.err, s.done = true, err, m.clock
	if i := m.find(s.id); i >= 0 {
		m.streams = slices.Delete(m.streams, i, i+1)
	}
	if m.recent == s {
		m.recent = nil
	}
	m.stir(s)
}

// abort ends a stream from this side. mu is locked.
func (m *mux) abort(s *stream, err error) {
	if s.ended {
		return
	}
	if m.over == nil {
		m.out = appendReset(m.takeOut(), s.id, codeCancel)
		m.sentOver += frameHead + 4
	}
	m.end(s, err)
}

// fail ends the connection and all its streams. mu is locked.
func (m *mux) fail(err error) {
	if m.over != nil {
		return
	}
	m.over = err
	if m.leaving != nil && m.leaving.code != codeNone && died(err) {
		err = m.leaving
	}
	m.clock = m.now()
	answered := false
	for _, s := range m.streams {
		answered = answered || s.x.received > 0
		s.unread = len(m.streams) == 1 && m.untouched(err)
	}
	why := load.ClosedError
	switch {
	case errors.Is(err, errInterrupted) || errors.Is(err, net.ErrClosed):
		why = load.ClosedEnd
	case died(err) && m.served && !answered:
		why = load.ClosedStale
	}
	for _, s := range slices.Backward(m.streams) {
		e := err
		if s.x.received > 0 && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) {
			e = errPartial
		}
		m.end(s, e)
	}
	m.shut(why)
}

// violated ends the connection because its peer broke the rules, and tells it so. mu is locked.
func (m *mux) violated(err error, code uint32) {
	if m.over != nil {
		return
	}
	last := binary.BigEndian.AppendUint32(appendFrameHead(m.takeOut(), 8, frameGoAway, 0, 0), 0)
	m.out = binary.BigEndian.AppendUint32(last, code)
	m.flush()
	m.fail(err)
}

// shut closes the connection. mu is locked.
func (m *mux) shut(why load.CloseReason) {
	if m.over == nil {
		m.over = net.ErrClosed
	}
	if m.leader == nil {
		m.feed.drop()
	}
	m.close(why)
	m.emptied()
	m.block, m.spare = nil, nil
	m.g.retire(m)
}

// armFor makes reads return by a deadline, and by those of all streams. mu is locked.
func (m *mux) armFor(by int64) error {
	now := m.now()
	if m.armed > now && m.armed <= by {
		return nil
	}
	if l := m.leader; l != nil && (l.ended || l.stirred) {
		return nil // it is being roused, which another deadline would undo, and arms for all when it returns
	}
	for _, s := range m.streams {
		by = min(by, s.by)
	}
	m.armed = by
	return m.nc.SetReadDeadline(m.at(by))
}

// expire ends the streams whose time is over, and arms for the others. mu is locked.
func (m *mux) expire() {
	now := m.now()
	m.clock = now
	next := int64(0)
	for _, s := range slices.Backward(m.streams) {
		switch {
		case s.by <= now && s.lasts:
			s.by = Forever
			m.stir(s)
		case s.by <= now:
			if m.heard <= s.since {
				m.why = load.ClosedError
				m.g.retire(m) // whoever answers nothing in all that time will not answer others
			}
			m.abort(s, os.ErrDeadlineExceeded)
		case next == 0 || s.by < next:
			next = s.by
		}
	}
	if next > 0 && m.over == nil {
		m.armed = next
		var at time.Time
		if next != Forever {
			at = m.at(next)
		}
		if err := m.nc.SetReadDeadline(at); err != nil {
			m.fail(err)
		}
	}
}

// await returns when the stream has ended, which it reports, or been stirred. mu is locked, and is not when it returns.
func (m *mux) await(s *stream) (ended bool) {
	for !s.ended && !s.stirred {
		if m.leader != nil {
			s.waits = true
			m.unlock()
			if <-s.wake {
				return true
			}
			m.mu.Lock()
			continue
		}
		m.lead(s)
	}
	ended = s.ended
	if m.heir == s { // it has no need to lead
		m.handOver()
	}
	m.unlock()
	return ended
}

// handOver wakes an exchange that waits, so that it leads. mu is locked.
func (m *mux) handOver() {
	m.heir = nil
	for _, s := range m.streams {
		if s.waits {
			s.waits = false
			m.heir = s
			m.woken = append(m.woken, s)
			return
		}
	}
}

// lead reads what comes for all streams until that of the caller has ended or is stirred. mu is locked.
func (m *mux) lead(s *stream) {
	m.leader, m.heir = s, nil
	for !s.ended && !s.stirred {
		raw, tls := m.raw, m.tls
		m.first = s.fresh && tls == nil && len(m.streams) == 1 && len(m.out) > 0 && !m.writing && !m.due
		if s.fresh = false; !m.first && !m.due {
			m.flush()
		}
		if m.over != nil {
			break
		}
		if len(m.streams) > 4 {
			m.feed.widen()
		}
		m.unlock()
		n, err := 0, error(nil)
		if tls != nil {
			n, err = tls.Read(m.feed.room())
			m.feed.w += n
		} else {
			before := m.feed.w - m.feed.r
			if err = raw.Read(m.onSocket); err == nil {
				err = m.readErr
			}
			m.readErr = nil
			n = m.feed.w - m.feed.r - before
		}
		now := m.now()
		m.mu.Lock()
		m.first = false
		m.clock = now
		if n > 0 {
			m.consume()
		}
		switch {
		case m.over != nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			m.expire()
		case err != nil && n == 0:
			m.fail(err)
		case now >= m.armed: // a peer that never makes a read wait is stopped here
			m.expire()
		}
		if m.controls > mostControls {
			m.violated(&ProtocolError{"the server sends control frames and does not read the answers"}, codeEnhanceYou)
		}
	}
	m.leader = nil
	if m.over != nil || m.feed.empty() {
		m.feed.drop()
	}
	if !m.due {
		m.flush()
	}
	m.handOver()
}

// onReadable is the callback of RawConn.Read. RawConn.Read resets the poller's edge before the first call, which may
// write and not read only where what it writes is all that anybody can wait for the answer to.
func (m *mux) onReadable(fd uintptr) bool {
	if m.first {
		if !m.mu.TryLock() {
			return true // whoever closes the connection holds mu, and waits for this callback
		}
		defer m.mu.Unlock()
		if m.first = false; len(m.out) > 0 && !m.writing && m.over == nil {
			m.wrote, m.writeErr = 0, nil
			if m.push(fd); m.writeErr != nil {
				m.readErr = m.writeErr // the leader ends the connection, which cannot be closed in its callback
				return true
			}
			if m.written(); len(m.streams) == 1 {
				return false
			}
		}
	}
	n, errno := read(fd, m.feed.room())
	switch {
	case errno == syscall.EAGAIN:
		if m.feed.empty() {
			m.feed.drop()
		}
		return false
	case errno != 0:
		m.readErr = errno
	case n == 0:
		m.readErr = io.EOF
	default:
		m.feed.w += n
	}
	return true
}
