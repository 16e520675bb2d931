package fleet

import (
	"time"

	"github.com/perfd/perfd/internal/config"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/pace"
)

// Window keeps a window that ended for the pages, as the last of its scenario
// and step.
func (f *Fleet) Window(w *load.Window) { f.windows.add(w) }

// Circumstances says what must be known of a scenario's window before it is
// judged, and which release each target ran in it. The window is the scenario's
// own, or that of a step that ended alone.
func (f *Fleet) Circumstances(own *load.Window) (load.Circumstances, func(target string) string) {
	s := f.Scenario(own.Scenario)
	if s == nil {
		return load.Circumstances{Flags: load.Flags{Paused: f.pause.during(own.Start, own.End)}}, func(string) string { return "" }
	}
	releases := map[string]string{}
	settling := false
	for name, t := range s.targets {
		release, unsettled := t.watch.During(own.Start, own.End)
		releases[name] = release
		settling = settling || unsettled
	}
	c := load.Circumstances{
		Run: s.runDuring(own.Start, own.End), Release: releases[s.cfg.Target.S], Planned: s.planned(own.Start, own.End),
	}
	c.Flags = f.flags(s, own)
	// The window of a step that ended alone does not hold what was under way: the scenario's own follows.
	if own.Iterations != nil {
		c.Flags.Invalid, c.Stalled = s.valid.Window(own, s.cfg.Program.Requests)
		judged := *own
		judged.Circumstances = c
		busy, broken, from, to := s.balance.Window(&judged)
		c.Busy = busy
		if broken {
			c.Flags.Invalid |= s.valid.Broken(from, to)
			s.log.Warn("what was recorded does not add up to what was under way", "from", from, "to", to)
		}
	}
	c.Flags.Settling = settling
	return c, func(target string) string { return releases[target] }
}

// Flag sets the flags of a part of a scenario's own window under way, and the run that it belongs to.
func (f *Fleet) Flag(part *load.Window) {
	s := f.Scenario(part.Scenario)
	if s == nil {
		part.Flags.Paused = f.pause.during(part.Start, part.End)
		return
	}
	part.Run = s.runDuring(part.Start, part.End)
	part.Flags = f.flags(s, part)
	for _, t := range s.targets {
		_, unsettled := t.watch.During(part.Start, part.End)
		part.Flags.Settling = part.Flags.Settling || unsettled
	}
}

// flags says how a scenario's measurement was disturbed while a window was open.
func (f *Fleet) flags(s *Scenario, own *load.Window) load.Flags {
	start, end := own.Start, own.End
	flags := load.Flags{Paused: f.pause.during(start, end), BackedOff: s.backedOff(own)}
	for name := range s.targets {
		flags.Maintenance = flags.Maintenance || f.maintained(name, start, end)
	}
	if r := s.current(); r != nil {
		flags.WarmUp = r.warmingUp(start)
	}
	if s.cfg.Tolerate || s.harsh() {
		return flags
	}
	for _, o := range f.Scenarios() {
		if o != s && o != s.twin && o != s.primary && o.harsh() && o.runDuring(start, end) != "" && o.sharesTarget(s) {
			flags.Disturbed = true
		}
	}
	return flags
}

// backedOff reports whether a window is one of load that was withheld from a target in
// distress: at its end still, or of an arrival within it.
func (s *Scenario) backedOff(own *load.Window) bool {
	for _, t := range s.targets {
		if t.distress.Share() < 1 {
			return true
		}
	}
	return own.Iterations != nil && own.Iterations.Dropped[load.Backoff] > 0
}

// harsh reports whether the scenario's load is meant to disturb its target.
func (s *Scenario) harsh() bool {
	return s.cfg.Test == config.StressTest || s.cfg.Test == config.SpikeTest
}

func (s *Scenario) sharesTarget(o *Scenario) bool {
	for name := range s.targets {
		if o.targets[name] != nil {
			return true
		}
	}
	return false
}

// planned is how many iterations the plan asked this instance for between two
// instants, of which a run may have covered a part.
func (s *Scenario) planned(start, end time.Time) float64 {
	open, ok := s.plan.(pace.Open)
	s.mu.Lock()
	r := s.newest
	s.mu.Unlock()
	if !ok || r == nil {
		return 0
	}
	if joined := r.joined.Round(0); start.Before(joined) {
		start = joined
	}
	if ended := r.ended.Load(); ended != nil && end.After(*ended) {
		end = *ended
	}
	if !end.After(start) {
		return 0
	}
	zero := r.engine.Zero().Round(0)
	return open.Count(start.Sub(zero), end.Sub(zero)) / float64(max(1, s.o.Shards))
}
