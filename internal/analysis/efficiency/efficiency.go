// Package efficiency judges how much of the load that was asked for reached the
// target: for an open workload, the iterations that started over the arrivals that
// were due. Other verdicts on a run with less load than was asked for are verdicts
// on another load.
package efficiency

import (
	"fmt"
	"time"

	"github.com/perfd/perfd/internal/amount"
	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

// An Analysis counts the arrivals of open workloads. It implements analysis.Analysis.
type Analysis struct {
	thresholds Thresholds
	scenarios  map[string]*scenario
	names      []string // in the order of the configuration
}

// A scenario holds the last runs of an open workload, the newest last.
type scenario struct{ runs []*run }

// A run counts the arrivals of one run.
type run struct {
	id           string
	due, started float64
	// Of the arrivals that did not start: those that the target held up, by taking
	// VUs too long or by making perfd back off, and those that perfd itself dropped.
	byTarget, byPerfd float64
	since             time.Time
	maintained        bool // some windows were in declared maintenance, and are not counted
}

// New returns an analysis of no scenario, with DefaultThresholds.
func New() *Analysis {
	return &Analysis{thresholds: DefaultThresholds(), scenarios: map[string]*scenario{}}
}

// Configure counts the arrivals of scenarios with open workloads. Runs of those that are counted already are kept.
func (a *Analysis) Configure(d *analysis.Description) {
	old := a.scenarios
	a.names, a.scenarios = nil, map[string]*scenario{}
	for _, s := range d.Scenarios {
		if s.Model != analysis.OpenModel {
			continue
		}
		a.names = append(a.names, s.Name)
		if a.scenarios[s.Name] = old[s.Name]; a.scenarios[s.Name] == nil {
			a.scenarios[s.Name] = &scenario{}
		}
	}
}

// Window adds a scenario's own window to its run.
func (a *Analysis) Window(w *load.Window) {
	s := a.scenarios[w.Scenario]
	if s == nil || w.Iterations == nil || w.Run == "" {
		return
	}
	r := s.run(w.Run)
	if r == nil {
		r = &run{id: w.Run, since: w.Start}
		s.runs = append(s.runs, r)
		s.runs = s.runs[max(0, len(s.runs)-a.thresholds.Runs):]
	}
	if w.Flags.Maintenance {
		r.maintained = true
		return
	}
	r.started += float64(w.Iterations.Started)
	r.due += float64(w.Iterations.Started)
	for why, n := range w.Iterations.Dropped {
		switch load.Reason(why) {
		case load.Paused, load.Shutdown: // these arrivals are no longer asked for
			continue
		case load.NoFreeVU, load.Backoff:
			r.byTarget += float64(n)
		default:
			r.byPerfd += float64(n)
		}
		r.due += float64(n)
	}
}

// run returns the run of an ID, nil where it is not known.
func (s *scenario) run(id string) *run {
	for _, r := range s.runs {
		if r.id == id {
			return r
		}
	}
	return nil
}

// Sample does nothing: resources are no part of efficiency.
func (a *Analysis) Sample(load.Sample) {}

// Event does nothing: windows name their runs.
func (a *Analysis) Event(load.Event) {}

// Judge returns nothing: efficiency is judged once, when a run has ended.
func (a *Analysis) Judge(time.Time) []load.Finding { return nil }

// Run returns the efficiency of a run that ended.
func (a *Analysis) Run(e load.Event, at time.Time) []load.Finding {
	s := a.scenarios[e.Scenario]
	if s == nil {
		return nil
	}
	r := s.run(e.Run)
	f := load.Finding{
		ID: analysis.ID(load.KindEfficiency, e.Scenario, e.Run), Kind: load.KindEfficiency, Scenario: e.Scenario, Target: e.Target, Run: e.Run,
		Since: e.At, Updated: at, Limit: load.Number(a.thresholds.Least), Unit: "ratio",
	}
	if r == nil || r.due == 0 {
		f.Sentence = "no arrival of " + e.Scenario + " was due"
		f.Needed = "a run with arrivals"
		if r != nil && r.maintained {
			f.Sentence += " outside of maintenance"
		}
		return []load.Finding{f}
	}
	ratio := r.started / r.due
	f.Since = r.since
	f.Value, f.Lower, f.Upper = load.Number(ratio), load.Number(ratio), load.Number(ratio)
	f.Sentence = fmt.Sprintf("%.1f %% of the load asked for: %s of %s arrivals of %s became iterations", ratio*100, amount.Count(r.started), amount.Count(r.due), e.Scenario)
	if r.maintained {
		f.Doubts = append(f.Doubts, "what was due in maintenance is left out")
	}
	f.Evidence = []load.Fact{
		{Name: "due", Value: load.Number(r.due)},
		{Name: "started", Value: load.Number(r.started)},
		{Name: "dropped by the target", Value: load.Number(r.byTarget)},
		{Name: "dropped by perfd", Value: load.Number(r.byPerfd)},
	}
	switch {
	case ratio >= a.thresholds.Least:
		f.Verdict = load.Pass
	case r.byTarget >= r.byPerfd:
		f.Verdict = load.Fail
	default:
		f.Doubts = append(f.Doubts, "perfd itself dropped most of what is missing")
		f.Needed = "more virtual users, a higher limit on requests or a larger machine for perfd"
	}
	return []load.Finding{f}
}

// Collect sends the efficiency of the newest run of each scenario.
func (a *Analysis) Collect(send analysis.Send) {
	for _, name := range a.names {
		if runs := a.scenarios[name].runs; len(runs) > 0 {
			if r := runs[len(runs)-1]; r.due > 0 {
				send(metric.Efficiency, r.started/r.due, name)
			}
		}
	}
}
