package outage

import "time"

// Thresholds are the tunable constants of the analysis.
type Thresholds struct {
	// Least is how many requests must have failed, or checks not held, one after the
	// other: with half of them failing by chance, 18 in a row are four in a million.
	// Seconds are looked at up to two seconds after they begin, in which two more
	// requests at 1/s fail, so that an outage is found within twenty.
	Least uint64
	// Span is how long they must have failed, so that a restart of the target of a few
	// seconds is none. It is counted from the first whole second in which everything
	// failed, which the last answers of a slow target may put off by another, so that
	// with eight an outage is found within ten of its onset.
	Span time.Duration
	// Stale is for how long at least an outage holds without another request.
	Stale time.Duration
	// Runs is how many runs of a scenario are remembered: the one under way, and
	// those whose end is judged a window later.
	Runs int
}

// DefaultThresholds returns the thresholds that perfd uses.
func DefaultThresholds() Thresholds {
	return Thresholds{Least: 18, Span: 8 * time.Second, Stale: 5 * time.Minute, Runs: 4}
}
