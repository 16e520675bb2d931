package twin

import "time"

// Thresholds are the tunable numbers of the analysis. The simulations behind docs/verdicts.md judge them together.
type Thresholds struct {
	// Confidence is that of all intervals in findings, and with which a difference must be beyond the margin.
	Confidence float64
	// FalseCalls is how many calls of equal twins a scenario may have in a Week, all of its steps, statistics and
	// spans together.
	FalseCalls float64
	Week       time.Duration
	// RunLevel is the probability with which a run of equal twins is called different, which is looked at once.
	RunLevel float64
	// Spans are the lengths of the last stretches that are looked at: the short ones see a large difference soon, the
	// long ones a small one at all.
	Spans []time.Duration
	// Fine is how long single windows are kept; what is longer is looked at in blocks of Block.
	Fine, Block time.Duration
	// FewestFine and FewestBlocks are how many values a span takes at least: from 30 on the autocorrelation of a span
	// is known well enough. A run is looked at from FewestOfRun on.
	FewestFine, FewestBlocks, FewestOfRun int
	// FewestStretches is how many stretches of FewestFine windows before a span say how long differences last.
	FewestStretches int
	// Requests and Tail are how many answers each side of a value has at least, Tail for p95: five beyond it.
	Requests, Tail uint64
	// Spread is how many standard deviations, estimated by the median absolute deviation, a value may lie from the
	// median before it is moved there: a stall of a second on one side is one value of many.
	Spread float64
	// Errors is the share of additional failures below which a worse error ratio does not matter.
	Errors float64
	// Recent is the time in which the environment is looked at, and Before how long before that its reference ends:
	// a change takes a while.
	Recent, Before time.Duration
	// Silent is the time without a pair of windows after which nothing is known any more.
	Silent time.Duration
}

// DefaultThresholds are those that perfd judges with.
func DefaultThresholds() Thresholds {
	return Thresholds{
		Confidence: 0.95, FalseCalls: 0.02, Week: 7 * 24 * time.Hour, RunLevel: 0.01,
		Spans: []time.Duration{
			5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour,
			6 * time.Hour, 12 * time.Hour, 48 * time.Hour,
		},
		Fine: 2 * time.Hour, Block: 5 * time.Minute, FewestFine: 30, FewestBlocks: 30, FewestOfRun: 6, FewestStretches: 3,
		Requests: 8, Tail: 100, Spread: 5, Errors: 0.001,
		Recent: 10 * time.Minute, Before: 10 * time.Minute, Silent: 5 * time.Minute,
	}
}

// thresholds are read only.
var thresholds = DefaultThresholds()
