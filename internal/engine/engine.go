// Package engine performs one run: it takes turns from a plan, gives each to a
// free virtual user (VU), and reports the iteration to a sink.
//
//	plan ──turn──► loop ──slot──► worker ──Begin, Go──► VU
//	                 ▲              │  │
//	                 └─wake, free───┘  └─iteration──► sink
//
// One loop serves both models of load. In the open model the plan has due times,
// whatever the target does, and an arrival that finds no free virtual user is
// dropped with a reason that says whose fault it is (SEMANTICS section 2). In the
// closed model the plan has a number of virtual users, and each takes its next
// turn when its last iteration ends.
//
// Virtual users are not goroutines. A slot is the place of one: its VU returns a
// wake time instead of sleeping, and has a worker goroutine only while it is active.
//
// The package knows nothing of flows, protocols, schedules or configuration.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/pace"
)

// A VU is one virtual user. The engine calls Begin, Go and Close one after
// another, from changing goroutines, and Interrupt at any time between NewVU and
// Close.
type VU interface {
	// Begin starts an iteration that was due at a time since the engine's zero. It returns false, and starts none,
	// where virtual users have nothing left to do; the run ends then. It does not wait for the system under load.
	Begin(due time.Duration) bool
	// Go performs the iteration until it is done, or until it pauses. It then returns the time, since the engine's
	// zero, at which Go is to be called again. It blocks only inside requests.
	Go() (wake time.Duration, done bool)
	// Interrupt makes a Go that blocks, or is called afterwards, return soon. After it only Close is called.
	Interrupt()
	// Close frees what the VU holds.
	Close()
}

// A Rester is a VU that is told when it has nothing to do until its next iteration begins.
type Rester interface{ Rest() }

// letRest tells a VU that it has nothing to do for now.
func letRest(v VU) {
	if r, ok := v.(Rester); ok {
		r.Rest()
	}
}

// A Reporter is a VU that knows how its iteration ended. Without it every
// iteration that was not interrupted counts as completed.
type Reporter interface {
	// Outcome returns the outcome and the trace of the iteration that ended last. One that
	// was cut off while it waited is interrupted, unless nothing was left of it but the wait.
	Outcome(cutOff bool) (load.Outcome, load.TraceID)
}

// A Sink receives what a run does. Any number of goroutines call its methods, which
// must not block and must not keep their arguments.
type Sink interface {
	// Started counts an iteration that starts on the VU of an id.
	Started(vu int)
	// Iteration reports an iteration that ended; its lateness is Start − Due.
	Iteration(*load.Iteration)
	// Drop counts arrivals of the open model that did not become iterations.
	Drop(load.Reason, uint64)
}

// Options are what New needs. Numbers of VUs are totals over all shards.
type Options struct {
	Plan pace.Plan // required
	// NewVU makes a virtual user; several goroutines may call it at once. The ids of a shard count from 0, and
	// one is used again only after its VU was closed. It is required.
	NewVU func(id int) (VU, error)
	Sink  Sink // required
	// Start is the instant of the plan's zero. It may be months in the past, or in the future.
	Start time.Time

	MaxVUs       int // of an open plan
	PreAllocated int // VUs of an open plan that are made before its first arrival

	GracefulStop     time.Duration // how long running iterations may go on after the end
	GracefulRampDown time.Duration // how long an iteration may go on after the plan took its VU away
	// StartOver is over how long so many VUs begin that the plan asks for at the same instant; nil is at once.
	StartOver   func(n int) time.Duration
	MaxLateness time.Duration // an arrival of an open plan is never started later than this (default 1s)

	Shard, Shards int // 0 ≤ Shard < Shards; 0 shards is one

	// Admit is called before each iteration starts, by any number of goroutines, and reports whether it may; nil
	// admits all. An arrival of an open plan that is refused is dropped with the reason. A VU of a closed plan that
	// is refused waits for as long as its last iteration took, 100 ms to 10 s, before Admit is called again, so that
	// refusing a share of the turns takes the same share of the load away.
	Admit func(now time.Duration) (load.Reason, bool)

	Waiter Waiter       // Run closes it; nil waits with Go's timers
	Log    *slog.Logger // nil discards
}

// An Outcome says why a run ended.
type Outcome uint8

// The outcomes.
const (
	Finished  Outcome = iota // the plan reached its end
	Exhausted                // virtual users had nothing left to do
	Canceled                 // Run's context ended
	Killed                   // Kill was called
)

// String returns the outcome in one word.
func (o Outcome) String() string {
	switch o {
	case Finished:
		return "finished"
	case Exhausted:
		return "exhausted"
	case Canceled:
		return "canceled"
	}
	return "killed"
}

// Stats are what a run does at one instant, on this shard alone.
type Stats struct {
	VUs      int // that exist
	Busy     int // of VUs, in an iteration
	Thinking int // of Busy, waiting for their wake time instead of an answer

	PlannedRate float64 // iterations per second, of open plans
	PlannedVUs  int     // of closed plans

	Started uint64                  // iterations since the run began
	Dropped [load.NumReasons]uint64 // arrivals since the run began, by reason
}

// An Engine performs one run. Any goroutine may call its methods.
type Engine struct {
	o    Options
	zero time.Time
	// offset is the plan's time at the engine's zero. Only the loop writes it.
	offset atomic.Int64

	source source
	slots  slots

	dropped [load.NumReasons]atomic.Uint64

	mu       sync.Mutex
	requests requests
	posted   atomic.Bool // requests changed

	loop
	pool
}

