package main

import (
	"math"
	"math/rand/v2"
	"testing"
)

// series is an hour of samples with a trend and noise that remembers itself for
// about memory samples.
func series(random *rand.Rand, trend, noise, memory float64) (x, y []float64) {
	keep := math.Exp(-1 / memory)
	e := random.NormFloat64()
	for i := range 600 {
		e = keep*e + math.Sqrt(1-keep*keep)*random.NormFloat64()
		x = append(x, float64(i)/600)
		y = append(y, 50+trend*x[i]+noise*e)
	}
	return x, y
}

// The bound must hold in 95 of 100 soaks although neighbouring samples are alike.
func TestUpperBoundHoldsForCorrelatedNoise(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const soaks = 2000
	held := 0
	for range soaks {
		if _, upper := slope(series(random, 0.5, 1, 8)); upper >= 0.5 {
			held++
		}
	}
	if ratio := float64(held) / soaks; ratio < 0.93 || ratio > 0.98 {
		t.Errorf("the bound held in %.3f of the soaks, want about 0.95", ratio)
	}
}

func TestSlopeOfALineIsExact(t *testing.T) {
	trend, upper := slope(series(rand.New(rand.NewPCG(1, 2)), 3, 0, 1))
	if math.Abs(trend-3) > 1e-9 || math.Abs(upper-3) > 1e-6 {
		t.Errorf("slope = %v, at most %v; want 3, 3", trend, upper)
	}
}

func TestTooFewSamplesHaveNoSlope(t *testing.T) {
	if trend, upper := slope([]float64{1, 2, 3}, []float64{1, 2, 3}); !math.IsNaN(trend) || !math.IsNaN(upper) {
		t.Errorf("slope of three samples = %v, %v; want none", trend, upper)
	}
}
