package stats

import "math"

// Autocorrelation returns the sample autocorrelation of x at a lag, the
// autocovariance with divisor n over that of lag 0 (Box and Jenkins, "Time Series
// Analysis", 1970, section 2.1). It is 0 where it is not defined: for a constant x
// and for lags outside 0..n-1.
func Autocorrelation(x []float64, lag int) float64 {
	d := deviations(x)
	c0 := autocovariance(d, 0)
	if c0 == 0 {
		return 0
	}
	return autocovariance(d, lag) / c0
}

// deviations returns the differences of the values of x from their mean.
func deviations(x []float64) []float64 {
	mean := Mean(x)
	d := make([]float64, len(x))
	for i, v := range x {
		d[i] = v - mean
	}
	return d
}

// autocovariance returns the sum of products of deviations that are lag apart, divided by n.
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
// 1 + 2 Σ ρ(lag) for autocorrelations ρ: the number of observations that determine
// the mean as well as one independent observation. The sum ends with Geyer's initial
// monotone sequence, the sums of two neighbouring autocovariances that are positive and do not grow
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

// CorrelationTime is IntegratedTime for few observations, in which the sum over lags ends too early
// and autocorrelations about the observations' own mean are too small: no less than the time of a first-order
// autoregression, (1+phi)/(1-phi), whose phi is the lag-1 autocorrelation with its bias of -(1+3 phi)/n
// taken away (Marriott and Pope, "Bias in the Estimation of Autocorrelations", Biometrika 41 (1954)). An
// autocorrelation that independent observations exceed in one case of twenty, 1.645/sqrt(n), adds nothing.
func CorrelationTime(x []float64) float64 {
	n := float64(len(x))
	r := Autocorrelation(x, 1)
	if n < 4 || r*math.Sqrt(n) < 1.645 {
		return IntegratedTime(x)
	}
	phi := min((n*r+1)/(n-3), maxPersistence)
	return max(IntegratedTime(x), (1+phi)/(1-phi))
}

// EffectiveSize returns the number of independent observations that give the mean of
// x the same variance: n over the correlation time.
func EffectiveSize(x []float64) float64 { return float64(len(x)) / CorrelationTime(x) }
