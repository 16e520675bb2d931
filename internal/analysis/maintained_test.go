package analysis_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
)

// Samples of a target in declared maintenance reach no analysis; those of others,
// and those after its end, do.
func TestSamplesInMaintenanceAreNoEvidence(t *testing.T) {
	var calls []string
	g := analysis.NewGroup(analysis.Kinds{{Name: "a", New: func() analysis.Analysis { return scribe{"a", &calls} }}})
	zero := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	sample := func(target, name string, at time.Duration) {
		g.Sample(load.Sample{Target: target, Resource: name, Start: zero.Add(at), End: zero.Add(at)})
	}
	sample("shop", "before", 0)
	g.Event(load.Event{Kind: load.MaintenanceSet, Target: "shop", Until: zero.Add(time.Hour)})
	sample("shop", "within", time.Minute)
	sample("search", "of another", time.Minute)
	g.Event(load.Event{Kind: load.MaintenanceSet, Target: "shop", Until: zero.Add(2 * time.Minute)}) // ended early
	sample("shop", "after", 2*time.Minute)
	want := []string{"a sample before", "a event maintenance", "a sample of another", "a event maintenance", "a sample after"}
	if d := cmp.Diff(want, calls); d != "" {
		t.Errorf("calls (-want +got):\n%s", d)
	}
}
