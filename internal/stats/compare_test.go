package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// The sleep of ten patients on two drugs: "Student", "The Probable Error of a
// Mean", Biometrika 6 (1908), as R ships it.
var (
	sleepX = []float64{0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0}
	sleepY = []float64{1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4}
)

func near(t *testing.T, what string, got, want, within float64) {
	t.Helper()
	if !(math.Abs(got-want) <= within) {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

func TestWelchOnStudentsSleep(t *testing.T) {
	// R: t.test(extra ~ group, data = sleep) prints t = -1.8608, df = 17.776,
	// p-value = 0.07939, interval -3.3654832 to 0.2054832 (of the first less the second).
	s := Welch(sleepX, sleepY, 0.95)
	near(t, "t", s.Estimate/s.Error, 1.8608, 5e-5)
	near(t, "df", s.Freedom, 17.776, 5e-4)
	near(t, "p", s.P(), 0.07939, 5e-6)
	near(t, "lower", s.Interval.Lower, -0.2054832, 5e-8)
	near(t, "upper", s.Interval.Upper, 3.3654832, 5e-8)
	// With var.equal = TRUE it prints df = 18, p-value = 0.07919.
	e := Student(sleepX, sleepY, 0.95)
	near(t, "df of equal variances", e.Freedom, 18, 0)
	near(t, "p of equal variances", e.P(), 0.07919, 5e-6)
}

func TestShiftsOfTooFewValuesSayNothing(t *testing.T) {
	for _, s := range []Shift{
		Welch([]float64{1}, []float64{2, 3}, 0.95), WelchEffective(sleepX, sleepY, 10, 0.5, 0.95), Student([]float64{1}, []float64{2}, 0.95),
	} {
		if !math.IsInf(s.Interval.Width(), 1) || s.P() < 0.99 || len(s.Warnings) == 0 || s.Equivalent(-10, 10) < 0.4 {
			t.Errorf("%+v, p %v: want an endless interval with a warning", s, s.P())
		}
	}
	same := Welch([]float64{2, 2}, []float64{2, 2}, 0.95)
	if same.P() != 1 || same.Interval != (Interval{}) || same.Equivalent(-0.1, 0.1) != 0 {
		t.Errorf("equal constants: %+v, p %v, want no shift, proven", same, same.P())
	}
}

func TestStudentKnowsOneValueAgainstMany(t *testing.T) {
	// A new value is judged by the prediction interval mean ± t(n-1) s sqrt(1 + 1/n).
	s := Student(sleepX, []float64{5}, 0.95)
	near(t, "error", s.Error, math.Sqrt(Variance(sleepX)*(1+1.0/10)), 1e-12)
	near(t, "df", s.Freedom, 9, 0)
}

// An error of the same size beside its own doubles variance and degrees of freedom: 10 become 20, whose 97.5 % point of
// Student's distribution is 2.0860 in any table.
func TestWidenedAddsVariances(t *testing.T) {
	s := Student([]float64{1, 2, 3, 4, 5, 6}, []float64{3, 4, 5, 6, 7, 8}, 0.95)
	w := s.Widened(s.Error*s.Error, s.Freedom, 0.95)
	if half := (w.Interval.Upper - w.Interval.Lower) / 2; w.Estimate != s.Estimate || math.Abs(w.Freedom-20) > 1e-9 || math.Abs(half/s.Error-2.0860*math.Sqrt2) > 1e-3 {
		t.Errorf("%+v of %+v", w, s)
	}
	if w := s.Widened(0, 5, 0.95); w.Error != s.Error || w.Interval != s.Interval {
		t.Errorf("without a variance more: %+v, want %+v", w, s)
	}
}

func TestEquivalenceIsTheIntervalOf90Percent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, y := drawSample(t, "x"), drawSample(t, "y")
		s := Welch(x, y, 0.9)
		margin := rapid.Float64Range(0.1, 10).Draw(t, "margin")
		inside := s.Interval.Lower > -margin && s.Interval.Upper < margin
		if p := s.Equivalent(-margin, margin); math.Abs(p-0.05) > 1e-6 && (p < 0.05) != inside {
			t.Fatalf("p %v, 90 %% interval %v, margin %v", p, s.Interval, margin)
		}
	})
}

func TestFewestRunsForSignificance(t *testing.T) {
	// Two samples that do not overlap: 2/20, 2/70 and 2/252 of all ways to deal them.
	for n, want := range map[int]float64{3: 0.1, 4: 2.0 / 70, 5: 2.0 / 252} {
		x, y := make([]float64, n), make([]float64, n)
		for i := range n {
			x[i], y[i] = float64(i), float64(i+100)
		}
		u, _, _, both := MannWhitney(x, y)
		near(t, "u", u, float64(n*n), 0)
		near(t, "p", both, want, 1e-15)
	}
}

