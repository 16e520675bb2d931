package stats

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The least sample sizes for distribution-free 95 % bounds: one-sided from above,
// two-sided.
func TestLeastSamples(t *testing.T) {
	for _, c := range []struct {
		q        float64
		one, two int
	}{{0.9, 29, 36}, {0.95, 59, 72}, {0.99, 299, 368}, {0.999, 2995, 3688}, {0.9999, 29956, 36887}} {
		if got := LeastSamples(c.q, 0.05, false); got != c.one {
			t.Errorf("p%g one-sided: %d, want %d", 100*c.q, got, c.one)
		}
		if got := LeastSamples(c.q, 0.05, true); got != c.two {
			t.Errorf("p%g two-sided: %d, want %d", 100*c.q, got, c.two)
		}
		// The two-sided bounds exist from there on, and not before.
		if l, u := QuantileRanks(c.two, c.q, 0.95); l < 1 || u != c.two {
			t.Errorf("p%g of %d: ranks %d, %d, want the largest as upper", 100*c.q, c.two, l, u)
		}
		if _, u := QuantileRanks(c.two-1, c.q, 0.95); u != c.two {
			t.Errorf("p%g of %d: upper rank %d, want none", 100*c.q, c.two-1, u)
		}
	}
	for hundredths := 1; hundredths < 100; hundredths++ {
		for n := 1; n < 20; n++ {
			q := float64(hundredths) / 100
			if got := LeastSamples(q, math.Pow(q, float64(n)), false); got != n {
				t.Errorf("LeastSamples(%g, %g^%d) = %d, want %d", q, q, n, got, n)
			}
		}
	}
	if got, want := LeastSamples(0.01, 0.05, true), LeastSamples(0.99, 0.05, true); got != want {
		t.Errorf("two-sided p1 takes %d, p99 %d", got, want)
	}
	for _, q := range []float64{0, 1, math.NaN()} {
		if got := LeastSamples(q, 0.05, true); got != 0 {
			t.Errorf("LeastSamples(%g) = %d, want 0", q, got)
		}
	}
}

// The ranks are the tightest that keep both tails of the binomial distribution
// within half of what the level leaves.
func TestQuantileRanksByEnumeration(t *testing.T) {
	for _, n := range []int{1, 4, 10, 37, 100, 400} {
		for _, q := range []float64{0.05, 0.5, 0.9, 0.99} {
			for _, level := range []float64{0.9, 0.99} {
				alpha := (1 - level) / 2
				lower, upper := 0, n+1
				for l := n; l >= 1; l-- {
					if 1-binomialTail(l, n, q) <= alpha {
						lower = l
						break
					}
				}
				for u := 1; u <= n; u++ {
					if binomialTail(u, n, q) <= alpha {
						upper = u
						break
					}
				}
				if l, u := QuantileRanks(n, q, level); l != lower || u != upper {
					t.Errorf("n %d q %g level %g: ranks %d, %d, want %d, %d", n, q, level, l, u, lower, upper)
				}
			}
		}
	}
}

// The approximation for many values takes over without a step: below its limit the
// exact ranks are where it would put them, to the rank that rounding moves.
func TestQuantileRanksOfManyValues(t *testing.T) {
	const z = 1.959963984540054
	for _, n := range []int{1e5, 1e6, 9e6, 1.1e7, 1e9, 1e10} {
		for _, q := range []float64{0.01, 0.5, 0.99, 0.999} {
			l, u := QuantileRanks(n, q, 0.95)
			centre := float64(n)*q + 0.5 + (z*z-1)*(1-2*q)/6
			half := z * math.Sqrt(float64(n)*q*(1-q))
			if math.Abs(float64(l)-(centre-half)) > 1.1 || math.Abs(float64(u)-(centre+half)) > 1.1 {
				t.Errorf("n %d q %g: ranks %d, %d, want about %.1f, %.1f", n, q, l, u, centre-half, centre+half)
			}
		}
	}
}

func TestQuantileIntervalSaysWhatIsMissing(t *testing.T) {
	x := make([]float64, 367)
	for i := range x {
		x[i] = float64(i + 1)
	}
	in, w := QuantileInterval(x, 0.99, 0.95)
	if in.Lower < 350 || in.Lower > 363 || !math.IsInf(in.Upper, 1) {
		t.Errorf("p99 of 1..367 = %v, want no upper bound", in)
	}
	if len(w) != 1 || !strings.Contains(w[0], "upper bound") || !strings.Contains(w[0], "368") {
		t.Errorf("warnings %q, want one of the upper bound that asks for 368 values", w)
	}
	in, w = QuantileInterval(append(x, 368), 0.99, 0.95)
	if in.Upper != 368 || len(w) != 0 {
		t.Errorf("p99 of 1..368 = %v, %q, want the upper bound 368", in, w)
	}
	if in, w = QuantileInterval(x, 0.01, 0.95); !math.IsInf(in.Lower, -1) || math.IsInf(in.Upper, 0) || len(w) != 1 || !strings.Contains(w[0], "lower bound") {
		t.Errorf("p1 of 1..367 = %v, %q, want no lower bound", in, w)
	}
	if in, w = QuantileInterval(nil, 0.5, 0.95); !math.IsInf(in.Lower, -1) || !math.IsInf(in.Upper, 1) || len(w) != 1 {
		t.Errorf("median of nothing = %v, %q", in, w)
	}
}

