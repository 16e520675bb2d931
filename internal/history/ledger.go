package history

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/queue"
)

const (
	ledgerFile    = "ledger.db"
	ledgerVersion = 1
	// A daemon does not wait long for who reads; who reads waits for the daemon.
	writerPatience = 100 * time.Millisecond
	readerPatience = 5 * time.Second
	// maxChanges bounds what is kept while nothing can be written.
	maxChanges = 10_000
	// atOnce bounds the changes of one transaction, whose pages the file needs beside those that it holds.
	atOnce = 1000
	// ledgerShare is the share of the history's bytes that the file may take.
	ledgerShare = 0.25
	// bbolt splits a page in two when it is full, and doubles its file when there is no room, so that the file takes up
	// to four times what it holds.
	fullPages = 0.25
	// trimTo is the share of what the ledger may hold that is left when the oldest events go: they go in lots.
	trimTo = 0.9
	// perEntry is what bbolt needs for an entry beside key and value.
	perEntry = 16
)

var (
	metaBucket     = []byte("meta")
	eventsBucket   = []byte("events")
	findingsBucket = []byte("findings")
	stateBucket    = []byte("state")
	versionKey     = []byte("version")

	errBusy    = errors.New("another process holds the events and findings")
	errDamaged = errors.New("it is damaged")
)

// A ledger keeps events and findings in a bbolt file. The file is open during
// transactions only, so that another process can read it. Changes wait in memory
// until they are written.
type ledger struct {
	path     string
	readOnly bool
	maxBytes int64                         // of the file; 0 is no bound
	dropped  func(events int, why string)  // is called when changes are lost; may be nil
	disk     func() error                  // is called before each transaction; may be nil
	moved    func(aside string, why error) // is called when a file was set aside; may be nil

	flushing sync.Mutex // one flight at a time, and what it says of itself; taken before file and mu

	file    sync.Mutex // one transaction at a time: the file's lock holds off this process too
	holds   int64      // bytes of events in the file
	counted bool       // holds is known

	mu       sync.Mutex
	changes  []*pending          // in order
	latest   map[string]*pending // by bucket and key
	lastCall int64
	next     *flight // takes the changes of who asks now; nil for nobody yet
}

// A change puts a value under a key, or removes the key where it is nil.
type change struct{ bucket, key, value []byte }

// A pending change waits to be written.
type pending struct {
	change
	void bool // a later one of the same key replaced it
}

func (c *change) id() string { return string(c.bucket) + "\x00" + string(c.key) }

// put keeps a change, in place of an earlier one of the same key.
func (l *ledger) put(c change) {
	l.mu.Lock()
	if l.latest == nil {
		l.latest = map[string]*pending{}
	}
	id := c.id()
	if was := l.latest[id]; was != nil {
		was.void = true
	}
	l.latest[id] = &pending{change: c}
	l.changes = append(l.changes, l.latest[id])
	lost := 0
	for len(l.latest) > maxChanges {
		oldest := l.changes[0]
		l.changes = l.changes[1:]
		if !oldest.void {
			delete(l.latest, oldest.id())
			lost++
		}
	}
	if len(l.changes) > 2*maxChanges {
		l.changes = slices.DeleteFunc(l.changes, func(c *pending) bool { return c.void })
	}
	l.mu.Unlock()
	if lost > 0 {
		l.lost(lost, "they could not be written for too long")
	}
}

// lost reports events that nobody will see again.
func (l *ledger) lost(events int, why string) {
	if l.dropped != nil {
		l.dropped(events, why)
	}
}

// eventKey orders events by time, those of one instant by the order of calls.
func (l *ledger) eventKey(at time.Time) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lastCall = max(l.lastCall+1, time.Now().UnixNano())
	return binary.BigEndian.AppendUint64(timeKey(at), uint64(l.lastCall))
}

// timeKey sorts as times do.
func timeKey(t time.Time) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(t.UnixNano())^1<<63)
}

// A flight writes the changes of all who asked for it before it began.
type flight struct {
	over bool
	err  error
}

