package suite

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
	"github.com/perfd/perfd/internal/schedule"
)

// A Starter begins and ends runs of scenarios.
type Starter interface {
	// StartRun begins a run; an error says why it does not.
	StartRun(scenario string) error
	// StopRun has the run under way end.
	StopRun(scenario string)
	// Running reports whether a run is due or under way.
	Running(scenario string) bool
}

// The results of runs. They are those of [load.Verdict], and these.
const (
	Errored     = "error"       // it failed while running
	Interrupted = "interrupted" // it was broken off
	NotStarted  = "not started"
)

// severity orders results: what is worse decides about the suite.
var severity = []string{load.Pass.String(), load.Inconclusive.String(), NotStarted, Interrupted, load.Fail.String(), Errored}

// worse returns the worse of two results; of a suite a run that did not start leaves nothing proven.
func worse(a, b string) string {
	return severity[max(slices.Index(severity, a), slices.Index(severity, b))]
}

// Options of a Suite.
type Options struct {
	Starter   Starter
	Blackouts *schedule.Blackouts
	Memory    schedule.Memory // nil forgets
	Paused    bool            // load is, at the beginning
	Log       *slog.Logger
	Ended     func(Run) // takes each run that ended; nil for nobody
	Results   *Results  // counts the runs that ended; nil for a count of the suite's own
}

// Results are how many runs ended, by result. A suite that replaces another goes on with its results.
type Results struct {
	mu sync.Mutex
	by map[string]uint64
}

func (r *Results) count(result string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.by == nil {
		r.by = map[string]uint64{}
	}
	r.by[result]++
}

func (r *Results) of(result string) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.by[result]
}

// A Suite is one configured suite. Its methods are safe for concurrent use.
type Suite struct {
	o      Options
	cfg    Config
	log    *slog.Logger
	runner *schedule.Runner
	cancel context.CancelFunc
	done   chan struct{}

	mu   sync.Mutex
	run  *Run                 // under way or, after its end, the last one; nil before the first
	why  schedule.Reason      // the run under way was asked to end
	wake chan struct{}        // of capacity 1: a run under way has something to look at
	gone map[string]time.Time // since when a scenario that began is seen neither running nor judged
}

// A Run is one run of a suite.
type Run struct {
	Suite  string    `json:"suite"`
	ID     string    `json:"run"`
	Began  time.Time `json:"began"`
	Ended  time.Time `json:"ended,omitzero"`
	Result string    `json:"result,omitempty"` // once it has ended: pass, fail, inconclusive, interrupted or error
	Parts  []Part    `json:"scenarios"`        // in the order of the configuration
}

// A Part is what a run of a suite knows of one of its scenarios.
type Part struct {
	Scenario string    `json:"scenario"`
	Began    time.Time `json:"began,omitzero"`
	Ended    time.Time `json:"ended,omitzero"`
	Run      string    `json:"run,omitempty"`    // known once it was judged
	Result   string    `json:"result,omitempty"` // empty before its run was judged
	Why      string    `json:"why,omitempty"`    // it did not start, was not judged, or has nothing to be judged by

	neutral bool // it has no objectives, and nothing is wrong with it
}

// A Judged is a run of a scenario that was judged.
type Judged struct {
	Scenario, Run, Result string
	Began, Ended          time.Time
	NoObjectives          bool // and so nothing that it could pass: it is not held against the suite
}

// New compiles a validated Config. It fails only for one that was not validated.
func New(c Config, o Options) (*Suite, error) {
	s := &Suite{o: o, cfg: c, log: o.Log.With("suite", c.Name.S), wake: make(chan struct{}, 1)}
	if s.o.Results == nil {
		s.o.Results = &Results{}
	}
	// The test keeps a suite from being resumed: which of its scenarios had begun is not known.
	sched, err := schedule.New(c.Schedule, schedule.Options{Scenario: c.Name.S, Test: "spike", Blackouts: o.Blackouts})
	if err != nil {
		return nil, err
	}
	s.runner = schedule.NewRunner(schedule.RunnerOptions{
		Schedule: sched, Starter: s, Memory: o.Memory, Log: s.log, Paused: o.Paused,
		Lost: func(schedule.Run) { s.o.Results.count(Interrupted) },
	})
	return s, nil
}

// Start starts the suite's schedule, once.
func (s *Suite) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cancel != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	s.cancel, s.done = cancel, done
	go func() {
		defer close(done)
		s.runner.Run(ctx)
	}()
}