func TestMannWhitneyOnHollanderAndWolfe(t *testing.T) {
	// Permeability of membranes, Hollander and Wolfe, "Nonparametric Statistical
	// Methods" (1973), page 69: R prints W = 35, p-value = 0.1272 for the first being greater.
	x := []float64{0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46}
	y := []float64{1.15, 0.88, 0.90, 0.74, 1.21}
	u, below, _, both := MannWhitney(x, y)
	near(t, "u", u, 50-35, 0)
	near(t, "p", below, 0.1272, 5e-5)
	near(t, "two-sided p", both, 2*below, 0)
}

func TestMannWhitneyCountsAllDeals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pool := rapid.SliceOfN(rapid.IntRange(0, 4), 4, 9).Draw(t, "pool")
		nx := rapid.IntRange(1, len(pool)-1).Draw(t, "nx")
		values := make([]float64, len(pool))
		for i, v := range pool {
			values[i] = float64(v)
		}
		u, below, above, both := MannWhitney(values[:nx], values[nx:])
		most, least, all := 0.0, 0.0, 0.0
		for set := range 1 << len(pool) {
			var x, y []float64
			for i, v := range values {
				if set>>i&1 == 0 {
					x = append(x, v)
				} else {
					y = append(y, v)
				}
			}
			if len(x) != nx {
				continue
			}
			all++
			switch d := pairs(x, y); {
			case d == u:
				most++
				least++
			case d < u:
				most++
			default:
				least++
			}
		}
		if math.Abs(below-most/all) > 1e-12 || math.Abs(above-least/all) > 1e-12 {
			t.Fatalf("p %v and %v, enumerated %v and %v", below, above, most/all, least/all)
		}
		if both != min(1, 2*min(below, above)) || both <= 0 {
			t.Fatalf("two-sided p %v of %v and %v", both, below, above)
		}
	})
}

// pairs counts the pairs in which y is larger, ties half.
func pairs(x, y []float64) float64 {
	u := 0.0
	for _, a := range x {
		for _, b := range y {
			if b > a {
				u++
			} else if a == b {
				u += 0.5
			}
		}
	}
	return u
}

func TestMannWhitneyIsContinuousAtItsLimit(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 5 {
		x, y := make([]float64, 30), make([]float64, 30)
		for i := range x {
			x[i], y[i] = math.Round(4*r.NormFloat64()), math.Round(4*r.NormFloat64()+2)
		}
		ranks, ties := Ranks(slices.Concat(x, y))
		u, below, above, _ := MannWhitney(x, y)
		sum := u + 30*31/2
		exactBelow, exactAbove := exactRankSum(ranks, 30, sum)
		normalBelow, normalAbove := normalRankSum(30, 30, ties, u)
		near(t, "exact below", below, exactBelow, 0)
		near(t, "exact above", above, exactAbove, 0)
		near(t, "normal below", normalBelow, exactBelow, 4e-3)
		near(t, "normal above", normalAbove, exactAbove, 4e-3)
	}
}

func TestHodgesLehmannInvertsMannWhitney(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, y := distinctSample(t, "x"), distinctSample(t, "y")
		estimate, in := HodgesLehmann(x, y, 0.95)
		if !in.Contains(estimate) {
			t.Fatalf("estimate %v outside %v", estimate, in)
		}
		moved := func(by float64) float64 {
			z := make([]float64, len(y))
			for i, v := range y {
				z[i] = v - by
			}
			_, _, _, both := MannWhitney(x, z)
			return both
		}
		if math.IsInf(in.Lower, -1) {
			if p := moved(-1e6); p <= 0.05 {
				t.Fatalf("p %v far below, though the interval has no lower bound", p)
			}
			return
		}
		const a = 1e-7
		if in.Width() > 4*a && (moved(in.Lower-a) > 0.05 || moved(in.Lower+a) <= 0.05 || moved(in.Upper+a) > 0.05 || moved(in.Upper-a) <= 0.05) {
			t.Fatalf("interval %v, p around its bounds: %v %v %v %v", in, moved(in.Lower-a), moved(in.Lower+a), moved(in.Upper-a), moved(in.Upper+a))
		}
	})
}

