package pace

import (
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perfd/perfd/internal/block"
)

// ExternallyControlled follows a level that is set from outside while it runs.
var ExternallyControlled = Executor{
	Name: "externally-controlled",
	Doc:  "Keeps virtual users busy, or starts iterations at a rate: as many as are set from outside while it runs.",
	New: func() Workload {
		return &externallyControlled{
			GracefulRampDown: block.Duration(30 * time.Second),
			arrivalRate:      arrivalRate{Arrivals: Even, MaxLateness: block.Duration(time.Second)},
		}
	},
	Instead: map[string]string{"start_vus": "vus", "start_rate": "rate", "stages": "vus or rate, which are set while it runs"},
}

type externallyControlled struct {
	VUs      *int           `yaml:"vus" scale:"load" doc:"Virtual users; 1 by default."`
	Rate     *block.Rate    `yaml:"rate" scale:"load" doc:"Iterations started per time; those that externally-controlled begins with."`
	MaxRate  *block.Rate    `yaml:"max_rate" scale:"load" doc:"Highest rate that externally-controlled may be set to; rate by default."`
	Duration block.Duration `yaml:"duration" scale:"time" doc:"How long a constant or externally controlled executor runs; without it, as long as the schedule says."`
	arrivalRate
	startOver
	GracefulRampDown block.Duration `yaml:"graceful_ramp_down" doc:"How long an iteration may go on after its virtual user was taken away; 30s by default."`
}

// start is the level until another is set.
func (w *externallyControlled) start() Target {
	switch one := 1; {
	case w.Rate != nil:
		return Target{Rate: w.Rate}
	case w.VUs == nil:
		return Target{VUs: &one}
	}
	return Target{VUs: w.VUs}
}

// most is the highest level that may be set.
func (w *externallyControlled) most() Target {
	switch {
	case w.Rate != nil && w.MaxRate != nil:
		return Target{Rate: w.MaxRate}
	case w.Rate == nil && w.MaxVUs != nil:
		return Target{VUs: w.MaxVUs}
	}
	return w.start()
}

func (w *externallyControlled) Check(c *Checker) {
	if c.At.Get("rate") != nil || c.At.Get("max_rate") != nil {
		w.checkRate(c)
		return
	}
	w.without(c, "belongs to a rate, and virtual users are set", "arrivals", "pre_allocated_vus", "max_lateness")
	w.checkStart(c)
	if !c.VUs("vus", w.VUs, 0) || !c.VUs("max_vus", w.MaxVUs, 1) {
		return
	}
	switch first, most := *w.start().VUs, *w.most().VUs; {
	case most == 0:
		c.Fail("max_vus", "is required where vus is 0: none could be set").Hint = "write max_vus: 50"
	case first > most:
		c.Fail("vus", "must be at most max_vus (%d), got %d", most, first)
	}
}

// checkRate checks a workload whose rate is set.
func (w *externallyControlled) checkRate(c *Checker) {
	before := c.errs.Len()
	w.without(c, "belongs to virtual users, and a rate is set", "vus", "start_over", "graceful_ramp_down")
	if w.Rate == nil {
		c.Fail("rate", "is required with max_rate").Hint = "write rate: 0/s to begin without load"
	}
	w.check(c)
	if w.Rate == nil || c.Partial || c.errs.Len() > before {
		return
	}
	switch most := w.most(); {
	case most.Level() == 0:
		c.Fail("max_rate", "is required where rate is 0: none could be set").Hint = "write max_rate: 50/s"
	case w.Rate.PerSecond() > most.Level():
		c.Fail("rate", "must be at most max_rate (%s), got %s", most, w.Rate)
	default:
		c.exact(Target{Rate: w.Rate, At: c.At.Get("rate")}, Target{Rate: most.Rate, At: c.At.Get("max_rate")})
	}
}

// without reports keys that do not go with what is set.
func (w *externallyControlled) without(c *Checker, why string, keys ...string) {
	for _, key := range keys {
		if c.At.Get(key) != nil {
			c.Fail(key, "%s", why)
		}
	}
}

