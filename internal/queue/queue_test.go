package queue

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// opened returns a queue that has read its folder.
func opened(o Options) *Queue {
	q := New(o)
	q.Load()
	return q
}

// disk is a file system in memory that fills up, fails, and forgets what was
// not synced when the power goes.
type disk struct {
	mu    sync.Mutex
	files map[string]*diskFile
	kept  map[string]bool // names that a sync of the folder made last
	room  int64           // bytes that can be written; negative for any number
	fail  error           // of every write and every new file
}

type diskFile struct {
	d      *disk
	data   []byte
	synced []byte
}

func newDisk() *disk { return &disk{files: map[string]*diskFile{}, kept: map[string]bool{}, room: -1} }

func (d *disk) Open(name string) (File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.files[name]; f != nil {
		return f, nil
	}
	if d.fail != nil {
		return nil, d.fail
	}
	f := &diskFile{d: d}
	d.files[name] = f
	return f, nil
}

func (d *disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.files, name)
	return nil
}

func (d *disk) Names() (names []string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name := range d.files {
		names = append(names, name)
	}
	return names, nil
}

func (d *disk) Sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.kept)
	for name := range d.files {
		d.kept[name] = true
	}
	return nil
}

// powerLoss is what the disk is after the power went.
func (d *disk) powerLoss() *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	after := newDisk()
	for name, f := range d.files {
		if d.kept[name] {
			after.files[name] = &diskFile{d: after, data: slices.Clone(f.synced), synced: slices.Clone(f.synced)}
			after.kept[name] = true
		}
	}
	return after
}

