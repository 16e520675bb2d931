package stats

import (
	"math"

	"gonum.org/v1/gonum/mathext"
	"gonum.org/v1/gonum/stat/distuv"
)

// ClopperPearson returns the exact two-sided confidence interval for the
// probability of an event that occurred in k of n trials: it covers the probability
// with confidence level or more (Clopper and Pearson, "The Use of Confidence or Fiducial Limits
// Illustrated in the Case of the Binomial", Biometrika 26 (1934)). Counts may be
// fractions, as effective counts are. Without trials it is 0..1.
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

// manyCounts is the count above which Cornish and Fisher's expansion about the
// normal distribution is more exact than the incomplete beta function, whose
// continued fraction does not converge near the median of large counts.
const manyCounts = 1e5

// betaQuantile returns the p-quantile of the beta distribution with the parameters
// a and b. Where both are at least manyCounts it is the expansion in cumulants, up to
// the fourth, of Cornish and Fisher,
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

// Wilson returns the score interval for the probability of an event that occurred
// in k of n trials (Wilson, "Probable Inference, the Law of Succession, and Statistical
// Inference", J. American Statistical Association 22 (1927)). Its coverage is level
// in the mean over probabilities and may be less for one of them, so it is for
// graphs and not for verdicts. Without trials it is 0..1.
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

// DesignEffect returns the ratio of the variance of the overall share Σk/Σn to what
// it would be if events were independent. k and n are the numbers of bad events and
// of events in consecutive intervals, which must be longer than the correlation
// between events lasts. It is the cluster-sampling variance of a ratio over the binomial one
// (Kish, "Survey Sampling", 1965): for equal n it equals var(rates) /
// (p(1-p)/n). An interval with few events has little weight. The result is at least 1.
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

// SampleSize returns the number of trials needed to prove, at significance alpha and
// with power power, on which side of limit a probability lies that is truly p. It is the normal approximation with continuity correction for one proportion
// (Fleiss, Levin and Paik, "Statistical Methods for Rates and Proportions", 3rd
// ed. 2003, chapter 2), and never less than the number that is a proof if the event
// never occurs, ln(alpha)/ln(1-limit), or always occurs, ln(alpha)/ln(limit). It is
// infinite where p is the limit or no probability.
func SampleSize(p, limit, alpha, power float64) float64 {
	distance := math.Abs(p - limit)
	if !(p >= 0 && p <= 1 && limit >= 0 && limit <= 1 && distance > 0) {
		return math.Inf(1)
	}
	switch limit {
	case 0: // one occurrence is the proof
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
