// Package stats holds the statistics that perfd's verdicts rest on. Its functions
// are pure and know nothing of what the numbers measure.
//
// A result carries Warnings, sentences for a person, where the data are too few,
// dependent or otherwise unfit for it. A bound that the data do not determine is
// infinite, never a guess.
//
// The package imports no other package of perfd.
package stats

// An Interval is a closed interval of numbers. A bound that the data do not
// determine is infinite.
type Interval struct{ Lower, Upper float64 }

// Contains reports whether x lies in i, bounds included.
func (i Interval) Contains(x float64) bool { return i.Lower <= x && x <= i.Upper }

// Width returns the length of i, in the unit of its bounds.
func (i Interval) Width() float64 { return i.Upper - i.Lower }

// Warnings are the reasons to doubt a result, one sentence each.
type Warnings []string
