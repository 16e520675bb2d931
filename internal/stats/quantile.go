package stats

import (
	"fmt"
	"math"
	"slices"
	"sort"

	"gonum.org/v1/gonum/mathext"
	"gonum.org/v1/gonum/stat/distuv"
)

// QuantileRanks returns which of n independent values, sorted and counted from 1,
// bound the q-quantile of their distribution with confidence level: with
// probability at most (1-level)/2 the lower one lies above it, and the same for
// the upper one below it. It holds for every distribution (David and Nagaraja,
// "Order Statistics", 3rd ed. 2003, section 7.1). Lower is 0 and upper n+1 where n
// values are too few for that bound.
//
// The ranks are exact unless more than 100,000 values are expected on both sides
// of the quantile: then they come from the normal approximation with its
// correction for skewness (Cornish and Fisher 1938), rounded outwards.
func QuantileRanks(n int, q, level float64) (lower, upper int) {
	alpha := (1 - level) / 2
	if n <= 0 || !(q > 0 && q < 1) || !(alpha > 0) {
		return 0, max(n, 0) + 1
	}
	if mean := float64(n) * q; min(mean, float64(n)-mean) > manyCounts {
		z := distuv.UnitNormal.Quantile(1 - alpha)
		half := z * math.Sqrt(mean*(1-q))
		mean += 0.5 + (1-2*q)*(z*z-1)/6
		return int(math.Floor(mean - half)), int(math.Ceil(mean + half))
	}
	// Of lower ranks, those up to the answer keep their error within alpha; of upper ranks, those from it on.
	lower = sort.Search(n, func(l int) bool { return binomialAtMost(l, n, q) > alpha })
	upper = sort.Search(n+1, func(u int) bool { return binomialAtMost(n-u, n, 1-q) <= alpha })
	return lower, upper
}

// binomialAtMost returns P(Bin(n, p) ≤ k), k ≥ 0.
func binomialAtMost(k, n int, p float64) float64 {
	if k >= n {
		return 1
	}
	return mathext.RegIncBeta(float64(n-k), float64(k+1), 1-p)
}

// LeastSamples returns how many independent values it takes until the largest one
// bounds the q-quantile from above with error alpha; two-sided, until the smallest
// and largest bound it with error alpha/2 each. It is 0 if no number does: q and
// alpha must be between 0 and 1.
func LeastSamples(q, alpha float64, twoSided bool) int {
	if !(q > 0 && q < 1 && alpha > 0 && alpha < 1) {
		return 0
	}
	if twoSided {
		q, alpha = max(q, 1-q), alpha/2
	}
	n := math.Ceil(math.Log(alpha) / math.Log(q))
	if n > 1 && math.Pow(q, n-1) <= alpha*(1+1e-12) { // the logarithms of an exact power were rounded apart
		n--
	}
	return int(n)
}

// QuantileInterval returns the interval for the q-quantile of the distribution
// that the sorted, independent values come from. Its bounds are values of the
// sample, infinite where the sample is too small.
func QuantileInterval(sorted []float64, q, level float64) (Interval, Warnings) {
	lower, upper := QuantileRanks(len(sorted), q, level)
	in := Interval{math.Inf(-1), math.Inf(1)}
	if lower >= 1 {
		in.Lower = sorted[lower-1]
	}
	if upper <= len(sorted) {
		in.Upper = sorted[upper-1]
	}
	return in, rankWarnings(len(sorted), lower, upper, q, level)
}

// rankWarnings says which of the bounds that QuantileRanks gave do not exist.
func rankWarnings(n, lower, upper int, q, level float64) Warnings {
	if lower >= 1 && upper <= n {
		return nil
	}
	sides := "lower and upper bounds do"
	switch {
	case upper <= n:
		sides = "lower bound does"
	case lower >= 1:
		sides = "upper bound does"
	}
	return Warnings{fmt.Sprintf("%d values are too few for quantile %g: its %s not exist below %d values", n, q, sides, LeastSamples(q, 1-level, true))}
}

// A Bucket counts the values above Lower and up to Upper. Both are infinite where
// a histogram has no bound.
type Bucket struct {
	Lower, Upper float64
	Count        uint64
}

// BucketQuantile returns the q-quantile of the values that ascending buckets
// count, and its interval: from the lower edge of the bucket that holds the lower
// rank of QuantileRanks to the upper edge of the one that holds the upper rank.
// That much is certain of independent values; value is a point inside it, for
// display, which assumes that values spread evenly over their bucket.
func BucketQuantile(b []Bucket, q, level float64) (value float64, in Interval, w Warnings) {
	ends := make([]uint64, len(b)) // rank of the last value in each bucket
	total := uint64(0)
	for i, c := range b {
		total += c.Count
		ends[i] = total
	}
	in = Interval{math.Inf(-1), math.Inf(1)}
	if total == 0 || !(q >= 0 && q <= 1) {
		return math.NaN(), in, Warnings{"no values"}
	}
	n := int(total)
	holder := func(rank int) int {
		i, _ := slices.BinarySearch(ends, uint64(rank))
		return i
	}
	lower, upper := QuantileRanks(n, q, level)
	w = rankWarnings(n, lower, upper, q, level)
	if lower >= 1 {
		in.Lower = b[holder(lower)].Lower
	}
	if upper <= n {
		in.Upper = b[holder(upper)].Upper
	}
	rank := min(max(q*float64(n), 0), float64(n))
	at := holder(max(int(math.Ceil(rank)), 1))
	c := b[at]
	value = c.Lower + (c.Upper-c.Lower)*(1-(float64(ends[at])-rank)/float64(c.Count))
	switch {
	case math.IsInf(c.Lower, -1):
		value = c.Upper
	case math.IsInf(c.Upper, 1):
		value = c.Lower
	default:
		if lower >= 1 && upper <= n && holder(lower) == holder(upper) && in.Width() > wideBucket*math.Abs(value) {
			w = append(w, fmt.Sprintf("the interval is one bucket, %g to %g: narrower buckets would tell more", in.Lower, in.Upper))
		}
		return value, in, w
	}
	return value, in, append(w, fmt.Sprintf("the quantile lies beyond the last bucket edge, %g", value))
}

// wideBucket is the width of a bucket, relative to the value in it, from which on
// the bucket is worth a warning: Prometheus' native schema 3 stays below it.
const wideBucket = 0.1
