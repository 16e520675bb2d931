package objective

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/hist"
	"github.com/perfd/perfd/internal/load"
)

// stalled is a window of 100 requests: 60 answers are left, 50 of them within 500 ms; 20
// were touched; of 10 refused ones 4 were touched, and of 10 timeouts 5.
func stalled() []*load.Window {
	w := &load.Window{
		Step: "login", Requests: 100, Limits: []time.Duration{500 * ms}, Good: []uint64{50}, ResponseTime: new(hist.Histogram), End: time.Unix(0, 0),
		Codes: []load.CodeCount{{Code: 200, Count: 78}, {Code: 500, Count: 2}}, Checks: []load.CheckCount{{Name: "a", Evaluated: 80, Failed: 8}},
		Touched: []load.TouchedCount{
			{By: load.ByGap, Cause: load.None, Count: 15},
			{By: load.ByGap, Cause: load.Timeout, Count: 5},
			{By: load.ByGap, Cause: load.Refused, Count: 4},
			{By: load.ByLateness, Cause: load.None, Count: 5},
		},
	}
	for range 60 {
		w.ResponseTime.Record(1)
	}
	w.Failures[load.Refused], w.Failures[load.Timeout] = 10, 10
	own := &load.Window{Requests: 100, Iterations: &load.Iterations{Started: 100, Completed: 80}}
	own.Iterations.Dropped[load.NoFreeVU], own.Iterations.Excused, own.Iterations.Dropped[load.Late] = 7, 3, 2
	return []*load.Window{w, own}
}

func TestWhatADisturbanceCosts(t *testing.T) {
	const perIteration = 2
	for _, c := range []struct {
		that           string
		events, bad    uint64
		gap, late, own uint64
	}{
		// 10 × 60/80 = 7.5 of the refused ones count, rounded down; 5 timeouts; 4 arrivals of 2 requests.
		{"p95 < 500ms", 60 + 7 + 5 + 8, 10 + 7 + 5 + 8, 15 + 5 + 3 + 6, 5, 4},
		{"error_ratio < 1%", 95 + 8, 15 + 8, 5 + 6, 0, 4},
		{"availability > 99%", 95 + 8, 15 + 2 + 8, 5 + 6, 0, 4},
		{"check_ratio > 99%", 80, 8, 0, 0, 0},
	} {
		o, problem, _ := parse(c.that)
		if problem != "" {
			t.Fatal(problem)
		}
		o.Step, o.PerIteration = "login", perIteration
		want := Tally{Events: c.events, Bad: c.bad}
		want.Excluded[load.ByGap], want.Excluded[load.ByLateness], want.Excluded[load.ByLateDrops] = c.gap, c.late, c.own
		if diff := cmp.Diff(want, o.Count(stalled())); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.that, diff)
		}
	}
}

// A fault of perfd itself is no event of availability, and none of an error ratio where it is known to be perfd's.
func TestFaultsOfPerfdAreNoEvidence(t *testing.T) {
	w := &load.Window{Step: "login", Requests: 10, ResponseTime: new(hist.Histogram), Limits: []time.Duration{500 * ms}, Good: []uint64{4}}
	for range 4 {
		w.ResponseTime.Record(1)
	}
	w.Failures[load.Internal], w.Failures[load.Overload] = 3, 3
	w.Touched = []load.TouchedCount{{By: load.ByPorts, Cause: load.Overload, Count: 2}, {By: load.ByFault, Cause: load.Internal, Count: 3}}
	for that, want := range map[string][2]uint64{"p95 < 500ms": {5, 1}, "error_ratio < 1%": {5, 1}, "availability > 99%": {4, 0}} {
		o, _, _ := parse(that)
		got := o.Count([]*load.Window{w})
		if got.Events != want[0] || got.Bad != want[1] || got.Excluded[load.ByPorts] != 2 || got.Excluded[load.ByFault] != 3 {
			t.Errorf("%s: %+v, want %d events, %d bad", that, got, want[0], want[1])
		}
	}
}

