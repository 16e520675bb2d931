package drift

import (
	"math"
	"slices"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
)

var _ analysis.Explainer = (*Analysis)(nil)

// Explain shows the points of the run under way and the line through them.
func (a *Analysis) Explain(f *load.Finding) []analysis.Step {
	s := a.scenarios[f.Scenario]
	if s == nil || f.Kind != load.KindDrift {
		return nil
	}
	r := s.current()
	i := slices.IndexFunc(statistics[:], func(s statistic) bool { return s.name == f.Statistic })
	if r == nil || i < 0 {
		return nil
	}
	tracks, loads := r.points(i)
	x, sign := r.results[i], statistics[i].sign
	step := analysis.Step{
		Name:    "points",
		What:    "medians of consecutive intervals of the run, the load meanwhile, and the line through them without what load explains",
		Columns: []string{"time", f.Statistic + "_" + statistics[i].unit, "load", "line", "track"},
	}
	first := math.NaN()
	for n, t := range tracks {
		for j := range t.T {
			if math.IsNaN(first) {
				first = t.T[j]
			}
			line := math.NaN()
			if x.enough {
				line = sign * (x.trend.Level + x.trend.Slope*(t.T[j]-first))
			}
			step.Rows = append(step.Rows, []float64{t.T[j], sign * t.Y[j], loads[len(step.Rows)], line, float64(n + 1)})
		}
	}
	return []analysis.Step{step}
}
