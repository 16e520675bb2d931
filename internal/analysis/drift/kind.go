package drift

import (
	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

// Kind describes the analysis.
var Kind = analysis.Kind{
	Name: "drift",
	Doc:  "Do latency or throughput drift over an endurance run?",
	New:  func() analysis.Analysis { return New() },
	Findings: []analysis.FindingKind{{
		Kind: load.KindDrift, Word: "drift", Headline: "Performance drifts", Gravity: 50,
		Speech: analysis.Summed, Topic: "drift", Clean: "no drift",
	}},
	Metrics: []*metric.Desc{metric.DriftRatio, metric.DriftVerdict},
}