func (w *externallyControlled) Summary() Summary {
	s := Summary{Model: ClosedModel, End: End{Time: w.Duration.D()}, Peak: w.most().Level(), Mean: w.start().Level()}
	if w.Rate != nil {
		s.Model = OpenModel
		return w.complete(s)
	}
	s.StartOver = w.spread
	s.FirstVUs, s.MostVUs, s.GracefulRampDown = *w.start().VUs, *w.most().VUs, w.GracefulRampDown.D()
	return s
}

func (w *externallyControlled) Describe() string {
	text := w.start().String() + ", then what is set from outside, at most " + w.most().String()
	if w.Duration > 0 {
		text += ", for " + w.Duration.String()
	}
	if w.Rate != nil {
		text += w.spacing()
	}
	return text
}

func (w *externallyControlled) Plan(scenario string, seed int) (Plan, error) {
	l := &levels{most: w.most()}
	first, err := newProfile(w.start(), nil, nil, End{})
	if err != nil {
		return nil, err
	}
	l.now.Store(&[]level{{Setting{VUs: w.start().VUs, Rate: w.start().Rate}, first}})
	c := controlled{levels: l, end: Forever}
	if w.Duration > 0 {
		c.end = w.Duration.D()
	}
	if w.Rate != nil {
		return controlledRate{controlled: c, seed: seedOf(seed, scenario), poisson: w.Arrivals == Poisson}, nil
	}
	return controlledVUs{c}, nil
}

// A Controlled plan is one whose level is set from outside while runs follow it. Copies that [From] makes of it share
// what was set. Its methods are safe for concurrent use.
type Controlled interface {
	Plan
	// Set sets the level from an instant on; the arrival that is under way comes when the rest of it has passed. An
	// error says what is wrong with the level, and leaves the one that holds.
	Set(to Target, at time.Time, by string) (Setting, error)
	// Restore takes up what an earlier plan was set to, or, where that is more than may be set by now, as much as may. It
	// comes before the first Set.
	Restore(was Setting, now time.Time) (Setting, error)
	// Shift moves what was set by a step of the wall clock.
	Shift(step time.Duration)
	// Now is the level that was set last; one that was not set is since the zero time.
	Now() Setting
	// Most is the highest level that may be set.
	Most() Target
}

// A Setting is a level that was set from outside: one of VUs and Rate.
type Setting struct {
	VUs   *int        `json:"vus,omitempty"`
	Rate  *block.Rate `json:"rate,omitempty"`
	Since time.Time   `json:"since,omitzero"`
	By    string      `json:"by,omitempty"`

	// Of the run that was under way: its plan's zero, the arrivals that were due before Since, and the part of one that
	// was left until the next.
	Zero   time.Time `json:"zero,omitzero"`
	Before uint64    `json:"before,omitempty"`
	Rest   float64   `json:"rest,omitempty"`
}

// Level returns the level.
func (s Setting) Level() Target { return Target{VUs: s.VUs, Rate: s.Rate} }

// levels is what was set, one level after another.
type levels struct {
	most Target
	mu   sync.Mutex // of who changes now
	now  atomic.Pointer[[]level]
}

// A level is a setting and its profile without end.
type level struct {
	Setting
	*profile
}

// Levels that were replaced are kept for as long as arrivals may be sought back, and no more of them than keptLevels.
const (
	keepLevels = time.Minute
	keptLevels = 64
)

// add appends a level; the caller holds the lock.
func (l *levels) add(s Setting) error {
	p, err := newProfile(s.Level(), nil, nil, End{})
	if err != nil {
		return fmt.Errorf("rate: %s %w", s.Rate, err)
	}
	old := *l.now.Load()
	for len(old) > 1 && (len(old) >= keptLevels || s.Since.Sub(old[1].Since) > keepLevels) {
		old = old[1:]
	}
	next := append(append([]level{}, old...), level{s, p})
	l.now.Store(&next)
	return nil
}

