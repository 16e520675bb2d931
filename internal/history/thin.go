package history

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/perfd/perfd/internal/load"
)

const (
	syncEvery     = time.Second
	maintainEvery = time.Minute
	// slack is how long after a stretch its last windows may come.
	slack = time.Minute
)

// Run keeps the history in its bounds and safe from a loss of power until ctx ends.
func (h *History) Run(ctx context.Context) {
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	var maintained time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		h.syncBeside()
		if err := h.ledger.flush(); err != nil && !errors.Is(err, errBusy) {
			h.fault(err)
		}
		if now := h.o.Now(); now.Sub(maintained).Abs() >= maintainEvery {
			maintained = now
			if err := h.maintain(ctx, now); err != nil && ctx.Err() == nil {
				h.o.Log.Warn("the history was not thinned: it is tried again", "err", err)
			}
		}
	}
}

// syncBeside syncs what was appended without holding up who appends.
func (h *History) syncBeside() {
	h.mu.Lock()
	f, s, dirty := h.file, h.current, h.dirty
	var size int64
	if dirty {
		size = s.size
	}
	h.mu.Unlock()
	if !dirty {
		return
	}
	err := h.fsync(f)
	if errors.Is(err, os.ErrClosed) {
		return // it was synced before that
	}
	h.fault(err)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.file == f && s.size == size {
		h.dirty = false
	}
}

// Maintain makes one pass: what is old enough at an instant, or more than its
// tier's share, goes to the next tier; what is too old, or too much there, goes.
// Its errors were reported to Fault.
func (h *History) Maintain(now time.Time) error { return h.maintain(context.Background(), now) }

