package wire

import "sync"

const (
	smallBuffer = 4 << 10  // holds most heads and short answers
	largeBuffer = 32 << 10 // for bodies that come in many pieces
)

type buffer struct{ b []byte }

var (
	smallBuffers = sync.Pool{New: func() any { return &buffer{make([]byte, smallBuffer)} }}
	largeBuffers = sync.Pool{New: func() any { return &buffer{make([]byte, largeBuffer)} }}
)

// recycle returns a buffer to the pool of its size, if there is one.
func (b *buffer) recycle() {
	switch len(b.b) {
	case smallBuffer:
		smallBuffers.Put(b)
	case largeBuffer:
		largeBuffers.Put(b)
	}
}

// An input holds the bytes that were read of an answer. It takes a buffer when
// there is something to read:
//
//	[ head | taken | unread | room ]
//	      kept     r        w
type input struct {
	buf  *buffer
	kept int // bytes at the front that are kept until drop: the head
	r, w int
}

// drop forgets everything and recycles the buffer.
func (in *input) drop() {
	if in.buf != nil {
		in.buf.recycle()
	}
	*in = input{}
}

// unread returns the bytes that were read and not taken. It is valid until the next call of room.
func (in *input) unread() []byte {
	if in.buf == nil {
		return nil
	}
	return in.buf.b[in.r:in.w]
}

// empty reports whether there is no unread byte.
func (in *input) empty() bool { return in.r == in.w }

// put appends what nobody needs to read.
func (in *input) put(p []byte) {
	for len(p) > 0 {
		n := copy(in.room(), p)
		in.w += n
		p = p[n:]
	}
}

// keep makes the next n unread bytes the front that is kept.
func (in *input) keep(n int) {
	if in.r > 0 {
		in.w = copy(in.buf.b, in.unread())
		in.r = 0
	}
	in.kept, in.r = n, n
}

// head returns the front that is kept.
func (in *input) head() []byte {
	if in.buf == nil {
		return nil
	}
	return in.buf.b[:in.kept]
}

// room returns a free part of the buffer to read into. It moves unread bytes before it grows the buffer.
func (in *input) room() []byte {
	if in.buf == nil {
		in.buf = smallBuffers.Get().(*buffer)
	}
	if in.r == in.w {
		in.r, in.w = in.kept, in.kept
	}
	if in.w == len(in.buf.b) && in.r > in.kept {
		in.w = in.kept + copy(in.buf.b[in.kept:], in.unread())
		in.r = in.kept
	}
	if in.w == len(in.buf.b) {
		in.move(&buffer{make([]byte, 2*len(in.buf.b))})
	}
	return in.buf.b[in.w:]
}

// widen replaces a small buffer by a large one.
func (in *input) widen() {
	if in.buf != nil && len(in.buf.b) < largeBuffer {
		in.move(largeBuffers.Get().(*buffer))
	}
}

func (in *input) move(to *buffer) {
	copy(to.b, in.buf.b[:in.w])
	in.buf.recycle()
	in.buf = to
}
