package engine

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/pace"
)

// A loop is the state of the one goroutine that runs an engine. Other goroutines
// use only its atomics and its lock.
type loop struct {
	now      time.Duration // as of the last look at the clock
	change   time.Duration // engine time of the plan's next change
	paused   bool
	stopping bool          // no further iteration starts
	graceEnd time.Duration // when iterations that are under way after the stop are interrupted
	outcome  Outcome
	bounded  bool // a number of iterations may end the run

	nothingLeft atomic.Bool // a VU did not begin an iteration: none begins from then on

	asleep    wakes // slots that are thinking, waiting or missing
	rampDowns wakes // when the graces of ramp-downs end
	it        load.Iteration

	inbox stack[slot, *slot]
	// sleepUntil is when the sleeping loop wakes by itself, and the lowest time while it is awake. A worker that
	// delivers an earlier wake pokes the loop.
	sleepUntil atomic.Int64
	// interrupting is held from the change of a slot's state to interrupted until its VU was interrupted.
	interrupting sync.Mutex
	limitedLog   limitedLog
}

// requests are what other goroutines ask the loop to do.
type requests struct {
	stop, kill bool
	exhausted  bool
	paused     bool
	shift      time.Duration
	refresh    bool
}

func (e *Engine) post(change func(*requests)) {
	e.mu.Lock()
	change(&e.requests)
	e.mu.Unlock()
	e.posted.Store(true)
	e.o.Waiter.Poke()
}

// run runs the loop until the run is over and every worker has ended.
func (e *Engine) run() {
	e.graceEnd, e.change, e.spare, e.trimAt = pace.Forever, pace.Forever, math.MaxInt64, e.Now()+trimEvery
	e.source.run()
	for _, s := range e.slots.all {
		if s.move(free, vacant) {
			s.vu.Close()
			s.vu = nil
		}
	}
	e.dismiss(e.workers)
	e.running.Wait()
}

// A served says why serve returned.
type served uint8

const (
	reached served = iota // the time was reached
	moved                 // the plan's time jumped, or the plan was refreshed: the source must find its position again
	over                  // the run is over, and nothing is under way
)

// serve does everything except giving turns, until an engine time.
func (e *Engine) serve(until time.Duration) served {
	for {
		e.now = e.Now()
		jumped := e.apply()
		e.collect()
		e.expire()
		e.wakeUp()
		e.trim()
		if e.bounded && e.inFlight() == 0 && len(e.asleep) > 0 {
			e.source.settle()
		}
		idle := e.empty()
		if idle {
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
		e.sleep(until, idle)
	}
}

// apply carries out the requests and reports whether the plan's time jumped, or it was refreshed.
func (e *Engine) apply() (jumped bool) {
	if !e.posted.Load() {
		return false
	}
	e.posted.Store(false)
	e.mu.Lock()
	o := e.requests
	e.requests.shift, e.requests.refresh = 0, false
	e.mu.Unlock()

	if o.exhausted {
		e.stop(Exhausted, e.now)
	}
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
			e.interruptAll()
		} else {
			e.source.release()
		}
	}
	if o.shift != 0 || o.refresh {
		e.offset.Add(int64(o.shift))
		e.follow(e.now)
		return true
	}
	return false
}

// planTime converts an engine time into a time of the plan, engineTime the reverse.
func (e *Engine) planTime(t time.Duration) time.Duration { return t + time.Duration(e.offset.Load()) }

func (e *Engine) engineTime(t time.Duration) time.Duration {
	offset := time.Duration(e.offset.Load())
	if t == pace.Forever || offset < 0 && t > pace.Forever+offset {
		return pace.Forever
	}
	return t - offset
}

// follow applies the plan's level at an engine time that was reached.
func (e *Engine) follow(at time.Duration) {
	level := e.level(at)
	e.change = e.engineTime(level.Until)
	if ended(level) {
		e.stop(Finished, at)
	}
	e.source.ask(pace.Share(level.VUs, e.o.Shard, e.o.Shards), at)
}