// Stop ends the schedule, and the run under way. Runs of scenarios that have begun are the fleet's to end.
func (s *Suite) Stop() {
	s.mu.Lock()
	cancel, done := s.cancel, s.done
	s.mu.Unlock()
	if cancel == nil {
		return
	}
	cancel()
	<-done
}

// StartRun starts a run by hand. Its errors are those of [schedule.Runner.Start].
func (s *Suite) StartRun() error { return s.runner.Start() }

// StopRun ends the run under way, and those of its scenarios. Its errors are those of [schedule.Runner.Stop].
func (s *Suite) StopRun() error { return s.runner.Stop() }

// Pause follows what all load does.
func (s *Suite) Pause(on bool) {
	if on {
		s.runner.Pause()
		return
	}
	s.runner.Resume()
}

// Begin starts a run; the schedule calls it.
func (s *Suite) Begin(r schedule.Run, ended func()) error {
	run := &Run{Suite: s.cfg.Name.S, ID: r.ID, Began: time.Now().Round(0)}
	for _, m := range s.cfg.Scenarios {
		run.Parts = append(run.Parts, Part{Scenario: m.Scenario.S})
	}
	s.mu.Lock()
	s.run, s.why, s.gone = run, "", map[string]time.Time{}
	s.mu.Unlock()
	s.log.Info("suite started", "run", r.ID, "scenarios", len(run.Parts))
	go func() {
		s.follow(time.Now())
		ended()
	}()
	return nil
}

// End asks the run under way to end; the schedule calls it.
func (s *Suite) End(why schedule.Reason) {
	s.mu.Lock()
	s.why = why
	s.mu.Unlock()
	s.nudge()
}

// Cut is for runs without end, which a suite has not.
func (s *Suite) Cut(schedule.Run) {}

// nudge has the run under way look at once.
func (s *Suite) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Judged takes a run of a scenario that was judged. It does not block.
func (s *Suite) Judged(j Judged) {
	s.mu.Lock()
	if r := s.run; r != nil && r.Ended.IsZero() {
		for i := range r.Parts {
			if p := &r.Parts[i]; p.Scenario == j.Scenario && !p.Began.IsZero() && p.Result == "" && !j.Began.Before(p.Began) {
				p.Run, p.Result, p.Ended = j.Run, j.Result, j.Ended.Round(0)
				if p.neutral = j.NoObjectives && j.Result == load.Inconclusive.String(); p.neutral {
					p.Why = "it has no objectives"
				}
			}
		}
	}
	s.mu.Unlock()
	s.nudge()
}

const (
	// lookEvery is how often a run under way looks at what nobody tells it.
	lookEvery = 5 * time.Second
	// unjudgedAfter is how long after a run's end its verdict is waited for: it comes with the last window.
	unjudgedAfter = 2 * time.Minute
)

// follow performs the run under way from its beginning to its end.
func (s *Suite) follow(zero time.Time) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	stopped := false
	for {
		s.mu.Lock()
		why := s.why
		s.mu.Unlock()
		if why != "" && why != schedule.Leaving && !stopped {
			stopped = true
			for _, name := range s.underWay() {
				s.o.Starter.StopRun(name)
			}
		}
		now := time.Now()
		wait, over := s.look(now, zero, why)
		if over || why == schedule.Leaving {
			s.end(now, why)
			return
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-s.wake:
		}
	}
}

// underWay lists the scenarios that began and were not judged.
func (s *Suite) underWay() (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.run.Parts {
		if !p.Began.IsZero() && p.Result == "" {
			names = append(names, p.Scenario)
		}
	}
	return names
}

// look begins what is due, and says how long there is nothing to begin and whether all of it is over.
func (s *Suite) look(now, zero time.Time, why schedule.Reason) (wait time.Duration, over bool) {
	wait, over = lookEvery, true
	for i, m := range s.cfg.Scenarios {
		s.mu.Lock()
		p := s.run.Parts[i]
		due, ok := s.due(m, zero)
		s.mu.Unlock()
		switch {
		case p.Result != "":
			continue
		case !p.Began.IsZero():
			s.missing(i, now)
		case why != "":
			s.set(i, func(p *Part) { p.Result, p.Why = NotStarted, "the suite was ended: "+string(why) })
			continue
		case ok && !due.After(now):
			s.begin(i, now)
		case ok:
			wait = min(wait, due.Sub(now))
		}
		over = false
	}
	return wait, over
}

