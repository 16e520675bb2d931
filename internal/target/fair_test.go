package target

import (
	"math"
	"slices"
	"testing"
	"time"
)

// A demand is what one scenario asks of a limiter.
type demand struct {
	rate  float64       // arrivals per second of the open model; 0 for the closed one
	phase time.Duration // of the first arrival
	vus   int           // of the closed model: each asks again a millisecond after it sent
}

// An asks is one call that a simulated scenario makes.
type asks struct {
	at   time.Duration
	who  int
	turn bool
}

// share lets scenarios ask for tokens for a while, and returns how many each got, the longest wait of an arrival, and
// when all the tokens were due.
func share(rate float64, lasts time.Duration, demands []demand) (got []int, longest time.Duration, due []time.Duration) {
	l := NewLimiter(rate, 1)
	got = make([]int, len(demands))
	claims := make([]*Claim, len(demands))
	var next []asks
	for i, d := range demands {
		claims[i] = l.Claim()
		for range max(1, d.vus) {
			next = append(next, asks{d.phase, i, false})
		}
	}
	for {
		a := &next[0]
		for i := range next {
			if next[i].at < a.at {
				a = &next[i]
			}
		}
		if a.at >= lasts {
			slices.Sort(due)
			return got, longest, due
		}
		d := demands[a.who]
		if d.vus > 0 {
			wait, ok := claims[a.who].Take(a.at, a.turn)
			a.at, a.turn = a.at+wait, !ok
			if ok {
				got[a.who]++
				due = append(due, a.at)
				a.at += time.Millisecond
			}
			continue
		}
		if claims[a.who].Admit(a.at, time.Second) {
			wait := claims[a.who].Admitted(a.at)
			got[a.who]++
			longest = max(longest, wait)
			due = append(due, a.at+wait)
		}
		a.at += time.Duration(float64(time.Second) / d.rate)
	}
}

// many is n scenarios of one demand.
func many(n int, d demand) []demand { return slices.Repeat([]demand{d}, n) }

// spread gives scenarios phases that differ by a time.
func spread(d []demand, by time.Duration) []demand {
	for i := range d {
		d[i].phase = time.Duration(i) * by
	}
	return d
}

// Scenarios that ask for less than the cap together have it all, and of those that ask for more each has an equal part, and what others leave.
func TestScenariosShareACap(t *testing.T) {
	const lasts = 60 * time.Second
	for _, c := range []struct {
		name    string
		cap     float64
		demands []demand
		least   []float64     // of the tokens per second, of each; the last for all others
		longest time.Duration // wait of an arrival
	}{
		{"all at the same instants, under the cap", 100, many(40, demand{rate: 1}), []float64{1}, 310 * time.Millisecond},
		{"a low cap, a few milliseconds apart", 10, spread(many(5, demand{rate: 1}), 3*time.Millisecond), []float64{1}, 410 * time.Millisecond},
		{"asking for twice the cap", 20, spread(many(40, demand{rate: 1}), 7*time.Millisecond), []float64{0.4}, time.Second},
		{"two that ask for the whole cap each, one a moment before the other", 1, spread(many(2, demand{rate: 1}), 100*time.Millisecond), []float64{0.45}, time.Second},
		{"a flood beside little ones", 100, append([]demand{{rate: 1000}}, spread(many(10, demand{rate: 1}), 90*time.Millisecond)...), []float64{85, 0.95}, 120 * time.Millisecond},
		{"closed users beside an open scenario", 100, []demand{{vus: 200}, {rate: 20, phase: time.Millisecond}}, []float64{75, 19.5}, 150 * time.Millisecond},
		{"closed users beside each other", 50, []demand{{vus: 300}, {vus: 1}}, []float64{24, 20}, 0},
		{"a cap below one a second", 0.5, spread(many(3, demand{rate: 0.5}), 10*time.Millisecond), []float64{0.12}, 2 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, longest, due := share(c.cap, lasts, c.demands)
			total := 0
			for i, n := range got {
				total += n
				least := c.least[min(i, len(c.least)-1)] * lasts.Seconds()
				if float64(n) < math.Floor(least) {
					t.Errorf("scenario %d got %d requests, want at least %.0f", i, n, least)
				}
			}
			if longest > c.longest {
				t.Errorf("an arrival waited for %v, want at most %v", longest, c.longest)
			}
			if most := c.cap*lasts.Seconds() + max(1, c.cap/10) + float64(len(c.demands)); float64(total) > most {
				t.Errorf("%d requests in %v at a cap of %g/s", total, lasts, c.cap)
			}
			checkSpans(t, c.cap, due[:min(len(due), 2000)])
		})
	}
}

// A scenario that asks for more than the cap alone loses the arrivals that are over it, and the others are not late.
func TestASurplusIsDroppedAndNotDelayed(t *testing.T) {
	got, longest, _ := share(100, 20*time.Second, []demand{{rate: 200}})
	if got[0] < 1990 || got[0] > 2015 || longest > 0 {
		t.Errorf("%d of 4000 arrivals were let in at 100/s for 20s, the latest waited for %v; want half of them, at once", got[0], longest)
	}
}
