// Package analysis defines what an analysis is, and what all of them have in
// common: the description that they are configured from (Description), the list of
// kinds (Kind, Kinds), one of each at work (Group), the board that holds their
// findings (Board), and how verdicts are added up (Summary, RunOf).
//
// An analysis is fed with windows, samples and events in order of time: out of
// history when perfd starts or when `perfd analyze` reads an earlier month, and
// as they end while perfd runs. It keeps a bounded part of them and returns
// findings for any instant. The past and the present are therefore judged by the
// same code, and a test of an analysis feeds it.
//
// Each analysis is one folder below this one with a Kind. The package knows none of them.
package analysis

import (
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

// An Analysis answers one question about scenarios or targets. It is not safe for
// concurrent use.
type Analysis interface {
	// Configure sets what is judged. What is known of things that are configured as
	// before is kept. It is called before anything is fed, and again with each new
	// configuration.
	Configure(*Description)

	// Window takes a window that ended: those of a scenario's steps, then the
	// scenario's own, in order of their ends. Windows out of history may be longer
	// than live ones. They are read-only and may be kept.
	Window(*load.Window)
	// Sample takes a reading of a resource.
	Sample(load.Sample)
	// Event takes the beginning or end of a run, a release, or the acceptance of a finding.
	Event(load.Event)

	// Judge returns what is known at an instant, which is not before the last thing
	// that was fed: a finding with Fail for everything that holds, and one with
	// another verdict for everything that is watched. A finding that held and is not
	// returned, or is returned with another verdict, has recovered.
	Judge(at time.Time) []load.Finding
	// Run returns the findings on a run that ended, as known at an instant: the
	// parts of the run's own finding. It may be nil.
	Run(r load.Event, at time.Time) []load.Finding

	// Collect sends the metrics of the analysis, as of the last Judge.
	Collect(send Send)
}

// A Prompt analysis does not wait for windows to end.
type Prompt interface {
	// Part takes what a scenario counted within a part of its own window under way in
	// which every request failed, and the first part after it in which not: requests,
	// failures, what was touched, flags and the run. The window follows when it ends.
	// It reports whether there is something new to judge.
	Part(*load.Window) bool
}

// A Twinned analysis takes what the other side of a scenario with a twin did, too. All others judge the scenario's own
// side alone.
type Twinned interface {
	// Baseline takes a window whose scenario is a name of BaselineName's, as Window takes the others. Those of one
	// interval may come before or after the scenario's.
	Baseline(*load.Window)
}

// Send takes the value of a metric, with a value for each of its labels.
type Send = metric.Send

// Number returns 1 for true and 0 for false.
func Number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
