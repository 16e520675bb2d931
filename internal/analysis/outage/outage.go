// Package outage finds what needs no statistics: a scenario all of whose requests
// fail, and a check that never holds. It holds without objectives. That everything
// fails is found from seconds, within ten of the onset; that something does not any
// more, and all that comes out of history, from windows.
package outage

import (
	"slices"
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
	"github.com/perfd/perfd/internal/objective"
)

// An Analysis counts what fails without exception. It implements analysis.Analysis and analysis.Prompt.
type Analysis struct {
	thresholds Thresholds
	at         time.Time // of the last Judge
	names      []string  // in the order of the configuration
	scenarios  map[string]*scenario
}

// A scenario is what is known of one.
type scenario struct {
	analysis.Scenario
	failing streak
	checks  map[string]*streak
	runs    []*run // the newest last
}

// A streak is what failed one after the other.
type streak struct {
	since, until time.Time
	count        count
	active       bool
	// part is what of count lies in the window under way, which counts it again when it ends.
	part count
}

// A count is requests, or evaluations of a check, that could tell something.
type count struct {
	all, failed uint64
	causes      [load.NumCauses]uint64
}

func (c *count) add(o count) {
	c.all += o.all
	c.failed += o.failed
	for i, n := range o.causes {
		c.causes[i] += n
	}
}

// subtract takes away what is a part of c.
func (c *count) subtract(o count) {
	c.all -= min(o.all, c.all)
	c.failed -= min(o.failed, c.failed)
	for i, n := range o.causes {
		c.causes[i] -= min(n, c.causes[i])
	}
}

// A run is what one run counted.
type run struct {
	id     string
	since  time.Time
	count  count
	checks map[string]*count
}

// New returns an analysis of no scenario, with DefaultThresholds.
func New() *Analysis {
	return &Analysis{thresholds: DefaultThresholds(), scenarios: map[string]*scenario{}}
}

// Configure sets the scenarios. What is known of those that were there is kept.
func (a *Analysis) Configure(d *analysis.Description) {
	old := a.scenarios
	a.names, a.scenarios = nil, map[string]*scenario{}
	for _, s := range d.Scenarios {
		a.names = append(a.names, s.Name)
		to := old[s.Name]
		if to == nil {
			to = &scenario{checks: map[string]*streak{}}
		}
		to.Scenario = s
		a.scenarios[s.Name] = to
	}
}

// excused reports whether failures in a window are explained: by load that is meant to
// disturb the target, a rollout, or maintenance.
func excused(w *load.Window) bool {
	return w.Flags.Paused || w.Flags.Maintenance || w.Flags.Disturbed || w.Flags.Settling
}

// Part adds a part of a window under way. An outage that is found ends with a window.
func (a *Analysis) Part(w *load.Window) (news bool) {
	s := a.scenarios[w.Scenario]
	if s == nil || excused(w) {
		return false
	}
	x, n := &s.failing, requests(w)
	if x.active && x.stale(w.Start, a.thresholds.Stale) {
		*x = streak{}
	}
	known := x.active
	switch {
	case n.all == 0:
	case n.failed == n.all:
		a.extend(x, w, n)
		x.part.add(n)
	case !known:
		*x = streak{}
	}
	return x.active && !known
}

// Window adds a scenario's own window.
func (a *Analysis) Window(w *load.Window) {
	s := a.scenarios[w.Scenario]
	if s == nil || w.Step != "" {
		return
	}
	if excused(w) {
		s.failing.part = count{}
		return
	}
	n := requests(w)
	a.step(&s.failing, w, n)
	r := s.runOf(w, a.thresholds.Runs)
	r.count.add(n)
	for _, c := range w.Checks {
		n := count{all: c.Evaluated, failed: c.Failed}
		if s.checks[c.Name] == nil {
			s.checks[c.Name] = &streak{}
		}
		a.step(s.checks[c.Name], w, n)
		if r.checks[c.Name] == nil {
			r.checks[c.Name] = &count{}
		}
		r.checks[c.Name].add(n)
	}
}

// requests counts the requests of a window whose outcome is the target's doing.
func requests(w *load.Window) (n count) {
	n.all, n.causes = w.Requests, w.Failures
	for _, t := range w.Touched {
		if t.Cause != load.None && !t.Cause.Sure() {
			n.causes[t.Cause] -= min(t.Count, n.causes[t.Cause])
			n.all -= min(t.Count, n.all)
		}
	}
	for _, ours := range [...]load.Cause{load.Overload, load.Canceled, load.Internal, load.Input} {
		n.all -= min(n.all, n.causes[ours])
		n.causes[ours] = 0
	}
	for _, k := range n.causes {
		n.failed += k
	}
	return n
}

