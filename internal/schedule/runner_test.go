package schedule

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/perfd/perfd/internal/pace"
)

func TestAlwaysOnRunIsCutAndNeverStopped(t *testing.T) {
	play(t, "{always: true, cut: 12h}", Options{}, func(r *rig) {
		time.Sleep(time.Hour)
		r.launch()
		r.sleepUntil(25 * time.Hour)
		r.want(`
			01 01:00:00 begin 20000101T000000Z
			01 12:00:00 cut 20000101T120000Z
			02 00:00:00 cut 20000102T000000Z
		`)
		r.stop()
		r.want(`02 01:00:00 end shutdown`)
	})
}

func TestARunIsCutWhenAskedAndThenByTheClockAgain(t *testing.T) {
	play(t, "{always: true, cut: 12h}", Options{}, func(r *rig) {
		r.launch()
		r.sleepUntil(90 * time.Minute)
		r.runner.Cut()
		r.sleepUntil(13 * time.Hour)
		r.want(`
			01 00:00:00 begin 20000101T000000Z
			01 01:30:00 cut 20000101T013000.000Z
			01 12:00:00 cut 20000101T120000Z
		`)
	})
	play(t, "{every: 2h, duration: 1h}", Options{}, func(r *rig) {
		r.launch()
		r.sleepUntil(10 * time.Minute)
		r.runner.Cut()
		r.sleepUntil(70 * time.Minute)
		r.want(`
			01 00:00:00 begin 20000101T000000Z
			01 01:00:00 end over
		`)
	})
}

func TestCronRunsBeginAndEndOnTime(t *testing.T) {
	play(t, "{cron: '30 2 * * *', time_zone: Europe/Berlin, duration: 45m}", Options{}, func(r *rig) {
		r.launch()
		r.sleepUntil(30 * time.Hour)
		r.want(`
			01 01:30:00 begin 20000101T013000Z
			01 02:15:00 end over
			02 01:30:00 begin 20000102T013000Z
			02 02:15:00 end over
		`)
		s := r.runner.Status()
		want := Status{Next: time.Date(2000, 1, 3, 1, 30, 0, 0, time.UTC), LastRun: "20000102T013000Z", LastEnd: time.Date(2000, 1, 2, 2, 15, 0, 0, time.UTC)}
		if diff := cmp.Diff(want, s, cmpopts.EquateApproxTime(0)); diff != "" {
			t.Errorf("Status (-want +got):\n%s", diff)
		}
	})
}

func TestJitteredRunsBeginLaterAndLastAsLong(t *testing.T) {
	play(t, "{every: 1h, jitter: 30m, duration: 10m}", Options{}, func(r *rig) {
		first, _ := r.schedule.following(r.begun)
		r.launch()
		r.sleepUntil(first.Zero.Sub(r.begun) - time.Nanosecond)
		r.wantStatus("running before its zero", r.runner.Status().Running, false)
		r.sleepUntil(first.Zero.Sub(r.begun))
		r.wantStatus("running at its zero", r.runner.Status().Run, first)
		r.sleepUntil(first.End.Sub(r.begun) - time.Nanosecond)
		r.wantStatus("draining before its end", r.runner.Status().Draining, false)
		r.sleepUntil(first.End.Sub(r.begun))
		r.wantStatus("running at its end", r.runner.Status().Running, false)
	})
}

func TestFiniteWorkloadEndsTheRun(t *testing.T) {
	play(t, "{every: 1h, duration: 30m}", Options{Workload: Workload{End: pace.End{Time: 20 * time.Minute}}}, func(r *rig) {
		r.lasts = 19 * time.Minute // its last stage lets no more begin, and the last iteration ends
		r.launch()
		r.sleepUntil(90 * time.Minute)
		r.want(`
			01 00:00:00 begin 20000101T000000Z
			01 01:00:00 begin 20000101T010000Z
		`)
		s := r.runner.Status()
		r.wantStatus("Running", s.Running, false)
		r.wantStatus("Due", s.Due, false)
		r.wantStatus("LastEnd", s.LastEnd.UTC(), time.Date(2000, 1, 1, 1, 19, 0, 0, time.UTC))
	})
}

