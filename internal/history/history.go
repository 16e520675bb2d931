// Package history keeps what perfd measured on disk: windows and samples in
// tiers that grow coarser with age (as they came for 6 h, by the minute for 7 d,
// by ten minutes for as long as there is room), and events and findings. It is
// what analyses are fed when perfd starts, and what pages and `perfd analyze`
// read, beside a running daemon too.
//
// A segment holds a stretch of time in one tier and is only ever appended to.
// Thinning folds finished segments into one of the next tier and puts it in
// place by a rename: from that instant the coarser file stands for its stretch
// and the finer ones count no more, whoever lists the folder. So a crash at any
// instant, and a reader at any instant, finds each window once.
//
// What Append took outlives the process; a loss of power costs at most what was
// appended in the last second. A disk that fails costs what could not be
// written, never the daemon. docs/format/history.md describes the files.
package history

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/queue"
)

// Options of a History.
type Options struct {
	Dir      string           // made with its first file
	MaxBytes int64            // of everything in it; 0 is 2 GiB
	MaxAge   time.Duration    // of everything in it; 0 is 400 d
	Now      func() time.Time // nil is time.Now
	Log      *slog.Logger     // nil for none
	// Fault is called for each operation of the disk that failed and each piece
	// of a file that is damaged; nil for nobody.
	Fault func(error)
	// Disk is called before what reads or changes files, which fails with its error; nil for nobody.
	Disk func() error
}

// A History is safe for concurrent use.
type History struct {
	o        Options
	readOnly bool
	write    func(f *os.File, p []byte, at int64) (int, error)
	fsync    func(f *os.File) error
	ledger   ledger

	maintaining sync.Mutex
	folding     *encoder // guarded by maintaining

	sizes atomic.Pointer[[len(tiers)]int64] // when nobody wrote: a disk that hangs does not keep who asks

	mu       sync.Mutex
	segments []*segment // that count, in order of time; of a reader: none
	current  *segment   // file is its
	file     *os.File   // nil: none is open
	dirty    bool       // file has something to sync
	encoder  *encoder
	frames   []byte // being appended
	failing  bool   // the last append was
	closed   bool
}

var (
	errClosed   = errors.New("the history is closed")
	errReadOnly = errors.New("the history was opened to be read only")
)

