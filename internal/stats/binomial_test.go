package stats

import (
	"math"
	"testing"

	"gonum.org/v1/gonum/mathext"
	"gonum.org/v1/gonum/stat/distuv"
	"pgregory.net/rapid"
)

// binomialTail returns P(Bin(n, p) ≥ k) by adding up probabilities.
func binomialTail(k, n int, p float64) float64 {
	sum := 0.0
	for i := k; i <= n; i++ {
		sum += binomialMass(i, n, p)
	}
	return sum
}

func binomialMass(k, n int, p float64) float64 {
	if p == 0 || p == 1 {
		if (p == 0) == (k == 0) && (p == 1) == (k == n) {
			return 1
		}
		return 0
	}
	all, _ := math.Lgamma(float64(n + 1))
	in, _ := math.Lgamma(float64(k + 1))
	out, _ := math.Lgamma(float64(n - k + 1))
	return math.Exp(all - in - out + float64(k)*math.Log(p) + float64(n-k)*math.Log1p(-p))
}

// The bounds are where the tails of the binomial distribution reach alpha: that is
// their definition.
func TestClopperPearsonByEnumeration(t *testing.T) {
	const level = 0.95
	for _, n := range []int{1, 2, 5, 17, 60} {
		for k := range n + 1 {
			in := ClopperPearson(float64(k), float64(n), level)
			if k > 0 {
				if got := binomialTail(k, n, in.Lower); math.Abs(got-0.025) > 1e-12 {
					t.Errorf("k %d n %d: P(X ≥ k) at the lower bound = %.15g, want 0.025", k, n, got)
				}
			} else if in.Lower != 0 {
				t.Errorf("k 0 n %d: lower = %g, want 0", n, in.Lower)
			}
			if k < n {
				if got := 1 - binomialTail(k+1, n, in.Upper); math.Abs(got-0.025) > 1e-12 {
					t.Errorf("k %d n %d: P(X ≤ k) at the upper bound = %.15g, want 0.025", k, n, got)
				}
			} else if in.Upper != 1 {
				t.Errorf("k n = %d: upper = %g, want 1", n, in.Upper)
			}
		}
	}
}

// No probability is covered less often than the level says.
func TestClopperPearsonCovers(t *testing.T) {
	const n, level = 25, 0.9
	var in [n + 1]Interval
	for k := range in {
		in[k] = ClopperPearson(float64(k), n, level)
	}
	least := 1.0
	for i := range 1001 {
		p := float64(i) / 1000
		covered := 0.0
		for k := range in {
			if in[k].Contains(p) {
				covered += binomialMass(k, n, p)
			}
		}
		least = min(least, covered)
	}
	if least < level-1e-12 {
		t.Errorf("least coverage = %g, want at least %g", least, level)
	}
}

// 2,995 events without a bad one are the least that prove a rate below 0.1 % at 95
// %.
func TestNothingBadProves(t *testing.T) {
	if u := ClopperPearsonUpper(0, 2995, 0.05); !(u < 0.001) {
		t.Errorf("0 of 2,995: upper = %.8f, want below 0.001", u)
	}
	if u := ClopperPearsonUpper(0, 2994, 0.05); !(u > 0.001) {
		t.Errorf("0 of 2,994: upper = %.8f, want above 0.001", u)
	}
}

// Month-long counts: the bounds pass over from the incomplete beta function to the
// expansion for many counts without a step.
func TestBetaQuantileAtManyCounts(t *testing.T) {
	for _, b := range []float64{manyCounts, 1e7, 1e8} {
		for _, p := range []float64{1e-6, 0.025, 0.5, 0.95, 0.999} {
			const a = manyCounts
			got, want := betaQuantile(p, a, b), mathext.InvRegIncBeta(a, b, p)
			deviation := distuv.Beta{Alpha: a, Beta: b}.StdDev()
			if math.Abs(got-want) > 2e-6*deviation {
				t.Errorf("a %g b %g p %g: %.15g, want %.15g (%.2g deviations off)", a, b, p, got, want, (got-want)/deviation)
			}
		}
	}
	if got := betaQuantile(0.5, 5e9, 5e9); math.Abs(got-0.5) > 1e-15 {
		t.Errorf("median of a symmetric distribution = %.17g, want 0.5", got)
	}
}

func TestClopperPearsonProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Float64Range(0.5, 1e6).Draw(t, "n")
		k := n * rapid.Float64Range(0, 1).Draw(t, "k/n")
		level := rapid.Float64Range(0.5, 0.999).Draw(t, "level")
		in := ClopperPearson(k, n, level)
		if !(0 <= in.Lower && in.Upper <= 1) || !in.Contains(k/n) {
			t.Errorf("%v does not hold %g", in, k/n)
		}
		if k+1 <= n {
			if more := ClopperPearson(k+1, n, level); more.Lower < in.Lower || more.Upper < in.Upper {
				t.Errorf("k+1 gives %v, k gives %v", more, in)
			}
		}
		if twice := ClopperPearson(2*k, 2*n, level); twice.Width() > in.Width() {
			t.Errorf("twice the events: width %g, before %g", twice.Width(), in.Width())
		}
		if wide := ClopperPearson(k, n, level+(1-level)/2); wide.Lower > in.Lower || wide.Upper < in.Upper {
			t.Errorf("a higher level gives %v inside %v", wide, in)
		}
		mirrored := ClopperPearson(n-k, n, level)
		if math.Abs(mirrored.Lower-(1-in.Upper)) > 1e-9 || math.Abs(mirrored.Upper-(1-in.Lower)) > 1e-9 {
			t.Errorf("n-k gives %v, k gives %v", mirrored, in)
		}
	})
}

