package load

import (
	"time"

	"github.com/perfd/perfd/internal/hist"
)

// Flags are the conditions of a window that decide whether it is judged.
type Flags struct {
	WarmUp    bool // the workload's warm-up was under way
	Paused    bool // load was paused, by hand or by a blackout
	Disturbed bool // a stress or spike scenario ran on the same target
	BackedOff bool // load was reduced because the target was in distress
	// Maintenance says that a target was in declared maintenance.
	Maintenance bool
	Settling    bool // the target changed its release, or answered with more than one (SEMANTICS section 12)

	// Invalid holds the disturbances of a window of which perfd itself left less than
	// half (SEMANTICS section 7), as their bits. 0 is valid. A disturbance that left
	// more cost the requests it touched, which Window.Touched counts.
	Invalid uint32
}

// Excluded returns the reason for which objectives leave the window out
// (SEMANTICS section 3), one of ExcludedReasons; empty for none.
func (f Flags) Excluded() string {
	switch {
	case f.Maintenance:
		return "maintenance"
	case f.Paused:
		return "paused"
	case f.Invalid != 0:
		return "invalid"
	case f.WarmUp:
		return "warm_up"
	case f.Disturbed:
		return "disturbed"
	case f.Settling:
		return "settling"
	case f.BackedOff:
		return "backoff"
	}
	return ""
}

// ExcludedReasons lists the reasons for which objectives leave something out: whole
// windows for what Excluded returns, single events for the disturbances that touch them.
var ExcludedReasons = excludedReasons()

func excludedReasons() []string {
	reasons := []string{"maintenance", "paused", "invalid", "warm_up", "disturbed", "settling", "backoff"}
	for d := ByGap; d < NumDisturbances; d++ {
		if d != ByLittlesLaw { // is a fault of a whole window
			reasons = append(reasons, d.String())
		}
	}
	return reasons
}

// Circumstances is the state of a scenario while a window was open.
type Circumstances struct {
	Flags Flags

	Run     string // ID of the run; empty if none was under way
	Release string // of the step's target, or of the scenario's own target in its own window; empty if unknown

	Planned float64 // iterations that an open workload planned for this instance; 0 of a closed workload
	Busy    float64 // mean number of VUs that were in an iteration

	Stalled time.Duration // for how long perfd itself did not run
}

// A Window folds all results of one step of a scenario, or of a group of steps, over a fixed interval.
// Step is empty in the scenario's own window, which is the sum of its steps and
// alone has iterations and drops.
//
// All outputs and analyses share a window; none may change it.
type Window struct {
	Scenario string
	Step     string
	Target   string // empty in the scenario's own window
	Protocol string // empty in the scenario's own window

	Start, End time.Time // wall clock, aligned to the length of a window; End is exclusive
	Circumstances

	// Requests counts all results, cancelled and touched ones too. It is the sum of
	// Failures plus the count of ResponseTime plus the touched ones without failure.
	Requests uint64
	Retries  uint64            // attempts before the ones that Requests counts; history keeps none
	Failures [NumCauses]uint64 // by cause; Failures[None] is 0
	Codes    []CodeCount       // in order of codes; answers beyond the bound on codes are missing

	// Touched counts the requests that perfd itself disturbed (SEMANTICS section 7),
	// cancelled ones excepted, in order of By and Cause. They are part of every other
	// count and sum of the window, but not of Duration, ResponseTime and Good.
	Touched []TouchedCount

	// Duration and ResponseTime hold answered requests that met their expect
	// (SEMANTICS section 1) and that perfd did not disturb, never nil.
	Duration, ResponseTime *hist.Histogram

	// Good[i] counts the requests of ResponseTime that took at most Limits[i],
	// compared in nanoseconds. Limits are those of the step, in rising order.
	Limits []time.Duration
	Good   []uint64

	Phases [NumPhases]time.Duration // sums over all requests
	Waited time.Duration            // sum of the waits for a token of a rate limit

	SentBytes, ReceivedBytes int64

	// Messages counts what happened on the streams that the step opened; nil where it opens none. History keeps none.
	Messages *MessageCounts

	Checks []CheckCount

	Iterations *Iterations // nil in the window of a step
}

// IsGroup reports whether the window is of a group of steps, whose requests the
// windows of its steps have.
func (w *Window) IsGroup() bool { return w.Protocol == GroupProtocol }

// Failed returns the number of requests that failed, without those that perfd's own stop cancelled.
func (w *Window) Failed() uint64 {
	var n uint64
	for c, k := range w.Failures {
		if Cause(c) != Canceled {
			n += k
		}
	}
	return n
}

// Own returns the number of arrivals that perfd itself kept from starting, by the
// disturbance that it counts as (SEMANTICS section 2).
func (it *Iterations) Own() (n [NumDisturbances]uint64) {
	n[ByGap] = it.Excused
	n[ByVUCap] = it.Dropped[VUCap]
	n[ByLateDrops] = it.Dropped[Late]
	n[ByRateCap] = it.Dropped[RateCap]
	n[ByCredential] = it.Dropped[WithoutCredential]
	return n
}

// A CodeCount is the number of answers with one code.
type CodeCount struct {
	Code  int32
	Count uint64
}

// A CheckCount is how often one check was evaluated and how often it failed.
type CheckCount struct {
	Name              string
	Evaluated, Failed uint64
}

// AddCheck returns list with c added: to the check of the same name, or behind the others.
func AddCheck(list []CheckCount, c CheckCount) []CheckCount {
	for i := range list {
		if list[i].Name == c.Name {
			list[i].Evaluated += c.Evaluated
			list[i].Failed += c.Failed
			return list
		}
	}
	return append(list, c)
}

// Iterations are the iterations and drops of one scenario over a window.
type Iterations struct {
	Started                         uint64
	Completed, Stopped, Interrupted uint64
	Dropped                         [NumReasons]uint64
	// Excused counts those of Dropped[NoFreeVU] that found no free VU while perfd
	// itself was disturbed: its stall, not the target, may have kept the VUs busy.
	Excused uint64

	// Spent is the sum of the times from start to end of all iterations that ended in the window.
	Spent time.Duration

	Duration *hist.Histogram // ns from start to end, of completed iterations
	Lateness *hist.Histogram // ns from due to start, of all that started
}
