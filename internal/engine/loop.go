package engine

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/pace"
)

// A loop is what the one goroutine that runs an engine knows. Only the atomics
// and the lock are for others.
type loop struct {
	now      time.Duration // as of the last look at the clock
	change   time.Duration // engine time at which the plan asks for something else
	paused   bool
	stopping bool          // no iteration starts any more
	graceEnd time.Duration // when what is under way after the stop is interrupted
	outcome  Outcome
	bounded  bool // by a number of iterations

	asleep wakes // seats that are thinking, waiting or missing
	leaves wakes // ends of ramp-downs' graces
	it     load.Iteration

	inbox stack[seat, *seat]
	// sleepUntil is when the sleeping loop wakes by itself, the lowest time while it is awake: a worker that
	// delivers an earlier wake pokes it.
	sleepUntil atomic.Int64
	// condemning is held from condemning a seat until its VU is interrupted.
	condemning sync.Mutex
	complaint  complaint
}

// orders are what other goroutines want of the loop.
type orders struct {
	stop, kill bool
	paused     bool
	shift      time.Duration
}

func (e *Engine) post(change func(*orders)) {
	e.mu.Lock()
	change(&e.orders)
	e.mu.Unlock()
	e.posted.Store(true)
	e.o.Waiter.Poke()
}

// run is the loop from its begin to the end of its last goroutine.
func (e *Engine) run() {
	e.graceEnd, e.change, e.spare, e.trimAt = pace.Forever, pace.Forever, math.MaxInt64, e.Now()+trimEvery
	e.source.run()
	for _, s := range e.seats.all {
		if s.move(free, vacant) {
			s.vu.Close()
			s.vu = nil
		}
	}
	e.dismiss(e.workers)
	e.running.Wait()
}

// A verdict says why serve returned.
type verdict uint8

const (
	reached verdict = iota // the time has come
	moved                  // the plan's time jumped: the source looks again where it is
	over                   // the run is over, and nothing is under way
)

// serve does everything but giving turns, until an engine time.
func (e *Engine) serve(until time.Duration) verdict {
	for {
		e.now = e.Now()
		jumped := e.obey()
		e.collect()
		e.expire()
		e.wakeUp()
		e.trim()
		if e.empty() {
			if e.stopping {
				return over
			}
			if e.source.exhausted() {
				e.stop(Finished, e.now)
				return over
			}
		}
		switch {
		case jumped:
			return moved
		case e.now >= until:
			return reached
		}
		e.sleep(until)
	}
}

// obey carries out orders, and says whether the plan's time jumped.
func (e *Engine) obey() (jumped bool) {
	if !e.posted.Load() {
		return false
	}
	e.posted.Store(false)
	e.mu.Lock()
	o := e.orders
	e.orders.shift = 0
	e.mu.Unlock()

	if o.stop {
		e.stop(Canceled, e.now)
	}
	if o.kill {
		e.stop(Killed, e.now)
		e.outcome, e.graceEnd = Killed, min(e.graceEnd, e.now)
	}
	if o.paused != e.paused && !e.stopping {
		e.paused = o.paused
		if e.paused {
			e.source.hold(load.Paused)
			e.condemnAll()
		} else {
			e.source.release()
		}
	}
	if o.shift != 0 {
		e.offset.Add(int64(o.shift))
		e.follow(e.now)
		return true
	}
	return false
}

// planTime and engineTime translate times.
func (e *Engine) planTime(t time.Duration) time.Duration { return t + time.Duration(e.offset.Load()) }

func (e *Engine) engineTime(t time.Duration) time.Duration {
	offset := time.Duration(e.offset.Load())
	if t == pace.Forever || offset < 0 && t > pace.Forever+offset {
		return pace.Forever
	}
	return t - offset
}

// follow does what the plan asks for at a time that has come.
func (e *Engine) follow(at time.Duration) {
	level := e.level(at)
	e.change = e.engineTime(level.Until)
	if level.Until == pace.Forever && level.Rate == 0 && level.VUs == 0 {
		e.stop(Finished, at)
	}
	e.source.ask(pace.Share(level.VUs, e.o.Shard, e.o.Shards), at)
}

