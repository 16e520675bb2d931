package queue

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"sync/atomic"
)

// A Position is how far a reader has come. Entry and Limit are the reader's
// own: how much of the record at Offset is done, and where what is under way ends.
type Position struct {
	Segment      uint64
	Offset       int64
	Entry, Limit uint32
}

func (p Position) before(o Position) bool {
	return p.Segment < o.Segment || p.Segment == o.Segment && p.Offset < o.Offset
}

// A Record is what a reader gets. Its payload is valid until the next.
type Record struct {
	Type    byte
	Payload []byte
	// At is the record's position, Next that of what comes after it in its segment.
	At, Next Position
	// Seen says that the record was done before a restart: it is read again for
	// what its segment's other records need.
	Seen bool
	// Dropped says that the record's segment had to go: it is read to be counted.
	Dropped bool
}

// A Reader reads a queue from its own position, which outlives the process. Its
// methods belong to one goroutine.
type Reader struct {
	q     *Queue
	name  string
	saved Position
	file  File   // of the position; nil where it cannot be kept
	turn  uint64 // of the next position written

	// Written by the reader under the queue's mu.
	at     uint64 // segment
	offset int64
	seg    *segment
	buf    []byte

	pending atomic.Int64 // what Pending last said
}

// The position is kept twice, each time with a number and a sum, and written in
// turns: a write that was cut off leaves the one before.
const (
	slotBytes   = 64
	cursorBytes = 8 + 8 + 8 + 4 + 4 + 4
)

const cursorSuffix = ".pos"

// Reader returns the reader of a name. One that was not there before begins
// with the next record; one whose position is damaged begins with the oldest.
func (q *Queue) Reader(name string) *Reader {
	r := &Reader{q: q, name: name}
	known := r.load()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.next = max(q.next, r.saved.Segment+1)
	if !known {
		r.saved = Position{}
		if n := len(q.segments); n > 0 {
			r.saved = Position{Segment: q.segments[n-1].id, Offset: q.segments[n-1].size}
		}
	}
	r.at = r.saved.Segment
	q.readers = append(q.readers, r)
	return r
}

// Close ends the reader; its position is kept for the next reader of its name.
func (r *Reader) Close() error {
	r.q.mu.Lock()
	defer r.q.mu.Unlock()
	r.q.readers = slices.DeleteFunc(r.q.readers, func(other *Reader) bool { return other == r })
	r.q.collect()
	if r.file == nil {
		return nil
	}
	delete(r.q.dirty, r.file)
	return errors.Join(r.file.Sync(), r.file.Close())
}

// Forget removes the positions of readers that are not among the names.
func (q *Queue) Forget(except []string) {
	names, err := q.o.FS.Names()
	q.fault(err)
	for _, file := range names {
		if name, ok := strings.CutSuffix(file, cursorSuffix); ok && !slices.Contains(except, name) {
			q.fault(q.o.FS.Remove(file))
		}
	}
}

// load reads the position of earlier and reports whether there was one. A
// damaged one counts as the very first.
func (r *Reader) load() (known bool) {
	names, err := r.q.o.FS.Names()
	r.q.fault(err)
	known = slices.Contains(names, r.name+cursorSuffix)
	if r.file, err = r.q.o.FS.Open(r.name + cursorSuffix); err != nil {
		r.q.fault(fmt.Errorf("open position: %w", err))
		r.q.o.Log.Error("the position of a reader cannot be kept: a restart begins with the oldest record there is", "reader", r.name, "err", err)
		r.file = nil
		return known
	}
	r.q.mu.Lock()
	r.q.folder = true
	r.q.mu.Unlock()
	if !known {
		return false
	}
	whole := false
	var slot [slotBytes]byte
	for i := range int64(2) {
		if _, err := r.file.ReadAt(slot[:cursorBytes], i*slotBytes); err != nil {
			continue
		}
		turn := binary.LittleEndian.Uint64(slot[:])
		if crc32.Checksum(slot[:cursorBytes-4], castagnoli) != binary.LittleEndian.Uint32(slot[cursorBytes-4:]) || turn < r.turn || turn == 0 {
			continue
		}
		whole = true
		r.turn = turn
		r.saved = Position{
			binary.LittleEndian.Uint64(slot[8:]), int64(binary.LittleEndian.Uint64(slot[16:])),
			binary.LittleEndian.Uint32(slot[24:]), binary.LittleEndian.Uint32(slot[28:]),
		}
	}
	if size, _ := r.file.Size(); !whole && size > 0 {
		r.q.o.Log.Error("the position of a reader is damaged: it begins with the oldest record there is", "reader", r.name)
	}
	return true
}

