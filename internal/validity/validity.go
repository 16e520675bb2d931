// Package validity says whether perfd itself disturbed a measurement: it stood
// still, was throttled, was late, ran out of something, or its clock stepped.
//
// A Monitor watches the process and writes what it finds into a Timeline. A
// Scenario holds each result of one scenario against it, and says what the result
// was touched by: a disturbance costs the requests it touched and no more. Nothing
// that a target does is a disturbance: a target that hangs must not silence its own
// alert (SEMANTICS sections 2 and 7).
package validity

import (
	"time"

	"github.com/perfd/perfd/internal/block"
)

// Share is the part of the tightest latency limit of a scenario that perfd may be
// late by before it counts as disturbed: it bounds what perfd itself adds to a
// response time that is compared with the limit.
const Share = 0.1

const (
	// usual is what perfd may be late by where no objective limits a latency.
	usual = 100 * time.Millisecond
	// least bounds what perfd may be late by from below: timers and schedulers of a
	// sound machine are late by a millisecond or two.
	least = 5 * time.Millisecond
	// most bounds it from above, for what has no limit in the objectives: timeouts of
	// steps, and the analyses that compare percentiles.
	most = time.Second
)

// A Config is the validity block of a scenario.
type Config struct {
	MaxLateness block.Duration `yaml:"max_lateness" doc:"A moment in which perfd did not run, or a request that it sent late, disturbs the measurement from here on (default a tenth of the scenario's tightest latency limit, 5ms to 1s; 100ms without one)."`
}

// Validate checks what was written.
func (c *Config) Validate(at *block.Node, errs *block.Errors) {
	if n := at.Get("max_lateness"); n != nil && c.MaxLateness <= 0 {
		errs.Add(n.Pos, n.Path, "must be more than 0, got %s", c.MaxLateness)
	}
}

// Limit is what perfd may be late by in a scenario whose tightest latency limit is
// given, 0 for none.
func (c Config) Limit(tightest time.Duration) time.Duration {
	switch {
	case c.MaxLateness != 0:
		return c.MaxLateness.D()
	case tightest == 0:
		return usual
	}
	return min(max(time.Duration(Share*float64(tightest)), least), most)
}
