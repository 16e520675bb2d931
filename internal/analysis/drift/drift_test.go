package drift

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/analysis/analysistest"
	"github.com/perfd/perfd/internal/hist"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

// A soak is an endurance run whose truth is known; u goes from 0 to 1 over it.
type soak struct {
	hours  float64
	median func(u float64) float64 // milliseconds
	share  func(u float64) float64 // of arrivals that start; nil: all
	rate   func(u float64) float64 // arrivals per second; nil: 20
	change func(u float64, w *load.Window)
}

func level(v float64) func(float64) float64 { return func(float64) float64 { return v } }

func (c soak) feed(a *Analysis, seed uint64) load.Event {
	r := rand.New(rand.NewPCG(seed, 11))
	a.Configure(&analysis.Description{Scenarios: []analysis.Scenario{{Name: "soak", Test: analysis.EnduranceTest}, {Name: "peak", Test: "load"}}})
	began := load.Event{At: analysistest.Zero, Kind: load.RunBegan, Scenario: "soak", Run: "1", Test: "endurance"}
	a.Event(began)
	n := int(c.hours * 60)
	slow := 0.0
	for i := range n {
		u := float64(i) / float64(n)
		rate, share := 20.0, 1.0
		if c.rate != nil {
			rate = c.rate(u)
		}
		if c.share != nil {
			share = c.share(u)
		}
		start := analysistest.Zero.Add(time.Duration(i) * time.Minute)
		w := &load.Window{
			Scenario: "soak", Start: start, End: start.Add(time.Minute),
			Circumstances: load.Circumstances{Run: "1", Release: "v1", Planned: 60 * rate},
			ResponseTime:  new(hist.Histogram), Iterations: &load.Iterations{Started: uint64(60 * rate * share)},
		}
		slow = 0.8*slow + 0.02*r.NormFloat64() // minutes are correlated with their neighbours
		for range 100 {
			w.ResponseTime.Record(int64(1e6 * c.median(u) * math.Exp(slow+0.5*r.NormFloat64())))
		}
		if c.change != nil {
			c.change(u, w)
		}
		a.Window(w)
	}
	end := began
	end.Kind, end.At = load.RunEnded, analysistest.Zero.Add(time.Duration(n)*time.Minute)
	return end
}

// found returns the verdicts on p50, p95 and rate of a run that ended.
func (c soak) found(t *testing.T, seed uint64) ([3]load.Verdict, []load.Finding) {
	t.Helper()
	a := New()
	end := c.feed(a, seed)
	list := a.Run(end, end.At)
	if len(list) != 3 {
		t.Fatalf("%d findings, want 3", len(list))
	}
	var v [3]load.Verdict
	for i, f := range list {
		v[i] = f.Verdict
		if f.Run != "1" || f.Kind != load.KindDrift || f.Sentence == "" || (f.Verdict == load.Inconclusive) != (f.Needed != "") {
			t.Errorf("finding is not whole: %+v", f)
		}
	}
	return v, list
}

func TestDriftIsFoundAndWhatOnlyLooksLikeItIsNot(t *testing.T) {
	seeds := 20
	if testing.Short() {
		seeds = 5
	}
	daily := func(u float64) float64 { return 20 * (1 + 0.6*math.Sin(4*math.Pi*u)) }
	for _, c := range []struct {
		name string
		soak
		fails [3]bool
	}{
		{"steady", soak{hours: 8, median: level(20)}, [3]bool{}},
		{"latency rises", soak{hours: 8, median: func(u float64) float64 { return 20 * (1 + 0.3*u) }}, [3]bool{true, true, false}},
		{"latency rises under daily load", soak{hours: 48, rate: daily, median: func(u float64) float64 { return 15*(1+0.3*u) + daily(u)/3 }}, [3]bool{true, true, false}},
		{"latency follows daily load", soak{hours: 48, rate: daily, median: func(u float64) float64 { return 15 + daily(u)/3 }}, [3]bool{}},
		{"throughput falls", soak{hours: 8, median: level(20), share: func(u float64) float64 { return 1 - 0.2*u }}, [3]bool{false, false, true}},
		{"throughput follows the plan", soak{hours: 8, median: level(20), rate: func(u float64) float64 { return 30 - 20*u }}, [3]bool{}},
		{"one step", soak{hours: 8, median: func(u float64) float64 { return 20 + 4*math.Floor(2*u) }}, [3]bool{}},
		{"warming up", soak{hours: 8, median: func(u float64) float64 { return 20 - 6*math.Exp(-8*u) }}, [3]bool{}},
		{"latency falls", soak{hours: 8, median: func(u float64) float64 { return 20 - 6*u }}, [3]bool{}},
		{"another release is slower", soak{hours: 8, median: func(u float64) float64 { return 20 + 4*math.Floor(2*u) }, change: func(u float64, w *load.Window) {
			if u >= 0.5 {
				w.Release = "v2"
			}
		}}, [3]bool{}},
		{"what is excluded rises", soak{hours: 8, median: func(u float64) float64 { return 20 + 40*math.Max(0, u-0.7) }, change: func(u float64, w *load.Window) {
			w.Flags.Disturbed = u > 0.7
		}}, [3]bool{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var fails [3]int
			for seed := range seeds {
				v, _ := c.found(t, uint64(seed))
				for i := range v {
					if v[i] == load.Fail {
						fails[i]++
					}
				}
			}
			for i, want := range c.fails {
				// One run in twenty may be wrong, or one of a few.
				wrong := fails[i]
				if want {
					wrong = seeds - wrong
				}
				if wrong > max(1, seeds/20) {
					t.Errorf("%s fails in %d of %d runs, want %v", statistics[i].name, fails[i], seeds, want)
				}
			}
		})
	}
}

