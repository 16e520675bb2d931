package regression

import (
	"time"

	"github.com/perfd/perfd/internal/analysis"
	conf "github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

// Kind describes the analysis.
var Kind = analysis.Kind{
	Name: "regression",
	Doc:  "Is a release worse than those before it, and has a level changed without one?",
	New:  func() analysis.Analysis { return New() },
	Findings: []analysis.FindingKind{
		{
			Kind: load.KindRegression, Word: "regression", Headline: "A release got worse", Gravity: 20, Acceptable: true,
			Speech: analysis.Summed, Topic: "comparison with the release before", Clean: "no slower than the release before",
		},
		{Kind: load.KindChange, Word: "change", Headline: "A level changed for the worse", Gravity: 40, Acceptable: true},
	},
	Metrics:  []*metric.Desc{metric.RegressionSuspected, metric.RegressionVerdict, metric.RegressionChange, metric.RegressionInfo},
	Block:    func() any { return &Config{Margin: DefaultMargin, Interval: conf.Duration(DefaultInterval)} },
	BlockDoc: "How releases are compared.",
}

// Configure says which scenarios are compared.
func (a *Analysis) Configure(d *analysis.Description) {
	var list []Scenario
	for _, s := range d.Scenarios {
		c := Scenario{Name: s.Name, Target: s.Target, Steps: s.Steps, Metrics: s.Metrics, Test: s.Test}
		if b, ok := s.Blocks[Kind.Name].(*Config); ok {
			c.Margin, c.Interval = float64(b.Margin), time.Duration(b.Interval)
		}
		list = append(list, c)
	}
	a.configure(list)
}
