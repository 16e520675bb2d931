package cleanup

import (
	"strings"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/analysis/analysistest"
	"github.com/perfd/perfd/internal/load"
)

const mib = 1 << 20

// A rig feeds one target with readings every 15 s.
type rig struct {
	*Analysis
	now time.Time
}

func newRig() *rig {
	a := New()
	a.Configure(&analysis.Description{Targets: []analysis.Target{{
		Name: "shop", Resources: []analysis.Resource{{Name: "heap", Kind: load.ResourceMemory}, {Name: "goroutines", Kind: load.ResourceGoroutines}},
	}}})
	return &rig{a, analysistest.Zero}
}

func (r *rig) read(d time.Duration, heap, goroutines float64) {
	for end := r.now.Add(d); r.now.Before(end); r.now = r.now.Add(15 * time.Second) {
		for name, v := range map[string]float64{"heap": heap * mib, "goroutines": goroutines} {
			r.Sample(load.Sample{Target: "shop", Resource: name, Start: r.now, End: r.now, Count: 1, Min: v, Mean: v, Max: v, Last: v})
		}
	}
}

func (r *rig) run(kind load.EventKind, id string) load.Event {
	e := load.Event{At: r.now, Kind: kind, Scenario: "checkout", Run: id, Target: "shop", Targets: []string{"shop"}}
	r.Event(e)
	return e
}

// verdicts returns those of goroutines and heap.
func verdicts(t *testing.T, found []load.Finding, run string) [2]load.Verdict {
	t.Helper()
	if len(found) != 2 || found[0].Resource != "goroutines" || found[1].Resource != "heap" {
		t.Fatalf("found %+v, want one of goroutines and one of heap", found)
	}
	for _, f := range found {
		if f.Run != run || f.Kind != load.KindCleanUp || f.Sentence == "" || (f.Verdict == load.Inconclusive) != (f.Needed != "") {
			t.Errorf("finding is not whole: %+v", f)
		}
	}
	return [2]load.Verdict{found[0].Verdict, found[1].Verdict}
}

func TestWhatReturnsPassesAtOnceAndWhatStaysFailsAfterTheWait(t *testing.T) {
	r := newRig()
	r.read(5*time.Minute, 100, 20)
	r.run(load.RunBegan, "1")
	r.read(10*time.Minute, 300, 500)
	end := r.run(load.RunEnded, "1")
	waiting := r.Run(end, r.now)
	if got := verdicts(t, waiting, "1"); got != [2]load.Verdict{} {
		t.Errorf("at the end of the run: %v, want inconclusive", got)
	}
	r.read(2*time.Minute, 160, 21)
	found := r.Judge(r.now)
	if got := verdicts(t, found, "1"); got != [2]load.Verdict{load.Pass, load.Inconclusive} {
		t.Errorf("after 2 min: %v, want goroutines back and heap waited for", got)
	}
	if found[0].ID != waiting[0].ID {
		t.Errorf("the finding's ID changed from %s to %s", waiting[0].ID, found[0].ID)
	}
	r.read(9*time.Minute, 160, 400) // what comes after it was back is no matter
	found = r.Judge(r.now)
	if got := verdicts(t, found, "1"); got != [2]load.Verdict{load.Pass, load.Fail} {
		t.Errorf("after 11 min: %v, want heap to fail", got)
	}
	if f := found[1]; f.Value != 160*mib || f.Limit != 105*mib || len(f.Doubts) == 0 || !strings.Contains(f.Sentence, "60 MiB above") {
		t.Errorf("heap: %+v", f)
	}
}

