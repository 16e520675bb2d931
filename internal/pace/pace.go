// Package pace computes when each arrival of a workload is due and how many virtual
// users (VUs) there are at an instant, and owns the workload block of the
// configuration.
//
// An [Executor] is one way to pace load, a [Shape] one form that the level of an
// executor with stages can take over time. One more of either is a file with its
// descriptor and a line in the list of kinds. A [Config] is a decoded workload, a
// [Plan] what the engine follows.
//
// Plans are pure functions of the time since their zero: immutable, in closed
// form, and evaluated at any instant in O(1), so that an always-on run is resumed
// after months without a replay. The package uses no clock and no goroutine, and
// sends nothing.
//
// # Even arrivals
//
// Arrivals are numbered from 0. With R(t) the integral of the rate from the plan's
// zero to t, arrival k is due at the last nanosecond at which R is at most k. Hence
// the number of arrivals before t is R(t) rounded up, a constant rate begins with an
// arrival at 0, a rate of 0 has no arrivals, and the fraction of an arrival that is
// left at the end of a stage or a lap is carried into the next. R is computed with
// integers, in units of the rates' common denominator, and does not drift. A plan that
// is [OutOfStep] with others has a phase: arrival k is due where R is k plus a fraction.
package pace

import (
	"errors"
	"iter"
	"math"
	"time"
)

// Forever is the time that stands for no end: the Until of a level that does not
// change any more.
const Forever = time.Duration(math.MaxInt64)

// A Level is what a plan asks for at one instant.
type Level struct {
	Rate  float64       // iterations per second; 0 in the closed model
	VUs   int           // number of virtual users; 0 in the open model
	Stage int           // index of the workload's stage; the number of stages once the plan is over
	Until time.Duration // when VUs, Stage or the slope of Rate may change next; Forever for never
}

// A Plan is the load of a run as a function of the time since the plan's zero.
// Before zero and after its end a plan asks for no load. Plans are immutable.
type Plan interface {
	// At returns the level at a time.
	At(t time.Duration) Level
	// End says when the run is over. A plan that ends after a total of iterations
	// asks for all its VUs from its zero on.
	End() End
}

// An Open plan is one of the open model: each iteration has a due time that does
// not depend on the target, so that a slow target cannot thin out the load
// (coordinated omission).
type Open interface {
	Plan
	// Arrivals yields, in order, the due times at or after from of the arrivals
	// that belong to the shard (0 ≤ shard < of), up to the plan's end. Each arrival
	// belongs to exactly one shard. Iterating allocates nothing.
	Arrivals(from time.Duration, shard, of int) iter.Seq[time.Duration]
	// Count is the integral of the rate from one time to another: the number of
	// iterations that are planned between them.
	Count(from, to time.Duration) float64
}

// Share returns the part of a total that one of several shards carries
// (0 ≤ shard < of). The shares add up to the total.
func Share(total, shard, of int) int {
	n := total / of
	if shard < total%of {
		n++
	}
	return n
}

// New returns the plan of a workload: an Open one for the open model. The
// scenario's name separates the random choices of scenarios that have the same
// seed. It fails only for a Config that Decode has not found right.
func New(c Config, scenario string) (Plan, error) {
	if c.own == nil {
		return nil, errors.New("pace: the workload was not decoded")
	}
	return c.own.Plan(scenario, c.Seed)
}
