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
)

const (
	ledgerFile    = "ledger.db"
	ledgerVersion = 1
	// A daemon does not wait long for who reads; who reads waits for the daemon.
	writerPatience = 100 * time.Millisecond
	readerPatience = 5 * time.Second
	// maxChanges bounds what is kept while nothing can be written.
	maxChanges = 10_000
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

	file sync.Mutex // one transaction at a time: the file's lock holds off this process too

	mu       sync.Mutex
	changes  []change
	lastCall int64
}

// A change puts a value under a key, or removes the key where it is nil.
type change struct{ bucket, key, value []byte }

// put keeps a change, in place of an earlier one of the same key.
func (l *ledger) put(c change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changes = slices.DeleteFunc(l.changes, func(o change) bool {
		return bytes.Equal(o.bucket, c.bucket) && bytes.Equal(o.key, c.key)
	})
	if len(l.changes) >= maxChanges {
		l.changes = slices.Delete(l.changes, 0, 1)
	}
	l.changes = append(l.changes, c)
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

// flush writes the changes that wait. They go on waiting after an error.
func (l *ledger) flush() error {
	l.mu.Lock()
	waiting := slices.Clone(l.changes)
	l.mu.Unlock()
	if len(waiting) == 0 {
		return nil
	}
	if err := l.update(func(tx *bbolt.Tx) error { return apply(tx, waiting) }); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	written := map[*byte]bool{}
	for _, c := range waiting {
		written[&c.key[0]] = true
	}
	// A later change of the same key has a key slice of its own.
	l.changes = slices.DeleteFunc(l.changes, func(c change) bool { return written[&c.key[0]] })
	return nil
}

func apply(tx *bbolt.Tx, changes []change) error {
	for _, c := range changes {
		b := tx.Bucket(c.bucket)
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
	if rerr := os.Rename(l.path, aside); rerr != nil {
		return errors.Join(err, rerr)
	}
	return fmt.Errorf("%w: it was moved to %s", err, aside)
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
		if bytes.Equal(c.bucket, bucket) && in(c.key) {
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
	return l.update(func(tx *bbolt.Tx) error { return apply(tx, old) })
}