// due is when a scenario of the run under way begins; false while that is not known.
func (s *Suite) due(m Member, zero time.Time) (time.Time, bool) {
	if m.After.S == "" {
		return zero.Add(m.Start.D()), true
	}
	for _, p := range s.run.Parts {
		if p.Scenario == m.After.S && p.Result != "" {
			return cmp.Or(p.Ended, s.run.Began).Add(m.Start.D()), true
		}
	}
	return time.Time{}, false
}

func (s *Suite) set(i int, f func(*Part)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := &s.run.Parts[i]; p.Result == "" {
		f(p)
	}
}

func (s *Suite) begin(i int, now time.Time) {
	name := s.cfg.Scenarios[i].Scenario.S
	s.set(i, func(p *Part) { p.Began = now.Round(0) }) // before the run can be judged
	if err := s.o.Starter.StartRun(name); err != nil {
		s.log.Error("a scenario of the suite does not start", "scenario", name, "err", err)
		s.set(i, func(p *Part) { p.Began, p.Result, p.Why, p.Ended = time.Time{}, NotStarted, err.Error(), now.Round(0) })
	}
	s.nudge()
}

// missing gives up on a verdict that does not come.
func (s *Suite) missing(i int, now time.Time) {
	name := s.cfg.Scenarios[i].Scenario.S
	if s.o.Starter.Running(name) {
		delete(s.gone, name)
		return
	}
	since, known := s.gone[name]
	if !known {
		s.gone[name] = now
	}
	if known && now.Sub(since) > unjudgedAfter {
		s.log.Error("a run of the suite was not judged", "scenario", name)
		s.set(i, func(p *Part) {
			p.Result, p.Why, p.Ended = load.Inconclusive.String(), "its run was not judged", since.Round(0)
		})
		s.nudge()
	}
}

// end closes the run under way.
func (s *Suite) end(now time.Time, why schedule.Reason) {
	s.mu.Lock()
	r := s.run
	r.Ended, r.Result = now.Round(0), load.Pass.String()
	neutral := 0
	for i := range r.Parts {
		switch p := &r.Parts[i]; {
		case p.neutral:
			neutral++
		case p.Result != "":
			r.Result = worse(r.Result, p.Result)
		}
	}
	if neutral == len(r.Parts) {
		r.Result = load.Inconclusive.String()
	}
	switch {
	case why != "" && r.Result != Errored && r.Result != load.Fail.String():
		r.Result = Interrupted
	case r.Result == NotStarted:
		r.Result = load.Inconclusive.String()
	}
	ended := r.clone()
	s.mu.Unlock()
	s.o.Results.count(ended.Result)
	s.log.Info("suite ended", "run", ended.ID, "result", ended.Result, "reason", why, "after", ended.Ended.Sub(ended.Began).Round(time.Millisecond))
	if s.o.Ended != nil {
		s.o.Ended(ended)
	}
}

func (r *Run) clone() Run {
	c := *r
	c.Parts = slices.Clone(r.Parts)
	return c
}

// A Status is a suite at one instant.
type Status struct {
	Name     string    `json:"name"`
	Schedule string    `json:"schedule"`
	Running  bool      `json:"running"`
	Next     time.Time `json:"next,omitzero"` // when the clock begins the next run
	Missed   uint64    `json:"missed"`
	Run      *Run      `json:"run,omitempty"` // under way, or the last one
}

// Status returns the suite as it is.
func (s *Suite) Status() Status {
	sched := s.runner.Status()
	st := Status{Name: s.cfg.Name.S, Schedule: s.cfg.Schedule.Describe(), Running: sched.Running, Next: sched.Next, Missed: sched.Missed}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run != nil {
		r := s.run.clone()
		st.Run = &r
	}
	return st
}

// results are all results that a run of a suite can have.
var results = []string{load.Pass.String(), load.Fail.String(), load.Inconclusive.String(), Interrupted, Errored}

// Collect sends the suite's metrics.
func (s *Suite) Collect(send metric.Send) {
	st := s.Status()
	running := 0.0
	if st.Running {
		running = 1
	}
	send(metric.SuiteRunning, running, st.Name)
	if !st.Next.IsZero() {
		send(metric.SuiteNextRun, float64(st.Next.UnixMilli())/1e3, st.Name)
	}
	send(metric.SuiteMissed, float64(st.Missed), st.Name)
	for _, r := range results {
		send(metric.SuiteRuns, float64(s.o.Results.of(r)), st.Name, r)
	}
}
