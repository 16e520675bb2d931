package sla

import (
	"math"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/stats"
)

// A level tests a mean rate against the least that it may be. An observation is
// the rate of one interval. Like a ratio it has two tests: a confidence sequence of
// the mean of all intervals of the epoch, and e-processes that start at any time.
// Both use the normal approximation with the observed standard deviation.
type level struct {
	core
	limit float64 // per second

	spread laggedMoments // for the standard deviation of the quick test

	all       moments // of the epoch
	events    float64 // of the epoch
	open      tally   // the events of the interval under way
	openBegan time.Time
	openEnd   time.Time
	openTime  time.Duration // what was measured of it

	worse, better shifted
}

// A shifted is the quick test of one side.
type shifted struct {
	processes [len(defaults.Shifts)]stats.Restarting

	// The latest intervals whose likelihood ratio for a shift by one standard
	// deviation is largest, as in streak.
	log    float64
	since  time.Time
	streak moments
	events float64
}

// step adds an interval whose rate x is z standard deviations beyond the limit on
// the side that is tested.
func (s *shifted) step(start time.Time, weight, z, x, events float64) {
	weight /= float64(len(defaults.Shifts))
	for i, shift := range defaults.Shifts {
		s.processes[i].Step(weight, min(shift*z-shift*shift/2, defaults.MaxWindow))
	}
	if s.streak.n == 0 {
		s.since = start
	}
	s.log += z - 0.5
	s.events += events
	s.streak.add(x, 1)
	if s.log <= 0 {
		s.log, s.events, s.streak = 0, 0, moments{}
	}
}

// value returns the e-value of all shifts together.
func (s *shifted) value() (sum float64) {
	for i := range s.processes {
		sum += s.processes[i].Value()
	}
	return sum
}

// moments are the weighted number, sum and sum of squares of the rates of intervals.
type moments struct{ n, sum, squares float64 }

// add adds a rate after multiplying the weights of all others by keep.
func (m *moments) add(x, keep float64) {
	m.n, m.sum, m.squares = m.n*keep+1, m.sum*keep+x, m.squares*keep+x*x
}

func (m *moments) mean() float64 { return m.sum / m.n }

// deviation returns the standard deviation, at least the effect of one event in an interval.
func (m *moments) deviation() float64 {
	v := (m.squares - m.sum*m.sum/m.n) / (m.n - 1)
	return math.Sqrt(max(v, 1/(defaults.Interval.Seconds()*defaults.Interval.Seconds())))
}

// laggedMoments fade, and leave out the last lag intervals.
type laggedMoments struct {
	moments
	waiting [lag]float64
	count   int
}

func (l *laggedMoments) add(x float64) {
	slot := &l.waiting[l.count%lag]
	if l.count >= lag {
		l.moments.add(*slot, fading)
	}
	*slot = x
	l.count++
}

func newLevel(limit float64) *level { return &level{core: core{alpha: defaults.Alpha}, limit: limit} }

func (l *level) reset(at time.Time) {
	l.ledger.next(at)
	l.began = at
	l.all, l.events, l.open, l.openTime = moments{}, 0, tally{}, 0
	l.worse, l.better = shifted{}, shifted{}
}

func (l *level) forget(at time.Time) {
	l.verdict, l.proof = load.Inconclusive, tally{}
	l.reset(at)
}

func (l *level) add(start, end time.Time, events, _ float64) {
	if l.ledger.current == 0 {
		l.reset(start)
	}
	length := end.Sub(start)
	if l.openTime > 0 && (length >= defaults.Interval || !start.Before(l.openBegan.Add(defaults.Interval))) {
		l.fold()
	}
	if l.openTime == 0 {
		l.openBegan = start.Truncate(defaults.Interval)
	}
	l.openTime += length
	l.openEnd = end
	l.open.events += events
	if !end.Before(l.openBegan.Add(defaults.Interval)) {
		l.fold()
	}
}

// fold ends the interval under way. It is dropped where less than half of it was measured.
func (l *level) fold() {
	length, events := l.openTime, l.open.events
	l.openTime, l.open = 0, tally{}
	if length < defaults.Interval/2 {
		return
	}
	x := events / length.Seconds()
	l.events += events
	l.all.add(x, 1)
	l.spread.add(x)
	l.step(x, events, length)
	l.look(l.openEnd)
}

func (l *level) step(x, events float64, length time.Duration) {
	if l.spread.n < float64(defaults.FirstLook-lag) {
		return
	}
	weight := 0.5 * min(1, length.Seconds()/defaults.Starts.Seconds())
	if first := float64(defaults.FirstLook); l.all.n <= first {
		weight += 0.5 / first
	}
	z := (x - l.limit) / l.spread.deviation()
	l.worse.step(l.openBegan, weight, -z, x, events)
	l.better.step(l.openBegan, weight, z, x, events)
}

func (l *level) look(at time.Time) {
	now, proof := load.Inconclusive, tally{}
	looks := l.all.n >= float64(defaults.FirstLook)
	if looks {
		proof = l.tally()
		switch {
		case l.all.mean()+l.half(l.all, l.spend()*defaults.Usual) < l.limit:
			now = load.Fail
		case l.all.mean()-l.half(l.all, l.spendPass()*defaults.Usual) > l.limit:
			now = load.Pass
		}
	}
	switch {
	case now != load.Inconclusive:
	case l.worse.value() >= 1/(l.spend()*defaults.Quick):
		now, proof = load.Fail, l.finish(l.worse.streak, l.worse.events, l.worse.since)
	case l.better.value() >= 1/(l.spendPass()*defaults.Quick) && looks:
		now, proof = load.Pass, l.finish(l.better.streak, l.better.events, l.better.since)
	default:
		return
	}
	l.proof = proof
	if now != l.verdict {
		l.verdict = now
		l.reset(at)
	}
}

// half returns half the width of the confidence sequence of the mean.
func (l *level) half(m moments, alpha float64) float64 {
	return m.deviation() * stats.NormalBound(m.n, stats.NormalRho(defaults.Sharpest, alpha), alpha) / m.n
}

func (l *level) tally() tally { return l.finish(l.all, l.events, l.began) }

// finish returns the tally of intervals since an instant.
func (l *level) finish(m moments, events float64, since time.Time) tally {
	t := tally{events: events, intervals: int(m.n), effect: 1, since: since, epoch: l.ledger.current}
	t.value, t.in = math.NaN(), stats.Interval{Lower: 0, Upper: math.Inf(1)}
	if m.n > 0 {
		t.value = m.mean()
	}
	if m.n > 1 {
		half := l.half(m, defaults.Alpha)
		t.in = stats.Interval{Lower: max(0, t.value-half), Upper: t.value + half}
	}
	return t
}

// needed returns how many more events would prove on which side of the limit the
// rate lies if it stays as it is in t, infinite where too many would.
func (l *level) needed(t tally) float64 {
	if l.all.n < 2 {
		return math.Inf(1)
	}
	bound, distance := l.spend()*defaults.Usual, math.Abs(t.value-l.limit)/l.all.deviation()
	if t.value > l.limit {
		bound = l.spendPass() * defaults.Usual
	}
	for n := l.all.n; n < l.all.n*(1<<16); n *= 1.1 {
		if stats.NormalBound(n, stats.NormalRho(defaults.Sharpest, bound), bound)/n <= distance {
			return (n - l.all.n) / l.all.n * l.events
		}
	}
	return math.Inf(1)
}