// Commit keeps a position: it outlives the process when Commit returns.
func (r *Reader) Commit(p Position) {
	r.saved = p
	if r.file == nil {
		return
	}
	r.turn++
	var slot [slotBytes]byte
	binary.LittleEndian.PutUint64(slot[:], r.turn)
	binary.LittleEndian.PutUint64(slot[8:], p.Segment)
	binary.LittleEndian.PutUint64(slot[16:], uint64(p.Offset))
	binary.LittleEndian.PutUint32(slot[24:], p.Entry)
	binary.LittleEndian.PutUint32(slot[28:], p.Limit)
	binary.LittleEndian.PutUint32(slot[cursorBytes-4:], crc32.Checksum(slot[:cursorBytes-4], castagnoli))
	if _, err := r.file.WriteAt(slot[:], int64(r.turn%2)*slotBytes); err != nil {
		r.q.fault(fmt.Errorf("write position: %w", err))
		return
	}
	r.q.mu.Lock()
	r.q.dirty[r.file] = true
	r.q.mu.Unlock()
}

// Saved is the position last committed.
func (r *Reader) Saved() Position { return r.saved }

// Next returns the next record, waiting for it until ctx ends. All records of
// a segment come, those before the saved position as Seen.
func (r *Reader) Next(ctx context.Context) (Record, error) {
	for {
		size, changed, ok := r.look()
		if ok {
			if rec, whole := r.read(size); whole {
				return rec, nil
			}
			continue
		}
		select {
		case <-ctx.Done():
			return Record{}, ctx.Err()
		case <-changed:
		}
	}
}

// More reports whether Next would return at once.
func (r *Reader) More() bool {
	_, _, ok := r.look()
	return ok
}

// look finds the segment to read on in and reports whether it has more.
func (r *Reader) look() (size int64, changed <-chan struct{}, ok bool) {
	q := r.q
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, s := range q.segments {
		if s.id < r.at {
			continue
		}
		if s != r.seg {
			// What lies before is done, or was never there to be read.
			r.seg, r.at, r.offset = s, s.id, int64(len(version))
			q.collect()
		}
		if r.offset < s.size {
			return s.size, nil, true
		}
		if s == q.segments[len(q.segments)-1] {
			break
		}
		r.at = s.id + 1
	}
	return 0, q.changed, false
}

// read reads the frame at the offset; whole is false where it was damaged and skipped.
func (r *Reader) read(size int64) (rec Record, whole bool) {
	var err error
	r.buf, err = readFrame(r.seg.file, r.offset, size, r.buf)
	if errors.Is(err, errDamaged) {
		next, err := findFrame(r.seg.file, r.offset, size)
		if err != nil {
			r.unreadable(size, err)
			return rec, false
		}
		if p := (Position{Segment: r.seg.id, Offset: r.offset}); !p.before(r.saved) {
			r.q.damaged(r.seg.id, r.offset, next-r.offset)
		}
		r.move(next)
		return rec, false
	}
	if err != nil {
		r.unreadable(size, err)
		return rec, false
	}
	at := Position{Segment: r.seg.id, Offset: r.offset}
	r.q.mu.Lock()
	dropped := r.seg.dropped
	r.q.mu.Unlock()
	next := r.offset + int64(len(r.buf))
	rec = Record{
		Type: r.buf[12], Payload: r.buf[frameHeader:], Seen: at.before(r.saved), Dropped: dropped,
		At: at, Next: Position{Segment: r.seg.id, Offset: next},
	}
	r.move(next)
	return rec, true
}

// unreadable gives up on the rest of a segment that the disk does not give back.
func (r *Reader) unreadable(size int64, err error) {
	r.q.fault(err)
	r.q.damaged(r.seg.id, r.offset, size-r.offset)
	r.move(size)
}

func (r *Reader) move(offset int64) {
	r.q.mu.Lock()
	r.offset = offset
	r.q.mu.Unlock()
}

// Pending is how many bytes the reader has not read yet.
func (r *Reader) Pending() (n int64) {
	if !r.q.mu.TryLock() {
		return r.pending.Load()
	}
	defer r.q.mu.Unlock()
	defer func() { r.pending.Store(n) }()
	for _, s := range r.q.segments {
		if s == r.seg {
			n += s.size - r.offset
		} else if s.id >= r.at {
			n += s.size - int64(len(version))
		}
	}
	return n
}

// Dropped reports whether the segment of the record that was read last had to go.
func (r *Reader) Dropped() bool {
	r.q.mu.Lock()
	defer r.q.mu.Unlock()
	return r.seg != nil && r.seg.dropped
}
