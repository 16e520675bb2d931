package record

import (
	"github.com/perfd/perfd/internal/hist"
	"github.com/perfd/perfd/internal/load"
)

// seconds is an exact sum of durations: nanoseconds in one 64-bit number would
// overflow after ten days of ten thousand waiting virtual users.
type seconds struct{ whole, ns int64 }

func (s *seconds) add(ns int64) {
	const second = 1e9
	s.whole += ns / second
	s.ns += ns % second
	if s.ns >= second {
		s.whole++
		s.ns -= second
	}
}

func (s seconds) float() float64 { return float64(s.whole) + float64(s.ns)/1e9 }

// A distribution is the cumulative state of one histogram family's series.
type distribution struct {
	classic []uint64 // nil where nothing was counted
	native  hist.Native
	count   uint64
	sum     seconds

	exemplars *exemplars // nil before the first
}

func (d *distribution) add(t *timing) {
	if t.hist.Count() == 0 {
		return
	}
	if d.classic == nil {
		d.classic = make([]uint64, len(t.classic))
	}
	for i, n := range t.classic {
		d.classic[i] += n
	}
	d.native.Add(&t.hist)
	d.count += t.hist.Count()
	d.sum.add(int64(t.hist.Sum()))
}

// totals are the cumulative counts of one step.
type totals struct {
	requests       uint64
	retries        uint64
	failures       [load.NumCauses]uint64
	codes          []load.CodeCount // by rising code
	otherCodes     uint64           // of answers beyond the cap on codes
	phases         [load.NumPhases]seconds
	waited         seconds
	sent, received uint64
	overRange      uint64
	value          float64 // of a metric: of a counter its count, of a gauge what it is, of a trend the sum of its values
	at             int64   // of a gauge: the number of its last setting

	duration, response, failure distribution
}

func (t *totals) add(c *stepCell) {
	t.requests += c.requests
	t.retries += c.retries
	for i, n := range c.failures {
		t.failures[i] += n
	}
	for i, ns := range c.phases {
		t.phases[i].add(ns)
	}
	t.waited.add(c.waited)
	switch {
	case c.at > t.at:
		t.value, t.at = c.value, c.at
	case c.at == 0:
		t.value += c.value
	}
	t.sent += uint64(c.sent)
	t.received += uint64(c.received)
	t.overRange += c.duration.hist.Over() + c.failure.hist.Over()
	t.duration.add(&c.duration)
	t.response.add(&c.response)
	t.failure.add(&c.failure)
	if x := c.touched; x != nil {
		t.overRange += x.duration.hist.Over()
		t.duration.add(&x.duration)
		t.response.add(&x.response)
	}
}

// rebound changes the classic buckets from one list of bounds to another that holds it.
func (t *totals) rebound(from, to *bounds) {
	for _, d := range []*distribution{&t.duration, &t.response, &t.failure} {
		if d.classic != nil {
			d.classic = spread(d.classic, from, to)
		}
		d.exemplars = nil // they stand in buckets that may be others now
	}
}
