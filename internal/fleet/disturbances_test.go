package fleet

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/config"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/target"
	"github.com/perfd/perfd/internal/validity"
)

func TestDisturbancesAreLoggedOnceAndThenInSums(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		l := disturbanceLog{log: slog.New(slog.NewTextHandler(&log, nil))}
		gap := func(d time.Duration) {
			now := time.Now()
			l.note(validity.Disturbance{By: load.ByGap, From: now.Add(-d), To: now, Late: d}, 1)
		}
		for i := range 3600 { // a gap a second for an hour
			gap(time.Duration(20+i%10) * time.Millisecond)
			l.sum(time.Now())
			time.Sleep(time.Second)
		}
		l.note(validity.Disturbance{By: load.ByClock, From: time.Now(), To: time.Now(), Step: time.Hour}, 1)
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 1+11+1 {
			t.Fatalf("%d lines, want one, one every five minutes and one about the clock:\n%s", len(lines), &log)
		}
		if !strings.Contains(lines[0], "reason=pacer_gap for=20ms") || !strings.Contains(lines[1], "reason=pacer_gap times=300 for=7.35s longest=29ms within=5m0s") {
			t.Errorf("the log begins with\n%s\n%s", lines[0], lines[1])
		}
		if !strings.Contains(lines[12], "reason=clock") {
			t.Errorf("the log ends with\n%s", lines[12])
		}
	})
}

// A target that is well again at the end of a window may have got less load in it.
func TestAWindowThatLostAnArrivalIsBackedOff(t *testing.T) {
	s := &Scenario{targets: map[string]*Target{"a": {distress: target.NewDistress(target.BackOff{})}}}
	own := &load.Window{Iterations: &load.Iterations{}}
	if s.backedOff(own) || s.backedOff(&load.Window{}) {
		t.Error("a window without drops is backed off")
	}
	if own.Iterations.Dropped[load.Backoff] = 1; !s.backedOff(own) {
		t.Error("a window that lost an arrival is not backed off")
	}
}

func TestARunWithoutWarmUpCountsFromItsBegin(t *testing.T) {
	joined := time.Now()
	r := &run{joined: joined, s: &Scenario{cfg: &config.Scenario{}}}
	if r.warmingUp(joined.Add(-5 * time.Second)) {
		t.Error("the window in which the run began is warm-up")
	}
	r.s.cfg.Workload.WarmUp = block.Duration(10 * time.Second)
	if !r.warmingUp(joined.Add(9*time.Second)) || r.warmingUp(joined.Add(10*time.Second)) {
		t.Error("a warm-up of ten seconds does not last ten seconds")
	}
}
