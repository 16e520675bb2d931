// Package maintenance knows when a target is in declared maintenance: load goes
// on, and what is measured meanwhile is no evidence (SEMANTICS section 3). It
// is declared in the configuration (Plan), or pushed while perfd runs (Pushed).
package maintenance

import (
	"fmt"
	"slices"
	"time"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/schedule"
)

// A Config is an entry of the maintenance block: times as of a blackout, in
// which load goes on and is not judged.
type Config struct {
	schedule.Blackout
	Targets []block.Text `yaml:"targets" doc:"Names of the targets that are in maintenance; all of them by default."`
}

// Validate checks the entry by itself.
func (c *Config) Validate(at *block.Node, errs *block.Errors) { c.Blackout.Validate(at, errs) }

// A Window is one stretch of maintenance.
type Window struct {
	ID      string    `json:"id"` // of a pushed one
	Name    string    `json:"name"`
	Targets []string  `json:"targets,omitempty"` // all where there are none
	From    time.Time `json:"from"`              // unknown of a declared one
	Until   time.Time `json:"until"`
}

// Covers reports whether a target is in maintenance by the window, whenever that is.
func (w *Window) Covers(target string) bool {
	return len(w.Targets) == 0 || slices.Contains(w.Targets, target)
}

// A Plan is what a configuration declares. The nil *Plan declares nothing.
type Plan struct{ list []declared }

type declared struct {
	name    string
	targets []string
	times   *schedule.Blackouts
}

// NewPlan compiles validated entries. It fails only for one that was not validated.
func NewPlan(list []Config) (*Plan, error) {
	p := &Plan{}
	for _, c := range list {
		times, err := schedule.NewBlackouts([]schedule.Blackout{c.Blackout})
		if err != nil {
			return nil, fmt.Errorf("maintenance: %w", err)
		}
		d := declared{name: c.Name, times: times}
		for _, t := range c.Targets {
			d.targets = append(d.targets, t.S)
		}
		p.list = append(p.list, d)
	}
	return p, nil
}

// During reports whether a target is in maintenance at any time between two instants.
func (p *Plan) During(target string, from, to time.Time) bool {
	return slices.ContainsFunc(p.entries(), func(d declared) bool {
		w := Window{Targets: d.targets}
		return w.Covers(target) && d.times.Between(from, to)
	})
}

// At returns the windows that hold an instant.
func (p *Plan) At(t time.Time) (now []Window) {
	for _, d := range p.entries() {
		if name, until, in := d.times.In(t); in {
			now = append(now, Window{Name: name, Targets: d.targets, Until: until})
		}
	}
	return now
}

func (p *Plan) entries() []declared {
	if p == nil {
		return nil
	}
	return p.list
}
