package record

import (
	"math/bits"
	"sync"

	"github.com/perfd/perfd/internal/hist"
	"github.com/perfd/perfd/internal/load"
)

// cells are the counts of one shard of a sink since the last fold.
type cells struct {
	steps      []*stepCell // nil of those without results
	iterations *iterationCell
	pools      []*cellPool // that lend the steps, by place
}

func newCells(pools []*cellPool) cells {
	it := new(iterationCell)
	it.duration.init(iterationBounds, &it.octaves)
	it.lateness.init(latenessBounds, &it.octaves)
	return cells{make([]*stepCell, len(pools)), it, pools}
}

// take gives a step a cell, whose first result since the last fold comes.
func (c *cells) take(step int) *stepCell {
	cell := c.pools[step].take()
	c.steps[step] = cell
	return cell
}

// release empties the cell of a step and gives it back.
func (c *cells) release(step int) {
	cell := c.steps[step]
	cell.reset()
	c.steps[step] = nil
	c.pools[step].give(cell)
}

// A cellPool lends cells to steps from their first result in a second to the fold, so that
// their memory is that of the steps with results at one time. All cells have the bounds of
// the pool, which is replaced when they change.
type cellPool struct {
	bounds *bounds // of the timings of steps

	mu   sync.Mutex
	free []*stepCell // empty
}

func (p *cellPool) take() *stepCell {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		c := p.free[n-1]
		p.free = p.free[:n-1]
		return c
	}
	c := &stepCell{bounds: p.bounds}
	c.duration.init(p.bounds, &c.octaves)
	c.response.init(p.bounds, &c.octaves)
	c.failure.init(p.bounds, &c.octaves)
	return c
}

// give takes an empty cell back.
func (p *cellPool) give(c *stepCell) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, c)
}

// A stepCell counts the results of one step.
type stepCell struct {
	counters
	bounds  *bounds
	octaves hist.Pool    // of all histograms here
	checks  []checkCount // as far as the last that was evaluated
	codes   []load.CodeCount

	duration, response, failure timing
	value                       float64 // of a metric: what a counter grew by, what a gauge is, the sum of a trend
	at                          int64   // of a gauge: when it was set, as the number of its setting
	// touched holds what perfd itself disturbed; nil until there is something. Its
	// durations are not in those above.
	touched *touchedCell
	// messages holds what happened on streams; nil until something did.
	messages *messageCell
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
func (c *stepCell) record(r *load.Result, maxCodes int) {
	c.requests++
	switch {
	case r.Cause == load.Canceled:
		c.failures[load.Canceled]++
	case r.Touched != load.Undisturbed:
		c.recordTouched(r)
	case r.Cause == load.None:
		recordBoth(&c.duration, &c.response, c.bounds, r)
	default:
		c.failures[r.Cause]++
		c.failure.record(c.bounds, r.Duration())
	}
	for i, ns := range r.Phases {
		c.phases[i] += ns
	}
	c.waited += r.Waited
	c.retries += uint64(r.Retries)
	c.sent += r.SentBytes
	c.received += r.ReceivedBytes
	if r.Checks != 0 {
		c.countChecks(r)
	}
	if r.Code != 0 || r.Coded {
		c.countCode(r.Code, maxCodes)
	}
}

// recordTouched counts how a result ended that perfd itself disturbed.
func (c *stepCell) recordTouched(r *load.Result) {
	t := c.touched
	if t == nil {
		t = new(touchedCell)
		t.duration.init(c.bounds, &c.octaves)
		t.response.init(c.bounds, &c.octaves)
		c.touched = t
	}
	t.counts[r.Touched][r.Cause]++
	if r.Cause == load.None {
		recordBoth(&t.duration, &t.response, c.bounds, r)
		return
	}
	c.failures[r.Cause]++
	c.failure.record(c.bounds, r.Duration())
}

func (c *stepCell) countChecks(r *load.Result) {
	if n := bits.Len64(r.Checks); n > len(c.checks) {
		c.checks = append(c.checks, make([]checkCount, n-len(c.checks))...)
	}
	for m := r.Checks; m != 0; m &= m - 1 {
		i := bits.TrailingZeros64(m)
		c.checks[i].evaluated++
		c.checks[i].failed += r.ChecksFailed >> i & 1
	}
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
	c.value, c.at = 0, 0
	c.checks, c.codes = c.checks[:0], c.codes[:0]
	c.duration.reset()
	c.response.reset()
	c.failure.reset()
	if m := c.messages; m != nil {
		*m = messageCell{closes: m.closes[:0]}
	}
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
	octaves            hist.Pool
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
