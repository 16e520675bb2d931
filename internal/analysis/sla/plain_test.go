package sla

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/analysis/analysistest"
	"github.com/perfd/perfd/internal/load"
)

// bursts is traffic that no threshold was chosen on: in most minutes a base share
// of requests is bad, and in one of ten, on average, many times as many. Busy
// minutes follow each other with some probability.
type bursts struct {
	perMinute, limit, share float64
	times                   float64 // how many times as many bad events a busy minute has
	stays                   float64 // probability that a busy minute follows a busy one
	window                  time.Duration
	rand                    *rand.Rand

	now  time.Time
	busy bool
}

// busyShare is the share of minutes that are busy.
const busyShare = 0.1

func (b *bursts) next(r *ratio) {
	// One draw for each minute that begins.
	minutes := max(1, b.window.Minutes())
	base := b.share / (1 + busyShare*(b.times-1))
	events, bad := 0.0, 0.0
	for range int(minutes) {
		if b.now.Truncate(time.Minute).Equal(b.now) {
			enter := busyShare * (1 - b.stays) / (1 - busyShare)
			if b.busy {
				enter = b.stays
			}
			b.busy = b.rand.Float64() < enter
		}
		p := base
		if b.busy {
			p *= b.times
		}
		n := b.perMinute * min(1, b.window.Minutes())
		events += n
		bad += min(n, float64(analysistest.Poisson(b.rand, n*p)))
	}
	start := b.now
	b.now = b.now.Add(b.window)
	r.add(start, b.now, events, bad)
}

// Days exactly at the limit, of loads of other rates, limits and clusters.
func TestErrorRatesOfBursts(t *testing.T) {
	t.Parallel()
	days := 200
	if testing.Short() || raceDetector {
		days = 10
	}
	for _, c := range []struct {
		perMinute, limit, times, stays float64
		window                         time.Duration
	}{
		{1000, 0.001, 5, 0, 10 * time.Second},
		{1800, 0.05, 1.5, 0, 10 * time.Second},
		{600, 0.01, 4, 0, time.Minute},
		{20_000, 0.0005, 3, 0, 10 * time.Second},
		{300, 0.01, 5, 0.3, 10 * time.Second},
		{1000, 0.001, 5, 0, 10 * time.Minute},
	} {
		fails, passes := make([]bool, days), make([]bool, days)
		each(days, func(day int) {
			b := &bursts{perMinute: c.perMinute, limit: c.limit, share: c.limit, times: c.times, stays: c.stays, window: c.window, rand: rand.New(rand.NewPCG(uint64(day), 4242)), now: analysistest.Zero}
			r := newRatio(c.limit)
			for b.now.Before(analysistest.Zero.Add(24 * time.Hour)) {
				b.next(r)
				fails[day] = fails[day] || r.verdict == load.Fail
				passes[day] = passes[day] || r.verdict == load.Pass
			}
		})
		count := func(list []bool) (n int) {
			for _, x := range list {
				if x {
					n++
				}
			}
			return n
		}
		f, p := count(fails), count(passes)
		t.Logf("%+v: %.1f %% of days with a false fail, %.1f %% with a false pass", c, 100*float64(f)/float64(days), 100*float64(p)/float64(days))
		// Three standard errors of so many days are allowed.
		bar := defaults.Alpha*float64(days) + 3*math.Sqrt(defaults.Alpha*float64(days))
		if float64(f) > bar || float64(p) > bar {
			t.Errorf("%+v: %d of %d days had a false fail, %d a false pass", c, f, days, p)
		}
	}
}

// An objective that is met by far is passed once enough was seen, whatever its
// rate: 60 bad events would have come at the limit, or 12 where it is known that
// bad events do not cluster.
func TestAPlainPassIsSaidPlainly(t *testing.T) {
	for _, c := range []struct {
		perMinute, limit float64
		known            bool
		most             time.Duration
	}{
		{1800, 0.05, false, time.Minute}, // p95 at 30 requests/s
		{1400, 0.05, false, time.Minute}, // 70 bad ones at the limit
		{1400, 0.01, false, 5 * time.Minute},
		{500, 0.01, false, 12 * time.Minute},
		{1000, 0.001, false, 60 * time.Minute},
		{1000, 0.001, true, 13 * time.Minute},
		{500, 0.01, true, 3 * time.Minute},
	} {
		var took []float64
		for seed := range uint64(31) {
			g := &traffic{perMinute: c.perMinute, share: c.limit / 10, inflation: 1, window: 10 * time.Second, rand: rand.New(rand.NewPCG(seed, 99)), now: analysistest.Zero}
			r := newRatio(c.limit)
			if c.known {
				for range 5000 {
					r.spread.add(float64(analysistest.Poisson(g.rand, 10)), c.perMinute)
				}
			}
			for r.verdict == load.Inconclusive && g.now.Sub(analysistest.Zero) < 5*time.Hour {
				g.next(r)
			}
			if r.verdict != load.Pass {
				t.Fatalf("%+v, seed %d: %v", c, seed, r.verdict)
			}
			took = append(took, g.now.Sub(analysistest.Zero).Minutes())
		}
		slices.Sort(took)
		t.Logf("%+v: pass after %.1f minutes (median), %.1f at most", c, took[15], took[30])
		if took[15] > c.most.Minutes() {
			t.Errorf("%+v: pass after %.1f minutes, want at most %v", c, took[15], c.most)
		}
	}
}

