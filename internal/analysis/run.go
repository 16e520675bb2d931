package analysis

import (
	"fmt"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/amount"
	"github.com/perfd/perfd/internal/load"
)

// A Basis is what the verdict of a run rests on.
type Basis uint8

const (
	// Judged is the Summary of the run's parts.
	Judged Basis = iota
	// NoObjectives is that nothing fails and nothing says what a pass is.
	NoObjectives
	// Doubted is that whoever ended the run has doubts about it: its parts decide nothing.
	Doubted
	// Cut is that the run was interrupted or died of an error: likewise.
	Cut
)

// RunOf sums up what analyses say of a run that ended in one finding, whose
// verdict is that of the Summary of its parts. Doubts are those that whoever ended
// the run has about it: they leave it inconclusive.
func RunOf(kinds Kinds, e load.Event, began time.Time, parts []load.Finding, doubts []string, at time.Time) (load.Finding, Basis) {
	f := load.Finding{
		ID: ID(load.KindRun, e.Scenario, e.Run), Kind: load.KindRun, Scenario: e.Scenario, Target: e.Target, Run: e.Run, Release: e.Release,
		Since: began, Updated: at, Ended: e.At, Parts: parts, Doubts: doubts,
	}
	sum, basis := kinds.Sum(parts), Judged
	switch {
	case e.Result == "interrupted" || e.Result == "error":
		basis = Cut
	case len(doubts) > 0:
		basis = Doubted
	case sum.Verdict() != load.Fail && sum.Objectives.All == 0:
		basis = NoObjectives
		f.Doubts = append(f.Doubts, "the scenario has no objectives to judge it by")
	default:
		f.Verdict = sum.Verdict()
	}
	for _, p := range parts {
		if p.Verdict == load.Inconclusive && p.Needed != "" {
			f.Needed = p.Needed
			break
		}
	}
	f.Sentence = sentence(kinds, e, f, basis)
	return f, basis
}

// sentence returns the sentence of a run's finding.
func sentence(kinds Kinds, e load.Event, f load.Finding, basis Basis) string {
	var b strings.Builder
	fmt.Fprintf(&b, "run %s of %s", e.Run, e.Scenario)
	if e.Release != "" {
		fmt.Fprintf(&b, " on %s", e.Release)
	}
	fmt.Fprintf(&b, ", %s: ", amount.Span(e.At.Sub(f.Since)))
	if basis == Cut {
		b.WriteString(e.Result)
	} else {
		b.WriteString(f.Verdict.String())
	}
	for i := range kinds {
		for _, k := range kinds[i].Findings {
			if said := k.say(f.Parts); said != "" {
				b.WriteString("; " + said)
			}
		}
	}
	return b.String()
}

// say returns what the sentence of a run says of those of its parts that are of
// kind k, nothing where there are none.
func (k FindingKind) say(parts []load.Finding) string {
	var n Tally
	var worst load.Finding // the first of those with the worst verdict
	for _, p := range parts {
		if p.Kind != k.Kind {
			continue
		}
		if n.All == 0 || urgency(p.Verdict) < urgency(worst.Verdict) {
			worst = p
		}
		n.add(p.Verdict)
	}
	switch {
	case n.All == 0 || k.Speech == Silent:
		return ""
	case n.Failing > 1:
		return fmt.Sprintf("%s (and %d more)", worst.Sentence, n.Failing-1)
	case n.Failing == 1 || k.Speech == Verbatim:
		return worst.Sentence
	case n.Open > 0:
		return fmt.Sprintf("%s: %d of %d not proven", k.Topic, n.Open, n.All)
	case k.Clean != "":
		return k.Clean
	}
	return fmt.Sprintf("%d of %d %s met", n.All, n.All, k.Topic)
}
