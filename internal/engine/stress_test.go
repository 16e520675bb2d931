package engine

import (
	"context"
	"math/rand/v2"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perfd/perfd/internal/pace"
)

// TestAnyRequests runs random plans under random requests. The fake VUs hold the
// engine to the contract of VU, and run.do to its accounts.
func TestAnyRequests(t *testing.T) {
	for seed := range uint64(300) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			upTo := func(d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d/ms))+1) * ms }
			var plan pace.Plan = every{upTo(50 * ms), 3 * s}
			if seed%2 == 0 {
				p := steps{{0, r.IntN(20)}}
				for at := upTo(300 * ms); at < 3*s; at += upTo(300 * ms) {
					p = append(p, step{at, r.IntN(20)})
				}
				plan = append(p, step{3 * s, 0})
			}
			acts := make([][]act, 20)
			for i := range acts {
				for range 1 + r.IntN(3) {
					acts[i] = append(acts[i], act{upTo(100 * ms), upTo(200*ms) - 100*ms})
				}
			}
			run := newRun(t, plan, nil, func(o *Options) {
				o.MaxVUs = 20
				o.GracefulStop, o.GracefulRampDown = upTo(s), upTo(200*ms)
			})
			run.acts = func(id int) []act { return acts[id] }
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			reanchored := false
			ended := make(chan struct{})
			go func() {
				for range r.IntN(20) {
					select {
					case <-time.After(upTo(300 * ms)):
					case <-ended:
						return
					}
					switch r.IntN(8) {
					case 0, 1, 2:
						run.engine.Pause()
					case 3, 4:
						run.engine.Resume()
					case 5:
						run.engine.Reanchor(upTo(2*s) - s)
						reanchored = true
					case 6:
						run.engine.Stats()
					case 7:
						if r.IntN(4) == 0 {
							cancel()
						}
					}
				}
			}()
			outcome := run.do(ctx)
			close(ended)
			synctest.Wait()
			if p, open := plan.(every); open && outcome == Finished && !reanchored {
				due := (p.end + p.gap - 1) / p.gap
				for _, n := range run.dropped {
					due -= time.Duration(n)
				}
				if int(due) != run.started {
					t.Errorf("seed %d: %d started, want all that were due and not dropped: %d", seed, run.started, due)
				}
			}
		})
	}
}

// TestRealTime lets workers, loop and requests race on real processors, on the platform's waiter.
func TestRealTime(t *testing.T) {
	for _, c := range []struct {
		name string
		plan pace.Plan
	}{
		{"open", every{50 * time.Microsecond, 300 * ms}},
		{"closed", steps{{0, 50}, {100 * ms, 5}, {150 * ms, 70}, {200 * ms, 1}, {250 * ms, 60}, {300 * ms, 0}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, err := NewWaiter()
			if err != nil {
				t.Fatal(err)
			}
			r := newRun(t, c.plan, []act{{100 * time.Microsecond, time.Millisecond}, {ask: 50 * time.Microsecond}}, func(o *Options) {
				o.Waiter = w
			})
			stop := make(chan struct{})
			go func() {
				defer close(stop)
				for range 50 {
					r.engine.Pause()
					runtime.Gosched()
					r.engine.Resume()
					time.Sleep(5 * ms)
				}
			}()
			if got := r.do(t.Context()); got != Finished {
				t.Errorf("Run = %v, want finished", got)
			}
			<-stop
			if r.started == 0 {
				t.Error("nothing started")
			}
		})
	}
}

// TestMonth runs for a month of fake time, with -short for ten days, and looks for memory that grows with it.
func TestMonth(t *testing.T) {
	const day = 24 * time.Hour
	days := 30
	if testing.Short() {
		days = 10
	}
	length := time.Duration(days) * day
	for _, c := range []struct {
		name string
		plan pace.Plan
		acts []act
	}{
		{"open", every{2 * time.Minute, length}, []act{{s, 40 * time.Minute}, {ask: s}}},
		{"closed", laps{10 * time.Minute, length}, []act{{s, 3 * time.Minute}, {ask: s}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRun(t, c.plan, c.acts, nil)
				counts := &counter{}
				r.engine.o.Sink = counts
				var heap, goroutines []uint64
				go func() {
					for range days - 1 {
						time.Sleep(day)
						runtime.GC()
						var m runtime.MemStats
						runtime.ReadMemStats(&m)
						heap = append(heap, m.HeapAlloc)
						goroutines = append(goroutines, uint64(runtime.NumGoroutine()))
					}
				}()
				if got := r.engine.Run(t.Context()); got != Finished {
					t.Errorf("Run = %v, want finished", got)
				}
				if got, least := counts.ended.Load(), int64(days)*650; got < least {
					t.Errorf("%d iterations in %d days, want at least %d", got, days, least)
				}
				if first, last := heap[2], heap[days-2]; last > first+64<<10 {
					t.Errorf("heap after 3 days %d, after %d days %d", first, days-1, last)
				}
				if first, last := goroutines[2], goroutines[days-2]; last > first+2 {
					t.Errorf("goroutines after 3 days %d, after %d days %d", first, days-1, last)
				}
			})
		})
	}
}

// laps is a closed plan that goes between 1 and 8 VUs for as long as it lasts.
type laps struct{ length, end time.Duration }

func (p laps) At(t time.Duration) pace.Level {
	if t >= p.end {
		return pace.Level{Until: pace.Forever}
	}
	eighth := p.length / 8
	n := t / eighth
	return pace.Level{VUs: 1 + int(n%8), Until: min((n+1)*eighth, p.end)}
}

func (laps) End() pace.End { return pace.End{} }
