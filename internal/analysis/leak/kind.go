package leak

import (
	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

// Kind describes the analysis.
var Kind = analysis.Kind{
	Name: "leak",
	Doc:  "Does a resource of a target grow without end?",
	New:  func() analysis.Analysis { return New() },
	Findings: []analysis.FindingKind{{
		Kind: load.KindLeak, Word: "leak", Headline: "A target leaks", Gravity: 30,
		Speech: analysis.Summed, Topic: "leaks", Clean: "no leak",
	}},
	Metrics: []*metric.Desc{
		metric.LeakSuspected, metric.LeakVerdict, metric.LeakSlopeBytes, metric.LeakSlopeBytesLower, metric.LeakSlopeBytesUpper,
		metric.LeakSlopeCount, metric.LeakSlopeCountLower, metric.LeakSlopeCountUpper, metric.LeakSecondsToLimit,
	},
}

// Configure says which resources are watched.
func (a *Analysis) Configure(d *analysis.Description) {
	var list []Target
	for _, t := range d.Targets {
		c := Target{Name: t.Name}
		for _, r := range t.Resources {
			if load.ResourceRate(r.Kind) {
				continue
			}
			kind := r.Kind
			if load.ResourceUnit(kind) == load.UnitBytes {
				kind = load.ResourceMemory // a disk fills up as memory does
			}
			c.Resources = append(c.Resources, Resource{Name: r.Name, Kind: kind, Limit: r.Limit})
		}
		list = append(list, c)
	}
	a.configure(list)
}
