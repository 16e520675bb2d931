package sla

import (
	"slices"
	"time"

	"github.com/perfd/perfd/internal/hist"
	"github.com/perfd/perfd/internal/load"
)

// pieces is the number of pieces that the span of a value is divided into: the span
// moves in steps of a tenth.
const pieces = 10

// piece returns the bounds of the piece of a span that an instant lies in. A piece
// leaves the span as a whole, so that events and durations leave together.
func piece(span time.Duration, at time.Time) (start, end time.Time) {
	length := max(10*time.Second, span/pieces)
	start = at.Truncate(length)
	return start, start.Add(length)
}

// later returns the later of two instants. A window out of history may be longer than a piece.
func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// counts are the events of an objective over a span.
type counts struct {
	span   time.Duration
	pieces []count // oldest first
}

// A count holds the events of one piece, and how much time was counted and excluded.
type count struct {
	start, end  time.Time
	events, bad float64
	counted     time.Duration
	excluded    time.Duration
}

// at returns the piece for a window, and drops those that are older than the span.
func (c *counts) at(start, end time.Time) *count {
	from, to := piece(c.span, start)
	if n := len(c.pieces); n == 0 || !c.pieces[n-1].start.Equal(from) {
		c.pieces = append(c.pieces, count{start: from, end: to})
	}
	last := &c.pieces[len(c.pieces)-1]
	last.end = later(last.end, end)
	c.pieces = slices.DeleteFunc(c.pieces, func(x count) bool { return !x.end.After(end.Add(-c.span)) })
	return &c.pieces[len(c.pieces)-1]
}

// add adds the events of a window that counts.
func (c *counts) add(start, end time.Time, events, bad float64) {
	p := c.at(start, end)
	p.events += events
	p.bad += bad
	p.counted += end.Sub(start)
}

// exclude adds the time of a window that does not count.
func (c *counts) exclude(start, end time.Time) { c.at(start, end).excluded += end.Sub(start) }

// over returns the sum over the span that ends at an instant.
func (c *counts) over(at time.Time) (sum count) {
	for _, p := range c.pieces {
		if p.end.After(at.Add(-c.span)) {
			sum.events += p.events
			sum.bad += p.bad
			sum.counted += p.counted
			sum.excluded += p.excluded
		}
	}
	return sum
}

// A place names the latencies that objectives share: those of a step over a window.
type place struct {
	step   string
	window time.Duration
}

// latencies are the response times of a step, or of a scenario, over a span.
type latencies struct {
	span   time.Duration
	pieces []latencyPiece // oldest first
	// before caches the sum of all pieces but the last, all that of all pieces at the
	// instant known, which is zero after something was added.
	before, all hist.Histogram
	beforeKnown bool
	known       time.Time
}

// A latencyPiece holds the response times of one piece of the span.
type latencyPiece struct {
	start, end time.Time
	times      *hist.Histogram
}

// add adds a window that counts.
func (l *latencies) add(w *load.Window) {
	if w.Flags.Excluded() != "" {
		return
	}
	from, to := piece(l.span, w.Start)
	l.known = time.Time{}
	n := len(l.pieces)
	if n == 0 || !l.pieces[n-1].start.Equal(from) {
		l.pieces = append(l.pieces, latencyPiece{start: from, end: to, times: new(hist.Histogram)})
		l.beforeKnown = false
	}
	for len(l.pieces) > 1 && !l.pieces[0].end.After(w.End.Add(-l.span)) {
		l.pieces = append(l.pieces[:0], l.pieces[1:]...)
		l.beforeKnown = false
	}
	last := &l.pieces[len(l.pieces)-1]
	last.end = later(last.end, w.End)
	last.times.Merge(w.ResponseTime)
}

// times returns the response times of the span that ends at an instant, nil where
// there are none. The histogram is valid until the next call of add or times.
func (l *latencies) times(at time.Time) *hist.Histogram {
	from := at.Add(-l.span)
	n := len(l.pieces)
	if n == 0 || !l.pieces[n-1].end.After(from) {
		return nil
	}
	if l.known.Equal(at) {
		return &l.all
	}
	if !l.beforeKnown || !l.pieces[0].end.After(from) {
		l.before.Reset()
		for i := range l.pieces[:n-1] {
			if p := &l.pieces[i]; p.end.After(from) {
				l.before.Merge(p.times)
			}
		}
		l.beforeKnown = true
	}
	l.all.Reset()
	l.all.Merge(&l.before)
	l.all.Merge(l.pieces[n-1].times)
	l.known = at
	return &l.all
}
