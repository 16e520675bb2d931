package analysis

import (
	"cmp"
	"slices"

	"github.com/perfd/perfd/internal/load"
)

// A Tally counts findings by the verdict that holds.
type Tally struct{ All, Failing, Open int }

func (t *Tally) add(v load.Verdict) {
	t.All++
	switch v {
	case load.Fail:
		t.Failing++
	case load.Inconclusive:
		t.Open++
	}
}

// Verdict is the worst one; no findings prove nothing.
func (t Tally) Verdict() load.Verdict {
	switch {
	case t.Failing > 0:
		return load.Fail
	case t.Open > 0 || t.All == 0:
		return load.Inconclusive
	}
	return load.Pass
}

// Worst is how many have the worst verdict.
func (t Tally) Worst() int {
	switch t.Verdict() {
	case load.Fail:
		return t.Failing
	case load.Inconclusive:
		return t.Open
	}
	return t.All
}

// A Summary adds up findings: those about a scenario, the parts of a run, or
// everything there is.
type Summary struct {
	// Objectives are the findings of Decisive kinds, Others all that fails besides.
	Objectives Tally
	Others     int
	// Gravest describes the failing findings of the smallest gravity; it is
	// zero where nothing fails.
	Gravest FindingKind

	open bool // a Condition or Decisive finding is not proven
}

// Verdict is Fail where anything fails, and Pass where there is a Decisive
// finding and nothing Decisive or Condition is open.
func (s Summary) Verdict() load.Verdict {
	switch {
	case s.Objectives.Failing > 0 || s.Others > 0:
		return load.Fail
	case s.Objectives.All == 0 || s.open:
		return load.Inconclusive
	}
	return load.Pass
}

// Current reports whether a finding says how things are, not how they were.
func Current(f load.Finding) bool { return f.State == load.Active || f.State == "" }

// VerdictNow returns the verdict that holds: what is active fails, and a failure
// that is over leaves nothing proven.
func VerdictNow(f load.Finding) load.Verdict {
	switch {
	case f.State == load.Active:
		return load.Fail
	case f.Verdict == load.Fail && !Current(f):
		return load.Inconclusive
	}
	return f.Verdict
}

// Sum adds up findings, each of which counts, such as the parts of a run.
func (k Kinds) Sum(findings []load.Finding) Summary {
	var s Summary
	for _, f := range findings {
		kind, v := k.Finding(f.Kind), VerdictNow(f)
		if kind.Weight == Decisive {
			s.Objectives.add(v)
		}
		switch v {
		case load.Inconclusive:
			s.open = s.open || kind.Weight >= Condition
		case load.Fail:
			if kind.Weight != Decisive {
				s.Others++
			}
			if s.Gravest.Gravity == 0 || kind.Gravity < s.Gravest.Gravity {
				s.Gravest = kind
			}
		}
	}
	return s
}

// Overview adds up everything on a board: each objective once, and what is active besides.
func (k Kinds) Overview(findings []load.Finding) Summary { return k.Sum(k.distinct(findings)) }

// Scenarios adds up what is on a board about each scenario, by its name.
func (k Kinds) Scenarios(findings []load.Finding) map[string]Summary {
	of := map[string][]load.Finding{}
	for _, f := range k.distinct(findings) {
		if f.Scenario != "" {
			of[f.Scenario] = append(of[f.Scenario], f)
		}
	}
	out := make(map[string]Summary, len(of))
	for name, list := range of {
		out[name] = k.Sum(list)
	}
	return out
}

// distinct leaves of a board each objective once, and of everything else what is current.
func (k Kinds) distinct(findings []load.Finding) []load.Finding {
	out := k.Objectives(findings, "")
	for _, f := range findings {
		if Current(f) && k.Finding(f.Kind).Weight != Decisive {
			out = append(out, f)
		}
	}
	return out
}

// Objectives returns what a board knows of each objective, of one scenario or,
// with an empty name, of all: the worst first, then by name. Of an objective that
// is there more than once, a current finding counts, then the newest; findings are
// newest first.
func (k Kinds) Objectives(findings []load.Finding, scenario string) []load.Finding {
	type name struct {
		kind                load.Kind
		scenario, objective string
	}
	at := map[name]int{}
	var out []load.Finding
	for _, f := range findings {
		if k.Finding(f.Kind).Weight != Decisive || scenario != "" && f.Scenario != scenario {
			continue
		}
		n := name{f.Kind, f.Scenario, f.Objective}
		if i, ok := at[n]; !ok {
			at[n] = len(out)
			out = append(out, f)
		} else if Current(f) && !Current(out[i]) {
			out[i] = f
		}
	}
	slices.SortStableFunc(out, func(a, b load.Finding) int {
		return cmp.Or(
			cmp.Compare(urgency(VerdictNow(a)), urgency(VerdictNow(b))),
			cmp.Compare(a.Scenario, b.Scenario), cmp.Compare(a.Objective, b.Objective),
		)
	})
	return out
}

// urgency orders verdicts, the worst first.
func urgency(v load.Verdict) int {
	switch v {
	case load.Fail:
		return 0
	case load.Pass:
		return 2
	}
	return 1
}
