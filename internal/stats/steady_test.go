package stats

import (
	"fmt"
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

// Intervals of 95 % cover the mean of an autoregression at least as often as
// promised: 90 % at rho .97, where the effective size of 2,000 values is 30, and
// 93 % below.
func TestBatchMeansCover(t *testing.T) {
	runs := 2000
	if testing.Short() {
		runs = 500
	}
	for _, c := range []struct{ rho, least float64 }{{0, 0.93}, {0.5, 0.93}, {0.9, 0.92}, {0.97, 0.90}} {
		t.Run(fmt.Sprint(c.rho), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(20, 40))
			covered := 0
			for range runs {
				if _, in, _ := BatchMeans(autoregressive(rng, 2000, c.rho), 0.95); in.Contains(0) {
					covered++
				}
			}
			share := float64(covered) / float64(runs)
			t.Logf("coverage %.3f", share)
			if share < c.least {
				t.Errorf("coverage %.3f, want at least %.2f", share, c.least)
			}
		})
	}
}

func TestBatchMeansWarn(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	mean, in, w := BatchMeans([]float64{4}, 0.95)
	if mean != 4 || !math.IsInf(in.Lower, -1) || !math.IsInf(in.Upper, 1) || len(w) != 1 {
		t.Errorf("one value: %g in %v, %q", mean, in, w)
	}
	if _, in, w := BatchMeans([]float64{1, 3, 2, 4, 3, 2}, 0.95); len(w) != 1 || !in.Contains(2.5) {
		t.Errorf("six values: %v, %q, want a warning of few batches", in, w)
	}
	walk := autoregressive(rng, 500, 0.999)
	if _, _, w := BatchMeans(walk, 0.95); len(w) == 0 {
		t.Error("values that wander: no warning")
	}
	if mean, in, _ := BatchMeans(slices.Repeat([]float64{7}, 100), 0.95); mean != 7 || in.Lower != 7 || in.Upper != 7 {
		t.Errorf("a constant: %g in %v", mean, in)
	}
	// 59 values make 29 batches of two; the odd one, in front, is left out of the batches only.
	odd := make([]float64, 59)
	for i := range odd {
		odd[i] = rng.NormFloat64()
	}
	if mean, in, w := BatchMeans(odd, 0.95); mean != Mean(odd) || !in.Contains(mean) || len(w) != 0 {
		t.Errorf("59 values: %g in %v, %q", mean, in, w)
	}
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
		if size := EffectiveSize(x); math.Abs(size*got-float64(n)) > 1e-6 {
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

// directCut returns MSER-5's cut by computing each candidate on its own.
func directCut(x []float64) int {
	z := meansOf(x[:len(x)-len(x)%mserBatch], mserBatch)
	best, at := math.Inf(1), 0
	for d := range len(z)/2 + 1 {
		left := float64(len(z) - d)
		if v := squares(z[d:], Mean(z[d:])) / (left * left); v < best {
			best, at = v, d
		}
	}
	return at * mserBatch
}

func TestMSER5MinimisesDirectly(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	for range 50 {
		x := autoregressive(rng, 100+rng.IntN(400), 0.5)
		decay := 1 + rng.Float64()*50
		for i := range x {
			x[i] += 20 * math.Exp(-float64(i)/decay)
		}
		cut, steady := MSER5(x)
		if want := directCut(x); cut != want {
			t.Errorf("cut at %d, want %d", cut, want)
		}
		if last := len(x) / mserBatch / 2 * mserBatch; steady != (cut < last) {
			t.Errorf("cut at %d of at most %d: steady %v", cut, last, steady)
		}
	}
}

func TestMSER5FindsWarmUp(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	x := autoregressive(rng, 1000, 0.3)
	for i := range 200 {
		x[i] += 30
	}
	if cut, steady := MSER5(x); cut < 200 || cut > 260 || !steady {
		t.Errorf("a level that ends at 200: cut %d, steady %v", cut, steady)
	}
	rising := make([]float64, 1000)
	for i := range rising {
		rising[i] = float64(i)
	}
	if cut, steady := MSER5(rising); steady || cut != 500 {
		t.Errorf("a steady rise: cut %d, steady %v, want 500 and not steady", cut, steady)
	}
	if cut, steady := MSER5(slices.Repeat([]float64{3}, 100)); cut != 0 || !steady {
		t.Errorf("a constant: cut %d, steady %v", cut, steady)
	}
	if cut, steady := MSER5(make([]float64, 19)); cut != 0 || steady {
		t.Errorf("19 values: cut %d, steady %v, want no answer", cut, steady)
	}
}
