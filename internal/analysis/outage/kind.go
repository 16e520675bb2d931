package outage

import (
	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

// The kinds of the findings.
const (
	KindUnreachable load.Kind = "unreachable" // no request is answered
	KindFailing     load.Kind = "failing"     // requests are answered, and all of them fail
	KindCheck       load.Kind = "check"       // a check never holds
)

// Kind describes the analysis.
var Kind = analysis.Kind{
	Name: "outage",
	Doc:  "Does everything fail?",
	New:  func() analysis.Analysis { return New() },
	Findings: []analysis.FindingKind{
		{Kind: KindUnreachable, Word: "unreachable", Headline: "A target is unreachable", Gravity: 1, Speech: analysis.Summed, Topic: "targets", Clean: "target answers"},
		{Kind: KindFailing, Word: "failing", Headline: "Every request fails", Gravity: 2, Speech: analysis.Summed, Topic: "requests", Clean: "requests succeed"},
		{Kind: KindCheck, Word: "check", Headline: "A check never holds", Gravity: 60, Speech: analysis.Summed, Topic: "checks", Clean: "checks hold"},
	},
	Metrics: []*metric.Desc{metric.Outage},
}
