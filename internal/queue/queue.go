// Package queue is a bounded FIFO of records on disk with any number of
// readers, each with a position of its own.
//
// A record is acknowledged when Append returns: write(2) of all of it returned,
// so it outlives the process; a loss of power costs at most what was written in
// the last FsyncInterval. Records lie in segments. The writer's encode
// function learns when a segment begins, so that each segment can be read by
// itself; when the queue is full its oldest segment is dropped as a whole, and
// readers that had not passed it get its records marked as dropped.
//
// Damage costs the records that it hits: a reader skips to the next whole frame. While the
// disk takes nothing (full, read-only, failing), segments are kept in a bounded
// piece of memory instead.
package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options of a Queue.
type Options struct {
	FS            FS
	MaxBytes      int64         // of all segments; 0 is 1 GiB
	FsyncInterval time.Duration // 0 is 1 s
	Log           *slog.Logger
	// Fault is called for each operation of the disk that failed; nil for nobody.
	Fault func(error)
	// Damaged is called when bytes of a segment turn out not to be what was written.
	Damaged func(segment uint64, offset, bytes int64)
}

const (
	maxSegment = 4 << 20
	minSegment = 64 << 10
	// maxMemory bounds the segments in memory; retryDisk is how long one of them grows.
	maxMemory = 32 << 20
	retryDisk = 10 * time.Second
)

// A Queue is safe for concurrent use.
type Queue struct {
	o            Options
	segmentBytes int64

	mu       sync.Mutex
	segments []*segment // oldest first; dropped ones stay until every reader is past them
	current  *segment   // takes records; nil before the first
	next     uint64     // id of the next segment
	readers  []*Reader
	changed  chan struct{} // closed when there is something new to see
	dirty    map[File]bool // has something to sync
	folder   bool          // the folder has something to sync
	frame    []byte
	closed   bool

	stats atomic.Pointer[Stats] // as they were when nobody wrote: a disk that hangs does not keep who asks
}

type segment struct {
	id       uint64
	file     File // nil for one from before that nobody opened yet
	size     int64
	inMemory bool
	dropped  bool
	began    time.Time // of one in memory
}

const segmentSuffix = ".seg"

func segmentName(id uint64) string { return fmt.Sprintf("%016x", id) + segmentSuffix }

