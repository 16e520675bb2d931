package analysis

import (
	"time"

	"github.com/perfd/perfd/internal/objective"
)

// A Description is what is configured, as far as analyses may ask: built once
// from the document, the same for all of them. It is read-only and may be kept.
type Description struct {
	Scenarios []Scenario // in the order of the configuration
	Targets   []Target   // likewise
}

// A Scenario is one that is configured.
type Scenario struct {
	Name string
	// Test is what the scenario is for: load, stress, spike, volume or endurance.
	Test string
	// Model is of the workload: open (a rate of arrivals is asked for) or closed.
	Model string
	// Target is where steps send to that name no other; Targets are all of them.
	Target  string
	Targets []string
	// Twin is its baseline, nil for none.
	Twin *Twin
	// Steps are the labels of the flow's steps, in their order, and of the metrics of the scenario's own whose values are
	// as requests are. Metrics are these.
	Steps, Metrics []string
	// Objectives are the scenario's own, then those of its steps.
	Objectives []objective.Objective
	// Blocks are what Kind.Block returned, filled from the configuration, by the name of the analysis.
	Blocks map[string]any
}

// A Twin is the baseline of a scenario: a target that gets the same load at the same time.
type Twin struct {
	// Name is the name of its windows, BaselineName's.
	Name   string
	Target string
	// Margin is the share by which the scenario's target must be worse to be called so.
	Margin float64
}

// The values of Scenario.Test and Scenario.Model that analyses ask for.
const (
	EnduranceTest = "endurance"
	OpenModel     = "open"
)

// A Target is a system under load.
type Target struct {
	Name      string
	Resources []Resource
	// Releases says that it is known which release the target runs.
	Releases bool
}

// A Resource is a level of a target that is read of each of its members.
type Resource struct {
	Name  string
	Kind  string  // load.ResourceMemory, …
	Limit float64 // in the unit of the kind; 0 where there is none
	// For is for how long the level must be at or over the limit, on average; 0 where a few readings are enough.
	For time.Duration
	// WarnAt is the share of Limit, in (0, 1], from which a warning is wanted.
	WarnAt float64
	// Every is the time between two reads.
	Every time.Duration
}
