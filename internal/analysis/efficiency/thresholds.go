package efficiency

// Thresholds are the tunable constants of the analysis.
type Thresholds struct {
	// Least is the efficiency that a run must reach. With less than 95 % of the load
	// that was asked for, percentiles and rates describe another load: a request that
	// never started cannot be slow.
	Least float64
	// Runs is how many runs of a scenario are remembered: the one under way, and
	// those whose end is judged a window later.
	Runs int
}

// DefaultThresholds returns the thresholds that perfd uses.
func DefaultThresholds() Thresholds { return Thresholds{Least: 0.95, Runs: 4} }
