package regression

import (
	"time"

	conf "github.com/perfd/perfd/internal/block" // block is a stretch of windows here
)

// A Config is the regression block of a scenario.
type Config struct {
	Margin   conf.Ratio    `yaml:"margin" doc:"A release must be worse by more than this share to be called a regression (default 5%)."`
	Interval conf.Duration `yaml:"interval" doc:"Least length of the intervals that releases are compared by; a comparison takes twelve of at least 100 requests on either side (default 1m)."`
}

// Intervals consist of whole windows. Longer ones make a release wait for days.
const (
	leastInterval = 10 * time.Second
	mostInterval  = time.Hour
)

// Validate checks what was written.
func (c *Config) Validate(at *conf.Node, errs *conf.Errors) {
	if n := at.Get("margin"); n != nil && (c.Margin < 0.005 || c.Margin > 1) {
		errs.Add(n.Pos, n.Path, "must be between 0.5%% and 100%%, got %s", c.Margin).Hint = "runs differ by themselves; less than 0.5% is never proven in time"
	}
	if n, d := at.Get("interval"), time.Duration(c.Interval); n != nil && (d < leastInterval || d > mostInterval) {
		errs.Add(n.Pos, n.Path, "must be from %v to %v, got %s", conf.Duration(leastInterval), conf.Duration(mostInterval), n.Text()).Hint = "perfd counts in windows of 10s; a comparison takes twelve intervals"
	}
}
