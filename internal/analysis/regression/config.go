package regression

import conf "github.com/perfd/perfd/internal/block" // block is a stretch of windows here

// A Config is the regression block of a scenario.
type Config struct {
	Margin conf.Ratio `yaml:"margin" doc:"A release must be worse by more than this share to be called a regression (default 5%)."`
}

// Validate checks what was written.
func (c *Config) Validate(at *conf.Node, errs *conf.Errors) {
	if n := at.Get("margin"); n != nil && (c.Margin < 0.005 || c.Margin > 1) {
		errs.Add(n.Pos, n.Path, "must be between 0.5%% and 100%%, got %s", c.Margin).Hint = "runs differ by themselves; less than 0.5% is never proven in time"
	}
}
