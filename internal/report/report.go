// Package report renders what a run came to, and single findings: as text for
// people at a terminal, as JSON for pipelines. It computes and decides nothing.
//
// Text is at most 100 columns wide, as long as names allow it, and never holds
// control characters: names, releases and sentences come from outside.
package report

import (
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
)

// A Run is what one run came to. Rates are iterations a second.
type Run struct {
	Scenario, Run, Test, Target, Release string
	Began, Ended                         time.Time

	Requests, Failed, Iterations, Dropped uint64

	AskedRate    float64 // 0 where the workload asks for no rate
	AchievedRate float64

	Steps []Step

	Kinds   analysis.Kinds // of the parts
	Finding load.Finding   // of KindRun, with its parts

	Valid   bool     // perfd itself did not disturb the measurement
	Invalid []string // the reasons why it did
}

// A Step is what one step of a run came to. Percentiles are of response time, in
// seconds, and 0 where nothing was answered.
type Step struct {
	Name               string
	Requests, Failed   uint64
	P50, P90, P95, P99 float64
}
