package app

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/perfd/perfd/internal/config"
	"github.com/perfd/perfd/internal/engine"
	"github.com/perfd/perfd/internal/output/otlp"
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

	mu      sync.Mutex
	run     *run // under way, nil for none
	results map[string]uint64
}

// newScenario builds everything a scenario needs but its sink, and starts nothing.
func newScenario(a *App, c *config.Scenario, targets map[string]*liveTarget) (*scenario, error) {
	s := &scenario{
		app: a, name: c.Name.S, cfg: c, log: a.log.With("scenario", c.Name.S),
		open: c.Workload.Open(), valid: validity.NewScenario(c.Validity),
		targets: map[string]*liveTarget{}, results: map[string]uint64{},
	}
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
	for _, step := range s.cfg.Program.Steps {
		info.Steps = append(info.Steps, record.Series{Step: step.Label, Target: step.Target, Protocol: step.Protocol, Checks: step.Checks})
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
	finite, _ := s.cfg.Workload.Finite()
	sched, err := schedule.New(s.cfg.Schedule, schedule.Options{
		Scenario: s.name, Test: string(s.cfg.Test), Blackouts: all,
		Workload: schedule.Workload{Cycle: s.cfg.Workload.Cycle(), Finite: finite},
	})
	if err != nil {
		return err
	}
	paused, _ := s.app.pause.state()
	s.runner = schedule.NewRunner(schedule.RunnerOptions{
		Schedule: sched, Starter: s, Memory: memory{s.app.store, s.memoryKey()}, Log: s.log, Paused: paused,
		Lost: func(schedule.Run) { s.count("interrupted") },
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
	}
	if err := s.app.store.set(s.memoryKey(), nil); err != nil {
		s.log.Warn("forget the schedule", "err", err)
	}
	s.log.Info("scenario ended", "reason", "reload")
}

// Begin starts a run; it is the schedule's to call.
func (s *scenario) Begin(sr schedule.Run, ended func()) error {
	if s.reborn && sr.End.IsZero() && !sr.Manual {
		// A reload cuts an always-on run: what is measured from now on is another run.
		now := time.Now()
		sr.ID, sr.Fire = now.UTC().Format("20060102T150405Z"), now
	}
	s.reborn = false
	r, err := newRun(s, sr.ID, sr.Fire, sr.Zero)
	if err != nil {
		s.count("error")
		return err
	}
	s.mu.Lock()
	s.run = r
	s.mu.Unlock()
	paused, _ := s.app.pause.state()
	s.log.Info("run started", "run", sr.ID, "trace_id", r.identity.Load().TraceID(), "resumed", sr.Resumed, "plan_zero", sr.Zero)
	r.start(paused, func(o engine.Outcome) {
		s.mu.Lock()
		s.run = nil
		s.mu.Unlock()
		named := r.identity.Load()
		s.ended(named, r.result(o))
		s.log.Info("run ended", "run", named.id, "trace_id", named.TraceID(), "outcome", o.String(), "reason", r.reason(), "after", time.Since(r.joined).Round(time.Millisecond))
		ended()
	})
	return nil
}

// End asks the run under way to end with its grace.
func (s *scenario) End(why schedule.Reason) {
	if r := s.current(); r != nil {
		r.why.Store(&why)
		r.cancel()
	}
}

// Cut gives the run under way a new identity: what was measured so far counts as one run.
func (s *scenario) Cut(sr schedule.Run) {
	r := s.current()
	if r == nil {
		return
	}
	s.ended(r.identity.Load(), "inconclusive")
	r.identity.Store(newIdentity(sr.ID, sr.Fire))
	r.retrace()
	s.log.Info("run cut", "run", sr.ID, "trace_id", r.identity.Load().TraceID())
}

// ended counts a run that ended and makes a span of it, under the trace that the log names.
func (s *scenario) ended(named *identity, result string) {
	s.count(result)
	if t := s.app.tracing.Load(); t != nil {
		t.Span(otlp.RunSpan{
			Scenario: s.name, Run: named.id, Test: string(s.cfg.Test), Trace: named.trace, Start: named.since, End: time.Now(), Result: result,
		})
	}
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

// result is how a run that ended counts. Nothing judges runs without
// objectives, so one that reached its end is inconclusive, not a pass. One that
// a restart may resume has not ended.
func (r *run) result(o engine.Outcome) string {
	switch {
	case r.reason() == schedule.Leaving:
		return ""
	case o == engine.Finished || r.reason() == schedule.Over:
		return "inconclusive"
	}
	return "interrupted"
}

// reason is why the run was asked to end, empty for one that was not.
func (r *run) reason() schedule.Reason {
	if why := r.why.Load(); why != nil {
		return *why
	}
	return ""
}

// runResults are the values of the label.
var runResults = []string{"pass", "fail", "inconclusive", "interrupted", "error"}

// count counts a run that ended; an empty result is none.
func (s *scenario) count(result string) {
	if result == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.results[result]++
}