// New returns the queue of a folder, of which nothing is known before Load.
func New(o Options) *Queue {
	if o.MaxBytes == 0 {
		o.MaxBytes = 1 << 30
	}
	if o.FsyncInterval == 0 {
		o.FsyncInterval = time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Queue{
		o: o, segmentBytes: segmentBytes(o.MaxBytes),
		next: 1, changed: make(chan struct{}), dirty: map[File]bool{},
	}
}

// Load reads what the folder holds. It comes before all readers and records, and
// is called once. It never fails: what cannot be read is reported to Fault and
// Damaged and left out. Stats does not wait for it.
func (q *Queue) Load() {
	q.mu.Lock()
	defer q.mu.Unlock()
	names, err := q.o.FS.Names()
	q.fault(err)
	for _, name := range names {
		text, ok := strings.CutSuffix(name, segmentSuffix)
		id, err := strconv.ParseUint(text, 16, 64)
		if !ok || err != nil || id == 0 || id == math.MaxUint64 || segmentName(id) != name {
			continue
		}
		q.segments = append(q.segments, &segment{id: id})
		q.next = max(q.next, id+1)
	}
	slices.SortFunc(q.segments, func(a, b *segment) int { return cmp.Compare(a.id, b.id) })
	q.segments = slices.DeleteFunc(q.segments, func(s *segment) bool { return !q.adopt(s) })
	for i, s := range q.segments {
		// A crash may leave a length that nothing was written for, which would count as bytes of the queue.
		if i == len(q.segments)-1 || s.size > 2*maxSegment {
			q.trim(s)
		}
	}
}

func segmentBytes(most int64) int64 { return min(max(most/16, minSegment), maxSegment) }

// Configure changes the bounds, as Options has them, of an open queue. The new
// FsyncInterval counts from the next Run on.
func (q *Queue) Configure(maxBytes int64, fsyncInterval time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.o.MaxBytes, q.o.FsyncInterval = maxBytes, fsyncInterval
	q.segmentBytes = segmentBytes(maxBytes)
	q.shrink()
}

// adopt opens a segment from before and reports whether it can be read.
func (q *Queue) adopt(s *segment) bool {
	file, err := q.o.FS.Open(segmentName(s.id))
	if err == nil {
		s.size, err = file.Size()
	}
	if err != nil {
		q.o.Log.Error("a segment of the queue cannot be read and is left alone", "file", segmentName(s.id), "err", err)
		q.fault(fmt.Errorf("open segment: %w", err))
		return false
	}
	s.file = file
	head := make([]byte, len(version))
	n, _ := file.ReadAt(head, 0)
	if n == len(head) && string(head) != version && strings.HasPrefix(string(head), family) {
		q.o.Log.Error("a segment of the queue is of another version of perfd and is left alone", "file", segmentName(s.id))
		q.fault(file.Close())
		return false
	}
	if string(head) != version {
		if s.size > 0 {
			q.o.Log.Warn("a file in the queue is none of its segments and was removed", "file", segmentName(s.id), "bytes", s.size)
			q.damaged(s.id, 0, s.size)
		}
		q.fault(file.Close())
		q.fault(q.o.FS.Remove(segmentName(s.id)))
		return false
	}
	return true
}

// trim cuts the torn end off the segment that was written last.
func (q *Queue) trim(s *segment) {
	at := int64(len(version))
	var buf []byte
	for at < s.size {
		frame, err := readFrame(s.file, at, s.size, buf)
		if err == nil {
			buf, at = frame, at+int64(len(frame))
			continue
		}
		next, ferr := findFrame(s.file, at, s.size)
		if q.fault(ferr); ferr != nil || next < s.size {
			at = next
			if ferr != nil {
				return
			}
			continue // damage in the middle is the readers' to report
		}
		q.o.Log.Warn("the end of a segment of the queue is damaged and was cut off", "file", segmentName(s.id), "bytes", s.size-at)
		q.damaged(s.id, at, s.size-at)
		q.fault(s.file.Truncate(at))
		s.size = at
		return
	}
}

func (q *Queue) fault(err error) {
	if err != nil && q.o.Fault != nil {
		q.o.Fault(err)
	}
}

func (q *Queue) damaged(segment uint64, offset, bytes int64) {
	if q.o.Damaged != nil {
		q.o.Damaged(segment, offset, bytes)
	}
}

// Append appends one record. encode appends its payload to dst; first says that
// the record is the first of its segment. It is called again where a segment
// failed. An error says that the record is lost.
func (q *Queue) Append(kind byte, encode func(dst []byte, first bool) []byte) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return errors.New("the queue is closed")
	}
	if s := q.current; s == nil || s.size >= q.segmentBytes || s.inMemory && time.Since(s.began) >= retryDisk {
		q.rotate(true)
	}
	err := q.write(kind, encode)
	if err != nil && !q.current.inMemory {
		q.fault(fmt.Errorf("write segment: %w", err))
		q.fault(q.current.file.Truncate(q.current.size))
		q.rotate(false)
		err = q.write(kind, encode)
	}
	if err != nil {
		return err
	}
	q.shrink()
	q.wake()
	return nil
}

func (q *Queue) write(kind byte, encode func([]byte, bool) []byte) error {
	s := q.current
	q.frame = encode(appendHeader(q.frame[:0]), s.size == int64(len(version)))
	if len(q.frame)-frameHeader > maxPayload {
		return fmt.Errorf("a record of %d bytes is too long", len(q.frame))
	}
	finishFrame(q.frame, kind)
	if _, err := s.file.WriteAt(q.frame, s.size); err != nil {
		return err
	}
	s.size += int64(len(q.frame))
	q.dirty[s.file] = true
	if cap(q.frame) > 2*maxSegment {
		q.frame = nil
	}
	return nil
}

// rotate begins a segment, on disk where that is wanted and possible.
func (q *Queue) rotate(disk bool) {
	s := &segment{id: q.next, size: int64(len(version))}
	q.next++
	var err error
	if disk {
		if s.file, err = q.o.FS.Open(segmentName(s.id)); err == nil {
			if _, err = s.file.WriteAt([]byte(version), 0); err != nil {
				q.fault(s.file.Close())
				_ = q.o.FS.Remove(segmentName(s.id))
			}
		}
		if err != nil {
			q.fault(fmt.Errorf("begin segment: %w", err))
		}
	}
	if !disk || err != nil {
		s.inMemory, s.began, s.file = true, time.Now(), &memoryFile{data: []byte(version)}
	} else {
		q.folder = true
	}
	if (q.current != nil && q.current.inMemory) != s.inMemory {
		if s.inMemory {
			q.o.Log.Error("the disk takes no records: they are kept in memory and a restart would lose them")
		} else if q.current != nil {
			q.o.Log.Info("the disk takes records again")
		}
	}
	q.segments = append(q.segments, s)
	q.current = s
}

