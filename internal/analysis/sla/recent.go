package sla

import (
	"slices"
	"time"

	"github.com/perfd/perfd/internal/hist"
	"github.com/perfd/perfd/internal/load"
)

// pieces is in how many pieces the span of a value is kept, so that it moves by a tenth at most.
const pieces = 10

// piece returns the bounds of the piece that an instant lies in. A piece leaves
// the span by its own end, whichever of its windows counted: events and times leave together.
func piece(span time.Duration, at time.Time) (start, end time.Time) {
	length := max(10*time.Second, span/pieces)
	start = at.Truncate(length)
	return start, start.Add(length)
}

// later returns the later of two instants: a window out of history may be longer than a piece.
func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// counts are those of an objective over its window.
type counts struct {
	span   time.Duration
	pieces []count
}

type count struct {
	start, end  time.Time
	events, bad float64
	counted     time.Duration
	excluded    time.Duration
}

// at returns the piece for a window, and forgets what is too old.
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

func (c *counts) add(start, end time.Time, events, bad float64) {
	p := c.at(start, end)
	p.events += events
	p.bad += bad
	p.counted += end.Sub(start)
}

func (c *counts) exclude(start, end time.Time) { c.at(start, end).excluded += end.Sub(start) }

// over adds up the span that ends at an instant.
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

// A place is where latencies are kept for objectives.
type place struct {
	step   string
	window time.Duration
}

// latencies are the response times of a step, or of a scenario, over a span.
type latencies struct {
	span   time.Duration
	pieces []latencyPiece
	// All pieces but the last, and all; known says since when they hold, which is
	// as long as nothing was added.
	before, all hist.Histogram
	beforeKnown bool
	known       time.Time
}

type latencyPiece struct {
	start, end time.Time
	times      *hist.Histogram
}

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
// there are none. They hold until the next call.
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
