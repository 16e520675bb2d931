package stats

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// wwwUsage is R's data set WWWusage: users connected to a server, by minute
// (Makridakis, Wheelwright and Hyndman, "Forecasting", 1998).
var wwwUsage = []float64{
	88, 84, 85, 85, 84, 85, 83, 85, 88, 89, 91, 99, 104, 112, 126, 138, 146, 151, 150, 148,
	147, 149, 143, 132, 131, 139, 147, 150, 148, 145, 140, 134, 131, 131, 129, 126, 126, 132, 137, 140,
	142, 150, 159, 167, 170, 171, 172, 172, 174, 175, 172, 172, 174, 174, 169, 165, 156, 142, 131, 121,
	112, 104, 102, 99, 99, 95, 88, 84, 84, 87, 89, 88, 85, 86, 89, 91, 91, 94, 101, 110,
	121, 135, 145, 149, 156, 165, 171, 175, 177, 182, 193, 204, 208, 210, 215, 222, 228, 226, 222, 220,
}

// nile is R's data set Nile: annual flow at Aswan, 1871 to 1970 (Cobb, "The
// Problem of the Nile", Biometrika 65, 1978). It falls once, in 1898.
var nile = []float64{
	1120, 1160, 963, 1210, 1160, 1160, 813, 1230, 1370, 1140, 995, 935, 1110, 994, 1020, 960, 1180, 799, 958, 1140,
	1100, 1210, 1150, 1250, 1260, 1220, 1030, 1100, 774, 840, 874, 694, 940, 833, 701, 916, 692, 1020, 1050, 969,
	831, 726, 456, 824, 702, 1120, 1100, 832, 764, 821, 768, 845, 864, 862, 698, 845, 744, 796, 1040, 759,
	781, 865, 845, 944, 984, 897, 822, 1010, 771, 676, 649, 846, 812, 742, 801, 1040, 860, 874, 848, 890,
	744, 749, 838, 1050, 918, 986, 797, 923, 975, 815, 1020, 906, 901, 1170, 912, 746, 919, 718, 714, 740,
}

// The probabilities are those of the reference, in its digits: R's modifiedmk and
// pyMannKendall give them for the same series.
func TestTrendTestsGiveThePublishedProbabilities(t *testing.T) {
	k := MannKendall(wwwUsage)
	for _, c := range []struct {
		name string
		got  float64
		want string
	}{
		{"WWWusage", k.P(), "3e-06"},
		{"WWWusage, Hamed-Rao at lag 1", k.Scaled(HamedRao{Lags: 1}.Factor(wwwUsage)).P(), "0.006"},
		{"WWWusage, Hamed-Rao at all lags", k.Scaled(HamedRao{}.Factor(wwwUsage)).P(), "0.05"},
		{"WWWusage, Hamed-Rao up to lag 10", k.Scaled(HamedRao{Lags: 10}.Factor(wwwUsage)).P(), "0.2"},
		{"Nile", MannKendall(nile).P(), "4e-05"},
	} {
		if got := fmt.Sprintf("%.1g", c.got); got != c.want {
			t.Errorf("%s: p = %s, want %s", c.name, got, c.want)
		}
	}
	for _, c := range []struct{ got, want, within float64 }{
		{k.Scaled(HamedRao{}.Factor(wwwUsage)).P(), 0.048, 0.0005},
		{k.Scaled(HamedRao{Lags: 10}.Factor(wwwUsage)).P(), 0.16, 0.005},
	} {
		if math.Abs(c.got-c.want) > c.within {
			t.Errorf("p = %g, want %g", c.got, c.want)
		}
	}
}

// Of all orders of n values, S has mean 0 and the variance of the formula, ties or none.
func TestMannKendallVarianceIsThatOfAllOrders(t *testing.T) {
	for _, values := range [][]float64{{1, 2, 3, 4}, {1, 2, 3, 4, 5, 6, 7}, {1, 1, 2, 2, 2, 3}, {0, 0, 0, 1}} {
		var sum, square, orders float64
		permute(values, func(y []float64) {
			k := MannKendall(y)
			sum += k.S
			square += k.S * k.S
			orders++
		})
		if want := square / orders; sum != 0 || math.Abs(MannKendall(values).Variance-want) > 1e-9 {
			t.Errorf("%v: variance %g, want %g; sum of S %g, want 0", values, MannKendall(values).Variance, want, sum)
		}
	}
}

