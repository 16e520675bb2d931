package sla

import (
	"math"
	"math/bits"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/stats"
)

const (
	// interval is how long windows are folded for: longer than what makes requests
	// alike. Windows that are as long stand for themselves.
	interval = time.Minute
	// firstLook is how many intervals the usual test waits for, because with fewer it
	// does not know how bad events cluster.
	firstLook = 30
	// opt is the sample at which the usual test is sharpest: that many bad events
	// where the limit is just met.
	opt = 50

	// mostOfAWindow bounds what one window can say for a breach, as a logarithm, so
	// that some seconds of trouble are not taken for one.
	mostOfAWindow = 6
	// mustBeBad of the lastWindows must be over the limit for the quick test to find a breach.
	mustBeBad   = 4
	lastWindows = 18
)

// A ratio judges a share of bad events against what may be bad, and may be asked
// after every window. It knows nothing of where counts come from.
//
// Two tests each spend their share of alpha. The usual one weighs all evidence
// of the epoch (stats.Mixture), minute by minute, as effective counts. The quick one
// weighs every window as it comes, for a start at any time (stats.Restarting): it finds
// a change after a month of other evidence, and is the fast path of SEMANTICS
// section 3.
type ratio struct {
	core
	limit   float64
	mixture stats.Mixture

	spread dispersion // of all intervals
	before lagged     // of those before the last ones
	// While it fails: what was known before the breach, and of the intervals that
	// may be a recovery. A breach is a change of level, not a way of clustering.
	calm, rise dispersion

	all        tally // of the epoch, without the interval under way
	open       tally // the interval under way
	openBegan  time.Time
	windows    int    // of the epoch
	overBudget uint32 // bit i: the window i before the latest had more bad events than it may
	worse      odds
	better     odds

	asked tally // the last one whose interval was asked for
}

// core is what judges of ratios and rates have in common.
type core struct {
	ledger  ledger
	verdict load.Verdict
	proof   tally // what the verdict was last proven with
	began   time.Time
}

// spend is what the epoch may spend of alpha.
func (c *core) spend() float64 { return alpha * c.ledger.part }

// A tally is what a verdict rests on.
type tally struct {
	events, bad float64
	intervals   int
	effect      float64 // design effect
	since       time.Time
	epoch       int
	value       float64        // share of bad events, or mean rate
	in          stats.Interval // of the value at confidence
}

// newRatio returns the judge of a share that may be limit at most, 0 < limit < 1.
func newRatio(limit float64) *ratio {
	return &ratio{
		limit: limit, mixture: stats.NewMixture(limit, opt/min(limit, 1-limit), alpha*usualShare/2), asked: tally{events: -1},
		worse: newOdds(limit,
			bet{factor: 1.2, care: 1.3, least: 1.3}, bet{factor: 1.5, care: 1.3, least: 1.3},
			bet{factor: 2, care: 1.3, least: 1.3}, bet{factor: 8, care: 1.7, least: 1.7}),
		better: newOdds(limit,
			bet{factor: 0.8, care: 1, least: 1}, bet{factor: 0.5, care: 1, least: 1},
			bet{factor: 0.1, care: 1, least: 1}),
	}
}

// reset begins an epoch.
func (r *ratio) reset(at time.Time) {
	r.ledger.next(at)
	r.began = at
	r.all, r.open, r.windows, r.overBudget = tally{}, tally{}, 0, 0
	r.worse.reset()
	r.better.reset()
}

// forget begins an epoch without a verdict.
func (r *ratio) forget(at time.Time) {
	r.verdict, r.proof = load.Inconclusive, tally{}
	r.reset(at)
}

// add takes what a window had.
func (r *ratio) add(start, end time.Time, events, bad float64) {
	if events <= 0 {
		return
	}
	if r.ledger.current == 0 {
		r.reset(start)
	}
	length := end.Sub(start)
	if r.open.events > 0 && (length >= interval || !start.Before(r.openBegan.Add(interval))) {
		r.fold()
	}
	if r.open.events == 0 {
		r.openBegan = start.Truncate(interval)
	}
	r.open.events += events
	r.open.bad += bad
	r.windows++
	r.overBudget <<= 1
	if bad > events*r.limit {
		r.overBudget |= 1
	}
	r.step(start, length, events, bad)
	folded := !end.Before(r.openBegan.Add(interval))
	if folded {
		r.fold()
	}
	r.look(end, folded)
}

// fold ends the interval under way.
func (r *ratio) fold() {
	r.spread.add(r.open.bad, r.open.events)
	r.before.add(r.open.bad, r.open.events)
	if r.verdict == load.Fail {
		if since, rises := r.better.since(); rises && !r.openBegan.Before(since) {
			r.rise.add(r.open.bad, r.open.events)
		} else {
			r.rise = dispersion{}
		}
	}
	r.all.events += r.open.events
	r.all.bad += r.open.bad
	r.all.intervals++
	r.open = tally{}
}