// step adds a window to a streak.
func (a *Analysis) step(s *streak, w *load.Window, n count) {
	if s.active && s.stale(w.Start, a.thresholds.Stale) {
		*s = streak{}
	}
	good := n.all - min(n.all, n.failed)
	switch {
	case n.all == 0: // says nothing
	case s.part.all > 0 && s.since.After(w.Start): // what did not fail came before
	case good == 0, s.active && 2*good <= n.all: // an answer now and then ends no outage
		n.subtract(s.part)
		a.extend(s, w, n)
	default:
		*s = streak{}
	}
	s.part = count{}
}

// extend adds what failed within a window, or a part of one, to a streak.
func (a *Analysis) extend(s *streak, w *load.Window, n count) {
	if s.count.all == 0 {
		s.since = w.Start
	}
	s.count.add(n)
	s.until = w.End
	s.active = s.active || s.count.all >= a.thresholds.Least && s.until.Sub(s.since) >= a.thresholds.Span
}

// stale reports whether what an active streak found is too long ago to say anything at an instant:
// the run has ended, or load is paused. At a low rate some requests may be awaited.
func (s *streak) stale(at time.Time, least time.Duration) bool {
	const awaited = 3
	return at.Sub(s.until) > max(least, awaited*s.until.Sub(s.since)/time.Duration(s.count.all))
}

// holds reports whether a streak is an outage at the last Judge.
func (a *Analysis) holds(s *streak) bool {
	return s != nil && s.active && !s.stale(a.at, a.thresholds.Stale)
}

// runOf returns the run that a window belongs to.
func (s *scenario) runOf(w *load.Window, most int) *run {
	if r := s.run(w.Run); r != nil {
		return r
	}
	r := &run{id: w.Run, since: w.Start, checks: map[string]*count{}}
	s.runs = append(s.runs[max(0, len(s.runs)-most+1):], r)
	return r
}

// run returns the run of an ID, nil where it is not known.
func (s *scenario) run(id string) *run {
	if i := slices.IndexFunc(s.runs, func(r *run) bool { return r.id == id }); i >= 0 {
		return s.runs[i]
	}
	return nil
}

// Sample does nothing: resources do not fail.
func (*Analysis) Sample(load.Sample) {}

// Event does nothing: an outage outlasts a cut, and becomes stale after an end.
func (*Analysis) Event(load.Event) {}

// Judge returns a finding for each scenario that fails and each check that never holds.
func (a *Analysis) Judge(at time.Time) (found []load.Finding) {
	a.at = at
	for _, name := range a.names {
		s := a.scenarios[name]
		if a.holds(&s.failing) {
			found = append(found, s.outage(&s.failing, at))
		}
		for _, check := range s.neverHold(func(check string) bool { return a.holds(s.checks[check]) }) {
			found = append(found, s.check(check, s.checks[check].count, s.checks[check].since, at))
		}
	}
	return found
}

// Run returns what failed without exception in a run. Without objectives, a run most
// of whose requests fail is no success either.
func (a *Analysis) Run(e load.Event, at time.Time) (found []load.Finding) {
	s := a.scenarios[e.Scenario]
	if s == nil {
		return nil
	}
	r := s.run(e.Run)
	if r == nil {
		return nil
	}
	least := a.thresholds.Least
	switch n := r.count; {
	// Without objectives nothing else holds a few failures against the run.
	case len(s.Objectives) == 0 && 2*n.failed > n.all, n.all >= least && n.failed == n.all:
		found = append(found, s.outageOfRun(r, e, at))
	}
	for _, check := range s.neverHold(func(check string) bool {
		n := r.checks[check]
		return n != nil && n.all >= least && n.failed == n.all
	}) {
		f := s.check(check, *r.checks[check], r.since, at)
		f.ID, f.Run, f.Release = analysis.ID(KindCheck, s.Name, check, e.Run), e.Run, e.Release
		found = append(found, f)
	}
	return found
}

// neverHold returns the checks that are so, in order, without those that an
// objective speaks of.
func (s *scenario) neverHold(so func(check string) bool) (names []string) {
	for _, o := range s.Objectives {
		if o.Kind == objective.CheckRatio && o.Check == "" {
			return nil
		}
	}
	known := map[string]bool{}
	for check := range s.checks {
		known[check] = true
	}
	for _, r := range s.runs {
		for check := range r.checks {
			known[check] = true
		}
	}
	for check := range known {
		judged := slices.ContainsFunc(s.Objectives, func(o objective.Objective) bool { return o.Kind == objective.CheckRatio && o.Check == check })
		if !judged && so(check) {
			names = append(names, check)
		}
	}
	slices.Sort(names)
	return names
}

// Collect sends which scenarios fail.
func (a *Analysis) Collect(send analysis.Send) {
	for _, name := range a.names {
		send(metric.Outage, analysis.Number(a.holds(&a.scenarios[name].failing)), name)
	}
}
