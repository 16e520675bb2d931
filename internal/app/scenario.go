package app

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/config"
	"github.com/perfd/perfd/internal/engine"
	"github.com/perfd/perfd/internal/pace"
	"github.com/perfd/perfd/internal/record"
	"github.com/perfd/perfd/internal/schedule"
	"github.com/perfd/perfd/internal/validity"
)

// A scenario is one configured scenario, alive from the reload that brought it
// to the one that changes it.
type scenario struct {
	app  *App
	name string
	cfg  *config.Scenario
	log  *slog.Logger

	plan        pace.Plan
	open        bool
	sink        *record.Sink
	valid       *validity.Scenario
	failures    *failureRing
	targets     map[string]*liveTarget
	first       *liveTarget   // of the first step
	stepTargets []*liveTarget // by step
	runner      *schedule.Runner
	reborn      bool               // it replaces an older version of itself; until its first run
	leave       context.CancelFunc // ends the runner
	left        chan struct{}      // closed when it has ended

	at      atomic.Pointer[block.Node] // the scenario's place in the newest document
	balance validity.Balance

	mu     sync.Mutex
	run    *run   // under way, nil for none
	newest *run   // that or, after its end, the last one; nil before the first
	marks  []mark // where runs began and ended, the newest last
}

// A mark is where a run began, or one ended and none followed.
type mark struct {
	at time.Time
	id string
}

// keptMarks is how many marks are remembered: those of the windows under way do.
const keptMarks = 8

// newScenario builds everything a scenario needs but its sink, and starts nothing.
func newScenario(a *App, c *config.Scenario, targets map[string]*liveTarget) (*scenario, error) {
	s := &scenario{
		app: a, name: c.Name.S, cfg: c, log: a.log.With("scenario", c.Name.S),
		open: c.Workload.Open(), valid: validity.NewScenario(c.Validity),
		targets: map[string]*liveTarget{},
	}
	s.at.Store(c.At)
	s.failures = newFailureRing(s.log)
	var err error
	if s.plan, err = pace.New(c.Workload, s.name); err != nil {
		return nil, fmt.Errorf("scenario %s: %w", s.name, err)
	}
	for _, name := range c.Program.Targets() {
		s.targets[name] = targets[name]
	}
	for _, step := range c.Program.Steps {
		s.stepTargets = append(s.stepTargets, targets[step.Target])
	}
	s.first = s.stepTargets[0]
	return s, nil
}

// openSink makes the scenario's series exist.
func (s *scenario) openSink() error {
	info := record.Scenario{
		Name: s.name, Test: string(s.cfg.Test), Executor: s.cfg.Workload.Executor, Model: s.cfg.Workload.Model(),
		Labels: s.cfg.Labels,
	}
	limits := limitsOf(s.cfg)
	for i, step := range s.cfg.Program.Steps {
		info.Steps = append(info.Steps, record.Series{Step: step.Label, Target: step.Target, Protocol: step.Protocol, Checks: step.Checks, Limits: limits[i]})
	}
	var err error
	s.sink, err = s.app.recorder.Open(info)
	return err
}

// newRunner compiles the scenario's schedule.
func (s *scenario) newRunner(blackouts []schedule.Blackout) error {
	all, err := schedule.NewBlackouts(blackouts)
	if err != nil {
		return err
	}
	sched, err := schedule.New(s.cfg.Schedule, schedule.Options{
		Scenario: s.name, Test: string(s.cfg.Test), Blackouts: all,
		Workload: schedule.Workload{Cycle: s.cfg.Workload.Cycle(), End: s.cfg.Workload.End()},
	})
	if err != nil {
		return err
	}
	paused, _ := s.app.pause.state()
	s.runner = schedule.NewRunner(schedule.RunnerOptions{
		Schedule: sched, Starter: s, Memory: memory{s.app.store, s.memoryKey()}, Log: s.log, Paused: paused,
		Lost: s.lost,
	})
	return nil
}

// schedules is the prefix of the keys under which the store keeps what schedules remember.
const schedules = "schedule/"

// memoryKey is where the scenario's schedule remembers. A changed scenario has
// another: what its predecessor, which may still drain, did is not its past.
func (s *scenario) memoryKey() string { return schedules + s.name + "/" + s.cfg.Fingerprint[:16] }

// forgetSchedules lets go of what schedules of scenarios remembered that are no more.
func (a *App) forgetSchedules() {
	keep := map[string]bool{}
	for _, s := range a.current().scenarios {
		keep[s.memoryKey()] = true
	}
	for _, key := range a.store.all(schedules) {
		if keep[key] {
			continue
		}
		if err := a.store.set(key, nil); err != nil {
			a.log.Warn("forget a schedule", "key", key, "err", err)
		}
	}
}

