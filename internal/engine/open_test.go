package engine

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/load"
)

func TestOpenRun(t *testing.T) {
	type drop = map[load.Reason]uint64
	for _, c := range []struct {
		name    string
		plan    every
		acts    []act
		options func(*Options)
		starts  []time.Duration
		dropped drop
		made    int64
		took    time.Duration
	}{
		{
			name: "arrivals start when they are due", plan: every{100 * ms, s}, acts: []act{{ask: 10 * ms}},
			starts: from(0, 100*ms, 10), made: 1, took: s,
		},
		{
			name: "a VU is made for an arrival that finds none free", plan: every{100 * ms, s}, acts: []act{{ask: 250 * ms}},
			starts: from(0, 100*ms, 10), made: 3, took: 1150 * ms,
		},
		{
			name: "pre-allocated VUs are there though not needed", plan: every{100 * ms, s}, acts: []act{{ask: 10 * ms}},
			options: func(o *Options) { o.PreAllocated = 7 },
			starts:  from(0, 100*ms, 10), made: 7, took: s,
		},
		{
			name: "busy VUs are the target's doing", plan: every{100 * ms, s}, acts: []act{{ask: 250 * ms}},
			options: func(o *Options) { o.MaxVUs = 2 },
			starts:  []time.Duration{0, 100 * ms, 300 * ms, 400 * ms, 600 * ms, 700 * ms, 900 * ms},
			dropped: drop{load.NoFreeVU: 3}, made: 2, took: 1150 * ms,
		},
		{
			name: "thinking VUs are ours", plan: every{100 * ms, s}, acts: []act{{ask: 10 * ms, think: 240 * ms}},
			options: func(o *Options) { o.MaxVUs = 2 },
			starts:  []time.Duration{0, 100 * ms, 300 * ms, 400 * ms, 600 * ms, 700 * ms, 900 * ms},
			dropped: drop{load.VUCap: 3}, made: 2, took: 1150 * ms,
		},
		{
			name: "a hanging target does not dropReason us", plan: every{100 * ms, 30 * s}, acts: []act{{ask: time.Hour}},
			options: func(o *Options) { o.MaxVUs, o.GracefulStop = 5, 0 },
			starts:  from(0, 100*ms, 5), dropped: drop{load.NoFreeVU: 295}, made: 5, took: 30 * s,
		},
		{
			name: "what Admit refuses is dropped with its reason", plan: every{100 * ms, s}, acts: []act{{ask: 10 * ms}},
			options: func(o *Options) {
				o.Admit = func(now time.Duration) (load.Reason, bool) { return load.RateCap, now >= 500*ms }
			},
			starts: from(500*ms, 100*ms, 5), dropped: drop{load.RateCap: 5}, made: 1, took: s,
		},
		{
			name: "a shard takes its share of arrivals and VUs", plan: every{100 * ms, s}, acts: []act{{ask: time.Hour}},
			options: func(o *Options) { o.Shard, o.Shards, o.MaxVUs, o.GracefulStop = 1, 3, 5, 0 },
			starts:  []time.Duration{100 * ms, 400 * ms}, dropped: drop{load.NoFreeVU: 1}, made: 2, took: s,
		},
		{
			name: "a start in the past is joined where the clock says", plan: every{100 * ms, 10 * s}, acts: []act{{ask: 10 * ms}},
			options: func(o *Options) { o.Start = o.Start.Add(-9470 * ms) },
			starts:  from(30*ms, 100*ms, 5), made: 1, took: 530 * ms,
		},
		{
			name: "a start in the future is waited for", plan: every{100 * ms, s}, acts: []act{{ask: 10 * ms}},
			options: func(o *Options) { o.Start = o.Start.Add(time.Minute) },
			starts:  from(time.Minute, 100*ms, 10), made: 1, took: time.Minute + s,
		},
		{
			name: "a plan that is over ends at once", plan: every{100 * ms, s}, acts: []act{{ask: 10 * ms}},
			options: func(o *Options) { o.Start = o.Start.Add(-time.Hour) },
		},
		{
			name: "an arrival after a stall is late, and the backlog is no burst", plan: every{100 * ms, 5 * s}, acts: []act{{ask: 10 * ms}},
			options: func(o *Options) {
				stalled := false
				o.Admit = func(now time.Duration) (load.Reason, bool) {
					if now == s && !stalled {
						stalled = true
						time.Sleep(2030 * ms) // holds the loop up
					}
					return 0, true
				}
			},
			// What is due at 1s is handed out before the stall and found late by its worker.
			starts:  slices.Concat(from(0, 100*ms, 10), from(3100*ms, 100*ms, 19)),
			dropped: drop{load.Late: 21}, made: 1, took: 5 * s,
		},
		{
			name: "a short delay is caught up", plan: every{10 * ms, s}, acts: []act{{ask: ms}},
			options: func(o *Options) {
				o.Admit = func(now time.Duration) (load.Reason, bool) {
					if now == 500*ms {
						time.Sleep(25 * ms)
					}
					return 0, true
				}
			},
			starts: slices.Concat(from(0, 10*ms, 50), []time.Duration{525 * ms, 525 * ms, 525 * ms}, from(530*ms, 10*ms, 47)),
			made:   3, took: s,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRun(t, c.plan, c.acts, c.options)
				if got := r.do(t.Context()); got != Finished {
					t.Errorf("Run = %v, want finished", got)
				}
				if diff := cmp.Diff(c.starts, r.starts()); diff != "" {
					t.Errorf("starts (-want +got):\n%s", diff)
				}
				if want := drops(c.dropped); r.dropped != want {
					t.Errorf("dropped = %v, want %v", r.dropped, want)
				}
				if got := r.made.Load(); got != c.made {
					t.Errorf("VUs made = %d, want %d", got, c.made)
				}
				if got := r.engine.Now(); got != c.took {
					t.Errorf("Run took %v, want %v", got, c.took)
				}
			})
		})
	}
}

