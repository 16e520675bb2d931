// Package sla judges objectives: whether a service keeps what was promised of
// it. Verdicts may be looked at continuously, so they rest on tests that stay right
// however often they are asked, and requests are not independent, so counts are
// effective ones. docs/verdicts.md says how often a verdict is wrong.
//
// What an objective counts is its own to say (package objective); what a window must be to
// count is load.Flags.Excluded.
package sla

import (
	"slices"
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/objective"
)

// Options are those of a Judge.
type Options struct {
	// Replayed says that what is fed first comes out of history: counters stand
	// still until Live is called, evidence and budget do not.
	Replayed bool
}

// A Judge judges the objectives of all scenarios.
type Judge struct {
	live      bool
	scenarios []*scenario
	counters  map[key]*counters // never emptied: counters must not go back
}

var _ analysis.Analysis = (*Judge)(nil)

// A key names an objective.
type key struct{ scenario, name string }

// A scenario is one with its objectives.
type scenario struct {
	analysis.Scenario
	clauses []*clause
	values  map[place]*latencies // of the objectives' steps and windows
	waiting []*load.Window       // of the interval whose own window did not come yet
}

// New returns a judge without objectives.
func New(o Options) *Judge { return &Judge{live: !o.Replayed, counters: map[key]*counters{}} }

// Live ends the replay of history.
func (j *Judge) Live() { j.live = true }

// Configure sets the scenarios. What is known of an objective that says what it
// said before is kept; one that changed begins anew.
func (j *Judge) Configure(d *analysis.Description) {
	old, used := map[key]*clause{}, map[string]*scenario{}
	for _, s := range j.scenarios {
		used[s.Name] = s
		for _, c := range s.clauses {
			old[key{s.Name, c.Name}] = c
		}
	}
	j.scenarios = nil
	for _, config := range d.Scenarios {
		s := &scenario{Scenario: config, values: map[place]*latencies{}}
		if before := used[s.Name]; before != nil {
			s.waiting = before.waiting
		}
		for _, o := range config.Objectives {
			at := key{s.Name, o.Name}
			c := newClause(o, old[at])
			if j.counters[at] == nil {
				j.counters[at] = newCounters()
			}
			c.counters = j.counters[at]
			if o.Kind == objective.Latency {
				p := place{o.Step, o.Window}
				if s.values[p] == nil {
					s.values[p] = &latencies{span: o.Window}
					if before := used[s.Name]; before != nil && before.values[p] != nil {
						s.values[p] = before.values[p]
					}
				}
				c.latencies = s.values[p]
			}
			s.clauses = append(s.clauses, c)
		}
		j.scenarios = append(j.scenarios, s)
	}
}

// Window takes a window. Those of an interval are counted once its scenario's own came.
func (j *Judge) Window(w *load.Window) {
	i := slices.IndexFunc(j.scenarios, func(s *scenario) bool { return s.Name == w.Scenario })
	if i < 0 {
		return
	}
	s := j.scenarios[i]
	if len(s.waiting) > 0 && !s.waiting[0].End.Equal(w.End) {
		s.waiting = s.waiting[:0]
	}
	s.waiting = append(s.waiting, w)
	if w.Step != "" {
		return
	}
	for p, l := range s.values {
		if w.Flags.Excluded() != "" {
			break
		}
		if i := slices.IndexFunc(s.waiting, func(w *load.Window) bool { return w.Step == p.step }); i >= 0 {
			l.add(s.waiting[i])
		}
	}
	for _, c := range s.clauses {
		c.take(s.waiting, j.live)
	}
	clear(s.waiting)
	s.waiting = s.waiting[:0]
}

// Sample takes nothing: resources have no objectives.
func (*Judge) Sample(load.Sample) {}

// Event takes a change of release: evidence begins anew.
func (j *Judge) Event(e load.Event) {
	if e.Kind != load.ReleaseChanged {
		return
	}
	for _, s := range j.scenarios {
		for _, c := range s.clauses {
			if c.Target == e.Target {
				c.released(e.Release, e.At)
			}
		}
	}
}

// Judge returns a finding for every objective.
func (j *Judge) Judge(at time.Time) []load.Finding {
	var found []load.Finding
	for _, s := range j.scenarios {
		for _, c := range s.clauses {
			found = append(found, c.finding(s, at))
		}
	}
	return found
}

// Run returns a finding for every objective of the run's scenario, over the run's
// windows that count, looked at once.
func (j *Judge) Run(r load.Event, at time.Time) []load.Finding {
	var found []load.Finding
	for _, s := range j.scenarios {
		for _, c := range s.clauses {
			if s.Name == r.Scenario {
				found = append(found, c.ofRun(s, r, at))
			}
		}
	}
	return found
}
