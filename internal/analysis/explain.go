package analysis

import "github.com/perfd/perfd/internal/load"

// An Explainer is an Analysis that shows how it came to a finding.
type Explainer interface {
	// Explain returns the steps that led to a finding of the last Judge, in their
	// order; none of a finding that it did not make.
	Explain(f *load.Finding) []Step
}

// A Step is one step of an analysis and the series that it took or made.
type Step struct {
	Name string // a word or two, such as "floors"
	What string // what was done, as a sentence without its full stop
	// Columns names the columns of Rows with their units. Those called time, from and to are instants in seconds since 1970.
	Columns []string
	Rows    [][]float64 // a NaN is no value
}

// Explain returns the steps that led to a finding of the last Judge; none where no
// analysis explains it.
func (g *Group) Explain(f *load.Finding) (steps []Step) {
	g.each(func(a Analysis) {
		if e, ok := a.(Explainer); ok && steps == nil {
			steps = e.Explain(f)
		}
	})
	return steps
}
