package stats

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mathext"
	"gonum.org/v1/gonum/stat/distuv"
)

// Reference values of confseq's own tests (test/uniform_boundaries_unittest.cpp
// of github.com/gostevehoward/confseq), which come from an implementation in R:
// intrinsic time optimised for 100 at level 0.05, g = 0.2, h = 0.8. Its
// intrinsic time v is n·g·h here, its sum s is k - n·g.
func TestMixtureAgainstReference(t *testing.T) {
	const n = 100 / (0.2 * 0.8)
	m := NewMixture(0.2, n, 0.05)
	at := func(s float64) float64 { return s + 0.2*n }
	for _, c := range []struct {
		name      string
		got, want float64
		within    float64
	}{
		{"two-sided", m.Either(at(10), n), -0.6941012, 1e-6},
		{"two-sided at its bound", m.Either(at(31.4308), n), math.Log(20), 1e-4},
		{"one-sided", m.Above(at(10), n), -0.07134019, 1e-6},
		{"one-sided at its bound", m.Above(at(28.41238), n), math.Log(20), 1e-4},
		{"rho of the normal mixture", NormalRho(100, 0.05), 12.60056, 1e-5},
		{"bound of the normal mixture", NormalBound(100, NormalRho(100, 0.05), 0.05), 30.35209, 1e-5},
	} {
		if math.Abs(c.got-c.want) > c.within {
			t.Errorf("%s = %v, want %v", c.name, c.got, c.want)
		}
	}
}

// Under the limit the expectation of each e-value is exactly 1 at every n.
func TestExpectationIsOne(t *testing.T) {
	for _, limit := range []float64{0.001, 0.05, 0.3, 0.5, 0.99} {
		m := NewMixture(limit, 40, 0.05)
		for _, n := range []int{1, 2, 7, 30, 60} {
			var above, below, either, odds float64
			for k := range n + 1 {
				p := math.Exp(binomialLog(k, n, limit))
				k, n := float64(k), float64(n)
				above += p * math.Exp(m.Above(k, n))
				below += p * math.Exp(m.Below(k, n))
				either += p * math.Exp(m.Either(k, n))
				odds += p * math.Exp(LogOdds(limit, 3, k, n))
			}
			for name, e := range map[string]float64{"above": above, "below": below, "either": either, "odds": odds} {
				if math.Abs(e-1) > 1e-9 {
					t.Errorf("limit %v, n %d: expectation of %s is %v, want 1", limit, n, name, e)
				}
			}
		}
	}
}

// On the null's side of the limit it is at most 1: what is tested is at most the
// limit, not the limit itself.
func TestExpectationOnTheNullsSide(t *testing.T) {
	m := NewMixture(0.2, 40, 0.05)
	for _, p := range []float64{0.01, 0.1, 0.19} {
		var above, below float64
		for k := range 61 {
			above += math.Exp(binomialLog(k, 60, p) + m.Above(float64(k), 60))
			below += math.Exp(binomialLog(k, 60, 1-p) + NewMixture(0.8, 40, 0.05).Below(float64(k), 60))
		}
		if above > 1 || math.Abs(above-below) > 1e-9 {
			t.Errorf("share %v: expectations %v above 0.2 and %v below 0.8, want the same and at most 1", p, above, below)
		}
	}
}

// The exact probability that a stopped walk ever proves the limit wrong, by
// dynamic programming over all paths of 400 events looked at one by one.
func TestErrorsOfAllPaths(t *testing.T) {
	const limit, alpha, n = 0.05, 0.05, 400
	m := NewMixture(limit, 200, alpha)
	for _, side := range []int{1, -1} {
		alive, lost := map[int]float64{0: 1}, 0.0
		for i := 1; i <= n; i++ {
			next := map[int]float64{}
			for k, p := range alive {
				next[k] += p * (1 - limit)
				next[k+1] += p * limit
			}
			for k, p := range next {
				if m.Proves(float64(k), float64(i), math.Log(1/alpha)) == side {
					lost += p
					delete(next, k)
				}
			}
			alive = next
		}
		if lost > alpha || lost < alpha/10 {
			t.Errorf("side %d: proven wrongly with probability %v, want at most %v and not far from it", side, lost, alpha)
		}
	}
}

