package schedule

import (
	"testing"
	"time"

	"github.com/perfd/perfd/internal/pace"
)

// The gap of a run whose process was killed is counted from when that was last known to live.
func TestKilledRunIsResumedWhereTheClockSays(t *testing.T) {
	play(t, "{every: 4h, duration: 2h}", Options{}, func(r *rig) {
		r.sleepUntil(time.Minute + 3*time.Hour)
		r.launch()
		r.sleepUntil(5 * time.Hour)
		r.kill()
		r.want(`01 04:00:00 begin 20000101T040000Z`)
		r.sleepUntil(5*time.Hour + time.Minute)
		r.launch()
		r.want(`01 05:01:00 begin 20000101T040000Z resumed gap 1m0s at 1h1m0s`)
		r.sleepUntil(5*time.Hour + 10*time.Minute)
		r.kill()
		r.sleepUntil(5*time.Hour + 15*time.Minute)
		r.launch()
		r.want(`01 05:15:00 begin 20000101T040000Z resumed gap 6m0s broken at 1h15m0s`) // 6 of 75 minutes
		r.sleepUntil(7 * time.Hour)
		r.want(`01 06:00:00 end over`)
		r.wantStatus("Missed", r.runner.Status().Missed, uint64(0))
	})
}

func TestStoppedRunIsResumed(t *testing.T) {
	play(t, "{every: 4h, duration: 2h}", Options{}, func(r *rig) {
		r.drain = 20 * time.Second
		r.sleepUntil(3 * time.Hour)
		r.launch()
		r.sleepUntil(5*time.Hour + 17*time.Second)
		r.stop() // waits for the drain
		r.want(`
			01 04:00:00 begin 20000101T040000Z
			01 05:00:17 end shutdown
		`)
		r.wantStatus("when the runner has left", time.Since(r.begun), 5*time.Hour+37*time.Second)
		r.launch()
		r.want(`01 05:00:37 begin 20000101T040000Z resumed gap 20s at 1h0m37s`)
	})
}

// A run without a bound on its time ends when its iterations are done. One that a
// restart broke off is lost, and the next begins at its time.
func TestCountedRunIsLostByARestart(t *testing.T) {
	play(t, "{every: 4h}", Options{Test: "endurance", Workload: Workload{End: pace.End{Total: 1000}}}, func(r *rig) {
		r.lasts = 90 * time.Minute
		r.sleepUntil(time.Minute)
		r.launch()
		r.sleepUntil(8*time.Hour + time.Minute)
		r.kill()
		r.sleepUntil(8*time.Hour + 2*time.Minute)
		r.launch()
		r.sleepUntil(13 * time.Hour)
		r.want(`
			01 04:00:00 begin 20000101T040000Z
			01 08:00:00 begin 20000101T080000Z
			01 08:02:00 lost 20000101T080000Z
			01 12:00:00 begin 20000101T120000Z
		`)
	})
}

func TestRunThatIsNotResumed(t *testing.T) {
	for name, tt := range map[string]struct {
		schedule string
		options  Options
		back     time.Duration // when the process is back
		want     string
		missed   uint64
	}{
		"a spike is not joined in its middle": {
			"{every: 4h, duration: 2h}",
			Options{Test: "spike"},
			5*time.Hour + time.Minute,
			`
				01 05:01:00 lost 20000101T040000Z
				01 08:00:00 begin 20000101T080000Z
			`, 0,
		},
		"a run whose time is over": {
			"{every: 4h, duration: 2h}",
			Options{},
			7 * time.Hour,
			`
				01 07:00:00 lost 20000101T040000Z
				01 08:00:00 begin 20000101T080000Z
			`, 0,
		},
		"a run that met a blackout meanwhile": {
			"{every: 4h, duration: 2h}",
			Options{Blackouts: compileBlackouts(t, "[{name: a, from: '05:10', to: '05:20'}]")},
			5*time.Hour + 30*time.Minute,
			`
				01 05:30:00 lost 20000101T040000Z
				01 08:00:00 begin 20000101T080000Z
			`, 0,
		},
		"runs that were due meanwhile are missed": {
			"{every: 1h, duration: 10m}",
			Options{},
			7*time.Hour + 30*time.Minute,
			`01 08:00:00 begin 20000101T080000Z`, 3, // 05:00, 06:00 and 07:00
		},
		"and made up for by one": {
			"{every: 1h, duration: 10m, missed: run_once}",
			Options{},
			7*time.Hour + 30*time.Minute,
			`
				01 07:30:00 begin 20000101T073000.000Z
				01 07:40:00 end over
				01 08:00:00 begin 20000101T080000Z
			`, 3,
		},
		"the one that is due now is joined": {
			"{every: 1h, duration: 40m}",
			Options{},
			7*time.Hour + 30*time.Minute,
			`
				01 07:30:00 begin 20000101T070000Z gap 30m0s broken at 30m0s
				01 07:40:00 end over
				01 08:00:00 begin 20000101T080000Z
			`, 2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, tt.schedule, tt.options, func(r *rig) {
				r.sleepUntil(3*time.Hour + 50*time.Minute)
				r.launch()
				r.sleepUntil(4*time.Hour + 59*time.Minute)
				r.kill()
				r.want(firstOf(r))
				r.sleepUntil(tt.back)
				r.launch()
				r.sleepUntil(8 * time.Hour)
				r.want(tt.want)
				r.wantStatus("Missed", r.runner.Status().Missed, tt.missed)
			})
		})
	}
}

