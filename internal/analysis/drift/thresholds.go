package drift

import "time"

// Thresholds are the tunable constants of the analysis.
type Thresholds struct {
	// Practical is the relative change over a run below which a drift does not
	// matter: runs of the same release differ by about as much.
	Practical float64
	// Alpha is the level of significance at which a statistic of a whole run is
	// judged. There are three, so that significance alone would call at most one run
	// in 33 drifting that does not; Practical and the shape of the trend make it rarer
	// (docs/verdicts.md).
	Alpha float64
	// Looks is over how many judgements of a run under way Alpha is spread. A run
	// is judged each time it has grown by an eighth; neighbouring judgements agree
	// so much that a share for each doubling is enough, and 12 doublings of the
	// first 24 minutes are 68 days.
	Looks float64

	// MinPoints is the number of points below which a trend has too little power.
	MinPoints int
	// MaxPoints bounds the points of a trend, whose tests take quadratic time.
	MaxPoints int
	// MinTrack is the number of points below which a stretch between two
	// interruptions says nothing of a trend.
	MinTrack int
	// MinAnswers is the number of answers below which the percentiles of a block
	// are left out: with fewer the 95th percentile is the slowest of them.
	MinAnswers float64

	// LoadVaries is the coefficient of variation of the load from which on its
	// effect on latency is taken out before the trend is looked for.
	LoadVaries float64
	// MaxInflation is the widening of the trend's variance from which on load and
	// time are not told apart: the load changed along with time.
	MaxInflation float64

	// Block is how long the first blocks of a run are, MaxBlocks how many of them
	// are kept: then two are folded into one, and blocks are twice as long.
	Block     time.Duration
	MaxBlocks int
	// Gap is how many blocks without a window interrupt a run: what is on its two
	// sides is not one level.
	Gap int
	// Runs is how many runs of a scenario are remembered: the one under way, and
	// those whose end is judged a window later.
	Runs int
}

// DefaultThresholds returns the thresholds that docs/verdicts.md states error rates for.
func DefaultThresholds() Thresholds {
	return Thresholds{
		Practical: 0.05, Alpha: 0.01, Looks: 12,
		MinPoints: 24, MaxPoints: 64, MinTrack: 4, MinAnswers: 20,
		LoadVaries: 0.05, MaxInflation: 10,
		Block: time.Minute, MaxBlocks: 512, Gap: 3, Runs: 4,
	}
}