func TestASteadyRunPasses(t *testing.T) {
	v, list := soak{hours: 24, median: level(20)}.found(t, 1)
	if v != [3]load.Verdict{load.Pass, load.Pass, load.Pass} {
		t.Errorf("%v: %+v", v, list)
	}
}

func TestAShortRunIsInconclusive(t *testing.T) {
	v, list := soak{hours: 0.2, median: func(u float64) float64 { return 20 + 40*u }}.found(t, 1)
	if v != [3]load.Verdict{} || !strings.Contains(list[0].Needed, "12m more") {
		t.Errorf("%v, needed %q", v, list[0].Needed)
	}
}

func TestTheNumbersOfADrift(t *testing.T) {
	_, list := soak{hours: 24, median: func(u float64) float64 { return 20 * (1 + 0.4*u) }}.found(t, 3)
	f := list[1]
	if f.Value < 0.35 || f.Value > 0.45 || f.Lower > 0.4 || f.Upper < 0.4 || f.Limit != 0.05 {
		t.Errorf("p95 rose by 40 %%, found %+v", f)
	}
	_, list = soak{hours: 24, median: level(20), share: func(u float64) float64 { return 1 - 0.2*u }}.found(t, 3)
	if f := list[2]; f.Value > -0.18 || f.Value < -0.22 || f.Lower > f.Upper || f.Limit != -0.05 {
		t.Errorf("throughput fell by 20 %%, found %+v", f)
	}
}

func TestTheMetricHasProvenDriftOnly(t *testing.T) {
	a := New()
	end := soak{hours: 12, median: func(u float64) float64 { return 20 * (1 + 0.3*u) }}.feed(a, 5)
	verdicts := map[string]string{}
	collect := func() map[string]float64 {
		got := map[string]float64{}
		clear(verdicts)
		a.Collect(func(d *metric.Desc, v float64, labels ...string) {
			switch {
			case labels[0] != "soak":
			case d == metric.DriftRatio:
				got[labels[1]] = v
			case d == metric.DriftVerdict && v == 1:
				verdicts[labels[1]] += labels[2]
			}
		})
		return got
	}
	if got := collect(); len(got) != 0 || verdicts["p50"] != "inconclusive" {
		t.Errorf("before anything is judged the drift is %v, the verdicts %v", got, verdicts)
	}
	if found := a.Judge(end.At); len(found) != 3 || found[0].Verdict != load.Fail {
		t.Fatalf("Judge: %+v", found)
	}
	for i, f := range a.Judge(end.At) {
		steps := a.Explain(&f)
		if len(steps) != 1 || len(steps[0].Rows) < 20 {
			t.Fatalf("%s is explained by %+v", f.Statistic, steps)
		}
		first, last := steps[0].Rows[0], steps[0].Rows[len(steps[0].Rows)-1]
		if change := (last[3] - first[3]) / first[3]; math.Abs(change-float64(f.Value)) > 0.01 {
			t.Errorf("the line of %s changes by %.3f, the finding says %.3f", f.Statistic, change, f.Value)
		}
		if i == 0 && (first[1] < 0.015 || first[1] > 0.03) {
			t.Errorf("the first point of p50 is %v, want about 20 ms", first[1])
		}
	}
	if steps := a.Explain(&load.Finding{Kind: load.KindDrift, Scenario: "peak", Statistic: "p50"}); steps != nil {
		t.Errorf("a scenario without a run is explained by %d steps", len(steps))
	}
	got := collect()
	// 30 % over half a day.
	if v, ok := got["rate"]; got["p50"] < 0.5 || got["p50"] > 0.7 || !ok || v != 0 || verdicts["p50"] != "fail" || verdicts["rate"] != "pass" {
		t.Errorf("drift per day %v, verdicts %v, want about 0.6 of p50 and none of rate", got, verdicts)
	}
	a.Event(end)
	if found, got := a.Judge(end.At), collect(); found != nil || len(got) != 0 {
		t.Errorf("after the run: %v, %v", found, got)
	}
}

func TestARunOfMonthsIsBounded(t *testing.T) {
	a := New()
	soak{hours: 24 * 40, median: level(20)}.feed(a, 1)
	if n := len(a.scenarios["soak"].runs[0].blocks); n > a.thresholds.MaxBlocks || n < a.thresholds.MaxBlocks/4 {
		t.Errorf("%d blocks", n)
	}
}
