package limit

import "time"

// Thresholds are the tunable constants of the analysis. The share from which a
// resource is near its limit is configured per resource.
type Thresholds struct {
	// Readings is how many readings in a row must reach a threshold, or be below it,
	// before that is a finding or a recovery: one may be a burst, or the instant
	// before or after a garbage collection.
	Readings int
	// Hysteresis is how far below a threshold a resource must fall to recover, as a
	// share of the limit: readings at a threshold vary by about as much.
	Hysteresis float64
	// Stretches is how many parts the time of a sustained limit has at least: it begins and ends with
	// whole ones.
	Stretches int
	// Absent is after how long without a reading nothing is said of a member. For
	// resources that are read seldom it is AbsentReads of their intervals.
	Absent      time.Duration
	AbsentReads int
	// MaxMembers bounds the members that are watched, for each resource, and MaxRuns
	// the runs under way that are followed, for each target.
	MaxMembers, MaxRuns int
}

// DefaultThresholds returns the thresholds that perfd uses.
func DefaultThresholds() Thresholds {
	return Thresholds{
		Readings: 2, Hysteresis: 0.02, Stretches: 60,
		Absent: 15 * time.Minute, AbsentReads: 3,
		MaxMembers: 128, MaxRuns: 64,
	}
}
