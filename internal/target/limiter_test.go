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
		mine := rate / float64(shards)
		most := time.Duration(min(3e9/mine, float64(1000*time.Hour)))
		var now time.Duration
		var due []time.Duration
		for range rapid.IntRange(1, 200).Draw(t, "calls") {
			now += time.Duration(rapid.Int64Range(0, int64(most)).Draw(t, "gap"))
			if rapid.Bool().Draw(t, "wait") {
				due = append(due, now+l.Take(now))
			} else if l.TryTake(now) {
				due = append(due, now)
			}
		}
		if !slices.IsSorted(due) {
			// TryTake never takes a token before one that somebody waits for.
			t.Fatalf("tokens were not due in order: %v", due)
		}
		checkSpans(t, mine, due)
	})
}

func TestLimiterGivesItsRate(t *testing.T) {
	for _, rate := range []float64{0.5, 1, 3, 7, 50, 300, 2000, 1e6} {
		l := NewLimiter(rate, 1)
		atOnce := max(1, rate*burst.Seconds())
		tokens := 10_000 + int(atOnce)
		var last time.Duration
		for range tokens {
			last += l.Take(last)
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
			for l.TryTake(time.Hour) {
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
	l := NewLimiter(10, 1)
	for i, want := range []time.Duration{0, 100 * time.Millisecond, 200 * time.Millisecond} {
		if got := l.Take(time.Second); got != want {
			t.Errorf("Take number %d at once at 10/s = %v, want %v", i, got, want)
		}
	}
	if l.TryTake(1200 * time.Millisecond) {
		t.Error("TryTake took a token that others wait for")
	}
	if !l.TryTake(1300 * time.Millisecond) {
		t.Error("TryTake did not take the token that is due")
	}
}

func TestNoLimit(t *testing.T) {
	l := NewLimiter(0, 1)
	for range 1000 {
		if l.Take(0) != 0 || !l.TryTake(0) {
			t.Fatal("a rate of 0 limits")
		}
	}
}

func TestLimiterConcurrently(t *testing.T) {
	const rate, goroutines, takes = 100_000, 8, 300
	l := NewLimiter(rate, 1)
	start := time.Now()
	due := make([][]time.Duration, goroutines)
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := range takes {
				now := time.Since(start)
				if i%2 == 0 {
					due[g] = append(due[g], now+l.Take(now))
				} else if l.TryTake(now) {
					due[g] = append(due[g], now)
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
	l := NewLimiter(1e9, 1)
	var now atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		t := time.Duration(now.Load())
		for p.Next() {
			t += 100
			l.Take(t)
		}
	})
}
