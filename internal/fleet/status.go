package fleet

import (
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/config"
	"github.com/perfd/perfd/internal/engine"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
	"github.com/perfd/perfd/internal/record"
	"github.com/perfd/perfd/internal/schedule"
)

// Name is the scenario's name.
func (s *Scenario) Name() string { return s.name }

// BaselineOf is the name of the scenario whose baseline's side this is, empty where it is none.
func (s *Scenario) BaselineOf() string {
	if s.primary == nil {
		return ""
	}
	return s.primary.name
}

// Config is the block that the scenario was made from; its objectives may be
// older than the newest document's.
func (s *Scenario) Config() *config.Scenario { return s.cfg }

// Block is the scenario's place in the newest document.
func (s *Scenario) Block() *block.Node { return s.at.Load() }

// Schedule is how the scenario's schedule stands.
func (s *Scenario) Schedule() schedule.Status { return s.runner.Status() }

// Recent is what was recorded of the scenario in the last seconds, false where
// there is nothing.
func (s *Scenario) Recent() (record.Recent, bool) { return s.o.Recorder.Recent(s.name) }

// Counts is what was counted of the scenario since it was loaded.
func (s *Scenario) Counts() record.Counts { return s.o.Recorder.Counts(s.name) }

// Failures returns the last failed requests, the newest first.
func (s *Scenario) Failures() []Failure { return s.failures.recent() }

// Invalid returns why the scenario's measurement is invalid at an instant, empty
// where it is valid.
func (s *Scenario) Invalid(at time.Time) []load.Disturbance { return s.valid.Invalid(at) }

// LastWindow returns the last window of a step of a scenario, or of the whole
// scenario where step is empty; nil where there is none.
func (f *Fleet) LastWindow(scenario, step string) *load.Window { return f.windows.last(scenario, step) }

// A RunStatus is how a run under way stands.
type RunStatus struct {
	ID      string
	Began   time.Time // by the schedule
	Release string    // of the scenario's target when the run began
	// Stats are the engine's of the last tick, Now those of this instant.
	Stats, Now engine.Stats
}

// Run is how the run under way stands, false where there is none.
func (s *Scenario) Run() (RunStatus, bool) {
	r := s.current()
	if r == nil {
		return RunStatus{}, false
	}
	is := r.identity.Load()
	return RunStatus{ID: is.id, Began: is.began, Release: is.release, Stats: *r.stats.Load(), Now: r.engine.Stats()}, true
}

// The states of a scenario, in the order in which a scenario is in the first that
// holds. They are the values of the label state of perfd_scenario_state.
var states = []struct {
	name  string
	holds func(schedule.Status) bool
}{
	{"paused", func(s schedule.Status) bool { return s.Paused }},
	{"draining", func(s schedule.Status) bool { return s.Draining }},
	{"running", func(s schedule.Status) bool { return s.Running }},
	{"blackout", func(s schedule.Status) bool { return s.Blackout }},
	{"stopped", func(s schedule.Status) bool { return s.Stopped }},
	{"waiting", func(schedule.Status) bool { return true }},
}

// State names the state that a schedule's status puts a scenario in.
func State(s schedule.Status) string {
	for _, one := range states {
		if one.holds(s) {
			return one.name
		}
	}
	panic("fleet: the last state holds always")
}

// Collect sends the metrics of scenarios, runs and targets.
func (f *Fleet) Collect(send analysis.Send) {
	paused, _ := f.pause.state()
	send(metric.Paused, analysis.Number(paused))
	at := time.Now()
	now := f.current()
	f.collectMaintenance(send, now, at)
	collectCredentials(send, now.credentials)
	for _, t := range now.targets {
		send(metric.BackoffRatio, 1-t.distress.Share(), t.name)
		send(metric.TargetUp, analysis.Number(t.distress.Up()), t.name)
		t.watch.Collect(send)
	}
	for _, s := range now.scenarios {
		s.collect(send, at)
	}
}

func (s *Scenario) collect(send analysis.Send, at time.Time) {
	sched := s.runner.Status()
	is := State(sched)
	for _, one := range states {
		send(metric.ScenarioState, analysis.Number(one.name == is), s.name, one.name)
	}
	send(metric.ScenarioExpected, analysis.Number(sched.Due), s.name)
	var stats engine.Stats
	if r := s.current(); r != nil {
		stats = *r.stats.Load()
		named := r.identity.Load()
		send(metric.RunInfo, 1, s.name, named.id, named.release)
		send(metric.RunStart, Seconds(named.began), s.name)
	}
	send(metric.VUs, float64(stats.VUs), s.name)
	send(metric.VUsBusy, float64(stats.Busy), s.name)
	if s.open {
		send(metric.PlannedArrivals, stats.PlannedRate, s.name)
	} else {
		send(metric.PlannedVUs, float64(stats.PlannedVUs), s.name)
	}
	if !sched.Next.IsZero() {
		send(metric.ScheduleNextRun, Seconds(sched.Next), s.name)
	}
	if !sched.LastEnd.IsZero() {
		send(metric.RunLastEnd, Seconds(sched.LastEnd), s.name)
	}
	s.unmeasured.collect(send, s.name)
	send(metric.ScheduleMissed, float64(sched.Missed), s.name)
	s.o.Judge.CollectRuns(send, s.name)
	send(metric.MeasurementValid, analysis.Number(len(s.valid.Invalid(at)) == 0), s.name)
	for by, seconds := range s.valid.Seconds() {
		if by := load.Disturbance(by); by != load.Undisturbed {
			send(metric.MeasurementInvalid, seconds, s.name, by.String())
		}
	}
}

// Seconds is an instant as Prometheus writes it: seconds since 1970, to the
// millisecond; 0 for the zero time.
func Seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1e3
}