// stop begins the end of the run at a time that has come: no turn any more, and a grace for what is under way.
func (e *Engine) stop(why Outcome, at time.Duration) {
	if e.stopping {
		return
	}
	e.stopping, e.outcome, e.graceEnd = true, why, at+e.o.GracefulStop
	e.source.hold(load.Shutdown)
	asleep := e.asleep
	e.asleep = nil
	for _, w := range asleep {
		if e.seats.all[w.seat].is(thinking) {
			e.asleep.push(w)
		} else {
			e.cut(e.seats.all[w.seat])
		}
	}
}

// collect takes the seats that workers delivered.
func (e *Engine) collect() {
	for s := e.inbox.take(); s != nil; {
		next := s.next
		if s.is(thinking) || !s.is(condemned) && e.source.wants(s) {
			e.asleep.push(wake{s.wake, s.index})
		} else {
			e.cut(s)
		}
		s = next
	}
}

// wakeUp gives a worker to each seat whose wake time has come.
func (e *Engine) wakeUp() {
	for e.asleep.next() <= e.now {
		s := e.seats.all[e.asleep.pop()]
		switch s.state.Load() {
		case thinking:
			s.state.Store(active)
		case waiting:
			s.due = s.wake
			s.state.Store(active)
		case missing:
			s.due = s.wake
			s.state.Store(opening)
		}
		e.dispatch(s)
	}
}

// expire follows the plan's changes and acts on graces that are over.
func (e *Engine) expire() {
	for e.change <= e.now {
		e.follow(e.change)
	}
	for e.leaves.next() <= e.now {
		s := e.seats.all[e.leaves.pop()]
		if s.leave != 0 && s.leave <= e.now {
			s.leave = 0
			e.condemn(s)
		}
	}
	if e.now >= e.graceEnd {
		e.graceEnd = pace.Forever
		e.condemnAll()
	}
}

// condemnAll interrupts every iteration under way.
func (e *Engine) condemnAll() {
	asleep := e.asleep
	e.asleep = nil
	for _, w := range asleep {
		e.cut(e.seats.all[w.seat])
	}
	for _, s := range e.seats.all {
		e.condemn(s)
	}
}

// condemn ends what happens on a seat. Where a worker has it, or it is in the
// inbox, its VU is interrupted and vacates it later.
func (e *Engine) condemn(s *seat) {
	for {
		state := s.state.Load()
		switch state {
		case vacant, free, condemned:
			return
		case thinking, waiting, missing:
			if e.asleep.remove(s.index) {
				e.cut(s)
				return
			}
		}
		e.condemning.Lock()
		done := s.move(state, condemned)
		if done && state != opening && state != missing {
			s.vu.Interrupt()
		}
		e.condemning.Unlock()
		if done {
			return
		}
	}
}

// cut vacates a seat that no worker has and that is neither asleep nor in the inbox.
func (e *Engine) cut(s *seat) {
	if s.begun {
		s.vu.Interrupt()
		e.report(s, e.Now(), &e.it, true)
	}
	if e.vacate(s) {
		e.dispatch(s)
	}
}

// empty says whether nothing is under way.
func (e *Engine) empty() bool {
	return e.inFlight() == 0 && len(e.asleep) == 0 && e.inbox.head.Load() == nil
}

// sleep waits until there is something to do, at the latest until an engine time.
func (e *Engine) sleep(until time.Duration) {
	until = min(until, e.asleep.next(), e.leaves.next(), e.graceEnd, e.change)
	if e.workers > 0 {
		until = min(until, e.trimAt)
	}
	// Workers look at what is stored here after they did what the loop looks at below: one of the two sees the other.
	awaited := e.stopping || e.bounded
	if awaited {
		e.expect.Store(e.dispatched)
	}
	e.sleepUntil.Store(int64(until))
	if !e.posted.Load() && e.inbox.head.Load() == nil && (!awaited || !e.empty()) {
		var at time.Time
		if until != pace.Forever {
			at = e.zero.Add(until)
		}
		e.o.Waiter.Wait(at)
	}
	e.sleepUntil.Store(math.MinInt64)
	e.expect.Store(-1)
}
