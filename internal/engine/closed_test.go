package engine

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/pace"
)

func TestClosedRun(t *testing.T) {
	for _, c := range []struct {
		name    string
		plan    pace.Plan
		acts    []act
		options func(*Options)
		spans   []span
		made    int64
		took    time.Duration
	}{
		{
			name: "a VU's next turn is due when its last iteration ended", plan: steps{{0, 1}, {s, 0}}, acts: []act{{ask: 400 * ms}},
			spans: []span{{0, 400 * ms, load.Completed}, {400 * ms, 800 * ms, load.Completed}, {800 * ms, 1200 * ms, load.Completed}},
			made:  1, took: 1200 * ms,
		},
		{
			name: "VUs that ramp up begin when the plan says", plan: steps{{0, 0}, {100 * ms, 1}, {300 * ms, 2}, {650 * ms, 0}}, acts: []act{{ask: 400 * ms}},
			spans: []span{{100 * ms, 500 * ms, load.Completed}, {300 * ms, 700 * ms, load.Completed}, {500 * ms, 900 * ms, load.Completed}},
			made:  2, took: 900 * ms,
		},
		{
			name: "VUs that begin together are spread where that is asked for", plan: steps{{0, 4}, {590 * ms, 0}}, acts: []act{{ask: 250 * ms}},
			options: func(o *Options) { o.StartOver = func(n int) time.Duration { return time.Duration(n) * 50 * ms } },
			spans: []span{
				{0, 250 * ms, load.Completed},
				{50 * ms, 300 * ms, load.Completed},
				{100 * ms, 350 * ms, load.Completed},
				{150 * ms, 400 * ms, load.Completed},
				{250 * ms, 500 * ms, load.Completed},
				{300 * ms, 550 * ms, load.Completed},
				{350 * ms, 600 * ms, load.Completed},
				{400 * ms, 650 * ms, load.Completed},
				{500 * ms, 750 * ms, load.Completed},
				{550 * ms, 800 * ms, load.Completed},
			},
			made: 4, took: 800 * ms,
		},
		{
			name: "and those that have not begun when the plan takes them away never do", plan: steps{{0, 4}, {120 * ms, 1}, {300 * ms, 0}}, acts: []act{{ask: 250 * ms}},
			options: func(o *Options) {
				o.StartOver, o.GracefulRampDown = func(int) time.Duration { return 400 * ms }, s
			},
			spans: []span{{0, 250 * ms, load.Completed}, {100 * ms, 350 * ms, load.Completed}, {250 * ms, 500 * ms, load.Completed}},
			made:  2, took: 500 * ms,
		},
		{
			name: "nor where the iterations are taken before", plan: bounded{steps{{0, 4}, {10 * s, 0}}, 3, 0}, acts: []act{{ask: 100 * ms}},
			options: func(o *Options) { o.StartOver = func(int) time.Duration { return 8 * s } },
			spans:   []span{{0, 100 * ms, load.Completed}, {100 * ms, 200 * ms, load.Completed}, {200 * ms, 300 * ms, load.Completed}},
			made:    1, took: 300 * ms,
		},
		{
			name: "a VU that ramps down finishes its iteration within the grace", plan: steps{{0, 2}, {500 * ms, 1}, {s, 0}}, acts: []act{{ask: 400 * ms}},
			options: func(o *Options) { o.GracefulRampDown = 310 * ms },
			spans: []span{
				{0, 400 * ms, load.Completed},
				{0, 400 * ms, load.Completed},
				{400 * ms, 800 * ms, load.Completed},
				{400 * ms, 800 * ms, load.Completed},
				{800 * ms, 1200 * ms, load.Completed},
			},
			made: 2, took: 1200 * ms,
		},
		{
			name: "and is interrupted after it", plan: steps{{0, 2}, {500 * ms, 1}, {s, 0}}, acts: []act{{ask: 400 * ms}},
			options: func(o *Options) { o.GracefulRampDown = 200 * ms },
			spans: []span{
				{0, 400 * ms, load.Completed},
				{0, 400 * ms, load.Completed},
				{400 * ms, 700 * ms, load.Interrupted},
				{400 * ms, 800 * ms, load.Completed},
				{800 * ms, 1200 * ms, load.Completed},
			},
			made: 2, took: 1200 * ms,
		},
		{
			name: "or at once without one", plan: steps{{0, 2}, {500 * ms, 1}, {s, 0}}, acts: []act{{ask: 400 * ms}},
			options: func(o *Options) { o.GracefulRampDown = 0 },
			spans: []span{
				{0, 400 * ms, load.Completed},
				{0, 400 * ms, load.Completed},
				{400 * ms, 500 * ms, load.Interrupted},
				{400 * ms, 800 * ms, load.Completed},
				{800 * ms, 1200 * ms, load.Completed},
			},
			made: 2, took: 1200 * ms,
		},
		{
			name: "a VU that thinks while it ramps down has the same grace", plan: steps{{0, 1}, {100 * ms, 0}, {2 * s, 1}, {2100 * ms, 0}},
			acts:    []act{{10 * ms, 400 * ms}, {ask: 10 * ms}},
			options: func(o *Options) { o.GracefulRampDown, o.GracefulStop = 200*ms, 200*ms },
			spans:   []span{{0, 300 * ms, load.Interrupted}, {2 * s, 2300 * ms, load.Interrupted}},
			made:    2, took: 2300 * ms,
		},
		{
			name: "a VU that is called back within the grace goes on", plan: steps{{0, 1}, {100 * ms, 0}, {200 * ms, 1}, {s, 0}}, acts: []act{{ask: 400 * ms}},
			options: func(o *Options) { o.GracefulRampDown = 250 * ms },
			spans:   []span{{0, 400 * ms, load.Completed}, {400 * ms, 800 * ms, load.Completed}, {800 * ms, 1200 * ms, load.Completed}},
			made:    1, took: 1200 * ms,
		},
		{
			name: "a VU that ramped down is closed, and another takes its place", plan: steps{{0, 1}, {100 * ms, 0}, {700 * ms, 1}, {s, 0}}, acts: []act{{ask: 200 * ms}},
			spans: []span{{0, 200 * ms, load.Completed}, {700 * ms, 900 * ms, load.Completed}, {900 * ms, 1100 * ms, load.Completed}},
			made:  2, took: 1100 * ms,
		},
		{
			name: "the end's grace is its own", plan: steps{{0, 1}, {100 * ms, 0}}, acts: []act{{ask: 400 * ms}},
			options: func(o *Options) { o.GracefulRampDown, o.GracefulStop = 0, s },
			spans:   []span{{0, 400 * ms, load.Completed}},
			made:    1, took: 400 * ms,
		},
		{
			name: "the end's grace cuts that of a ramp-down short", plan: steps{{0, 2}, {100 * ms, 1}, {200 * ms, 0}}, acts: []act{{ask: 400 * ms}},
			options: func(o *Options) { o.GracefulStop = 0 },
			spans:   []span{{0, 200 * ms, load.Interrupted}, {0, 200 * ms, load.Interrupted}},
			made:    2, took: 200 * ms,
		},
		{
			name: "a start in the past is joined where the clock says", plan: steps{{0, 3}, {500 * ms, 1}, {s, 0}}, acts: []act{{ask: 400 * ms}},
			options: func(o *Options) { o.Start = o.Start.Add(-650 * ms) },
			spans:   []span{{0, 400 * ms, load.Completed}},
			made:    1, took: 400 * ms,
		},
		{
			name: "a start in the future is waited for", plan: steps{{0, 1}, {100 * ms, 0}}, acts: []act{{ask: 400 * ms}},
			options: func(o *Options) { o.Start = o.Start.Add(time.Hour) },
			spans:   []span{{time.Hour, time.Hour + 400*ms, load.Completed}},
			made:    1, took: time.Hour + 400*ms,
		},
		{
			name: "a shard has its share of VUs", plan: steps{{0, 4}, {100 * ms, 0}}, acts: []act{{ask: 400 * ms}},
			options: func(o *Options) { o.Shard, o.Shards = 2, 3 },
			spans:   []span{{0, 400 * ms, load.Completed}},
			made:    1, took: 400 * ms,
		},
		{
			name: "iterations bounded for all VUs together", plan: bounded{steps{{0, 2}, {10 * s, 0}}, 3, 0}, acts: []act{{ask: 400 * ms}},
			spans: []span{{0, 400 * ms, load.Completed}, {0, 400 * ms, load.Completed}, {400 * ms, 800 * ms, load.Completed}},
			made:  2, took: 800 * ms,
		},
		{
			name: "iterations bounded for each VU", plan: bounded{steps{{0, 2}, {10 * s, 0}}, 0, 2}, acts: []act{{ask: 300 * ms, think: 100 * ms}},
			spans: []span{
				{0, 400 * ms, load.Completed},
				{0, 400 * ms, load.Completed},
				{400 * ms, 800 * ms, load.Completed},
				{400 * ms, 800 * ms, load.Completed},
			},
			made: 2, took: 800 * ms,
		},
		{
			name: "iterations bounded for each VU, on a shard without one", plan: bounded{steps{{0, 2}}, 0, 2}, acts: []act{{ask: 300 * ms}},
			options: func(o *Options) { o.Shard, o.Shards = 2, 3 },
		},
		{
			name: "iterations bounded for each VU, on a shard without one, of a plan that ends", plan: bounded{steps{{0, 2}, {10 * s, 0}}, 0, 2}, acts: []act{{ask: 300 * ms}},
			options: func(o *Options) { o.Shard, o.Shards = 2, 3 },
		},
		{
			name: "iterations bounded for each VU, which come late", plan: bounded{steps{{0, 0}, {10 * s, 1}, {20 * s, 0}}, 0, 1}, acts: []act{{ask: 300 * ms}},
			spans: []span{{10 * s, 10*s + 300*ms, load.Completed}},
			made:  1, took: 10*s + 300*ms,
		},
		{
			name: "a bound that a plan without end reaches", plan: bounded{steps{{0, 2}}, 3, 0}, acts: []act{{ask: 400 * ms}},
			spans: []span{{0, 400 * ms, load.Completed}, {0, 400 * ms, load.Completed}, {400 * ms, 800 * ms, load.Completed}},
			made:  2, took: 800 * ms,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRun(t, c.plan, c.acts, c.options)
				if got := r.do(t.Context()); got != Finished {
					t.Errorf("Run = %v, want finished", got)
				}
				if diff := cmp.Diff(c.spans, r.spans(), cmp.AllowUnexported(span{})); diff != "" {
					t.Errorf("iterations (-want +got):\n%s", diff)
				}
				if got := r.made.Load(); got != c.made {
					t.Errorf("VUs made = %d, want %d", got, c.made)
				}
				if got := r.engine.Now(); got != c.took {
					t.Errorf("Run took %v, want %v", got, c.took)
				}
				if r.dropped != drops(nil) {
					t.Errorf("dropped = %v, want none", r.dropped)
				}
			})
		})
	}
}

func TestClosedPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRun(t, steps{{0, 2}, {800 * ms, 3}, {2 * s, 0}}, nil, nil)
		// The first VU asks while the second thinks.
		r.acts = func(id int) []act {
			return []act{{ask: 10 * ms}, {think: time.Duration(id) * 200 * ms}, {ask: 290 * ms}}
		}
		go func() {
			time.Sleep(100 * ms)
			want := Stats{VUs: 2, Busy: 2, Thinking: 1, PlannedVUs: 2, Started: 2}
			if diff := cmp.Diff(want, r.engine.Stats()); diff != "" {
				t.Errorf("Stats (-want +got):\n%s", diff)
			}
			r.engine.Pause()
			time.Sleep(900 * ms)
			want = Stats{PlannedVUs: 3, Started: 2}
			if diff := cmp.Diff(want, r.engine.Stats()); diff != "" {
				t.Errorf("Stats while paused (-want +got):\n%s", diff)
			}
			r.engine.Resume()
			time.Sleep(5 * ms)
			want = Stats{VUs: 3, Busy: 3, PlannedVUs: 3, Started: 5}
			if diff := cmp.Diff(want, r.engine.Stats()); diff != "" {
				t.Errorf("Stats after Resume (-want +got):\n%s", diff)
			}
			time.Sleep(5 * ms)
			r.engine.Kill()
		}()
		r.do(t.Context())
		want := []span{
			{0, 100 * ms, load.Interrupted},
			{0, 100 * ms, load.Interrupted},
			{s, 1010 * ms, load.Interrupted},
			{s, 1010 * ms, load.Interrupted},
			{s, 1010 * ms, load.Interrupted},
		}
		if diff := cmp.Diff(want, r.spans(), cmp.AllowUnexported(span{})); diff != "" {
			t.Errorf("iterations (-want +got):\n%s", diff)
		}
	})
}

func TestClosedStopWhilePaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRun(t, steps{{0, 2}, {time.Hour, 0}}, []act{{ask: 100 * ms}}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			time.Sleep(50 * ms)
			r.engine.Pause()
			time.Sleep(50 * ms)
			cancel()
		}()
		if got := r.do(ctx); got != Canceled {
			t.Errorf("Run = %v, want canceled", got)
		}
		if got := r.engine.Now(); got != 100*ms {
			t.Errorf("Run took %v, want 100ms", got)
		}
	})
}

func TestClosedReanchor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRun(t, steps{{0, 1}, {s, 3}, {2 * s, 0}}, []act{{ask: 300 * ms}}, nil)
		vus := func(after time.Duration) int {
			time.Sleep(after)
			return r.engine.Stats().VUs
		}
		var got []int
		go func() {
			got = append(got, vus(500*ms))
			r.engine.Reanchor(700 * ms) // plan time 1200ms
			got = append(got, vus(100*ms))
			r.engine.Reanchor(-700 * ms) // plan time 600ms
			got = append(got, vus(350*ms), vus(100*ms))
			r.engine.Reanchor(time.Hour)
		}()
		r.do(t.Context())
		if diff := cmp.Diff([]int{1, 3, 1, 3}, got); diff != "" {
			t.Errorf("VUs (-want +got):\n%s", diff)
		}
	})
}