// flush writes the changes that wait. They go on waiting after an error. Calls that come
// while changes are being written share the next transaction: hundreds of schedules that
// begin at once would otherwise wait for one each.
func (l *ledger) flush() error {
	l.mu.Lock()
	if l.next == nil {
		l.next = &flight{}
	}
	mine := l.next
	l.mu.Unlock()
	l.flushing.Lock()
	defer l.flushing.Unlock()
	if mine.over {
		return mine.err
	}
	l.mu.Lock()
	l.next = nil
	l.mu.Unlock()
	mine.over, mine.err = true, l.write()
	return mine.err
}

// write writes the changes that wait; the caller holds flushing.
func (l *ledger) write() error {
	l.mu.Lock()
	waiting := make([]*pending, 0, len(l.latest))
	changes := make([]change, 0, len(l.latest))
	for _, c := range l.changes {
		if !c.void {
			waiting, changes = append(waiting, c), append(changes, c.change)
		}
	}
	l.mu.Unlock()
	if len(waiting) == 0 {
		return nil
	}
	trimmed := 0
	for lot := range slices.Chunk(changes, atOnce) {
		err := l.update(func(tx *bbolt.Tx) error {
			if err := l.apply(tx, lot); err != nil {
				return err
			}
			n, err := l.trim(tx)
			trimmed += n
			return err
		})
		if err != nil {
			l.recount()
			return err
		}
	}
	if trimmed > 0 {
		l.lost(trimmed, "they were the oldest, and history.max_size has no room for more")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range waiting {
		c.void = true
		if id := c.id(); l.latest[id] == c {
			delete(l.latest, id)
		}
	}
	l.changes = slices.DeleteFunc(l.changes, func(c *pending) bool { return c.void })
	return nil
}

// apply makes changes, and counts what events take.
func (l *ledger) apply(tx *bbolt.Tx, changes []change) error {
	if err := l.count(tx); err != nil {
		return err
	}
	for _, c := range changes {
		b := tx.Bucket(c.bucket)
		if bytes.Equal(c.bucket, eventsBucket) {
			if was := b.Get(c.key); was != nil {
				l.holds -= entrySize(c.key, was)
			}
			if c.value != nil {
				l.holds += entrySize(c.key, c.value)
			}
		}
		var err error
		if c.value == nil {
			err = b.Delete(c.key)
		} else {
			err = b.Put(c.key, c.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func entrySize(key, value []byte) int64 { return int64(len(key) + len(value) + perEntry) }

// count adds up what the events in the file take, once.
func (l *ledger) count(tx *bbolt.Tx) error {
	if l.counted {
		return nil
	}
	l.holds, l.counted = 0, true
	return tx.Bucket(eventsBucket).ForEach(func(k, v []byte) error {
		l.holds += entrySize(k, v)
		return nil
	})
}

// recount has the next transaction count anew, because the last one came to nothing.
func (l *ledger) recount() {
	l.file.Lock()
	defer l.file.Unlock()
	l.counted = false
}

// trim removes the oldest events while there are more than the file has room for, and returns how many.
func (l *ledger) trim(tx *bbolt.Tx) (n int, err error) {
	most := int64(float64(l.maxBytes) * fullPages)
	if l.maxBytes == 0 || l.holds <= most {
		return 0, nil
	}
	b := tx.Bucket(eventsBucket)
	var old [][]byte
	c := b.Cursor()
	for k, v := c.First(); k != nil && l.holds > int64(float64(most)*trimTo); k, v = c.Next() {
		l.holds -= entrySize(k, v)
		old = append(old, bytes.Clone(k))
	}
	for _, k := range old {
		if err := b.Delete(k); err != nil {
			return 0, err
		}
	}
	return len(old), nil
}

// shrink writes the file anew where it is larger than it may be and holds less: bbolt keeps pages that are free.
func (l *ledger) shrink() error {
	if l.maxBytes == 0 || l.size() <= l.maxBytes {
		return nil
	}
	small := l.path + partSuffix
	defer os.Remove(small) // nothing is there once it is in place
	err := l.transact(false, func(tx *bbolt.Tx) error {
		if err := l.count(tx); err != nil {
			return err
		}
		trimmed, err := l.trim(tx)
		if trimmed > 0 {
			l.lost(trimmed, "they were the oldest, and history.max_size has no room for more")
		}
		return err
	})
	if err != nil {
		return err
	}
	l.file.Lock()
	defer l.file.Unlock()
	return guard(func() error {
		o := *bbolt.DefaultOptions
		o.ReadOnly, o.Timeout = true, writerPatience
		from, err := bbolt.Open(l.path, 0o644, &o)
		if err != nil {
			return err
		}
		to, err := bbolt.Open(small, 0o644, bbolt.DefaultOptions)
		if err != nil {
			return errors.Join(err, from.Close())
		}
		if err := errors.Join(bbolt.Compact(to, from, 1<<20), to.Close(), from.Close()); err != nil {
			return err
		}
		return os.Rename(small, l.path)
	})
}

// update changes the file, which it makes where it is missing.
func (l *ledger) update(change func(*bbolt.Tx) error) error {
	if err := os.MkdirAll(filepath.Dir(l.path), 0o755); err != nil {
		return fmt.Errorf("make history: %w", err)
	}
	return l.transact(false, func(tx *bbolt.Tx) error {
		meta, err := tx.CreateBucketIfNotExists(metaBucket)
		if err == nil && meta.Get(versionKey) == nil {
			err = meta.Put(versionKey, []byte{ledgerVersion})
		}
		for _, name := range [][]byte{eventsBucket, findingsBucket, stateBucket} {
			if err == nil {
				_, err = tx.CreateBucketIfNotExists(name)
			}
		}
		if err != nil {
			return err
		}
		return change(tx)
	})
}

// view reads the file. One that is missing or was never written is not visited.
func (l *ledger) view(visit func(*bbolt.Tx) error) error {
	if l.size() == 0 {
		return nil
	}
	return l.transact(true, func(tx *bbolt.Tx) error {
		if tx.Bucket(eventsBucket) == nil || tx.Bucket(findingsBucket) == nil {
			return nil
		}
		return visit(tx)
	})
}

// transact opens the file for one transaction. A damaged file is set aside by
// the process that may write.
func (l *ledger) transact(readOnly bool, do func(*bbolt.Tx) error) error {
	l.file.Lock()
	defer l.file.Unlock()
	if l.disk != nil {
		if err := l.disk(); err != nil {
			return err
		}
	}
	if err := queue.CheckRegular(l.path); errors.Is(err, queue.ErrNotAFile) {
		return l.setAside(err)
	}
	if err := l.cutHole(); err != nil {
		return l.setAside(err)
	}
	o := *bbolt.DefaultOptions
	o.ReadOnly, o.Timeout = readOnly, writerPatience
	if l.readOnly {
		o.Timeout = readerPatience
	}
	var db *bbolt.DB
	err := guard(func() (err error) {
		db, err = bbolt.Open(l.path, 0o644, &o)
		return err
	})
	switch errno := syscall.Errno(0); {
	case err == nil:
	case errors.Is(err, berrors.ErrTimeout):
		return errBusy
	case errors.As(err, &errno):
		return fmt.Errorf("open %s: %w", l.path, err)
	default:
		return l.setAside(err)
	}
	in := db.Update
	if readOnly {
		in = db.View
	}
	err = guard(func() error {
		return in(func(tx *bbolt.Tx) error {
			if err := l.checkVersion(tx); err != nil {
				return err
			}
			return do(tx)
		})
	})
	if errors.Is(err, errDamaged) {
		return l.setAside(err) // and left open: closing it could wait for its own lock
	}
	if err = errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("%s: %w", l.path, err)
	}
	return nil
}

// guard turns bbolt's panics about damaged pages, and faults where its file is
// shorter than it says, into errors.
func guard(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errDamaged, p)
		}
	}()
	return do()
}

func (l *ledger) setAside(why error) error {
	err := fmt.Errorf("open %s: %w", l.path, why)
	if l.readOnly {
		return err
	}
	aside := l.path + ".damaged"
	if os.Rename(l.path, aside) != nil { // a folder is in the way
		aside += time.Now().UTC().Format("-20060102T150405")
		if rerr := os.Rename(l.path, aside); rerr != nil {
			return errors.Join(err, rerr)
		}
	}
	l.counted = false
	if l.moved != nil {
		l.moved(aside, err)
	}
	return fmt.Errorf("%w: it was moved to %s", err, aside)
}

// cutHole gives a file back its length that is sparse behind its last page: bbolt
// would map all of it into memory. It returns an error for what is no ledger.
func (l *ledger) cutHole() error {
	const (
		large = 1 << 30 // from which on a file is looked at
		// Of the first page, or the second where that is damaged: see bbolt's meta.
		magic, pageSizeAt, pagesAt, metaBytes = 0xED0CDAED, 24, 56, 80
	)
	if l.readOnly || l.size() < large {
		return nil
	}
	f, err := os.OpenFile(l.path, os.O_RDWR, 0)
	if err != nil {
		return nil //nolint:nilerr // opening it as a ledger says so
	}
	defer f.Close()
	if !isSparse(f) {
		return nil
	}
	pages := int64(0)
	page := make([]byte, metaBytes)
	for _, at := range []int64{0, int64(os.Getpagesize())} {
		if _, err := f.ReadAt(page, at); err == nil && binary.NativeEndian.Uint32(page[16:]) == magic {
			pages = max(pages, int64(binary.NativeEndian.Uint64(page[pagesAt:]))*int64(binary.NativeEndian.Uint32(page[pageSizeAt:])))
		}
	}
	if pages <= 0 || pages > l.size() {
		return errDamaged
	}
	if err := f.Truncate(pages); err != nil {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	return nil
}

func (l *ledger) checkVersion(tx *bbolt.Tx) error {
	if meta := tx.Bucket(metaBucket); meta != nil {
		if v := meta.Get(versionKey); len(v) == 1 && v[0] > ledgerVersion {
			return &NewerError{l.path, int(v[0]), ledgerVersion}
		}
	}
	return nil
}

// check refuses a file that is newer than this perfd.
func (l *ledger) check() error {
	err := l.view(func(*bbolt.Tx) error { return nil })
	if errors.Is(err, errBusy) {
		return nil // each transaction asks again
	}
	return err
}

// size is the file's length in bytes.
func (l *ledger) size() int64 {
	stat, err := os.Stat(l.path)
	if err != nil {
		return 0
	}
	return stat.Size()
}

// values returns those of a bucket whose keys begin from first to last, both
// included and nil for no bound, in order: as they will be once everything that
// waits is written.
func (l *ledger) values(bucket, first, last []byte) ([][]byte, error) {
	in := func(key []byte) bool {
		return (first == nil || bytes.Compare(key, first) >= 0) && (last == nil || bytes.Compare(key[:min(len(key), len(last))], last) <= 0)
	}
	found := map[string][]byte{}
	err := l.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucket).Cursor()
		for k, v := c.Seek(first); k != nil && in(k); k, v = c.Next() {
			found[string(k)] = bytes.Clone(v)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	for _, c := range l.changes {
		if !c.void && bytes.Equal(c.bucket, bucket) && in(c.key) {
			found[string(c.key)] = c.value
		}
	}
	l.mu.Unlock()
	var list [][]byte
	for _, k := range slices.Sorted(maps.Keys(found)) {
		if v := found[k]; v != nil {
			list = append(list, v)
		}
	}
	return list, nil
}

// prune removes the events and findings of before an instant.
func (l *ledger) prune(before time.Time) error {
	var old []change
	err := l.view(func(tx *bbolt.Tx) error {
		limit := timeKey(before)
		c := tx.Bucket(eventsBucket).Cursor()
		for k, _ := c.First(); k != nil && bytes.Compare(k, limit) < 0; k, _ = c.Next() {
			old = append(old, change{bucket: eventsBucket, key: bytes.Clone(k)})
		}
		return tx.Bucket(findingsBucket).ForEach(func(k, v []byte) error {
			var f load.Finding
			if err := json.Unmarshal(v, &f); err != nil || f.Updated.Before(before) && f.Ended.Before(before) {
				old = append(old, change{bucket: findingsBucket, key: bytes.Clone(k)})
			}
			return nil
		})
	})
	if err != nil || len(old) == 0 {
		return err
	}
	if err = l.update(func(tx *bbolt.Tx) error { return l.apply(tx, old) }); err != nil {
		l.recount()
	}
	return err
}
