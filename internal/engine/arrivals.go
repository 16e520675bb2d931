package engine

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/pace"
)

// arrivals are the turns of an open plan.
type arrivals struct {
	*Engine
	plan pace.Open
	most int // seats

	free    stack[seat, *seat] // seats that no iteration has; some are vacant
	stalled time.Duration      // arrivals due by then were missed in a stall
	held    bool
	refusal atomic.Uint32 // why, while held
}

// catchUp is how far the loop may fall behind and still start all that became
// due. After a longer gap, which makes the measurement invalid anyway, it goes
// on from the present: the arrivals of the gap would come in a burst.
const catchUp = 100 * time.Millisecond

func (a *arrivals) run() {
	a.prepare()
	a.now, a.stalled = a.Now(), math.MinInt64
	a.follow(a.now)
	from := a.planTime(a.now)
	if from < catchUp {
		from = 0 // a run that just began misses none
	}
	for {
		v := a.give(from)
		if v == reached { // the plan has no arrival any more, but may have time left
			v = a.serve(pace.Forever)
		}
		if v == over {
			return
		}
		from = max(0, a.planTime(a.now))
	}
}

// give hands out the arrivals from a time of the plan on.
func (a *arrivals) give(from time.Duration) verdict {
	for at := range a.plan.Arrivals(from, a.o.Shard, a.o.Shards) {
		due := a.engineTime(at)
		if v := a.serve(due); v != reached {
			return v
		}
		if a.now-due > min(catchUp, a.o.MaxLateness) {
			a.stalled = a.now
		}
		a.arrive(due)
	}
	return reached
}

// prepare makes VUs before the first arrival. One that cannot be made is tried again with an arrival.
func (a *arrivals) prepare() {
	for range min(a.most, pace.Share(a.o.PreAllocated, a.o.Shard, a.o.Shards)) {
		s := a.seats.add()
		if a.make(s) {
			s.state.Store(free)
		}
		a.free.push(s)
	}
}

func (a *arrivals) arrive(due time.Duration) {
	switch {
	case a.held:
		a.drop(load.Reason(a.refusal.Load()))
		return
	case due <= a.stalled:
		a.drop(load.Late)
		return
	}
	s := a.free.pop()
	if s == nil && len(a.seats.all) < a.most {
		s = a.seats.add()
	}
	if s == nil {
		a.drop(a.blame())
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

// blame says whose doing it is that no VU is free (SEMANTICS section 2): the
// target's, unless most VUs are thinking.
func (a *arrivals) blame() load.Reason {
	if 2*len(a.asleep) > len(a.seats.all) {
		return load.VUCap
	}
	return load.NoFreeVU
}

func (a *arrivals) hold(why load.Reason) {
	a.held = true
	a.refusal.Store(uint32(why))
}

func (a *arrivals) release() { a.held = false }

func (a *arrivals) begin(s *seat, now time.Duration) bool {
	if now-s.due > a.o.MaxLateness {
		a.drop(load.Late)
		return a.leave(s)
	}
	a.start(s, now)
	return true
}

func (a *arrivals) next(s *seat, _ time.Duration) bool { return a.leave(s) }

// leave keeps the VU for another arrival, unless it was interrupted.
func (a *arrivals) leave(s *seat) bool {
	if s.move(active, free) {
		a.free.push(s)
		return false
	}
	return a.vacate(s)
}

func (a *arrivals) unopened(s *seat, made bool) bool {
	why := load.VUCap
	if made {
		why = load.Reason(a.refusal.Load())
	}
	a.drop(why)
	return a.vacate(s)
}

func (a *arrivals) vacated(s *seat) bool {
	a.free.push(s)
	return false
}

func (a *arrivals) wants(*seat) bool { return false }
func (a *arrivals) exhausted() bool  { return false }

func (a *arrivals) ask(int, time.Duration) {}
