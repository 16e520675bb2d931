package stats

import (
	"math"
	"math/rand/v2"
	"slices"
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

func square(x float64) float64 { return x * x }

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
	if got := float64(found) / float64(n); got < 0.9 {
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
			x[i] += 1
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
		a, b, c := Changes(x, ChangeOptions{Level: 0.01}), Changes(turned, ChangeOptions{Level: 0.01}), Changes(grown, ChangeOptions{Level: 0.01})
		if !slices.EqualFunc(a, b, samePlace) || !slices.EqualFunc(a, c, samePlace) {
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
		near(t, "p", supP(math.Sqrt(wald), n, n*15/100), want, want*0.12)
	}
}

func BenchmarkChanges(b *testing.B) {
	x := clean(rand.New(rand.NewPCG(1, 1)), "normal", 200)
	for b.Loop() {
		Changes(x, ChangeOptions{Level: 0.01})
	}
}
