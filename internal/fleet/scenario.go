package fleet

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/common/version"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/config"
	"github.com/perfd/perfd/internal/credential"
	"github.com/perfd/perfd/internal/engine"
	"github.com/perfd/perfd/internal/judge"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/pace"
	"github.com/perfd/perfd/internal/record"
	"github.com/perfd/perfd/internal/schedule"
	"github.com/perfd/perfd/internal/target"
	"github.com/perfd/perfd/internal/validity"
)

// A Scenario is one configured scenario, from the document that brings it to the
// one that changes or removes it.
type Scenario struct {
	o        *Options
	timeline *validity.Timeline
	zero     time.Time   // of the limiters' clock
	paused   func() bool // whether all load is
	finished func()      // a run has come to its end
	name     string
	cfg      *config.Scenario
	log      *slog.Logger

	plan        pace.Plan
	open        bool
	sink        *record.Sink
	valid       *validity.Scenario
	failures    *failureRing
	targets     map[string]*Target
	claims      map[string]*target.Claim          // on the limits of targets
	hops        map[*target.Limiter]*target.Claim // of these, and of those that redirects lead to; mu guards it
	first       *Target                           // of the first step
	stepTargets []*Target                         // by step
	credentials map[string]*credential.Credential // of the steps, by name
	runner      *schedule.Runner
	replaces    bool               // an older version of itself; false after its first run
	twin        *Scenario          // its baseline's side, nil for none
	primary     *Scenario          // whose baseline's side it is, nil where it is none; the runner is that one's
	cancel      context.CancelFunc // ends the runner
	done        chan struct{}      // closed when the runner has ended
	reads       chan chan struct{} // asks for a read of what the workload follows; what is sent is closed after it

	unmeasured *unmeasured // what was done beside flows
	setting    sync.Mutex  // of who sets the load from outside

	at      atomic.Pointer[block.Node] // the scenario's place in the newest document
	balance validity.LittleCheck

	mu     sync.Mutex
	run    *run   // under way, nil for none
	newest *run   // run or, after its end, the last one; nil before the first
	marks  []mark // where runs began and ended, the newest last
}

// claimOn returns the scenario's claim on a limit. Redirects may lead to targets and hosts that no
// step names, of which there are a bounded number.
func (s *Scenario) claimOn(l *target.Limiter) *target.Claim {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.hops[l]
	if c == nil {
		c = l.Claim()
		s.hops[l] = c
	}
	return c
}

// A mark is where a run began, or where one ended and none followed.
type mark struct {
	at time.Time
	id string // empty where a run ended
}

// keptMarks is how many marks are kept; windows under way need the last few.
const keptMarks = 8

// schedulePrefix begins the keys of the state that hold what schedules must know
// after a restart.
const schedulePrefix = "schedule/"

// newScenario makes a scenario and its series, and starts nothing.
func (f *Fleet) newScenario(c *config.Scenario, g *generation, blackouts []schedule.Blackout) (*Scenario, error) {
	s := f.newSide(c, g)
	s.finished = func() { f.finished(c.Name.S) }
	var err error
	if s.plan, err = pace.New(c.Workload, s.name); err != nil {
		return nil, err
	}
	s.plan = pace.OutOfStep(s.plan, c.Workload, s.name, phaseWithin(c.Schedule))
	if err := s.newRunner(blackouts, f.alive.before); err != nil {
		return nil, err
	}
	return s, s.openSink()
}

// newSide makes what both sides of a scenario with a twin have, and a scenario without one.
func (f *Fleet) newSide(c *config.Scenario, g *generation) *Scenario {
	targets := g.targets
	s := &Scenario{
		reads: make(chan chan struct{}),
		o:     &f.o, zero: f.zero, paused: func() bool { on, _ := f.pause.state(); return on },
		name: c.Name.S, cfg: c, log: f.o.Log.With("scenario", c.Name.S),
		open: c.Workload.Open(), valid: validity.NewScenario(f.o.Timeline, mayBeLate(c)), timeline: f.o.Timeline,
		targets: map[string]*Target{}, claims: map[string]*target.Claim{}, hops: map[*target.Limiter]*target.Claim{},
		credentials: map[string]*credential.Credential{},
	}
	for _, name := range c.Credentials() {
		s.credentials[name] = g.credential(name)
	}
	s.at.Store(c.At)
	s.failures = newFailureRing(s.log, s.o.Strike)
	s.unmeasured = newUnmeasured(c.Program)
	for _, name := range c.Program.AllTargets() {
		s.targets[name] = targets[name]
		s.claims[name] = targets[name].limiter.Claim()
		s.hops[targets[name].limiter] = s.claims[name]
	}
	for _, step := range c.Program.Steps {
		if step.Group {
			s.stepTargets = append(s.stepTargets, nil)
			continue
		}
		s.stepTargets = append(s.stepTargets, targets[step.Target])
	}
	s.first = s.stepTargets[0]
	return s
}

