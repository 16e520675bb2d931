// Package objective holds the clauses of an SLA: how one is written
// ("p(95) < 500ms"), and which events of a window are good or bad by it.
//
// It must not know how verdicts are reached.
package objective

import (
	"fmt"
	"slices"
	"time"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/load"
)

// The severities: the label by which alerts are routed.
const (
	Warning  = "warning"
	Critical = "critical"
	Info     = "info"
)

var severities = []string{Warning, Critical, Info}

// A Config is one item of the objectives of a scenario or of a step.
type Config struct {
	Name     block.Text     `yaml:"name" block:"required" doc:"Name of the objective: the label of its metrics, unique within the scenario."`
	That     block.Text     `yaml:"that" block:"required" doc:"What must hold: p(95) < 500ms, error_ratio < 0.1%, availability > 99.9%, check_ratio > 99%, check_ratio(\"name\") > 99%, rate > 50/s, login_success > 99% of a rate or p(95) of processing_time < 2s of a trend among the scenario's metrics, or in a step that opens streams p(99) of message_gap < 1s, as of message_first, message_round_trip, message_ping, message_reconnect and stream_lifetime."`
	Window   block.Duration `yaml:"window" scale:"time" doc:"Span of the value that is shown (default 5m). Verdicts rest on all that was measured since they last began anew."`
	Severity string         `yaml:"severity" doc:"warning (default), critical or info: the label by which alerts are routed."`
}

const (
	defaultWindow = 5 * time.Minute
	maxWindow     = 30 * 24 * time.Hour // the span of error budgets
)

// windowAt is the default window of what stands at a node. A rehearsal shortens it as it does one that is written.
func windowAt(at *block.Node) block.Duration {
	return max(1, block.Duration(float64(defaultWindow)*at.Scaling().Time))
}

// Validate checks the clause by itself, without the rest of the configuration.
func (c *Config) Validate(at *block.Node, errs *block.Errors) {
	if c.Name.S == "" {
		errs.Add(c.Name.Pos, c.Name.Path, "must not be empty")
	}
	if _, problem, hint := parse(c.That.S); problem != "" {
		if c.That.Hidden {
			problem, hint = "is no condition that an objective may have", ""
		}
		errs.Add(c.That.Pos, c.That.Path, "%s", problem).Hint = hint
	}
	if n := at.Get("window"); n == nil {
		c.Window = windowAt(at)
	} else if c.Window <= 0 || c.Window.D() > maxWindow {
		errs.Add(n.Pos, n.Path, "must be more than 0s and at most 30d, got %s", c.Window)
	}
	if n := at.Get("severity"); n != nil && !slices.Contains(severities, c.Severity) {
		errs.Add(n.Pos, n.Path, "must be warning, critical or info, got %q", c.Severity).Hint = block.Nearest(c.Severity, severities)
	}
}

// Checks says what the checks of a scenario must reach: it is an objective for each of
// them, so that one that fails is not lost among others.
type Checks struct {
	AtLeast  block.Ratio `yaml:"at_least" block:"required" doc:"Share of evaluations in which each check must hold, such as 99%. A check with a check_ratio objective of its own keeps that."`
	Severity string      `yaml:"severity" doc:"warning (default), critical or info: the label by which alerts are routed."`

	window block.Duration
}

// Validate checks the share.
func (c *Checks) Validate(at *block.Node, errs *block.Errors) {
	c.window = windowAt(at)
	if n := at.Get("at_least"); n != nil && (c.AtLeast <= 0 || c.AtLeast >= 1) {
		errs.Add(n.Pos, n.Path, "must be more than 0%% and less than 100%%, got %s", c.AtLeast).Hint = "no number of evaluations proves that a check never fails"
	}
	if n := at.Get("severity"); n != nil && !slices.Contains(severities, c.Severity) {
		errs.Add(n.Pos, n.Path, "must be warning, critical or info, got %q", c.Severity).Hint = block.Nearest(c.Severity, severities)
	}
}

// Of returns the objective of one check.
func (c *Checks) Of(check string) Config {
	return Config{
		Name: block.Text{S: "check " + check}, That: block.Text{S: fmt.Sprintf("check_ratio(%q) > %s", check, c.AtLeast)}, Window: c.window, Severity: c.Severity,
	}
}

// A Place is the position of an objective in a scenario.
type Place struct {
	Scenario string
	Step     string // empty for the scenario's own
	Target   string // of the step, or the scenario's own

	// PerIteration is the number of requests that an iteration makes on the flow's
	// unconditional path; for an objective of a step, the number that the step makes.
	PerIteration int
}

// Compile returns the objective. The configuration must have passed Validate.
func (c Config) Compile(at Place) Objective {
	o, _, _ := parse(c.That.S)
	o.Scenario, o.Target = at.Scenario, at.Target
	if t, ok := load.MessageTimingNamed(o.Step); ok && o.Metric && at.Step != "" {
		o.Step = t.Series(at.Step)
	}
	if !o.Metric { // which no iteration that was dropped is known to have set
		o.Step, o.PerIteration = at.Step, uint64(max(0, at.PerIteration))
	}
	o.Name, o.That = c.Name.S, c.That.S
	o.Window, o.Severity = c.Window.D(), c.Severity
	if o.Window == 0 {
		o.Window = defaultWindow
	}
	if o.Severity == "" {
		o.Severity = Warning
	}
	return o
}
