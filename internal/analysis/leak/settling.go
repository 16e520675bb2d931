package leak

import (
	"math"
	"slices"

	"github.com/perfd/perfd/internal/stats"
)

// A settling is the curve level - height·exp(-t/τ) through the floors of a
// lifetime from its beginning: a process that warms up or fills its caches.
type settling struct {
	began  float64 // seconds
	height float64 // 0 where a line describes the lifetime as well
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

// settle fits the curve to a lifetime, the load that was sent beside it.
func settle(s stretch, t *traffic, th *Thresholds) settling {
	var c settling
	if !s.fresh || len(s.points) < th.MinReadings || s.span() <= 0 {
		return c
	}
	n := min(th.MaxBlocks, len(s.points)/2)
	if s.falls.length > 0 {
		n = min(n, int(s.span()/(th.CyclesPerBlock*s.falls.length)))
	}
	if n < th.MinBlocks {
		return c
	}
	floors := s.blocks(n)
	n = len(floors)
	one, y, line, loads, requests := make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n)
	for i, f := range floors {
		one[i], y[i], line[i], loads[i], requests[i] = 1, f.low, f.at-s.points[0].at, t.rate(f.from, f.to), t.at(f.at)
	}
	columns := [][]float64{one}
	if math.Sqrt(stats.Variance(loads)) > th.LoadVaries*stats.Mean(loads) {
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
	if len(columns) > 1 {
		byRequests, _, _ := leastSquares(y, with(requests))
		left = min(left, byRequests)
	}
	best, residuals := math.Inf(1), []float64(nil)
	for _, share := range settlings {
		tau := share * s.span()
		if rest, height, r := leastSquares(y, with(curveOf(tau))); rest < best && height > 0 {
			best, residuals, c = rest, r, settling{s.points[0].at, height, tau, 0}
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
		if rest, slope, _ := leastSquares(y, with(curveOf(share*s.span()), line)); rest < best {
			best, c.slope = rest, slope
		}
	}
	return c
}

// rise returns what the curve rises from one instant to another.
func (c settling) rise(from, to float64) float64 {
	if c.height == 0 {
		return 0
	}
	return c.height * (math.Exp(-(from-c.began)/c.tau) - math.Exp(-(to-c.began)/c.tau))
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