func TestProvesAgreesWithItsSides(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	seen := map[int]int{}
	for range 2000 {
		limit := math.Exp(-7 * r.Float64())
		m := NewMixture(limit, 50/limit, 0.05)
		n := math.Exp(14 * r.Float64())
		k := min(n, n*limit*math.Exp(0.6*r.NormFloat64()))
		want := 0
		switch {
		case m.Above(k, n) >= 3:
			want = 1
		case m.Below(k, n) >= 3:
			want = -1
		}
		seen[want]++
		if got := m.Proves(k, n, 3); got != want {
			t.Errorf("%v of %v against %v: proves %d, want %d", k, n, limit, got, want)
		}
	}
	if len(seen) != 3 {
		t.Errorf("cases seen: %v, want all three", seen)
	}
}

func TestSequence(t *testing.T) {
	m := NewMixture(0.05, 1000, 0.05)
	for _, c := range []struct{ k, n float64 }{{0, 10}, {0, 5000}, {10, 10}, {71, 1000}, {3.5, 80.25}, {9e5, 1e7}} {
		in := m.Sequence(c.k, c.n, 0.05)
		if p := c.k / c.n; !in.Contains(p) {
			t.Errorf("%v of %v: %v does not hold %v", c.k, c.n, in, p)
		}
		exact := ClopperPearson(c.k, c.n, 0.95)
		// With few events the exact interval is the wider one: it gives each side half of the level whatever it needs.
		if c.n > 20 && (in.Lower > exact.Lower || in.Upper < exact.Upper) {
			t.Errorf("%v of %v: %v is narrower than the interval of one look, %v", c.k, c.n, in, exact)
		}
		// At an inner edge the mixture is exactly at its bound.
		for _, p := range []float64{in.Lower, in.Upper} {
			if p == 0 || p == 1 {
				continue
			}
			log := logBeta(m.rest+c.n-c.k, m.either+c.k) - logBeta(m.rest, m.either) - c.k*math.Log(p) - (c.n-c.k)*math.Log1p(-p)
			if math.Abs(log-math.Log(20)) > 0.05 {
				t.Errorf("%v of %v: log e-value %v at the edge %v, want %v", c.k, c.n, log, p, math.Log(20))
			}
		}
	}
	if got := m.Sequence(0, 0, 0.05); got != (Interval{0, 1}) {
		t.Errorf("without events: %v, want everything", got)
	}
}

func TestIncompleteBeta(t *testing.T) {
	for _, c := range []struct{ a, b, x float64 }{
		{1, 1, 0.3}, {2, 5, 0.1}, {5500, 5.5, 0.999}, {5.5, 5500, 0.001}, {0.5, 0.5, 0.9}, {300, 200, 0.55},
	} {
		want := math.Log(mathext.RegIncBeta(c.a, c.b, c.x)) + logBeta(c.a, c.b)
		if got := logIncompleteBeta(c.a, c.b, c.x); math.Abs(got-want) > 1e-9*math.Abs(want) {
			t.Errorf("log B(%v; %v, %v) = %v, want %v", c.x, c.a, c.b, got, want)
		}
	}
	// B(x; a, 1) = x^a/a, far below what a float64 can hold.
	if got, want := logIncompleteBeta(1e6, 1, 0.01), 1e6*math.Log(0.01)-math.Log(1e6); math.Abs(got-want) > 1e-6 {
		t.Errorf("log B(0.01; 1e6, 1) = %v, want %v", got, want)
	}
	// B(x; a, b) = B(x; a+1, b) + B(x; a, b+1), with a month's counts.
	a, b, x := 4.3e7, 4.4e4, 0.999
	parts := math.Log(math.Exp(logIncompleteBeta(a+1, b, x)-logIncompleteBeta(a, b, x)) + math.Exp(logIncompleteBeta(a, b+1, x)-logIncompleteBeta(a, b, x)))
	if math.Abs(parts) > 1e-6 {
		t.Errorf("the parts of B(%v; %v, %v) are e^%v of it, want all", x, a, b, parts)
	}
}

