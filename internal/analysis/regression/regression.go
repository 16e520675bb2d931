// Package regression says when a release is worse than those before it, and
// when a level changed that no release explains.
//
// Windows of each step are folded into intervals of a minute or more. A release's
// intervals are compared with those of the latest release that was well, at
// equal load and by the same observer, never its requests: requests resemble
// their neighbours. Intervals do too, so they count for as many as independent ones would.
// Where pauses divide the runs of a scenario, the run is the unit.
//
// A statistic is worse if that is proven at all looks, steps and statistics
// together, and if it is by more than the practical margin. It is well again
// once it is proven to be inside the margin.
package regression

import (
	"math"
	"slices"
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

// DefaultMargin is the relative change below which a worsening has no practical importance.
const DefaultMargin = 0.05

// DefaultInterval is the least length of the intervals that releases are compared by: in a minute what a
// target does for some seconds evens out.
const DefaultInterval = time.Minute

// A Scenario is what is compared.
type Scenario struct {
	Name, Target string
	Steps        []string
	Metrics      []string      // those of Steps that are metrics of the scenario's own
	Margin       float64       // practical margin; 0 is DefaultMargin
	Interval     time.Duration // least length of an interval; 0 is DefaultInterval
	Test         string        // what the scenario is for
}

// keptAccepted bounds how many accepted findings are remembered.
const keptAccepted = 1000

// An Analysis implements analysis.Analysis.
type Analysis struct {
	scenarios map[string]*scenario
	order     []*scenario
	settling  map[string]settling // by target
	accepted  []acceptance        // the newest last
}

// An acceptance is the ID of a finding whose level was accepted at an instant.
type acceptance struct {
	finding string
	at      time.Time
}

// settling is when the windows of a target's newest release begin to count.
type settling struct {
	release string
	until   time.Time
}

type scenario struct {
	Scenario
	pairs []*pair // of the steps, then the scenario's own

	run          string // the newest
	observer     string
	chain        int       // of runs without a pause between them
	began, ended time.Time // of the chain; ended is zero while a run is under way

	extents  map[load.Kind]extent
	findings []load.Finding
	said     []statement // of releases, the newest last
	ran      []ran       // the newest last
	dirty    bool
}

// A ran is a release that a run saw.
type ran struct{ run, release string }

// A statement is the last that was said of a release.
type statement struct {
	release  string
	findings []load.Finding
}

// keptStatements is for how many releases: the run that a release cut is judged a
// window later.
const keptStatements = 4

// New returns an analysis of no scenario.
func New() *Analysis {
	return &Analysis{scenarios: map[string]*scenario{}, settling: map[string]settling{}}
}

// configure says which scenarios are compared. What is known of those that stay is kept.
func (a *Analysis) configure(list []Scenario) {
	old := a.scenarios
	a.scenarios, a.order = map[string]*scenario{}, nil
	for _, c := range list {
		if c.Margin <= 0 {
			c.Margin = DefaultMargin
		}
		if c.Interval <= 0 {
			c.Interval = DefaultInterval
		}
		s := old[c.Name]
		if s == nil {
			s = &scenario{extents: map[load.Kind]extent{}}
		}
		var pairs []*pair
		for _, step := range append(slices.Clone(c.Steps), "") {
			p := s.pair(step)
			if p == nil {
				p = newPair(step)
			}
			p.metric = slices.Contains(c.Metrics, step)
			p.fine.length, p.tail.length = c.Interval, c.Interval
			pairs = append(pairs, p)
		}
		s.Scenario, s.pairs, s.dirty = c, pairs, true
		a.scenarios[c.Name] = s
		a.order = append(a.order, s)
	}
}

func (s *scenario) pair(step string) *pair {
	for _, p := range s.pairs {
		if p.step == step {
			return p
		}
	}
	return nil
}

// own is the pair of the scenario as a whole.
func (s *scenario) own() *pair { return s.pairs[len(s.pairs)-1] }

// Window takes a window.
func (a *Analysis) Window(w *load.Window) {
	s := a.scenarios[w.Scenario]
	if s == nil {
		return
	}
	p := s.pair(w.Step)
	if p == nil {
		return
	}
	target := w.Target
	if target == "" {
		target = s.Target
	}
	young := a.settling[target]
	if w.Flags.Excluded() == "" && (w.Release != young.release || !w.Start.Before(young.until)) {
		if now := (ran{w.Run, w.Release}); w.Step == "" && !slices.Contains(s.ran, now) {
			s.ran = append(s.ran, now)
			s.ran = s.ran[max(0, len(s.ran)-keptStatements):]
		}
		p.add(w, origin{release: w.Release, observer: s.observer, chain: s.chain})
	}
	if w.Step == "" {
		p.target = s.Target
		a.evaluate(s)
	}
}

// Sample takes nothing.
func (a *Analysis) Sample(load.Sample) {}

// Event takes runs, releases and accepted findings.
func (a *Analysis) Event(e load.Event) {
	switch e.Kind {
	case load.ReleaseChanged:
		a.settling[e.Target] = settling{e.Release, e.Settled}
	case load.FindingTaken:
		a.accepted = append(a.accepted, acceptance{e.Finding, e.At})
		a.accepted = a.accepted[max(0, len(a.accepted)-keptAccepted):]
		for _, s := range a.order {
			a.accept(s)
		}
	case load.RunBegan:
		if s := a.scenarios[e.Scenario]; s != nil {
			s.begin(e)
		}
	case load.RunEnded:
		if s := a.scenarios[e.Scenario]; s != nil {
			s.ended = e.At
		}
	}
}

// A pause between runs is one where it takes more than a minute, and more than
// a tenth of the time before it: an always-on scenario that was held up once has
// not become one of many runs.
const (
	leastPause = time.Minute
	pauseShare = 10
)

func (s *scenario) begin(e load.Event) {
	pause := max(leastPause, s.ended.Sub(s.began)/pauseShare)
	if s.began.IsZero() || e.Run != s.run && !s.ended.IsZero() && e.At.Sub(s.ended) > pause {
		s.finish()
		s.chain++
		s.began = e.At
	}
	s.run, s.observer, s.ended = e.Run, e.Observer, time.Time{}
}

// finish closes what is open: a chain of runs is over.
func (s *scenario) finish() {
	for _, p := range s.pairs {
		p.endSession()
		p.endPoint()
	}
}

// evaluate looks at what closed since the last time.
func (a *Analysis) evaluate(s *scenario) {
	fresh, grown := false, false
	level := thresholds.ChangeLevel / float64(len(s.pairs)*len(statistics))
	for _, p := range s.pairs {
		if p.fresh {
			fresh = true
			p.look(s.Margin)
		}
		if p.grown {
			grown = true
			p.search(level, s.Margin)
		}
	}
	if grown {
		s.dirty = true
		s.gather()
	}
	if fresh {
		s.dirty = true
		s.mendSteps()
		s.family()
	}
	if s.dirty {
		a.accept(s)
		s.report()
	}
}

// Judge says what is known of the scenarios.
func (a *Analysis) Judge(at time.Time) []load.Finding {
	var out []load.Finding
	for _, s := range a.order {
		if !s.ended.IsZero() && at.Sub(s.ended) > leastPause {
			s.finish()
		}
		a.evaluate(s)
		for _, f := range s.findings {
			f.Updated = at
			out = append(out, f)
		}
	}
	return out
}

// Run says how the release with which a run began compares with those before it, and which of those that came while it
// was under way are worse: a run that has an end is not cut by a release.
func (a *Analysis) Run(e load.Event, at time.Time) []load.Finding {
	s := a.scenarios[e.Scenario]
	if s == nil {
		return nil
	}
	if !s.ended.IsZero() && !s.ended.After(e.At) {
		s.finish()
	}
	a.evaluate(s)
	var out []load.Finding
	for _, said := range s.said {
		if said.release == e.Release {
			out = slices.Clone(said.findings)
		}
	}
	for _, said := range s.said {
		if said.release == e.Release || !slices.Contains(s.ran, ran{e.Run, said.release}) {
			continue
		}
		for _, f := range said.findings {
			if f.Verdict == load.Fail && !slices.ContainsFunc(out, func(o load.Finding) bool { return o.ID == f.ID }) {
				out = append(out, f)
			}
		}
	}
	for i := range out {
		out[i].Run, out[i].Updated = e.Run, at
	}
	return out
}

// accept makes the levels of findings that were accepted the baselines. What is
// accepted of a scenario is of its steps too, and what is accepted of a step
// explains what the scenario as a whole shows.
func (a *Analysis) accept(s *scenario) {
	if len(a.accepted) == 0 {
		return
	}
	for _, p := range s.pairs {
		steps := []string{p.step, ""}
		if p.step == "" {
			steps = append(steps, s.Steps...)
		}
		for _, step := range steps {
			if p.confirmed == nil {
				break
			}
			if at, ok := a.acceptedSince(regressionID(s.Name, step, p.confirmed.release), p.confirmed.at); ok {
				p.accept(at)
				s.dirty = true
			}
		}
		for _, step := range steps {
			if p.moved == nil {
				break
			}
			_, ok := a.acceptedSince(changeID(s.Name, step, p.moved.at), p.moved.at)
			if cur := p.current(); !ok && cur != nil {
				_, ok = a.acceptedSince(regressionID(s.Name, step, cur.release), p.moved.at)
			}
			if ok {
				since := p.moved.surely
				p.acceptChange(since)
				s.own().acceptChange(since)
				s.dirty = true
			}
		}
	}
}

// acceptedSince returns when a finding that began at an instant was accepted. What was accepted before
// it began is another level.
func (a *Analysis) acceptedSince(id string, began time.Time) (at time.Time, ok bool) {
	for _, x := range slices.Backward(a.accepted) {
		if x.finding == id && !x.at.Before(began) {
			return x.at, true
		}
	}
	return time.Time{}, false
}

func regressionID(scenario, step, release string) string {
	return analysis.ID(load.KindRegression, scenario, step, release)
}

func changeID(scenario, step string, at time.Time) string {
	return analysis.ID(load.KindChange, scenario, step, at.UTC().Format(time.RFC3339))
}

// Collect sends the metrics.
func (a *Analysis) Collect(send analysis.Send) {
	for _, s := range a.order {
		verdict := s.verdict()
		for v := range load.NumVerdicts {
			send(metric.RegressionVerdict, analysis.Number(v == verdict), s.Name, v.String())
		}
		for _, p := range s.pairs {
			p.collect(s.Name, send)
		}
	}
}

// verdict sums the findings of the scenario up.
func (s *scenario) verdict() load.Verdict {
	verdict := load.Inconclusive
	for _, f := range s.findings {
		if f.Verdict == load.Fail {
			return load.Fail
		}
		verdict = f.Verdict
	}
	return verdict
}

func (p *pair) collect(name string, send analysis.Send) {
	for _, statistic := range statistics {
		released := p.confirmed != nil && slices.Contains(p.confirmed.worse, statistic)
		moved := p.moved != nil && slices.Contains(p.moved.worse, statistic)
		if r := p.latest(statistic); released || moved || r != nil && r.inside {
			send(metric.RegressionSuspected, analysis.Number(released || moved), name, p.step, statistic)
		}
		if c := p.relative(statistic); !math.IsNaN(c) {
			send(metric.RegressionChange, c, name, p.step, statistic)
		}
		switch {
		case released:
			send(metric.RegressionInfo, 1, name, p.step, statistic, p.target, p.confirmed.release, p.confirmed.since)
		case moved:
			send(metric.RegressionInfo, 1, name, p.step, statistic, p.target, "", "")
		}
	}
}

// relative is the change of a statistic over what it was in the release before, or before a
// change that no release explains; NaN where it is unknown.
func (p *pair) relative(statistic string) float64 {
	if p.moved != nil && p.moved.statistic == statistic && p.confirmed == nil {
		r := result{statistic: statistic, before: p.moved.before, change: p.moved.to(p.moved.now)}
		return r.relative()
	}
	if r := p.latest(statistic); r != nil {
		return r.relative()
	}
	return math.NaN()
}
