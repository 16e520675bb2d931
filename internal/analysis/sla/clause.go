package sla

import (
	"math"
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/objective"
)

// A judge weighs the evidence of one objective: a ratio or a level.
type judge interface {
	add(start, end time.Time, events, bad float64)
	forget(at time.Time)
	tally() tally
	needed(tally) float64
	of() *core
}

func (c *core) of() *core { return c }

// A clause is one objective and all that is known of it.
type clause struct {
	objective.Objective
	id       string
	judge    judge
	counters *counters
	budget   *budget
	recent   counts
	*latencies

	release string
	last    time.Time // end of the last window that counted
	why     string    // reason of the last window that did not count, empty after one that did
	runs    []*run    // the last few

	shown shown
}

// shown is what the last Judge left for Collect.
type shown struct {
	verdict   load.Verdict
	value     float64 // over the objective's window, NaN where nothing was measured
	evidence  float64 // effective events
	remaining float64 // of the budget, NaN where there is none

	asked  tally // what needed was asked for
	needed float64

	said     tally // what the sentence was made of
	about    load.Verdict
	sentence string
}

// newClause returns an objective with what is known of it from before a reload; old may be nil.
func newClause(o objective.Objective, old *clause) *clause {
	c := &clause{
		Objective: o, id: analysis.ID(load.KindObjective, o.Scenario, o.Name), recent: counts{span: o.Window}, budget: new(budget),
		shown: shown{value: math.NaN(), remaining: math.NaN()},
	}
	c.judge = newJudge(&c.Objective)
	switch {
	case old == nil:
	case old.Says(o):
		c.judge, c.budget, c.release, c.last, c.why, c.runs, c.shown = old.judge, old.budget, old.release, old.last, old.why, old.runs, old.shown
		c.shown.sentence = "" // it may be written in another way
		if old.Window == o.Window {
			c.recent = old.recent
		}
	default:
		// Changing the limit back and forth must not buy another alpha.
		c.judge.of().ledger, c.release = old.judge.of().ledger, old.release
	}
	return c
}

func newJudge(o *objective.Objective) judge {
	if o.Kind == objective.Rate {
		return newLevel(o.Limit)
	}
	return newRatio(o.Budget())
}

// released begins anew with another release. The first one that is known changes nothing.
func (c *clause) released(name string, at time.Time) {
	if name == "" || name == c.release {
		return
	}
	if c.release != "" {
		c.judge.forget(at)
	}
	c.release = name
}

// take counts the windows of one interval, the scenario's own last.
func (c *clause) take(windows []*load.Window, live bool) {
	own := windows[len(windows)-1]
	w := own
	for _, x := range windows {
		if x.Step == c.Step {
			w = x
		}
	}
	if c.Kind == objective.Rate && own.Run == "" {
		return // nobody asked for load
	}
	events, bad := c.Count(windows)
	reason := w.Flags.Excluded()
	if reason == "" {
		reason = own.Flags.Excluded()
	}
	r := c.runOf(own.Run)
	c.why = reason
	if reason != "" {
		c.recent.exclude(own.Start, own.End)
		r.exclude(own, reason)
		if live {
			c.counters.excluded[reason] += events
		}
		return
	}
	c.released(w.Release, own.Start)
	if live {
		c.counters.events += events
		c.counters.bad += bad
	}
	n, k := float64(events), float64(bad)
	c.recent.add(own.Start, own.End, n, k)
	c.budget.add(own.Start, n, k)
	c.judge.add(own.Start, own.End, n, k)
	r.add(own, w, n, k)
	if events > 0 || c.Kind == objective.Rate {
		c.last = own.End
	}
}

// verdict is the one that holds at an instant. A pass needs evidence that is not old: no data is never a pass.
func (c *clause) verdict(at time.Time) load.Verdict {
	v := c.judge.of().verdict
	if v == load.Pass && c.stale(at) {
		return load.Inconclusive
	}
	return v
}

// stale reports whether nothing that counts was measured over the objective's window.
func (c *clause) stale(at time.Time) bool { return at.Sub(c.last) > max(c.Window, 5*time.Minute) }

// share turns a share of bad events into a value in the objective's unit.
func (c *clause) share(bad float64) float64 {
	if c.Less || c.Kind == objective.Rate {
		return bad
	}
	return 1 - bad
}