func TestOverlap(t *testing.T) {
	for overlap, want := range map[string]string{
		"skip": `
			01 00:00:00 begin 20000101T000000Z
			01 01:20:00 end over
			01 02:00:00 begin 20000101T020000Z
			01 03:20:00 end over
		`,
		"queue": `
			01 00:00:00 begin 20000101T000000Z
			01 01:20:00 end over
			01 01:20:00 begin 20000101T010000Z
			01 02:40:00 end over
			01 02:40:00 begin 20000101T020000Z
		`,
		"replace": `
			01 00:00:00 begin 20000101T000000Z
			01 01:00:00 end replaced
			01 01:00:00 begin 20000101T010000Z
			01 02:00:00 end replaced
			01 02:00:00 begin 20000101T020000Z
			01 03:00:00 end replaced
			01 03:00:00 begin 20000101T030000Z
		`,
	} {
		t.Run(overlap, func(t *testing.T) {
			// The cron form, because Check refuses an every that always overlaps.
			play(t, "{cron: '0 * * * *', duration: 80m, overlap: "+overlap+"}", Options{}, func(r *rig) {
				r.launch()
				r.sleepUntil(3*time.Hour + 45*time.Minute)
				r.want(want)
				// Those of 01:00 and 03:00 were skipped; with queue that of 03:00 waits.
				r.wantStatus("Missed", r.runner.Status().Missed, map[string]uint64{"skip": 2}[overlap])
			})
		})
	}
}

func TestARunFollowsAnother(t *testing.T) {
	play(t, "{after: other, delay: 10m, duration: 1h, overlap: queue}", Options{}, func(r *rig) {
		r.launch()
		r.runner.Follow()
		r.wantStatus("Next", r.runner.Status().Next, r.begun.Add(10*time.Minute), cmpopts.EquateApproxTime(0))
		r.sleepUntil(30 * time.Minute)
		r.runner.Follow() // due at 00:40, while the first goes on
		r.sleepUntil(2*time.Hour + 30*time.Minute)
		r.runner.Follow()
		r.runner.Follow() // of two that are due after one another the later one runs
		r.sleepUntil(4 * time.Hour)
		r.want(`
			01 00:10:00 begin 20000101T001000.000Z
			01 01:10:00 end over
			01 01:10:00 begin 20000101T004000.000Z
			01 02:10:00 end over
			01 02:40:00 begin 20000101T024000.000Z
			01 03:40:00 end over
		`)
		r.wantStatus("Missed", r.runner.Status().Missed, uint64(1))
	})
}

// What is due after another run is due after a restart too, and missed where perfd was down at its time.
func TestARunFollowsAnotherOverARestart(t *testing.T) {
	for back, want := range map[time.Duration]string{
		8 * time.Minute:  "01 00:10:00 begin 20000101T001000.000Z",
		15 * time.Minute: "01 00:15:00 begin 20000101T001000.000Z gap 5m0s broken at 5m0s",
		3 * time.Hour:    "",
	} {
		play(t, "{after: other, delay: 10m, duration: 1h}", Options{}, func(r *rig) {
			r.launch()
			r.runner.Follow()
			r.sleepUntil(time.Minute)
			r.kill()
			r.sleepUntil(back)
			r.launch()
			r.sleepUntil(back + 20*time.Minute)
			r.want(want)
			r.wantStatus("Missed", r.runner.Status().Missed == 1, want == "")
		})
	}
}

func TestQueueHoldsOneRun(t *testing.T) {
	play(t, "{cron: '0 * * * *', duration: 140m, overlap: queue}", Options{}, func(r *rig) {
		r.launch()
		r.sleepUntil(5*time.Hour + time.Minute)
		r.want(`
			01 00:00:00 begin 20000101T000000Z
			01 02:20:00 end over
			01 02:20:00 begin 20000101T010000Z
			01 04:40:00 end over
			01 04:40:00 begin 20000101T030000Z
		`)
		// 02:00 found 01:00 waiting, 04:00 found 03:00; 05:00 waits.
		r.wantStatus("Missed", r.runner.Status().Missed, uint64(2))
	})
}

// A run that only drains is over: the next neither overlaps it nor starts beside it.
func TestNextRunWaitsForTheDrain(t *testing.T) {
	play(t, "{every: 1h, duration: 1h}", Options{}, func(r *rig) {
		r.drain = 20 * time.Second
		r.launch()
		r.sleepUntil(2*time.Hour + 10*time.Second)
		s := r.runner.Status()
		r.wantStatus("Draining", s.Draining, true)
		r.wantStatus("Why", s.Why, Over)
		r.sleepUntil(3 * time.Hour)
		r.want(`
			01 00:00:00 begin 20000101T000000Z
			01 01:00:00 end over
			01 01:00:20 begin 20000101T010000Z at 20s
			01 02:00:00 end over
			01 02:00:20 begin 20000101T020000Z at 20s
			01 03:00:00 end over
		`)
		r.wantStatus("Missed", r.runner.Status().Missed, uint64(0))
	})
}

