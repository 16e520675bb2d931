package leak

import (
	"math"

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
	one, y, line, loads := make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n)
	for i, f := range floors {
		one[i], y[i], line[i], loads[i] = 1, f.low, f.at-s.points[0].at, t.rate(f.from, f.to)
	}
	columns := [][]float64{one}
	if math.Sqrt(stats.Variance(loads)) > th.LoadVaries*stats.Mean(loads) {
		columns = append(columns, loads)
	}
	best, _ := leastSquares(y, append(columns, line))
	best *= th.SettlingGain
	for _, share := range settlings {
		tau := share * s.span()
		curve := make([]float64, n)
		for i, at := range line {
			curve[i] = -math.Exp(-at / tau)
		}
		if rest, height := leastSquares(y, append(columns[:len(columns):len(columns)], curve)); rest < best && height > 0 {
			best, c = rest, settling{s.points[0].at, height, tau, 0}
		}
	}
	if c.height == 0 {
		return c
	}
	best *= th.SettlingGain
	for _, share := range settlings {
		tau := share * s.span()
		curve := make([]float64, n)
		for i, at := range line {
			curve[i] = -math.Exp(-at / tau)
		}
		if rest, slope := leastSquares(y, append(columns[:len(columns):len(columns)], curve, line)); rest < best {
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

// leastSquares returns the sum of squares that columns leave of y, and the last coefficient.
func leastSquares(y []float64, columns [][]float64) (rest, last float64) {
	fit, err := stats.Linear(y, columns...)
	if err != nil {
		return math.Inf(1), 0
	}
	for _, r := range fit.Residuals {
		rest += r * r
	}
	return rest, fit.Coefficients[len(columns)-1]
}
