package stats

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// Autocorrelation returns the sample autocorrelation of x at a lag, the
// autocovariance with divisor n over that of lag 0 (Box and Jenkins, "Time Series
// Analysis", 1970, section 2.1). It is 0 where x does not say: for a constant x
// and for lags outside 0..n-1.
func Autocorrelation(x []float64, lag int) float64 {
	d := deviations(x)
	c0 := autocovariance(d, 0)
	if c0 == 0 {
		return 0
	}
	return autocovariance(d, lag) / c0
}

// deviations returns what the values of x differ from their mean.
func deviations(x []float64) []float64 {
	mean := Mean(x)
	d := make([]float64, len(x))
	for i, v := range x {
		d[i] = v - mean
	}
	return d
}

// autocovariance returns the mean product, divisor n, of deviations that are lag
// apart.
func autocovariance(d []float64, lag int) float64 {
	if lag < 0 || lag >= len(d) {
		return 0
	}
	sum := 0.0
	for i, v := range d[lag:] {
		sum += v * d[i]
	}
	return sum / float64(len(d))
}

// IntegratedTime returns the integrated autocorrelation time of x in observations,
// 1 + 2 Σ ρ(lag): how many dependent observations say as much about the mean as
// one independent one. The sum ends where Geyer's initial monotone sequence does,
// the sums of two neighbouring autocovariances that are positive and do not grow
// ("Practical Markov Chain Monte Carlo", Statistical Science 7 (1992), section
// 3.3). It is at least 1.
func IntegratedTime(x []float64) float64 {
	d := deviations(x)
	c0 := autocovariance(d, 0)
	if !(c0 > 0) {
		return 1
	}
	sum, before := 0.0, math.Inf(1)
	for lag := 0; lag < len(d); lag += 2 {
		pair := min(autocovariance(d, lag)+autocovariance(d, lag+1), before)
		if !(pair > 0) {
			break
		}
		sum += pair
		before = pair
	}
	return max(1, 2*sum/c0-1)
}

// EffectiveSize returns how many independent observations would give the mean of x
// the same variance: n over its integrated autocorrelation time.
func EffectiveSize(x []float64) float64 { return float64(len(x)) / IntegratedTime(x) }

const (
	fewBatches  = 20
	manyBatches = 40
)

// BatchMeans returns the mean of x and an interval for the mean of the process
// that x, in order, is a stretch of. The variance comes from the means of 40 down
// to 20 batches: batches grow until neighbouring means are not significantly
// correlated. What correlation is left widens the interval by (1+r)/(1-r), the
// variance inflation of a first-order autoregression, as N-Skart has it
// (Tafazzoli, Steiger and Wilson, "N-Skart: A Nonsequential Skewness- and
// Autoregression-Adjusted Batch-Means Procedure", IEEE Trans. Automatic Control 56
// (2011)).
func BatchMeans(x []float64, level float64) (mean float64, in Interval, w Warnings) {
	mean = Mean(x)
	n := len(x)
	if n < 2 {
		return mean, Interval{math.Inf(-1), math.Inf(1)}, Warnings{"fewer than two observations: the mean has no interval"}
	}
	var batches []float64
	var r float64
	for size := (n + manyBatches - 1) / manyBatches; ; size += max(1, size/5) {
		batches = meansOf(x, size)
		r = max(0, Autocorrelation(batches, 1)+1/float64(len(batches)))
		if r <= correlated(len(batches)) || n/(size+max(1, size/5)) < fewBatches {
			break
		}
	}
	b := float64(len(batches))
	variance := Variance(batches) / b
	if r > correlated(len(batches)) {
		w = append(w, fmt.Sprintf("means of %d batches are still correlated (%.2f): the stretch is short for how slowly the values change", len(batches), r))
	}
	if b < fewBatches {
		w = append(w, fmt.Sprintf("%d observations give %d batches, fewer than %d", n, len(batches), fewBatches))
	}
	r = min(r, 0.95)
	half := distuv.StudentsT{Sigma: 1, Nu: b - 1}.Quantile((1+level)/2) * math.Sqrt(variance*(1+r)/(1-r))
	return mean, Interval{mean - half, mean + half}, w
}

// correlated returns the lag-1 autocorrelation that n independent values exceed in
// one case of five.
func correlated(n int) float64 { return 0.8416 / math.Sqrt(float64(n)) }

// meansOf returns the means of consecutive batches of x. Values that do not fill a
// batch are left out at the start, where a process is least steady.
func meansOf(x []float64, size int) []float64 {
	m := make([]float64, 0, len(x)/size)
	for rest := x[len(x)%size:]; len(rest) > 0; rest = rest[size:] {
		m = append(m, Mean(rest[:size]))
	}
	return m
}

const mserBatch = 5

// MSER5 returns how many values at the start of x to leave out as warm-up: the
// cut, a multiple of 5, that minimises the estimated variance of the mean of what
// is left, judged on means of 5 values. steady is false if the minimum lies at the
// last cut allowed, half of x, or if x has fewer than 20 values: then x shows no
// steady state. The rule is White, Cobb and Spratt's, "A Comparison of Five
// Steady-State Truncation Heuristics for Simulation", Proc. Winter Simulation
// Conference 2000.
func MSER5(x []float64) (cut int, steady bool) {
	if len(x) < 4*mserBatch {
		return 0, false
	}
	z := meansOf(x[:len(x)-len(x)%mserBatch], mserBatch)
	last := len(z) / 2
	best, at := math.Inf(1), last
	mean, squares := 0.0, 0.0 // of z[d:], updated as Welford does
	for d, v := range slices.Backward(z) {
		left := float64(len(z) - d)
		off := v - mean
		mean += off / left
		squares += off * (v - mean)
		if d > last {
			continue
		}
		if v := squares / (left * left); v <= best {
			best, at = v, d
		}
	}
	return at * mserBatch, at < last
}