// controlled is what both plans have in common.
type controlled struct {
	*levels
	zero time.Time // of the run's plan; the zero time where there is none
	end  time.Duration
}

// End is the end after the duration.
func (p controlled) End() End {
	if p.end == Forever {
		return End{}
	}
	return End{Time: p.end}
}

func (p controlled) Now() Setting {
	all := *p.now.Load()
	return all[len(all)-1].Setting
}

func (p controlled) Most() Target { return p.most }

func (p controlled) Shift(step time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := append([]level{}, *p.now.Load()...)
	for i := range next {
		if !next[i].Since.IsZero() {
			next[i].Since = next[i].Since.Add(step)
		}
	}
	p.now.Store(&next)
}

// allowed returns what is wrong with a level.
func (l *levels) allowed(to Target) error {
	switch {
	case l.most.VUs != nil && to.VUs == nil:
		return errors.New("rate: the scenario keeps a number of virtual users busy, and has no rate")
	case l.most.Rate != nil && to.Rate == nil:
		return errors.New("vus: the scenario starts iterations at a rate, and has no number of virtual users to set")
	case to.VUs != nil && (*to.VUs < 0 || *to.VUs > *l.most.VUs):
		return fmt.Errorf("vus: must be between 0 and %d, which the configuration's max_vus allows, got %d", *l.most.VUs, *to.VUs)
	case to.Rate != nil && (to.Rate.Count < 0 || to.Level() > l.most.Level()):
		return fmt.Errorf("rate: must be between 0/s and %s, which the configuration's max_rate allows, got %s", l.most.Rate, to.Rate)
	}
	return nil
}

// restore is Restore; the caller holds the lock.
func (l *levels) restore(was Setting, now time.Time) (Setting, error) {
	if was.VUs != nil && l.most.VUs != nil && *was.VUs > *l.most.VUs || was.Rate != nil && l.most.Rate != nil && was.Level().Level() > l.most.Level() {
		was = Setting{VUs: l.most.VUs, Rate: l.most.Rate, Since: now, By: was.By + ", then the configuration's limit"}
	}
	if err := l.allowed(was.Level()); err != nil {
		return was, err
	}
	if was.Since.After(now) { // the clock went back
		was.Since = now
	}
	p, err := newProfile(was.Level(), nil, nil, End{})
	if err != nil {
		return was, err
	}
	l.now.Store(&[]level{{was, p}})
	return was, nil
}

func (p controlled) Restore(was Setting, now time.Time) (Setting, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.restore(was, now)
}

// A span is a stretch of a run with one level.
type span struct {
	*level
	from, until time.Duration // of the plan
	begins      bool          // the run begins with it
}

// spans yields the stretches of the run in their order. What comes before the first level that is kept has that level.
func (p controlled) spans() iter.Seq[span] {
	all := *p.now.Load()
	from := func(i int) time.Duration {
		if i == len(all) {
			return p.end
		}
		if all[i].Since.IsZero() {
			return 0
		}
		return min(max(0, all[i].Since.Sub(p.zero)), p.end)
	}
	return func(yield func(span) bool) {
		for i := range all {
			if s := (span{&all[i], from(i), from(i + 1), from(i) == 0}); s.from < s.until && !yield(s) {
				return
			}
		}
	}
}

// at is the stretch that holds a time from 0 to the end.
func (p controlled) at(t time.Duration) (found span) {
	for s := range p.spans() {
		if found.level == nil || s.from <= t {
			found = s
		}
		if s.from > t {
			found.until = min(found.until, s.from)
			break
		}
	}
	return found
}

