package regression

import (
	"math"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
)

var _ analysis.Explainer = (*Analysis)(nil)

// Explain shows the intervals or runs that were compared, and the hours that were searched for changes.
func (a *Analysis) Explain(f *load.Finding) []analysis.Step {
	s := a.scenarios[f.Scenario]
	if s == nil || f.Run != "" || f.Kind != load.KindRegression && f.Kind != load.KindChange {
		return nil
	}
	p := s.pair(f.Series())
	if p == nil {
		return nil
	}
	if f.Kind == load.KindChange {
		return []analysis.Step{p.hours()}
	}
	return p.compared()
}

var blockColumns = []string{"time", "seconds", "requests_per_second", "planned_per_second", "p50_seconds", "p95_seconds", "p99_seconds", "error_ratio"}

func (b *block) row() []float64 {
	return []float64{
		float64(b.start) / 1e9, float64(b.seconds), b.rate(), float64(b.asked),
		math.Exp(float64(b.p50)), math.Exp(float64(b.p95)), math.Exp(float64(b.p99)), b.errors(),
	}
}

func rowsOf(list []block) (rows [][]float64) {
	for i := range list {
		rows = append(rows, list[i].row())
	}
	return rows
}

// compared shows both sides of the comparison that is due, or that found the regression.
func (p *pair) compared() []analysis.Step {
	cur := p.current()
	if cur == nil {
		return nil
	}
	base, why := p.baseline()
	if p.confirmed != nil {
		base, why = p.confirmed.baseline, ""
	}
	after := analysis.Step{
		Name: "after", What: "intervals, or runs where pauses divide them, of release " + cur.release, Columns: blockColumns,
	}
	if base == nil {
		after.What += ": " + why
		after.Rows = rowsOf(cur.blocks)
		return []analysis.Step{after}
	}
	u := cur.unit(base)
	before := analysis.Step{
		Name: "before", What: "intervals, or runs where pauses divide them, of release " + base.release + " and those before it, where load was within 10 % of the newest interval's", Columns: blockColumns,
	}
	tails := analysis.Step{Name: "tails after", What: "intervals of release " + cur.release + " that are long enough for p99", Columns: blockColumns}
	if like := cur.newest(u); like != nil {
		before.Rows = rowsOf(p.before(base, u, like).fine)
		side := cur.side(u, like)
		after.Rows, tails.Rows = rowsOf(side.fine), rowsOf(side.tail)
	}
	return []analysis.Step{before, after, tails}
}

// hours shows the points that are searched for changes.
func (p *pair) hours() analysis.Step {
	s := analysis.Step{
		Name: "hours", What: "hours, or runs where pauses divide them, that are searched for a change, with the usual level of like hours before where there are any",
		Columns: append(append([]string(nil), blockColumns...), "usual_p50_seconds", "usual_p95_seconds"),
	}
	for i := range p.points {
		x := &p.points[i]
		s.Rows = append(s.Rows, append(x.row(), math.Exp(float64(x.usual[0])), math.Exp(float64(x.usual[1]))))
	}
	return s
}
