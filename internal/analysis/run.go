package analysis

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/amount"
	"github.com/perfd/perfd/internal/load"
)

// RunOf sums up what analyses say of a run that ended in one finding: it fails
// where a part fails, and passes where it has objectives and all of them pass.
// What else is not proven is a doubt. Doubts are those that whoever ended the run
// has about it: they leave it inconclusive.
func RunOf(e load.Event, began time.Time, parts []load.Finding, doubts []string, at time.Time) load.Finding {
	f := load.Finding{
		ID: ID(load.KindRun, e.Scenario, e.Run), Kind: load.KindRun, Scenario: e.Scenario, Target: e.Target, Run: e.Run, Release: e.Release,
		Since: began, Updated: at, Ended: e.At, Parts: parts, Doubts: doubts,
	}
	counts := map[load.Kind]*[load.NumVerdicts]int{}
	failed := false
	for _, p := range parts {
		if counts[p.Kind] == nil {
			counts[p.Kind] = new([load.NumVerdicts]int)
		}
		counts[p.Kind][p.Verdict]++
		failed = failed || p.Verdict == load.Fail
	}
	objectives := counts[load.KindObjective]
	open := counts[load.KindEfficiency] != nil && counts[load.KindEfficiency][load.Inconclusive] > 0
	switch {
	case len(doubts) > 0 || e.Result == "interrupted" || e.Result == "error":
	case failed:
		f.Verdict = load.Fail
	case objectives == nil:
		f.Doubts = append(f.Doubts, "the scenario has no objectives to judge it by")
	case objectives[load.Inconclusive] == 0 && !open:
		f.Verdict = load.Pass
	}
	for _, p := range parts {
		if p.Verdict == load.Inconclusive && p.Needed != "" {
			f.Needed = p.Needed
			break
		}
	}
	f.Sentence = sentence(e, f, counts)
	return f
}

// sentence says what a run came to, with its numbers.
func sentence(e load.Event, f load.Finding, counts map[load.Kind]*[load.NumVerdicts]int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "run %s of %s", e.Run, e.Scenario)
	if e.Release != "" {
		fmt.Fprintf(&b, " on %s", e.Release)
	}
	fmt.Fprintf(&b, ", %s: ", amount.Span(e.At.Sub(f.Since)))
	if e.Result == "interrupted" || e.Result == "error" {
		b.WriteString(e.Result)
	} else {
		b.WriteString(f.Verdict.String())
	}
	for _, kind := range []load.Kind{
		load.KindObjective, load.KindRegression, load.KindLeak, load.KindDrift, load.KindCleanUp, load.KindEfficiency,
	} {
		n := counts[kind]
		if n == nil {
			continue
		}
		worst, more := worstOf(f.Parts, kind)
		all := n[load.Pass] + n[load.Fail] + n[load.Inconclusive]
		switch {
		case worst.Verdict == load.Fail:
			fmt.Fprintf(&b, "; %s", worst.Sentence)
			if more > 0 {
				fmt.Fprintf(&b, " (and %d more)", more)
			}
		case kind == load.KindEfficiency:
			fmt.Fprintf(&b, "; %s", worst.Sentence)
		case n[load.Pass] == all && kind == load.KindObjective:
			fmt.Fprintf(&b, "; %d of %d objectives met", all, all)
		case n[load.Pass] == all:
			fmt.Fprintf(&b, "; %s", clean[kind])
		default:
			fmt.Fprintf(&b, "; %s: %d of %d not proven", topics[kind], n[load.Inconclusive], all)
		}
	}
	return b.String()
}

// clean says that nothing was found.
var clean = map[load.Kind]string{
	load.KindRegression: "no slower than the release before",
	load.KindLeak:       "no leak",
	load.KindDrift:      "no drift",
	load.KindCleanUp:    "everything was cleaned up",
}

var topics = map[load.Kind]string{
	load.KindObjective:  "objectives",
	load.KindRegression: "comparison with the release before",
	load.KindLeak:       "leaks",
	load.KindDrift:      "drift",
	load.KindCleanUp:    "clean-up",
}

// worstOf returns the first of the worst parts of a kind and how many others are as bad.
func worstOf(parts []load.Finding, kind load.Kind) (worst load.Finding, more int) {
	rank := []load.Verdict{load.Pass, load.Inconclusive, load.Fail}
	found := -1
	for _, p := range parts {
		if p.Kind != kind {
			continue
		}
		switch r := slices.Index(rank, p.Verdict); {
		case r > found:
			worst, more, found = p, 0, r
		case r == found:
			more++
		}
	}
	return worst, more
}
