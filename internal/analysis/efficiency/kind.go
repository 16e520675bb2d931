package efficiency

import (
	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

// Kind describes the analysis.
var Kind = analysis.Kind{
	Name: "efficiency",
	Doc:  "How much of the load that was asked for was there?",
	New:  func() analysis.Analysis { return New() },
	Findings: []analysis.FindingKind{{
		Kind: load.KindEfficiency, Word: "efficiency", Headline: "Load falls short", Gravity: 70, OfRuns: true,
		Weight: analysis.Condition, Speech: analysis.Verbatim, Topic: "efficiency",
	}},
	Metrics: []*metric.Desc{metric.Efficiency},
}
