package judge

import (
	"sync"
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/config"
	"github.com/perfd/perfd/internal/load"
)

// An Analysis is one analysis, the kinds of findings it makes, and how it is
// configured.
type Analysis struct {
	analysis.Analysis
	Kinds     []load.Kind
	Configure func(*config.Document)
	Live      func() // the history is read; nil for an analysis that does not care

	took time.Duration // since the daemon began
}

// analyses are all of them, in the order in which runs speak of them.
type analyses []*Analysis

func (all analyses) configure(doc *config.Document) {
	for _, a := range all {
		a.Configure(doc)
	}
}

// live says that what was fed so far was the history.
func (all analyses) live() {
	for _, a := range all {
		if a.Live != nil {
			a.Live()
		}
	}
}

// run returns what the analyses say of a run that ended.
func (all analyses) run(e load.Event, at time.Time) (parts []load.Finding) {
	for _, a := range all {
		parts = append(parts, a.Run(e, at)...)
	}
	return parts
}

// A feed gives analyses what the history has. It takes the lock for one item at
// a time, so that scrapes get their turn.
type feed struct {
	mu *sync.Mutex
	to analyses
}

// Window feeds a window.
func (f feed) Window(w *load.Window) { f.each(func(a *Analysis) { a.Window(w) }) }

// Sample feeds a sample.
func (f feed) Sample(s load.Sample) { f.each(func(a *Analysis) { a.Sample(s) }) }

// Event feeds an event.
func (f feed) Event(e load.Event) { f.each(func(a *Analysis) { a.Event(e) }) }

func (f feed) each(do func(*Analysis)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.to {
		do(a)
	}
}
