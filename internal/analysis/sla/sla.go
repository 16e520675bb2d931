// Package sla judges objectives: whether a scenario meets its service levels.
// Verdicts are looked at continuously, so they rest on sequential tests, whose error
// rates hold however often they are asked. Requests are not independent, so counts
// are divided by a design effect. docs/verdicts.md states how often a verdict is wrong.
//
// Package objective defines which events of a window count as good and bad,
// load.Flags.Excluded which windows count.
package sla

import (
	"slices"
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/objective"
)

// Options configure a Judge.
type Options struct {
	// Replayed says that what is fed before Live is called comes out of history: it
	// is evidence and uses up budgets, but counters of this process do not count it.
	Replayed bool
}

// A Judge judges the objectives of all scenarios. It implements analysis.Analysis
// and analysis.Replayed.
type Judge struct {
	live      bool
	scenarios []*scenario
	counters  map[key]*counters // never emptied: a counter must not decrease
}

var _ analysis.Analysis = (*Judge)(nil)

// A key names an objective.
type key struct{ scenario, name string }

// A scenario is one with what is known of its objectives.
type scenario struct {
	analysis.Scenario
	clauses []*clause
	values  map[place]*latencies // shared by objectives
	waiting []*load.Window       // windows of steps whose scenario's own window has not come yet
}

// New returns a judge without objectives.
func New(o Options) *Judge { return &Judge{live: !o.Replayed, counters: map[key]*counters{}} }

// Live ends the replay of history: counters count from here on.
func (j *Judge) Live() { j.live = true }

// Configure sets the scenarios and their objectives. What is known of an objective
// that says the same as before is kept; one that changed starts without evidence. What
// each may spend on a breach follows their number from now on: it is the bound that
// evidence must pass, so that evidence under way stays what it is.
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
	alpha := alphaOf(objectives(d))
	for _, s := range j.scenarios {
		for _, c := range s.clauses {
			c.test.state().alpha = alpha
		}
	}
}

// objectives returns how many objectives are configured.
func objectives(d *analysis.Description) (n int) {
	for _, s := range d.Scenarios {
		n += len(s.Objectives)
	}
	return n
}

// Window takes a window. Those of steps are counted when their scenario's own window
// of the same stretch of time comes.
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

// Sample does nothing: resources have no objectives.
func (*Judge) Sample(load.Sample) {}

// Event drops the evidence on a target whose release changed.
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

// Run returns a finding for every objective of a scenario, over the windows of one
// of its runs that count.
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
