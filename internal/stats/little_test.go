package stats

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// A queue with one server, simulated stay by stay: what its counter measures and
// what its stays say agree over every window.
func TestLittleHoldsInAQueue(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 9))
	const rate, service, window, windows = 8.0, 0.1, 200.0, 40
	type stay struct{ from, to float64 }
	var stays []stay
	for now, free := 0.0, 0.0; now < window*windows; {
		now += rng.ExpFloat64() / rate
		free = max(now, free) + service*rng.ExpFloat64()
		stays = append(stays, stay{now, free})
	}
	for w := range windows {
		from, to := window*float64(w), window*float64(w+1)
		in := LittleInput{Window: window}
		var times []float64
		for _, s := range stays {
			if inside := min(s.to, to) - max(s.from, from); inside > 0 {
				in.Concurrency += inside / window
			}
			if s.from < from && s.to >= from {
				in.AtStart++
			}
			if s.from < to && s.to >= to {
				in.AtEnd++
			}
			if s.to >= from && s.to < to {
				times = append(times, s.to-s.from)
			}
		}
		in.Throughput, in.Time = float64(len(times))/window, Mean(times)
		got := Little(in)
		if !got.Holds || len(got.Warnings) != 0 {
			t.Errorf("window %d: %+v", w, got)
		}
		in.Time = Median(times)
		if Little(in).Holds {
			t.Errorf("window %d: the median time, %g of %g, passes for the mean", w, in.Time, Mean(times))
		}
	}
}

func TestLittle(t *testing.T) {
	inf := math.Inf(1)
	for _, c := range []struct {
		name                   string
		in                     LittleInput
		discrepancy, tolerance float64
		holds                  bool
		warn                   string
	}{
		{
			"exact",
			LittleInput{Concurrency: 10, Throughput: 100, Time: 0.1, Window: 60, AtStart: 10, AtEnd: 10},
			0, 0.05, true, "",
		},
		{
			// The clock starts when a request is sent, not when it was due.
			"late clock",
			LittleInput{Concurrency: 50, Throughput: 100, Time: 0.1, Window: 60, AtStart: 50, AtEnd: 50},
			-0.8, 0.05, false, "80 % below",
		},
		{
			"counted twice",
			LittleInput{Concurrency: 10, Throughput: 200, Time: 0.1, Window: 60, AtStart: 10, AtEnd: 10},
			1, 0.05, false, "100 % above",
		},
		{
			// (10 + 30)·3 s / (2·20 s) = 3 of 20 may be at the edges.
			"short window",
			LittleInput{Concurrency: 20, Throughput: 6, Time: 3, Window: 20, AtStart: 10, AtEnd: 30},
			-0.1, 0.15, true, "the window is short",
		},
		{
			"wide intervals",
			LittleInput{Concurrency: 10, Throughput: 90, Time: 0.1, Window: 1e6, AtStart: 10, AtEnd: 10, ThroughputHalf: 9, TimeHalf: 0.01},
			-0.1, 0.18, true, "",
		},
		{"idle", LittleInput{Window: 60}, 0, 0.05, true, ""},
		{"uncounted", LittleInput{Throughput: 10, Time: 1, Window: 60}, inf, 0.05, false, "nothing was counted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Little(c.in)
			if got.Holds != c.holds || got.Discrepancy != c.discrepancy && math.Abs(got.Discrepancy-c.discrepancy) > 1e-9 {
				t.Errorf("holds %v, discrepancy %g, want %v, %g", got.Holds, got.Discrepancy, c.holds, c.discrepancy)
			}
			if math.Abs(got.Tolerance-c.tolerance) > 1e-5 {
				t.Errorf("tolerance %g, want %g", got.Tolerance, c.tolerance)
			}
			if c.warn == "" && len(got.Warnings) > 0 || c.warn != "" && (len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], c.warn)) {
				t.Errorf("warnings %q, want %q", got.Warnings, c.warn)
			}
		})
	}
}

func TestLittleRefusesNonsense(t *testing.T) {
	good := LittleInput{Concurrency: 1, Throughput: 1, Time: 1, Window: 60}
	for name, spoil := range map[string]func(*LittleInput){
		"missing":  func(in *LittleInput) { in.Time = math.NaN() },
		"negative": func(in *LittleInput) { in.Concurrency = -1 },
		"infinite": func(in *LittleInput) { in.Throughput = math.Inf(1) },
		"empty":    func(in *LittleInput) { in.Window = 0 },
	} {
		in := good
		spoil(&in)
		if got := Little(in); got.Holds || !math.IsNaN(got.Discrepancy) || len(got.Warnings) != 1 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
