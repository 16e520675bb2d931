// Package stats holds the statistics that perfd's verdicts stand on: pure
// functions on numbers, which know nothing of what the numbers measure.
//
// Where data can be too few, dependent or otherwise doubtful for a result to be
// taken at its word, the result carries Warnings: sentences for a person. A bound
// that the data cannot give is infinite, never a guess.
//
// The package imports no other package of perfd.
package stats

// An Interval is a closed interval of numbers. An infinite bound is one that the
// data do not give.
type Interval struct{ Lower, Upper float64 }

// Contains says whether x lies in i, bounds included.
func (i Interval) Contains(x float64) bool { return i.Lower <= x && x <= i.Upper }

// Width returns the length of i, in the unit of its bounds.
func (i Interval) Width() float64 { return i.Upper - i.Lower }

// Warnings say what speaks against a result, one sentence each.
type Warnings []string
