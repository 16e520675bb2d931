package stats

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// The probabilities are those of Kendall, "Rank Correlation Methods", appendix
// table 1, also Hollander and Wolfe, "Nonparametric Statistical Methods", table A.30.
func TestKendallTailIsThePublishedTable(t *testing.T) {
	for _, c := range []struct {
		n    int
		s    float64
		want string
	}{
		{4, 6, "0.042"},
		{4, 4, "0.167"},
		{5, 10, "0.0083"},
		{5, 8, "0.042"},
		{6, 15, "0.0014"},
		{6, 11, "0.028"},
		{7, 21, "0.00020"},
		{7, 13, "0.035"},
		{8, 16, "0.031"},
		{9, 20, "0.022"},
		{10, 21, "0.036"},
		{10, 27, "0.0083"},
	} {
		digits := 3
		if len(c.want) > 5 {
			digits = len(c.want) - 2
		}
		if got := fmt.Sprintf("%.*f", digits, KendallTail(c.n, c.s)); got != c.want {
			t.Errorf("n %d, S %g: %s, want %s", c.n, c.s, got, c.want)
		}
	}
}

func TestTrendInflationIsHamedAndRaosSum(t *testing.T) {
	// n = 4: 1 + 2 (3·2·1 ρ) / (4·3·2) = 1 + ρ/2.
	if got := TrendInflation(4, 0.5); got != 1.25 {
		t.Errorf("%g, want 1.25", got)
	}
	if got := TrendInflation(100, 0); got != 1 {
		t.Errorf("%g without autocorrelation, want 1", got)
	}
	// Of a long series it nears (1+ρ)/(1-ρ), the factor of a mean.
	if got, want := TrendInflation(100_000, 0.8), 9.0; math.Abs(got-want) > 0.01 {
		t.Errorf("%g, want %g", got, want)
	}
}

func TestAR1IsUnbiased(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, rho := range []float64{0, 0.5, 0.8} {
		const n, series = 100, 2000
		sum := 0.0
		for range series {
			y, u := make([]float64, n), make([]float64, n)
			x := r.NormFloat64() / math.Sqrt(1-rho*rho)
			for i := range y {
				y[i], u[i] = x, float64(i)
				x = rho*x + r.NormFloat64()
			}
			_, rest := withoutLine(u, y)
			raw := Autocorrelation(rest, 1)
			sum += (raw + 2./n) / (1 - 4./n)
			if got := AR1(rest, 2); got < 0 || got > 1 || raw > 0.1 && got <= raw {
				t.Fatalf("AR1 %g of a raw autocorrelation of %g", got, raw)
			}
		}
		if got := sum / series; math.Abs(got-rho) > 0.03 {
			t.Errorf("mean of %.3f, want %g", got, rho)
		}
	}
}

// Of a random walk without drift the test keeps its level; a walk that rises at
// each step has the probability of so many heads.
func TestRisingStepsHoldsItsLevelOnARandomWalk(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	const n, series = 36, 4000
	called := 0
	for range series {
		y := make([]float64, n)
		for i := 1; i < n; i++ {
			y[i] = y[i-1] + r.NormFloat64()
		}
		if RisingSteps(y) < 0.01 {
			called++
		}
	}
	if share := float64(called) / series; share > 0.012 {
		t.Errorf("%.2f %% of random walks rise at 1 %%", 100*share)
	}
	steady := make([]float64, n)
	for i := range steady {
		steady[i] = float64(i)
	}
	if p := RisingSteps(steady); p > 1e-6 {
		t.Errorf("a line has p = %g", p)
	}
	if p := RisingSteps([]float64{1, 2, 2, 3, 5, 8, 8, 9, 11, 10}); math.Abs(p-8./128) > 1e-12 { // 6 or 7 heads of 7
		t.Errorf("six rises and a fall have p = %g, want %g", p, 8./128)
	}
	if p := RisingSteps(make([]float64, n)); p != 1 {
		t.Errorf("a constant has p = %g, want 1", p)
	}
}