// launch starts the scenario's schedule.
func (s *scenario) launch() {
	ctx, cancel := context.WithCancel(context.Background())
	s.leave, s.left = cancel, make(chan struct{})
	go func() {
		defer close(s.left)
		s.runner.Run(ctx)
	}()
}

// drain ends the schedule, and the run under way with its grace.
func (s *scenario) drain() {
	s.leave()
	<-s.left
}

// retire ends a scenario that a reload has taken away or replaced.
func (s *scenario) retire() {
	s.drain()
	s.sink.Close()
	if now := s.app.current().scenario(s.name); now == nil {
		s.app.windows.forget(s.name)
		s.app.results.forget(s.name)
	}
	if err := s.app.store.set(s.memoryKey(), nil); err != nil {
		s.log.Warn("forget the schedule", "err", err)
	}
	s.log.Info("scenario ended", "reason", "reload")
}

// Begin starts a run; it is the schedule's to call.
func (s *scenario) Begin(sr schedule.Run, ended func()) error {
	if s.reborn && sr.End.IsZero() && !sr.Manual && !s.cfg.Workload.End().Counted() {
		// A reload cuts an always-on run: what is measured from now on is another run.
		now := time.Now()
		sr.ID, sr.Fire = now.UTC().Format("20060102T150405Z"), now
	}
	s.reborn = false
	r, err := newRun(s, sr)
	if err != nil {
		now := time.Now()
		s.over(newIdentity(sr, s.release()), "error", now)
		return err
	}
	s.mu.Lock()
	s.run, s.newest = r, r
	s.mark(r.joined, sr.ID)
	s.mu.Unlock()
	s.began(r.identity.Load())
	paused, _ := s.app.pause.state()
	s.log.Info("run started", "run", sr.ID, "trace_id", r.identity.Load().TraceID(), "resumed", sr.Resumed, "plan_zero", sr.Zero)
	r.start(paused, func(o engine.Outcome) {
		now := time.Now()
		named := r.identity.Load()
		s.mu.Lock()
		s.run = nil
		r.stops(now)
		s.mark(now, "")
		s.mu.Unlock()
		if result, over := r.result(o); over {
			s.over(named, result, now)
		}
		s.log.Info("run ended", "run", named.id, "trace_id", named.TraceID(), "outcome", o.String(), "reason", r.reason(), "after", time.Since(r.joined).Round(time.Millisecond))
		ended()
	})
	return nil
}

// End asks the run under way to end with its grace.
func (s *scenario) End(why schedule.Reason) {
	if r := s.current(); r != nil {
		r.why.Store(&why)
		r.stops(time.Now())
		r.cancel()
	}
}

// Cut gives the run under way a new identity: what was measured so far counts as one run.
func (s *scenario) Cut(sr schedule.Run) {
	r := s.current()
	if r == nil {
		return
	}
	now := time.Now()
	s.over(r.identity.Load(), "", now)
	named := newIdentity(sr, s.release())
	r.identity.Store(named)
	s.mu.Lock()
	s.mark(now, sr.ID)
	s.mu.Unlock()
	s.began(named)
	r.retrace()
	s.log.Info("run cut", "run", sr.ID, "trace_id", named.TraceID())
}

// mark notes that a run began, or that one ended and none followed; the caller holds the lock.
func (s *scenario) mark(at time.Time, id string) {
	s.marks = append(s.marks, mark{at, id})
	s.marks = s.marks[max(0, len(s.marks)-keptMarks):]
}

// runDuring is the run that was under way when a window began or, for want of
// one, the first that began in it; empty for none.
func (s *scenario) runDuring(start, end time.Time) (id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.marks {
		switch {
		case !m.at.After(start):
			id = m.id
		case id == "" && m.at.Before(end):
			return m.id
		}
	}
	return id
}

// memory is where a schedule keeps what it must know after a restart.
type memory struct {
	store *store
	key   string
}

func (m memory) Get(v any) bool  { return m.store.get(m.key, v) }
func (m memory) Set(v any) error { return m.store.set(m.key, v) }

// state is the one of states that the scenario is in.
func state(st schedule.Status) string {
	switch {
	case st.Paused:
		return "paused"
	case st.Draining:
		return "draining"
	case st.Running:
		return "running"
	case st.Blackout:
		return "blackout"
	case st.Stopped:
		return "stopped"
	}
	return "waiting"
}

// current is the run under way, nil for none.
func (s *scenario) current() *run {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.run
}

// result is how a run that ended counts; empty leaves it to its verdict. One that
// a restart may resume is not over.
func (r *run) result(o engine.Outcome) (result string, over bool) {
	switch {
	case r.reason() == schedule.Leaving:
		return "", false
	case o == engine.Finished || r.reason() == schedule.Over:
		return "", true
	}
	return "interrupted", true
}

// reason is why the run was asked to end, empty for one that was not.
func (r *run) reason() schedule.Reason {
	if why := r.why.Load(); why != nil {
		return *why
	}
	return ""
}
