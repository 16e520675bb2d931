package engine

import (
	"log/slog"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perfd/perfd/internal/load"
)

// A worker is a goroutine that serves one slot at a time, for as long as the
// slot's VU is active.
type worker struct {
	e    *Engine
	next *worker    // in the stack of idle ones
	work chan *slot // of capacity 1; nil ends the worker
	it   load.Iteration
}

func (w *worker) link() **worker { return &w.next }

// A pool holds the workers and counts them.
type pool struct {
	idle stack[worker, *worker]

	// returned counts activations that ended; when it reaches expect, the loop is poked.
	returned atomic.Int64
	expect   atomic.Int64
	_        [64 - 16]byte

	// Only the loop uses the fields below.
	dispatched int64 // activations that started
	workers    int64
	spare      int64 // fewest idle workers seen since the last trim
	trimAt     time.Duration

	running sync.WaitGroup
}

// trimEvery is how often workers end that were idle since the last time.
const trimEvery = 10 * time.Second

// spawnsAtOnce is how many goroutines are started before the loop yields to those
// that are ready, so that a thousand VUs that begin together and think at once
// need few goroutines.
const spawnsAtOnce = 64

// dispatch hands a slot to a worker. Only the loop calls it, and it does not block.
func (e *Engine) dispatch(s *slot) {
	e.dispatched++
	if w := e.idle.pop(); w != nil {
		w.work <- s
		return
	}
	w := &worker{e: e, work: make(chan *slot, 1)}
	e.workers++
	e.running.Go(func() { w.run(s) })
	if e.workers%spawnsAtOnce == 0 {
		runtime.Gosched()
	}
}

// inFlight is the number of slots that workers have.
func (e *Engine) inFlight() int64 { return e.dispatched - e.returned.Load() }

// trim ends the workers that were not needed since it last did so.
func (e *Engine) trim() {
	e.spare = min(e.spare, e.workers-e.inFlight())
	if e.now < e.trimAt {
		return
	}
	e.dismiss(e.spare)
	e.spare, e.trimAt = math.MaxInt64, e.now+trimEvery
}

// dismiss ends up to n idle workers.
func (e *Engine) dismiss(n int64) {
	for ; n > 0; n-- {
		w := e.idle.pop()
		if w == nil {
			return
		}
		w.work <- nil
		e.workers--
	}
}

func (w *worker) run(s *slot) {
	for ; s != nil; s = <-w.work {
		w.activate(s)
		w.e.idle.push(w)
		if w.e.returned.Add(1) == w.e.expect.Load() {
			w.e.o.Waiter.Poke()
		}
	}
}

// activate runs the VU of a slot, iteration after iteration, until another goroutine owns the slot.
func (w *worker) activate(s *slot) {
	e := w.e
	now := e.Now()
	for mine := true; mine; {
		switch {
		case s.vu == nil:
			mine = e.open(s)
			now = e.Now()
		case !s.begun:
			mine = e.source.begin(s, now)
		default:
			wake, done := s.vu.Go()
			if !done {
				e.rest(s, active, thinking, wake)
				return
			}
			now = e.Now()
			e.report(s, now, &w.it, false)
			mine = e.source.next(s, now)
		}
	}
}

// open makes the VU of a slot. It returns false where the caller does not own the slot any more.
func (e *Engine) open(s *slot) bool {
	made := e.make(s)
	if made && s.move(opening, active) {
		return true
	}
	return e.source.unopened(s, made)
}

// make makes the VU of a slot that the caller owns, and reports whether it could.
func (e *Engine) make(s *slot) bool {
	vu, err := e.o.NewVU(s.index)
	if err != nil {
		e.limitedLog.log(e.o.Log, "a virtual user cannot be made", err)
		return false
	}
	s.vu = vu
	return true
}

// start begins an iteration whose due time is set. It returns false, and has the run end, where there is nothing
// left to do.
func (e *Engine) start(s *slot, now time.Duration) bool {
	if !s.vu.Begin(s.due) {
		if !e.nothingLeft.Swap(true) {
			e.post(func(r *requests) { r.exhausted = true })
		}
		return false
	}
	s.start, s.begun = now, true
	s.started.Add(1)
	e.o.Sink.Started(s.index)
	return true
}

// rest changes a slot's state from one to another, in which the loop keeps it until the engine time wake, and gives
// the slot to the loop. A slot that was interrupted keeps its state.
func (e *Engine) rest(s *slot, from, to uint32, wake time.Duration) {
	s.wake = wake
	s.move(from, to)
	e.inbox.push(s)
	if wake < time.Duration(e.sleepUntil.Load()) || s.is(interrupted) {
		e.o.Waiter.Poke()
	}
}

// report reports an iteration that ended, or was cut off, to the sink. The owner of the slot calls it, with an
// iteration of its own to fill.
func (e *Engine) report(s *slot, end time.Duration, it *load.Iteration, cutOff bool) {
	*it = load.Iteration{VU: s.index, Due: int64(s.due), Start: int64(s.start), End: int64(end)}
	r, ok := s.vu.(Reporter)
	if ok {
		it.Outcome, it.Trace = r.Outcome(cutOff)
	} else if cutOff || s.is(interrupted) {
		it.Outcome = load.Interrupted
	}
	s.begun = false
	e.o.Sink.Iteration(it)
}

// vacate closes the VU of a slot that the caller owns. It returns true where the
// slot is needed again: the caller then still owns it, in state opening.
func (e *Engine) vacate(s *slot) bool {
	// interrupt holds the lock until the slot's VU is interrupted, so that Close comes after Interrupt.
	e.interrupting.Lock()
	e.interrupting.Unlock() //nolint:staticcheck // an empty section is the point: it waits for the holder
	if s.vu != nil {
		s.vu.Close()
		s.vu = nil
	}
	s.state.Store(vacant)
	return e.source.vacated(s)
}

// A limitedLog writes at most one message a minute.
type limitedLog struct{ next atomic.Int64 }

func (c *limitedLog) log(l *slog.Logger, what string, err error) {
	now := time.Now().UnixNano()
	next := c.next.Load()
	if now >= next && c.next.CompareAndSwap(next, now+int64(time.Minute)) {
		l.Error("engine: "+what, "err", err) //nolint:sloglint // the callers pass constants
	}
}
