package record

import (
	"math/bits"

	"github.com/perfd/perfd/internal/hist"
	"github.com/perfd/perfd/internal/load"
)

// cells are the counts of one shard of a sink since the last fold.
type cells struct {
	bounds     *bounds // of the timings of steps
	steps      []stepCell
	iterations iterationCell
	octaves    hist.Pool // of all histograms here
}

func newCells(b *bounds, steps []sinkStep) *cells {
	c := &cells{bounds: b, steps: make([]stepCell, len(steps))}
	for i := range c.steps {
		s := &c.steps[i]
		s.checks = make([]checkCount, len(steps[i].checks))
		s.duration.init(b, &c.octaves)
		s.response.init(b, &c.octaves)
		s.failure.init(b, &c.octaves)
	}
	c.iterations.duration.init(iterationBounds, &c.octaves)
	c.iterations.lateness.init(latenessBounds, &c.octaves)
	return c
}

// A stepCell counts the results of one step.
type stepCell struct {
	counters
	checks []checkCount
	codes  []load.CodeCount

	duration, response, failure timing
	// touched holds what perfd itself disturbed; nil until there is something. Its
	// durations are not in those above.
	touched *touchedCell
}

// A touchedCell counts the results of one step that perfd itself disturbed.
type touchedCell struct {
	counts             [load.NumDisturbances][load.NumCauses]uint64
	duration, response timing
}

type counters struct {
	requests       uint64
	retries        uint64
	failures       [load.NumCauses]uint64
	phases         [load.NumPhases]int64 // ns
	waited         int64                 // ns
	sent, received int64                 // bytes
	codesOverflow  uint64                // answers whose code is beyond the cap
}

type checkCount struct{ evaluated, failed uint64 }

// record counts one result. It keeps nothing of it.
func (c *stepCell) record(r *load.Result, in *cells, maxCodes int) {
	c.requests++
	switch {
	case r.Cause == load.Canceled:
		c.failures[load.Canceled]++
	case r.Touched != load.Undisturbed:
		c.recordTouched(r, in)
	case r.Cause == load.None:
		recordBoth(&c.duration, &c.response, in.bounds, r)
	default:
		c.failures[r.Cause]++
		c.failure.record(in.bounds, r.Duration())
	}
	for i, ns := range r.Phases {
		c.phases[i] += ns
	}
	c.waited += r.Waited
	c.retries += uint64(r.Retries)
	c.sent += r.SentBytes
	c.received += r.ReceivedBytes
	for m := r.Checks; m != 0; m &= m - 1 {
		i := bits.TrailingZeros64(m)
		c.checks[i].evaluated++
		c.checks[i].failed += r.ChecksFailed >> i & 1
	}
	if r.Code != 0 {
		c.countCode(r.Code, maxCodes)
	}
}

// recordTouched counts how a result ended that perfd itself disturbed.
func (c *stepCell) recordTouched(r *load.Result, in *cells) {
	t := c.touched
	if t == nil {
		t = new(touchedCell)
		t.duration.init(in.bounds, &in.octaves)
		t.response.init(in.bounds, &in.octaves)
		c.touched = t
	}
	t.counts[r.Touched][r.Cause]++
	if r.Cause == load.None {
		recordBoth(&t.duration, &t.response, in.bounds, r)
		return
	}
	c.failures[r.Cause]++
	c.failure.record(in.bounds, r.Duration())
}

func (c *stepCell) countCode(code int32, most int) {
	for i := range c.codes {
		if c.codes[i].Code == code {
			c.codes[i].Count++
			return
		}
	}
	if len(c.codes) >= most {
		c.codesOverflow++
		return
	}
	c.codes = append(c.codes, load.CodeCount{Code: code, Count: 1})
}

// reset empties the cell and keeps its memory.
func (c *stepCell) reset() {
	c.counters = counters{}
	clear(c.checks)
	for i := range c.codes {
		c.codes[i].Count = 0
	}
	c.duration.reset()
	c.response.reset()
	c.failure.reset()
	if t := c.touched; t != nil {
		t.counts = [load.NumDisturbances][load.NumCauses]uint64{}
		t.duration.reset()
		t.response.reset()
	}
}

// An iterationCell counts the iterations of a scenario.
type iterationCell struct {
	started            uint64
	ended              [load.Interrupted + 1]uint64
	spent              int64 // ns in all that ended
	duration, lateness timing
}

func (c *iterationCell) record(it *load.Iteration) {
	c.ended[it.Outcome]++
	c.spent += it.End - it.Start
	c.lateness.record(latenessBounds, it.Start-it.Due)
	if it.Outcome == load.Completed {
		c.duration.record(iterationBounds, it.End-it.Start)
	}
}

func (c *iterationCell) reset() {
	c.started, c.spent = 0, 0
	c.ended = [load.Interrupted + 1]uint64{}
	c.duration.reset()
	c.lateness.reset()
}

// A timing is a histogram and the classic buckets beside it, which are exact at their bounds.
type timing struct {
	hist    hist.Histogram
	classic []uint64
}

func (t *timing) init(b *bounds, octaves *hist.Pool) {
	t.hist.Use(octaves)
	t.classic = make([]uint64, b.buckets())
}

func (t *timing) record(b *bounds, ns int64) {
	ns = max(ns, 0)
	t.hist.Record(ns)
	t.classic[b.bucket(ns)]++
}

// recordBoth records the duration and the response time of a result. The response
// time is hardly ever in another bucket, and never in an earlier one.
func recordBoth(duration, response *timing, b *bounds, r *load.Result) {
	d := max(r.Duration(), 0)
	t := max(r.ResponseTime(), d)
	duration.hist.Record(d)
	response.hist.Record(t)
	i := b.bucket(d)
	duration.classic[i]++
	response.classic[b.bucketFrom(i, t)]++
}

func (t *timing) reset() {
	t.hist.Reset()
	clear(t.classic)
}
