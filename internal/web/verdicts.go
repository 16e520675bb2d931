package web

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
)

// Verdicts is what is known of targets and scenarios beyond the numbers. Its
// methods are safe for concurrent use.
type Verdicts interface {
	// Findings lists everything there is, newest first: active, recovered, accepted,
	// final and statuses. What it returns is read-only.
	Findings() []load.Finding
	// Accept says that what was found is the new level: ErrUnknownFinding, ErrNotAcceptable.
	Accept(id string) error
	// Release says which release a target runs: ErrUnknownTarget, or what is wrong with the release.
	Release(target, release string) error
}

// What Verdicts refuse.
var (
	ErrUnknownFinding = errors.New("no such finding")
	ErrNotAcceptable  = errors.New("the finding cannot be accepted")
	ErrUnknownTarget  = errors.New("no such target")
)

// current reports whether a finding says how things are now.
func current(f load.Finding) bool { return f.State == load.Active || f.State == "" }

// standing is the verdict that holds now: of what is over, none does.
func standing(f load.Finding) load.Verdict {
	if f.Verdict == load.Fail && !current(f) {
		return load.Inconclusive
	}
	return f.Verdict
}

// gravity orders verdicts, the worst first.
func gravity(v load.Verdict) int {
	switch v {
	case load.Fail:
		return 0
	case load.Pass:
		return 2
	}
	return 1
}

// objectivesOf returns what is known of each objective, of one scenario or, with
// an empty name, of all: the worst first, then by name. Of an objective that is
// found more than once, what says how it is now counts, then what is newest.
func objectivesOf(kinds analysis.Kinds, findings []load.Finding, scenario string) []load.Finding {
	type name struct{ scenario, objective string }
	at := map[name]int{}
	var out []load.Finding
	for _, f := range findings {
		if kinds.Finding(f.Kind).Weight != analysis.Decisive || scenario != "" && f.Scenario != scenario {
			continue
		}
		n := name{f.Scenario, f.Objective}
		if i, ok := at[n]; !ok {
			at[n] = len(out)
			out = append(out, f)
		} else if current(f) && !current(out[i]) {
			out[i] = f
		}
	}
	slices.SortStableFunc(out, func(a, b load.Finding) int {
		return cmp.Or(
			cmp.Compare(gravity(standing(a)), gravity(standing(b))),
			cmp.Compare(a.Scenario, b.Scenario), cmp.Compare(a.Objective, b.Objective),
		)
	})
	return out
}

// An sla sums up the objectives of one scenario.
type sla struct{ Objectives, Failing, Open int }

func (s *sla) add(v load.Verdict) {
	s.Objectives++
	switch v {
	case load.Fail:
		s.Failing++
	case load.Inconclusive:
		s.Open++
	}
}

// Verdict is the worst one.
func (s sla) Verdict() load.Verdict {
	switch {
	case s.Failing > 0:
		return load.Fail
	case s.Open > 0 || s.Objectives == 0:
		return load.Inconclusive
	}
	return load.Pass
}

// Tone is its colour.
func (s sla) Tone() string { return verdictTone(s.Verdict()) }

// Share says how many objectives have the worst verdict.
func (s sla) Share() string {
	n := s.Objectives
	switch s.Verdict() {
	case load.Fail:
		n = s.Failing
	case load.Inconclusive:
		n = s.Open
	}
	return fmt.Sprintf("%d of %d", n, s.Objectives)
}

// slaOf returns the sums by the name of the scenario; one without objectives is missing.
func slaOf(kinds analysis.Kinds, findings []load.Finding) map[string]sla {
	out := map[string]sla{}
	for _, f := range objectivesOf(kinds, findings, "") {
		s := out[f.Scenario]
		s.add(standing(f))
		out[f.Scenario] = s
	}
	return out
}

// worries lists what is active, by gravity of its kind, objectives left out.
func worries(kinds analysis.Kinds, findings []load.Finding) []analysis.FindingKind {
	var out []analysis.FindingKind
	for _, k := range kinds.Findings() {
		for _, f := range findings {
			if f.Kind == k.Kind && k.Weight != analysis.Decisive && f.State == load.Active {
				out = append(out, k)
			}
		}
	}
	return out
}

// news is what a page lists: active findings first, then what is over, each
// newest first. Statuses are no news, and of runs the last of each scenario is
// enough: short ones would crowd out everything else.
func news(findings []load.Finding) []load.Finding {
	var active, over []load.Finding
	ran := map[string]bool{}
	for _, f := range findings {
		switch {
		case f.State == load.Active:
			active = append(active, f)
		case f.State == "" || f.Kind == load.KindRun && ran[f.Scenario]:
		default:
			if f.Kind == load.KindRun {
				ran[f.Scenario] = true
			}
			over = append(over, f)
		}
	}
	return append(active, over...)
}

// newsOf is the news of one scenario and of the targets it sends to. Runs and
// what its objectives say now stand elsewhere on its page.
func newsOf(kinds analysis.Kinds, findings []load.Finding, d Detail) []load.Finding {
	targets := map[string]bool{d.Target: true}
	for _, s := range d.Steps {
		targets[s.Target] = true
	}
	return slices.DeleteFunc(news(findings), func(f load.Finding) bool {
		mine := f.Scenario == d.Name || f.Scenario == "" && targets[f.Target]
		return !mine || f.Kind == load.KindRun || kinds.Finding(f.Kind).Weight == analysis.Decisive && f.State == load.Active
	})
}

// runsOf returns the last runs of a scenario that were judged.
func runsOf(findings []load.Finding, scenario string) []load.Finding {
	var out []load.Finding
	for _, f := range findings {
		if f.Kind == load.KindRun && f.State == load.Final && f.Scenario == scenario {
			out = append(out, f)
		}
	}
	return out
}
