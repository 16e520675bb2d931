package record

import (
	"cmp"
	"slices"

	"github.com/perfd/perfd/internal/load"
)

// Counts is what was counted of a scenario since it was loaded. What never happened is left out.
type Counts struct {
	Failures []FailureCount          // by step and cause
	Dropped  [load.NumReasons]uint64 // arrivals that became no iteration
	Checks   []CheckCount            // by name
}

// A FailureCount is how many requests of a step failed by a cause, of how many.
type FailureCount struct {
	Step            string
	Cause           load.Cause
	Count, Requests uint64
}

// A CheckCount is how often a check was evaluated and failed.
type CheckCount struct {
	Check             string
	Evaluated, Failed uint64
}

// Counts returns the counts of a scenario up to the last fold; none of one that is not there.
func (r *Recorder) Counts(scenario string) (c Counts) {
	r.mu.Lock()
	defer r.mu.Unlock()
	sc := r.scenarios[scenario]
	if sc == nil {
		return c
	}
	c.Dropped = sc.dropped
	for _, s := range sc.steps {
		if s.group {
			continue // its steps have the requests that failed
		}
		for cause, n := range s.failures {
			if n > 0 {
				c.Failures = append(c.Failures, FailureCount{s.name, load.Cause(cause), n, s.requests})
			}
		}
	}
	for _, x := range sc.checks {
		if x.evaluated > 0 {
			c.Checks = append(c.Checks, CheckCount{x.name, x.evaluated, x.failed})
		}
	}
	slices.SortFunc(c.Failures, func(a, b FailureCount) int {
		return cmp.Or(cmp.Compare(a.Step, b.Step), cmp.Compare(a.Cause, b.Cause))
	})
	slices.SortFunc(c.Checks, func(a, b CheckCount) int { return cmp.Compare(a.Check, b.Check) })
	return c
}
