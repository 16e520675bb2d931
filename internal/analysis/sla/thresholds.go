package sla

import (
	"math"
	"time"
)

// Thresholds are the tunable constants of the analysis. docs/verdicts.md states
// the error rates that the simulations of this package measure with the defaults.
type Thresholds struct {
	// Alpha bounds the probability that an objective which is exactly met is ever
	// called broken within Span, and the same of one that is exactly missed and
	// called met. Every verdict is proven at 1 - Alpha at least, and every interval drawn at it.
	Alpha float64
	// Family bounds the probability that any of the objectives of a daemon which are
	// all exactly met is called broken within Span: each has an equal part of it, and
	// Alpha at most. A third of it is spent on the first day of evidence at most, by
	// the shares below and the ledger's, so that with 0.15 false breaches come on no
	// more than one day of twenty.
	Family float64
	Span   time.Duration // also that of error budgets
	// Usual and Quick are the shares of Alpha that the two tests of a breach have:
	// that of all evidence of an epoch, and that of the latest evidence, whenever it
	// began. UsualPass and QuickPass are those of a pass, which spends an Alpha of its
	// own. Each pair adds up to 1. The usual test of a pass has more because only a
	// recovery needs the other.
	Usual, Quick         float64
	UsualPass, QuickPass float64
	// AnyStart is the weight that the quick test of a share spreads evenly over each
	// Starts of windows that evidence may start with; the rest is on a start with the
	// epoch. An epoch has half of Alpha at most, so that with a Starts of half of Span
	// what all epochs of a Span spend adds up to Alpha:
	// Usual + Quick·((1-AnyStart) + AnyStart·Span/Starts/2) = 1.
	AnyStart float64
	Starts   time.Duration

	// Interval is the length that windows are folded to before they are evidence:
	// longer than what makes requests alike, such as one pause of a garbage collector.
	Interval time.Duration
	// FirstLook is the number of intervals below which the usual test of a breach, and
	// both of a rate, decide nothing, because how bad events cluster is not known yet.
	FirstLook int
	// Sharpest is the sample for which the usual test is tuned: as many bad events
	// where the limit is just met, or as many intervals of a rate.
	// A pass is tuned for SharpestPass, which is smaller, because most objectives are met by far.
	Sharpest, SharpestPass float64

	// HalfLife is the number of intervals after which the weight of an interval in
	// the estimate of the design effect has halved: traffic of four hours ago says
	// little of today's.
	HalfLife float64
	// The design effect is BreachEffect or PassEffect until it is known. The prior
	// weighs as much as BreachIntervals intervals and PassBad bad events: with few
	// bad events nothing is known of how they cluster, so that for a pass it is bad
	// events that count. All four are chosen so that the simulated error rates stay
	// under Alpha.
	BreachEffect, BreachIntervals float64
	PassEffect, PassBad           float64
	// Correlated is from how many standard errors on the correlation of neighbouring
	// batches is taken for one, so that longer batches are asked; LeastBatches is how many of them there must be.
	Correlated, LeastBatches float64

	// MaxWindow bounds the logarithm of the likelihood ratio that one window may
	// contribute to a breach, so that a few bad seconds are no breach.
	MaxWindow float64
	// MinOver of the last Windows must be over the limit for the quick test to
	// prove a breach: 4 of 18, of 10 s each, for the same reason.
	MinOver, Windows int
	// Worse and Better are the alternatives that the quick test of a share averages
	// over, on the two sides of the limit.
	Worse, Better []Alternative
	// Shifts are those of the quick test of a rate, in standard deviations of one interval.
	Shifts [3]float64

	// RunIntervals is the number of intervals below which a run's finding doubts its
	// own design effect, RunMinutes that of minutes from which on the design effect of
	// minutes is used beside that of windows.
	RunIntervals, RunMinutes float64
	// Runs is how many runs of an objective are remembered: one is judged a little
	// after it ended, when the next may have begun.
	Runs int

	// Burns are the rates at which an error budget may burn over a window: they use
	// up 2 % of the budget of 30 days in 1 h, 5 % in 6 h and 10 % in 3 d (Google, "The
	// Site Reliability Workbook", 2018, chapter 5). The short window beside each of
	// them shows that the budget still burns.
	Burns []Burn
}

// An Alternative of the quick test says that the odds of a bad event are Factor
// times those at the limit. Counts are divided by Caution times the design effect,
// and by Least at least: the larger the factor, the more a cluster that is larger
// than the design effect would be overrated.
type Alternative struct{ Factor, Caution, Least float64 }

// A Burn is the Factor by which an error budget may burn over a Window.
type Burn struct {
	Window string
	Factor float64
}

// DefaultThresholds returns the thresholds that perfd uses.
func DefaultThresholds() Thresholds {
	return Thresholds{
		Alpha: 0.05, Family: 0.15, Span: 30 * 24 * time.Hour, Usual: 0.5, Quick: 0.5, UsualPass: 0.8, QuickPass: 0.2, AnyStart: 0.75, Starts: 15 * 24 * time.Hour,
		Interval: time.Minute, FirstLook: 30, Sharpest: 50, SharpestPass: 8,
		HalfLife: 240, BreachEffect: 3, BreachIntervals: 5, PassEffect: 5, PassBad: 14, Correlated: 2, LeastBatches: 8,
		MaxWindow: 6, MinOver: 4, Windows: 18,
		Worse:        []Alternative{{1.5, 1.05, 1}, {2, 1.15, 1}, {8, 1.5, 1.4}},
		Better:       []Alternative{{0.8, 1, 1}, {0.5, 1, 1}, {0.1, 1, 1}},
		Shifts:       [3]float64{0.5, 1, 3},
		RunIntervals: 10, RunMinutes: 5, Runs: 3,
		Burns: []Burn{{"5m", 14.4}, {"1h", 14.4}, {"30m", 6}, {"6h", 6}, {"3d", 1}},
	}
}

// alphaOf returns what each of a number of objectives may spend on a breach within Span.
func alphaOf(objectives int) float64 {
	return min(defaults.Alpha, defaults.Family/float64(max(1, objectives)))
}

// defaults are the thresholds of every Judge; nothing changes them.
var defaults = DefaultThresholds()

var (
	// confidence is that of every interval.
	confidence = 1 - defaults.Alpha
	// fading is the weight that an interval keeps with each that follows.
	fading = math.Exp2(-1 / defaults.HalfLife)
)

// lag is how many intervals pass before one counts in the dispersion of the quick
// test: the variance that a breach adds must not hide the breach.
const lag = 10
