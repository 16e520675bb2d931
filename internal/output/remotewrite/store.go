package remotewrite

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perfd/perfd/internal/queue"
)

// A store is what outlives a change of the endpoints: the queue on disk, which
// one process at a time can have, and what is known of the series in it.
type store struct {
	queue   *queue.Queue
	loaded  sync.Once
	encoder *encoder // the ticking goroutine's
	totals  totals
	log     *slog.Logger
}

type totals struct {
	snapshots, faults, damaged atomic.Uint64
	skipped                    [numSkips]atomic.Uint64
	last                       atomic.Int64 // timestamp of the last snapshot, ms
}

// Why a snapshot was not taken.
type skip int

const (
	skipClock  skip = iota // the clock went back
	skipGather             // the metrics could not be gathered
	skipQueue              // neither disk nor memory took it
	numSkips
)

var skipNames = [numSkips]string{"clock", "gather", "queue"}

// newStore returns a store that has read nothing from disk.
func newStore(o *Options) *store {
	s := &store{encoder: newEncoder(), log: o.Log}
	quiet := newQuiet(o.Now)
	s.queue = queue.New(queue.Options{
		FS: o.FS, MaxBytes: int64(o.Queue.MaxBytes), FsyncInterval: o.Queue.FsyncInterval.D(), Log: o.Log,
		Fault: func(err error) {
			s.totals.faults.Add(1)
			if quiet("fault") {
				s.log.Error("the disk of the remote-write queue fails", "err", err)
			}
		},
		Damaged: func(segment uint64, offset, bytes int64) {
			s.totals.damaged.Add(uint64(bytes))
			s.log.Error("a part of the remote-write queue is damaged and lost", "segment", segment, "offset", offset, "bytes", bytes)
		},
	})
	return s
}

// load reads the queue, once. It never fails: what the disk refuses is counted.
func (s *store) load() {
	s.loaded.Do(func() {
		s.queue.Load()
		s.encoder.seed(s.queue.Last)
		s.totals.last.Store(s.encoder.last)
	})
}

// newQuiet returns a function that says yes to each kind of message once a minute.
func newQuiet(now func() time.Time) func(kind string) bool {
	var mu sync.Mutex
	next := map[string]time.Time{}
	return func(kind string) bool {
		mu.Lock()
		defer mu.Unlock()
		at := now()
		if at.Before(next[kind]) {
			return false
		}
		next[kind] = at.Add(complaintInterval)
		return true
	}
}

// take puts a snapshot with a timestamp, in ms, into the queue; gather adds
// families to the encoder.
func (s *store) take(at int64, gather func() error) {
	e := s.encoder
	if at <= e.last {
		s.skip(skipClock, fmt.Errorf("the clock shows %v, and %v was the last", time.UnixMilli(at), time.UnixMilli(e.last)))
		return
	}
	e.begin(at)
	if err := protected(gather); err != nil {
		s.skip(skipGather, err)
		return
	}
	if err := s.queue.Append(snapshotRecord, e.appendTo); err != nil {
		e.failed()
		s.skip(skipQueue, err)
		return
	}
	e.done()
	// In this order, no scrape counts a snapshot that is later than the highest timestamp.
	s.totals.last.Store(at)
	s.totals.snapshots.Add(1)
}

// protected turns a panic of f into an error: a metric that cannot be gathered
// costs a snapshot, not the daemon.
func protected(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic while metrics were gathered: %v", p)
		}
	}()
	return f()
}

func (s *store) skip(why skip, err error) {
	s.totals.skipped[why].Add(1)
	s.log.Error("a snapshot for remote write is left out", "reason", skipNames[why], "err", err)
}
