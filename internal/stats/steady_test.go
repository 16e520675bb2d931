package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// autoregressive returns n values of a stationary first-order autoregression with
// mean 0 and innovations of variance 1.
func autoregressive(rng *rand.Rand, n int, rho float64) []float64 {
	x := make([]float64, n)
	v := rng.NormFloat64() / math.Sqrt(1-rho*rho)
	for i := range x {
		v = rho*v + rng.NormFloat64()
		x[i] = v
	}
	return x
}

// The integrated time of an autoregression is (1+rho)/(1-rho).
func TestIntegratedTimeOfAutoregression(t *testing.T) {
	n := 200000
	if testing.Short() {
		n = 100000
	}
	for _, rho := range []float64{0, 0.5, 0.9, 0.97} {
		rng := rand.New(rand.NewPCG(7, 7))
		x := autoregressive(rng, n, rho)
		want := (1 + rho) / (1 - rho)
		got := IntegratedTime(x)
		if math.Abs(got/want-1) > 0.15 {
			t.Errorf("rho %g: IntegratedTime = %.2f, want %.2f", rho, got, want)
		}
		if size := EffectiveSize(x); math.Abs(size*CorrelationTime(x)-float64(n)) > 1e-6 || size > float64(n)/got || size < float64(n)/got*0.85 {
			t.Errorf("rho %g: EffectiveSize = %g, with time %g of %d values", rho, size, got, n)
		}
	}
}

func TestIntegratedTimeIsAtLeastOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.SliceOfN(rapid.Float64Range(-5, 5), 0, 60).Draw(t, "x")
		got := IntegratedTime(x)
		if !(got >= 1) {
			t.Errorf("IntegratedTime = %g", got)
		}
		moved := make([]float64, len(x))
		for i, v := range x {
			moved[i] = 4*v + 8
		}
		if again := IntegratedTime(moved); math.Abs(again-got) > 1e-6*got && Variance(x) > 1e-6 {
			t.Errorf("IntegratedTime = %g, in other units %g", got, again)
		}
	})
	alternating := slices.Repeat([]float64{1, -1}, 50)
	if got := IntegratedTime(alternating); got != 1 {
		t.Errorf("alternating values: IntegratedTime = %g, want 1", got)
	}
}

func TestAutocorrelationOfShortLags(t *testing.T) {
	// Deviations -2 -1 0 1 2: squares sum to 10, products of neighbours to 4, of next ones to -1.
	x := []float64{1, 2, 3, 4, 5}
	for lag, want := range map[int]float64{0: 1, 1: 0.4, 2: -0.1, 5: 0, -1: 0} {
		if got := Autocorrelation(x, lag); math.Abs(got-want) > 1e-15 {
			t.Errorf("lag %d: %g, want %g", lag, got, want)
		}
	}
}