func TestClosedRefusals(t *testing.T) {
	const refuse = 4 // of five
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		r := newRun(t, steps{{0, 10}, {1000 * s, 0}}, []act{{ask: 500 * ms, think: 500 * ms}}, func(o *Options) {
			o.Admit = func(time.Duration) (load.Reason, bool) { return load.Backoff, asked.Add(1)%(refuse+1) == 0 }
		})
		r.do(t.Context())
		// 10 VUs would do 10,000 iterations of a second.
		if got := len(r.iterations); got < 1900 || got > 2100 {
			t.Errorf("%d iterations with four of five turns refused, want 2000 within 5 %%", got)
		}
		if r.dropped != drops(nil) {
			t.Errorf("dropped = %v, want none", r.dropped)
		}
	})
}

func TestNoVU(t *testing.T) {
	noVU := errors.New("no descriptors")
	for _, c := range []struct {
		name   string
		plan   pace.Plan
		starts []time.Duration
		drops  uint64 // as vu_cap
	}{
		{"of an open plan drops the arrival", every{500 * ms, 3 * s}, from(2*s, 500*ms, 2), 4},
		{"of a closed plan is tried again", steps{{0, 1}, {3 * s, 0}}, from(2*s, 400*ms, 3), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRun(t, c.plan, []act{{ask: 400 * ms}}, nil)
				r.engine.o.NewVU = func(id int) (VU, error) {
					if r.engine.Now() < 2*s {
						return nil, noVU
					}
					return r.newVU(id)
				}
				go func() {
					time.Sleep(s + 600*ms)
					if got := r.engine.Stats().VUs; got != 0 {
						t.Errorf("Stats().VUs = %d before one could be made", got)
					}
				}()
				r.do(t.Context())
				if diff := cmp.Diff(c.starts, r.starts()); diff != "" {
					t.Errorf("starts (-want +got):\n%s", diff)
				}
				if want := drops(map[load.Reason]uint64{load.VUCap: c.drops}); r.dropped != want {
					t.Errorf("dropped = %v, want %v", r.dropped, want)
				}
			})
		})
	}
}

func TestNewRefuses(t *testing.T) {
	sink := &run{}
	good := Options{Plan: every{s, s}, NewVU: sink.newVU, Sink: sink, MaxVUs: 1}
	for _, c := range []struct {
		name   string
		change func(*Options)
	}{
		{"no plan", func(o *Options) { o.Plan = nil }},
		{"no way to make a VU", func(o *Options) { o.NewVU = nil }},
		{"no sink", func(o *Options) { o.Sink = nil }},
		{"an open plan without VUs", func(o *Options) { o.MaxVUs = 0 }},
		{"a shard that is not one of them", func(o *Options) { o.Shard, o.Shards = 2, 2 }},
		{"a negative grace", func(o *Options) { o.GracefulStop = -1 }},
	} {
		o := good
		c.change(&o)
		if _, err := New(o); err == nil {
			t.Errorf("New with %s = nil error", c.name)
		}
	}
}

// However many shards there are, and whether or not each has a VU, all of them
// together start as many iterations as the plan's end says.
func TestShardsShareATotalOfIterations(t *testing.T) {
	for _, c := range []struct {
		vus, shards int
		end         pace.End
		want        int // iterations of all shards
	}{
		{4, 1, pace.End{Total: 10}, 10},
		{4, 3, pace.End{Total: 10}, 10},
		{2, 3, pace.End{Total: 10}, 10}, // one shard has no VU
		{1, 4, pace.End{Total: 7}, 7},
		{4, 4, pace.End{Total: 2}, 2}, // fewer iterations than shards
		{5, 3, pace.End{PerVU: 4}, 20},
		{2, 3, pace.End{PerVU: 4}, 8},
		{3, 2, pace.End{PerVU: 4, Total: 8}, 8},
	} {
		t.Run(fmt.Sprintf("%d VUs, %d shards, %s", c.vus, c.shards, c.end), func(t *testing.T) {
			got := 0
			for shard := range c.shards {
				synctest.Test(t, func(t *testing.T) {
					plan := bounded{steps{{0, c.vus}}, c.end.Total, c.end.PerVU}
					r := newRun(t, plan, []act{{ask: 100 * ms}}, func(o *Options) { o.Shard, o.Shards = shard, c.shards })
					if outcome := r.do(t.Context()); outcome != Finished {
						t.Errorf("Run of shard %d = %v, want finished", shard, outcome)
					}
					got += r.started
				})
			}
			if got != c.want {
				t.Errorf("%d iterations in all shards, want %d", got, c.want)
			}
		})
	}
}
