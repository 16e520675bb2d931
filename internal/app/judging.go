package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/common/version"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/config"
	"github.com/perfd/perfd/internal/history"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
	"github.com/perfd/perfd/internal/output/otlp"
	"github.com/perfd/perfd/internal/pace"
	"github.com/perfd/perfd/internal/schedule"
	"github.com/perfd/perfd/internal/validity"
	"github.com/perfd/perfd/internal/web"
)

// historyFolder is where the history lies below --storage.path.
const historyFolder = "history"

// openHistory opens what perfd remembers.
func (a *App) openHistory(doc *config.Document) (*history.History, error) {
	h, err := history.Open(history.Options{
		Dir: filepath.Join(a.opts.StoragePath, historyFolder), MaxBytes: int64(doc.History.MaxSize), MaxAge: doc.History.MaxAge.D(),
		Log: a.log, Fault: func(error) { a.historyFaults.Add(1) },
	})
	if err != nil {
		return nil, fmt.Errorf("open the history: %w", err)
	}
	a.life.onStop("history", func(context.Context) error { return h.Close() })
	return h, nil
}

// window takes a window that ended.
func (a *App) window(w *load.Window) {
	a.windows.add(w)
	a.verdicts.inbox.put(w)
	if a.observed != nil {
		a.observed(w)
	}
}

// circumstances says what must be known of a scenario's window before it is judged.
func (a *App) circumstances(own *load.Window) (load.Circumstances, func(target string) string) {
	// After a stall the fold may come before the monitor's own look.
	a.monitor.Look()
	st := a.current()
	var s *scenario
	if st != nil {
		s = st.scenario(own.Scenario)
	}
	if s == nil {
		return load.Circumstances{Flags: load.Flags{Paused: a.pause.during(own.Start, own.End)}}, func(string) string { return "" }
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
	judged := *own
	judged.Run = c.Run
	judged.Flags = a.flags(s, own.Start, own.End)
	var broken bool
	var from, to time.Time
	if own.Iterations == nil {
		// The window of a step that ended alone: the scenario's own, with what was under way, comes later.
	} else if c.Busy, broken, from, to = s.balance.Window(&judged); broken {
		s.valid.Disturbed(validity.LittlesLaw, from, to)
		judged.Flags.Invalid |= 1 << validity.LittlesLaw
		s.log.Warn("what was recorded does not add up to what was under way", "from", from, "to", to)
	}
	c.Flags = judged.Flags
	c.Flags.Settling = settling
	return c, func(target string) string { return releases[target] }
}

// planned is how many iterations the plan asked this instance for between two
// instants, of which a run may have covered a part.
func (s *scenario) planned(start, end time.Time) float64 {
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
	return open.Count(start.Sub(zero), end.Sub(zero)) / float64(max(1, s.app.opts.Shards))
}

// release is that of the scenario's own target, empty where it is not known.
func (s *scenario) release() string {
	return s.targets[s.home()].watch.State().Release
}

// home is the scenario's own target or, where no step sends there, that of its first step.
func (s *scenario) home() string {
	if s.targets[s.cfg.Target.S] != nil {
		return s.cfg.Target.S
	}
	return s.first.name
}

// event is an event about a run of the scenario.
func (s *scenario) event(kind load.EventKind, named *identity, at time.Time) load.Event {
	return load.Event{
		At: at, Kind: kind, Scenario: s.name, Run: named.id, Test: string(s.cfg.Test), Target: s.home(), Targets: s.cfg.Program.Targets(),
		Release: named.release, Observer: s.observer(),
	}
}

// observer is the fingerprint of what measures (SEMANTICS section 12): numbers of
// two observers are not compared.
func (s *scenario) observer() string {
	return fmt.Sprintf("%s %s/%s %d cpus, shard of %d, %.12s",
		version.Version, runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), max(1, s.app.opts.Shards), s.cfg.Shape)
}

// began notes that a run began.
func (s *scenario) began(named *identity) {
	s.app.verdicts.inbox.put(s.event(load.RunBegan, named, named.since.Round(0)))
}

// over hands a run that ended to whoever judges it. A result that is known
// already, such as interrupted, stays.
func (s *scenario) over(named *identity, result string, at time.Time) {
	e := s.event(load.RunEnded, named, at.Round(0))
	e.Result = result
	r := endedRun{Event: e, began: named.measured(), at: at, trace: named.trace, since: named.since}
	if named.broken {
		r.doubts = append(r.doubts, "more than 5 % of the run had no load")
	}
	s.app.verdicts.inbox.put(r)
}

// lost notes a run that an earlier process began and nobody resumes.
func (s *scenario) lost(sr schedule.Run) { s.over(newIdentity(sr, ""), "interrupted", time.Now()) }

// judged counts a run and makes a span of it, under the trace that the log names.
func (a *App) judged(r endedRun, f load.Finding) {
	a.results.add(r.Scenario, r.Result)
	if t := a.tracing.Load(); t != nil {
		t.Span(otlp.RunSpan{
			Scenario: r.Scenario, Run: r.Run, Test: r.Test, Trace: r.trace, Start: r.since, End: r.at, Result: r.Result, Release: f.Release,
		})
	}
}

// results counts runs that ended, over reloads too. Its zero value is ready.
type results struct {
	mu sync.Mutex
	of map[[2]string]uint64 // by scenario and result
}

// runResults are the values of the label.
var runResults = []string{"pass", "fail", "inconclusive", "interrupted", "error"}

func (r *results) add(scenario, result string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == nil {
		r.of = map[[2]string]uint64{}
	}
	r.of[[2]string{scenario, result}]++
}

func (r *results) collect(send analysis.Send, scenario string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, result := range runResults {
		send(metric.Runs, float64(r.of[[2]string{scenario, result}]), scenario, result)
	}
}

// forget lets go of a scenario that is gone.
func (r *results) forget(scenario string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.of, func(k [2]string, _ uint64) bool { return k[0] == scenario })
}

// limitsOf are the limits of objectives on response times, by step: its own and the scenario's.
func limitsOf(c *config.Scenario) [][]time.Duration {
	limits := make([][]time.Duration, len(c.Program.Steps))
	for i := range c.Program.Steps {
		limits[i] = c.Limits(i)
	}
	return limits
}

// adopt takes over what a new document says of a scenario that runs on: its objectives.
func (s *scenario) adopt(c *config.Scenario) {
	s.at.Store(c.At)
	if err := s.sink.Limit(limitsOf(c)); err != nil {
		s.log.Error("new limits of objectives are not recorded", "err", err) // validation found them to be well
	}
}

// findings is what web sees of verdicts.
type findings struct{ *App }

func (f findings) Findings() []load.Finding { return f.verdicts.board.Findings() }

func (f findings) Accept(id string) error {
	at := time.Now().Round(0)
	found, err := f.verdicts.board.Accept(id, at)
	switch {
	case errors.Is(err, analysis.ErrUnknown):
		return web.ErrUnknownFinding
	case errors.Is(err, analysis.ErrNotAcceptable):
		return web.ErrNotAcceptable
	case err != nil:
		return err
	}
	f.verdicts.inbox.put(load.Event{
		At: at, Kind: load.FindingTaken, Scenario: found.Scenario, Target: found.Target, Release: found.Release, Finding: id,
	})
	return nil
}

func (f findings) Release(name, release string) error {
	t := f.current().targets[name]
	if t == nil {
		return web.ErrUnknownTarget
	}
	return t.watch.Push(release, time.Now())
}
