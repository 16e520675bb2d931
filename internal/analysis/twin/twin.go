// Package twin answers whether a scenario's target is worse than its untouched baseline, which gets the same load at the
// same time, and tells a release from its environment.
//
// Like windows of the two sides are pairs, and what both sides share is not in the difference of a pair: a noisy
// machine below both, a slow database behind both, the hour of the day. The differences of the logarithms of p50, p95,
// mean and a typical level, and those of the error ratio, are looked at over the last minutes, hours and days, again and again. A
// difference is called where it is not by chance, at a level that allows for all those looks (stats.SpanLevel) and for
// differences that resemble their neighbours (stats.EffectiveSize), and where it is beyond a practical margin.
//
// What both sides do together against their own level before is the environment's change. It is said, and nobody is
// called for it.
package twin

import (
	"math"
	"slices"
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
	"github.com/perfd/perfd/internal/stats"
)

// A state is what is known of a scenario and its twin.
type state string

// The states, as labels have them.
const (
	unknown     state = "unknown"
	alike       state = "alike"
	release     state = "release"     // the scenario's own side alone is worse
	environment state = "environment" // both sides are worse than they were
	noise       state = "baseline"    // the baseline's side alone is worse
)

var states = []state{release, environment, noise, alike, unknown}

// An Analysis compares scenarios with their twins. It implements analysis.Analysis.
type Analysis struct {
	scenarios []*scenario // those with twins, in the order of the configuration
	of        map[string]*scenario
	beside    map[string]*scenario // by the name of the baseline's side
}

// A scenario is one with a twin.
type scenario struct {
	name    string
	target  string
	twin    analysis.Twin
	steps   []string
	metrics []string // those of steps that are metrics of the scenario's own

	waiting     map[windowKey]*load.Window // of either side, for the other's
	comparisons []*comparison              // of the steps, then of the whole
	last        time.Time                  // end of the last pair
	looked      time.Time                  // last of the pairs that were looked at
	runs        []begun                    // the newest last

	state     state
	worst     *comparison // that the state is about
	statistic int         // its statistic
	shift     result      // of the environment
	observer  string
}

// A begun run is one that the sides are compared in when it has ended.
type begun struct {
	id string
	at time.Time
}

// keptRuns is how many runs are remembered: the one under way, and those that wait for their verdict.
const keptRuns = 4

// A windowKey is what like windows of the two sides have in common, and the side.
type windowKey struct {
	side       int
	step       string
	start, end int64
}

// New returns an analysis of no scenario.
func New() *Analysis { return &Analysis{} }

// Configure compares the scenarios with twins. What is known of those whose twin is the same is kept.
func (a *Analysis) Configure(d *analysis.Description) {
	old := a.of
	a.scenarios, a.of, a.beside = nil, map[string]*scenario{}, map[string]*scenario{}
	for _, c := range d.Scenarios {
		if c.Twin == nil {
			continue
		}
		s := old[c.Name]
		if s == nil || s.twin.Name != c.Twin.Name || s.target != c.Target || !slices.Equal(s.steps, c.Steps) || !slices.Equal(s.metrics, c.Metrics) {
			s = &scenario{name: c.Name, target: c.Target, steps: c.Steps, metrics: c.Metrics, state: unknown}
			s.reset()
		}
		s.twin = *c.Twin
		a.scenarios = append(a.scenarios, s)
		a.of[c.Name], a.beside[s.twin.Name] = s, s
	}
}

// reset forgets all pairs.
func (s *scenario) reset() {
	s.waiting, s.comparisons, s.state, s.worst = map[windowKey]*load.Window{}, nil, unknown, nil
	if len(s.steps) > 1 { // the only step is the whole
		for _, step := range s.steps {
			s.comparisons = append(s.comparisons, &comparison{step: step, metric: slices.Contains(s.metrics, step)})
		}
	}
	s.comparisons = append(s.comparisons, &comparison{})
}

// whole is the comparison of the scenario as a whole.
func (s *scenario) whole() *comparison { return s.comparisons[len(s.comparisons)-1] }

