package web

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/perfd/perfd/internal/amount"
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

// An sla is the objectives of one scenario, added up.
type sla struct {
	analysis.Tally

	measured bool // at least one of them
}

// Word is its verdict, and no word where nothing was measured: no data is not a doubt.
func (s sla) Word() string {
	if !s.measured {
		return amount.None
	}
	return s.Verdict().String()
}

// Tone is its colour.
func (s sla) Tone() string {
	if !s.measured {
		return "idle"
	}
	return verdictTone(s.Verdict())
}

// Share says how many objectives have the worst verdict, nothing where none was measured.
func (s sla) Share() string {
	if !s.measured {
		return ""
	}
	return fmt.Sprintf("%d of %d", s.Worst(), s.All)
}

// slaOf returns the sums by the name of the scenario; one without objectives is missing.
func slaOf(kinds analysis.Kinds, findings []load.Finding) map[string]sla {
	out := map[string]sla{}
	measured := map[string]bool{}
	for _, f := range findings {
		if f.Kind == load.KindObjective && f.State != load.Recovered && (f.Verdict != load.Inconclusive || !math.IsNaN(float64(f.Value))) {
			measured[f.Scenario] = true
		}
	}
	for name, sum := range kinds.Scenarios(findings) {
		if sum.Objectives.All > 0 {
			out[name] = sla{sum.Objectives, measured[name]}
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
