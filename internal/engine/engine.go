// Package engine performs one run: it takes turns from a plan, gives each to a
// free virtual user, and reports what became of it to a sink.
//
//	plan ──turn──► loop ──seat──► worker ──Begin, Go──► VU
//	                 ▲              │  │
//	                 └─wake, free───┘  └─iteration──► sink
//
// One loop serves both models. An open plan hands out due times, whatever the
// target does, and an arrival that finds no free virtual user is dropped, with
// its owner (SEMANTICS section 2). A closed plan says how many virtual users
// there are, and each takes its next turn when its last iteration ends.
//
// Virtual users are not goroutines: they say when they want to be woken instead
// of sleeping, and a goroutine is lent to them only while they are active.
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
// another, from changing goroutines; Interrupt may come at any time between the
// VU's making and its Close.
type VU interface {
	// Begin starts an iteration that was due at a time since the engine's zero. It does not block.
	Begin(due time.Duration)
	// Go performs the iteration until it wants to pause, and returns when it wants to be woken, since the engine's
	// zero, or until it is done. It blocks only inside requests.
	Go() (wake time.Duration, done bool)
	// Interrupt makes a Go that blocks, or is called afterwards, return soon. The VU is then good for Close only.
	Interrupt()
	Close()
}

// A Reporter is a VU that knows how its iteration ended. Without it every
// iteration that was not interrupted counts as completed.
type Reporter interface {
	// Outcome says how the iteration that ended last, or was cut short, went.
	Outcome() (load.Outcome, load.TraceID)
}

// A Sink takes what happens. Its methods are called by any number of goroutines,
// must not block, and keep nothing.
type Sink interface {
	// Started counts an iteration that starts.
	Started(vu int)
	// Iteration reports an iteration that ended; its lateness is Start − Due.
	Iteration(*load.Iteration)
	// Drop counts arrivals that did not become iterations.
	Drop(load.Reason, uint64)
}

// Options says what a run does. Numbers of VUs are totals over all shards.
type Options struct {
	Plan pace.Plan
	// NewVU makes a virtual user; several goroutines may call it at once. The ids of a shard count from 0, and
	// one is used again only after its VU was closed.
	NewVU func(id int) (VU, error)
	Sink  Sink
	// Start is the instant of the plan's zero. It may be months ago, or lie ahead.
	Start time.Time

	MaxVUs       int // of an open plan
	PreAllocated int // VUs of an open plan that are made before its first arrival

	GracefulStop     time.Duration // how long running iterations may go on after the end
	GracefulRampDown time.Duration // how long a VU that the plan lets go may finish its iteration
	MaxLateness      time.Duration // an arrival of an open plan is never started later than this (default 1s)

	Shard, Shards int // 0 ≤ Shard < Shards; 0 shards is one

	// Admit is asked before each iteration starts, by any number of goroutines; nil admits all. An arrival of an
	// open plan that is refused is dropped with the reason. A VU of a closed plan that is refused sits out for as
	// long as its last iteration took, 100 ms to 10 s, and is asked for again: refusing a share of turns takes
	// the same share of the load away.
	Admit func(now time.Duration) (load.Reason, bool)

	Waiter Waiter // nil waits with Go's timers; closed by Run
	Log    *slog.Logger
}

// An Outcome says why a run ended.
type Outcome uint8

// The outcomes.
const (
	Finished Outcome = iota // the plan was at its end
	Canceled                // Run's context ended
	Killed                  // Kill was called
)

// String returns the outcome in one word.
func (o Outcome) String() string {
	switch o {
	case Finished:
		return "finished"
	case Canceled:
		return "canceled"
	}
	return "killed"
}

// Stats is what a run does at one instant, of this shard alone.
type Stats struct {
	VUs      int // that exist
	Busy     int // of VUs, in an iteration
	Thinking int // of Busy, waiting for their wake time instead of an answer

	PlannedRate float64 // iterations per second, of open plans
	PlannedVUs  int     // of closed plans

	Started uint64
	Dropped [load.NumReasons]uint64
}

// An Engine performs one run. All methods may be called by any goroutine.
type Engine struct {
	o    Options
	zero time.Time
	// offset is the plan's time at the engine's zero. Only the loop writes it.
	offset atomic.Int64

	source source
	seats  seats

	dropped [load.NumReasons]atomic.Uint64

	mu     sync.Mutex
	orders orders
	posted atomic.Bool // orders changed

	loop
	lend
}

// A source gives turns. Open and closed plans differ in nothing else.
type source interface {
	// These are the loop's.

	// run gives turns until the run is over.
	run()
	// ask changes the number of seats that get turns just by being there, at a time that has come.
	ask(vus int, at time.Duration)
	// hold stops giving turns, which are lost, until release.
	hold(why load.Reason)
	release()
	// exhausted says whether no turn will come any more, before the plan's end.
	exhausted() bool

	// The others are called by the owner of a seat, and return false after they gave it away.

	// begin starts an iteration, whose due is set.
	begin(s *seat, now time.Duration) bool
	// next follows an iteration that ended, and sets the next one's due.
	next(s *seat, end time.Duration) bool
	// unopened follows an opening in which the VU could not be made, or was made for nothing: the seat is condemned.
	unopened(s *seat, made bool) bool
	// vacated follows the closing of a seat's VU.
	vacated(s *seat) bool
	// wants says whether a seat gets turns just by being there. It may be called by anyone.
	wants(s *seat) bool
}

// New checks the options and builds an engine, whose zero is now. Nothing starts before Run.
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
		e.source = &arrivals{Engine: e, plan: p, most: max(1, pace.Share(o.MaxVUs, o.Shard, o.Shards))}
	} else {
		e.source = newPlaces(e)
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

// Zero is the instant from which Now and all times of results count, with its monotonic reading.
func (e *Engine) Zero() time.Time { return e.zero }

// Now is the time since Zero, by the monotonic clock.
func (e *Engine) Now() time.Duration { return time.Since(e.zero) }

// Run performs the run and returns when every VU is closed and every goroutine
// of the engine has ended. When ctx ends, no iteration starts any more and those
// under way have GracefulStop. It is called once.
func (e *Engine) Run(ctx context.Context) Outcome {
	stopWatching := context.AfterFunc(ctx, func() { e.post(func(o *orders) { o.stop = true }) })
	e.run()
	stopWatching()
	if err := e.o.Waiter.Close(); err != nil {
		e.o.Log.Warn("close timer", "err", err)
	}
	return e.outcome
}

// Kill interrupts everything under way and ends Run.
func (e *Engine) Kill() { e.post(func(o *orders) { o.kill = true }) }

// Pause interrupts everything under way at once and drops arrivals until Resume.
// The plan's time goes on.
func (e *Engine) Pause() { e.post(func(o *orders) { o.paused = true }) }

// Resume ends a Pause: load is again what the plan asks for now.
func (e *Engine) Resume() { e.post(func(o *orders) { o.paused = false }) }

// Reanchor tells that the wall clock stepped by shift against the monotonic one.
// The plan goes on where the wall clock says; arrivals between are neither sent nor counted.
func (e *Engine) Reanchor(shift time.Duration) { e.post(func(o *orders) { o.shift += shift }) }

// Stats looks at the run; it costs time in proportion to the number of VUs.
func (e *Engine) Stats() Stats {
	level := e.level(e.Now())
	st := Stats{PlannedRate: level.Rate / float64(e.o.Shards), PlannedVUs: pace.Share(level.VUs, e.o.Shard, e.o.Shards)}
	e.seats.count(&st)
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