// A source gives turns. It is all in which the open and the closed model differ.
type source interface {
	// Only the loop calls these.

	// run gives turns until the run is over.
	run()
	// ask changes the number of slots that get turns without arrivals, at an engine time that was reached.
	ask(vus int, at time.Duration)
	// hold stops giving turns until release. Turns in between are lost.
	hold(why load.Reason)
	release()
	// exhausted reports whether no further turn comes although the plan's time is not over.
	exhausted() bool
	// settle closes slots that wait for a turn which will not come. It is called while no worker has a slot.
	settle()

	// The owner of a slot calls the others. They return false where it does not own the slot afterwards.

	// begin starts an iteration whose due time is set.
	begin(s *slot, now time.Duration) bool
	// next follows an iteration that ended, and sets the next one's due.
	next(s *slot, end time.Duration) bool
	// unopened follows an opening whose VU could not be made, or was made for a slot that was interrupted meanwhile.
	unopened(s *slot, made bool) bool
	// vacated follows the closing of a slot's VU.
	vacated(s *slot) bool
	// wants reports whether a slot gets turns without arrivals. Any goroutine may call it.
	wants(s *slot) bool
}

// New checks the options and builds an engine whose zero is the time of the call. Nothing starts before Run.
func New(o Options) (*Engine, error) {
	if o.Shards == 0 {
		o.Shards = 1
	}
	if o.MaxLateness == 0 {
		o.MaxLateness = time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	if o.Waiter == nil {
		o.Waiter = newTimerWaiter()
	}
	e := &Engine{o: o, zero: time.Now()}
	e.offset.Store(int64(e.zero.Sub(o.Start)))
	e.sleepUntil.Store(math.MinInt64)
	e.expect.Store(-1)
	if p, ok := o.Plan.(pace.Open); ok {
		e.source = &openSource{Engine: e, plan: p, most: max(1, pace.Share(o.MaxVUs, o.Shard, o.Shards))}
	} else {
		e.source = newClosedSource(e)
	}
	e.bounded = o.Plan.End().Counted()
	return e, nil
}

func (o *Options) check() error {
	_, open := o.Plan.(pace.Open)
	switch {
	case o.Plan == nil || o.NewVU == nil || o.Sink == nil:
		return errors.New("plan, NewVU and sink are required")
	case o.Shard < 0 || o.Shard >= o.Shards:
		return fmt.Errorf("shard %d of %d", o.Shard, o.Shards)
	case open && o.MaxVUs < 1:
		return fmt.Errorf("an open plan needs at least one VU, got %d", o.MaxVUs)
	case o.GracefulStop < 0 || o.GracefulRampDown < 0 || o.MaxLateness < 0:
		return errors.New("graces and lateness must not be negative")
	}
	return nil
}

// Zero is the instant, with its monotonic reading, from which Now and all times of results count.
func (e *Engine) Zero() time.Time { return e.zero }

// Now is the time since Zero, by the monotonic clock.
func (e *Engine) Now() time.Duration { return time.Since(e.zero) }

// Planned converts a due time, since Zero, into the plan's time. It is the same for an arrival in every engine that
// performs the plan.
func (e *Engine) Planned(due time.Duration) time.Duration { return e.planTime(due) }

// Run performs the run and returns when every VU is closed and every goroutine
// of the engine has ended. When ctx ends, no further iteration starts and those
// under way have GracefulStop. It is called once.
func (e *Engine) Run(ctx context.Context) Outcome {
	stopWatching := context.AfterFunc(ctx, func() { e.post(func(o *requests) { o.stop = true }) })
	e.run()
	stopWatching()
	if err := e.o.Waiter.Close(); err != nil {
		e.o.Log.Warn("close timer", "err", err)
	}
	return e.outcome
}

// Kill interrupts every iteration under way and ends Run.
func (e *Engine) Kill() { e.post(func(o *requests) { o.kill = true }) }

// Pause interrupts every iteration under way and drops arrivals until Resume. The
// plan's time goes on.
func (e *Engine) Pause() { e.post(func(o *requests) { o.paused = true }) }

// Resume ends a Pause. Load is again what the plan asks for at the time.
func (e *Engine) Resume() { e.post(func(o *requests) { o.paused = false }) }

// Reanchor moves the plan's time by shift, by which the wall clock was stepped
// against the monotonic one. Arrivals that are skipped are neither sent nor counted.
func (e *Engine) Reanchor(shift time.Duration) { e.post(func(o *requests) { o.shift += shift }) }

// Refresh looks again at what the plan asks for, where it is one that follows what is measured.
func (e *Engine) Refresh() { e.post(func(o *requests) { o.refresh = true }) }

// Stats returns the run's stats. It takes time in proportion to the number of VUs.
func (e *Engine) Stats() Stats {
	level := e.level(e.Now())
	st := Stats{PlannedRate: level.Rate / float64(e.o.Shards), PlannedVUs: pace.Share(level.VUs, e.o.Shard, e.o.Shards)}
	e.slots.count(&st)
	for i := range e.dropped {
		st.Dropped[i] = e.dropped[i].Load()
	}
	return st
}

// level is what the plan asks for at an engine time.
func (e *Engine) level(now time.Duration) pace.Level {
	at := now + time.Duration(e.offset.Load())
	if at < 0 {
		return pace.Level{}
	}
	return e.o.Plan.At(at)
}

func (e *Engine) drop(why load.Reason) {
	e.dropped[why].Add(1)
	e.o.Sink.Drop(why, 1)
}
