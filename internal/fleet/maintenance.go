package fleet

import (
	"maps"
	"slices"
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/maintenance"
	"github.com/perfd/perfd/internal/metric"
)

// maintenanceKey is the key of the state that holds until when targets are in
// maintenance: a restart puts an end on the timeline that came meanwhile.
const maintenanceKey = "maintained"

// Maintain takes a window of declared maintenance. Its errors are those of
// [maintenance.Pushed.Push].
func (f *Fleet) Maintain(w maintenance.Window) (maintenance.Window, error) {
	w, err := f.pushed.Push(w, time.Now())
	f.followMaintenance(time.Now())
	return w, err
}

// EndMaintenance ends a pushed window. Its errors are those of [maintenance.Pushed.End].
func (f *Fleet) EndMaintenance(id string) error {
	err := f.pushed.End(id, time.Now())
	f.followMaintenance(time.Now())
	return err
}

// Maintenance returns the windows that hold an instant, and the pushed ones to come.
func (f *Fleet) Maintenance(at time.Time) (now, coming []maintenance.Window) {
	return append(f.current().maintenance.At(at), f.pushed.At(at)...), f.pushed.After(at)
}

// maintained reports whether a target was in maintenance at any time between two instants.
func (f *Fleet) maintained(target string, from, to time.Time) bool {
	return f.current().maintenance.During(target, from, to) || f.pushed.During(target, from, to)
}

// followMaintenance puts on the timeline and in the log which targets enter or
// leave maintenance, or stay in it for longer or shorter than was known.
func (f *Fleet) followMaintenance(at time.Time) {
	f.following.Lock()
	defer f.following.Unlock()
	until := map[string]time.Time{}
	now, _ := f.Maintenance(at)
	for name := range f.current().targets {
		for i := range now {
			if w := &now[i]; w.Covers(name) && w.Until.After(until[name]) {
				until[name] = w.Until
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(until)) {
		if !until[name].Equal(f.known[name]) {
			f.o.Log.Info("the target is in maintenance: load goes on and is not judged", "target", name, "until", until[name])
			f.o.Judge.Event(load.Event{At: at, Kind: load.MaintenanceSet, Target: name, Until: until[name]})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.known)) {
		if until[name].IsZero() {
			f.o.Log.Info("maintenance has ended", "target", name)
			f.o.Judge.Event(load.Event{At: at, Kind: load.MaintenanceSet, Target: name, Until: at})
		}
	}
	if maps.EqualFunc(f.known, until, time.Time.Equal) {
		return
	}
	f.known = until
	if err := f.o.State.Set(maintenanceKey, until); err != nil {
		f.o.Log.Warn("maintenance was not kept; after a restart the timeline may show it twice", "err", err)
	}
}

// collectMaintenance sends which targets are in maintenance, and whether a
// scenario sends to one of them.
func (f *Fleet) collectMaintenance(send analysis.Send, g *generation, at time.Time) {
	now, _ := f.Maintenance(at)
	for name := range g.targets {
		ends := map[string]time.Time{} // by name of the window: windows may share one
		for i := range now {
			if w := &now[i]; w.Covers(name) && w.Until.After(ends[w.Name]) {
				ends[w.Name] = w.Until
			}
		}
		for window, end := range ends {
			send(metric.MaintenanceEnd, float64(end.UnixMilli())/1000, name, window)
		}
	}
	for _, s := range g.scenarios {
		in := false
		for target := range s.targets {
			in = in || slices.ContainsFunc(now, func(w maintenance.Window) bool { return w.Covers(target) })
		}
		send(metric.ScenarioMaintenance, analysis.Number(in), s.name)
	}
}
