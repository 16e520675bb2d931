package stats

import (
	"math"

	"gonum.org/v1/gonum/mathext"
	"gonum.org/v1/gonum/stat/distuv"
)

// ClopperPearson returns the exact two-sided confidence interval for the
// probability of which k of n events came true: it covers it with probability
// level or more (Clopper and Pearson, "The Use of Confidence or Fiducial Limits
// Illustrated in the Case of the Binomial", Biometrika 26 (1934)). Counts may be
// fractions, as effective counts are. Without events it is 0..1.
func ClopperPearson(k, n, level float64) Interval {
	alpha := (1 - level) / 2
	return Interval{ClopperPearsonLower(k, n, alpha), ClopperPearsonUpper(k, n, alpha)}
}

// ClopperPearsonUpper returns the one-sided upper confidence bound that is too low
// with probability alpha or less.
func ClopperPearsonUpper(k, n, alpha float64) float64 {
	if !(n > 0) || k >= n {
		return 1
	}
	if k <= 0 {
		return -math.Expm1(math.Log(alpha) / n)
	}
	return betaQuantile(1-alpha, k+1, n-k)
}

// ClopperPearsonLower returns the one-sided lower confidence bound that is too
// high with probability alpha or less.
func ClopperPearsonLower(k, n, alpha float64) float64 {
	if !(n > 0) || k <= 0 {
		return 0
	}
	if k >= n {
		return math.Exp(math.Log(alpha) / n)
	}
	return betaQuantile(alpha, k, n-k+1)
}

// manyCounts is the count from which on a distribution of counts is so close to
// normal that Cornish and Fisher's expansion has more digits left than the
// incomplete beta function, whose continued fraction stops converging near the
// median of large counts.
const manyCounts = 1e5

// betaQuantile returns the p-quantile of the beta distribution. Where a and b are
// many it is the expansion in cumulants, up to the fourth, of Cornish and Fisher,
// "Moments and Cumulants in the Specification of Distributions", Revue de
// l'Institut International de Statistique 5 (1938).
func betaQuantile(p, a, b float64) float64 {
	if min(a, b) < manyCounts {
		return mathext.InvRegIncBeta(a, b, p)
	}
	d := distuv.Beta{Alpha: a, Beta: b}
	s := 2 * (b - a) * math.Sqrt(a+b+1) / ((a + b + 2) * math.Sqrt(a*b)) // skewness
	k, z := d.ExKurtosis(), distuv.UnitNormal.Quantile(p)
	off := z + s*(z*z-1)/6 + k*(z*z-3)*z/24 - s*s*(2*z*z-5)*z/36
	return d.Mean() + d.StdDev()*off
}

// Wilson returns the score interval for the probability of which k of n events
// came true (Wilson, "Probable Inference, the Law of Succession, and Statistical
// Inference", J. American Statistical Association 22 (1927)): about level is
// covered, in the mean over probabilities, so it is for graphs and not for
// verdicts. Without events it is 0..1.
func Wilson(k, n, level float64) Interval {
	if !(n > 0) {
		return Interval{0, 1}
	}
	z := distuv.UnitNormal.Quantile((1 + level) / 2)
	p, zz := min(max(k/n, 0), 1), z*z/n
	centre := (p + zz/2) / (1 + zz)
	half := math.Sqrt(p*(1-p)*zz+zz*zz/4) / (1 + zz)
	in := Interval{max(0, centre-half), min(1, centre+half)}
	if p == 0 {
		in.Lower = 0
	}
	if p == 1 {
		in.Upper = 1
	}
	return in
}

// DesignEffect returns how many times larger the variance of the overall rate
// Σk/Σn is than independent events would make it, from the bad events k and events
// n of consecutive intervals, which must be longer than what binds events
// together. It is the cluster-sampling variance of a ratio over the binomial one
// (Kish, "Survey Sampling", 1965): for equal n it equals var(rates) /
// (p(1-p)/n). An interval weighs in as it has events, so that one with few of them
// cannot decide the result. At least 1.
func DesignEffect(k, n []float64) float64 {
	bad, events, intervals := 0.0, 0.0, 0.0
	for i, m := range n {
		if m > 0 {
			bad += k[i]
			events += m
			intervals++
		}
	}
	p := bad / events
	if !(p > 0 && p < 1) || intervals < 2 {
		return 1
	}
	sum := 0.0
	for i, m := range n {
		if m > 0 {
			d := k[i] - m*p
			sum += d * d
		}
	}
	return max(1, intervals/(intervals-1)*sum/(events*p*(1-p)))
}

// SampleSize returns how many events it takes to prove, at level alpha and with
// probability power, that a probability that is truly p lies on its side of limit.
// It is the normal approximation with continuity correction for one proportion
// (Fleiss, Levin and Paik, "Statistical Methods for Rates and Proportions", 3rd
// ed. 2003, chapter 2), and never less than what it takes without one event that
// came true: ln(alpha)/ln(1-limit) below the limit, ln(alpha)/ln(limit), without
// one that did not, above it. It is infinite if p is the limit, or is not a
// probability.
func SampleSize(p, limit, alpha, power float64) float64 {
	distance := math.Abs(p - limit)
	if !(p >= 0 && p <= 1 && limit >= 0 && limit <= 1 && distance > 0) {
		return math.Inf(1)
	}
	switch limit {
	case 0: // one event that came true is the proof
		return math.Ceil(math.Log(1-power) / math.Log1p(-p))
	case 1:
		return math.Ceil(math.Log(1-power) / math.Log(p))
	}
	least := math.Log(alpha) / math.Log1p(-limit)
	if p > limit {
		least = math.Log(alpha) / math.Log(limit)
	}
	s := distuv.UnitNormal.Quantile(1-alpha)*math.Sqrt(limit*(1-limit)) + distuv.UnitNormal.Quantile(power)*math.Sqrt(p*(1-p))
	corrected := (s + math.Sqrt(s*s+2*distance)) / (2 * distance) // √n, from n·distance - 1/2 = s·√n
	n := corrected * corrected
	if p == 0 || p == 1 {
		n = least
	}
	return math.Ceil(max(n, least))
}