// phaseWithin is how much later than its time zero a scenario's first arrival may come,
// so that scenarios of one rate are out of step. That of an always-on run is decades
// ago. Others begin when somebody waits for them, and may be short.
func phaseWithin(c schedule.Config) time.Duration {
	if c.AlwaysOn() {
		return pace.Forever
	}
	return time.Second
}

// openSink makes the scenario's series exist.
func (s *Scenario) openSink() error {
	info := record.Scenario{
		Name: s.name, Test: string(s.cfg.Test), Executor: s.cfg.Workload.Executor, Model: s.cfg.Workload.Model(),
		Labels: s.cfg.Labels,
	}
	limits := limitsOf(s.cfg)
	for i, step := range s.cfg.Program.Steps {
		info.Steps = append(info.Steps, record.Series{
			Step: step.Label, Target: step.Target, Protocol: step.Protocol, Checks: step.Checks, Limits: limits[i],
			Tags: step.Tags, Group: step.Group, Metric: step.Metric, Retries: step.Retries, Messages: step.Messages,
		})
	}
	var err error
	s.sink, err = s.o.Recorder.Open(info)
	return err
}

// limitsOf returns the limits of objectives on response times, by step: its own
// and the scenario's.
func limitsOf(c *config.Scenario) [][]time.Duration {
	limits := make([][]time.Duration, len(c.Program.Steps))
	for i := range c.Program.Steps {
		limits[i] = c.Limits(i)
	}
	return limits
}

// mayBeLate is what perfd may be late by before it disturbs a scenario's measurement.
func mayBeLate(c *config.Scenario) time.Duration {
	var tightest time.Duration
	for i, limits := range limitsOf(c) {
		if c.Program.Steps[i].Metric != nil {
			continue // values that are no measurement of perfd's
		}
		if len(limits) > 0 && (tightest == 0 || limits[0] < tightest) {
			tightest = limits[0]
		}
	}
	return c.Validity.Limit(tightest)
}

// setObjectives takes over what a new document says of a scenario that runs on:
// its objectives, and with them what perfd may be late by.
func (s *Scenario) setObjectives(c *config.Scenario) {
	s.at.Store(c.At)
	s.valid.SetLimit(mayBeLate(c))
	if err := s.sink.Limit(limitsOf(c)); err != nil {
		s.log.Error("new limits of objectives are not recorded", "err", err) // validation accepted them
	}
}

// newRunner compiles the scenario's schedule. An earlier process is known to have lived until alive.
func (s *Scenario) newRunner(blackouts []schedule.Blackout, alive time.Time) error {
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
	s.runner = schedule.NewRunner(schedule.RunnerOptions{
		Schedule: sched, Starter: s, Memory: s.o.State.At(s.memoryKey()), Log: s.log, Paused: s.paused(), Alive: alive,
		Lost: s.lost,
	})
	return nil
}

// memoryKey is where the scenario's schedule keeps its memory. A changed scenario
// has another key: its predecessor, which may still drain, is not its past.
func (s *Scenario) memoryKey() string { return schedulePrefix + s.name + "/" + s.cfg.Fingerprint[:16] }

// start starts the scenario's schedule. A baseline's side follows the runs of its scenario.
func (s *Scenario) start() {
	if s.primary != nil {
		return
	}
	s.restoreLoad()
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel, s.done = cancel, make(chan struct{})
	go func() {
		defer close(s.done)
		for _, c := range s.credentials {
			awaitFetch(ctx, c)
		}
		if f := pace.FeedOf(s.plan); f != nil {
			stopped := s.follow(ctx, f)
			defer func() { <-stopped }()
		}
		s.runner.Run(ctx)
	}()
}

// stop ends the schedule, and the run under way with its grace.
func (s *Scenario) stop() {
	if s.primary != nil {
		s.primary.stop()
		return
	}
	if s.cancel == nil {
		return
	}
	s.cancel()
	<-s.done
}

// StartRun starts a run by hand.
func (s *Scenario) StartRun() error { return s.runner.Start() }

// StopRun ends the run under way with its grace.
func (s *Scenario) StopRun() error { return s.runner.Stop() }

