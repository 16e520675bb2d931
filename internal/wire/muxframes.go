package wire

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
)

// consume takes the frames that have come. mu is locked.
func (m *mux) consume() {
	for m.over == nil {
		p := m.feed.unread()
		if len(p) < frameHead {
			return
		}
		size := int(p[0])<<16 | int(p[1])<<8 | int(p[2])
		kind, flags := p[3], p[4]
		id := binary.BigEndian.Uint32(p[5:]) & lastStream
		if !m.settled && (kind != frameSettings || flags&flagAck != 0) {
			m.fail(&ProtocolError{fmt.Sprintf("the server does not speak HTTP/2: it begins with %.40q", p)})
			return
		}
		if size > frameSize {
			m.violated(&ProtocolError{fmt.Sprintf("a frame of %d bytes is longer than was allowed", size)}, codeProtocol)
			return
		}
		if len(p) < frameHead+size {
			m.feed.widen()
			return
		}
		m.feed.r += frameHead + size
		if m.idle++; m.idle > mostIdle {
			m.violated(&ProtocolError{fmt.Sprintf("%d frames in a row are of no use", m.idle)}, codeEnhanceYou)
			return
		}
		if err := m.frame(kind, flags, id, p[frameHead:frameHead+size:frameHead+size]); err != nil {
			m.violated(err, codeProtocol)
			return
		}
	}
}

var errFrame = &ProtocolError{"a frame has a size or a stream that its kind cannot have"}

// frame takes one frame. An error ends the connection. mu is locked.
func (m *mux) frame(kind, flags byte, id uint32, p []byte) error {
	if (m.blockOf != 0) != (kind == frameContinuation) || m.blockOf != 0 && id != m.blockOf {
		return &ProtocolError{"a header block is not contiguous"}
	}
	if s := m.stream(id); s != nil {
		s.came += int64(frameHead + len(p))
		if !s.pull { // else its exchange reads the count meanwhile
			s.count()
		}
	} else {
		m.gotOver += int64(frameHead + len(p))
	}
	switch kind {
	case frameData:
		return m.dataFrame(flags, id, p)
	case frameHeaders:
		return m.headersFrame(flags, id, p)
	case frameContinuation:
		return m.continues(flags, p)
	case frameReset:
		return m.resetFrame(id, p)
	case frameSettings:
		return m.settingsFrame(flags, id, p)
	case framePing:
		if len(p) != 8 || id != 0 {
			return errFrame
		}
		if flags&flagAck == 0 {
			m.answer(append(appendFrameHead(m.takeOut(), 8, framePing, flagAck, 0), p...))
		}
	case frameGoAway:
		return m.goAwayFrame(id, p)
	case frameWindow:
		return m.windowFrame(id, p)
	case framePush:
		return &ProtocolError{"the server pushes, which was switched off"}
	case framePriority:
		if len(p) != 5 || id == 0 {
			return errFrame
		}
	}
	return nil // others are for extensions
}

// answer makes out what it was with the answer to a control frame.
func (m *mux) answer(out []byte) {
	n := len(out) - len(m.out)
	m.controls += n
	m.sentOver += int64(n)
	m.out = out
}

// stream returns the stream of an id, nil for one that is not open. mu is locked.
func (m *mux) stream(id uint32) *stream {
	if id == 0 {
		return nil
	}
	if m.recent != nil && m.recent.id == id {
		return m.recent
	}
	if i := m.find(id); i >= 0 {
		m.recent = m.streams[i]
		return m.recent
	}
	return nil
}

// find returns the index of a stream among those that are open, -1 for one that is not. Streams are mostly answered in the order
// in which they were opened.
func (m *mux) find(id uint32) int {
	if len(m.streams) > 0 && m.streams[0].id == id {
		return 0
	}
	i, found := slices.BinarySearchFunc(m.streams, id, func(s *stream, id uint32) int { return cmp.Compare(s.id, id) })
	if !found {
		return -1
	}
	return i
}

// padded returns what a frame holds without padding.
func padded(flags byte, p []byte) ([]byte, error) {
	if flags&flagPadded == 0 {
		return p, nil
	}
	if len(p) == 0 || int(p[0]) >= len(p) {
		return nil, errFrame
	}
	return p[1 : len(p)-int(p[0])], nil
}

// known reports whether an id is one of a stream that was opened.
func (m *mux) known(id uint32) bool { return id%2 == 1 && id < m.next }