// firstOf is what happened so far, which the test is not about.
func firstOf(r *rig) (lines string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		lines += e + "\n"
	}
	return lines
}

func TestAlwaysOnRunKeepsItsIdentityUntilItIsCut(t *testing.T) {
	play(t, "{always: true, cut: 12h}", Options{}, func(r *rig) {
		r.launch()
		r.sleepUntil(10 * time.Hour)
		r.kill()
		r.sleepUntil(10*time.Hour + 6*time.Minute)
		r.launch()
		r.sleepUntil(11 * time.Hour)
		r.kill()
		r.sleepUntil(13 * time.Hour)
		r.launch()
		r.sleepUntil(14 * time.Hour)
		r.want(`
			01 00:00:00 begin 20000101T000000Z
			01 10:06:00 begin 20000101T000000Z resumed gap 6m0s
			01 13:00:00 lost 20000101T000000Z
			01 13:00:00 begin 20000101T120000Z
		`)
	})
}

func TestRunByHandIsResumed(t *testing.T) {
	play(t, "{manual: true, duration: 2h}", Options{}, func(r *rig) {
		r.launch()
		r.sleepUntil(time.Hour)
		r.wantStatus("Start", r.runner.Start(), nil)
		r.sleepUntil(2 * time.Hour)
		r.kill()
		r.sleepUntil(2*time.Hour + time.Minute)
		r.launch()
		r.sleepUntil(4 * time.Hour)
		r.want(`
			01 01:00:00 begin 20000101T010000.000Z manual
			01 02:01:00 begin 20000101T010000.000Z manual resumed gap 1m0s at 1h1m0s
			01 03:00:00 end over
		`)
	})
}

// A run that a pause keeps from being resumed is not forgotten by another restart.
func TestRunToBeResumedWaitsForTheEndOfAPause(t *testing.T) {
	play(t, "{every: 4h, duration: 2h}", Options{}, func(r *rig) {
		r.sleepUntil(3 * time.Hour)
		r.launch()
		r.sleepUntil(5 * time.Hour)
		r.kill()
		r.options.Paused = true
		r.launch()
		r.sleepUntil(5*time.Hour + 10*time.Minute)
		r.kill()
		r.launch()
		r.sleepUntil(5*time.Hour + 20*time.Minute)
		r.runner.Resume()
		r.sleepUntil(6*time.Hour + time.Minute)
		r.want(`
			01 04:00:00 begin 20000101T040000Z
			01 05:20:00 begin 20000101T040000Z resumed gap 10m0s broken at 1h20m0s
			01 06:00:00 end over
		`)
	})
}

func TestQueuedRunIsMissedByARestart(t *testing.T) {
	play(t, "{cron: '0 * * * *', duration: 90m, overlap: queue, missed: run_once}", Options{}, func(r *rig) {
		r.launch()
		r.sleepUntil(70 * time.Minute)
		r.stop()
		r.launch()
		r.sleepUntil(100 * time.Minute)
		r.want(`
			01 00:00:00 begin 20000101T000000Z
			01 01:10:00 end shutdown
			01 01:10:00 begin 20000101T000000Z resumed at 1h10m0s
			01 01:30:00 end over
			01 01:30:00 begin 20000101T013000.000Z
		`)
		r.wantStatus("Missed", r.runner.Status().Missed, uint64(1))
	})
}

