package stats

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// The sequential tests below may be looked at as often as one likes. Each is an
// e-process: its expectation under the null hypothesis is at most 1 at any stopping
// time, so that the probability that it ever reaches 1/alpha is alpha or less
// (Ville's inequality). E-processes are kept as logarithms.

// A Mixture is the e-process of a share of bad events against a limit: the likelihood
// ratio of a share to the limit, averaged over shares by a beta distribution (the
// beta-binomial mixture of Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform,
// nonparametric, nonasymptotic confidence sequences", Annals of Statistics 49
// (2021), with g = limit and h = 1 - limit). Counts may be fractions, as effective counts are.
type Mixture struct {
	limit        float64
	worse, good  float64 // parameters of the beta distribution of one-sided tests
	either, rest float64 // those of the two-sided test
	above, below float64 // logarithm of the beta function over the limit's two sides
}

// NewMixture returns the test of a limit, 0 < limit < 1, that is most powerful after
// about opt events at significance alpha.
func NewMixture(limit, opt, alpha float64) Mixture {
	g, h := limit, 1-limit
	tuned := func(alpha float64) float64 {
		return max(NormalRho(g*h*opt, alpha)-g*h, 1e-3*g*h)
	}
	one, two := tuned(2*alpha), tuned(alpha)
	m := Mixture{limit: limit, worse: one / h, good: one / g, either: two / h, rest: two / g}
	m.above = logIncompleteBeta(m.good, m.worse, h)
	m.below = logIncompleteBeta(m.worse, m.good, g)
	return m
}

// Above returns the logarithm of the e-value for a share above the limit where k of
// n events are bad.
func (m Mixture) Above(k, n float64) float64 {
	return m.scaled(k, n, logIncompleteBeta(m.good+n-k, m.worse+k, 1-m.limit)-m.above)
}

// Below returns the logarithm of the e-value for a share below the limit.
func (m Mixture) Below(k, n float64) float64 {
	return m.scaled(k, n, logIncompleteBeta(m.worse+k, m.good+n-k, m.limit)-m.below)
}

// Proves returns on which side of the limit the share is proven to lie where the
// logarithm of the e-value must reach bound: 1 above, -1 below, 0 not proven. It
// agrees with Above and Below, and is cheaper.
func (m Mixture) Proves(k, n, bound float64) int {
	// A one-sided integral is at most the whole one.
	whole := m.scaled(k, n, logBeta(m.good+n-k, m.worse+k))
	switch {
	case k > n*m.limit && whole-m.above >= bound && m.Above(k, n) >= bound:
		return 1
	case k < n*m.limit && whole-m.below >= bound && m.Below(k, n) >= bound:
		return -1
	}
	return 0
}

// Either returns the logarithm of the e-value for a share other than the limit.
func (m Mixture) Either(k, n float64) float64 {
	return m.scaled(k, n, logBeta(m.rest+n-k, m.either+k)-logBeta(m.rest, m.either))
}

// scaled divides a mixture of likelihoods, a logarithm, by the likelihood of the limit.
func (m Mixture) scaled(k, n, log float64) float64 {
	return log - k*math.Log(m.limit) - (n-k)*math.Log1p(-m.limit)
}

// Sequence returns the interval of the confidence sequence at k bad of n events: the
// probability that the true share lies in the intervals of all times is 1 - alpha or
// more. It is the set of shares that the two-sided mixture, tuned for the limit, does
// not reject.
func (m Mixture) Sequence(k, n, alpha float64) Interval {
	if !(n > 0) {
		return Interval{0, 1}
	}
	mixed := logBeta(m.rest+n-k, m.either+k) - logBeta(m.rest, m.either) + math.Log(alpha)
	rejects := func(p float64) bool {
		return mixed-times(k, math.Log(p))-times(n-k, math.Log1p(-p)) >= 0
	}
	edge := func(in, out float64) float64 {
		if !rejects(out) {
			return out
		}
		for range 60 {
			middle := (in + out) / 2
			if rejects(middle) {
				out = middle
			} else {
				in = middle
			}
			if math.Abs(out-in) <= 1e-6*in {
				break
			}
		}
		return out
	}
	p := min(max(k/n, 0), 1)
	return Interval{edge(p, 0), edge(p, 1)}
}

// times returns a·b, which is 0 where a is 0 and b infinite.
func times(a, b float64) float64 {
	if a == 0 {
		return 0
	}
	return a * b
}

// A Restarting is a mixture of e-processes that start at different times. It finds a
// change however long the null hypothesis held before: it is a Shiryaev-Roberts
// e-detector (Shin, Ramdas and Rinaldo, "E-detectors", New England Journal of
// Statistics in Data Science 2 (2024)). While the sum of the weights is 1 or
// less it is an e-process.
type Restarting struct{ value float64 }

