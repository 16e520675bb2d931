package stats

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/mathext"
	"gonum.org/v1/gonum/stat/distuv"
)

// A Shift is the estimate of how far the distribution of a sample y lies above that
// of a sample x.
type Shift struct {
	Estimate float64
	Interval Interval
	Error    float64 // standard error of Estimate
	Freedom  float64 // degrees of freedom of Error
	Warnings Warnings
}

// Above returns the one-sided p-value of the hypothesis that y lies at most least above x.
func (s Shift) Above(least float64) float64 {
	if s.Error == 0 {
		return degenerate(s.Estimate - least)
	}
	return student(s.Freedom).Survival((s.Estimate - least) / s.Error)
}

// Below returns the one-sided p-value of the hypothesis that y lies at least most above x.
func (s Shift) Below(most float64) float64 {
	if s.Error == 0 {
		return degenerate(most - s.Estimate)
	}
	return student(s.Freedom).CDF((s.Estimate - most) / s.Error)
}

// P returns the two-sided p-value of the hypothesis that there is no shift.
func (s Shift) P() float64 { return min(1, 2*min(s.Above(0), s.Below(0))) }

// Equivalent returns the p-value of the hypothesis that the shift lies outside
// low..high, by two one-sided tests (Schuirmann, J. Pharmacokinetics and
// Biopharmaceutics 15 (1987)).
func (s Shift) Equivalent(low, high float64) float64 { return max(s.Above(low), s.Below(high)) }

// degenerate returns the p-value of a distance without error.
func degenerate(distance float64) float64 {
	switch {
	case distance > 0:
		return 0
	case distance < 0:
		return 1
	}
	return 0.5
}

// student returns Student's t distribution.
func student(freedom float64) distuv.StudentsT {
	return distuv.StudentsT{Sigma: 1, Nu: freedom}
}

// unknown returns the shift of samples that are too small for an interval.
func unknown(estimate float64, why string) Shift {
	return Shift{
		Estimate: estimate, Interval: Interval{math.Inf(-1), math.Inf(1)}, Error: math.Inf(1), Freedom: 1, Warnings: Warnings{why},
	}
}

// Welch compares the means of two samples of independent values whose variances
// may differ (Welch, "The Generalization of 'Student's' Problem when Several Different
// Population Variances are Involved", Biometrika 34 (1947)).
func Welch(x, y []float64, level float64) Shift {
	return WelchEffective(x, y, float64(len(x)), float64(len(y)), level)
}

// WelchEffective compares the means of two samples of dependent values, whose
// effective sizes are nx and ny (EffectiveSize).
func WelchEffective(x, y []float64, nx, ny, level float64) Shift {
	estimate := Mean(y) - Mean(x)
	if len(x) < 2 || len(y) < 2 || !(nx > 1 && ny > 1) {
		return unknown(estimate, "fewer than two effective values in a sample: the shift has no interval")
	}
	vx, vy := varianceOfMean(x, nx), varianceOfMean(y, ny)
	freedom := (vx + vy) * (vx + vy) / (vx*vx/(nx-1) + vy*vy/(ny-1))
	if vx+vy == 0 {
		freedom = nx + ny - 2
	}
	return between(estimate, math.Sqrt(vx+vy), freedom, level)
}

// MeanEffective returns how far the mean of dependent values, which are worth n independent ones (EffectiveSize), lies
// above 0: that of differences of pairs is how far the ones lie above the others.
func MeanEffective(x []float64, n, level float64) Shift {
	estimate := Mean(x)
	if len(x) < 2 || !(n > 1) {
		return unknown(estimate, "fewer than two effective values: the mean has no interval")
	}
	return between(estimate, math.Sqrt(varianceOfMean(x, n)), n-1, level)
}

// varianceOfMean is the variance of the mean of dependent values that are worth n independent ones. They
// lie closer about their own mean than about that of the process, by 1-1/n of its variance.
func varianceOfMean(x []float64, n float64) float64 {
	size := float64(len(x))
	return Variance(x) * (size - 1) / (size * (n - 1))
}

// Student compares the means of two samples of independent values with the same
// variance. One of the samples may have a single value.
func Student(x, y []float64, level float64) Shift {
	estimate := Mean(y) - Mean(x)
	nx, ny := float64(len(x)), float64(len(y))
	freedom := nx + ny - 2
	if nx < 1 || ny < 1 || freedom < 1 {
		return unknown(estimate, "fewer than three values: the shift has no interval")
	}
	pooled := (squares(x, Mean(x)) + squares(y, Mean(y))) / freedom
	return between(estimate, math.Sqrt(pooled*(1/nx+1/ny)), freedom, level)
}