// level is At of both models.
func (p controlled) level(t time.Duration) Level {
	switch {
	case t < 0:
		return Level{}
	case t >= p.end:
		return Level{Stage: 1, Until: Forever}
	}
	s := p.at(t)
	l := Level{Until: s.until}
	if s.Rate != nil {
		l.Rate = s.Rate.PerSecond()
	} else {
		l.VUs = *s.VUs
	}
	if l.Until == Forever && s.Level().Level() == 0 {
		l.Until = later(t, time.Hour) // no load for ever would be the end
	}
	return l
}

// controlledVUs is one of the closed model.
type controlledVUs struct{ controlled }

func (p controlledVUs) At(t time.Duration) Level { return p.level(t) }

func (p controlledVUs) from(zero time.Time) Plan {
	p.zero = zero
	return p
}

func (p controlledVUs) Set(to Target, at time.Time, by string) (Setting, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Setting{VUs: to.VUs, Rate: to.Rate, Since: at, By: by}
	err := p.allowed(to)
	if err == nil {
		err = p.add(s)
	}
	return s, err
}

// controlledRate is one of the open model. The number of arrivals, and the fraction of one that is left, are carried
// from each level into the next, so that arrival k is due where the integral of the rate is k. Poisson arrivals of a
// level depend on hash(seed, scenario, instant at which it was set, cell).
type controlledRate struct {
	controlled
	seed    uint64
	poisson bool

	share  float64       // of an arrival that a run begins with, as OutOfStep says
	within time.Duration // likewise
}

func (p controlledRate) At(t time.Duration) Level { return p.level(t) }

func (p controlledRate) from(zero time.Time) Plan {
	p.zero = zero
	return p
}

// Count is the integral of the rate.
func (p controlledRate) Count(from, to time.Duration) (sum float64) {
	for s := range p.spans() {
		if begin, end := max(from, s.from), min(to, s.until); begin < end {
			sum += s.Rate.PerSecond() * (end - begin).Seconds()
		}
	}
	return sum
}

// even returns the arrivals of a stretch since its beginning, and the number of those before.
func (p controlledRate) even(s span) (e even, before uint64) {
	e = even{rates: rates{s.profile}}
	switch {
	case s.begins:
		e.phase = e.part(p.share * min(1, s.Rate.PerSecond()*p.within.Seconds()))
	case s.Zero.Equal(p.zero):
		e.phase, before = e.part(s.Rest), s.Before
	}
	return e, before
}

func (p controlledRate) Arrivals(from time.Duration, shard, of int) iter.Seq[time.Duration] {
	from = max(0, from)
	return func(yield func(time.Duration) bool) {
		for s := range p.spans() {
			if s.until <= from {
				continue
			}
			e, before := p.even(s)
			all := e.Arrivals(from-s.from, (shard+of-int(before%uint64(of)))%of, of)
			if p.poisson {
				seed := p.seed
				if !s.begins {
					seed = mix(seed, uint64(s.Since.UnixNano()))
				}
				all = poisson{e.rates, seed}.Arrivals(from-s.from, shard, of)
			}
			for t := range all {
				if t >= s.until-s.from {
					break
				}
				if !yield(s.from + t) {
					return
				}
			}
		}
	}
}

func (p controlledRate) Set(to Target, at time.Time, by string) (Setting, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Setting{VUs: to.VUs, Rate: to.Rate, Since: at, By: by}
	if err := p.allowed(to); err != nil {
		return s, err
	}
	if t := at.Sub(p.zero); !p.zero.IsZero() && t > 0 && t < p.end {
		s.Zero = p.zero
		s.Before, s.Rest = p.passed(t)
	}
	return s, p.add(s)
}

// passed returns how many arrivals are due before a time, and the part of one that is left until the next.
func (p controlledRate) passed(t time.Duration) (before uint64, rest float64) {
	s := p.at(t)
	e, before := p.even(s)
	arrival, area := 2*e.scale, e.areaAt(t-s.from)
	if area.less(e.phase) {
		return before, e.phase.minus(area).float() / float64(arrival)
	}
	done := area.minus(e.phase)
	k := done.overUp(arrival)
	return before + k, product(k, arrival).minus(done).float() / float64(arrival)
}