// However long an objective was met, and however long the windows are, a tenfold
// breach is called in minutes.
func TestNoPassHidesABreach(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		window time.Duration
		days   int
		most   float64 // minutes
	}{
		{10 * time.Second, 1, 5},
		{time.Minute, 7, 5},
		{time.Minute, 30, 5},
		{10 * time.Minute, 30, 20},
	} {
		if testing.Short() && c.days > 1 {
			continue
		}
		t.Run(fmt.Sprintf("windows of %v, %d days", c.window, c.days), func(t *testing.T) {
			var took []float64
			for seed := range uint64(11) {
				g := &traffic{perMinute: 1000, share: limit / 10, inflation: 1, window: c.window, rand: rand.New(rand.NewPCG(seed, 100)), now: analysistest.Zero}
				r := newRatio(limit)
				for g.now.Before(analysistest.Zero.Add(time.Duration(c.days) * 24 * time.Hour)) {
					g.next(r)
				}
				if r.verdict != load.Pass {
					t.Fatalf("seed %d: %v after %d good days", seed, r.verdict, c.days)
				}
				began := g.now
				g.share = 10 * limit
				for r.verdict != load.Fail && g.now.Sub(began) < 2*24*time.Hour {
					g.next(r)
				}
				took = append(took, g.now.Sub(began).Minutes())
			}
			slices.Sort(took)
			t.Logf("called after %v minutes (median), %v at most", took[5], took[10])
			if took[10] > c.most {
				t.Errorf("called after %v minutes, want at most %v", took[10], c.most)
			}
		})
	}
}

// Twenty seconds in which everything fails are no breach, whatever the windows are
// and however long nothing was bad before.
func TestABlipIsNoBreach(t *testing.T) {
	for _, window := range []time.Duration{10 * time.Second, time.Minute, 10 * time.Minute} {
		for _, limit := range []float64{0.001, 0.01, 0.05} {
			for _, after := range []time.Duration{5 * time.Minute, 40 * time.Minute, 2 * time.Hour, 24 * time.Hour} {
				r := newRatio(limit)
				const perSecond = 1000.0 / 60
				blip := analysistest.Zero.Add(after)
				for now := analysistest.Zero; now.Before(blip.Add(3 * time.Hour)); now = now.Add(window) {
					end := now.Add(window)
					from, to := now, end
					if blip.After(from) {
						from = blip
					}
					if over := blip.Add(20 * time.Second); over.Before(to) {
						to = over
					}
					r.add(now, end, perSecond*window.Seconds(), perSecond*max(0, to.Sub(from).Seconds()))
					if r.verdict == load.Fail {
						t.Fatalf("windows of %v, limit %v: a blip after %v is called a breach", window, limit, after)
					}
				}
			}
		}
	}
}

// What a design effect is estimated from: independent events have 1, a burst after
// nothing at all is a cluster, and a change of level is none.
func TestDesignEffects(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 77))
	for _, c := range []struct {
		name       string
		bad        func(minute int) float64 // of 1000
		low, upper float64
	}{
		{"nothing bad", func(int) float64 { return 0 }, 1, 1},
		{"independent", func(int) float64 { return float64(analysistest.Poisson(random, 5)) }, 1, 1.2},
		{"a burst after none", func(m int) float64 {
			if m == 199 {
				return 500
			}
			return 0
		}, 100, 1e6},
		{"twice as many from a minute on", func(m int) float64 { return float64(analysistest.Poisson(random, float64(5+5*(m/100)))) }, 1, 1.5},
		{"every other ten minutes", func(m int) float64 { return float64(analysistest.Poisson(random, float64(1+20*(m/10%2)))) }, 3, 100},
	} {
		var d dispersion
		for m := range 200 {
			d.add(c.bad(m), 1000)
		}
		if effect, _ := d.effect(); effect < c.low || effect > c.upper {
			t.Errorf("%s: design effect %.2f, want %v to %v", c.name, effect, c.low, c.upper)
		}
	}
}

// What a breach was like says nothing about how much a release that mends it varies.
func TestAReleaseThatMendsABreachPassesAsAFirstOne(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 9))
		r := newRatio(0.05)
		now := analysistest.Zero
		next := func(share float64) {
			events := float64(analysistest.Poisson(rng, 330))
			start := now
			now = now.Add(10 * time.Second)
			r.add(start, now, events, min(events, float64(analysistest.Poisson(rng, events*share))))
		}
		for range 6 * 20 {
			next(0.001)
		}
		for i := 0; r.verdict != load.Fail || i%6 != 0; i++ { // half a minute of every minute is bad
			if i > 6*30 {
				t.Fatalf("seed %d: no breach after half an hour", seed)
			}
			next([]float64{0.4, 0.4, 0.4, 0.001, 0.001, 0.001}[i%6])
		}
		for range 6 {
			next(0.4)
		}
		r.forget(now) // the release
		waited := 0
		for ; r.verdict != load.Pass && waited < 6*20; waited++ {
			next(0.001)
		}
		if waited > 6 {
			t.Errorf("seed %d: passes after %d windows of ten seconds, want a minute at most", seed, waited)
		}
	}
}