func (m *mux) dataFrame(flags byte, id uint32, p []byte) error {
	if !m.known(id) {
		return errFrame
	}
	size := int64(len(p))
	if m.credit += size; m.credit >= connectionWindow/2 {
		m.answer(appendWindow(m.takeOut(), 0, uint32(m.credit)))
		m.credit = 0
	}
	p, err := padded(flags, p)
	if err != nil {
		return err
	}
	s := m.stream(id)
	if s == nil {
		return nil // of a stream that was reset
	}
	ends := flags&flagEnd != 0
	if size > 0 || ends {
		m.idle, m.heard = 0, m.clock
	}
	if err := s.take(m, p, ends); err != nil {
		m.abort(s, err)
		return nil
	}
	if ends {
		m.finish(s)
		return nil
	}
	if padding := size - int64(len(p)); !s.pull || padding > 0 {
		n := size
		if s.pull {
			n = padding
		}
		m.credited(s, n)
	}
	return nil
}

// credited tells the peer in time that bytes of a body were taken.
func (m *mux) credited(s *stream, n int64) {
	if s.credit += n; s.credit >= streamWindow/2 && !s.ended {
		m.out = appendWindow(m.takeOut(), s.id, uint32(s.credit))
		m.sentOver += frameHead + 4
		s.credit = 0
	}
}

// take takes a piece of the body.
func (s *stream) take(m *mux, p []byte, ends bool) error {
	if !s.begun {
		return &ProtocolError{"a body comes before its head"}
	}
	s.got += int64(len(p))
	if s.length >= 0 && (s.got > s.length || ends && s.got != s.length) {
		return &ProtocolError{fmt.Sprintf("Content-Length is %d, and the body has another length", s.length)}
	}
	x := s.x
	switch {
	case len(p) == 0:
	case x.HeadOnly || x.status == 204 || x.status == 304:
		return &ProtocolError{"an answer that has no body has one"}
	case s.pull:
		s.data = append(s.data, p...)
		if int64(len(s.data)) > streamWindow {
			return &ProtocolError{"the server sends more than the window allows"}
		}
		m.stir(s)
	case ends && s.got == int64(len(p)) && len(p) <= len(x.in.buf.b)-x.in.w:
		if x.KeepBody && len(p) > x.MaxKept {
			return &TooLargeError{x.MaxKept}
		}
		n := copy(x.in.buf.b[x.in.w:], p)
		x.whole = x.in.buf.b[x.in.w : x.in.w+n]
		x.in.w += n
		x.in.r = x.in.w
		x.size = int64(n)
	default:
		if x.size == 0 {
			x.hash.Reset()
		}
		return x.take(p)
	}
	return nil
}

// finish ends a stream whose answer is complete. mu is locked.
func (m *mux) finish(s *stream) {
	if !s.begun {
		m.abort(s, &ProtocolError{"the answer ends before its head"})
		return
	}
	if !s.halted {
		m.out = appendReset(m.takeOut(), s.id, codeCancel)
		m.sentOver += frameHead + 4
	}
	m.end(s, nil)
}

func (m *mux) headersFrame(flags byte, id uint32, p []byte) error {
	if !m.known(id) {
		return errFrame
	}
	p, err := padded(flags, p)
	if err != nil {
		return err
	}
	if flags&flagPriority != 0 {
		if len(p) < 5 {
			return errFrame
		}
		p = p[5:]
	}
	m.idle, m.heard = 0, m.clock
	if flags&flagEndHeaders != 0 {
		return m.headers(id, p, flags&flagEnd != 0)
	}
	m.blockOf, m.blockEnds, m.pieces = id, flags&flagEnd != 0, 0
	m.block = append(m.block[:0], p...)
	return nil
}

func (m *mux) continues(flags byte, p []byte) error {
	id := m.blockOf
	m.block = append(m.block, p...)
	most := defaultHead
	s := m.stream(id)
	if s != nil {
		most = cmp.Or(s.x.MaxHead, defaultHead)
	}
	// Huffman's longest codes have 30 bits.
	if m.pieces++; m.pieces > mostPieces || len(m.block) > 4*most {
		if s != nil {
			m.end(s, &HeadError{most})
		}
		m.violated(&ProtocolError{"a header block has no end"}, codeEnhanceYou)
		return nil
	}
	if flags&flagEndHeaders == 0 {
		return nil
	}
	block := m.block
	m.blockOf = 0
	err := m.headers(id, block, m.blockEnds)
	if cap(m.block) > keptSpare {
		m.block = nil
	}
	return err
}

