// Package report renders the result of a run, and single findings: as text for
// terminals, as JSON for pipelines. It computes and decides nothing.
//
// Text is at most 100 columns wide where names allow it, and holds no control
// characters: names, releases and sentences come from outside.
package report

import (
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
)

// A Run is the result of one run. Rates are iterations per second.
type Run struct {
	Scenario, Run, Test, Target, Release string
	Began, Ended                         time.Time
	Scaled                               string // what times and load of the configuration were scaled by, empty for nothing

	Requests, Failed, Iterations, Dropped uint64
	// Drops are Dropped by reason, Touched the requests that perfd itself disturbed,
	// by reason. Both are without what is 0.
	Drops, Touched []Count

	AskedRate    float64 // 0 where the workload is closed
	AchievedRate float64

	Steps  []Step
	Checks []Check

	Kinds   analysis.Kinds // describe the parts of Finding
	Finding load.Finding   // of KindRun, with its parts

	Valid   bool     // whether perfd itself left the measurement undisturbed
	Invalid []string // the reasons where it did not
}

// A Step is the result of one step of a run. Percentiles are those of response
// times, in seconds, and 0 without an answer.
type Step struct {
	Name               string
	Group              bool // is a group of steps, and its requests are groups as a whole
	Requests, Failed   uint64
	Retries            uint64 // attempts before the ones that Requests counts
	Metric             string // the type of the metric of the scenario's own that this is, empty for none; its requests are values
	Unit               string // of the values of such a metric, empty for seconds
	P50, P90, P95, P99 float64
	Failures           []Count // Failed by cause, without what is 0

	// Messages are those of the streams that the step opened; nil where it opens none.
	Messages *load.MessageCounts
}

// A Count is how often something happened for a reason.
type Count struct {
	Reason string
	Count  uint64
}

// A Check is how often a check was evaluated in a run, and how often it did not hold.
type Check struct {
	Name              string
	Evaluated, Failed uint64
}
