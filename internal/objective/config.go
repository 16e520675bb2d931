// Package objective holds one clause of an SLA: what it says, as it is written
// ("p(95) < 500ms"), and how it counts what happened over an interval
// (SEMANTICS sections 2 and 3).
//
// It must not know how verdicts are found.
package objective

import (
	"slices"
	"time"

	"github.com/perfd/perfd/internal/block"
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
	That     block.Text     `yaml:"that" block:"required" doc:"What must hold: p(95) < 500ms, error_ratio < 0.1%, availability > 99.9%, check_ratio > 99%, check_ratio(\"name\") > 99% or rate > 50/s."`
	Window   block.Duration `yaml:"window" doc:"Span of the value that is shown (default 5m). Verdicts rest on all that was measured since they last began anew."`
	Severity string         `yaml:"severity" doc:"warning (default), critical or info: the label by which alerts are routed."`
}

const (
	usualWindow   = 5 * time.Minute
	longestWindow = 30 * 24 * time.Hour // for as long there is an error budget
)

// Validate checks what needs no other part of the configuration.
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
	if n := at.Get("window"); n != nil && (c.Window <= 0 || c.Window.D() > longestWindow) {
		errs.Add(n.Pos, n.Path, "must be more than 0s and at most 30d, got %s", c.Window)
	}
	if n := at.Get("severity"); n != nil && !slices.Contains(severities, c.Severity) {
		errs.Add(n.Pos, n.Path, "must be warning, critical or info, got %q", c.Severity).Hint = block.Nearest(c.Severity, severities)
	}
}

// A Place says where in a scenario an objective stands.
type Place struct {
	Scenario string
	Step     string // empty for the scenario's own
	Target   string // of the step, or the scenario's own

	// PerIteration is how many requests an iteration makes on the flow's unconditional path,
	// of a step objective how many of them are its step's.
	PerIteration int
}

// Compile returns the objective. The configuration must have passed Validate.
func (c Config) Compile(at Place) Objective {
	o, _, _ := parse(c.That.S)
	o.Scenario, o.Step, o.Target, o.PerIteration = at.Scenario, at.Step, at.Target, uint64(max(0, at.PerIteration))
	o.Name, o.That = c.Name.S, c.That.S
	o.Window, o.Severity = c.Window.D(), c.Severity
	if o.Window == 0 {
		o.Window = usualWindow
	}
	if o.Severity == "" {
		o.Severity = Warning
	}
	return o
}
