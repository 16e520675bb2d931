// Package analysis is what judges have in common: what they are given, what they
// answer with, and the board on which their findings live.
//
// An analysis is fed, in order of time, with windows, samples and events: out of
// history when perfd starts or when `perfd analyze` asks about last month, and
// as they end while perfd runs. It keeps what it needs of them, bounded, and
// says at any instant what it knows. So a judgement of the past and one of the
// present are the same code, and an analysis is tested by feeding it.
package analysis

import (
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

// An Analysis answers one question. One goroutine calls it.
type Analysis interface {
	// Configure says what is judged from here on. What is known of things that are
	// configured as before is kept. It is called before anything is fed, and again
	// with each new configuration.
	Configure(*Description)

	// Window takes a window that ended: those of a scenario's steps, then the
	// scenario's own, in order of their ends. Windows out of history may be longer
	// than live ones. They are read-only and may be kept.
	Window(*load.Window)
	// Sample takes the level of a resource.
	Sample(load.Sample)
	// Event takes what happened besides.
	Event(load.Event)

	// Judge says what is known at an instant, not before the last thing that was
	// fed: everything that holds (Fail), and everything that is watched and not
	// proven either way or proven well. What it does not return any more, or
	// returns with another verdict, has recovered.
	Judge(at time.Time) []load.Finding
	// Run says what there is to say of a run that ended at an instant; nil where it has no say.
	Run(r load.Event, at time.Time) []load.Finding

	// Collect sends the metrics that the last Judge left.
	Collect(send Send)
}

// Send takes the value of a metric, with a value for each of its labels.
type Send func(d *metric.Desc, value float64, labels ...string)

// Number is 1 for true.
func Number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