func TestLoadThatComesBackLeavesItOpen(t *testing.T) {
	r := newRig()
	r.read(5*time.Minute, 100, 20)
	r.run(load.RunBegan, "1")
	r.read(5*time.Minute, 300, 500)
	r.run(load.RunEnded, "1")
	r.read(3*time.Minute, 300, 21)
	r.run(load.RunBegan, "2")
	r.read(time.Hour, 300, 21)
	found := r.Judge(r.now)
	if got := verdicts(t, found, "1"); got != [2]load.Verdict{load.Pass, load.Inconclusive} {
		t.Errorf("%v, want heap open", got)
	}
	if !strings.Contains(found[1].Sentence, "load came back") {
		t.Errorf("sentence %q", found[1].Sentence)
	}
}

func TestACutStopsNoLoad(t *testing.T) {
	r := newRig()
	r.read(5*time.Minute, 100, 20)
	r.run(load.RunBegan, "1")
	r.read(5*time.Minute, 300, 500)
	r.run(load.RunEnded, "1")
	r.run(load.RunBegan, "2")
	r.read(20*time.Minute, 300, 500)
	if found := r.Judge(r.now); found != nil {
		t.Errorf("findings while load goes on: %+v", found)
	}
	r.run(load.RunEnded, "2")
	r.read(11*time.Minute, 300, 20)
	if got := verdicts(t, r.Judge(r.now), "2"); got != [2]load.Verdict{load.Pass, load.Fail} {
		t.Errorf("%v, want both judged by the level before the first run", got)
	}
}

func TestOnlyTheLastRunOnATargetEndsItsLoad(t *testing.T) {
	r := newRig()
	r.read(5*time.Minute, 100, 20)
	r.run(load.RunBegan, "1")
	r.run(load.RunBegan, "2")
	r.read(5*time.Minute, 300, 500)
	if e := r.run(load.RunEnded, "1"); r.Run(e, r.now) != nil {
		t.Error("a run has a say while another one goes on")
	}
	r.run(load.RunEnded, "2")
	r.read(time.Minute, 102, 20)
	if got := verdicts(t, r.Judge(r.now), "2"); got != [2]load.Verdict{load.Pass, load.Pass} {
		t.Errorf("%v, want both back", got)
	}
}

func TestNothingIsKnownWithoutALevelBefore(t *testing.T) {
	r := newRig()
	r.read(30*time.Second, 100, 20)
	r.run(load.RunBegan, "1")
	r.read(5*time.Minute, 300, 500)
	r.run(load.RunEnded, "1")
	r.read(20*time.Minute, 300, 20)
	if got := verdicts(t, r.Judge(r.now), "1"); got != [2]load.Verdict{} {
		t.Errorf("%v, want inconclusive", got)
	}
}

func TestAReleaseEndsTheWait(t *testing.T) {
	r := newRig()
	r.read(5*time.Minute, 100, 20)
	r.run(load.RunBegan, "1")
	r.read(5*time.Minute, 300, 500)
	r.run(load.RunEnded, "1")
	r.read(time.Minute, 300, 500)
	r.Event(load.Event{At: r.now, Kind: load.ReleaseChanged, Target: "shop", Release: "2"})
	r.read(20*time.Minute, 90, 10)
	if got := verdicts(t, r.Judge(r.now), "1"); got != [2]load.Verdict{} {
		t.Errorf("%v, want inconclusive: another process returned to nothing", got)
	}
}

// What is used at a rate is not held, and what is written to a disk is meant to stay.
func TestRatesAndDisksNeedNotReturn(t *testing.T) {
	r := newRig()
	r.Configure(&analysis.Description{Targets: []analysis.Target{{Name: "shop", Resources: []analysis.Resource{
		{Name: "heap", Kind: load.ResourceCPU}, {Name: "goroutines", Kind: load.ResourceDisk}, {Name: "network", Kind: load.ResourceNetwork},
	}}}})
	r.read(5*time.Minute, 100, 20)
	r.run(load.RunBegan, "1")
	r.read(5*time.Minute, 900, 90)
	r.run(load.RunEnded, "1")
	r.read(time.Hour, 900, 90)
	if found := r.Judge(r.now); len(found) != 0 {
		t.Errorf("found %+v, want nothing", found)
	}
}