// headers takes a header block. An error ends the connection, because the tables of both sides would differ. mu is locked.
func (m *mux) headers(id uint32, block []byte, ends bool) error {
	s := m.stream(id)
	var h headReader
	if s != nil {
		h.begin(s)
	}
	for begun := false; ; begun = true {
		f, rest, ok, err := m.dec.next(block, begun)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		block = rest
		if s != nil && h.err == nil {
			h.field(f)
		}
	}
	if s == nil {
		return nil
	}
	if h.err == nil {
		h.end(m, ends)
	}
	switch {
	case h.err != nil:
		m.abort(s, h.err)
	case ends && !s.ended:
		if s.length > 0 && s.got != s.length && !s.x.HeadOnly && s.x.status != 304 {
			m.abort(s, &ProtocolError{fmt.Sprintf("Content-Length is %d, and the body has another length", s.length)})
			return nil
		}
		m.finish(s)
	}
	return nil
}

func (m *mux) resetFrame(id uint32, p []byte) error {
	if len(p) != 4 || !m.known(id) {
		return errFrame
	}
	s := m.stream(id)
	if s == nil {
		return nil
	}
	m.idle = 0
	err := error(&streamReset{binary.BigEndian.Uint32(p)})
	if binary.BigEndian.Uint32(p) == codeRefused {
		err = &resent{err}
	}
	m.end(s, err)
	return nil
}

func (m *mux) settingsFrame(flags byte, id uint32, p []byte) error {
	if id != 0 || len(p)%6 != 0 || flags&flagAck != 0 && len(p) > 0 {
		return errFrame
	}
	if flags&flagAck != 0 {
		return nil
	}
	room := -1
	if !m.settled {
		m.settled, room = true, mostStreams
	}
	for ; len(p) > 0; p = p[6:] {
		value := binary.BigEndian.Uint32(p[2:])
		switch binary.BigEndian.Uint16(p) {
		case settingTableSize:
			m.enc.resize(value)
		case settingPush:
			if value > 0 {
				return &ProtocolError{"a server cannot be pushed to"}
			}
		case settingStreams:
			room = int(min(value, mostStreams))
		case settingWindow:
			if value > lastStream {
				return &ProtocolError{"a window is too large"}
			}
			change := int64(value) - m.initial
			m.initial = int64(value)
			for _, s := range m.streams {
				if s.window += change; s.window > lastStream {
					return &ProtocolError{"a window is too large"}
				}
				m.stir(s)
			}
		case settingFrameSize:
			if value < frameSize || value > 1<<24-1 {
				return &ProtocolError{"a frame's size is none"}
			}
			m.most = int(min(value, 64<<10))
		}
	}
	if room >= 0 {
		m.g.allow(m, room)
	}
	m.answer(appendFrameHead(m.takeOut(), 0, frameSettings, flagAck, 0))
	return nil
}

func (m *mux) goAwayFrame(id uint32, p []byte) error {
	if id != 0 || len(p) < 8 {
		return errFrame
	}
	m.idle = 0
	away := &goAway{last: binary.BigEndian.Uint32(p) & lastStream, code: binary.BigEndian.Uint32(p[4:])}
	m.leaving = away
	m.g.retire(m)
	for _, s := range slices.Backward(m.streams) {
		if s.id > away.last {
			m.end(s, &resent{away})
		}
	}
	return nil
}

func (m *mux) windowFrame(id uint32, p []byte) error {
	if len(p) != 4 {
		return errFrame
	}
	n := int64(binary.BigEndian.Uint32(p) & lastStream)
	if id == 0 {
		if m.send += n; n == 0 || m.send > lastStream {
			return &ProtocolError{"a window is too large, or does not change"}
		}
		for _, s := range m.streams {
			if !s.halted {
				m.idle = 0
				m.stir(s)
			}
		}
		return nil
	}
	if !m.known(id) {
		return errFrame
	}
	s := m.stream(id)
	if s == nil {
		return nil
	}
	if s.window += n; n == 0 || s.window > lastStream {
		m.abort(s, &ProtocolError{"a window is too large, or does not change"})
		return nil
	}
	if !s.halted {
		m.idle = 0
		m.stir(s)
	}
	return nil
}