// step lets the quick test take a window. One half of the weight is for a start
// with the epoch, the other one for starts within 30 days.
func (r *ratio) step(start time.Time, length time.Duration, events, bad float64) {
	weight := 0.5 * min(1, length.Seconds()/alphaSpan.Seconds())
	if r.windows == 1 {
		weight = 0.5
	}
	r.worse.step(start, weight, r.before.forBreach(), events, bad, mostOfAWindow)
	r.better.step(start, weight, r.recovery(), events, bad, math.Inf(1))
}

// look finds out whether a verdict is proven, and begins an epoch where it is another one.
func (r *ratio) look(at time.Time, folded bool) {
	now, proven := load.Inconclusive, r.tally
	if folded && r.all.intervals >= firstLook {
		now = r.usual()
	}
	if now == load.Inconclusive {
		enough := 1 / (r.spend() * quickShare)
		switch {
		case r.worse.value() >= enough && bits.OnesCount32(r.overBudget&(1<<lastWindows-1)) >= mustBeBad:
			now, proven = load.Fail, func() tally { return r.since(r.worse, at, r.before.forBreach()) }
		case r.better.value() >= enough && r.all.intervals >= firstLook:
			now, proven = load.Pass, func() tally { return r.since(r.better, at, r.recovery()) }
		}
	}
	changed := now != r.verdict
	if now == load.Inconclusive || !changed && !folded {
		return
	}
	r.proof = proven()
	if !changed {
		return
	}
	switch {
	case now == load.Fail:
		r.calm, r.rise = r.before.dispersion, dispersion{}
	case r.verdict == load.Fail:
		r.spread = r.calm.plus(r.rise)
		r.before.set(r.spread)
	}
	r.verdict = now
	r.reset(at)
}

// recovery is the design effect of the quick test of a pass.
func (r *ratio) recovery() float64 {
	if r.verdict != load.Fail {
		return r.spread.forPass()
	}
	d := r.calm.plus(r.rise)
	return d.forPass()
}

// usual returns what all evidence of the epoch proves.
func (r *ratio) usual() load.Verdict {
	bound := math.Log(1 / (r.spend() * usualShare))
	effect, _ := r.spread.effect()
	if r.mixture.Proves(r.all.bad/effect, r.all.events/effect, bound) > 0 {
		return load.Fail
	}
	effect = r.spread.forPass()
	if r.mixture.Proves(r.all.bad/effect, r.all.events/effect, bound) < 0 {
		return load.Pass
	}
	return load.Inconclusive
}

// tally returns all evidence of the epoch, without the interval under way but where there is no other.
func (r *ratio) tally() tally {
	t := r.all
	if t.intervals == 0 {
		t.events, t.bad = r.open.events, r.open.bad
	}
	t.effect, _ = r.spread.effect()
	t.since = r.began
	return r.finish(t)
}

// since returns the evidence from the start on that the quick test's best bet thinks likeliest.
func (r *ratio) since(o odds, at time.Time, effect float64) tally {
	t := o.best()
	t.effect = effect
	t.intervals = int(at.Sub(t.since) / interval)
	return r.finish(t)
}

func (r *ratio) finish(t tally) tally {
	t.epoch, t.value = r.ledger.current, math.NaN()
	if t.events > 0 {
		t.value = t.bad / t.events
	}
	if a := &r.asked; a.events != t.events || a.bad != t.bad || a.effect != t.effect {
		*a = t
		a.in = r.mixture.Sequence(t.bad/t.effect, t.events/t.effect, alpha)
	}
	t.in = r.asked.in
	return t
}

// needed returns how many more events would prove which side the share is on, if
// the rest is like what there was; infinite where it is at the limit.
func (r *ratio) needed(t tally) float64 {
	if t.events <= 0 {
		return math.Inf(1)
	}
	bound := math.Log(1 / (r.spend() * usualShare))
	effect := t.effect
	if t.value < r.limit {
		effect = r.spread.forPass()
	}
	proves := func(times float64) bool {
		return r.mixture.Proves(t.bad*times/effect, t.events*times/effect, bound) != 0
	}
	low, high := 1.0, 1.0
	for !proves(high) {
		if low, high = high, 2*high; high > 1<<16 {
			return math.Inf(1)
		}
	}
	for high-low > 0.02*high {
		if middle := (low + high) / 2; proves(middle) {
			high = middle
		} else {
			low = middle
		}
	}
	return (high - 1) * t.events
}
