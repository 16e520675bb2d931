package pace

import (
	"iter"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/perfd/perfd/internal/block"
)

// A Feed is a level over wall time that is measured elsewhere while a scenario follows it. Whoever reads the source
// calls Put, and Extend where it could not be read; the plans of the scenario follow at once. It is safe for concurrent
// use, but Put and Extend are for one goroutine.
type Feed struct {
	// Source is what is read: an address, a query and header fields, for whoever knows what they mean.
	Source struct {
		Address, Query block.Text
		Headers        block.Entries[block.Text]
	}
	Step   time.Duration // between two values; they are those of its multiples since 1970
	Offset time.Duration // how far back the value of an instant is
	// Every is the time between two reads.
	Every time.Duration

	missing Missing
	scale   float64 // from a value to a level, in iterations per second or virtual users
	most    float64 // level
	now     atomic.Pointer[measured]
}

// A Measured is a value at an instant.
type Measured struct {
	At    time.Time
	Value float64
}

// measured is what is known of a feed's values at one moment. It is immutable.
type measured struct {
	first  int64     // the number of the step that values begins with
	values []float64 // NaN where one is missing
	until  int64     // the number of the step up to which arrivals may be planned
}

const (
	// keptSteps is how many steps before the present are read and kept, for values that come late and for what is held.
	keptSteps = 120
	// aheadSteps is how many steps after the present are read where they are known.
	aheadSteps = 120
	// patience is for how long plans go on by the rule for missing values while nobody extends the feed.
	patience = 15 * time.Second
)

// number is that of the step that a time of the source lies in.
func (f *Feed) number(source int64) int64 {
	n := source / int64(f.Step)
	if source < n*int64(f.Step) {
		n--
	}
	return n
}

// Wanted is the range to read at an instant, both ends on a step.
func (f *Feed) Wanted(now time.Time) (from, to time.Time) {
	at := f.number(now.Add(-f.Offset).UnixNano())
	last := min(at+aheadSteps, f.number(now.UnixNano()))
	return time.Unix(0, (at-keptSteps)*int64(f.Step)), time.Unix(0, last*int64(f.Step))
}

// Put takes the values of a range that was read at an instant. Those that are not of a step's beginning are left out.
func (f *Feed) Put(all []Measured, now time.Time) {
	from, to := f.Wanted(now)
	first, last := f.number(from.UnixNano()), f.number(to.UnixNano())
	m := &measured{first: first, values: make([]float64, last-first+1)}
	old := f.now.Load()
	for i := range m.values {
		m.values[i] = old.value(first + int64(i)) // what was known stays known
	}
	for _, v := range all {
		n := f.number(v.At.UnixNano())
		if i := n - first; i >= 0 && i < int64(len(m.values)) && v.At.UnixNano() == n*int64(f.Step) && v.Value >= 0 && !math.IsInf(v.Value, 0) {
			m.values[i] = v.Value
		}
	}
	m.until = f.horizon(now)
	f.now.Store(m)
}

// Extend has plans go on by the rule for missing values.
func (f *Feed) Extend(now time.Time) {
	m := measured{until: f.horizon(now)}
	if old := f.now.Load(); old != nil {
		m.first, m.values = old.first, old.values
	}
	f.now.Store(&m)
}

func (f *Feed) horizon(now time.Time) int64 {
	return f.number(now.Add(-f.Offset).Add(patience+2*f.Every).UnixNano()) + 1
}

// value is that of a step, NaN where it is missing or too old.
func (m *measured) value(n int64) float64 {
	if m == nil || n < m.first || n >= m.first+int64(len(m.values)) {
		return math.NaN()
	}
	return m.values[n-m.first]
}

// between returns the levels at the beginning and the end of a step.
func (f *Feed) between(m *measured, n int64) (from, to float64) {
	level := func(v float64) float64 { return min(v*f.scale, f.most) }
	if v := m.value(n); !math.IsNaN(v) {
		return level(v), level(v)
	}
	if m == nil || len(m.values) == 0 || f.missing == Zero {
		return 0, 0
	}
	before := min(n, m.first+int64(len(m.values))) - 1
	for before >= m.first && math.IsNaN(m.value(before)) {
		before--
	}
	if before < m.first {
		return 0, 0
	}
	v := m.value(before)
	after := n + 1
	for after < m.first+int64(len(m.values)) && math.IsNaN(m.value(after)) {
		after++
	}
	next := m.value(after)
	if f.missing == Hold || math.IsNaN(next) {
		return level(v), level(v)
	}
	at := func(n int64) float64 { // on the line from the end of before to the beginning of after
		return level(v + (next-v)*float64(n-before-1)/float64(after-before-1))
	}
	return at(n), at(n + 1)
}