// The normal tail is close to the exact one from eight values on.
func TestRisingIsCloseToTheShareOfOrders(t *testing.T) {
	values := []float64{1, 2, 3, 4, 5, 6, 7, 8}
	counts := map[float64]float64{}
	var orders float64
	permute(values, func(y []float64) {
		counts[MannKendall(y).S]++
		orders++
	})
	for s := range counts {
		exact := 0.0
		for o, n := range counts {
			if o >= s {
				exact += n / orders
			}
		}
		k := Kendall{N: 8, S: s, Variance: kendallVariance(8)}
		if got := k.Rising(); math.Abs(got-exact) > 0.008 {
			t.Errorf("S = %g: %g, exactly %g", s, got, exact)
		}
	}
}

func permute(values []float64, visit func([]float64)) {
	y := slices.Clone(values)
	var from func(int)
	from = func(i int) {
		if i == len(y) {
			visit(y)
			return
		}
		for j := i; j < len(y); j++ {
			y[i], y[j] = y[j], y[i]
			from(i + 1)
			y[i], y[j] = y[j], y[i]
		}
	}
	from(0)
}

func TestTrendProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Small whole numbers keep sums exact, so that equalities are.
		y := make([]float64, rapid.IntRange(3, 30).Draw(t, "n"))
		for i := range y {
			y[i] = float64(rapid.IntRange(-50, 50).Draw(t, "y"))
		}
		k := MannKendall(y)
		cubed, back := make([]float64, len(y)), slices.Clone(y)
		for i, v := range y {
			cubed[i] = v * v * v
		}
		slices.Reverse(back)
		if o := MannKendall(cubed); o != k {
			t.Fatalf("a rising function changes %v to %v", k, o)
		}
		if o := MannKendall(back); o.S != -k.S || o.Variance != k.Variance {
			t.Fatalf("the other way round %v is %v", k, o)
		}
		if f := (HamedRao{PositiveOnly: true}).Factor(y); f < 1 {
			t.Fatalf("factor %g below 1", f)
		}
		track := equallySpaced(y)
		tilted := Track{T: track.T, Y: slices.Clone(y)}
		for i := range tilted.Y {
			tilted.Y[i] += 4 * track.T[i]
		}
		if a, b := Slopes(track).Median(), Slopes(tilted).Median(); math.Abs(a+4-b) > 1e-9 {
			t.Fatalf("slope %g and 4 more is %g", a, b)
		}
		in := Slopes(track).Interval(k.Variance, 0.95)
		if wider := Slopes(track).Interval(4*k.Variance, 0.95); !in.Contains(Slopes(track).Median()) || wider.Lower > in.Lower || wider.Upper < in.Upper {
			t.Fatalf("intervals %v and wider %v do not hold %g", in, wider, Slopes(track).Median())
		}
	})
}

// Sen's slope of unevenly spaced values on a line is the line's, whatever a third of them do.
func TestSlopesOnUnevenTimes(t *testing.T) {
	track := Track{T: []float64{0, 1, 5, 6, 14, 20, 21}, Y: []float64{2, 5, 17, 99, 44, 62, -7}}
	if got := Slopes(track).Median(); got != 3 {
		t.Errorf("slope %g, want 3", got)
	}
	if got := Slopes(Track{T: []float64{1}, Y: []float64{1}}).Median(); !math.IsNaN(got) {
		t.Errorf("slope of a point is %g, want NaN", got)
	}
}

func TestConstantSeriesHaveNoTrend(t *testing.T) {
	trend := FindTrend([]Track{equallySpaced(make([]float64, 40))}, 1)
	if trend.Slope != 0 || trend.P < 0.99 || trend.Grows(0.05) {
		t.Errorf("a constant series has the trend %+v", trend)
	}
}

// AR(1) noise: the corrected one-sided test at 5 % errs in no more than 8 %, and
// the interval of a slope that is there holds it in 85 % to 94 % of series.
func TestFindTrendUnderAutocorrelation(t *testing.T) {
	series := 400
	if testing.Short() {
		series = 100
	}
	r := rand.New(rand.NewPCG(3, 4))
	for _, rho := range []float64{0, 0.3, 0.6} {
		alarms, held := 0, 0
		for range series {
			track := equallySpaced(make([]float64, 48))
			x := 0.0
			for i := range track.Y {
				x = rho*x + r.NormFloat64()
				track.Y[i] = 0.2*float64(i) + x
			}
			trend := FindTrend([]Track{track}, 1)
			if trend.In.Contains(0.2) {
				held++
			}
			if flat := (Track{track.T, track.without(0.2)}); FindTrend([]Track{flat}, 1).P < 0.05 {
				alarms++
			}
		}
		if share := float64(alarms) / float64(series); share > 0.08+0.06*rho {
			t.Errorf("rho %g: %.1f %% false alarms", rho, 100*share)
		}
		if share := float64(held) / float64(series); share < 0.94-0.15*rho {
			t.Errorf("rho %g: the interval holds the slope in %.1f %%", rho, 100*share)
		}
	}
}