func TestAlwaysOnRunRestsInABlackout(t *testing.T) {
	o := Options{Blackouts: compileBlackouts(t, "[{name: release, from: '20:00', to: '23:00'}]")}
	play(t, "{always: true}", o, func(r *rig) {
		r.drain = 5 * time.Second
		r.launch()
		r.sleepUntil(21 * time.Hour)
		s := r.runner.Status()
		r.wantStatus("Blackout", s.Blackout, true)
		r.wantStatus("Due", s.Due, false)
		r.wantStatus("Next", s.Next.UTC(), time.Date(2000, 1, 1, 23, 0, 0, 0, time.UTC))
		r.wantStatus("Start", r.runner.Start(), ErrBlackout, cmpopts.EquateErrors())
		r.sleepUntil(24 * time.Hour)
		r.want(`
			01 00:00:00 begin 20000101T000000Z
			01 20:00:00 end blackout
			01 23:00:00 begin 20000101T000000Z
			02 00:00:00 cut 20000102T000000Z
		`)
		r.wantStatus("Due", r.runner.Status().Due, true)
	})
}

func TestRunsAreMissedInABlackout(t *testing.T) {
	for missed, want := range map[string]string{
		"skip": `
			01 00:00:00 begin 20000101T000000Z
			01 00:45:00 end over
			01 02:00:00 begin 20000101T020000Z
			01 02:30:00 end blackout
			01 08:00:00 begin 20000101T080000Z
		`,
		"run_once": `
			01 00:00:00 begin 20000101T000000Z
			01 00:45:00 end over
			01 02:00:00 begin 20000101T020000Z
			01 02:30:00 end blackout
			01 06:30:00 begin 20000101T063000.000Z
			01 07:15:00 end over
			01 08:00:00 begin 20000101T080000Z
		`,
	} {
		t.Run(missed, func(t *testing.T) {
			o := Options{Blackouts: compileBlackouts(t, "[{name: release, from: '02:30', to: '06:30'}]")}
			play(t, "{every: 2h, duration: 45m, missed: "+missed+"}", o, func(r *rig) {
				r.launch()
				r.sleepUntil(8 * time.Hour)
				r.want(want)
				r.wantStatus("Missed", r.runner.Status().Missed, uint64(2))
			})
		})
	}
}

func TestPauseHoldsRunsBack(t *testing.T) {
	play(t, "{every: 1h, duration: 30m, missed: run_once}", Options{}, func(r *rig) {
		r.launch()
		r.sleepUntil(70 * time.Minute)
		r.runner.Pause()
		s := r.runner.Status()
		r.wantStatus("Paused", s.Paused, true)
		r.wantStatus("Running", s.Running, true)
		r.wantStatus("Due", s.Due, false)
		r.sleepUntil(3*time.Hour + 10*time.Minute)
		r.wantStatus("Start", r.runner.Start(), ErrPaused, cmpopts.EquateErrors())
		r.runner.Resume()
		r.sleepUntil(4 * time.Hour)
		r.want(`
			01 00:00:00 begin 20000101T000000Z
			01 00:30:00 end over
			01 01:00:00 begin 20000101T010000Z
			01 01:30:00 end over
			01 03:10:00 begin 20000101T031000.000Z
			01 03:40:00 end over
			01 04:00:00 begin 20000101T040000Z
		`)
		r.wantStatus("Missed", r.runner.Status().Missed, uint64(2))
	})
}

func TestPauseFromTheBeginning(t *testing.T) {
	play(t, "{always: true}", Options{}, func(r *rig) {
		r.options.Paused = true
		r.launch()
		r.sleepUntil(time.Hour)
		r.want("")
		r.runner.Resume()
		r.want(`01 01:00:00 begin 20000101T000000Z`)
	})
}

func TestRunsByHand(t *testing.T) {
	play(t, "{manual: true}", Options{Workload: Workload{End: pace.End{Time: 10 * time.Minute}}}, func(r *rig) {
		r.launch()
		r.sleepUntil(time.Hour)
		r.want("")
		r.wantStatus("Stop", r.runner.Stop(), ErrNotRunning, cmpopts.EquateErrors())
		r.wantStatus("Start", r.runner.Start(), nil)
		r.sleepUntil(time.Hour + time.Minute)
		r.wantStatus("Start", r.runner.Start(), ErrRunning, cmpopts.EquateErrors())
		r.wantStatus("Due", r.runner.Status().Due, true)
		r.wantStatus("Stop", r.runner.Stop(), nil)
		r.sleepUntil(time.Hour + 2*time.Minute)
		r.wantStatus("Start", r.runner.Start(), nil)
		r.sleepUntil(2 * time.Hour)
		r.want(`
			01 01:00:00 begin 20000101T010000.000Z manual
			01 01:01:00 end by hand
			01 01:02:00 begin 20000101T010200.000Z manual
			01 01:12:00 end over
		`)
		r.wantStatus("Next", r.runner.Status().Next, time.Time{})
	})
}

