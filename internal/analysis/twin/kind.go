package twin

import (
	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

// Kind describes the analysis.
var Kind = analysis.Kind{
	Name: "twin",
	Doc:  "Is the target worse than its untouched twin under the same load, or has the environment changed?",
	New:  func() analysis.Analysis { return New() },
	Findings: []analysis.FindingKind{{
		Kind: load.KindTwin, Word: "twin", Headline: "A release is worse than its twin", Gravity: 18,
		Speech: analysis.Verbatim, Topic: "comparison with the twin",
	}},
	Metrics: []*metric.Desc{
		metric.TwinVerdict, metric.TwinInfo, metric.TwinChange, metric.TwinChangeLower, metric.TwinChangeUpper, metric.TwinEnvironment,
	},
}
