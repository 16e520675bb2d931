package pace

import (
	"fmt"
	"strings"
)

// Describe says the workload in one line: "ramping-arrival-rate: 0/s → 50/s over
// 5m, then 50/s for 55m, repeats from stage 1".
func (c Config) Describe() string {
	var b strings.Builder
	level := c.startText()
	fmt.Fprintf(&b, "%s: %s", c.Executor, level)
	if c.Stages == nil && c.Duration > 0 {
		fmt.Fprintf(&b, " for %s", c.Duration)
	}
	for i, s := range c.Stages {
		target := s.Target.String()
		switch {
		case s.Duration == 0:
			fmt.Fprintf(&b, ", then at once %s", target)
		case target == level && i == 0:
			fmt.Fprintf(&b, " for %s", s.Duration)
		case target == level:
			fmt.Fprintf(&b, ", then %s for %s", target, s.Duration)
		case i == 0:
			fmt.Fprintf(&b, " → %s over %s", target, s.Duration)
		default:
			fmt.Fprintf(&b, ", then → %s over %s", target, s.Duration)
		}
		level = target
	}
	if r := c.Repeat; r != nil {
		fmt.Fprintf(&b, ", repeats from stage %d", r.From)
		if r.Times > 0 {
			fmt.Fprintf(&b, " %d×", r.Times)
		}
	}
	if c.Arrivals == Poisson {
		b.WriteString(", poisson arrivals")
	}
	return b.String()
}

func (c Config) startText() string {
	if c.Open() {
		return c.startRate().String()
	}
	n := int(c.start())
	return Target{VUs: &n}.String()
}

// String returns the target as it was written, with its unit.
func (t Target) String() string {
	switch {
	case t.Rate != nil:
		return t.Rate.String()
	case *t.VUs == 1:
		return "1 VU"
	}
	return fmt.Sprintf("%d VUs", *t.VUs)
}
