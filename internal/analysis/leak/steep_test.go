package leak

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/analysis/analysistest"
	"github.com/perfd/perfd/internal/load"
)

// seeds returns n, or a fifth of it in short tests.
func seeds(n uint64) uint64 {
	if testing.Short() || raceEnabled {
		return n / 5
	}
	return n
}

// Memory that grows by its first size every 20 minutes is called within half an
// hour; a warm-up that is as steep at first is not.
func TestASteepLeakIsCalledWithinHalfAnHour(t *testing.T) {
	for k := range seeds(20) {
		r := rand.New(rand.NewPCG(k, 1))
		base, sd := 1e8*math.Exp(3.7*r.Float64()), uniform(r, 0, 0.02)
		leaks := newTrace(0.5, base)
		leaks.each(func(i int, _, v float64) float64 { return v * (1 + float64(i)/20) })
		if out := leaks.noise(r, 0, sd).watch(); !out.ever {
			j := out.m.judgement
			t.Errorf("seed %d: a leak is not called: %s, lack %d, objection %d, %+v", k, j.verdict, j.x.lack, j.objection, j.x.trend)
		}
		warms, tau := newTrace(6, base), uniform(r, 20, 40)
		warms.each(func(i int, _, v float64) float64 { return v * (1 + tau/20*(1-math.Exp(-float64(i)/tau))) })
		if out := warms.noise(r, 0, sd).watch(); out.ever || out.once == load.Fail {
			t.Errorf("seed %d: a warm-up is called a leak after %.1f h", k, out.first)
		}
	}
}

// Growth by requests wanders as their arrivals do, and nothing else hides it: a leak that was called is one until it ends.
func TestALeakThatWasCalledStaysOne(t *testing.T) {
	called := 0
	for k := range seeds(60) {
		r := rand.New(rand.NewPCG(k, 5))
		base, each := 3e7, 1e7*math.Exp(1.5*r.Float64())
		x := newTrace(4, base)
		held := 0.0
		x.each(func(i int, _, v float64) float64 {
			if i > 20 {
				held += each * math.Max(0, 1+0.17*r.NormFloat64())
			}
			return v + held + 1e6*r.Float64()
		})
		a, was := New(), false
		x.feed(a, func(at time.Time, hours float64) {
			for _, f := range a.Judge(at) {
				if was && f.Verdict != load.Fail {
					t.Errorf("seed %d: taken back after %.1f h: %s", k, hours, f.Sentence)
				}
				was = f.Verdict == load.Fail
			}
		})
		if was {
			called++
		}
	}
	if all := int(seeds(60)); called < all-all/20 {
		t.Errorf("%d of %d leaks are called", called, all)
	}
}

// A process that has just begun becomes many times as large by what it caches and pools, which is no leak before it
// comes to something.
func TestSmallProcessesGrowAtFirst(t *testing.T) {
	for _, c := range []struct {
		to, minutes float64 // MiB, from 2
		want        bool
	}{{24, 8, false}, {40, 12, false}, {90, 10, true}} {
		for seed := range seeds(10) {
			r := newRig(0)
			r.rand = rand.New(rand.NewPCG(seed, 8))
			called := false
			for range int(2 * c.minutes) {
				began := r.now.Sub(analysistest.Zero).Seconds()
				r.feed(30*time.Second, time.Second, func(s float64) float64 { return 2 + (c.to-2)*(began+s)/(60*c.minutes) })
				called = called || r.Judge(r.now)[0].Verdict == load.Fail
			}
			if called != c.want {
				t.Errorf("seed %d: 2 to %.0f MiB in %.0f minutes: called %t, want %t", seed, c.to, c.minutes, called, c.want)
			}
		}
	}
}

func TestACleanLineIsCalledWithinSixHours(t *testing.T) {
	for k := range seeds(20) {
		r := rand.New(rand.NewPCG(k, 2))
		x := newTrace(6, 1e8*math.Exp(3.7*r.Float64()))
		x.each(func(i int, _, v float64) float64 { return v * (1 + 0.01*float64(i)/60) })
		if out := x.noise(r, 0, 0.003).watch(); !out.ever {
			t.Errorf("seed %d: 1 %%/h is not called in six hours", k)
		}
	}
}

// Growth of 2.4 % in 12 h does not matter by its size; it does where it leads to
// the limit within a day.
func TestSmallGrowthMattersNearItsLimit(t *testing.T) {
	for _, c := range []struct {
		limit float64
		want  bool
	}{{0, false}, {8e8, false}, {5.2e8, true}} {
		r := rand.New(rand.NewPCG(1, 3))
		x := newTrace(12, 5e8)
		x.limit = c.limit
		x.each(func(i int, _, v float64) float64 { return v * (1 + 0.002*float64(i)/60) })
		if out := x.noise(r, 0, 0.001).watch(); out.ever != c.want || (out.once == load.Fail) != c.want {
			t.Errorf("limit %g: called %t and at the end %s, want %t", c.limit, out.ever, out.once, c.want)
		}
	}
}

// A judgement of 72 h at a reading a minute, all windows of it.
func BenchmarkJudgement(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 4))
	x := newTrace(72, 5e8)
	x.sawtooth(r, 12, 0.4).noise(r, 0, 0.01)
	for i := range x.rate {
		x.rate[i] = 50 * (1 + 0.5*math.Sin(2*math.Pi*float64(i)/1440))
	}
	a := New()
	at := x.feed(a, nil)
	m := a.targets["shop"].resources["heap"].members[""]
	for b.Loop() {
		m.judgement.due = 0
		m.look(seconds(at), &m.resource.target.traffic)
	}
}

// Five minutes of 500 resources, each with 72 h behind it at a reading a minute: as the daemon feeds and judges them.
func BenchmarkFiveHundredResources(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 6))
	a := New()
	var list []Target
	traces := make([]*trace, 500)
	for i := range traces {
		traces[i] = newTrace(72, 5e8).sawtooth(r, uniform(r, 5, 40), 0.4).noise(r, 0, 0.01)
		list = append(list, Target{Name: fmt.Sprint("shop", i), Resources: []Resource{{Name: "heap", Kind: load.ResourceMemory}}})
	}
	a.configure(list)
	at, minute := analysistest.Zero, 0
	feed := func() {
		at = at.Add(time.Minute)
		for i, x := range traces {
			target := list[i].Name
			a.Window(&load.Window{Step: "home", Target: target, Start: at.Add(-time.Minute), End: at, Requests: 3000})
			s := sample("heap", at, x.level[minute%len(x.level)])
			s.Target = target
			a.Sample(s)
		}
		minute++
	}
	for range 72 * 60 {
		feed()
	}
	a.Judge(at)
	for b.Loop() {
		for range 5 {
			feed()
		}
		a.Judge(at)
	}
}