// Where nothing was answered, every refused connection counts, whatever perfd did meanwhile.
func TestEverythingRefusedUnderAStallIsBad(t *testing.T) {
	w := &load.Window{Step: "login", Requests: 100, ResponseTime: new(hist.Histogram), Limits: []time.Duration{500 * ms}, Good: []uint64{0}}
	w.Failures[load.Refused] = 100
	w.Touched = []load.TouchedCount{{By: load.ByGap, Cause: load.Refused, Count: 100}}
	for _, that := range []string{"p95 < 500ms", "error_ratio < 1%", "availability > 99%"} {
		o, _, _ := parse(that)
		if got := o.Count([]*load.Window{w}); got != (Tally{Events: 100, Bad: 100}) {
			t.Errorf("%s: %+v, want 100 bad events", that, got)
		}
	}
}

// Answers of 300 ms are touched more often than connections that are refused at once.
// The share of bad requests stays what it is without stalls.
func TestStallsDoNotShiftTheShareOfBadRequests(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 2))
	o, _, _ := parse("p95 < 500ms")
	for _, c := range []struct{ refused, slow, touchedAnswers, touchedRefused float64 }{
		{0.05, 0, 0.15, 0.08},
		{0.04, 0.02, 0.3, 0.2},
		{0.01, 0.04, 0.1, 0.1},
		{0, 0.05, 0.4, 0},
		{0.5, 0.1, 0.15, 0.1},
		{0.002, 0, 0.3, 0.1}, // about one in a window
	} {
		var all Tally
		windows := 400
		if c.refused < 0.01 {
			windows = 4000
		}
		for i := range windows {
			w := &load.Window{
				Step: "a", ResponseTime: new(hist.Histogram), Limits: []time.Duration{500 * ms}, Good: []uint64{0}, End: time.Unix(int64(10*i), 0),
			}
			for range 500 {
				w.Requests++
				if r.Float64() < c.refused {
					w.Failures[load.Refused]++
					if r.Float64() < c.touchedRefused {
						w.Touched = load.AddTouched(w.Touched, load.TouchedCount{By: load.ByGap, Cause: load.Refused, Count: 1})
					}
					continue
				}
				slow := r.Float64() < c.slow
				switch {
				case r.Float64() < c.touchedAnswers:
					w.Touched = load.AddTouched(w.Touched, load.TouchedCount{By: load.ByGap, Count: 1})
				case slow:
					w.ResponseTime.Record(int64(600 * ms))
				default:
					w.ResponseTime.Record(int64(300 * ms))
					w.Good[0]++
				}
			}
			got := o.Count([]*load.Window{w})
			if excluded := got.Excluded[load.ByGap]; got.Events+excluded != w.Requests {
				t.Fatalf("%d events and %d excluded are not %d requests", got.Events, excluded, w.Requests)
			}
			all.add(got)
		}
		want := c.refused + (1-c.refused)*c.slow
		n := float64(all.Events)
		// Three standard errors of a share that is estimated from counts.
		if got := float64(all.Bad) / n; math.Abs(got-want) > 3*math.Sqrt(want*(1-want)/n) {
			t.Errorf("%+v: %.3f %% of what counts is bad, want %.3f %%", c, 100*got, 100*want)
		}
	}
}

// An open workload loses the arrivals that perfd dropped, a closed one the time in which it stood still.
func TestARateIsOneOfTheLoadThatPerfdMade(t *testing.T) {
	o, _, _ := parse("rate > 10/s")
	open := &load.Window{Iterations: &load.Iterations{Started: 98, Completed: 97}, Circumstances: load.Circumstances{Planned: 100}}
	open.Iterations.Dropped[load.Late] = 2
	closed := &load.Window{Iterations: &load.Iterations{Started: 97, Completed: 97}, End: time.Unix(10, 0), Start: time.Unix(0, 0)}
	closed.Stalled = 300 * ms
	for name, w := range map[string]*load.Window{"open": open, "closed": closed} {
		if got := o.Count([]*load.Window{w}); got.Events < 99 || got.Events > 100 {
			t.Errorf("%s: %d iterations, want what there would have been", name, got.Events)
		}
	}
	open.Iterations.Dropped[load.Late], closed.Stalled = 10, time.Second
	for name, w := range map[string]*load.Window{"open": open, "closed": closed} {
		if share, by := Unmade(w); share <= MostUnmade || by == load.Undisturbed {
			t.Errorf("%s: %v of the load is unmade by %q", name, share, by)
		}
		if got := o.Count([]*load.Window{w}); got.Events != 97 {
			t.Errorf("%s: %d iterations, want those that ended", name, got.Events)
		}
	}
}
