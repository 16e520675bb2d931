package cleanup

import "time"

// Thresholds are the tunable constants of the analysis.
type Thresholds struct {
	// Before is the stretch before a run whose readings make the level that a
	// resource must return to: long enough for the troughs of a few garbage
	// collections of an idle process.
	Before time.Duration
	// MinBefore is the number of readings in Before below which the level is not
	// known; MaxBefore bounds those that are kept.
	MinBefore, MaxBefore int
	// Settle is how long a resource may take to return. Idle connections and
	// scavenged memory go back to the system within five minutes with the usual
	// settings of servers and allocators; twice that is allowed.
	Settle time.Duration
	// MinAfter is how many readings in a row must be back: one may be luck.
	MinAfter int
	// Pause is the gap between two runs below which the load counts as one: a
	// target has no time to return to anything, so its level before both is kept.
	Pause time.Duration
	// Tolerance is how far above the level a resource may stay, relative to the
	// level, and Counts how far a resource that is counted may, in its unit: levels
	// of idle processes vary by about as much.
	Tolerance float64
	Counts    float64
	// MaxMembers bounds the members of a target that are watched, for each
	// resource; Absent is after how long without a reading a member is forgotten.
	MaxMembers int
	Absent     time.Duration
}

// DefaultThresholds returns the thresholds that perfd uses.
func DefaultThresholds() Thresholds {
	return Thresholds{
		Before: 10 * time.Minute, MinBefore: 4, MaxBefore: 64,
		Settle: 10 * time.Minute, MinAfter: 2, Pause: 30 * time.Second,
		Tolerance: 0.05, Counts: 2,
		MaxMembers: 128, Absent: 24 * time.Hour,
	}
}
