package wire

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"syscall"
)

// readBody reads an answer's body. It counts and hashes the body, and keeps it if KeepBody.
func (c *conn) readBody(f framing) error {
	x := c.x
	decode := f.coded.decodable(x.Decode) && f.length != 0
	if p := x.in.unread(); !f.chunked && !decode && f.length >= 0 && f.length <= int64(len(p)) {
		if x.KeepBody && f.length > int64(x.MaxKept) {
			return &TooLargeError{x.MaxKept}
		}
		x.in.r += int(f.length)
		x.size, x.whole = f.length, p[:f.length]
		return nil
	}
	x.hash.Reset()
	x.body = bodyReader{in: &x.in, from: c, maxHead: x.MaxHead, f: f, left: f.length}
	defer func() { x.body = bodyReader{} }()
	if decode {
		return x.decode(f.coded)
	}
	for {
		p, err := x.body.next()
		if err != nil {
			return atEnd(err)
		}
		if err := x.take(p); err != nil {
			return err
		}
	}
}

// A HeadError says that the head of an answer is longer than what is read of one.
type HeadError struct{ Limit int } // bytes

func (e *HeadError) Error() string {
	return fmt.Sprintf("the answer's head is longer than %d bytes (max_header)", e.Limit)
}

// A TooLargeError says that a body is larger than what may be kept of it.
type TooLargeError struct{ Limit int } // bytes

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("the body is larger than %d bytes, too large for an expression to read (max_read)", e.Limit)
}

// take counts, hashes and keeps a piece of the body.
func (x *Exchange) take(p []byte) error {
	x.size += int64(len(p))
	_, _ = x.hash.Write(p) // never fails
	if x.KeepBody {
		if len(x.kept)+len(p) > x.MaxKept {
			return &TooLargeError{x.MaxKept}
		}
		x.kept = append(x.kept, p...)
	}
	return nil
}

// A bodyReader removes the framing of a body.
type bodyReader struct {
	in      *input
	from    interface{ fill() error } // reads more into in
	maxHead int                       // bytes of trailers, 0 for the default
	f       framing
	left    int64  // of the body, or of the chunk under way
	inChunk bool   // a chunk is under way
	lineDue bool   // the line end after a chunk is still unread
	trails  bool   // the last chunk was read
	rest    []byte // of a piece that did not fit into the argument of Read
	err     error  // the last error of next
}

// next returns the next piece of the body, which is valid until the next call; io.EOF after the last.
func (b *bodyReader) next() (p []byte, err error) {
	if b.err != nil {
		return nil, b.err
	}
	if b.f.chunked {
		p, err = b.nextOfChunk()
	} else {
		p, err = b.nextOfRest()
	}
	b.err = err
	return p, err
}

// nextOfRest returns the next piece of a body that ends after a length, or with its connection.
func (b *bodyReader) nextOfRest() ([]byte, error) {
	if b.left == 0 {
		return nil, io.EOF
	}
	p, err := b.piece()
	if err != nil {
		if b.f.length < 0 && errors.Is(err, io.EOF) {
			return nil, io.EOF
		}
		return nil, cutOff(err)
	}
	if b.f.length >= 0 {
		b.left -= int64(len(p))
	}
	return p, nil
}

func (b *bodyReader) nextOfChunk() ([]byte, error) {
	if b.trails {
		return nil, b.trailers()
	}
	if !b.inChunk {
		line, err := b.line(smallBuffer)
		if err != nil {
			return nil, err
		}
		n, ok := parseChunk(line)
		if !ok {
			return nil, &ProtocolError{fmt.Sprintf("not a chunk's size: %.40q", line)}
		}
		if n == 0 {
			b.trails = true
			return nil, b.trailers()
		}
		b.inChunk, b.left = true, n
	}
	p, err := b.piece()
	if err != nil {
		return nil, cutOff(err)
	}
	if b.left -= int64(len(p)); b.left == 0 {
		// The line end belongs to the chunk, but reading it may move the piece: it is read with the next line.
		b.inChunk, b.lineDue = false, true
	}
	return p, nil
}

// trailers reads the lines after the last chunk and returns io.EOF after the last of them.
func (b *bodyReader) trailers() error {
	for left := cmp.Or(b.maxHead, defaultHead); ; {
		line, err := b.line(left)
		if err != nil {
			return err
		}
		if len(line) == 0 {
			return io.EOF
		}
		if name, _, ok := bytes.Cut(line, []byte(":")); !ok || !isToken(name) {
			return &ProtocolError{fmt.Sprintf("not a trailer field: %.60q", line)}
		}
		left -= len(line)
	}
}

// piece returns unread bytes of the body, at most left; it reads if there are none.
func (b *bodyReader) piece() ([]byte, error) {
	in := b.in
	if in.r == in.w {
		if b.left < 0 || b.left > smallBuffer {
			in.widen()
		}
		if err := b.from.fill(); err != nil {
			return nil, err
		}
	}
	p := in.unread()
	if b.left >= 0 && int64(len(p)) > b.left {
		p = p[:b.left]
	}
	in.r += len(p)
	return p, nil
}

// line returns the next line of chunked framing without its end; a line longer than most is an error.
func (b *bodyReader) line(most int) ([]byte, error) {
	in := b.in
	for {
		p := in.unread()
		if i := bytes.IndexByte(p, '\n'); i >= 0 && i <= most {
			line, _ := cutLine(p)
			in.r += i + 1
			if !b.lineDue {
				return line, nil
			}
			b.lineDue = false
			if len(line) > 0 {
				return nil, &ProtocolError{fmt.Sprintf("a chunk does not end where it should: %.40q", line)}
			}
			continue
		}
		if len(p) > most {
			return nil, &ProtocolError{"a line of chunked framing is too long"}
		}
		if err := b.from.fill(); err != nil {
			return nil, cutOff(err)
		}
	}
}

// Read copies the body into p. It is next as an io.Reader.
func (b *bodyReader) Read(p []byte) (int, error) {
	if len(b.rest) == 0 {
		piece, err := b.next()
		if err != nil {
			return 0, err
		}
		b.rest = piece
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// atEnd returns err unless it is io.EOF, the end of a body.
func atEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// cutOff returns errPartial for the end of a connection inside an answer.
func cutOff(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || anyOf(err, syscall.ECONNRESET) {
		return errPartial
	}
	return err
}