func TestComparisonsFollowShiftAndScale(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, y := drawSample(t, "x"), drawSample(t, "y")
		by, times := rapid.Float64Range(-5, 5).Draw(t, "by"), rapid.Float64Range(0.1, 10).Draw(t, "times")
		x2, y2 := make([]float64, len(x)), make([]float64, len(y))
		for i := range x {
			x2[i] = times * x[i]
		}
		for i := range y {
			y2[i] = times*y[i] + by
		}
		same := func(what string, got, want float64) {
			if math.Abs(got-want) > 1e-7*(1+math.Abs(want)) {
				t.Fatalf("%s is %v, want %v", what, got, want)
			}
		}
		a, b, c := Welch(x, y, 0.95), Welch(x2, y2, 0.95), Welch(y, x, 0.95)
		same("lower", b.Interval.Lower, times*a.Interval.Lower+by)
		same("upper", b.Interval.Upper, times*a.Interval.Upper+by)
		same("the other way", c.Estimate, -a.Estimate)
		same("p of the other way", c.P(), a.P())
		same("above and below", a.Above(0.3), c.Below(-0.3))
		e, in := HodgesLehmann(x, y, 0.9)
		e2, in2 := HodgesLehmann(x2, y2, 0.9)
		same("median difference", e2, times*e+by)
		if !math.IsInf(in.Width(), 1) {
			same("its lower bound", in2.Lower, times*in.Lower+by)
		}
	})
}

func TestWelchEffectiveHoldsItsLevelOnCorrelatedValues(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	runs := 1000
	if testing.Short() {
		runs = 400
	}
	naive, effective := 0, 0
	for range runs {
		x, y := wander(r, 0.6, 100), wander(r, 0.6, 100)
		if Welch(x, y, 0.95).P() < 0.05 {
			naive++
		}
		if WelchEffective(x, y, EffectiveSize(x), EffectiveSize(y), 0.95).P() < 0.05 {
			effective++
		}
	}
	if got := float64(effective) / float64(runs); got > 0.1 {
		t.Errorf("%.1f %% false alarms at 5 %%, want under 10 %% on 100 values with correlation 0.6", 100*got)
	}
	if got := float64(naive) / float64(runs); got < 0.2 {
		t.Errorf("%.1f %% false alarms without effective sizes: the test shows nothing", 100*got)
	}
}

// At a nominal 1 % one-sided, with the power that is left for a shift by a standard deviation.
func TestWelchEffectiveUnderAutocorrelation(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 3))
	runs := tries(2000, 400)
	for _, c := range []struct {
		phi          float64
		n            int
		level, power float64
	}{{0, 40, 0.015, 0.9}, {0.5, 40, 0.015, 0.3}, {0.5, 100, 0.015, 0.85}, {0.9, 100, 0.02, 0.05}, {0.9, 400, 0.02, 0.6}} {
		alarms, found := 0, 0
		for range runs {
			x, y := wander(r, c.phi, c.n), wander(r, c.phi, c.n)
			if WelchEffective(x, y, EffectiveSize(x), EffectiveSize(y), 0.95).Above(0) < 0.01 {
				alarms++
			}
			for i := range y {
				y[i]++
			}
			if WelchEffective(x, y, EffectiveSize(x), EffectiveSize(y), 0.95).Above(0) < 0.01 {
				found++
			}
		}
		if got := float64(alarms) / float64(runs); got > c.level+b2f(testing.Short())*0.01 {
			t.Errorf("correlation %g, %d values: %.1f %% false alarms at 1 %%, want %.1f %% at most", c.phi, c.n, 100*got, 100*c.level)
		}
		if got := float64(found) / float64(runs); got < c.power {
			t.Errorf("correlation %g, %d values: %.0f %% of shifts by a deviation found, want %.0f %%", c.phi, c.n, 100*got, 100*c.power)
		}
	}
}

// wander returns a first-order autoregression of variance 1.
func wander(r *rand.Rand, phi float64, n int) []float64 {
	x := make([]float64, n)
	last := r.NormFloat64()
	for i := range x {
		x[i] = last
		last = phi*last + math.Sqrt(1-phi*phi)*r.NormFloat64()
	}
	return x
}

// benjaminiHochberg1995 are the fifteen p-values of the example in the paper, section 3.2:
// at 5 % Bonferroni's and Holm's procedures reject three.
var benjaminiHochberg1995 = []float64{
	0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.000,
}

func TestAdjustedPValuesOfTheThrombolysisTrial(t *testing.T) {
	rejected := 0
	for _, p := range Holm(benjaminiHochberg1995) {
		if p <= 0.05 {
			rejected++
		}
	}
	if rejected != 3 {
		t.Errorf("Holm rejects %d, want 3", rejected)
	}
}

func TestAdjustedPValuesKeepTheirOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SliceOfN(rapid.Float64Range(0, 1), 1, 12).Draw(t, "p")
		holm := Holm(p)
		for i := range p {
			const round = 1e-12
			if p[i] > holm[i]+round || holm[i] > min(1, float64(len(p))*p[i])+round {
				t.Fatalf("p %v, Holm %v, want it between p and Bonferroni's", p[i], holm[i])
			}
			for j := range p {
				if p[i] < p[j] && holm[i] > holm[j] {
					t.Fatalf("order of %v and %v is lost", p[i], p[j])
				}
			}
		}
	})
}

func TestCountsAboveOnTwoRates(t *testing.T) {
	// R: poisson.test(c(11, 6+8+7), c(800, 1083+1050+878)) gives a ratio of rates
	// of 1.971488 in 0.8584264 to 4.2772659. At the lower bound, 11 events or more have probability 2.5 %.
	near(t, "p at the lower bound", CountsAbove(21, 3011, 11, 800*0.8584264), 0.025, 1e-7)
	near(t, "p at the upper bound", 1-CountsAbove(20, 3011, 12, 800*4.2772659), 0.025, 1e-7)
	// Three events of which all fall to y: (1/2)^3.
	near(t, "p of three", CountsAbove(0, 10, 3, 10), 0.125, 1e-12)
	near(t, "p of none", CountsAbove(3, 10, 0, 10), 1, 0)
}

func TestProportionShiftOnNewcombe(t *testing.T) {
	// Newcombe (1998), table II, method 10: 56/70 less 48/80 lies in 0.0524 to 0.3339,
	// 10/10 less 0/10 in 0.6075 to 1, 0/10 less 0/10 in -0.2775 to 0.2775.
	for _, c := range []struct{ kx, nx, ky, ny, lower, upper float64 }{
		{48, 80, 56, 70, 0.0524, 0.3339}, {0, 10, 10, 10, 0.6075, 1}, {0, 10, 0, 10, -0.2775, 0.2775},
	} {
		_, in := ProportionShift(c.kx, c.nx, c.ky, c.ny, 0.95)
		near(t, "lower", in.Lower, c.lower, 5.1e-5)
		near(t, "upper", in.Upper, c.upper, 5.1e-5)
	}
}

func drawSample(t *rapid.T, name string) []float64 {
	return rapid.SliceOfN(rapid.Map(rapid.IntRange(-9999, 9999), func(i int) float64 { return float64(i) / 1000 }), 2, 8).Draw(t, name)
}

// distinctSample has no ties, within the sample or by chance between samples.
func distinctSample(t *rapid.T, name string) []float64 {
	seed := rapid.Uint64().Draw(t, name)
	r := rand.New(rand.NewPCG(seed, uint64(len(name))+uint64(name[0])))
	x := make([]float64, rapid.IntRange(1, 7).Draw(t, name+" size"))
	for i := range x {
		x[i] = r.NormFloat64()
	}
	return x
}

// Student's own example of pairs: the additional hours of sleep with the second of two drugs ("The Probable Error of a Mean",
// Biometrika 6 (1908)). The mean is 1.58 with a standard error of 0.389, t = 4.06 with 9 degrees of freedom.
func TestTheMeanOfPairs(t *testing.T) {
	t.Parallel()
	x := []float64{1.2, 2.4, 1.3, 1.3, 0, 1, 1.8, 0.8, 4.6, 1.4}
	s := MeanEffective(x, 10, 0.95)
	if math.Abs(s.Estimate-1.58) > 1e-9 || math.Abs(s.Error-0.38896) > 1e-4 || math.Abs(s.P()-0.00283) > 1e-5 {
		t.Errorf("%+v, p %v; want 1.58, 0.389 and 0.0028", s, s.P())
	}
	if math.Abs(s.Interval.Lower-0.7001) > 1e-3 || math.Abs(s.Interval.Upper-2.4599) > 1e-3 {
		t.Errorf("interval %+v, want 0.70 to 2.46", s.Interval)
	}
	if wide := MeanEffective(x, 4, 0.95); wide.Interval.Width() <= 2*s.Interval.Width() || wide.Freedom != 3 {
		t.Errorf("of four independent values: %+v, want it much wider", wide)
	}
	if none := MeanEffective(x[:1], 1, 0.95); none.Warnings == nil {
		t.Errorf("one value has an interval: %+v", none)
	}
}
