// Command soak puts 500 requests/s on the demo shop, in a process of its own,
// and holds that a daemon meant to run for months does not grow: memory by the
// bound of its slope, goroutines and descriptors by count.
//
// With -streams it holds streams instead, whose server is killed and started again in the middle: every stream is there again, what
// was missing, late or repeated is what the server made, and memory, goroutines and descriptors are what they were.
package main

import (
	"math"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// blocks is how many stretches the judged part of a soak is cut into.
const blocks = 10

// slope is the trend of y per unit of x, and the bound that the true trend
// stays below with 95 % confidence. x rises evenly.
//
// Memory is a sawtooth: neighbouring samples belong to the same collection
// cycle, and least squares over them would take each for new evidence and give
// a bound far too tight. So the line goes through the means of a few blocks,
// each long beside a cycle, whose errors are then nearly independent; Student's
// t with blocks − 2 degrees of freedom pays for their small number.
func slope(x, y []float64) (trend, upper float64) {
	if len(x) < 3*blocks {
		return math.NaN(), math.NaN()
	}
	var mx, my []float64
	for i := range blocks {
		from, to := len(x)*i/blocks, len(x)*(i+1)/blocks
		mx = append(mx, stat.Mean(x[from:to], nil))
		my = append(my, stat.Mean(y[from:to], nil))
	}
	intercept, trend := stat.LinearRegression(mx, my, nil, false)
	var residual, spread float64
	centre := stat.Mean(mx, nil)
	for i := range mx {
		e := my[i] - intercept - trend*mx[i]
		residual += e * e
		spread += (mx[i] - centre) * (mx[i] - centre)
	}
	t := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: blocks - 2}.Quantile(0.95)
	return trend, trend + t*math.Sqrt(residual/(blocks-2)/spread)
}