// Begin starts a run; the schedule calls it.
func (s *Scenario) Begin(sr schedule.Run, ended func()) error {
	if s.replaces && sr.End.IsZero() && !sr.Manual && !s.cfg.Workload.End().Counted() {
		// A reload cuts an always-on run: what is measured from here on is another run.
		now := time.Now()
		sr.ID, sr.Fire = now.UTC().Format("20060102T150405Z"), now
	}
	s.replaces = false
	r, err := s.newRun(sr, pace.From(s.plan, sr.Zero))
	if err != nil {
		s.over(newIdentity(s.name, sr, s.release()), judge.Errored, time.Now())
		return err
	}
	s.takeUp(r, sr.ID)
	s.began(r.identity.Load())
	s.log.Info("run started", "run", sr.ID, "trace_id", r.identity.Load().TraceID(), "resumed", sr.Resumed, "plan_zero", sr.Zero)
	beside := s.beside(r, sr)
	beside.begin()
	r.start(s.paused(), func(o engine.Outcome) {
		now := time.Now()
		named := r.identity.Load()
		s.letGo(r, now)
		result, over := r.result(o)
		if over {
			s.over(named, result, now)
		}
		if over && result == "" {
			s.finished()
		}
		s.log.Info("run ended", "run", named.id, "trace_id", named.TraceID(), "outcome", o.String(), "reason", r.reason(), "after", time.Since(r.joined).Round(time.Millisecond))
		beside.join()
		ended()
	})
	return nil
}

// takeUp makes a run the one under way.
func (s *Scenario) takeUp(r *run, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.run, s.newest = r, r
	s.mark(r.joined, id)
}

// letGo ends that a run is the one under way.
func (s *Scenario) letGo(r *run, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.run = nil
	r.stops(now)
	s.mark(now, "")
}

// End asks the run under way to end with its grace; the schedule calls it.
func (s *Scenario) End(why schedule.Reason) {
	for _, side := range s.sides() {
		if r := side.current(); r != nil {
			r.why.Store(&why)
			r.stops(time.Now())
			r.cancel()
		}
	}
}

// Cut gives the run under way a new identity; the schedule calls it. What was
// measured so far counts as one run.
func (s *Scenario) Cut(sr schedule.Run) {
	r := s.current()
	if r == nil {
		return
	}
	now := time.Now()
	s.over(r.identity.Load(), "", now)
	named := s.rename(r, sr, now)
	s.began(named)
	s.log.Info("run cut", "run", sr.ID, "trace_id", named.TraceID())
	if t := s.twin; t != nil {
		if r := t.current(); r != nil {
			t.rename(r, sr, now)
		}
	}
}

// rename gives a run another identity.
func (s *Scenario) rename(r *run, sr schedule.Run, now time.Time) *identity {
	named := newIdentity(s.name, sr, s.release())
	r.identity.Store(named)
	s.mu.Lock()
	s.mark(now, sr.ID)
	s.mu.Unlock()
	r.tracer.Rename(r.traced())
	return named
}

// lost reports a run that an earlier process began and nobody resumes.
func (s *Scenario) lost(sr schedule.Run) {
	s.over(newIdentity(s.name, sr, ""), judge.Interrupted, time.Now())
}

// event returns an event about a run of the scenario.
func (s *Scenario) event(kind load.EventKind, named *identity, at time.Time) load.Event {
	return load.Event{
		At: at, Kind: kind, Scenario: s.name, Run: named.id, Test: string(s.cfg.Test), Target: s.home(), Targets: s.cfg.Program.Targets(),
		Release: named.release, Observer: s.observer(),
	}
}

// observer is the fingerprint of what measures (SEMANTICS section 12): numbers of
// two observers are not compared.
func (s *Scenario) observer() string {
	return fmt.Sprintf("%s %s/%s %d cpus, shard of %d, %.12s",
		version.Version, runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), max(1, s.o.Shards), s.cfg.Shape)
}

// began reports that a run began.
func (s *Scenario) began(named *identity) {
	s.o.Judge.Event(s.event(load.RunBegan, named, named.since.Round(0)))
}

// over hands a run that ended to the judge. An empty result leaves it to the
// verdict.
func (s *Scenario) over(named *identity, result string, at time.Time) {
	e := s.event(load.RunEnded, named, at.Round(0))
	e.Result = result
	r := judge.Run{Event: e, Began: named.measured(), HandedOver: at, Trace: named.trace, Joined: named.since}
	if named.broken {
		r.Doubts = append(r.Doubts, "more than 5 % of the run had no load")
	}
	s.o.Judge.Ended(r)
}

// release is that of the scenario's own target, empty where it is not known.
func (s *Scenario) release() string {
	return s.targets[s.home()].watch.State().Release
}

// home is the scenario's own target or, where no step sends there, that of its first step.
func (s *Scenario) home() string {
	if s.targets[s.cfg.Target.S] != nil {
		return s.cfg.Target.S
	}
	return s.first.name
}

// mark notes that a run began, or that one ended and none followed; the caller holds the lock.
func (s *Scenario) mark(at time.Time, id string) {
	s.marks = append(s.marks, mark{at, id})
	s.marks = s.marks[max(0, len(s.marks)-keptMarks):]
}

// runDuring returns the run that was under way when a window began or, where
// there was none, the first that began in it; empty for none.
func (s *Scenario) runDuring(start, end time.Time) (id string) {
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

// current is the run under way, nil for none.
func (s *Scenario) current() *run {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.run
}
