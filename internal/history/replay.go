package history

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/queue"
)

// A Sink takes what is replayed.
type Sink interface {
	Window(*load.Window)
	Sample(load.Sample)
	Event(load.Event)
}

// A Query selects what is replayed.
type Query struct {
	// From and To are the bounds: windows and samples that end after From and not
	// after To, events from From to To, both included. The zero time is no bound.
	From, To time.Time
	// Scenarios are those whose windows and runs are replayed: nil for all, empty for none.
	Scenarios []string
	// Targets are those whose samples, releases and runs are replayed: nil for all, empty for none.
	Targets []string
}

// Replay replays everything between two instants, as ReplayQuery does.
func (h *History) Replay(ctx context.Context, from, to time.Time, into Sink) error {
	return h.ReplayQuery(ctx, Query{From: from, To: to}, into)
}

// ReplayQuery passes what was kept to a sink in order of time: windows and
// samples by their end, each in the finest tier that has it. Windows of one
// instant come first, those of a scenario's steps before its own, then samples,
// then events.
//
// An error lists what could not be read, or is that of ctx; everything else was
// passed on unless ctx ended. Windows may be kept and must not be changed.
func (h *History) ReplayQuery(ctx context.Context, q Query, into Sink) error {
	m := merger{q: q, into: into}
	m.report = func(err error) {
		h.fault(err)
		if len(m.errs) < maxErrors {
			m.errs = append(m.errs, err)
		}
	}
	events, err := h.Events(q.From, q.To)
	if err != nil {
		m.report(err)
	}
	m.events = slices.DeleteFunc(events, func(e load.Event) bool { return !q.wants(&e) })
	d := newDecoder()
	defer d.close()
	for again, tries := true, 0; again; tries++ {
		segments, _, err := list(h.o.Dir)
		if err != nil && !gone(err) {
			return fmt.Errorf("list history: %w", err)
		}
		again = h.replay(ctx, segments, d, &m) && tries < maxTries
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	m.until(time.Time{})
	return errors.Join(m.errs...)
}

const (
	// maxErrors bounds the error of a replay.
	maxErrors = 10
	// maxTries bounds how often a file may be listed and not be there.
	maxTries = 1000
)

// replay reads segments in order of time, from m.q.From on. again reports that
// one was folded into another meanwhile, which a new list has.
func (h *History) replay(ctx context.Context, segments []*segment, d *decoder, m *merger) (again bool) {
	for _, s := range segments {
		if !m.q.From.IsZero() && !s.to.After(m.q.From) {
			continue
		}
		if !m.q.To.IsZero() && !s.from.Before(m.q.To) {
			break
		}
		r, err := h.open(s, d, m.report)
		if gone(err) {
			return true
		}
		if err == nil {
			err = r.each(ctx, m.q, m.windows, m.sample)
			r.close()
		}
		if ctx.Err() != nil {
			return false
		}
		if err != nil {
			m.report(err)
		}
		m.q.From = s.to
	}
	return false
}

// wanted reports whether a list that may be nil for all has a name.
func wanted(list []string, name string) bool { return list == nil || slices.Contains(list, name) }

func (q *Query) wants(e *load.Event) bool {
	target := func(name string) bool { return slices.Contains(q.Targets, name) }
	switch {
	case e.Scenario != "":
		return wanted(q.Scenarios, e.Scenario) || target(e.Target) || slices.ContainsFunc(e.Targets, target)
	case e.Target != "":
		return wanted(q.Targets, e.Target)
	}
	return true
}

// A merger merges events into windows and samples, by time.
type merger struct {
	q      Query // From advances past each segment that was read
	into   Sink
	events []load.Event
	report func(error)
	errs   []error
}

// until passes on the events before an instant, all of them for the zero time.
func (m *merger) until(end time.Time) {
	for len(m.events) > 0 && (end.IsZero() || m.events[0].At.Before(end)) {
		m.into.Event(m.events[0])
		m.events = m.events[1:]
	}
}

func (m *merger) windows(group []*load.Window) {
	for _, w := range group {
		m.until(w.End)
		m.into.Window(w)
	}
}

func (m *merger) sample(s load.Sample) {
	m.until(s.End)
	m.into.Sample(s)
}

// A segmentReader reads one segment in order of time.
type segmentReader struct {
	path    string
	file    *os.File
	content io.ReaderAt // of the file, or of a copy in memory
	size    int64       // when it was opened: what is appended afterwards is not read
	version byte
	decoder *decoder
	report  func(error)
	buf     []byte
}

// open opens a segment to be read. report takes what is damaged in it.
func (h *History) open(s *segment, d *decoder, report func(error)) (*segmentReader, error) {
	path := h.path(s)
	if err := h.touch(); err != nil {
		return nil, fmt.Errorf("open segment: %w", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open segment: %w", err)
	}
	stat, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open segment: %w", err)
	}
	r := &segmentReader{path: path, file: f, content: f, size: stat.Size(), decoder: d, report: report}
	if r.size <= maxCopy {
		d.segment = slices.Grow(d.segment[:0], int(r.size))[:r.size]
		n, err := f.ReadAt(d.segment, 0)
		if err != nil && !errors.Is(err, io.EOF) {
			f.Close()
			return nil, fmt.Errorf("read segment: %w", err)
		}
		r.size = int64(n)
		r.content = bytes.NewReader(d.segment[:n])
	}
	if r.version, err = versionOf(r.content, path); err != nil {
		f.Close()
		return nil, err
	}
	return r, nil
}

// maxCopy bounds the segments that are read into memory at once: most are of a
// few megabytes and of many frames.
const maxCopy = 16 << 20

func (r *segmentReader) close() { r.file.Close() }

// An item is a sample, or a frame of windows.
type item struct {
	end      int64 // ns since 1970
	at       int64 // of the frame
	scenario string
	sample   *load.Sample
}

// each calls back with what a query wants, in order of time, scenarios in the
// order of their names, a sample after the windows of its instant.
func (r *segmentReader) each(ctx context.Context, q Query, windows func([]*load.Window), sample func(load.Sample)) error {
	items, err := r.index(q)
	if err != nil {
		return err
	}
	for _, i := range items {
		if err := ctx.Err(); err != nil {
			return err
		}
		if i.sample != nil {
			sample(*i.sample)
			continue
		}
		frame, err := queue.ReadFrame(r.content, i.at, r.size, r.buf)
		if err != nil {
			return fmt.Errorf("read %s: %w", r.path, err)
		}
		r.buf = frame
		group, err := r.decoder.windows(r.version, frame.Kind(), frame.Payload())
		if err != nil {
			r.bad(i.at, err)
			continue
		}
		windows(group)
	}
	return nil
}

// index reads where everything is that a query wants.
func (r *segmentReader) index(q Query) ([]item, error) {
	within := func(end int64) bool {
		t := time.Unix(0, end)
		return (q.From.IsZero() || t.After(q.From)) && (q.To.IsZero() || !t.After(q.To))
	}
	var items []item
	err := frames(r.content, r.size, func(at int64, f queue.Frame) error {
		switch f.Kind() {
		case windowsFrame, touchedFrame:
			end, scenario, err := r.decoder.head(f.Payload())
			if err != nil {
				r.bad(at, err)
			} else if within(end) && wanted(q.Scenarios, scenario) {
				items = append(items, item{end: end, at: at, scenario: scenario})
			}
		case samplesFrame:
			samples, err := r.decoder.samples(r.version, f.Payload())
			if err != nil {
				r.bad(at, err)
				break
			}
			for _, s := range samples {
				if end := s.End.UnixNano(); within(end) && wanted(q.Targets, s.Target) {
					items = append(items, item{end: end, at: at, sample: &s})
				}
			}
		}
		return nil
	}, func(at, bytes int64) { r.bad(at, fmt.Errorf("%d bytes are damaged", bytes)) })
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", r.path, err)
	}
	slices.SortStableFunc(items, func(a, b item) int {
		return cmp.Or(cmp.Compare(a.end, b.end), cmp.Compare(a.kind(), b.kind()), cmp.Compare(a.scenario, b.scenario))
	})
	return items, nil
}

func (i *item) kind() int {
	if i.sample != nil {
		return 1
	}
	return 0
}

func (r *segmentReader) bad(at int64, err error) {
	r.report(fmt.Errorf("%s at %d: %w", r.path, at, err))
}
