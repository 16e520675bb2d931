package analysis

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

// A Kind describes one analysis: everything that the rest of perfd knows of it.
// It stands in the analysis's own folder, and in one line of the list of kinds.
type Kind struct {
	// Name is the folder's, such as "sla": the value of the label "analysis", and
	// the key of the analysis's block in a scenario.
	Name string
	// Doc says in one line which question the analysis answers.
	Doc string
	// New returns an analysis of nothing.
	New func() Analysis
	// Findings are the kinds of findings it makes, no kind twice in the whole list.
	Findings []FindingKind
	// Metrics are what it sends in Collect. What is not listed is not exposed.
	Metrics []*metric.Desc
	// Block returns a new, defaulted block of a scenario, to be decoded into; nil
	// where there is nothing to configure. A block decides how a scenario is judged
	// and not what it does: changing it does not restart a run.
	Block func() any
	// BlockDoc describes the block in the schema, as a sentence.
	BlockDoc string
}

// A FindingKind describes one kind of findings.
type FindingKind struct {
	Kind load.Kind
	// Word is what pages and reports call such a finding, Headline what the first
	// page says while one is active.
	Word, Headline string
	// Gravity orders headlines: of several active findings that of the kind with
	// the smallest gravity is shown.
	Gravity int
	// Weight says how such findings count where verdicts are added up.
	Weight Weight
	// Acceptable says that somebody may declare what was found the new level.
	Acceptable bool
	// OfRuns says that such findings are about runs that ended, so that none is ever active.
	OfRuns bool
	// Late is how long after the end of a run the verdict of such a part of it may
	// still change; zero is not at all.
	Late time.Duration

	// Speech says whether and how the sentence of a run speaks of such parts.
	Speech Speech
	// Topic is what parts without a proven verdict are called, such as "leaks";
	// Clean is what is said where all parts passed, such as "no leak". Without Clean
	// it is "4 of 4 topic met".
	Topic, Clean string
}

// A Weight is how a finding counts in the verdict of what it is a part of. A
// finding of any weight that fails makes the whole fail.
type Weight uint8

// The weights.
const (
	// Warning changes nothing while it is not proven.
	Warning Weight = iota
	// Condition keeps the whole from passing while it is not proven.
	Condition
	// Decisive is Condition, and there is no verdict at all without one: the
	// clauses of the SLA. Pages and reports list them apart from everything else.
	Decisive
)

// A Speech is how the sentence of a run speaks of its parts of one kind.
type Speech uint8

// The ways of speaking.
const (
	// Silent parts are left out.
	Silent Speech = iota
	// Summed gives the sentence of a part that fails; otherwise Clean, or how many are not proven.
	Summed
	// Verbatim gives the sentence of the worst part whatever its verdict.
	Verbatim
)

// runKind describes the findings that sum up runs, which no analysis makes.
var runKind = FindingKind{Kind: load.KindRun, Word: "run", Headline: "A run failed", Gravity: 1000, OfRuns: true}

// Kinds is a list of analyses, in the order in which runs speak of them. It is
// immutable.
type Kinds []Kind

// Findings returns the kinds of all findings there can be, that of runs among
// them, by gravity.
func (k Kinds) Findings() []FindingKind {
	all := []FindingKind{runKind}
	for i := range k {
		all = append(all, k[i].Findings...)
	}
	slices.SortStableFunc(all, func(a, b FindingKind) int { return cmp.Compare(a.Gravity, b.Gravity) })
	return all
}

// Finding returns the description of a kind of findings. One that nothing
// describes, such as one of an earlier version's findings on disk, has its own
// name as its word.
func (k Kinds) Finding(kind load.Kind) FindingKind {
	if kind == load.KindRun {
		return runKind
	}
	for i := range k {
		for _, f := range k[i].Findings {
			if f.Kind == kind {
				return f
			}
		}
	}
	return FindingKind{Kind: kind, Word: strings.ReplaceAll(string(kind), "_", "-"), Headline: "Something was found", Gravity: runKind.Gravity}
}

// Word returns what pages and reports call findings of a kind.
func (k Kinds) Word(kind load.Kind) string { return k.Finding(kind).Word }

// Metrics returns what all analyses send, in their order.
func (k Kinds) Metrics() []*metric.Desc {
	var all []*metric.Desc
	for i := range k {
		all = append(all, k[i].Metrics...)
	}
	return all
}

// Late returns the longest time after the end of a run at which the verdict of a
// part of it may still change.
func (k Kinds) Late() time.Duration {
	var longest time.Duration
	for i := range k {
		for _, f := range k[i].Findings {
			longest = max(longest, f.Late)
		}
	}
	return longest
}

// Makes returns the kinds of the findings that an analysis makes.
func (k Kind) Makes() []load.Kind {
	made := make([]load.Kind, len(k.Findings))
	for i, f := range k.Findings {
		made[i] = f.Kind
	}
	return made
}
