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
// where a part fails, and passes where there is a Decisive part and nothing
// Decisive or Condition is open. Doubts are those that whoever ended the run has
// about it: they leave it inconclusive.
func RunOf(kinds Kinds, e load.Event, began time.Time, parts []load.Finding, doubts []string, at time.Time) load.Finding {
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
	decided, open := false, false
	for kind, n := range counts {
		w := kinds.Finding(kind).Weight
		decided = decided || w == Decisive
		open = open || w >= Condition && n[load.Inconclusive] > 0
	}
	switch {
	case len(doubts) > 0 || e.Result == "interrupted" || e.Result == "error":
	case failed:
		f.Verdict = load.Fail
	case !decided:
		f.Doubts = append(f.Doubts, "the scenario has no objectives to judge it by")
	case !open:
		f.Verdict = load.Pass
	}
	for _, p := range parts {
		if p.Verdict == load.Inconclusive && p.Needed != "" {
			f.Needed = p.Needed
			break
		}
	}
	f.Sentence = sentence(kinds, e, f, counts)
	return f
}

// sentence says what a run came to, with its numbers.
func sentence(kinds Kinds, e load.Event, f load.Finding, counts map[load.Kind]*[load.NumVerdicts]int) string {
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
	for i := range kinds {
		for _, k := range kinds[i].Findings {
			if n := counts[k.Kind]; n != nil && k.Speech != Silent {
				b.WriteString("; " + k.say(f.Parts, n))
			}
		}
	}
	return b.String()
}

// say returns what the sentence of a run says of its parts of kind k, n by verdict.
func (k FindingKind) say(parts []load.Finding, n *[load.NumVerdicts]int) string {
	worst, more := worstOf(parts, k.Kind)
	all := n[load.Pass] + n[load.Fail] + n[load.Inconclusive]
	switch {
	case worst.Verdict == load.Fail && more > 0:
		return fmt.Sprintf("%s (and %d more)", worst.Sentence, more)
	case worst.Verdict == load.Fail || k.Speech == Verbatim:
		return worst.Sentence
	case n[load.Pass] < all:
		return fmt.Sprintf("%s: %d of %d not proven", k.Topic, n[load.Inconclusive], all)
	case k.Clean != "":
		return k.Clean
	}
	return fmt.Sprintf("%d of %d %s met", all, all, k.Topic)
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
