package config

import (
	"reflect"
	"slices"
	"strings"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/kind"
	"github.com/perfd/perfd/internal/protocol"
)

// analysisBlocks decodes the blocks in which a scenario says how analyses judge
// it, each over its defaults; an analysis without one has its defaults.
func analysisBlocks(s *Scenario, all kind.Set, errs *block.Errors) {
	kinds := all.Analyses
	known := block.FieldNames(block.Fields(reflect.TypeFor[Scenario]()))
	s.Analyses = map[string]any{}
	for _, k := range kinds {
		if k.Block != nil {
			known = append(known, k.Name)
			s.Analyses[k.Name] = k.Block()
		}
	}
	for _, k := range all.Protocols {
		if k.Scenario != nil {
			known = append(known, k.Name)
		}
	}
	for _, key := range s.Blocks {
		if slices.ContainsFunc(all.Protocols, func(k protocol.Kind) bool { return k.Name == key.Name && k.Scenario != nil }) {
			continue // scenarioTargets decodes it
		}
		i := slices.IndexFunc(kinds, func(k analysis.Kind) bool { return k.Name == key.Name && k.Block != nil })
		if i < 0 {
			block.UnknownKey(key, strings.TrimSuffix(key.Value.Path, "."+key.Name), known, errs)
			continue
		}
		block.Decode(key.Value, s.Analyses[key.Name], errs)
	}
}

// Description returns what analyses know of the document.
func (d *Document) Description() *analysis.Description {
	out := &analysis.Description{}
	for _, s := range d.Scenarios {
		one := analysis.Scenario{
			Name: s.Name.S, Test: string(s.Test), Model: s.Workload.Model(), Target: s.Target.S, Targets: s.Program.Targets(),
			Objectives: s.Judged, Blocks: s.Analyses,
		}
		if t := s.Twin; t != nil {
			one.Twin = &analysis.Twin{Name: t.side(s.Name.S), Target: t.Baseline.S, Margin: float64(t.Margin)}
		}
		for _, step := range s.Program.Steps {
			if step.Metric == nil || step.Metric.AsRequests() {
				one.Steps = append(one.Steps, step.Label)
				if step.Metric != nil {
					one.Metrics = append(one.Metrics, step.Label)
				}
			}
		}
		out.Scenarios = append(out.Scenarios, one)
	}
	for i := range d.Targets {
		t := &d.Targets[i]
		one := analysis.Target{Name: t.Name.S, Releases: t.Release != nil}
		for _, r := range t.Resources {
			one.Resources = append(one.Resources, analysis.Resource{
				Name: r.Name.S, Kind: r.Kind, Limit: r.Limit.Value, For: r.For.D(), WarnAt: float64(r.WarnAt), Every: r.Every.D(),
			})
		}
		out.Targets = append(out.Targets, one)
	}
	return out
}
