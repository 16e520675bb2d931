// Package pace says when each arrival of a workload is due and how many virtual
// users there should be at an instant.
//
// Plans are pure functions of the time since their zero: immutable, in closed
// form, and able to start anywhere in O(1), so that an always-on run resumed
// after months need not replay them. The package knows no clock, no goroutine
// and no load.
//
// Even arrivals follow one rule, whatever the stages do: arrival k, counted from
// 0, is due at the instant from which on the integral of the rate is more than
// k, rounded down to the nanosecond. So the arrivals before any instant are the
// integral up to it, rounded up; a constant rate begins with an arrival at 0; a
// rate of 0 sends nothing; what is left of an arrival at the end of a stage or a
// lap is carried into the next. The integral is kept as a fraction of integers
// (see scale), so none of this drifts.
package pace

import (
	"errors"
	"iter"
	"math"
	"time"
)

// Forever is the Until of a level that does not change any more.
const Forever = time.Duration(math.MaxInt64)

// A Level is what a plan asks for at one instant.
type Level struct {
	Rate  float64       // iterations per second; 0 in closed plans
	VUs   int           // 0 in open plans
	Stage int           // index into the workload's stages; their number once the plan is over
	Until time.Duration // when VUs, Stage or the slope of Rate may change next; Forever for never
}

// A Plan says how much load there should be at a time since the plan's zero.
// Before zero and after its end a plan asks for none.
type Plan interface {
	At(t time.Duration) Level
	// End says when the run is over. A plan that ends after a total of iterations
	// asks for all its VUs from its zero on.
	End() End
}

// An Open plan knows when each iteration is due, whatever the target does.
type Open interface {
	Plan
	// Arrivals yields, rising, the due times at or after from of the arrivals
	// that belong to the shard (0 ≤ shard < of), up to the plan's end. The shards
	// share all arrivals out among themselves. Iterating allocates nothing.
	Arrivals(from time.Duration, shard, of int) iter.Seq[time.Duration]
	// Count is the integral of the rate from one time to another.
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
