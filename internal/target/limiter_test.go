package target

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// mostDue is how many tokens may be due in a closed span.
func mostDue(rate float64, span time.Duration) float64 {
	return rate*span.Seconds() + max(1, rate*burst.Seconds()) + 1e-6
}

// checkSpans looks at the spans between every two of the sorted times at which tokens were due.
func checkSpans(t rapid.TB, rate float64, due []time.Duration) {
	t.Helper()
	for i := range due {
		for j := i; j < len(due); j++ {
			if n, most := j-i+1, mostDue(rate, due[j]-due[i]); float64(n) > most {
				t.Fatalf("at %v/s %d tokens were due from %v to %v, want at most %v", rate, n, due[i], due[j], most)
			}
		}
	}
}

func TestLimiterNeverExceedsItsRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := math.Pow(10, rapid.Float64Range(-3, 6).Draw(t, "log rate"))
		shards := rapid.IntRange(1, 5).Draw(t, "shards")
		l := NewLimiter(rate, shards)
		claims := []*Claim{l.Claim(), l.Claim(), l.Claim()}
		mine := rate / float64(shards)
		most := time.Duration(min(3e9/mine, float64(1000*time.Hour)))
		var now time.Duration
		var due []time.Duration
		for range rapid.IntRange(1, 200).Draw(t, "calls") {
			now += time.Duration(rapid.Int64Range(0, int64(most)).Draw(t, "gap"))
			c := claims[rapid.IntRange(0, 2).Draw(t, "claim")]
			if rapid.Bool().Draw(t, "take") {
				if wait, ok := c.Take(now, rapid.Bool().Draw(t, "turn")); ok {
					due = append(due, now+wait)
				}
			} else if c.Admit(now, time.Duration(rapid.Int64Range(0, 2e9).Draw(t, "patience"))) {
				due = append(due, now+c.Admitted(now))
			}
		}
		if !slices.IsSorted(due) {
			// No token goes before one that somebody waits for.
			t.Fatalf("tokens were not due in order: %v", due)
		}
		checkSpans(t, mine, due)
	})
}

// takes asks until the token is there, as a VU does, and returns when it is due.
func (c *Claim) takes(now time.Duration) time.Duration {
	for turn := false; ; turn = true {
		wait, ok := c.Take(now, turn)
		if now += wait; ok {
			return now
		}
	}
}

func TestLimiterGivesItsRate(t *testing.T) {
	for _, rate := range []float64{0.5, 1, 3, 7, 50, 300, 2000, 1e6} {
		c := NewLimiter(rate, 1).Claim()
		atOnce := max(1, rate*burst.Seconds())
		tokens := 10_000 + int(atOnce)
		var last time.Duration
		for range tokens {
			last = c.takes(last)
		}
		ideal := (float64(tokens) - atOnce) / rate
		if got := last.Seconds(); math.Abs(got-ideal) > ideal*1e-4+2/rate {
			t.Errorf("%d tokens at %v/s took %vs, want %vs", tokens, rate, got, ideal)
		}
	}
}

func TestLimiterBurst(t *testing.T) {
	for _, c := range []struct {
		rate float64
		want int // tokens that are due at once after a rest
	}{{0.01, 1}, {1, 1}, {10, 1}, {15, 1}, {20, 2}, {1000, 100}} {
		l := NewLimiter(c.rate, 1)
		for range 2 {
			got := 0
			for claim := l.Claim(); claim.Admit(time.Hour, 0) && claim.Admitted(time.Hour) == 0; {
				got++
			}
			if got != c.want {
				t.Errorf("%d tokens at once at %v/s, want %d", got, c.rate, c.want)
			}
			l = NewLimiter(c.rate*3, 3)
		}
	}
}

func TestLimiterTakeWaits(t *testing.T) {
	c := NewLimiter(10, 1).Claim()
	for i, want := range []time.Duration{0, 100 * time.Millisecond, 200 * time.Millisecond} {
		if got, ok := c.Take(time.Second, false); got != want || ok != (i == 0) {
			t.Errorf("Take number %d at once at 10/s = %v, %v, want %v", i, got, ok, want)
		}
	}
	for _, at := range []time.Duration{1100, 1200} {
		if wait, ok := c.Take(at*time.Millisecond, true); wait != 0 || !ok {
			t.Errorf("Take in its turn, at %dms = %v, %v, want a token", at, wait, ok)
		}
	}
	if c.Admit(1250*time.Millisecond, 0) {
		t.Error("a scenario that had its part was given the token before it was due")
	}
	if !c.Admit(1300*time.Millisecond, 0) || c.Admitted(1300*time.Millisecond) != 0 {
		t.Error("Admit did not take the token that is due")
	}
}

func TestNoLimit(t *testing.T) {
	c := NewLimiter(0, 1).Claim()
	for range 1000 {
		if wait, ok := c.Take(0, false); wait != 0 || !ok || !c.Admit(0, 0) || c.Admitted(0) != 0 {
			t.Fatal("a rate of 0 limits")
		}
	}
}

func TestLimiterConcurrently(t *testing.T) {
	const rate, goroutines, takes = 100_000, 8, 300
	l := NewLimiter(rate, 1)
	shared := l.Claim()
	start := time.Now()
	due := make([][]time.Duration, goroutines)
	var wg sync.WaitGroup
	for g := range goroutines {
		c := l.Claim()
		if g%2 == 1 {
			c = shared
		}
		wg.Go(func() {
			for i := range takes {
				now := time.Since(start)
				if i%2 == 0 {
					due[g] = append(due[g], c.takes(now))
				} else if c.Admit(now, time.Millisecond) {
					due[g] = append(due[g], now+c.Admitted(now))
				}
			}
		})
	}
	wg.Wait()
	all := slices.Sorted(slices.Values(slices.Concat(due...)))
	// A goroutine may be held up between its look at the clock and at the limiter, so its token seems due too early;
	// the whole must hold all the same.
	if n, most := len(all), mostDue(rate, all[len(all)-1]); float64(n) > most {
		t.Errorf("%d tokens were due by %v at %d/s, want at most %v", n, all[len(all)-1], rate, most)
	}
}

func BenchmarkLimiter(b *testing.B) {
	c := NewLimiter(1e9, 1).Claim()
	var now atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		t := time.Duration(now.Load())
		for p.Next() {
			t += 100
			c.Take(t, false)
		}
	})
}