// Open opens the history of a folder for the one process that writes it. Faults
// of the disk do not keep it from opening. A file of a newer format does, with a *NewerError.
func Open(o Options) (*History, error) {
	h := &History{o: o, write: (*os.File).WriteAt, fsync: (*os.File).Sync, encoder: newEncoder(), folding: newEncoder()}
	h.o.MaxBytes = cmp.Or(o.MaxBytes, defaultMaxBytes)
	h.o.MaxAge = cmp.Or(o.MaxAge, defaultMaxAge)
	if o.Now == nil {
		h.o.Now = time.Now
	}
	if o.Log == nil {
		h.o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Disk != nil {
		h.write = func(f *os.File, p []byte, at int64) (int, error) {
			if err := o.Disk(); err != nil {
				return 0, err
			}
			return f.WriteAt(p, at)
		}
		h.fsync = func(f *os.File) error { return errors.Join(o.Disk(), f.Sync()) }
	}
	h.ledger.disk = o.Disk
	h.ledger.path = filepath.Join(o.Dir, ledgerFile)
	h.ledger.maxBytes = int64(float64(h.o.MaxBytes) * ledgerShare)
	h.ledger.dropped = h.eventsLost
	h.ledger.moved = func(aside string, why error) {
		h.o.Log.Error("the events and findings of before cannot be read and were set aside", "file", aside, "err", why)
	}
	live, replaced, err := list(o.Dir)
	if err != nil && !gone(err) {
		h.fault(fmt.Errorf("list history: %w", err))
	}
	if err := checkVersions(o.Dir, live); err != nil {
		return nil, err
	}
	if err := h.ledger.check(); err != nil {
		if _, newer := errors.AsType[*NewerError](err); newer {
			return nil, err
		}
		h.fault(err)
	}
	h.segments = live
	h.remove(replaced)
	h.removeParts()
	h.cutSparse()
	h.sayForeign()
	return h, nil
}

// cutSparse cuts off what a crash of the machine left of a segment's length that nothing
// was written for. It would count as bytes of the history.
func (h *History) cutSparse() {
	for _, s := range h.segments {
		if f, err := os.Open(h.path(s)); err != nil {
			h.o.Log.Warn("a segment of the history cannot be read and is left alone", "file", s.name(), "err", err)
			continue
		} else if err := f.Close(); err != nil || s.size <= maxCopy { // a smaller one is read at once
			continue
		}
		was := s.size
		err := h.cut(s)
		h.fault(err)
		if err != nil || s.size < was {
			h.o.Log.Warn("the end of a segment of the history is damaged and was cut off", "file", s.name(), "bytes", was-s.size, "err", err)
		}
	}
}

// cut trims a segment whose length is more than the disk keeps of it, or than the history may take.
func (h *History) cut(s *segment) error {
	f, err := os.OpenFile(h.path(s), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	if s.size > h.o.MaxBytes || isSparse(f) {
		err = s.trim(f)
	}
	return errors.Join(err, f.Close())
}

// sayForeign logs which files of the folder are not the history's. They are left alone.
func (h *History) sayForeign() {
	entries, _ := os.ReadDir(h.o.Dir) // that it cannot be read was said
	var names []string
	for _, e := range entries {
		if name := e.Name(); !h.owns(e) && len(names) <= mostForeign {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return
	}
	more := len(names) > mostForeign
	names = names[:min(len(names), mostForeign)]
	h.o.Log.Warn("the folder of the history holds what is not its own: it is left alone", "folder", h.o.Dir, "names", strings.Join(names, ", "), "more", more)
}

// mostForeign bounds the names in a log line.
const mostForeign = 5

// owns reports whether a file of the folder is the history's.
func (h *History) owns(e os.DirEntry) bool {
	name := e.Name()
	if strings.HasPrefix(name, ledgerFile) {
		return true
	}
	if strings.HasSuffix(name, partSuffix) {
		return e.Type().IsRegular()
	}
	if _, ok := parseName(name); !ok {
		return false
	}
	stat, err := os.Stat(filepath.Join(h.o.Dir, name))
	return err != nil || stat.Mode().IsRegular()
}

// OpenReadOnly opens the history of a folder that another process may be
// writing. Methods that write return an error.
func OpenReadOnly(dir string) (*History, error) {
	live, _, err := list(dir)
	if err != nil {
		return nil, fmt.Errorf("open history: %w", err)
	}
	if err := checkVersions(dir, live); err != nil {
		return nil, err
	}
	h := &History{o: Options{Dir: dir, Now: time.Now, Log: slog.New(slog.DiscardHandler)}, readOnly: true}
	h.ledger = ledger{path: filepath.Join(dir, ledgerFile), readOnly: true}
	if err := h.ledger.check(); err != nil {
		return nil, err
	}
	return h, nil
}

// touch is called before the disk is asked for something.
func (h *History) touch() error {
	if h.o.Disk == nil {
		return nil
	}
	return h.o.Disk()
}

func (h *History) fault(err error) {
	if err != nil && h.o.Fault != nil {
		h.o.Fault(err)
	}
}

// eventsLost counts and logs events that are not kept any longer, or never were.
func (h *History) eventsLost(n int, why string) {
	h.fault(fmt.Errorf("%d events lost: %s", n, why))
	h.o.Log.Warn("events are lost to the history", "events", n, "reason", why)
}

func (h *History) path(s *segment) string { return filepath.Join(h.o.Dir, s.name()) }

// remove removes the files of segments.
func (h *History) remove(segments []*segment) {
	for _, s := range segments {
		if err := os.Remove(h.path(s)); err != nil && !gone(err) {
			h.fault(fmt.Errorf("remove segment: %w", err))
		}
	}
}

// removeParts removes what a crash left of segments that were being made.
func (h *History) removeParts() {
	entries, _ := os.ReadDir(h.o.Dir)
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), partSuffix) && e.Type().IsRegular() {
			h.fault(os.Remove(filepath.Join(h.o.Dir, e.Name())))
		}
	}
}

// Append keeps windows and samples. They are on disk, whatever happens to the
// process, when it returns nil. After an error some of them may be there: it is
// reported to Fault and not to be tried again with the same ones.
func (h *History) Append(windows []*load.Window, samples []load.Sample) error {
	if h.readOnly {
		return errReadOnly
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return errClosed
	}
	var errs []error
	for len(windows) > 0 || len(samples) > 0 {
		s := h.place(firstEnd(windows, samples))
		h.frames = h.frames[:0]
		windows = h.encodeWindows(windows, s)
		samples = h.encodeSamples(samples, s)
		if err := h.append(s, h.frames); err != nil {
			h.fault(err)
			errs = append(errs, err)
		}
	}
	err := errors.Join(errs...)
	switch {
	case err != nil && !h.failing:
		h.o.Log.Error("the disk takes no windows: they are lost to the history until it does", "err", err)
	case err == nil && h.failing:
		h.o.Log.Info("the disk takes windows again")
	}
	h.failing = err != nil
	return err
}

func firstEnd(windows []*load.Window, samples []load.Sample) time.Time {
	if len(windows) > 0 {
		return windows[0].End
	}
	return samples[0].End
}