func TestAlwaysOnStaysStoppedByHandOverARestart(t *testing.T) {
	play(t, "{always: true}", Options{}, func(r *rig) {
		r.launch()
		r.sleepUntil(time.Hour)
		r.wantStatus("Stop", r.runner.Stop(), nil)
		r.sleepUntil(2 * time.Hour)
		r.wantStatus("Stop", r.runner.Stop(), ErrNotRunning, cmpopts.EquateErrors())
		r.stop()
		r.launch()
		r.sleepUntil(3 * time.Hour)
		s := r.runner.Status()
		r.wantStatus("Stopped", s.Stopped, true)
		r.wantStatus("Due", s.Due, false)
		r.wantStatus("Start", r.runner.Start(), nil)
		r.want(`
			01 00:00:00 begin 20000101T000000Z
			01 01:00:00 end by hand
			01 03:00:00 begin 20000101T000000Z
		`)
	})
}

func TestScheduledRunStartedByHandInBetween(t *testing.T) {
	play(t, "{every: 2h, duration: 30m}", Options{}, func(r *rig) {
		r.launch()
		r.sleepUntil(time.Hour + 45*time.Minute)
		r.wantStatus("Start", r.runner.Start(), nil)
		r.sleepUntil(4 * time.Hour)
		r.want(`
			01 00:00:00 begin 20000101T000000Z
			01 00:30:00 end over
			01 01:45:00 begin 20000101T014500.000Z manual
			01 02:15:00 end over
			01 04:00:00 begin 20000101T040000Z
		`) // that of 02:00 overlapped
		r.wantStatus("Missed", r.runner.Status().Missed, uint64(1))
	})
}

func TestAlwaysOnRunThatFailsIsTriedAgain(t *testing.T) {
	play(t, "{always: true}", Options{}, func(r *rig) {
		r.broken = true
		r.launch()
		r.sleepUntil(45 * time.Second)
		r.wantStatus("Running", r.runner.Status().Running, false)
		r.wantStatus("Due", r.runner.Status().Due, true)
		r.mu.Lock()
		r.broken = false
		r.lasts = time.Second
		r.mu.Unlock()
		r.sleepUntil(2 * time.Minute)
		r.want(`
			01 00:00:00 begin 20000101T000000Z
			01 00:00:30 begin 20000101T000000Z
			01 00:01:00 begin 20000101T000000Z
			01 00:01:31 begin 20000101T000000Z
		`)
	})
}

func TestRunThatCouldNotBeginIsStillDue(t *testing.T) {
	play(t, "{every: 1h, duration: 30m}", Options{}, func(r *rig) {
		r.broken = true
		r.launch()
		r.sleepUntil(70 * time.Minute)
		r.wantStatus("Due while its time is on", r.runner.Status().Due, true)
		r.sleepUntil(91 * time.Minute)
		r.wantStatus("Due when its time is over", r.runner.Status().Due, false)
	})
}

// A month by the clock, with -short eight days: the number of runs is exact.
func TestAMonth(t *testing.T) {
	days, tuesdays := 31, 4 // January 4, 11, 18 and 25
	if testing.Short() {
		days, tuesdays = 8, 1
	}
	for _, tt := range []struct {
		schedule  string
		blackouts string
		runs      int
		missed    int
	}{
		{schedule: "{always: true}", blackouts: "[{name: a, weekdays: [tue], from: '20:00', to: '23:00'}]", runs: 1 + tuesdays},
		{schedule: "{cron: '30 2 * * *', time_zone: America/New_York, duration: 1h}", runs: days},
		{schedule: "{every: 90m, duration: 10m, jitter: 20m}", runs: days * 16},
		{schedule: "{every: 1h, duration: 10m}", blackouts: "[{name: a, from: '23:30', to: '01:30'}]", runs: days * 22, missed: days*2 - 1}, // that of the first midnight came before the runner
	} {
		o := Options{}
		if tt.blackouts != "" {
			o.Blackouts = compileBlackouts(t, tt.blackouts)
		}
		t.Run(tt.schedule, func(t *testing.T) {
			t.Parallel()
			play(t, tt.schedule, o, func(r *rig) {
				r.launch()
				r.sleepUntil(time.Duration(days)*day - time.Nanosecond)
				r.wantStatus("runs", r.runs, tt.runs)
				r.wantStatus("missed runs", r.runner.Status().Missed, uint64(tt.missed))
			})
		})
	}
}