// most bounds the value, to keep it finite. It is far above any 1/alpha.
const most = 1e200

// Step starts another e-process with a weight, then multiplies all of them by the
// likelihood ratio of the latest observations. Log is its logarithm, or less.
func (r *Restarting) Step(weight, log float64) {
	r.value = min(most, (r.value+weight)*math.Exp(log))
}

// Value returns the e-value, not its logarithm.
func (r *Restarting) Value() float64 { return r.value }

// LogOdds returns the logarithm of the likelihood ratio, where k of n events are bad,
// of the share whose odds are factor times those of limit to the share limit.
func LogOdds(limit, factor, k, n float64) float64 {
	// With p = f·l/(1-l+f·l): p/l = f/d and (1-p)/(1-l) = 1/d, d = 1-l+f·l.
	return k*math.Log(factor) - n*math.Log1p(limit*(factor-1))
}

// NormalRho returns the parameter rho of the normal mixture whose bound at
// significance alpha is narrowest at the intrinsic time opt (Howard et al. 2021, section 3.1).
func NormalRho(opt, alpha float64) float64 {
	l := 2 * math.Log(1/alpha)
	return opt / (l + math.Log1p(l))
}

// NormalBound returns the two-sided bound of the normal mixture with the parameter
// rho: the probability that a sum of v terms of mean 0 and variance 1 is within it at
// all times v is 1 - alpha (Robbins,
// "Statistical Methods Related to the Law of the Iterated Logarithm", Annals of
// Mathematical Statistics 41 (1970)). For terms scaled by an estimated standard
// deviation it holds asymptotically (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas,
// "Time-uniform central limit theory and asymptotic confidence sequences", Annals
// of Statistics 52 (2024)).
func NormalBound(v, rho, alpha float64) float64 {
	return math.Sqrt((v + rho) * (math.Log1p(v/rho) + 2*math.Log(1/alpha)))
}

// SpanLevel returns the significance at which the mean of the last span of a long time may be looked at again and
// again, so that one of independent values is called with the probability alpha within the whole time. Such a mean exceeds
// z of its standard deviations within a time T with the probability T/span · z φ(z), where φ is the density of the normal
// distribution and z is large: its autocorrelation falls by 1/span at lag 0 (Leadbetter, Lindgren and Rootzén, "Extremes and
// Related Properties of Random Sequences and Processes", 1983, theorem 12.3.5). The significance is that z's.
func SpanLevel(span, time, alpha float64) float64 {
	z := 2.0
	for range 50 {
		// The fixed point of z φ(z) = alpha span/time, from the logarithm of φ.
		z = math.Sqrt(2 * max(0.5, math.Log(time*z/(span*alpha*math.Sqrt(2*math.Pi)))))
	}
	return min(alpha, distuv.UnitNormal.Survival(z))
}

// logBeta returns the logarithm of the beta function.
func logBeta(a, b float64) float64 {
	la, _ := math.Lgamma(a)
	lb, _ := math.Lgamma(b)
	lab, _ := math.Lgamma(a + b)
	return la + lb - lab
}

// logIncompleteBeta returns the logarithm of the integral of t^(a-1) (1-t)^(b-1) from
// 0 to x, 0 < x < 1. It does not use the regularized function, which underflows where
// the logarithm does not.
func logIncompleteBeta(a, b, x float64) float64 {
	front := a*math.Log(x) + b*math.Log1p(-x)
	if x <= (a+1)/(a+b+2) {
		return front - math.Log(a) + math.Log(betaFraction(a, b, x))
	}
	whole := logBeta(a, b)
	other := front - math.Log(b) + math.Log(betaFraction(b, a, 1-x)) - whole
	return whole + math.Log1p(-min(math.Exp(other), 1))
}

// betaFraction returns the continued fraction of the incomplete beta function (DLMF
// 8.17.22) by Lentz's algorithm, which takes about √max(a, b) terms.
func betaFraction(a, b, x float64) float64 {
	const tiny, epsilon = 1e-300, 1e-15
	nonzero := func(v float64) float64 {
		if math.Abs(v) < tiny {
			return tiny
		}
		return v
	}
	c, d := 1.0, 1/nonzero(1-(a+b)*x/(a+1))
	f := d
	for m := 1.0; m < 1e6; m++ {
		even := m * (b - m) * x / ((a + 2*m - 1) * (a + 2*m))
		d, c = 1/nonzero(1+even*d), nonzero(1+even/c)
		f *= d * c
		odd := -(a + m) * (a + b + m) * x / ((a + 2*m) * (a + 2*m + 1))
		d, c = 1/nonzero(1+odd*d), nonzero(1+odd/c)
		f *= d * c
		if math.Abs(d*c-1) < epsilon {
			break
		}
	}
	return f
}
