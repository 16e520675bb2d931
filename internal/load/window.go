package load

import (
	"time"

	"github.com/perfd/perfd/internal/hist"
)

// Flags say what must be known of a window before it is judged.
type Flags struct {
	WarmUp    bool // the workload's warm-up was under way
	Paused    bool // load was paused, by hand or by a blackout
	Disturbed bool // a stress or spike scenario ran on the same target
	BackedOff bool // load was shed because the target was in distress

	// Settling: the target changed its release, or answers with more than one (SEMANTICS section 12).
	Settling bool

	// Invalid holds the reasons why perfd itself disturbed the measurement
	// (SEMANTICS section 7): bit i is reason i of package validity. 0 is valid.
	Invalid uint32
}

// Excluded names the reason for which the window's events are kept away from
// objectives (SEMANTICS section 3), empty for none: one of ExcludedReasons.
func (f Flags) Excluded() string {
	switch {
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

// ExcludedReasons are what Excluded may return beside the empty string.
var ExcludedReasons = []string{"paused", "invalid", "warm_up", "disturbed", "settling", "backoff"}

// Circumstances are what the daemon knew of a scenario while a window was open.
type Circumstances struct {
	Flags Flags

	Run     string // ID of the run; empty where none was under way
	Release string // of the step's target, of the scenario's own target in its own window; empty where unknown

	// Planned is how many iterations the plan asked this instance for: of an open workload only.
	Planned float64
	// Busy is the mean number of VUs that were in an iteration.
	Busy float64
}

// A Window is everything that happened to one step of a scenario over a fixed
// interval, folded. Step is empty in the scenario's own window: it adds its steps
// up and alone knows iterations and drops.
//
// Windows are shared by all outputs and analyses and must not be changed.
type Window struct {
	Scenario string
	Step     string
	Target   string // empty in the scenario's own window
	Protocol string // empty in the scenario's own window

	Start, End time.Time // wall clock, aligned to the length of a window; End is exclusive
	Circumstances

	// Requests counts all results, cancelled ones too. It is the sum of Failures
	// plus the count of ResponseTime.
	Requests uint64
	Failures [NumCauses]uint64 // by cause; Failures[None] is 0
	Codes    []CodeCount       // by rising code; answers beyond the cap on codes are missing

	// Duration and ResponseTime hold answered requests that met their expect
	// (SEMANTICS section 1), never nil.
	Duration, ResponseTime *hist.Histogram

	// Good[i] counts the requests of ResponseTime that took at most Limits[i],
	// compared in nanoseconds. Limits are those of the step, rising.
	Limits []time.Duration
	Good   []uint64

	Phases [NumPhases]time.Duration // summed over all requests
	Waited time.Duration            // summed waits for a token of a rate limit

	SentBytes, ReceivedBytes int64

	Checks []CheckCount

	Iterations *Iterations // nil in the window of a step
}

// Failed counts the requests that failed, without those that perfd's own stop cancelled.
func (w *Window) Failed() uint64 {
	var n uint64
	for c, k := range w.Failures {
		if Cause(c) != Canceled {
			n += k
		}
	}
	return n
}

// A CodeCount says how often one answer code came.
type CodeCount struct {
	Code  int32
	Count uint64
}

// A CheckCount says how often one check was evaluated and how often it failed.
type CheckCount struct {
	Name              string
	Evaluated, Failed uint64
}

// Iterations are the iterations and drops of one scenario over a window.
type Iterations struct {
	Started                         uint64
	Completed, Stopped, Interrupted uint64
	Dropped                         [NumReasons]uint64

	// Spent is the time from start to end summed over all iterations that ended in the window.
	Spent time.Duration

	Duration *hist.Histogram // from start to end, of completed iterations
	Lateness *hist.Histogram // from due to start, of all that started
}
