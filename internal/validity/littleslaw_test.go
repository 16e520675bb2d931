package validity

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/hist"
	"github.com/perfd/perfd/internal/load"
)

// check simulates VUs that take their time, and reports it as engine and
// recorder would; lost is the share of iterations that are missing from the record.
func check(t *testing.T, seed uint64, perSecond float64, mean time.Duration, slow, lost float64, windows int) (broken int, busy float64) {
	t.Helper()
	var b LittleCheck
	r := rand.New(rand.NewPCG(seed, 1))
	zero := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	type iteration struct{ from, to float64 }
	var iterations []iteration
	end := float64(windows * 10)
	for at := -60.0; at < end; at += r.ExpFloat64() / perSecond {
		took := mean.Seconds() * (0.5 + r.Float64())
		if r.Float64() < slow {
			took = 10 // a timeout
		}
		iterations = append(iterations, iteration{at, at + took})
	}
	for w := range windows {
		for s := range 10 {
			at, n := float64(w*10+s), 0
			for _, x := range iterations {
				if x.from <= at && at < x.to {
					n++
				}
			}
			b.Busy(n, zero.Add(time.Duration(at*1e9)))
		}
		it := &load.Iterations{}
		for _, x := range iterations {
			if x.to >= float64(w*10) && x.to < float64(w*10+10) && r.Float64() >= lost {
				it.Completed++
				it.Spent += time.Duration((x.to - x.from) * 1e9)
			}
		}
		own := &load.Window{Start: zero.Add(time.Duration(w) * 10 * time.Second), End: zero.Add(time.Duration(w+1) * 10 * time.Second), Iterations: it}
		own.Run = "r1"
		it.Duration = new(hist.Histogram)
		for _, x := range iterations {
			if x.to >= float64(w*10) && x.to < float64(w*10+10) {
				it.Duration.Record(int64((x.to - x.from) * 1e9))
			}
		}
		mean, bad, from, to := b.Window(own)
		busy += mean / float64(windows)
		if bad {
			broken++
			if span := to.Sub(from); span < littleSpan || span > 2*littleSpan {
				t.Errorf("what is broken spans %v, want about %v", span, littleSpan)
			}
		}
	}
	return broken, busy
}

// seeds is how many simulations there are of each case.
func seeds() uint64 {
	if testing.Short() {
		return 4
	}
	return 20
}

func TestLittlesLawHoldsForAWholeRecord(t *testing.T) {
	t.Parallel()
	broken, spans := 0, 0
	for seed := range seeds() {
		for _, c := range []struct {
			rate float64
			mean time.Duration
			slow float64
		}{{2, 300 * time.Millisecond, 0}, {20, 500 * time.Millisecond, 0}, {50, 2 * time.Second, 0}, {5, 8 * time.Second, 0}, {30, 20 * time.Millisecond, 0.02}, {10, 2 * time.Millisecond, 0}} {
			n, busy := check(t, seed, c.rate, c.mean, c.slow, 0, 61)
			broken += n
			spans += 2
			if want := c.rate * (c.mean.Seconds()*(1-c.slow) + 10*c.slow); want > 0.5 && (busy < want*0.6 || busy > want*1.4) {
				t.Errorf("mean of %v VUs, want about %v", busy, want)
			}
		}
	}
	if broken > spans/100 {
		t.Errorf("%d of %d sound spans are called broken", broken, spans)
	}
}

func TestLittlesLawFindsWhatIsMissing(t *testing.T) {
	t.Parallel()
	found, spans := 0, 0
	for seed := range seeds() {
		n, _ := check(t, seed, 50, 2*time.Second, 0, 0.3, 61)
		found += n
		spans += 2
	}
	if found < spans*9/10 {
		t.Errorf("%d of %d spans in which 30 %% of iterations were lost are found", found, spans)
	}
}

func TestLittleCheckBeginsAnewWhereItCannotKnow(t *testing.T) {
	var b LittleCheck
	zero := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	for w := range 200 {
		for s := range 10 {
			b.Busy(10, zero.Add(time.Duration(w*10+s)*time.Second))
		}
		// Next to nothing is recorded, but again and again something makes that explicable.
		own := &load.Window{Start: zero.Add(time.Duration(w) * 10 * time.Second), End: zero.Add(time.Duration(w+1) * 10 * time.Second), Iterations: &load.Iterations{Completed: 1}}
		own.Run = "r1"
		switch w % 5 {
		case 1:
			own.Flags.Invalid = 1
		case 3:
			own.Flags.Paused = true
		}
		if _, broken, _, _ := b.Window(own); broken {
			t.Fatalf("window %d: broken, though perfd knows that it did not see everything", w)
		}
	}
}

// Readings that are all alike by chance, and long iterations that the edges cut, explain a difference.
func TestWhatExplainsADifference(t *testing.T) {
	for _, c := range []struct {
		name    string
		busy    int
		each    time.Duration // of 10 iterations a second
		longest time.Duration
		broken  bool
	}{
		{"nobody seen, and hardly anybody there", 0, 5 * time.Millisecond, time.Millisecond, false},
		{"nobody seen, and many there", 0, 500 * time.Millisecond, time.Millisecond, true},
		{"a third too much", 2, 265 * time.Millisecond, time.Millisecond, true},
		{"a third too much, beside iterations of minutes", 2, 265 * time.Millisecond, 150 * time.Second, false},
	} {
		var b LittleCheck
		broken := false
		zero := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
		for w := range 31 {
			start := zero.Add(time.Duration(w) * 10 * time.Second)
			for s := range 10 {
				b.Busy(c.busy, start.Add(time.Duration(s)*time.Second))
			}
			own := &load.Window{Start: start, End: start.Add(10 * time.Second), Iterations: &load.Iterations{Completed: 100, Spent: 100 * c.each, Duration: new(hist.Histogram)}}
			own.Iterations.Duration.Record(int64(c.longest))
			own.Run = "r1"
			_, bad, _, _ := b.Window(own)
			broken = broken || bad
		}
		if broken != c.broken {
			t.Errorf("%s: broken %v, want %v", c.name, broken, c.broken)
		}
	}
}