// A following is a plan that follows a feed. Its zero is an instant, which From sets.
type following struct {
	feed *Feed
	base int64 // the source's time at the plan's zero, in nanoseconds since 1970
}

// FeedOf is what a plan follows, nil for one that is known beforehand.
func FeedOf(p Plan) *Feed {
	switch f := p.(type) {
	case followingRate:
		return f.feed
	case followingVUs:
		return f.feed
	}
	return nil
}

// From returns the plan of a run with its zero at an instant.
func From(p Plan, zero time.Time) Plan {
	if a, ok := p.(anchored); ok {
		return a.from(zero)
	}
	return p
}

// An anchored plan depends on the instant of its zero.
type anchored interface {
	from(zero time.Time) Plan
}

func (p followingRate) from(zero time.Time) Plan {
	p.base = zero.UnixNano() - int64(p.feed.Offset)
	return p
}

func (p followingVUs) from(zero time.Time) Plan {
	p.base = zero.UnixNano() - int64(p.feed.Offset)
	return p
}

// End is never: the source may go on.
func (following) End() End { return End{} }

// at is the level at a time, and when the next step begins.
func (p following) at(t time.Duration) (level float64, until time.Duration) {
	n := p.feed.number(p.base + int64(t))
	from, to := p.feed.between(p.feed.now.Load(), n)
	begin := time.Duration(n*int64(p.feed.Step) - p.base)
	return from + (to-from)*float64(t-begin)/float64(p.feed.Step), begin + p.feed.Step
}

// followingVUs is one of the closed model.
type followingVUs struct{ following }

// At rounds the level to whole virtual users.
func (p followingVUs) At(t time.Duration) Level {
	if t < 0 {
		return Level{}
	}
	level, until := p.at(t)
	return Level{VUs: int(math.Round(level)), Until: until}
}

// followingRate is one of the open model. The arrivals of each step depend on hash(seed, scenario, step) and on the
// step's level alone, so that restarts and shards that know the same values have the same arrivals: even ones are one
// apart in units of the integrated rate, the first at a part of one that is drawn, so that their number is right in
// the mean and never off by more than one.
type followingRate struct {
	following
	seed    uint64
	poisson bool
}

// At is the level of the step, or of the line through it.
func (p followingRate) At(t time.Duration) Level {
	if t < 0 {
		return Level{}
	}
	level, until := p.at(t)
	return Level{Rate: level, Until: until}
}

// Count is the integral of the rate as far as it is known at the moment.
func (p followingRate) Count(from, to time.Duration) (sum float64) {
	for from = max(0, from); from < to; {
		level, until := p.at(from)
		until = min(until, to)
		end, _ := p.at(until - 1)
		sum += (level + end) / 2 * (until - from).Seconds()
		from = until
	}
	return sum
}

// Arrivals ends where nobody knows yet what comes: a walk that begins later goes on.
func (p followingRate) Arrivals(from time.Duration, shard, of int) iter.Seq[time.Duration] {
	from = max(0, from)
	return func(yield func(time.Duration) bool) {
		m := p.feed.now.Load()
		if m == nil {
			return
		}
		var source rand.PCG
		random := rand.New(&source)
		length := float64(p.feed.Step)
		for n := p.feed.number(p.base + int64(from)); n < m.until; n++ {
			a, b := p.feed.between(m, n)
			l := line{a / 1e9, (b - a) / 1e9 / length, (a + b) / 2e9 * length}
			source.Seed(mix(p.seed, uint64(n)), p.seed)
			turn := random.Uint64() % uint64(of)
			begin := time.Duration(n*int64(p.feed.Step) - p.base)
			gap := random.Float64()
			if p.poisson {
				gap = random.ExpFloat64()
			}
			for gap < l.area {
				t := begin + min(time.Duration(l.reaches(gap)), p.feed.Step-1)
				mine := turn == uint64(shard)
				turn = (turn + 1) % uint64(of)
				if mine && t >= from && !yield(t) {
					return
				}
				if p.poisson {
					gap += random.ExpFloat64()
				} else {
					gap++
				}
			}
		}
	}
}
