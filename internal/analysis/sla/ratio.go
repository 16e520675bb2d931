package sla

import (
	"math"
	"math/bits"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/stats"
)

// A ratio tests the share of bad events against the share that may be bad. It may
// be asked after every window.
//
// Two tests each spend their share of Alpha. The usual one takes all evidence of
// the epoch (stats.Mixture), interval by interval, as effective counts. The quick
// one takes every window as it comes, with a start at any time (stats.Restarting):
// it finds a change after a month of other evidence, and within a minute where
// everything fails.
type ratio struct {
	core
	limit   float64
	mixture stats.Mixture // of a breach, and of intervals
	passing stats.Mixture // of a pass

	spread dispersion // of all intervals
	before lagged     // of all but the latest
	// While the verdict is Fail: the dispersion before the breach, and that of the
	// intervals that may belong to a recovery. The intervals of the breach itself are
	// left out: it is a change of level, which would look like clustering.
	beforeBreach, recovering dispersion

	all        tally // the epoch without the interval under way
	open       tally // the interval under way
	openBegan  time.Time
	windows    int    // number of windows of the epoch
	minOver    int    // how many of the latest windows must be over the limit for a breach
	overBudget uint32 // bit i is set where the window i before the latest was over the limit
	worse      alternatives
	better     alternatives

	asked tally // caches the last interval that was computed
}

// A core holds what the tests of ratios and of rates have in common.
type core struct {
	alpha   float64 // what a breach may spend (alphaOf)
	ledger  ledger
	verdict load.Verdict
	proof   tally     // what the verdict was last proven with
	began   time.Time // the start of the epoch
}

// spend returns what the epoch may spend on a breach, and spendPass what it may spend on a pass.
func (c *core) spend() float64     { return c.alpha * c.ledger.part }
func (c *core) spendPass() float64 { return defaults.Alpha * c.ledger.part }

// A tally is the evidence that a verdict rests on.
type tally struct {
	events, bad float64
	intervals   int
	effect      float64 // design effect
	since       time.Time
	epoch       int            // number of its share of Alpha
	value       float64        // share of bad events, or mean rate per second
	in          stats.Interval // of value, at confidence
}

// newRatio returns the test of a share that may be limit at most, 0 < limit < 1.
func newRatio(limit float64) *ratio {
	return &ratio{
		core: core{alpha: defaults.Alpha}, limit: limit, mixture: stats.NewMixture(limit, defaults.Sharpest/min(limit, 1-limit), defaults.Alpha*defaults.Usual/2),
		passing: stats.NewMixture(limit, defaults.SharpestPass/min(limit, 1-limit), defaults.Alpha*defaults.UsualPass/2), asked: tally{events: -1},
		worse: newAlternatives(limit, defaults.Worse), better: newAlternatives(limit, defaults.Better),
	}
}

// reset starts an epoch.
func (r *ratio) reset(at time.Time) {
	r.ledger.next(at)
	r.began = at
	r.all, r.open, r.windows, r.overBudget = tally{}, tally{}, 0, 0
	r.worse.reset()
	r.better.reset()
}

// forget drops the verdict and starts an epoch.
func (r *ratio) forget(at time.Time) {
	r.leaveBreach()
	r.verdict, r.proof = load.Inconclusive, tally{}
	r.reset(at)
}

// add adds the events of a window.
func (r *ratio) add(start, end time.Time, events, bad float64) {
	if events <= 0 {
		return
	}
	if r.ledger.current == 0 {
		r.reset(start)
	}
	length := end.Sub(start)
	if r.open.events > 0 && (length >= defaults.Interval || !start.Before(r.openBegan.Add(defaults.Interval))) {
		r.fold()
	}
	if r.open.events == 0 {
		r.openBegan = start.Truncate(defaults.Interval)
	}
	r.open.events += events
	r.open.bad += bad
	r.windows++
	r.overBudget <<= 1
	if bad > events*r.limit {
		r.overBudget |= 1
	}
	r.step(start, length, events, bad)
	folded := !end.Before(r.openBegan.Add(defaults.Interval))
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
			r.recovering.add(r.open.bad, r.open.events)
		} else {
			r.recovering = dispersion{}
		}
	}
	r.all.events += r.open.events
	r.all.bad += r.open.bad
	r.all.intervals++
	r.open = tally{}
}

// step adds a window to the quick test.
func (r *ratio) step(start time.Time, length time.Duration, events, bad float64) {
	weight := defaults.AnyStart * min(1, length.Seconds()/defaults.Starts.Seconds())
	if r.windows == 1 {
		weight = 1 - defaults.AnyStart
	}
	// Longer windows prove more, but one alone may hold no more than a few bad seconds.
	long := min(max(1, length.Minutes()), 2)
	r.minOver = int(math.Ceil(float64(defaults.MinOver) / long))
	r.worse.step(start, weight, r.before.forBreach(), events, bad, defaults.MaxWindow*long)
	r.better.step(start, weight, r.recovery(), events, bad, math.Inf(1))
}

