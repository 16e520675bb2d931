package stats

import (
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// accurate returns a data set of NIST's NumAcc series: a base value, then
// alternately a tenth below and above it.
func accurate(first, low, high float64) []float64 {
	x := []float64{first}
	for range 500 {
		x = append(x, low, high)
	}
	return x
}

// The certified values of the univariate part of NIST's Statistical Reference
// Datasets (itl.nist.gov/div898/strd). NumAcc3 and NumAcc4 lose digits when their
// values become float64: the deviation of 0.1 is known to 1e-10 and 1e-9 of the
// value.
func TestUnivariateReferenceSets(t *testing.T) {
	for _, c := range []struct {
		name                     string
		x                        []float64
		mean, deviation, lag1    float64
		deviationDigits, rDigits float64
	}{
		{"Lew", nist(t, "Lew")[0], -177.435, 277.332168044316, -0.307304800605679, 14, 14},
		{"Lottery", nist(t, "Lottery")[0], 518.958715596330, 291.699727470969, -0.120948622967393, 14, 14},
		{"Mavro", nist(t, "Mavro")[0], 2.001856, 0.000429123454003053, 0.937989183438248, 12, 12},
		{"Michelso", nist(t, "Michelso")[0], 299.8524, 0.0790105478190518, 0.535199668621283, 13, 13},
		{"NumAcc1", []float64{10000001, 10000003, 10000002}, 10000002, 1, -0.5, 15, 15},
		{"NumAcc2", accurate(1.2, 1.1, 1.3), 1.2, 0.1, -0.999, 14, 14},
		{"NumAcc3", accurate(1000000.2, 1000000.1, 1000000.3), 1000000.2, 0.1, -0.999, 9, 9},
		{"NumAcc4", accurate(10000000.2, 10000000.1, 10000000.3), 10000000.2, 0.1, -0.999, 8, 8},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, v := range []struct {
				what              string
				got, want, digits float64
			}{
				{"mean", Mean(c.x), c.mean, 14},
				{"deviation", math.Sqrt(Variance(c.x)), c.deviation, c.deviationDigits},
				{"lag-1 autocorrelation", Autocorrelation(c.x, 1), c.lag1, c.rDigits},
			} {
				if d := digits(v.got, v.want); d < v.digits {
					t.Errorf("%s = %.15g, want %.15g to %g digits, got %.1f", v.what, v.got, v.want, v.digits, d)
				}
			}
		})
	}
}

func TestDescribeLittleData(t *testing.T) {
	for name, got := range map[string]float64{
		"mean of nothing":         Mean(nil),
		"variance of one":         Variance([]float64{7}),
		"median of nothing":       Median(nil),
		"quantile above 1":        Quantile([]float64{1, 2}, 1.1),
		"quantile that is no one": Quantile([]float64{1, 2}, math.NaN()),
	} {
		if !math.IsNaN(got) {
			t.Errorf("%s = %g, want NaN", name, got)
		}
	}
	if got := Mean([]float64{1, math.Inf(1)}); !math.IsInf(got, 1) {
		t.Errorf("Mean with +Inf = %g, want +Inf", got)
	}
	if got := Autocorrelation([]float64{3, 3, 3}, 1); got != 0 {
		t.Errorf("Autocorrelation of a constant = %g, want 0", got)
	}
}

// Type 7 interpolates at 1 + (n-1)q: of 1..n the q-quantile is just that number.
func TestQuantileOfRanks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 200).Draw(t, "n")
		q := rapid.Float64Range(0, 1).Draw(t, "q")
		x := make([]float64, n)
		for i := range x {
			x[i] = float64(n - i)
		}
		before := slices.Clone(x)
		if got, want := Quantile(x, q), 1+float64(n-1)*q; math.Abs(got-want) > 1e-12*want {
			t.Errorf("Quantile = %g, want %g", got, want)
		}
		if diff := cmp.Diff(before, x); diff != "" {
			t.Errorf("Quantile changed its input:\n%s", diff)
		}
	})
}

func TestQuantileWithInfinities(t *testing.T) {
	inf := math.Inf(1)
	x := []float64{1, inf, 2, inf}
	for q, want := range map[float64]float64{0: 1, 1. / 3: 2, 0.5: inf, 1: inf} {
		if got := Quantile(x, q); got != want {
			t.Errorf("Quantile(%g) = %g, want %g", q, got, want)
		}
	}
}

func TestRanks(t *testing.T) {
	ranks, ties := Ranks([]float64{30, 10, 20, 10, 30, 30, 5})
	if diff := cmp.Diff([]float64{6, 2.5, 4, 2.5, 6, 6, 1}, ranks); diff != "" {
		t.Errorf("ranks (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int{2, 3}, ties); diff != "" {
		t.Errorf("ties (-want +got):\n%s", diff)
	}
}

// Mid-ranks sum to n(n+1)/2 whatever is tied, and equal the number of values below
// plus half of the equal ones, less one half.
func TestRanksCountValuesBelow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.SliceOfN(rapid.Map(rapid.IntRange(0, 9), func(i int) float64 { return float64(i) }), 0, 60).Draw(t, "x")
		ranks, ties := Ranks(x)
		for i, v := range x {
			want := 0.5
			for _, u := range x {
				switch {
				case u < v:
					want++
				case u == v:
					want += 0.5
				}
			}
			if ranks[i] != want {
				t.Errorf("rank of x[%d] = %g, want %g", i, ranks[i], want)
			}
		}
		tied := 0
		for _, n := range ties {
			tied += n
		}
		single := 0
		for _, v := range x {
			if slices.Index(x, v) == lastIndex(x, v) {
				single++
			}
		}
		if tied+single != len(x) {
			t.Errorf("%d values in ties and %d without, of %d", tied, single, len(x))
		}
	})
}

func lastIndex(x []float64, v float64) int {
	for i, v0 := range slices.Backward(x) {
		if v0 == v {
			return i
		}
	}
	return -1
}

// A change of unit changes the results as it should.
func TestDescribeScaleAndShift(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.SliceOfN(rapid.Float64Range(-1e3, 1e3), 2, 50).Draw(t, "x")
		scale := rapid.Float64Range(0.01, 100).Draw(t, "scale")
		shift := rapid.Float64Range(-1e3, 1e3).Draw(t, "shift")
		moved := make([]float64, len(x))
		for i, v := range x {
			moved[i] = scale*v + shift
		}
		near := func(what string, got, want, unit float64) {
			if math.Abs(got-want) > 1e-11*unit {
				t.Errorf("%s = %g, want %g", what, got, want)
			}
		}
		near("mean", Mean(moved), scale*Mean(x)+shift, 2e5)
		near("median", Median(moved), scale*Median(x)+shift, 2e5)
		near("variance", Variance(moved), scale*scale*Variance(x), 1e11)
	})
}
