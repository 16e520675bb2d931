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

// A worker is a goroutine that is lent to one seat at a time, for as long as its
// VU is active.
type worker struct {
	e    *Engine
	next *worker    // in the stack of idle ones
	hand chan *seat // holds one; nil ends the worker
	it   load.Iteration
}

func (w *worker) link() **worker { return &w.next }

// A lend keeps account of the workers.
type lend struct {
	idle stack[worker, *worker]

	// returned counts stretches that ended; when it reaches expect, the loop is poked.
	returned atomic.Int64
	expect   atomic.Int64
	_        [64 - 16]byte

	// The loop's.
	dispatched int64 // stretches that started
	workers    int64
	spare      int64 // fewest idle workers seen since the last trim
	trimAt     time.Duration

	running sync.WaitGroup
}

// trimEvery is how often workers that were idle all the while are let go.
const trimEvery = 10 * time.Second

// spawnsAtOnce is how many goroutines are started before those that are ready
// get to run: a thousand VUs that begin together, and think at once, then need
// few goroutines.
const spawnsAtOnce = 64

// dispatch lends a worker to a seat. It is the loop's, and does not block.
func (e *Engine) dispatch(s *seat) {
	e.dispatched++
	if w := e.idle.pop(); w != nil {
		w.hand <- s
		return
	}
	w := &worker{e: e, hand: make(chan *seat, 1)}
	e.workers++
	e.running.Go(func() { w.run(s) })
	if e.workers%spawnsAtOnce == 0 {
		runtime.Gosched()
	}
}

// inFlight is the number of seats that workers have.
func (e *Engine) inFlight() int64 { return e.dispatched - e.returned.Load() }

// trim lets workers go that were not needed since it last did.
func (e *Engine) trim() {
	e.spare = min(e.spare, e.workers-e.inFlight())
	if e.now < e.trimAt {
		return
	}
	e.dismiss(e.spare)
	e.spare, e.trimAt = math.MaxInt64, e.now+trimEvery
}

// dismiss ends as many idle workers, if there are.
func (e *Engine) dismiss(n int64) {
	for ; n > 0; n-- {
		w := e.idle.pop()
		if w == nil {
			return
		}
		w.hand <- nil
		e.workers--
	}
}

func (w *worker) run(s *seat) {
	for ; s != nil; s = <-w.hand {
		w.stretch(s)
		w.e.idle.push(w)
		if w.e.returned.Add(1) == w.e.expect.Load() {
			w.e.o.Waiter.Poke()
		}
	}
}

// stretch runs the VU of a seat, iteration after iteration, until the seat is given away.
func (w *worker) stretch(s *seat) {
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

// open gives a seat its VU. It returns false after it gave the seat away.
func (e *Engine) open(s *seat) bool {
	made := e.make(s)
	if made && s.move(opening, active) {
		return true
	}
	return e.source.unopened(s, made)
}

// make makes the VU of a seat.
func (e *Engine) make(s *seat) bool {
	vu, err := e.o.NewVU(s.index)
	if err != nil {
		e.complaint.log(e.o.Log, "a virtual user cannot be made", err)
		return false
	}
	s.vu = vu
	return true
}

// start begins an iteration.
func (e *Engine) start(s *seat, now time.Duration) {
	s.start, s.begun = now, true
	s.started.Add(1)
	e.o.Sink.Started(s.index)
	s.vu.Begin(s.due)
}

// rest brings a seat from one state to another, in which the loop keeps it until a time. A seat that was condemned
// comes to the loop as it is.
func (e *Engine) rest(s *seat, from, to uint32, wake time.Duration) {
	s.wake = wake
	s.move(from, to)
	e.inbox.push(s)
	if wake < time.Duration(e.sleepUntil.Load()) || s.is(condemned) {
		e.o.Waiter.Poke()
	}
}

// report tells the sink of an iteration that ended or was cut off. It is the seat's owner's, who lends it.
func (e *Engine) report(s *seat, end time.Duration, it *load.Iteration, cutOff bool) {
	*it = load.Iteration{VU: s.index, Due: int64(s.due), Start: int64(s.start), End: int64(end)}
	r, tells := s.vu.(Reporter)
	if tells {
		it.Outcome, it.Trace = r.Outcome()
	}
	if cutOff || !tells && s.is(condemned) {
		it.Outcome = load.Interrupted
	}
	s.begun = false
	e.o.Sink.Iteration(it)
}

// vacate closes the VU of a seat that is the caller's. It returns true where the
// seat is wanted again, and the caller's still, in state opening.
func (e *Engine) vacate(s *seat) bool {
	// Whoever condemns a seat holds the lock until its VU is interrupted: Close comes after Interrupt.
	e.condemning.Lock()
	e.condemning.Unlock() //nolint:staticcheck // an empty section is the point: it waits for the holder
	if s.vu != nil {
		s.vu.Close()
		s.vu = nil
	}
	s.state.Store(vacant)
	return e.source.vacated(s)
}

// A complaint logs one of a kind a minute.
type complaint struct{ next atomic.Int64 }

func (c *complaint) log(l *slog.Logger, what string, err error) {
	now := time.Now().UnixNano()
	next := c.next.Load()
	if now >= next && c.next.CompareAndSwap(next, now+int64(time.Minute)) {
		l.Error("engine: "+what, "err", err) //nolint:sloglint // the callers pass constants
	}
}
