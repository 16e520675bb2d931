package stats

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// AR1 returns the coefficient ρ of a first-order autoregression of the residuals
// about a polynomial of so many terms, 1 for a mean and 2 for a line. It is
// corrected for the bias of its estimate, (terms + (terms+2)ρ)/n (Shaman and
// Stine, "The Bias of Autoregressive Coefficient Estimators", JASA 83, 1988). The
// result lies in [0, 1]; a constant series has 0.
func AR1(residuals []float64, terms int) float64 {
	n := float64(len(residuals))
	a, b := float64(terms), float64(terms+2)
	if n <= b+1 {
		return 0
	}
	r := Autocorrelation(residuals, 1)
	if math.IsNaN(r) {
		return 0
	}
	return min(1, max(0, (r+a/n)/(1-b/n)))
}

// TrendInflation returns by how much a first-order autoregression with
// coefficient rho widens the variance of Mann and Kendall's S of n equally
// spaced values: Hamed and Rao's sum (1998) over the autocorrelations rho^k.
func TrendInflation(n int, rho float64) float64 {
	if n < 3 || rho <= 0 {
		return 1
	}
	f, power, sum := float64(n), 1.0, 0.0
	for k := 1.0; k <= f-3; k++ {
		power *= rho
		sum += (f - k) * (f - k - 1) * (f - k - 2) * power
	}
	return 1 + 2*sum/(f*(f-1)*(f-2))
}

// KendallTail returns the exact probability that Mann and Kendall's S of n
// values without ties is at least s where every order is equally likely
// (Kendall, "Rank Correlation Methods", appendix table 1).
func KendallTail(n int, s float64) float64 {
	// ways[i] is the share of orders with i falling pairs.
	ways := []float64{1}
	for k := 2; k <= n; k++ {
		next := make([]float64, len(ways)+k-1)
		for i, w := range ways {
			for j := range k {
				next[i+j] += w / float64(k)
			}
		}
		ways = next
	}
	pairs, tail := float64(n*(n-1)/2), 0.0
	for falling, w := range ways {
		if pairs-2*float64(falling) >= s {
			tail += w
		}
	}
	return min(1, tail)
}

// LevelShifts returns the least sums of squares that 0, 1, …, most steps between
// levels leave of y.
func LevelShifts(y []float64, most int) []float64 { return stepRests(y, most) }

// RisingSteps returns the one-sided probability of as many rises among the
// changes from value to value of y without a trend (Moore and Wallis, "Time Series
// Significance Tests Based on Signs of Differences", JASA 38, 1943). Its variance
// is that of a random walk, the greatest of all first-order autoregressions: rises
// are as likely as falls. It is widened where rises follow rises. Values that do not change count for neither.
func RisingSteps(y []float64) float64 {
	var signs []float64
	sum := 0.0
	for i := 1; i < len(y); i++ {
		if y[i] != y[i-1] {
			signs = append(signs, math.Copysign(1, y[i]-y[i-1]))
			sum += signs[len(signs)-1]
		}
	}
	n := float64(len(signs))
	if n == 0 {
		return 1
	}
	r := min(0.95, AR1(signs, 1))
	if r < 1.96/math.Sqrt(n) {
		return distuv.Binomial{N: n, P: 0.5}.Survival((n+sum)/2 - 1)
	}
	return distuv.UnitNormal.Survival((sum - 1) / math.Sqrt(n*(1+r)/(1-r)))
}
