package limit

import (
	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

// KindLimit is the kind of the findings: a resource is over its limit, or near it.
const KindLimit load.Kind = "limit"

// Kind describes the analysis.
var Kind = analysis.Kind{
	Name: "limit",
	Doc:  "Is a resource of a target over its limit, or near it?",
	New:  func() analysis.Analysis { return New() },
	Findings: []analysis.FindingKind{{
		Kind: KindLimit, Word: "limit", Headline: "A resource is over its limit or near it", Gravity: 25,
		Speech: analysis.Summed, Topic: "limits", Clean: "resources within their limits",
	}},
	Metrics: []*metric.Desc{metric.TargetResourceLimit, metric.TargetResourceLimitRatio, metric.TargetResourceLimitExceeded},
}