func TestOpenStop(t *testing.T) {
	for _, c := range []struct {
		name    string
		grace   time.Duration
		acts    []act
		stop    func(r *run, cancel context.CancelFunc) // at 250ms
		outcome Outcome
		spans   []span
		drops   uint64 // as shutdown
		took    time.Duration
	}{
		{
			name: "at the end of the plan iterations go on within the grace", grace: s, acts: []act{{ask: 400 * ms}},
			outcome: Finished, took: 800 * ms,
			spans: []span{{0, 400 * ms, load.Completed}, {200 * ms, 600 * ms, load.Completed}, {400 * ms, 800 * ms, load.Completed}},
		},
		{
			name: "after the grace they are interrupted", grace: 110 * ms, acts: []act{{ask: 400 * ms}},
			outcome: Finished, took: 610 * ms,
			spans: []span{{0, 400 * ms, load.Completed}, {200 * ms, 600 * ms, load.Completed}, {400 * ms, 610 * ms, load.Interrupted}},
		},
		{
			name: "without a grace they are interrupted at once", acts: []act{{ask: 400 * ms}},
			outcome: Finished, took: 500 * ms,
			spans: []span{{0, 400 * ms, load.Completed}, {200 * ms, 500 * ms, load.Interrupted}, {400 * ms, 500 * ms, load.Interrupted}},
		},
		{
			name: "a VU that thinks goes on within the grace", grace: s, acts: []act{{10 * ms, 390 * ms}, {ask: 10 * ms}},
			outcome: Finished, took: 810 * ms,
			spans: []span{{0, 410 * ms, load.Completed}, {200 * ms, 610 * ms, load.Completed}, {400 * ms, 810 * ms, load.Completed}},
		},
		{
			name: "a VU that thinks is interrupted after the grace", grace: 100 * ms, acts: []act{{10 * ms, 390 * ms}, {ask: 10 * ms}},
			outcome: Finished, took: 600 * ms,
			spans: []span{{0, 410 * ms, load.Completed}, {200 * ms, 600 * ms, load.Interrupted}, {400 * ms, 600 * ms, load.Interrupted}},
		},
		{
			name: "a cancelled run starts nothing and gives the grace", grace: 200 * ms, acts: []act{{ask: 400 * ms}},
			stop:    func(_ *run, cancel context.CancelFunc) { cancel() },
			outcome: Canceled, took: 450 * ms, drops: 1,
			spans: []span{{0, 400 * ms, load.Completed}, {200 * ms, 450 * ms, load.Interrupted}},
		},
		{
			name: "a cancelled run ends when nothing is under way", grace: s, acts: []act{{ask: 30 * ms}},
			stop:    func(_ *run, cancel context.CancelFunc) { cancel() },
			outcome: Canceled, took: 250 * ms,
			spans: []span{{0, 30 * ms, load.Completed}, {200 * ms, 230 * ms, load.Completed}},
		},
		{
			name: "a killed run interrupts at once", grace: s, acts: []act{{ask: 100 * ms, think: 20 * ms}, {ask: 300 * ms}},
			stop:    func(r *run, _ context.CancelFunc) { r.engine.Kill() },
			outcome: Killed, took: 250 * ms,
			spans: []span{{0, 250 * ms, load.Interrupted}, {200 * ms, 250 * ms, load.Interrupted}},
		},
		{
			name: "a kill ends the grace of a stop", grace: time.Hour, acts: []act{{ask: time.Hour}},
			stop: func(r *run, cancel context.CancelFunc) {
				cancel()
				time.Sleep(50 * ms)
				r.engine.Kill()
			},
			outcome: Killed, took: 300 * ms,
			spans: []span{{0, 300 * ms, load.Interrupted}, {200 * ms, 300 * ms, load.Interrupted}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRun(t, every{200 * ms, 500 * ms}, c.acts, func(o *Options) { o.GracefulStop = c.grace })
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if c.stop != nil {
					go func() {
						time.Sleep(250 * ms)
						c.stop(r, cancel)
					}()
				}
				if got := r.do(ctx); got != c.outcome {
					t.Errorf("Run = %v, want %v", got, c.outcome)
				}
				if diff := cmp.Diff(c.spans, r.spans(), cmp.AllowUnexported(span{})); diff != "" {
					t.Errorf("iterations (-want +got):\n%s", diff)
				}
				if want := drops(map[load.Reason]uint64{load.Shutdown: c.drops}); r.dropped != want {
					t.Errorf("dropped = %v, want %v", r.dropped, want)
				}
				if got := r.engine.Now(); got != c.took {
					t.Errorf("Run took %v, want %v", got, c.took)
				}
			})
		})
	}
}

func TestOpenPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRun(t, every{100 * ms, s}, []act{{30 * ms, 30 * ms}, {ask: 30 * ms}}, nil)
		go func() {
			time.Sleep(210 * ms) // in a request
			r.engine.Pause()
			time.Sleep(300 * ms)
			if st := r.engine.Stats(); st.Busy != 0 || st.PlannedRate != 10 {
				t.Errorf("Stats while paused = %+v, want nobody busy and the plan as it is", st)
			}
			r.engine.Resume()
			time.Sleep(140 * ms) // at 650ms, thinking
			r.engine.Pause()
			r.engine.Resume()
			time.Sleep(100 * ms) // at 750ms
			r.engine.Pause()
			time.Sleep(10 * ms)
			r.engine.Resume()
		}()
		r.do(t.Context())
		want := []span{
			{0, 90 * ms, load.Completed},
			{100 * ms, 190 * ms, load.Completed},
			{200 * ms, 210 * ms, load.Interrupted},
			{600 * ms, 690 * ms, load.Completed},
			{700 * ms, 750 * ms, load.Interrupted},
			{800 * ms, 890 * ms, load.Completed},
			{900 * ms, 990 * ms, load.Completed},
		}
		if diff := cmp.Diff(want, r.spans(), cmp.AllowUnexported(span{})); diff != "" {
			t.Errorf("iterations (-want +got):\n%s", diff)
		}
		if want := drops(map[load.Reason]uint64{load.Paused: 3}); r.dropped != want {
			t.Errorf("dropped = %v, want %v", r.dropped, want)
		}
	})
}

func TestOpenReanchor(t *testing.T) {
	for _, c := range []struct {
		name   string
		shift  time.Duration
		starts []time.Duration
		took   time.Duration
	}{
		// At 250ms the plan's time is 250ms.
		{
			name: "forward", shift: 420 * ms, // to 670ms
			starts: []time.Duration{0, 100 * ms, 200 * ms, 280 * ms, 380 * ms, 480 * ms}, took: 580 * ms,
		},
		{
			name: "back", shift: -180 * ms, // to 70ms
			starts: slices.Concat(from(0, 100*ms, 3), from(280*ms, 100*ms, 9)), took: 1180 * ms,
		},
		{
			name: "before the plan's zero", shift: -time.Hour,
			starts: slices.Concat(from(0, 100*ms, 3), from(time.Hour, 100*ms, 10)), took: time.Hour + s,
		},
		{
			name: "beyond the plan's end", shift: time.Hour,
			starts: from(0, 100*ms, 3), took: 250 * ms,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRun(t, every{100 * ms, s}, []act{{ask: 10 * ms}}, nil)
				go func() {
					time.Sleep(250 * ms)
					r.engine.Reanchor(c.shift)
				}()
				r.do(t.Context())
				if diff := cmp.Diff(c.starts, r.starts()); diff != "" {
					t.Errorf("starts (-want +got):\n%s", diff)
				}
				if r.dropped != drops(nil) {
					t.Errorf("dropped = %v, want none", r.dropped)
				}
				if got := r.engine.Now(); got != c.took {
					t.Errorf("Run took %v, want %v", got, c.took)
				}
			})
		})
	}
}