func (f *diskFile) ReadAt(p []byte, at int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if at >= int64(len(f.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.data[at:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *diskFile) WriteAt(p []byte, at int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.fail != nil {
		return 0, f.d.fail
	}
	n, err := len(p), error(nil)
	if f.d.room >= 0 && int64(n) > f.d.room {
		n, err = int(f.d.room), syscall.ENOSPC // as a real disk, it writes what it can
	}
	if f.d.room >= 0 {
		f.d.room -= int64(n)
	}
	if end := at + int64(n); end > int64(len(f.data)) {
		f.data = append(f.data, make([]byte, end-int64(len(f.data)))...)
	}
	copy(f.data[at:], p[:n])
	return n, err
}

func (f *diskFile) Truncate(size int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	f.data = f.data[:min(size, int64(len(f.data)))]
	return nil
}

func (f *diskFile) Size() (int64, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return int64(len(f.data)), nil
}

func (f *diskFile) Sync() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	f.synced = slices.Clone(f.data)
	return nil
}

func (f *diskFile) Close() error { return nil }

// number is a record that holds its number and is some bytes long.
func number(n, length int) func([]byte, bool) []byte {
	return func(dst []byte, _ bool) []byte {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(n))
		for i := range length {
			dst = append(dst, byte(n+i))
		}
		return dst
	}
}

// rest reads what a reader has not seen: numbers of records that are not dropped, and of those that are.
func rest(t *testing.T, r *Reader) (got, dropped []int) {
	t.Helper()
	for r.More() {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		rec, err := r.Next(ctx)
		cancel()
		if err != nil {
			break // what was left was damaged
		}
		n := int(binary.LittleEndian.Uint32(rec.Payload))
		for i, c := range rec.Payload[4:] {
			if c != byte(n+i) {
				t.Fatalf("record %d holds other bytes than were written", n)
			}
		}
		switch {
		case rec.Seen:
		case rec.Dropped:
			dropped = append(dropped, n)
		default:
			got = append(got, n)
		}
		r.Commit(rec.Next)
	}
	return got, dropped
}

func upTo(from, to int) (all []int) {
	for n := from; n < to; n++ {
		all = append(all, n)
	}
	return all
}

func appendAll(t *testing.T, q *Queue, from, to, length int) {
	t.Helper()
	for n := from; n < to; n++ {
		if err := q.Append(1, number(n, length)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReadersGoOnWhereTheyWereAfterARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n, next := 0, map[string]int{"a": 0, "b": 0}
	for round := range 20 {
		q := opened(Options{FS: Dir(dir), MaxBytes: 1 << 30})
		readers := map[string]*Reader{"a": q.Reader("a"), "b": q.Reader("b")}
		more := rand.N(40)
		appendAll(t, q, n, n+more, 5000)
		n += more
		for name, r := range readers {
			for range rand.N(40) {
				if next[name] == n {
					break
				}
				rec, err := r.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if rec.Seen {
					continue
				}
				if got := int(binary.LittleEndian.Uint32(rec.Payload)); got != next[name] {
					t.Fatalf("round %d: reader %s gets record %d, want %d", round, name, got, next[name])
				}
				r.Commit(rec.Next)
				next[name]++
			}
		}
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// What all readers have passed is gone, but for the segment of the last record.
	q := opened(Options{FS: Dir(dir)})
	rest(t, q.Reader("a"))
	rest(t, q.Reader("b"))
	if files, _ := filepath.Glob(dir + "/*.seg"); len(files) > 1 {
		t.Errorf("%d segments are left when all is read, want at most 1", len(files))
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestATornEndIsCutOff(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	q := opened(Options{FS: Dir(dir)})
	q.Reader("a")
	appendAll(t, q, 0, 5, 100)
	_ = q.Close()
	files, _ := filepath.Glob(dir + "/*.seg")
	whole, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	frame := frameHeader + 104
	stride := 1
	if testing.Short() {
		stride = 5 // no divisor of a frame's length: all parts of a frame are cut
	}
	for cut := len(version); cut < len(whole); cut += stride {
		if err := os.WriteFile(files[0], whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		q := opened(Options{FS: Dir(dir)})
		got, _ := rest(t, &Reader{q: q})
		if want := (cut - len(version)) / frame; len(got) != want {
			t.Fatalf("cut at %d: %d records, want %d", cut, len(got), want)
		}
		_ = q.segments[0].file.Close()
		if at, _ := os.Stat(files[0]); (at.Size()-int64(len(version)))%int64(frame) != 0 {
			t.Fatalf("cut at %d: the file is %d bytes long after opening it", cut, at.Size())
		}
	}
}

func TestABitCostsOneRecord(t *testing.T) {
	t.Parallel()
	d := newDisk()
	q := opened(Options{FS: d})
	q.Reader("a")
	appendAll(t, q, 0, 100, 50)
	whole := slices.Clone(d.files[segmentName(1)].data)
	for range 1000 {
		broken := slices.Clone(whole)
		at := rand.N(len(broken))
		broken[at] ^= 1 << rand.N(8)
		after := newDisk()
		after.files[segmentName(1)] = &diskFile{d: after, data: broken}
		var lost int64
		q := opened(Options{FS: after, Damaged: func(_ uint64, _, n int64) { lost += n }})
		got, _ := rest(t, &Reader{q: q})
		switch {
		case at < len(version):
			if len(got) != 0 {
				t.Fatalf("bit at %d: %d records of a segment of no known version", at, len(got))
			}
		case len(got) != 99 || lost != int64(frameHeader+54):
			t.Fatalf("bit at %d: %d records and %d bytes said to be lost, want 99 and one record's", at, len(got), lost)
		}
		appendAll(t, q, 100, 101, 50) // and it goes on
	}
}

func TestTheOldestIsDroppedAndMarked(t *testing.T) {
	q := opened(Options{FS: Dir(t.TempDir()), MaxBytes: 1 << 20})
	r := q.Reader("a")
	appendAll(t, q, 0, 300, 10_000) // 3 MB
	if b := q.Stats().Bytes; b > 1<<20 {
		t.Errorf("%d bytes are kept, want at most 1 MiB", b)
	}
	got, dropped := rest(t, r)
	if diff := cmp.Diff(upTo(0, 300), append(dropped, got...)); diff != "" {
		t.Errorf("dropped and kept (-want +got):\n%s", diff)
	}
	if len(got) < 80 {
		t.Errorf("%d records of 10 kB are kept of 1 MiB", len(got))
	}
	_ = q.Close()
}

func TestOtherBoundsCountAtOnce(t *testing.T) {
	t.Parallel()
	q := opened(Options{FS: newDisk(), MaxBytes: 64 << 20})
	defer q.Close()
	payload := make([]byte, 100<<10)
	for range 80 { // two segments of 4 MiB
		if err := q.Append(1, func(dst []byte, _ bool) []byte { return append(dst, payload...) }); err != nil {
			t.Fatal(err)
		}
	}
	before := q.Stats()
	q.Configure(1<<20, time.Second)
	if after := q.Stats(); before.Bytes < 7<<20 || after.Bytes >= before.Bytes {
		t.Errorf("the queue has %d bytes, %d after its bound became 1 MiB", before.Bytes, after.Bytes)
	}
}

func TestAFullDiskIsOutlived(t *testing.T) {
	for name, fill := range map[string]func(*disk){
		"full":      func(d *disk) { d.room = 1000 },
		"read-only": func(d *disk) { d.fail = syscall.EROFS },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisk()
			faults := 0
			q := opened(Options{FS: d, Fault: func(error) { faults++ }})
			r := q.Reader("a")
			appendAll(t, q, 0, 10, 300)
			d.mu.Lock()
			fill(d)
			d.mu.Unlock()
			appendAll(t, q, 10, 50, 300)
			if q.Stats().InMemory == 0 || faults == 0 {
				t.Errorf("%d bytes in memory and %d faults, want both", q.Stats().InMemory, faults)
			}
			d.mu.Lock()
			d.room, d.fail = -1, nil
			d.mu.Unlock()
			q.segments[len(q.segments)-1].began = time.Now().Add(-retryDisk)
			appendAll(t, q, 50, 60, 300)
			if q.current.inMemory {
				t.Error("the disk takes records again, but is not used")
			}
			got, dropped := rest(t, r)
			if diff := cmp.Diff(upTo(0, 60), got); diff != "" || len(dropped) > 0 {
				t.Errorf("records (-want +got):\n%s", diff)
			}
		})
	}
}

func TestALossOfPowerCostsWhatWasNotSynced(t *testing.T) {
	t.Parallel()
	rounds := 200
	if testing.Short() {
		rounds = 40
	}
	for range rounds {
		d := newDisk()
		q := opened(Options{FS: d})
		r := q.Reader("a")
		q.Sync()
		n := 0
		for range rand.N(6) {
			more := rand.N(30)
			appendAll(t, q, n, n+more, rand.N(20_000))
			n += more
			q.Sync()
		}
		lost := rand.N(5)
		appendAll(t, q, n, n+lost, 100)
		_ = r

		q = opened(Options{FS: d.powerLoss()})
		got, _ := rest(t, q.Reader("a"))
		if len(got) < n || !slices.Equal(got, upTo(0, len(got))) {
			t.Fatalf("%d records after a loss of power, want at least the %d that were synced", len(got), n)
		}
	}
}

// A segment that was begun and got no record must not push out the last record
// there is: who starts next needs it to know what came last.
func TestTheLastRecordStays(t *testing.T) {
	d := newDisk()
	q := opened(Options{FS: d})
	r := q.Reader("a")
	appendAll(t, q, 0, 3, 10)
	rest(t, r)
	d.files[segmentName(2)] = &diskFile{d: d, data: []byte(version)}

	q = opened(Options{FS: d})
	rest(t, q.Reader("a"))
	last := -1
	q.Last(func(_ byte, payload []byte) { last = int(binary.LittleEndian.Uint32(payload)) })
	if last != 2 {
		t.Errorf("the last record is %d, want 2", last)
	}
}

func TestAPositionOutlivesATornWrite(t *testing.T) {
	d := newDisk()
	q := opened(Options{FS: d})
	r := q.Reader("a")
	appendAll(t, q, 0, 10, 10)
	var at []Position
	for range 5 {
		rec, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r.Commit(rec.Next)
		at = append(at, rec.Next)
	}
	file := d.files["a"+cursorSuffix]
	last := int(r.turn%2) * slotBytes
	for i := range cursorBytes {
		whole := file.data[last+i]
		file.data[last+i] ^= 0xff
		again := &Reader{q: q, name: "a"}
		if again.load(); again.saved != at[3] {
			t.Fatalf("byte %d damaged: position %+v, want the one before, %+v", i, again.saved, at[3])
		}
		file.data[last+i] = whole
	}
}

func FuzzSegment(f *testing.F) {
	d := newDisk()
	q := opened(Options{FS: d})
	q.Reader("a")
	for n := range 3 {
		if err := q.Append(1, number(n, 20)); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(slices.Clone(d.files[segmentName(1)].data))
	f.Fuzz(func(t *testing.T, data []byte) {
		d := newDisk()
		d.files[segmentName(1)] = &diskFile{d: d, data: data}
		q := opened(Options{FS: d})
		r := &Reader{q: q}
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // Next takes what there is and then ends
		for {
			if _, err := r.Next(ctx); errors.Is(err, context.Canceled) {
				break
			} else if err != nil {
				t.Fatal(fmt.Errorf("a damaged segment stops the reader: %w", err))
			}
		}
	})
}