func TestCountsSurviveARestart(t *testing.T) {
	play(t, "{every: 1h, duration: 10m}", Options{Blackouts: compileBlackouts(t, "[{name: a, from: '02:50', to: '04:10'}]")}, func(r *rig) {
		r.launch()
		r.sleepUntil(5 * time.Hour)
		before := r.runner.Status()
		r.kill()
		r.launch()
		after := r.runner.Status()
		r.wantStatus("Missed", after.Missed, before.Missed)
		r.wantStatus("LastRun", after.LastRun, "20000101T020000Z")
		r.wantStatus("LastEnd", after.LastEnd.Equal(before.LastEnd), true)
	})
}

// The clock is stepped while a runner sleeps: it looks again within 30 s.
func TestWallClockIsStepped(t *testing.T) {
	for name, tt := range map[string]struct {
		schedule string
		by       time.Duration
		want     string
		missed   uint64
	}{
		"forward over the beginning of a run, which is joined": {
			"{every: 1h, duration: 30m}", 40 * time.Minute,
			`
				01 03:10:30 stepped 40m0s
				01 03:10:30 begin 20000101T030000Z gap 10m30s broken at 10m30s
				01 03:30:00 end over
				01 04:00:00 begin 20000101T040000Z
				01 04:30:00 end over
			`, 0,
		},
		"forward over a whole run, which is missed": {
			"{every: 1h, duration: 5m}", 50 * time.Minute,
			`
				01 03:20:30 stepped 50m0s
				01 04:00:00 begin 20000101T040000Z
				01 04:05:00 end over
			`, 1,
		},
		"forward to just after the beginning of a run, which is on time": {
			"{every: 1h, duration: 5m}", 30*time.Minute - 20*time.Second,
			`
				01 03:00:10 stepped 29m40s
				01 03:00:10 begin 20000101T030000Z at 10s
				01 03:05:00 end over
				01 04:00:00 begin 20000101T040000Z
				01 04:05:00 end over
			`, 0,
		},
		"back over the beginning of a run, which does not begin again": {
			"{every: 1h, duration: 5m}", -40 * time.Minute,
			`
				01 01:50:30 stepped -40m0s
				01 03:00:00 begin 20000101T030000Z
				01 03:05:00 end over
			`, 0,
		},
		"back by more than a day, from a clock that was wrong": {
			"{every: 1h, duration: 5m}", -48*time.Hour - 20*time.Minute,
			`
				30 02:10:30 stepped -48h20m0s
				30 03:00:00 begin 19991230T030000Z
				30 03:05:00 end over
			`, 0,
		},
		"by a slew, which is no step": {
			"{every: 1h, duration: 5m}", 900 * time.Millisecond,
			`
				01 03:00:00 begin 20000101T030000Z
				01 03:05:00 end over
			`, 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, tt.schedule, Options{}, func(r *rig) {
				r.launch()
				r.sleepUntil(2*time.Hour + 30*time.Minute)
				r.step(tt.by)
				r.want(firstOf(r))
				r.sleepUntil(4*time.Hour - time.Minute)
				r.want(tt.want)
				r.wantStatus("Missed", r.runner.Status().Missed, tt.missed)
			})
		})
	}
}

// A machine that was suspended wakes up with its monotonic clock where it was.
func TestSuspendedMachine(t *testing.T) {
	play(t, "{always: true, cut: 12h}", Options{}, func(r *rig) {
		r.launch()
		r.sleepUntil(10 * time.Hour)
		r.step(50 * time.Hour)
		r.sleepUntil(10*time.Hour + time.Minute)
		r.want(`
			01 00:00:00 begin 20000101T000000Z
			03 12:00:30 stepped 50h0m0s
			03 12:00:30 cut 20000103T120000Z
		`)
	})
}

func TestMemoryIsSavedSparingly(t *testing.T) {
	play(t, "{always: true}", Options{}, func(r *rig) {
		r.launch()
		r.sleepUntil(time.Hour)
		if r.memory.sets > 2 {
			t.Errorf("an always-on run saved %d times in an hour, want once: its process says that it lives", r.memory.sets)
		}
	})
	play(t, "{cron: '0 12 * * *', duration: 1m}", Options{}, func(r *rig) {
		r.launch()
		r.sleepUntil(10 * time.Hour)
		if r.memory.sets > 2 {
			t.Errorf("a runner without a run saved %d times in ten hours, want once", r.memory.sets)
		}
	})
}
