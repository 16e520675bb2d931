package stats

import (
	"math"
	"slices"
)

// Mean returns the arithmetic mean of x, NaN if x is empty. A second pass adds
// what rounding lost in the first.
func Mean(x []float64) float64 {
	n := float64(len(x))
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	mean := sum / n
	if math.IsInf(mean, 0) || math.IsNaN(mean) {
		return mean
	}
	lost := 0.0
	for _, v := range x {
		lost += v - mean
	}
	return mean + lost/n
}

// Variance returns the unbiased sample variance of x (divisor n-1), NaN for fewer
// than two values. It is the corrected two-pass algorithm of Chan, Golub and
// LeVeque, "Algorithms for Computing the Sample Variance", The American
// Statistician 37 (1983).
func Variance(x []float64) float64 {
	if len(x) < 2 {
		return math.NaN()
	}
	n, mean := float64(len(x)), Mean(x)
	squares, rest := 0.0, 0.0
	for _, v := range x {
		d := v - mean
		squares += d * d
		rest += d
	}
	return (squares - rest*rest/n) / (n - 1)
}

// Median returns the middle of x, NaN if x is empty. It leaves x as it is.
func Median(x []float64) float64 { return Quantile(x, 0.5) }

// Quantile returns the q-quantile of x, interpolated between the order statistics
// around 1 + (n-1)q: type 7 of Hyndman and Fan, "Sample Quantiles in Statistical
// Packages", The American Statistician 50 (1996). It is NaN if x is empty or q
// outside 0..1, and leaves x as it is. Infinite values are allowed.
func Quantile(x []float64, q float64) float64 {
	if len(x) == 0 || !(q >= 0 && q <= 1) {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(x))
	whole, part := math.Modf(q * float64(len(x)-1))
	low := sorted[int(whole)]
	if part == 0 {
		return low
	}
	high := sorted[int(whole)+1]
	if low == high {
		return low
	}
	return min(max(low*(1-part)+high*part, low), high)
}

// Ranks returns the rank of each value of x, counted from 1; equal values share
// the mean of their ranks. ties holds the size of each group of equal values that
// has more than one, from the lowest value to the highest.
func Ranks(x []float64) (ranks []float64, ties []int) {
	order := make([]int, len(x))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		switch {
		case x[a] < x[b]:
			return -1
		case x[a] > x[b]:
			return 1
		}
		return 0
	})
	ranks = make([]float64, len(x))
	for start := 0; start < len(order); {
		end := start + 1
		for end < len(order) && x[order[end]] == x[order[start]] {
			end++
		}
		for _, i := range order[start:end] {
			ranks[i] = float64(start+1+end) / 2
		}
		if end-start > 1 {
			ties = append(ties, end-start)
		}
		start = end
	}
	return ranks, ties
}