// Window takes a window of a scenario's own side.
func (a *Analysis) Window(w *load.Window) {
	if s := a.of[w.Scenario]; s != nil {
		s.take(w, own)
	}
}

// Baseline takes a window of a baseline's side.
func (a *Analysis) Baseline(w *load.Window) {
	if s := a.beside[w.Scenario]; s != nil {
		s.take(w, baseline)
	}
}

// take compares a window with the other side's of the same time, once both are there.
func (s *scenario) take(w *load.Window, side int) {
	if w.IsGroup() {
		return // its steps are compared
	}
	k := windowKey{side, w.Step, w.Start.UnixNano(), w.End.UnixNano()}
	other := k
	other.side = 1 - side
	like := s.waiting[other]
	if like == nil {
		s.wait(k, w)
		return
	}
	delete(s.waiting, other)
	a, b := w, like
	if side == baseline {
		a, b = like, w
	}
	s.last = w.End
	if a.Run == "" || b.Run == "" || a.Flags.Excluded() != "" || b.Flags.Excluded() != "" {
		return
	}
	for _, c := range s.comparisons {
		if c.step == w.Step {
			c.add(a, b)
		}
	}
}

// wait keeps a window until that of the other side is there. The other side's of long ago never come.
func (s *scenario) wait(k windowKey, w *load.Window) {
	s.waiting[k] = w
	if len(s.waiting) <= 4*len(s.comparisons)+4 {
		return
	}
	for old, x := range s.waiting {
		if w.End.Sub(x.End) > max(time.Minute, 2*w.End.Sub(w.Start)) {
			delete(s.waiting, old)
		}
	}
}

// Sample does nothing: resources are not compared.
func (a *Analysis) Sample(load.Sample) {}

// Event notes where runs begin. Numbers of another observer are not compared.
func (a *Analysis) Event(e load.Event) {
	s := a.of[e.Scenario]
	if s == nil || e.Kind != load.RunBegan {
		return
	}
	if s.observer != "" && s.observer != e.Observer {
		s.reset()
	}
	s.observer = e.Observer
	if !slices.ContainsFunc(s.runs, func(r begun) bool { return r.id == e.Run }) {
		s.runs = append(s.runs, begun{e.Run, e.At})
		s.runs = s.runs[max(0, len(s.runs)-keptRuns):]
	}
}

// lookEvery is the time between two looks at the pairs: a look at all spans of hundreds of steps takes a while.
const lookEvery = time.Minute

// Judge looks at the pairs and returns what is known of each scenario.
func (a *Analysis) Judge(at time.Time) (found []load.Finding) {
	for _, s := range a.scenarios {
		if s.last.Sub(s.looked) >= lookEvery || s.last.Before(s.looked) {
			s.looked = s.last
			s.look()
		}
		found = append(found, s.finding(at))
	}
	return found
}

// share is the part of the false calls that are allowed which a comparison has: the whole has as much as all steps.
func (s *scenario) share(c *comparison) float64 {
	switch {
	case len(s.comparisons) == 1:
		return 1
	case c.step == "":
		return 0.5
	}
	return 0.5 / float64(len(s.comparisons)-1)
}

// look compares all steps anew and says which of the states it comes to.
func (s *scenario) look() {
	for _, c := range s.comparisons {
		c.look(s.last, s.twin.Margin, s.share(c))
	}
	s.shift = result{}
	s.state, s.worst = unknown, nil
	for _, sign := range []int{1, -1} {
		if s.worst, s.statistic = s.gravest(sign); s.worst != nil {
			s.state = release
			if sign < 0 {
				s.state = noise
			}
			return
		}
	}
	s.worst, s.statistic = s.whole(), s.usual()
	if s.equal() {
		s.state = alike
	}
	for stat := range levels {
		if r := s.whole().environment(stat, s.last, s.twin.Margin); r.beyond > 0 && (!s.shift.known || r.change > s.shift.change) {
			s.state, s.shift, s.statistic = environment, r, stat
		}
	}
}