// look decides whether a verdict is proven, and starts an epoch where it differs
// from the last one.
func (r *ratio) look(at time.Time, folded bool) {
	now, proven := load.Inconclusive, r.tally
	switch {
	// A pass that holds must not hide a breach, so the quick test of one comes first.
	case r.verdict != load.Fail && r.worse.value() >= 1/(r.spend()*defaults.Quick) && r.lasts():
		now, proven = load.Fail, func() tally { return r.since(r.worse, at, r.before.forBreach()) }
	case folded || r.verdict == load.Inconclusive:
		now = r.usual(folded)
	}
	if now == load.Inconclusive && r.better.value() >= 1/(r.spendPass()*defaults.QuickPass) {
		now, proven = load.Pass, func() tally { return r.since(r.better, at, r.recovery()) }
	}
	changed := now != r.verdict
	if now == load.Inconclusive || !changed && !folded {
		return
	}
	r.proof = proven()
	if !changed {
		return
	}
	ends := now == load.Fail || r.verdict == load.Fail
	r.leaveBreach()
	if r.verdict = now; now == load.Fail {
		r.beforeBreach, r.recovering = r.before.dispersion, dispersion{}
	}
	if !ends {
		// A first pass ends no epoch: what it spent was for a pass, and the tests of a
		// breach go on with what they have not spent.
		return
	}
	r.reset(at)
}

// leaveBreach takes the intervals of a breach that is over out of the dispersion: a change of level is no clustering.
func (r *ratio) leaveBreach() {
	if r.verdict == load.Fail {
		r.spread = r.beforeBreach.plus(r.recovering)
		r.before.set(r.spread)
	}
}

// lasts reports whether enough of the latest windows are over the limit for a
// breach: a few bad seconds are none.
func (r *ratio) lasts() bool {
	return bits.OnesCount32(r.overBudget&(1<<defaults.Windows-1)) >= r.minOver
}

// recovery returns the design effect that a pass is proven with.
func (r *ratio) recovery() float64 {
	if r.verdict != load.Fail {
		return r.spread.forPass()
	}
	d := r.beforeBreach.plus(r.recovering)
	return d.forPass()
}

// usual returns the verdict that all evidence of the epoch proves. A breach is
// asked for when an interval has ended and FirstLook of them are known; a pass at
// any time, because its design effect is a bound until it is known.
func (r *ratio) usual(folded bool) load.Verdict {
	bad, events := r.all.bad, r.all.events
	bound := math.Log(1 / (r.spend() * defaults.Usual))
	if effect, _ := r.spread.effect(); folded && r.all.intervals >= defaults.FirstLook && r.mixture.Proves(bad/effect, events/effect, bound) > 0 {
		return load.Fail
	}
	bad, events = bad+r.open.bad, events+r.open.events
	effect := r.recovery()
	bound = math.Log(1 / (r.spendPass() * defaults.UsualPass))
	if r.passing.Proves(bad/effect, events/effect, bound) < 0 {
		return load.Pass
	}
	return load.Inconclusive
}

// tally returns all evidence of the epoch: without the interval under way, unless
// there is no other.
func (r *ratio) tally() tally {
	t := r.all
	if t.intervals == 0 {
		t.events, t.bad = r.open.events, r.open.bad
	}
	t.effect, _ = r.spread.effect()
	t.since = r.began
	return r.finish(t)
}

// since returns the evidence from the most likely start of the quick test's best alternative on.
func (r *ratio) since(o alternatives, at time.Time, effect float64) tally {
	t := o.best()
	t.effect = effect
	t.intervals = int(at.Sub(t.since) / defaults.Interval)
	return r.finish(t)
}

// finish sets the numbers of a tally that follow from its counts.
func (r *ratio) finish(t tally) tally {
	t.epoch, t.value = r.ledger.current, math.NaN()
	if t.events > 0 {
		t.value = t.bad / t.events
	}
	if a := &r.asked; a.events != t.events || a.bad != t.bad || a.effect != t.effect {
		*a = t
		a.in = r.mixture.Sequence(t.bad/t.effect, t.events/t.effect, defaults.Alpha)
	}
	t.in = r.asked.in
	return t
}

// needed returns how many more events would prove on which side of the limit the
// share lies if they are like those of t. It is infinite where the share is the limit.
func (r *ratio) needed(t tally) float64 {
	if t.events <= 0 {
		return math.Inf(1)
	}
	bound := math.Log(1 / (r.spend() * defaults.Usual))
	effect := t.effect
	if t.value < r.limit {
		bound, effect = math.Log(1/(r.spendPass()*defaults.UsualPass)), r.recovery()
	}
	mixture := &r.mixture
	if t.value < r.limit {
		mixture = &r.passing
	}
	proves := func(times float64) bool {
		return mixture.Proves(t.bad*times/effect, t.events*times/effect, bound) != 0
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
