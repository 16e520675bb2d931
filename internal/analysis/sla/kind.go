package sla

import (
	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

// Kind describes the analysis.
var Kind = analysis.Kind{
	Name: "sla",
	Doc:  "Does a scenario keep its objectives, and how much of its error budget is left?",
	New:  func() analysis.Analysis { return New(Options{Replayed: true}) },
	Findings: []analysis.FindingKind{{
		Kind: load.KindObjective, Word: "objective", Headline: "An objective fails", Gravity: 10,
		Weight: analysis.Decisive, Speech: analysis.Summed, Topic: "objectives",
	}},
	Metrics: []*metric.Desc{
		metric.ObjectiveInfo, metric.ObjectiveLimit, metric.ObjectiveValue, metric.ObjectiveVerdict, metric.ObjectiveEvents,
		metric.ObjectiveBad, metric.ObjectiveExcluded, metric.ObjectiveBudget, metric.ObjectiveBurnLimit,
		metric.ObjectiveBudgetRemaining, metric.ObjectiveEvidence,
	},
}
