package engine

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/pace"
)

// An openSource gives the turns of the open model: one for each arrival of the plan.
type openSource struct {
	*Engine
	plan pace.Open
	most int // bound of the number of slots

	free    stack[slot, *slot] // slots without an iteration; some are vacant
	stalled time.Duration      // arrivals that were due by then were missed in a stall
	given   time.Duration      // the plan's time of the last arrival
	held    bool               // arrivals are dropped
	refusal atomic.Uint32      // the load.Reason, while held
}

// catchUp is how far the loop may fall behind and still start every arrival that
// became due. After a longer gap, which makes the measurement invalid anyway, the
// arrivals of the gap are dropped: they would come in a burst.
const catchUp = 100 * time.Millisecond

func (a *openSource) run() {
	a.prepare()
	a.now, a.stalled = a.Now(), math.MinInt64
	a.follow(a.now)
	from := a.planTime(a.now)
	if from < catchUp {
		from = 0 // a run that has just begun misses no arrival
	}
	for {
		offset := a.offset.Load()
		a.given = from - 1
		v := a.give(from)
		if v == reached { // the plan has no further arrival, but may have time left
			v = a.serve(pace.Forever)
		}
		if v == over {
			return
		}
		from = a.planTime(a.now)
		if a.offset.Load() == offset { // the plan was refreshed: arrivals that are due go on where they were
			from = max(a.given+1, from-catchUp)
		}
		from = max(0, from)
	}
}

// give starts the arrivals at or after a time of the plan.
func (a *openSource) give(from time.Duration) served {
	for at := range a.plan.Arrivals(from, a.o.Shard, a.o.Shards) {
		due := a.engineTime(at)
		if v := a.serve(due); v != reached {
			return v
		}
		a.given = at
		if a.now-due > min(catchUp, a.o.MaxLateness) {
			a.stalled = a.now
		}
		a.arrive(due)
	}
	return reached
}

// prepare makes VUs before the first arrival. An arrival tries again to make one that could not be made.
func (a *openSource) prepare() {
	for range min(a.most, pace.Share(a.o.PreAllocated, a.o.Shard, a.o.Shards)) {
		s := a.slots.add()
		if a.make(s) {
			s.state.Store(free)
		}
		a.free.push(s)
	}
}

func (a *openSource) arrive(due time.Duration) {
	switch {
	case a.held:
		a.drop(load.Reason(a.refusal.Load()))
		return
	case due <= a.stalled:
		a.drop(load.Late)
		return
	}
	s := a.free.pop()
	if s == nil && len(a.slots.all) < a.most {
		s = a.slots.add()
	}
	if s == nil {
		a.drop(a.dropReason())
		return
	}
	if a.o.Admit != nil {
		if why, ok := a.o.Admit(a.now); !ok {
			a.free.push(s)
			a.drop(why)
			return
		}
	}
	s.due = due
	if s.vu == nil {
		s.state.Store(opening)
	} else {
		s.state.Store(active)
	}
	a.dispatch(s)
}

// dropReason is the reason of a drop for want of a free VU (SEMANTICS section 2):
// the target is too slow, unless most VUs are thinking.
func (a *openSource) dropReason() load.Reason {
	if 2*len(a.asleep) > len(a.slots.all) {
		return load.VUCap
	}
	return load.NoFreeVU
}

func (a *openSource) hold(why load.Reason) {
	a.held = true
	a.refusal.Store(uint32(why))
}

func (a *openSource) release() { a.held = false }

func (a *openSource) begin(s *slot, now time.Duration) bool {
	if now-s.due > a.o.MaxLateness {
		a.drop(load.Late)
		return a.leave(s)
	}
	return a.start(s, now) || a.leave(s)
}

func (a *openSource) next(s *slot, _ time.Duration) bool { return a.leave(s) }

// leave keeps the VU for another arrival, unless it was interrupted.
func (a *openSource) leave(s *slot) bool {
	letRest(s.vu)
	if s.move(active, free) {
		a.free.push(s)
		return false
	}
	return a.vacate(s)
}

func (a *openSource) unopened(s *slot, made bool) bool {
	why := load.VUCap
	if made {
		why = load.Reason(a.refusal.Load())
	}
	a.drop(why)
	return a.vacate(s)
}

func (a *openSource) vacated(s *slot) bool {
	a.free.push(s)
	return false
}

func (a *openSource) wants(*slot) bool { return false }
func (a *openSource) exhausted() bool  { return false }
func (a *openSource) settle()          {}

func (a *openSource) ask(int, time.Duration) {}
