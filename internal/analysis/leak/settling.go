package leak

import (
	"math"
	"slices"

	"github.com/perfd/perfd/internal/stats"
)

// A settling is the curve level - height·exp(-t/τ) through the floors of lifetimes
// from their beginnings, t seconds after each: a process that warms up or fills its caches.
type settling struct {
	height float64 // 0 where a line describes the lifetimes as well
	tau    float64 // seconds
	slope  float64 // per second, of a line beside the curve; 0 where the curve alone does as well
}

// settlings are the time constants that are tried, as shares of the lifetime:
// from a sixteenth to twice of it, each a quarter longer than the one before.
var settlings = func() (out []float64) {
	for share := 1. / 16; share <= 2; share *= 1.25 {
		out = append(out, share)
	}
	return out
}()

// settle fits the curve to lifetimes that are seen from their beginnings, each with a level of its own and the load
// that was sent beside it.
func settle(lives []stretch, t *traffic, th *Thresholds) settling {
	var c settling
	points, total, longest, least := 0, 0.0, 0.0, math.Inf(1)
	for _, s := range lives {
		if !s.fresh || len(s.points) < minLife || s.span() <= 0 {
			return c
		}
		points += len(s.points)
		total += s.span()
		longest = max(longest, s.span())
		if s.falls.length > 0 {
			least = min(least, s.span()/(th.CyclesPerBlock*s.falls.length))
		}
	}
	n := int(min(float64(th.MaxBlocks), float64(points/2), least*float64(len(lives))))
	if points < th.MinReadings || n < max(th.MinBlocks, minLife*len(lives)) {
		return c
	}
	var y, line, loads, requests []float64
	var of []int
	for i, s := range lives {
		for _, f := range s.blocks(max(minLife, int(float64(n)*s.span()/total))) {
			of = append(of, i)
			y, line = append(y, f.low), append(line, f.at-s.points[0].at)
			loads, requests = append(loads, t.rate(f.from, f.to)), append(requests, t.at(f.at))
		}
	}
	n = len(y)
	columns := make([][]float64, len(lives))
	for i := range columns {
		columns[i] = make([]float64, n)
	}
	for k, i := range of {
		columns[i][k] = 1
	}
	varies := math.Sqrt(stats.Variance(loads)) > th.LoadVaries*stats.Mean(loads)
	if varies {
		columns = append(columns, loads)
	}
	with := func(c ...[]float64) [][]float64 { return append(slices.Clip(columns), c...) }
	curveOf := func(tau float64) []float64 {
		curve := make([]float64, n)
		for i, at := range line {
			curve[i] = -math.Exp(-at / tau)
		}
		return curve
	}
	left, _, _ := leastSquares(y, with(line))
	if varies {
		byRequests, _, _ := leastSquares(y, with(requests))
		left = min(left, byRequests)
	}
	best, residuals := math.Inf(1), []float64(nil)
	for _, share := range settlings {
		tau := share * longest
		if rest, height, r := leastSquares(y, with(curveOf(tau))); rest < best && height > 0 {
			best, residuals, c = rest, r, settling{height, tau, 0}
		}
	}
	// The gain of a number more is a share of the values that are independent.
	rho := min(0.9, stats.AR1(residuals, 3))
	gain := max(th.SettlingLeast, 1-th.SettlingGain/float64(n)*(1+rho)/(1-rho))
	if best >= gain*left {
		return settling{}
	}
	best *= gain
	for _, share := range settlings {
		if rest, slope, _ := leastSquares(y, with(curveOf(share*longest), line)); rest < best {
			best, c.slope = rest, slope
		}
	}
	return c
}

// rise returns what the curve rises from one age of a lifetime to another.
func (c settling) rise(from, to float64) float64 {
	if c.height == 0 {
		return 0
	}
	return c.height * (math.Exp(-from/c.tau) - math.Exp(-to/c.tau))
}

// leastSquares returns the sum of squares that columns leave of y, the last
// coefficient and the residuals.
func leastSquares(y []float64, columns [][]float64) (rest, last float64, residuals []float64) {
	fit, err := stats.Linear(y, columns...)
	if err != nil {
		return math.Inf(1), 0, nil
	}
	for _, r := range fit.Residuals {
		rest += r * r
	}
	return rest, fit.Coefficients[len(columns)-1], fit.Residuals
}