// Of 2,000 intervals at 95 %, at most 131 may miss: the binomial count with a rate
// of 0.05 exceeds that in one case of 900.
func TestQuantileIntervalCovers(t *testing.T) {
	const q = 0.95
	truth := -math.Log(1 - q) // of an exponential distribution with mean 1
	rng := rand.New(rand.NewPCG(3, 1))
	missed := 0
	for range 2000 {
		x := make([]float64, 200)
		for i := range x {
			x[i] = rng.ExpFloat64()
		}
		slices.Sort(x)
		if in, _ := QuantileInterval(x, q, 0.95); !in.Contains(truth) {
			missed++
		}
	}
	if missed > 131 {
		t.Errorf("%d of 2000 intervals missed the truth", missed)
	}
}

// bucketed counts values in buckets whose edges lie step apart; values in the last
// one are counted without an upper edge.
func bucketed(x []float64, step float64, edges int) []Bucket {
	b := make([]Bucket, edges+1)
	for i := range b {
		b[i] = Bucket{Lower: float64(i) * step, Upper: float64(i+1) * step}
	}
	b[edges].Upper = math.Inf(1)
	for _, v := range x {
		b[min(max(int(math.Ceil(v/step))-1, 0), edges)].Count++
	}
	return b
}

// Buckets lose nothing but the position inside them: their interval is that of the
// values, moved out to the edges around it.
func TestBucketIntervalEnclosesThatOfValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.SliceOfN(rapid.Float64Range(0.001, 120), 1, 300).Draw(t, "x")
		q := rapid.Float64Range(0.01, 0.99).Draw(t, "q")
		const step, edges = 5.0, 20
		slices.Sort(x)
		exact, missing := QuantileInterval(x, q, 0.95)
		value, in, w := BucketQuantile(bucketed(x, step, edges), q, 0.95)
		if in.Lower > exact.Lower || in.Upper < exact.Upper {
			t.Errorf("buckets give %v, values %v", in, exact)
		}
		if exact.Lower-in.Lower > step && exact.Lower < edges*step {
			t.Errorf("lower bound %g of buckets, %g of values", in.Lower, exact.Lower)
		}
		if in.Upper-exact.Upper > step && exact.Upper < edges*step {
			t.Errorf("upper bound %g of buckets, %g of values", in.Upper, exact.Upper)
		}
		if len(missing) > 0 && !slices.Contains(w, missing[0]) {
			t.Errorf("warnings %q, want %q", w, missing[0])
		}
		at := x[max(int(math.Ceil(q*float64(len(x)))), 1)-1]
		if math.Abs(value-at) > step && at < edges*step {
			t.Errorf("value %g, the order statistic is %g", value, at)
		}
	})
}

func TestBucketQuantileWarns(t *testing.T) {
	inf := math.Inf(1)
	for _, c := range []struct {
		name  string
		b     []Bucket
		q     float64
		value float64
		in    Interval
		warn  []string
	}{
		{
			"narrow buckets",
			[]Bucket{{100, 105, 500}, {105, 110, 500}},
			0.25, 102.5,
			Interval{100, 105},
			nil,
		},
		{
			"one wide bucket",
			[]Bucket{{0, 200, 10}, {200, 300, 980}, {300, 400, 10}},
			0.5, 250,
			Interval{200, 300},
			[]string{"one bucket, 200 to 300"},
		},
		{
			"empty buckets between",
			[]Bucket{{0, 1, 0}, {1, 1.05, 500}, {1.05, 3, 0}, {3, 3.1, 500}, {3.1, 4, 0}},
			0.75, 3.05,
			Interval{3, 3.1},
			nil,
		},
		{
			"overflow",
			[]Bucket{{0, 1, 10}, {1, inf, 990}},
			0.5, 1,
			Interval{1, inf},
			[]string{"beyond the last bucket edge, 1"},
		},
		{
			"underflow",
			[]Bucket{{-inf, 1, 990}, {1, 2, 10}},
			0.5, 1,
			Interval{-inf, 1},
			[]string{"beyond the last bucket edge, 1"},
		},
		{
			"few values",
			[]Bucket{{1, 1.05, 100}},
			0.99, 1 + 0.05*0.99,
			Interval{1, inf},
			[]string{"upper bound does not exist below 368"},
		},
		{"no values", []Bucket{{0, 1, 0}}, 0.5, math.NaN(), Interval{-inf, inf}, []string{"no values"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			value, in, w := BucketQuantile(c.b, c.q, 0.95)
			if math.Abs(value-c.value) > 1e-12 || math.IsNaN(value) != math.IsNaN(c.value) || in != c.in {
				t.Errorf("got %g in %v, want %g in %v", value, in, c.value, c.in)
			}
			if len(w) != len(c.warn) {
				t.Fatalf("warnings %q, want %d", w, len(c.warn))
			}
			for i, part := range c.warn {
				if !strings.Contains(w[i], part) {
					t.Errorf("warning %q, want %q in it", w[i], part)
				}
			}
		})
	}
}

func ExampleBucketQuantile() {
	value, in, w := BucketQuantile([]Bucket{{0.1, 0.2, 900}, {0.2, 0.21, 95}, {0.21, 0.3, 5}}, 0.95, 0.95)
	fmt.Printf("%.3f s, certainly within %g to %g s %v\n", value, in.Lower, in.Upper, w)
	// Output: 0.205 s, certainly within 0.2 to 0.21 s []
}