// usual is the statistic that is spoken of where none is called: p95, if it is known.
func (s *scenario) usual() int {
	for _, stat := range []int{1, 3, 0, 2, levels} {
		if s.whole().latest[stat].known {
			return stat
		}
	}
	return 1
}

// equal reports whether all that is known of the whole is proven to be within the margin.
func (s *scenario) equal() bool {
	known := 0
	for stat := range statistics {
		if r := s.whole().latest[stat]; r.known {
			if !r.inside {
				return false
			}
			known++
		}
	}
	return known >= 3
}

// gravest returns of the comparisons that are called, with a sign, the one to speak of and its statistic: the whole
// where all of its steps are called or none is, and otherwise the step with the largest change. Errors come first.
func (s *scenario) gravest(sign int) (at *comparison, statistic int) {
	var steps []*comparison
	for _, c := range s.comparisons[:len(s.comparisons)-1] {
		if c.called(sign) {
			steps = append(steps, c)
		}
	}
	list := steps
	if s.whole().called(sign) && (len(steps) == 0 || len(steps) == len(s.comparisons)-1) {
		list = []*comparison{s.whole()}
	}
	largest := 0.0
	for _, c := range list {
		for stat := range statistics {
			r := c.latest[stat]
			if c.calls[stat].worse != sign {
				continue
			}
			size := math.Abs(math.Log1p(max(-0.99, r.change)))
			if stat == levels {
				size += 1000
			}
			if size >= largest {
				at, statistic, largest = c, stat, size
			}
		}
	}
	return at, statistic
}

// called reports whether any statistic is called, with a sign.
func (c *comparison) called(sign int) bool {
	return slices.ContainsFunc(c.calls[:], func(x call) bool { return x.worse == sign })
}

// environment returns how far both sides together lie above their own levels of before, where both do.
func (c *comparison) environment(statistic int, at time.Time, margin float64) (r result) {
	recent, _ := c.within(thresholds.Recent, at)
	all, _ := c.within(thresholds.Fine, at)
	before := all[:firstAfter(all, at.Add(-thresholds.Recent-thresholds.Before))]
	limit := math.Log1p(margin)
	var change, low, high float64
	for side := range 2 {
		x, y := levelsOf(before, side, statistic), levelsOf(recent, side, statistic)
		if len(x) < thresholds.FewestFine || len(y) < thresholds.FewestFine {
			return result{}
		}
		shift := stats.WelchEffective(x, y, stats.EffectiveSize(x), stats.EffectiveSize(y), thresholds.Confidence)
		if !(shift.Interval.Lower > limit) {
			return result{}
		}
		change, low, high = change+shift.Estimate/2, low+shift.Interval.Lower/2, high+shift.Interval.Upper/2
		r.levels[side] = math.Exp(stats.Mean(y))
	}
	r.known, r.beyond, r.n = true, 1, len(recent)
	r.change, r.in = math.Expm1(change), stats.Interval{Lower: math.Expm1(low), Upper: math.Expm1(high)}
	return r
}

func levelsOf(list []value, side, statistic int) (x []float64) {
	for i := range list {
		if v := float64(list[i].level[side][statistic]); !math.IsNaN(v) {
			x = append(x, v)
		}
	}
	return x
}

// Collect sends the state of each scenario, and how far its side is from the baseline's.
func (a *Analysis) Collect(send analysis.Send) {
	for _, s := range a.scenarios {
		for _, one := range states {
			send(metric.TwinVerdict, analysis.Number(s.state == one), s.name, string(one))
		}
		w := s.whole()
		send(metric.TwinInfo, 1, s.name, s.target, w.releases[own], s.twin.Target, w.releases[baseline])
		if s.state == environment {
			send(metric.TwinEnvironment, s.shift.change, s.name, statistics[s.statistic])
		}
		for _, c := range s.comparisons {
			for stat, name := range statistics {
				if r := c.latest[stat]; r.known {
					send(metric.TwinChange, r.change, s.name, c.step, name)
					send(metric.TwinChangeLower, r.in.Lower, s.name, c.step, name)
					send(metric.TwinChangeUpper, r.in.Upper, s.name, c.step, name)
				}
			}
		}
	}
}
