package pace

import (
	"time"

	"github.com/perfd/perfd/internal/block"
)

// Virtual users that begin at the same instant are spread where they are more than atOnce: each
// begins apart after the one before. A listener's queue does not take thousands of connections
// at once, and their stacks and buffers would be needed all at the same moment.
const (
	atOnce = 100
	apart  = time.Millisecond

	longestStart = time.Hour
)

// A startOver says how the virtual users of a closed workload begin.
type startOver struct {
	StartOver *block.Duration `yaml:"start_over" scale:"time" doc:"Over which time virtual users are spread that would begin at the same instant: at the start, after a pause, or at a stage of 0s; 0s begins them at once. By default 1ms for each of more than 100, none for fewer."`
}

func (s *startOver) checkStart(c *Checker) {
	if d := s.StartOver; d != nil && (*d < 0 || d.D() > longestStart) {
		c.Fail("start_over", "must be between 0s and %s, got %s", block.Duration(longestStart), *d)
	}
}

// spread returns over how long so many virtual users begin.
func (s *startOver) spread(n int) time.Duration {
	switch {
	case s.StartOver != nil:
		return s.StartOver.D()
	case n > atOnce:
		return time.Duration(n) * apart
	}
	return 0
}