// At a nominal 1 % one-sided, with the power that is left for a rise by four standard deviations.
func TestFindTrendHoldsItsLevel(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 4))
	runs := tries(1500, 200)
	for _, c := range []struct {
		rho          float64
		n            int
		level, power float64
	}{{0, 48, 0.015, 0.98}, {0.5, 48, 0.02, 0.75}, {0.5, 100, 0.02, 0.97}, {0.9, 48, 0.04, 0.15}, {0.9, 100, 0.03, 0.25}} {
		alarms, found := 0, 0
		for range runs {
			track := equallySpaced(wander(r, c.rho, c.n))
			if FindTrend([]Track{track}, 1).P < 0.01 {
				alarms++
			}
			for i := range track.Y {
				track.Y[i] += 4 * float64(i) / float64(c.n)
			}
			if FindTrend([]Track{track}, 1).P < 0.01 {
				found++
			}
		}
		if got := float64(alarms) / float64(runs); got > c.level+b2f(testing.Short())*0.02 {
			t.Errorf("rho %g, %d values: %.1f %% false alarms at 1 %%, want %.1f %% at most", c.rho, c.n, 100*got, 100*c.level)
		}
		if got := float64(found) / float64(runs); got < c.power {
			t.Errorf("rho %g, %d values: %.0f %% of rises found, want %.0f %%", c.rho, c.n, 100*got, 100*c.power)
		}
	}
}

func TestShapes(t *testing.T) {
	shape := func(name string, want Shape, level func(u float64) float64) {
		t.Helper()
		r := rand.New(rand.NewPCG(5, 6))
		track := equallySpaced(make([]float64, 48))
		for i := range track.Y {
			track.Y[i] = 100*level(float64(i)/47) + r.NormFloat64()
		}
		if got := FindTrend([]Track{track}, 1); got.Shape != want {
			t.Errorf("%s: shape %d, want %d", name, got.Shape, want)
		}
	}
	step := func(at, u float64) float64 {
		if u < at {
			return 0
		}
		return 1
	}
	shape("line", Line, func(u float64) float64 { return u })
	shape("parabola", Line, func(u float64) float64 { return u * u })
	shape("ten equal steps", Line, func(u float64) float64 { return math.Floor(10 * u) })
	shape("one step", Steps, func(u float64) float64 { return step(0.4, u) })
	shape("four steps", Steps, func(u float64) float64 {
		return step(0.1, u) + 2*step(0.35, u) + step(0.4, u) + 3*step(0.8, u)
	})
	shape("curve towards a level", Slowing, func(u float64) float64 { return 1 - math.Exp(-3*u) })
}

func TestStepRestsAreThoseOfAllPlaces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		y := make([]float64, rapid.IntRange(3, 9).Draw(t, "n"))
		for i := range y {
			y[i] = float64(rapid.IntRange(-9, 9).Draw(t, "y"))
		}
		got := stepRests(y, 2)
		best := math.Inf(1)
		for i := 1; i < len(y); i++ {
			for j := i + 1; j < len(y); j++ {
				rest := 0.0
				for _, part := range [][]float64{y[:i], y[i:j], y[j:]} {
					rest += squares(part, Mean(part))
				}
				best = min(best, rest)
			}
		}
		if math.Abs(got[2]-best) > 1e-9 {
			t.Fatalf("two steps leave %g, want %g", got[2], best)
		}
	})
}

func TestWithoutCovariates(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	tracks := []Track{equallySpaced(make([]float64, 30)), equallySpaced(make([]float64, 20))}
	var covariate, along []float64
	for j, track := range tracks {
		for i := range track.Y {
			c := r.Float64()
			covariate, along = append(covariate, c), append(along, float64(i))
			track.Y[i] = 100*float64(j) + 2*float64(i) + 50*c
		}
	}
	rest, inflation, err := WithoutCovariates(tracks, covariate)
	if err != nil {
		t.Fatal(err)
	}
	if slopes := Slopes(rest...); math.Abs(slopes[0]-2) > 1e-6 || math.Abs(slopes[len(slopes)-1]-2) > 1e-6 {
		t.Errorf("slopes are %g to %g, want 2", slopes[0], slopes[len(slopes)-1])
	}
	if inflation < 1 || inflation > 1.2 {
		t.Errorf("inflation %g of a covariate that knows nothing of time", inflation)
	}
	if _, _, err := WithoutCovariates(tracks, along); !errors.Is(err, ErrRank) {
		t.Errorf("a covariate that is time: %v, want ErrRank", err)
	}
}

func BenchmarkFindTrend(b *testing.B) {
	tracks := []Track{equallySpaced(wwwUsage[:48])}
	for b.Loop() {
		FindTrend(tracks, 1)
	}
}