func TestNoEventsSayNothing(t *testing.T) {
	for name, got := range map[string]Interval{
		"Clopper-Pearson":      ClopperPearson(0, 0, 0.95),
		"Clopper-Pearson, NaN": ClopperPearson(math.NaN(), math.NaN(), 0.95),
		"Wilson":               Wilson(0, 0, 0.95),
	} {
		if (got != Interval{0, 1}) {
			t.Errorf("%s = %v, want 0..1", name, got)
		}
	}
}

// The bounds of Wilson's interval are the probabilities that lie z standard
// deviations, their own, from the rate.
func TestWilsonIsTheScoreInterval(t *testing.T) {
	const z = 1.959963984540054
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Float64Range(1, 1e6).Draw(t, "n")
		rate := rapid.Float64Range(0.001, 0.999).Draw(t, "rate")
		in := Wilson(rate*n, n, 0.95)
		for _, p := range []float64{in.Lower, in.Upper} {
			if got := math.Abs(rate-p) / math.Sqrt(p*(1-p)/n); math.Abs(got-z) > 1e-6 {
				t.Errorf("bound %g lies %g deviations from %g, want %g", p, got, rate, z)
			}
		}
	})
	if in := Wilson(0, 50, 0.95); in.Lower != 0 {
		t.Errorf("0 of 50: lower = %g, want 0", in.Lower)
	}
	if in := Wilson(50, 50, 0.95); in.Upper != 1 {
		t.Errorf("50 of 50: upper = %g, want 1", in.Upper)
	}
}

// With intervals of one size the design effect is the variance of the rates over
// that of a binomial rate.
func TestDesignEffectOfEqualIntervals(t *testing.T) {
	k := []float64{0, 12, 1, 0, 30, 2, 5, 0}
	const m = 1000
	n, rates := make([]float64, len(k)), make([]float64, len(k))
	for i := range k {
		n[i], rates[i] = m, k[i]/m
	}
	p := Mean(rates)
	if got, want := DesignEffect(k, n), Variance(rates)/(p*(1-p)/m); math.Abs(got-want) > 1e-9 {
		t.Errorf("DesignEffect = %g, want %g", got, want)
	}
}

func TestDesignEffectStaysSane(t *testing.T) {
	k, n := make([]float64, 101), make([]float64, 101)
	for i := range 100 {
		k[i], n[i] = float64(1+i%2), 1500
	}
	k[100], n[100] = 1, 1 // the one event of a nearly empty interval was bad
	if got := DesignEffect(k, n); got > 1.1 {
		t.Errorf("one event in an interval of its own: DesignEffect = %g, want about 1", got)
	}
	for name, c := range map[string]struct{ k, n []float64 }{
		"nothing":           {nil, nil},
		"one interval":      {[]float64{5}, []float64{10}},
		"nothing bad":       {[]float64{0, 0}, []float64{10, 20}},
		"everything bad":    {[]float64{10, 20}, []float64{10, 20}},
		"no events":         {[]float64{0, 0}, []float64{0, 0}},
		"as even as can be": {[]float64{5, 5, 5}, []float64{50, 50, 50}},
	} {
		if got := DesignEffect(c.k, c.n); got != 1 {
			t.Errorf("%s: DesignEffect = %g, want 1", name, got)
		}
	}
}

// proves returns the probability that n events with probability p prove, with the
// exact bounds, on which side of limit p lies.
func proves(n int, p, limit, alpha float64) float64 {
	sum := 0.0
	for k := range n + 1 {
		if p < limit && ClopperPearsonUpper(float64(k), float64(n), alpha) > limit {
			break
		}
		if p > limit && ClopperPearsonLower(float64(k), float64(n), alpha) <= limit {
			continue
		}
		sum += binomialMass(k, n, p)
	}
	return sum
}

func TestSampleSizeHasItsPower(t *testing.T) {
	for _, c := range []struct{ p, limit, power float64 }{
		{0, 0.001, 0.9},
		{0.0001, 0.001, 0.9},
		{0.0005, 0.001, 0.9},
		{0.002, 0.001, 0.9},
		{0.01, 0.001, 0.9},
		{0.3, 0.5, 0.8},
		{0.95, 0.9, 0.8},
		{1, 0.99, 0.9},
	} {
		n := SampleSize(c.p, c.limit, 0.05, c.power)
		if got := proves(int(n), c.p, c.limit, 0.05); got < c.power-0.06 {
			t.Errorf("p %g limit %g: %g events prove it with probability %.3f, want %g", c.p, c.limit, n, got, c.power)
		}
		if got := proves(int(n*0.7), c.p, c.limit, 0.05); got >= c.power {
			t.Errorf("p %g limit %g: 30 %% less than %g events prove it with probability %.3f as well", c.p, c.limit, n, got)
		}
	}
}

func TestSampleSizeAtTheEdges(t *testing.T) {
	if got := SampleSize(0, 0.001, 0.05, 0.9); got != 2995 {
		t.Errorf("nothing bad, limit 0.1 %%: SampleSize = %g, want 2995", got)
	}
	for _, p := range []float64{0.001, -1, 2, math.NaN()} {
		if got := SampleSize(p, 0.001, 0.05, 0.9); !math.IsInf(got, 1) {
			t.Errorf("SampleSize(%g, 0.001) = %g, want +Inf", p, got)
		}
	}
	// A limit of 0 is broken by one event: (1-p)^n ≤ 1 - power.
	if got := SampleSize(0.5, 0, 0.05, 0.9); got != 4 {
		t.Errorf("SampleSize(0.5, 0) = %g, want 4", got)
	}
	if got := SampleSize(0.5, 1, 0.05, 0.9); got != 4 {
		t.Errorf("SampleSize(0.5, 1) = %g, want 4", got)
	}
}
