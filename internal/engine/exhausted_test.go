package engine

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/pace"
)

// TestARunEndsWhereNothingIsLeft lets virtual users run out of what they do, at once and in mid-run.
func TestARunEndsWhereNothingIsLeft(t *testing.T) {
	for _, c := range []struct {
		name string
		plan pace.Plan
		acts []act
		left int64
		took time.Duration
	}{
		{"open", every{100 * ms, time.Hour}, []act{{ask: 250 * ms}}, 7, 850 * ms},
		{"open, with nothing from the start", every{100 * ms, time.Hour}, []act{{ask: 250 * ms}}, 0, 0},
		{"open, thinking", every{10 * ms, time.Hour}, []act{{ask: 5 * ms, think: s}, {ask: ms}}, 20, 190*ms + 1006*ms},
		{"closed", steps{{0, 3}, {time.Hour, 0}}, []act{{ask: 100 * ms}}, 10, 400 * ms},
		{"closed, more users than iterations", steps{{0, 50}, {time.Hour, 0}}, []act{{ask: 100 * ms}}, 10, 100 * ms},
		{"closed, with a bound that is not reached", bounded{steps{{0, 3}, {time.Hour, 0}}, 1000, 0}, []act{{ask: 100 * ms}}, 9, 300 * ms},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRun(t, c.plan, c.acts, nil)
				r.left = new(atomic.Int64)
				r.left.Store(c.left)
				began := time.Now()
				if o := r.do(context.Background()); o != Exhausted {
					t.Errorf("the run ended %v, want %v", o, Exhausted)
				}
				if took := time.Since(began); took != c.took {
					t.Errorf("it took %v, want %v", took, c.took)
				}
				if n := int64(len(r.iterations)); n != c.left {
					t.Errorf("%d iterations, want %d", n, c.left)
				}
				for _, it := range r.iterations {
					if it.Outcome != load.Completed {
						t.Errorf("an iteration under way when nothing was left ended %v", it.Outcome)
					}
				}
				if n := r.made.Load(); n > 50 {
					t.Errorf("%d virtual users were made", n)
				}
			})
		})
	}
}
