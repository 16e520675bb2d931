// Package validity says whether perfd itself disturbed a measurement: it stood
// still, was throttled, was late, ran out of something, or its clock stepped.
//
// A Monitor watches the process; what it finds disturbs every measurement. A
// Scenario keeps account of one scenario's measurement, and learns from its runs
// what only they know. Nothing that a target does is a reason: a target that
// hangs must not silence its own alert (SEMANTICS sections 2 and 7).
package validity

import (
	"time"

	"github.com/perfd/perfd/internal/block"
)

// A Reason says how perfd disturbed a measurement. The set is closed; bit i of
// load.Flags.Invalid is reason i.
type Reason uint8

// The reasons.
const (
	PacerGap    Reason = iota // perfd did not run for over 100 ms
	Lateness                  // iterations started late
	Throttled                 // the kernel held back CPU time
	Clock                     // the wall clock stepped
	Descriptors               // nearly no file descriptors left
	Ports                     // nearly no local ports left
	VUCap                     // the workload's own limit of VUs dropped arrivals
	LateDrops                 // arrivals were dropped because perfd was late
	RateCap                   // arrivals were dropped by a limit on requests
	LittlesLaw                // what was recorded does not add up to what was under way
	NumReasons
)

var reasonNames = [NumReasons]string{
	"pacer_gap", "lateness", "throttled", "clock", "descriptors", "ports", "vu_cap", "late", "rate_cap", "littles_law",
}

// String returns the label value of r.
func (r Reason) String() string {
	if r < NumReasons {
		return reasonNames[r]
	}
	return "unknown"
}

// A Config is the validity block of a scenario.
type Config struct {
	MaxLateness block.Duration `yaml:"max_lateness" doc:"Time in which one iteration in a hundred starts later than this is invalid (default 100ms)."`
}

// maxLateness is the default of max_lateness. Lateness is part of every response
// time, so it must stay well below the limits of objectives, whose p50 is
// commonly 200 ms. It equals gap, the shortest stall that counts. The pacer itself
// is late by about a thousandth of it.
const maxLateness = 100 * time.Millisecond

// Validate checks what was written.
func (c *Config) Validate(at *block.Node, errs *block.Errors) {
	if n := at.Get("max_lateness"); n != nil && c.MaxLateness <= 0 {
		errs.Add(n.Pos, n.Path, "must be more than 0, got %s", c.MaxLateness)
	}
}

func (c Config) maxLateness() time.Duration {
	if c.MaxLateness == 0 {
		return maxLateness
	}
	return c.MaxLateness.D()
}