// between returns the shift of an estimate with a standard deviation and degrees of freedom.
func between(estimate, deviation, freedom, level float64) Shift {
	half := 0.0
	if deviation > 0 {
		half = deviation * student(freedom).Quantile((1+level)/2)
	}
	return Shift{Estimate: estimate, Interval: Interval{estimate - half, estimate + half}, Error: deviation, Freedom: freedom}
}

// Widened returns the shift with another variance beside that of its error, which is known with so many degrees of freedom.
func (s Shift) Widened(variance, freedom, level float64) Shift {
	own := s.Error * s.Error
	if !(variance > 0) || math.IsInf(own, 1) {
		return s
	}
	all := own + variance
	w := between(s.Estimate, math.Sqrt(all), all*all/(own*own/s.Freedom+variance*variance/freedom), level)
	w.Warnings = s.Warnings
	return w
}

// exactRanks is the largest size of two samples together for which the distribution
// of ranks is enumerated; beyond it, it is normal to three digits.
const exactRanks = 60

// MannWhitney compares two samples by ranks (Mann and Whitney, "On a Test of Whether
// one of Two Random Variables is Stochastically Larger than the Other", Ann. Math. Statistics 18
// (1947)). u counts the pairs in which y is the larger one, ties half; below and
// above are the one-sided p-values against y being the smaller and the larger one,
// and both is min(1, 2 min(below, above)). Up to 60 values the p-values are exact,
// from all ways to draw the pooled ranks with their ties; beyond, they are those of
// the normal approximation with the variance corrected for ties and half a pair for
// continuity.
func MannWhitney(x, y []float64) (u, below, above, both float64) {
	nx, ny := len(x), len(y)
	if nx == 0 || ny == 0 {
		return math.NaN(), 1, 1, 1
	}
	ranks, ties := Ranks(slices.Concat(x, y))
	sum := 0.0
	for _, r := range ranks[nx:] {
		sum += r
	}
	u = sum - float64(ny*(ny+1))/2
	if nx+ny <= exactRanks {
		below, above = exactRankSum(ranks, ny, sum)
	} else {
		below, above = normalRankSum(nx, ny, ties, u)
	}
	return u, below, above, min(1, 2*min(below, above))
}

// exactRankSum returns the probabilities that the sum of n ranks drawn at random is
// at most sum and at least sum. Ranks are multiples of a half.
func exactRankSum(ranks []float64, n int, sum float64) (most, least float64) {
	if rest := len(ranks) - n; rest < n { // there are fewer sums of the rest
		all := 0.0
		for _, r := range ranks {
			all += r
		}
		least, most = exactRankSum(ranks, rest, all-sum)
		return most, least
	}
	twice := make([]int, len(ranks))
	for i, r := range ranks {
		twice[i] = int(2 * r)
	}
	all := 0.0
	for s, w := range rankSums(twice, n) {
		all += w
		if float64(s) <= 2*sum {
			most += w
		}
		if float64(s) >= 2*sum {
			least += w
		}
	}
	return most / all, least / all
}

// rankSums returns the number of ways to draw n of the ranks, indexed by their sum.
func rankSums(ranks []int, n int) []float64 {
	highest := slices.Sorted(slices.Values(ranks))
	top := 0
	for _, r := range highest[len(highest)-n:] {
		top += r
	}
	ways := make([][]float64, n+1)
	for k := range ways {
		ways[k] = make([]float64, top+1)
	}
	ways[0][0] = 1
	reach := 0
	for i, r := range ranks {
		reach = min(top, reach+r)
		for k := min(i+1, n); k > 0; k-- {
			from, to := ways[k-1], ways[k]
			for s := reach; s >= r; s-- {
				to[s] += from[s-r]
			}
		}
	}
	return ways[n]
}

// normalRankSum returns below and above of MannWhitney by the normal approximation.
func normalRankSum(nx, ny int, ties []int, u float64) (below, above float64) {
	a, b := float64(nx), float64(ny)
	n := a + b
	tied := 0.0
	for _, t := range ties {
		tied += float64(t) * (float64(t)*float64(t) - 1)
	}
	deviation := math.Sqrt(a * b / 12 * (n + 1 - tied/(n*(n-1))))
	if !(deviation > 0) {
		return 1, 1
	}
	z := distuv.UnitNormal
	return z.CDF((u + 0.5 - a*b/2) / deviation), z.Survival((u - 0.5 - a*b/2) / deviation)
}

