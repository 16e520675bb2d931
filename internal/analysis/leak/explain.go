package leak

import (
	"math"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
)

var _ analysis.Explainer = (*Analysis)(nil)

// A working holds the intermediate series of an examination: the floors of all
// lifetimes in order, and for each of them its load and what is left without it.
type working struct {
	floors  []floor
	loads   []float64 // requests per second
	without []float64 // levels
}

// Explain shows readings, collections, floors, load and line.
func (a *Analysis) Explain(f *load.Finding) []analysis.Step {
	t := a.targets[f.Target]
	if f.Kind != load.KindLeak || f.Run != "" || t == nil || t.resources[f.Resource] == nil {
		return nil
	}
	m := t.resources[f.Resource].members[f.Member]
	if m == nil {
		return nil
	}
	return m.explain()
}

func (m *member) explain() []analysis.Step {
	x, unit := &m.judgement.x, m.unit()
	read := analysis.Step{
		Name: "readings", What: "what was read, folded where it is older: the lowest and highest level of each stretch, by lifetime of the process",
		Columns: []string{"time", "lowest_" + unit, "highest_" + unit, "lifetime"},
	}
	falls := analysis.Step{
		Name: "collections", What: "falls that are taken for the end of a collection; floors are cut so that they see several, or lie between them",
		Columns: []string{"time"},
	}
	for life, s := range m.stretches(math.Inf(-1), math.Inf(1)) {
		for _, p := range s.points {
			read.Rows = append(read.Rows, []float64{p.at, p.low, p.high, float64(life + 1)})
		}
		for _, at := range findCollections(s.points, &Defaults).at {
			falls.Rows = append(falls.Rows, []float64{at})
		}
	}
	floors := analysis.Step{
		Name: "floors", What: "the lowest level of each block past the warm-up, with the requests per second that perfd sent meanwhile",
		Columns: []string{"time", "from", "to", "floor_" + unit, "requests_per_second"},
	}
	line := analysis.Step{
		Name: "line", What: "the floors with load taken out where it varies, and the line through them: its slope is the median of all slopes between two of them",
		Columns: []string{"time", "floor_without_load_" + unit, "line_" + unit},
	}
	w := &x.working
	for i, f := range w.floors {
		floors.Rows = append(floors.Rows, []float64{f.at, f.from, f.to, f.low, w.loads[i]})
		if i < len(w.without) {
			line.Rows = append(line.Rows, []float64{f.at, w.without[i], x.trend.level + x.trend.slope*(f.at-w.floors[0].at)})
		}
	}
	return []analysis.Step{read, falls, floors, line}
}
