package analysis_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

// A scribe writes down what it is called with.
type scribe struct {
	name string
	to   *[]string
}

func (s scribe) note(format string, args ...any) {
	*s.to = append(*s.to, s.name+" "+fmt.Sprintf(format, args...))
}

func (s scribe) Configure(d *analysis.Description) { s.note("configure %d", len(d.Scenarios)) }
func (s scribe) Window(w *load.Window)             { s.note("window %s", w.Scenario) }
func (s scribe) Sample(x load.Sample)              { s.note("sample %s", x.Resource) }
func (s scribe) Event(e load.Event)                { s.note("event %s", e.Kind) }
func (s scribe) Collect(send analysis.Send)        { send(metric.Efficiency, 1, s.name) }
func (s scribe) Judge(time.Time) []load.Finding    { return []load.Finding{{ID: s.name}} }
func (s scribe) Run(load.Event, time.Time) []load.Finding {
	return []load.Finding{{ID: s.name + "'s part"}}
}

// A replayed scribe cares where history ends.
type replayed struct{ scribe }

func (r replayed) Live() { r.note("live") }

func TestAGroupGivesEverythingToAll(t *testing.T) {
	var calls []string
	g := analysis.NewGroup(analysis.Kinds{
		{Name: "a", New: func() analysis.Analysis { return replayed{scribe{"a", &calls}} }},
		{Name: "b", New: func() analysis.Analysis { return scribe{"b", &calls} }},
	})
	g.Configure(&analysis.Description{Scenarios: make([]analysis.Scenario, 2)})
	g.Window(&load.Window{Scenario: "shop"})
	g.Live()
	g.Sample(load.Sample{Resource: "heap"})
	g.Event(load.Event{Kind: load.RunEnded})
	g.Judge(time.Time{}, func(k *analysis.Kind, found []load.Finding) {
		calls = append(calls, k.Name+" found "+found[0].ID)
	})
	for _, p := range g.Run(load.Event{}, time.Time{}) {
		calls = append(calls, p.ID)
	}
	g.Collect(func(d *metric.Desc, _ float64, labels ...string) {
		calls = append(calls, d.Name+" "+strings.Join(labels, " "))
	})
	want := []string{
		"a configure 2", "b configure 2", "a window shop", "b window shop", "a live", "a sample heap", "b sample heap",
		"a event run_ended", "b event run_ended", "a found a", "b found b", "a's part", "b's part",
		"perfd_efficiency_ratio a", "perfd_analysis_seconds_total a", "perfd_efficiency_ratio b", "perfd_analysis_seconds_total b",
	}
	if diff := cmp.Diff(want, calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}