// ended reports whether a level is that after the end of a plan.
func ended(l pace.Level) bool { return l.Until == pace.Forever && l.Rate == 0 && l.VUs == 0 }

// stop begins the end of the run at an engine time that was reached: no further turn is given, and iterations
// under way have a grace.
func (e *Engine) stop(why Outcome, at time.Duration) {
	if e.stopping {
		return
	}
	e.stopping, e.outcome, e.graceEnd = true, why, at+e.o.GracefulStop
	e.source.hold(load.Shutdown)
	asleep := e.asleep
	e.asleep = nil
	for _, w := range asleep {
		if e.slots.all[w.slot].is(thinking) {
			e.asleep.push(w)
		} else {
			e.evict(e.slots.all[w.slot])
		}
	}
}

// collect takes the slots that workers delivered.
func (e *Engine) collect() {
	for s := e.inbox.take(); s != nil; {
		next := s.next
		if s.is(thinking) || !s.is(interrupted) && e.source.wants(s) {
			e.asleep.push(wake{s.wake, s.index})
		} else {
			e.evict(s)
		}
		s = next
	}
}

// wakeUp gives a worker to each slot whose wake time was reached.
func (e *Engine) wakeUp() {
	for e.asleep.next() <= e.now {
		s := e.slots.all[e.asleep.pop()]
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
	for e.rampDowns.next() <= e.now {
		s := e.slots.all[e.rampDowns.pop()]
		if s.leave != 0 && s.leave <= e.now {
			s.leave = 0
			e.interrupt(s)
		}
	}
	if e.now >= e.graceEnd {
		e.graceEnd = pace.Forever
		e.interruptAll()
	}
}

// interruptAll interrupts every iteration under way.
func (e *Engine) interruptAll() {
	asleep := e.asleep
	e.asleep = nil
	for _, w := range asleep {
		e.evict(e.slots.all[w.slot])
	}
	for _, s := range e.slots.all {
		e.interrupt(s)
	}
}

// interrupt ends the iteration of a slot. Where a worker has the slot, or it is in
// the inbox, its VU is interrupted and the slot is vacated later.
func (e *Engine) interrupt(s *slot) {
	for {
		state := s.state.Load()
		switch state {
		case vacant, free, interrupted:
			return
		case thinking, waiting, missing:
			if e.asleep.remove(s.index) {
				e.evict(s)
				return
			}
		}
		e.interrupting.Lock()
		done := s.move(state, interrupted)
		if done && state != opening && state != missing {
			s.vu.Interrupt()
		}
		e.interrupting.Unlock()
		if done {
			return
		}
	}
}

// evict vacates a slot that no worker has and that is neither asleep nor in the inbox.
func (e *Engine) evict(s *slot) {
	if s.begun {
		s.vu.Interrupt()
		e.report(s, e.Now(), &e.it, true)
	}
	if e.vacate(s) {
		e.dispatch(s)
	}
}

// empty reports whether nothing is under way.
func (e *Engine) empty() bool {
	return e.inFlight() == 0 && len(e.asleep) == 0 && e.inbox.head.Load() == nil
}

// sleep waits until there is something to do, at the latest until an engine time. While
// the engine is idle, which it was found to be, only time and requests change anything.
func (e *Engine) sleep(until time.Duration, idle bool) {
	until = min(until, e.asleep.next(), e.rampDowns.next(), e.graceEnd, e.change)
	if e.workers > 0 {
		until = min(until, e.trimAt)
	}
	// A worker reads what is stored here after it changed what the loop reads below, so that one of the two sees
	// the other.
	awaited := e.stopping || e.bounded
	if awaited {
		e.expect.Store(e.dispatched)
	}
	e.sleepUntil.Store(int64(until))
	if !e.posted.Load() && e.inbox.head.Load() == nil && (!awaited || idle || !e.empty()) {
		var at time.Time
		if until != pace.Forever {
			at = e.zero.Add(until)
		}
		e.o.Waiter.Wait(at)
	}
	e.sleepUntil.Store(math.MinInt64)
	e.expect.Store(-1)
}
