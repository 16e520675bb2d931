package exposition

import (
	"io"
	"sync"
)

// A body holds what is written to it, in pieces: one slice that grows would take three
// times as much memory.
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

// An answer holds what its client has not taken yet: a client that reads slowly holds up no
// scrape, and of one that reads as fast as it is written little is ever there. One goroutine
// writes to it while another sends it.
type answer struct {
	last body // not full yet; the writer's own

	mu    sync.Mutex
	more  sync.Cond // full or ended changed
	full  []*piece
	ended bool
}

func newAnswer() *answer {
	a := new(answer)
	a.more.L = &a.mu
	return a
}

// Write appends p. It never fails.
func (a *answer) Write(p []byte) (int, error) {
	n, err := a.last.Write(p)
	if len(a.last.pieces) > 1 {
		whole := len(a.last.pieces) - 1
		a.hand(a.last.pieces[:whole], false)
		a.last.pieces = append(a.last.pieces[:0], a.last.pieces[whole])
	}
	return n, err
}

// end says that nothing is written any more.
func (a *answer) end() { a.hand(nil, true) }

func (a *answer) hand(pieces []*piece, ended bool) {
	a.mu.Lock()
	a.full = append(a.full, pieces...)
	a.ended = ended
	a.mu.Unlock()
	a.more.Signal()
}

// sendTo writes everything to w until the end. What comes after an error, which is the
// client's that went away, is thrown away.
func (a *answer) sendTo(w io.Writer) {
	var err error
	for {
		taken, ended := a.taken()
		for _, p := range taken {
			if err == nil {
				_, err = w.Write(p[:])
			}
			pieces.Put(p)
		}
		if !ended {
			continue
		}
		if err == nil {
			_, _ = a.last.WriteTo(w)
		}
		a.last.free()
		return
	}
}

// taken waits for full pieces or the end.
func (a *answer) taken() (full []*piece, ended bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.full) == 0 && !a.ended {
		a.more.Wait()
	}
	full, a.full = a.full, nil
	return full, a.ended
}

// free gives the memory back. The body is empty afterwards.
func (b *body) free() {
	for _, p := range b.pieces {
		pieces.Put(p)
	}
	*b = body{}
}