func (h *History) maintain(ctx context.Context, now time.Time) error {
	if h.readOnly {
		return errReadOnly
	}
	h.maintaining.Lock()
	defer h.maintaining.Unlock()
	h.mu.Lock()
	closed := h.closed
	h.mu.Unlock()
	if closed {
		return errClosed
	}
	h.drop(h.tooOld(now))
	var errs []error
	for i := range len(tiers) - 1 {
		if err := h.thinTier(ctx, i, now); err != nil {
			errs = append(errs, err)
		}
	}
	h.drop(h.tooMuch())
	err := h.ledger.prune(now.Add(-h.o.MaxAge))
	if err == nil {
		err = h.ledger.shrink()
	}
	if err != nil && !errors.Is(err, errBusy) {
		h.fault(err)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// thinTier folds what is ripe of a tier. Where the disk does not let it, the
// oldest goes until the tier keeps to its share.
func (h *History) thinTier(ctx context.Context, tier int, now time.Time) error {
	var errs []error
	grew := 0
	for {
		group, pressed := h.ripe(tier, now)
		if len(group) == 0 {
			break
		}
		err := h.thin(ctx, group)
		if err == nil {
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, errGrew) {
			if grew++; grew < 3 {
				continue
			}
			break // the next pass takes it
		}
		h.fault(err)
		errs = append(errs, err)
		if !pressed {
			break
		}
		h.drop(group[:1])
	}
	return errors.Join(errs...)
}

// tooOld returns the segments that are beyond the bound on age.
func (h *History) tooOld(now time.Time) (old []*segment) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.segments {
		if !s.to.After(now.Add(-h.o.MaxAge)) {
			old = append(old, s)
		}
	}
	return old
}

// budget is how many bytes all segments may take.
func (h *History) budget() int64 {
	return max(h.o.MaxBytes-h.ledger.size(), h.o.MaxBytes/2)
}

// ripe returns the next segments of a tier to fold into one of the next tier,
// and whether the bound on bytes asks for it.
func (h *History) ripe(tier int, now time.Time) (group []*segment, pressed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	pressed = sizesOf(h.segments)[tier] > int64(float64(h.budget())*tiers[tier].share)
	stretch := tiers[tier+1].stretch
	for _, s := range h.segments {
		if s.tier != tier {
			continue
		}
		whole := s.from.Truncate(stretch)
		if len(group) > 0 && !whole.Equal(group[0].from.Truncate(stretch)) {
			break
		}
		old := !whole.Add(stretch).After(now.Add(-tiers[tier].keep))
		if old || pressed && !s.to.After(now.Add(-slack)) {
			group = append(group, s)
		}
	}
	return group, pressed
}

// tooMuch returns the oldest segments of the coarsest tier that must go for it
// to keep to what the others leave. The newest is never among them.
func (h *History) tooMuch() (oldest []*segment) {
	h.mu.Lock()
	defer h.mu.Unlock()
	const last = len(tiers) - 1
	sizes := sizesOf(h.segments)
	most := int64(float64(h.budget()) * (1 - spare))
	for i := range last {
		most -= sizes[i]
	}
	coarse := slices.DeleteFunc(slices.Clone(h.segments), func(s *segment) bool { return s.tier != last })
	for i := 0; i < len(coarse)-1 && sizes[last] > most; i++ {
		oldest = append(oldest, coarse[i])
		sizes[last] -= coarse[i].size
	}
	return oldest
}

// drop removes segments and what they hold.
func (h *History) drop(segments []*segment) {
	if len(segments) == 0 {
		return
	}
	h.mu.Lock()
	h.forget(segments)
	h.mu.Unlock()
	h.remove(segments)
	h.fault(h.syncDir())
}

// forget takes segments out of those that count.
func (h *History) forget(segments []*segment) {
	if slices.Contains(segments, h.current) {
		h.leave()
	}
	h.segments = slices.DeleteFunc(slices.Clone(h.segments), func(s *segment) bool { return slices.Contains(segments, s) })
}

// errGrew says that something came late for a stretch while it was being folded.
var errGrew = errors.New("something came late")

// thin folds segments of one tier, all there are from the first to the last, into
// one of the next.
func (h *History) thin(ctx context.Context, group []*segment) (err error) {
	to := &segment{tier: group[0].tier + 1, from: group[0].from, to: group[len(group)-1].to, trimmed: true}
	defer func() {
		if err != nil {
			err = fmt.Errorf("make %s: %w", to.name(), err)
		}
	}()
	h.mu.Lock()
	var size int64
	for _, s := range group {
		size += s.size
	}
	h.mu.Unlock()

	if err := h.touch(); err != nil {
		return err
	}
	part := h.path(to) + partSuffix
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer os.Remove(part) // nothing is there once it is in place
	defer f.Close()
	out := &appender{h: h, f: f}
	if err := h.fold(ctx, group, tiers[to.tier].length, out); err != nil {
		return err
	}
	if err := h.fsync(f); err != nil {
		return err
	}
	to.size = out.size

	h.mu.Lock()
	for _, s := range h.segments {
		if to.replaces(s) {
			size -= s.size
		}
	}
	if size != 0 {
		h.mu.Unlock()
		return errGrew
	}
	if err := os.Rename(part, h.path(to)); err != nil {
		h.mu.Unlock()
		return err
	}
	h.forget(group)
	h.segments = append(h.segments, to)
	slices.SortFunc(h.segments, inTime)
	h.mu.Unlock()

	// Before the finer ones go, the coarser one must be there after a loss of power too.
	h.fault(h.syncDir())
	h.remove(group)
	return nil
}

// fold writes what segments hold, folded to a length.
func (h *History) fold(ctx context.Context, group []*segment, length time.Duration, out io.Writer) error {
	w := bufio.NewWriterSize(out, 256<<10)
	if _, err := w.Write(header); err != nil {
		return err
	}
	var frame []byte
	var failed error
	put := func(encoded []byte) {
		frame = encoded
		if _, err := w.Write(frame); err != nil {
			failed = cmp.Or(failed, err)
		}
	}
	e := h.folding
	f := newFolder(length,
		func(windows []*load.Window) { put(e.windows(frame[:0], windows)) },
		func(samples []load.Sample) { put(e.samples(frame[:0], samples)) })
	d := newDecoder()
	defer d.close()
	for _, s := range group {
		r, err := h.open(s, d, h.fault)
		if gone(err) {
			continue // somebody removed it: there is nothing to fold
		}
		if err != nil {
			return err
		}
		err = r.each(ctx, Query{}, f.addWindows, f.addSample)
		r.close()
		if err != nil {
			return err
		}
	}
	f.flush()
	if failed != nil {
		return failed
	}
	return w.Flush()
}

// An appender writes a file from its beginning, through the history's way to write.
type appender struct {
	h    *History
	f    *os.File
	size int64
}

func (a *appender) Write(p []byte) (int, error) {
	n, err := a.h.write(a.f, p, a.size)
	a.size += int64(n)
	return n, err
}

// syncDir makes what came, went and was renamed outlive a loss of power.
func (h *History) syncDir() error {
	f, err := os.Open(h.o.Dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return h.fsync(f)
}
