package exposition

import (
	"io"
	"sync"
)

// A body holds an answer until its client takes it, in pieces: one slice that
// grows would take three times as much memory.
type body struct {
	pieces []*piece
	used   int // of the last piece
}

type piece [64 << 10]byte

var pieces = sync.Pool{New: func() any { return new(piece) }}

// Write appends p. It never fails.
func (b *body) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if len(b.pieces) == 0 || b.used == len(piece{}) {
			b.pieces = append(b.pieces, pieces.Get().(*piece))
			b.used = 0
		}
		k := copy(b.pieces[len(b.pieces)-1][b.used:], p)
		b.used += k
		p = p[k:]
	}
	return n, nil
}

// len is the number of bytes that were written.
func (b *body) len() int {
	if len(b.pieces) == 0 {
		return 0
	}
	return (len(b.pieces)-1)*len(piece{}) + b.used
}

// WriteTo writes everything to w.
func (b *body) WriteTo(w io.Writer) (written int64, err error) {
	for i, p := range b.pieces {
		part := p[:]
		if i == len(b.pieces)-1 {
			part = p[:b.used]
		}
		n, err := w.Write(part)
		written += int64(n)
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// free gives the memory back. The body is empty afterwards.
func (b *body) free() {
	for _, p := range b.pieces {
		pieces.Put(p)
	}
	*b = body{}
}
