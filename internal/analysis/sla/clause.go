package sla

import (
	"math"
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/objective"
)

// A test weighs the evidence of one objective: a ratio or a level.
type test interface {
	// add adds the events of a window.
	add(start, end time.Time, events, bad float64)
	// forget drops verdict and evidence.
	forget(at time.Time)
	// tally returns all evidence of the epoch.
	tally() tally
	// needed returns how many more events like those of a tally would settle it.
	needed(tally) float64
	// state returns what tests have in common.
	state() *core
}

func (c *core) state() *core { return c }

// A clause is one objective and everything that is known of it.
type clause struct {
	objective.Objective
	id         string
	test       test
	counters   *counters
	budget     *budget
	recent     counts
	*latencies // nil unless the objective is about response times

	release string    // that the evidence is about
	last    time.Time // the end of the last window that counted
	why     string    // why the last window did not count; empty where it did
	runs    []*run    // the last ones, the newest last

	shown shown
}

// A shown holds what the last Judge found, for Collect and for the next Judge.
type shown struct {
	verdict   load.Verdict
	value     float64 // over the objective's window, NaN where nothing was measured
	evidence  float64 // effective events
	remaining float64 // of the budget, NaN where there is none

	asked  tally // the tally that needed is about
	needed float64

	said     tally // the tally and verdict that sentence is about
	about    load.Verdict
	sentence string
}

// newClause returns an objective. Old is what was known before a reload of the one
// of the same name, nil for none.
func newClause(o objective.Objective, old *clause) *clause {
	c := &clause{
		Objective: o, id: analysis.ID(load.KindObjective, o.Scenario, o.Name), recent: counts{span: o.Window}, budget: new(budget),
		shown: shown{value: math.NaN(), remaining: math.NaN()},
	}
	c.test = newTest(&c.Objective)
	switch {
	case old == nil:
	case old.SameEvidence(o):
		c.test, c.budget, c.release, c.last, c.why, c.runs, c.shown = old.test, old.budget, old.release, old.last, old.why, old.runs, old.shown
		c.shown.sentence = "" // the limit may be spelt differently
		if old.Window == o.Window {
			c.recent = old.recent
		}
	default:
		// Changing the limit back and forth must not provide another Alpha.
		c.test.state().ledger, c.release = old.test.state().ledger, old.release
	}
	return c
}

// newTest returns the test of an objective.
func newTest(o *objective.Objective) test {
	if o.Kind == objective.Rate {
		return newLevel(o.Limit)
	}
	return newRatio(o.Budget())
}

// released drops the evidence where the release changes. The first release that is
// known changes nothing.
func (c *clause) released(name string, at time.Time) {
	if name == "" || name == c.release {
		return
	}
	if c.release != "" {
		c.test.forget(at)
	}
	c.release = name
}

// take adds the windows of one stretch of time, the scenario's own last. Where live
// is not set they come out of history, and the counters stay as they are.
func (c *clause) take(windows []*load.Window, live bool) {
	own := windows[len(windows)-1]
	w := own
	for _, x := range windows {
		if x.Step == c.Step {
			w = x
		}
	}
	if c.Kind == objective.Rate && own.Run == "" {
		return // no load is asked for
	}
	counted := c.Count(windows)
	reason := c.excludes(w, own)
	r := c.runOf(own.Run)
	c.why = reason
	if live {
		c.counters.count(counted, reason)
	}
	if reason != "" {
		c.recent.exclude(own.Start, own.End)
		r.exclude(own, reason)
		return
	}
	c.released(w.Release, own.Start)
	n, k := float64(counted.Events), float64(counted.Bad)
	c.recent.add(own.Start, own.End, n, k)
	c.budget.add(own.Start, n, k)
	c.test.add(own.Start, own.End, n, k)
	r.add(own, w, n, k)
	if counted.Events > 0 || c.Kind == objective.Rate {
		c.last = own.End
	}
}

// excludes returns the reason for which a window of the objective's step does not
// count as a whole, empty for none. Own is the scenario's own window. A rate is one of
// the load that perfd made: it is not judged where perfd itself made too little of it.
func (c *clause) excludes(w, own *load.Window) string {
	if reason := w.Flags.Excluded(); reason != "" {
		return reason
	}
	if reason := own.Flags.Excluded(); reason != "" {
		return reason
	}
	if c.Kind == objective.Rate {
		if share, by := objective.Unmade(own); share > objective.MostUnmade {
			return by.String()
		}
	}
	return ""
}

// verdict returns the verdict that holds at an instant. A pass ends with its data:
// no data is never a pass.
func (c *clause) verdict(at time.Time) load.Verdict {
	v := c.test.state().verdict
	if v == load.Pass && c.stale(at) {
		return load.Inconclusive
	}
	return v
}

// stale reports whether nothing that counts was measured over the objective's window.
func (c *clause) stale(at time.Time) bool { return at.Sub(c.last) > max(c.Window, 5*time.Minute) }

// share converts a share of bad events into a value in the objective's unit.
func (c *clause) share(bad float64) float64 {
	if c.Less || c.Kind == objective.Rate {
		return bad
	}
	return 1 - bad
}
