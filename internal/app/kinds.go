package app

import (
	"github.com/perfd/perfd/internal/analysis/cleanup"
	"github.com/perfd/perfd/internal/analysis/drift"
	"github.com/perfd/perfd/internal/analysis/efficiency"
	"github.com/perfd/perfd/internal/analysis/leak"
	"github.com/perfd/perfd/internal/analysis/regression"
	"github.com/perfd/perfd/internal/analysis/sla"
	"github.com/perfd/perfd/internal/config"
	"github.com/perfd/perfd/internal/judge"
	"github.com/perfd/perfd/internal/load"
)

// Analyses returns a new one of every analysis, in the order in which runs speak
// of them.
func Analyses() []*judge.Analysis {
	s, r, l, d, c, e := sla.New(sla.Options{Replayed: true}), regression.New(), leak.New(), drift.New(), cleanup.New(), efficiency.New()
	return []*judge.Analysis{
		{Analysis: s, Kinds: []load.Kind{load.KindObjective}, Configure: func(doc *config.Document) { s.Configure(judgedScenarios(doc)) }, Live: s.Live},
		{Analysis: r, Kinds: []load.Kind{load.KindRegression, load.KindChange}, Configure: func(doc *config.Document) { r.Configure(comparedScenarios(doc)) }},
		{Analysis: l, Kinds: []load.Kind{load.KindLeak}, Configure: func(doc *config.Document) { l.Configure(watchedForLeaks(doc)) }},
		{Analysis: d, Kinds: []load.Kind{load.KindDrift}, Configure: func(doc *config.Document) { d.Configure(enduring(doc)) }},
		{Analysis: c, Kinds: []load.Kind{load.KindCleanUp}, Configure: func(doc *config.Document) { c.Configure(watchedForCleanUp(doc)) }},
		{Analysis: e, Kinds: []load.Kind{load.KindEfficiency}, Configure: func(doc *config.Document) { e.Configure(openScenarios(doc)) }},
	}
}

func judgedScenarios(doc *config.Document) (all []sla.Scenario) {
	for i := range doc.Scenarios {
		s := &doc.Scenarios[i]
		all = append(all, sla.Scenario{Name: s.Name.S, Test: string(s.Test), Model: s.Workload.Model(), Objectives: s.Judged})
	}
	return all
}

func comparedScenarios(doc *config.Document) (all []regression.Scenario) {
	for i := range doc.Scenarios {
		s := &doc.Scenarios[i]
		var steps []string
		for _, step := range s.Program.Steps {
			steps = append(steps, step.Label)
		}
		all = append(all, regression.Scenario{
			Name: s.Name.S, Target: s.Target.S, Steps: steps, Margin: float64(s.Regression.Margin), Test: string(s.Test),
		})
	}
	return all
}

func watchedForLeaks(doc *config.Document) (all []leak.Target) {
	for i := range doc.Targets {
		t := leak.Target{Name: doc.Targets[i].Name.S}
		for _, r := range doc.Targets[i].Resources {
			t.Resources = append(t.Resources, leak.Resource{Name: r.Name.S, Kind: r.Kind, Limit: r.Limit.Value})
		}
		all = append(all, t)
	}
	return all
}

func watchedForCleanUp(doc *config.Document) (all []cleanup.Target) {
	for i := range doc.Targets {
		t := cleanup.Target{Name: doc.Targets[i].Name.S}
		for _, r := range doc.Targets[i].Resources {
			t.Resources = append(t.Resources, cleanup.Resource{Name: r.Name.S, Kind: r.Kind})
		}
		all = append(all, t)
	}
	return all
}

// enduring are the scenarios whose runs must not drift.
func enduring(doc *config.Document) (all []drift.Scenario) {
	for i := range doc.Scenarios {
		if s := &doc.Scenarios[i]; s.Test == config.EnduranceTest {
			all = append(all, drift.Scenario{Name: s.Name.S})
		}
	}
	return all
}

// openScenarios are those whose workloads ask for a rate.
func openScenarios(doc *config.Document) (all []string) {
	for i := range doc.Scenarios {
		if s := &doc.Scenarios[i]; s.Workload.Open() {
			all = append(all, s.Name.S)
		}
	}
	return all
}
