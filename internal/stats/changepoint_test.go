package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// tries returns how often a simulation is repeated.
func tries(full, short int) int {
	if testing.Short() {
		return short
	}
	return full
}

// clean returns n values of one level.
func clean(r *rand.Rand, kind string, n int) []float64 {
	switch kind {
	case "autocorrelation .3":
		return wander(r, 0.3, n)
	case "autocorrelation .5":
		return wander(r, 0.5, n)
	}
	x := make([]float64, n)
	for i := range x {
		z := r.NormFloat64()
		switch kind {
		case "t3":
			x[i] = z / math.Sqrt((square(r.NormFloat64())+square(r.NormFloat64())+square(r.NormFloat64()))/3)
		case "lognormal":
			x[i] = math.Exp(z)
		default:
			x[i] = z
		}
	}
	return x
}

func TestCleanSeriesDoNotChange(t *testing.T) {
	for _, c := range []struct {
		kind string
		most float64
	}{{"normal", 0.015}, {"t3", 0.015}, {"lognormal", 0.015}, {"autocorrelation .3", 0.03}, {"autocorrelation .5", 0.03}} {
		r := rand.New(rand.NewPCG(1, 7))
		n, alarms := tries(2000, 500), 0
		for range n {
			if len(Changes(clean(r, c.kind, 100), ChangeOptions{Level: 0.01})) > 0 {
				alarms++
			}
		}
		// A short simulation is granted two standard errors.
		allowed := c.most
		if testing.Short() {
			allowed += 2 * math.Sqrt(c.most/float64(n))
		}
		if got := float64(alarms) / float64(n); got > allowed {
			t.Errorf("%s: %.2f %% of clean series change, want %.2f %% at most", c.kind, 100*got, 100*c.most)
		}
	}
}

func TestStepsAreFoundWhereTheyAre(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 7))
	n, found, covered := tries(1500, 300), 0, 0
	for range n {
		x := clean(r, "normal", 100)
		for i := 90; i < 100; i++ {
			x[i] += 2
		}
		for _, c := range Changes(x, ChangeOptions{Level: 0.01}) {
			if c.At >= 87 && c.At <= 93 {
				found++
				if c.Size.Contains(2) {
					covered++
				}
				break
			}
		}
	}
	if got := float64(found) / float64(n); got < 0.93-2*math.Sqrt(0.07/float64(n))*b2f(testing.Short()) {
		t.Errorf("%.1f %% of steps of 2 sd found after 10 values, want 93 %%", 100*got)
	}
	// The place was chosen for the step to look large there.
	if got := float64(covered) / float64(found); got < 0.9 {
		t.Errorf("%.1f %% of the intervals hold the size, want 90 %% or more", 100*got)
	}
}

func b2f(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func TestADipThatRecoversIsFound(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 7))
	n, found := tries(400, 100), 0
	for range n {
		x := clean(r, "normal", 100)
		for i := 45; i < 60; i++ {
			x[i] -= 3
		}
		c := Changes(x, ChangeOptions{Level: 0.01})
		if len(c) == 2 && within(c[0].At, 45, 3) && within(c[1].At, 60, 3) && c[0].After < c[0].Before && c[1].After > c[1].Before {
			found++
		}
	}
	if got := float64(found) / float64(n); got < 0.9-2*math.Sqrt(0.09/float64(n))*b2f(testing.Short()) {
		t.Errorf("%.1f %% of dips of 3 sd over 15 values found with both ends, want 90 %%", 100*got)
	}
}

func within(a, b, by int) bool { return a-b <= by && b-a <= by }

func TestTheRangeOfAChangeHoldsIt(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 7))
	n, found, held := tries(600, 200), 0, 0
	for range n {
		x := clean(r, "normal", 80)
		for i := 40; i < 80; i++ {
			x[i] += 1.5
		}
		if c := Changes(x, ChangeOptions{Level: 0.01}); len(c) == 1 {
			found++
			if c[0].First <= 40 && 40 <= c[0].Last {
				held++
			}
		}
	}
	if got := float64(held) / float64(found); found < n*3/4 || got < 0.92 {
		t.Errorf("%d of %d found, %.1f %% of their ranges hold the change, want 95 %% or so", found, n, 100*got)
	}
}

func TestNoiseFreeStepsAreExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.IntRange(12, 40).Draw(t, "before"), rapid.IntRange(12, 40).Draw(t, "after")
		step := rapid.Float64Range(0.001, 1000).Draw(t, "step")
		x := append(slices.Repeat([]float64{5}, a), slices.Repeat([]float64{5 + step}, b)...)
		c := Changes(x, ChangeOptions{Level: 0.01})
		if len(c) != 1 || c[0].At != a || c[0].First != a || c[0].Last != a || c[0].Before != 5 || c[0].After != 5+step {
			t.Fatalf("%+v, want one change at %d", c, a)
		}
	})
}

func TestChangesFollowMonotoneMaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		x := clean(r, "normal", 60)
		for i := 30; i < 60; i++ {
			x[i] += 2
		}
		turned, grown := make([]float64, 60), make([]float64, 60)
		for i, v := range x {
			turned[i], grown[i] = -v, math.Exp(v)
		}
		// Whether short levels lie apart from what is beside them, and whether a line fits better, is a matter of values too.
		long := func(x []float64) []Change {
			return slices.DeleteFunc(Changes(x, ChangeOptions{Level: 0.01}), func(c Change) bool { return min(c.At, 60-c.At) < leastSegment })
		}
		a, b, c := long(x), long(turned), long(grown)
		if !slices.EqualFunc(a, b, samePlace) || len(c) > 0 && !slices.EqualFunc(a, c, func(a, c Change) bool { return a.At == c.At }) {
			t.Fatalf("%+v upside down %+v, by exp %+v", a, b, c)
		}
	})
}

func samePlace(a, b Change) bool {
	return a.At == b.At && a.First == b.First && a.Last == b.Last && math.Abs(a.P-b.P) < 1e-9
}

func TestSeriesThatSayNothing(t *testing.T) {
	for _, x := range [][]float64{nil, {1, 2, 3}, slices.Repeat([]float64{7}, 50)} {
		if c := Changes(x, ChangeOptions{Level: 0.01}); len(c) > 0 {
			t.Errorf("%v changes at %+v", x, c)
		}
	}
}

func TestSupremumAgainstPublishedCriticalValues(t *testing.T) {
	// Andrews, "Tests for Parameter Instability and Structural Change with Unknown
	// Change Point", Econometrica 61 (1993), corrected in 71 (2003), table I, one parameter, trimming 15 %:
	// sup-Wald exceeds 7.12, 8.68 and 12.16 with probability 10, 5 and 1 %.
	const n = 20000
	for wald, want := range map[float64]float64{7.12: 0.10, 8.68: 0.05, 12.16: 0.01} {
		near(t, "p", supP(math.Sqrt(wald), n, n-2, n*15/100), want, want*0.12)
	}
}

// Series as small as people look at: each has the changes that one sees in it.
func TestSmallSeries(t *testing.T) {
	for _, c := range []struct {
		name string
		x    string
		want []int
	}{
		{"fourteen equal values, then others, the lowest first", "5 5 5 5 5 5 5 5 5 5 5 5 5 5 6.1 7.3 7.2 7.4 7.1", []int{14}},
		{"fourteen equal values, then scattered ones", "0 0 0 0 0 0 0 0 0 0 0 0 0 0 3 1 4 1 5 9 2 6", []int{14}},
		{"scattered values, then equal ones", "5 9 2 6 3 1 4 8 1 5 9 7 3 5 2 20 20 20 20 20 20 20 20", []int{15}},
		{"three of another value after fourteen", "0 0 0 0 0 0 0 0 0 0 0 0 0 0 1 1 1", []int{14}},
		{"five of another value, and back", "0 0 0 0 0 0 0 0 0 0 0 0 0 0 1 1 1 1 1 0 0 0 0 0 0 0 0", []int{14, 19}},
		{"two values in turn", "1 2 1 2 1 2 1 2 1 2 1 2 1 2 1 2 1 2 1 2 1 2 1 2 1 2", nil},
		{"two values in turn, then two others", "1 2 1 2 1 2 1 2 1 2 1 2 1 2 4 5 4 5 4 5 4 5 4 5 4 5", []int{14}},
		{"milliseconds, three slow hours", "101 99 102 100 98 101 103 100 99 97 100 102 101 99 98 100 101 103 99 100 102 98 97 100 101 99 100 102 101 98 130 128 131", []int{30}},
		{"a line", "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30", nil},
		{"a staircase of three", "1 2 1 2 1 2 1 2 1 2 11 12 11 12 11 12 11 12 11 12 21 22 21 22 21 22 21 22 21 22", []int{10, 20}},
		{"a wider spread", "50 51 49 50 52 48 50 51 49 50 51 49 50 48 52 50 51 49 50 50 40 61 38 59 47 64 36 58 53 41 62 45 55 37 60 49", nil},
	} {
		var x []float64
		for field := range strings.FieldsSeq(c.x) {
			v, err := strconv.ParseFloat(field, 64)
			if err != nil {
				t.Fatal(err)
			}
			x = append(x, v)
		}
		var got []int
		for _, found := range Changes(x, ChangeOptions{Level: 0.01}) {
			got = append(got, found.At)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: changes at %v, want %v", c.name, got, c.want)
		}
	}
}