// place returns the segment for what ends at t: the one that stands for that
// time, or a new one of the finest tier.
func (h *History) place(t time.Time) *segment {
	var found *segment
	for _, s := range h.segments {
		if s.covers(t) && (found == nil || s.tier > found.tier) {
			found = s
		}
	}
	if found != nil {
		return found
	}
	to := bucketEnd(t.UTC(), tiers[0].stretch)
	return &segment{from: to.Add(-tiers[0].stretch), to: to}
}

// encodeWindows makes frames of those windows that belong to s, and returns the others.
func (h *History) encodeWindows(windows []*load.Window, s *segment) (others []*load.Window) {
	type key struct {
		end      int64
		scenario string
	}
	groups := map[key][]*load.Window{}
	var order []key
	for _, w := range windows {
		if !s.covers(w.End) {
			others = append(others, w)
			continue
		}
		k := key{w.End.UnixNano(), w.Scenario}
		if groups[k] == nil {
			order = append(order, k)
		}
		groups[k] = append(groups[k], w)
	}
	for _, k := range order {
		group := groups[k]
		slices.SortStableFunc(group, stepsFirst)
		h.frames = h.encoder.windows(h.frames, group)
	}
	return others
}

// encodeSamples makes frames of those samples that belong to s, and returns the others.
func (h *History) encodeSamples(samples []load.Sample, s *segment) (others []load.Sample) {
	var own []load.Sample
	for _, sample := range samples {
		if s.covers(sample.End) {
			own = append(own, sample)
		} else {
			others = append(others, sample)
		}
	}
	h.frames = h.encoder.samples(h.frames, own)
	return others
}

// append writes frames at the end of a segment.
func (h *History) append(s *segment, frames []byte) error {
	if err := h.use(s); err != nil {
		return err
	}
	if s.size == 0 {
		frames = slices.Concat(header, frames)
	}
	if _, err := h.write(h.file, frames, s.size); err != nil {
		// What was written of them would be found by readers as if it were whole.
		if terr := h.file.Truncate(s.size); terr != nil {
			s.trimmed = false
		}
		return fmt.Errorf("write segment: %w", err)
	}
	s.size += int64(len(frames))
	h.dirty = true
	return nil
}

// use makes s the segment whose file is open, made and trimmed where needed.
func (h *History) use(s *segment) error {
	if h.current == s && h.file != nil && s.trimmed {
		return nil
	}
	h.leave()
	if err := queue.CheckRegular(h.path(s)); err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	f, err := os.OpenFile(h.path(s), os.O_RDWR|os.O_CREATE, 0o644)
	if gone(err) {
		if err := os.MkdirAll(h.o.Dir, 0o755); err != nil {
			return fmt.Errorf("make history: %w", err)
		}
		f, err = os.OpenFile(h.path(s), os.O_RDWR|os.O_CREATE, 0o644)
	}
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	if !s.trimmed {
		if err := s.trim(f); err != nil {
			f.Close()
			return err
		}
	}
	if !slices.Contains(h.segments, s) {
		h.segments = append(h.segments, s)
		slices.SortFunc(h.segments, inTime)
	}
	h.current, h.file = s, f
	return nil
}

// leave closes the open file.
func (h *History) leave() {
	if h.file == nil {
		return
	}
	h.sync()
	h.fault(h.file.Close())
	h.file, h.current = nil, nil
}

// sync makes what was appended outlive a loss of power.
func (h *History) sync() {
	if h.dirty {
		h.dirty = false
		h.fault(h.fsync(h.file))
	}
}

// Sizes returns the bytes of each tier by its name.
func (h *History) Sizes() map[string]int64 {
	sizes := map[string]int64{}
	for _, t := range tiers {
		sizes[t.name] = 0
	}
	of := h.sizes.Load()
	switch {
	case h.readOnly:
		segments, _, _ := list(h.o.Dir)
		now := sizesOf(segments)
		of = &now
	case h.mu.TryLock():
		now := sizesOf(h.segments)
		h.mu.Unlock()
		h.sizes.Store(&now)
		of = &now
	}
	if of == nil { // nobody has asked before
		return sizes
	}
	for i, n := range of {
		sizes[tiers[i].name] = n
	}
	return sizes
}

func sizesOf(segments []*segment) (sizes [len(tiers)]int64) {
	for _, s := range segments {
		sizes[s.tier] += s.size
	}
	return sizes
}

// Close writes what is left to write and closes the history.
func (h *History) Close() error {
	if h.readOnly {
		return nil
	}
	h.maintaining.Lock() // a pass under way ends first
	defer h.maintaining.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	h.closed = true
	h.leave()
	return h.ledger.flush()
}