// The value is the weighted sum of the e-processes from each start, and its
// expectation under the limit is the weight that was put in: by enumeration of
// all outcomes of ten events.
func TestRestarting(t *testing.T) {
	const limit, n = 0.3, 10
	var mean float64
	for path := range 1 << n {
		var r Restarting
		p, starts := 1.0, make([]float64, 0, n)
		for i := range n {
			bad := float64(path >> i & 1)
			p *= bad*limit + (1-bad)*(1-limit)
			log := LogOdds(limit, 2, bad, 1)
			r.Step(1.0/n, log)
			starts = append(starts, 0)
			for j := range starts {
				starts[j] += log
			}
		}
		sum := 0.0
		for _, log := range starts {
			sum += math.Exp(log) / n
		}
		if math.Abs(sum-r.Value()) > 1e-9*sum {
			t.Fatalf("path %b: %v, want the sum over starts %v", path, r.Value(), sum)
		}
		mean += p * r.Value()
	}
	if math.Abs(mean-1) > 1e-9 {
		t.Errorf("expectation %v, want 1", mean)
	}
	var r Restarting
	for range 1000 {
		r.Step(1, 100)
	}
	if v := r.Value(); math.IsInf(v, 0) || v < 1e100 {
		t.Errorf("after immense evidence: %v, want a large number", v)
	}
}

// binomialLog is the logarithm of the probability of k of n.
func binomialLog(k, n int, p float64) float64 {
	return -math.Log(float64(n+1)) - logBeta(float64(n-k+1), float64(k+1)) + float64(k)*math.Log(p) + float64(n-k)*math.Log1p(-p)
}

func BenchmarkMixtureSequence(b *testing.B) {
	m := NewMixture(0.001, 50000, 0.05)
	for _, n := range []float64{1e4, 1e7} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				m.Sequence(n*0.0008, n, 0.05)
			}
		})
		b.Run(fmt.Sprint("proves ", n), func(b *testing.B) {
			for b.Loop() {
				m.Proves(n*0.0008, n, 1)
			}
		})
	}
}

// The last span of a long time is looked at with each new value: independent ones exceed the bound within the whole time as
// often as they may, or less, because values come one by one.
func TestTheLevelOfASpan(t *testing.T) {
	t.Parallel()
	// z φ(z) = alpha span/time has the solution z = 4, where alpha is 4 φ(4) of 100 spans: 0.05353.
	if got, want := SpanLevel(1, 100, 100*4*math.Exp(-8)/math.Sqrt(2*math.Pi)), 3.167e-5; math.Abs(got-want) > 1e-8 {
		t.Errorf("%v, want the normal tail beyond 4, %v", got, want)
	}
	const span, length, runs, alpha = 30, 3000, 2000, 0.1
	level := SpanLevel(span, length, alpha)
	bound := distuv.UnitNormal.Quantile(1-level) * math.Sqrt(span)
	rng := rand.New(rand.NewPCG(1, 9))
	over := 0
	for range runs {
		var x [length]float64
		sum := 0.0
		for i := range x {
			x[i] = rng.NormFloat64()
			sum += x[i]
			if i >= span {
				sum -= x[i-span]
			}
			if i >= span-1 && sum > bound {
				over++
				break
			}
		}
	}
	if share := float64(over) / runs; share > alpha || share < alpha/3 {
		t.Errorf("%.3f of the runs exceed the bound, want at most %v and not many fewer", share, alpha)
	}
}