// shrink drops the oldest segments while there is too much on disk or in memory.
func (q *Queue) shrink() {
	onDisk, inMemory := q.sizes()
	for _, s := range q.segments {
		if s == q.current || s.dropped {
			continue
		}
		over := &onDisk
		most := q.o.MaxBytes
		if s.inMemory {
			over, most = &inMemory, min(maxMemory, q.o.MaxBytes)
		}
		if *over <= most {
			continue
		}
		*over -= s.size
		s.dropped = true
		if !s.inMemory {
			q.fault(q.o.FS.Remove(segmentName(s.id)))
			q.folder = true
		}
	}
}

// sizes are the bytes of what is not dropped.
func (q *Queue) sizes() (onDisk, inMemory int64) {
	for _, s := range q.segments {
		switch {
		case s.dropped:
		case s.inMemory:
			inMemory += s.size
		default:
			onDisk += s.size
		}
	}
	return onDisk, inMemory
}

// collect removes the segments that every reader has passed. The last record
// is kept, for Last.
func (q *Queue) collect() {
	passed := uint64(math.MaxUint64)
	for _, r := range q.readers {
		passed = min(passed, r.at)
	}
	if len(q.readers) == 0 {
		passed = 0
	}
	last := q.lastFull()
	// A reader that walks over the list while it collects keeps the old one.
	q.segments = slices.DeleteFunc(slices.Clone(q.segments), func(s *segment) bool {
		if s.id >= passed || s == q.current || s == last {
			return false
		}
		delete(q.dirty, s.file)
		q.fault(s.file.Close())
		if !s.dropped && !s.inMemory {
			q.fault(q.o.FS.Remove(segmentName(s.id)))
			q.folder = true
		}
		return true
	})
}

// lastFull is the newest segment with a record in it.
func (q *Queue) lastFull() *segment {
	for _, s := range slices.Backward(q.segments) {
		if s.size > int64(len(version)) {
			return s
		}
	}
	return nil
}

// wake wakes the readers that wait for a record.
func (q *Queue) wake() {
	close(q.changed)
	q.changed = make(chan struct{})
}

// Stats of a queue.
type Stats struct {
	Bytes, InMemory int64
	Segments        int
}

// Stats returns what the queue holds now.
func (q *Queue) Stats() Stats {
	if q.mu.TryLock() {
		defer q.mu.Unlock()
		onDisk, inMemory := q.sizes()
		q.stats.Store(&Stats{onDisk + inMemory, inMemory, len(q.segments)})
	}
	if s := q.stats.Load(); s != nil {
		return *s
	}
	return Stats{}
}

// Last calls visit with each whole record of the newest segment that has any, in order.
func (q *Queue) Last(visit func(kind byte, payload []byte)) {
	q.mu.Lock()
	s := q.lastFull()
	q.mu.Unlock()
	if s == nil {
		return
	}
	var buf []byte
	for at := int64(len(version)); at < s.size; {
		frame, err := readFrame(s.file, at, s.size, buf)
		if err != nil {
			if at, err = findFrame(s.file, at, s.size); err != nil {
				q.fault(err)
				return
			}
			continue
		}
		visit(frame[12], frame[frameHeader:])
		buf, at = frame, at+int64(len(frame))
	}
}

// Run syncs what was written, each FsyncInterval, until ctx ends.
func (q *Queue) Run(ctx context.Context) {
	q.mu.Lock()
	interval := q.o.FsyncInterval
	q.mu.Unlock()
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			q.Sync()
		}
	}
}

// Sync makes everything appended and committed so far outlive a loss of power.
func (q *Queue) Sync() {
	q.mu.Lock()
	dirty, folder := q.dirty, q.folder
	q.dirty, q.folder = map[File]bool{}, false
	q.mu.Unlock()
	if folder {
		q.fault(q.o.FS.Sync())
	}
	for f := range dirty {
		// A file that was passed and closed meanwhile has nothing left to keep.
		if err := f.Sync(); !errors.Is(err, fs.ErrClosed) {
			q.fault(err)
		}
	}
}

// Close syncs and closes the queue. Its readers must have ended.
func (q *Queue) Close() error {
	q.Sync()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	var errs []error
	for _, s := range q.segments {
		errs = append(errs, s.file.Close())
	}
	for _, r := range q.readers {
		errs = append(errs, r.file.Close())
	}
	q.segments, q.current = nil, nil
	return errors.Join(errs...)
}