// A step that shows after 71 values shows after 100, at the same place.
func TestMoreValuesLoseNoChange(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 7))
	lost, found := 0, 0
	for range tries(600, 200) {
		x := clean(r, "normal", 100)
		for i := 61; i < 100; i++ {
			x[i] += 2.5
		}
		early, late := Changes(x[:71], ChangeOptions{Level: 0.01}), Changes(x, ChangeOptions{Level: 0.01})
		at := func(c Change) bool { return within(c.At, 61, 3) }
		if slices.ContainsFunc(early, at) {
			found++
			if !slices.ContainsFunc(late, at) {
				lost++
			}
		}
	}
	if lost*50 > found {
		t.Errorf("%d of %d changes that 71 values show are lost in 100, want 2 %% at most", lost, found)
	}
}

func TestADriftIsNoStep(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 7))
	n := tries(300, 100)
	for _, c := range []struct{ rise, most float64 }{{4, 0.12}, {8, 0.02}, {20, 0}} {
		alarms := 0
		for range n {
			x := clean(r, "normal", 100)
			for i := range x {
				x[i] += c.rise * float64(i) / 99
			}
			if len(Changes(x, ChangeOptions{Level: 0.01})) > 0 {
				alarms++
			}
		}
		if got := float64(alarms) / float64(n); got > c.most {
			t.Errorf("a drift by %g sd has steps in %.1f %% of series, want %.1f %% at most", c.rise, 100*got, 100*c.most)
		}
	}
	found := 0
	for range n {
		x := clean(r, "normal", 100)
		for i := range x {
			x[i] += 2 * float64(i) / 99
			if i >= 80 {
				x[i] += 4
			}
		}
		if slices.ContainsFunc(Changes(x, ChangeOptions{Level: 0.01}), func(c Change) bool { return within(c.At, 80, 3) }) {
			found++
		}
	}
	if got := float64(found) / float64(n); got < 0.85 {
		t.Errorf("a step of 4 sd in a drift is found in %.1f %%, want 85 %%", 100*got)
	}
}

func TestASpreadIsNoLevel(t *testing.T) {
	r := rand.New(rand.NewPCG(10, 7))
	n := tries(300, 100)
	for _, wide := range []int{10, 20, 30, 50} {
		alarms := 0
		for range n {
			x := clean(r, "normal", 100)
			for i := 100 - wide; i < 100; i++ {
				x[i] *= 4
			}
			if len(Changes(x, ChangeOptions{Level: 0.01})) > 0 {
				alarms++
			}
		}
		if got := float64(alarms) / float64(n); got > 0.06 {
			t.Errorf("a spread four times as wide in the last %d of 100 values is a change of level in %.1f %%, want 6 %% at most", wide, 100*got)
		}
	}
}

// A level of three values is judged by the exact distribution of ranks: of 20 values, the last three
// are the largest in one of 1,140 orders, and U is at most 1, 2 and 3 in 2, 4 and 7 of them.
func TestFewOrdersCountsChoices(t *testing.T) {
	for u, ways := range []float64{1, 2, 4, 7} {
		near(t, "P(U)", fewOrders(3, 17, float64(u)), ways/1140, 1e-12)
	}
	near(t, "P(U), parts bounded by the many", fewOrders(3, 1, 3), 1, 1e-12)
}

func BenchmarkChanges(b *testing.B) {
	x := clean(rand.New(rand.NewPCG(1, 1)), "normal", 200)
	for b.Loop() {
		Changes(x, ChangeOptions{Level: 0.01})
	}
}
