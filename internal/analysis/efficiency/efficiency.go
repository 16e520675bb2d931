// Package efficiency says how much of the load that was asked for there was: of
// an open workload the iterations that started over the arrivals that were due.
// A judgement on less load than was asked for is one about another system.
package efficiency

import (
	"fmt"
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

// Least is the efficiency that a run must reach.
const Least = 0.95

// keptRuns is how many runs of a scenario are remembered: the one under way and
// those whose end is judged a window later.
const keptRuns = 4

// An Analysis implements analysis.Analysis.
type Analysis struct {
	scenarios map[string]*scenario
	names     []string // in the order of the configuration
}

// A scenario is the counts of an open workload's last runs, the newest last.
type scenario struct{ runs []*run }

type run struct {
	id             string
	due, started   float64
	byTarget, ours float64 // of what did not start
	since, until   time.Time
}

// New returns an analysis of no scenario.
func New() *Analysis { return &Analysis{scenarios: map[string]*scenario{}} }

// Configure says which scenarios have open workloads.
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

// Window takes the scenarios' own windows.
func (a *Analysis) Window(w *load.Window) {
	s := a.scenarios[w.Scenario]
	if s == nil || w.Iterations == nil || w.Run == "" {
		return
	}
	r := s.run(w.Run)
	if r == nil {
		r = &run{id: w.Run, since: w.Start}
		s.runs = append(s.runs, r)
		s.runs = s.runs[max(0, len(s.runs)-keptRuns):]
	}
	r.until = w.End
	r.started += float64(w.Iterations.Started)
	r.due += float64(w.Iterations.Started)
	for why, n := range w.Iterations.Dropped {
		switch load.Reason(why) {
		case load.Paused, load.Shutdown: // nobody asked for them any more
			continue
		case load.NoFreeVU, load.Backoff:
			r.byTarget += float64(n)
		default:
			r.ours += float64(n)
		}
		r.due += float64(n)
	}
}

func (s *scenario) run(id string) *run {
	for _, r := range s.runs {
		if r.id == id {
			return r
		}
	}
	return nil
}

// Sample takes nothing.
func (a *Analysis) Sample(load.Sample) {}

// Event takes nothing.
func (a *Analysis) Event(load.Event) {}

// Judge has nothing to say while runs go on: what is dropped is in their windows.
func (a *Analysis) Judge(time.Time) []load.Finding { return nil }

// Run says how much of its load a run had.
func (a *Analysis) Run(e load.Event, at time.Time) []load.Finding {
	s := a.scenarios[e.Scenario]
	if s == nil {
		return nil
	}
	r := s.run(e.Run)
	f := load.Finding{
		ID: analysis.ID(load.KindEfficiency, e.Scenario, e.Run), Kind: load.KindEfficiency, Scenario: e.Scenario, Target: e.Target, Run: e.Run,
		Since: e.At, Updated: at, Limit: Least, Unit: "ratio",
	}
	if r == nil || r.due == 0 {
		f.Sentence = "no arrival of " + e.Scenario + " was due"
		f.Needed = "a run with arrivals"
		return []load.Finding{f}
	}
	ratio := r.started / r.due
	f.Since = r.since
	f.Value, f.Lower, f.Upper = load.Number(ratio), load.Number(ratio), load.Number(ratio)
	f.Sentence = fmt.Sprintf("%.1f %% of the load asked for: %.0f of %.0f arrivals of %s became iterations", ratio*100, r.started, r.due, e.Scenario)
	f.Evidence = []load.Fact{
		{Name: "due", Value: load.Number(r.due)},
		{Name: "started", Value: load.Number(r.started)},
		{Name: "dropped by the target", Value: load.Number(r.byTarget)},
		{Name: "dropped by perfd", Value: load.Number(r.ours)},
	}
	switch {
	case ratio >= Least:
		f.Verdict = load.Pass
	case r.byTarget >= r.ours:
		f.Verdict = load.Fail
	default:
		f.Doubts = append(f.Doubts, "perfd itself dropped most of what is missing")
		f.Needed = "more virtual users, a higher limit on requests or a larger machine for perfd"
	}
	return []load.Finding{f}
}

// Collect sends the efficiency of the newest runs.
func (a *Analysis) Collect(send analysis.Send) {
	for _, name := range a.names {
		if runs := a.scenarios[name].runs; len(runs) > 0 {
			if r := runs[len(runs)-1]; r.due > 0 {
				send(metric.Efficiency, r.started/r.due, name)
			}
		}
	}
}