// HodgesLehmann returns the median of all differences of a value of y and a value of
// x, with the interval that inverts MannWhitney (Hodges and Lehmann, "Estimates of Location
// Based on Rank Tests", Ann. Math. Statistics 34 (1963)). Its bounds are infinite
// where the samples are too small for the level.
func HodgesLehmann(x, y []float64, level float64) (estimate float64, in Interval) {
	d := make([]float64, 0, len(x)*len(y))
	for _, a := range x {
		for _, b := range y {
			d = append(d, b-a)
		}
	}
	in = Interval{math.Inf(-1), math.Inf(1)}
	if len(d) == 0 {
		return math.NaN(), in
	}
	slices.Sort(d)
	if k := pairsBeyond(len(x), len(y), (1-level)/2); k > 0 {
		in = Interval{d[k-1], d[len(d)-k]}
	}
	return Median(d), in
}

// pairsBeyond returns the largest k such that fewer than k pairs have x above y with
// probability alpha or less where there is no shift.
func pairsBeyond(nx, ny int, alpha float64) int {
	if nx+ny > exactRanks {
		a, b := float64(nx), float64(ny)
		z := distuv.UnitNormal.Quantile(1 - alpha)
		return max(0, int(a*b/2-z*math.Sqrt(a*b*(a+b+1)/12)))
	}
	ranks := make([]int, nx+ny)
	for i := range ranks {
		ranks[i] = i + 1
	}
	n := min(nx, ny)
	ways := rankSums(ranks, n)
	all := 0.0
	for _, w := range ways {
		all += w
	}
	k, sum := 0, 0.0
	for _, w := range ways[n*(n+1)/2:] {
		if sum += w; sum > alpha*all {
			break
		}
		k++
	}
	return k
}

// Holm returns p-values adjusted for their number: the probability that one at or
// below alpha belongs to a true hypothesis is alpha or less, however they depend on each other
// (Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian J. Statistics 6 (1979)).
func Holm(p []float64) []float64 {
	out := make([]float64, len(p))
	before := 0.0
	for i, at := range rising(p) {
		before = max(before, min(1, p[at]*float64(len(p)-i)))
		out[at] = before
	}
	return out
}

// rising returns the indices of p from its smallest value to its largest.
func rising(p []float64) []int {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case p[a] < p[b]:
			return -1
		case p[a] > p[b]:
			return 1
		}
		return 0
	})
	return order
}

// CountsAbove returns the one-sided p-value of a higher rate in y, from kx and ky
// events over exposures of nx and ny: the probability that ky or more of kx+ky events
// belong to y where both rates are the same (Przyborowski and Wilenski, "Homogeneity of Results in Testing Samples from Poisson
// Series", Biometrika 31 (1940)). For events that are shares of nx and ny trials it is conservative. Counts
// may be fractions, as effective counts are.
func CountsAbove(kx, nx, ky, ny float64) float64 {
	if !(ky > 0 && nx > 0 && ny > 0) {
		return 1
	}
	p := ny / (nx + ny)
	if min(kx, ky) > manyEvents {
		// gonum's incomplete beta function is inexact here, and the normal tail is not.
		n := kx + ky
		return distuv.UnitNormal.Survival((ky - 0.5 - n*p) / math.Sqrt(n*p*(1-p)))
	}
	return mathext.RegIncBeta(ky, kx+1, p)
}

// manyEvents is the number of events on either side above which the normal tail is
// more exact than the computed binomial one.
const manyEvents = 1e5

// ProportionShift returns how far the share ky/ny lies above kx/nx, with Newcombe's
// interval from two score intervals ("Interval Estimation for the Difference Between
// Independent Proportions", Statistics in Medicine 17 (1998), method 10). Counts may be fractions.
func ProportionShift(kx, nx, ky, ny, level float64) (estimate float64, in Interval) {
	if !(nx > 0 && ny > 0) {
		return math.NaN(), Interval{-1, 1}
	}
	px, py := kx/nx, ky/ny
	wx, wy := Wilson(kx, nx, level), Wilson(ky, ny, level)
	d := py - px
	return d, Interval{
		d - math.Hypot(py-wy.Lower, wx.Upper-px),
		d + math.Hypot(wy.Upper-py, px-wx.Lower),
	}
}
