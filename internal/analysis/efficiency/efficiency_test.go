package efficiency

import (
	"strings"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

var start = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)

var _ analysis.Analysis = (*Analysis)(nil)

func TestEfficiencyNamesWhoDroppedTheRest(t *testing.T) {
	for _, c := range []struct {
		name    string
		started uint64
		dropped map[load.Reason]uint64
		want    load.Verdict
		value   float64
	}{
		{"all of it", 100, nil, load.Pass, 1},
		{"nobody asked for the rest", 50, map[load.Reason]uint64{load.Paused: 30, load.Shutdown: 20}, load.Pass, 1},
		{"a target that hangs", 80, map[load.Reason]uint64{load.NoFreeVU: 20}, load.Fail, 0.8},
		{"a target in distress", 80, map[load.Reason]uint64{load.Backoff: 20}, load.Fail, 0.8},
		{"too few VUs", 80, map[load.Reason]uint64{load.VUCap: 20}, load.Inconclusive, 0.8},
		{"nothing due", 0, nil, load.Inconclusive, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := New()
			a.Configure(&analysis.Description{Scenarios: []analysis.Scenario{{Name: "shop", Model: analysis.OpenModel}, {Name: "browse", Model: "closed"}}})
			for i := range 3 {
				w := &load.Window{Scenario: "shop", Start: start.Add(time.Duration(i) * time.Minute), Iterations: &load.Iterations{}}
				w.Run = "before"
				if i > 0 {
					w.Run = "r1"
					w.Iterations.Started = c.started
					for r, n := range c.dropped {
						w.Iterations.Dropped[r] = n
					}
				} else {
					w.Iterations.Dropped[load.NoFreeVU] = 1000 // another run's
				}
				w.End = w.Start.Add(time.Minute)
				a.Window(w)
			}
			a.Window(&load.Window{Scenario: "closed", Iterations: &load.Iterations{Started: 1}})
			fs := a.Run(load.Event{Kind: load.RunEnded, Scenario: "shop", Run: "r1", At: start.Add(3 * time.Minute)}, start.Add(4*time.Minute))
			if len(fs) != 1 || fs[0].Verdict != c.want || float64(fs[0].Value) != c.value || !strings.Contains(fs[0].Sentence, "shop") {
				t.Fatalf("run: %+v, want %v at %v", fs, c.want, c.value)
			}
			sent := map[string]float64{}
			a.Collect(func(d *metric.Desc, v float64, labels ...string) { sent[d.Name+labels[0]] = v })
			if v, ok := sent["perfd_efficiency_ratioshop"]; ok != (c.value > 0) || v != c.value {
				t.Errorf("metrics %v, want %v", sent, c.value)
			}
			if fs := a.Run(load.Event{Scenario: "closed", Run: "r1"}, start); fs != nil {
				t.Errorf("a closed workload has no rate that was asked for, got %v", fs)
			}
		})
	}
}

// Load that is withheld in declared maintenance is not held against a run, nor is what was sent then.
func TestMaintenanceIsLeftOut(t *testing.T) {
	for _, c := range []struct {
		name                 string
		inside, outside      uint64 // arrivals that started, of 100 each
		windows              int    // outside
		want                 load.Verdict
		sentence, firstDoubt string
	}{
		{"all of it", 10, 0, 0, load.Inconclusive, "no arrival of shop was due outside of maintenance", ""},
		{"met outside", 10, 100, 2, load.Pass, "100.0 % of the load asked for: 200 of 200 arrivals of shop became iterations", "what was due in maintenance is left out"},
		{"missed outside", 100, 50, 1, load.Fail, "50.0 % of the load asked for: 50 of 100 arrivals of shop became iterations", "what was due in maintenance is left out"},
	} {
		a := New()
		a.Configure(&analysis.Description{Scenarios: []analysis.Scenario{{Name: "shop", Model: analysis.OpenModel}}})
		for i := range 1 + c.windows {
			w := &load.Window{Scenario: "shop", Start: start.Add(time.Duration(i) * time.Minute), Iterations: &load.Iterations{Started: c.outside}}
			w.Run = "r1"
			if i == 0 {
				w.Iterations.Started, w.Flags.Maintenance = c.inside, true
			}
			w.Iterations.Dropped[load.Backoff] = 100 - w.Iterations.Started
			a.Window(w)
		}
		f := a.Run(load.Event{Kind: load.RunEnded, Scenario: "shop", Run: "r1"}, start)[0]
		doubt := ""
		if len(f.Doubts) > 0 {
			doubt = f.Doubts[0]
		}
		if f.Verdict != c.want || f.Sentence != c.sentence || doubt != c.firstDoubt {
			t.Errorf("%s: %v, %q, doubt %q", c.name, f.Verdict, f.Sentence, doubt)
		}
	}
}
