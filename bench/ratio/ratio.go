// Package ratio says what ratios of paired measurements come to.
package ratio

import (
	"fmt"
	"slices"
)

// Quotients divides round by round.
func Quotients(a, b []float64) []float64 {
	q := make([]float64, len(a))
	for i := range a {
		q[i] = a[i] / b[i]
	}
	return q
}

// Print prints the median of ratios, and whether another run would find it within 3 %.
func Print(what string, ratios []float64) {
	median, low, high, sure := Interval(ratios)
	fmt.Printf("median:  %s %.3f", what, median)
	switch {
	case !sure:
		fmt.Printf(", too few rounds for an interval\n")
	case (high-low)/2 > 0.03*median:
		fmt.Printf(" (%.3f to %.3f): not repeatable within 3 %%, take more rounds or a quieter machine\n", low, high)
	default:
		fmt.Printf(" (%.3f to %.3f)\n", low, high)
	}
}

// Interval returns the median of values and its distribution-free confidence
// interval of at least 95 %. It is not sure where there are too few values for
// one, and low and high are the extremes then.
func Interval(values []float64) (median, low, high float64, sure bool) {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	median = (v[n/2] + v[(n-1)/2]) / 2
	r := rank(n)
	if r == 0 {
		return median, v[0], v[n-1], false
	}
	return median, v[r-1], v[n-r], true
}

// rank is the largest r with P(B < r) ≤ 2.5 %, for B binomial of n and 1/2; 0 if
// there is none. The r-th smallest and the r-th largest of n values bound a
// 95 % confidence interval of their median.
func rank(n int) int {
	p, below := 1.0, 0.0 // P(B = r) and P(B < r) for the r of the loop
	for range n {
		p /= 2
	}
	for r := range n {
		below += p // P(B < r+1)
		if below > 0.025 {
			return r
		}
		p *= float64(n-r) / float64(r+1)
	}
	return 0
}
