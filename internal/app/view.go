package app

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/prometheus/common/version"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/fleet"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/maintenance"
	"github.com/perfd/perfd/internal/metric"
	"github.com/perfd/perfd/internal/pace"
	"github.com/perfd/perfd/internal/record"
	"github.com/perfd/perfd/internal/web"
)

// daemon is what web sees of an App.
type daemon struct{ *App }

func (d daemon) Ready() bool { return d.ready.Load() && !d.stopping.Load() }

func (d daemon) Status() web.Status {
	paused, until := d.fleet.Paused()
	maintained, _ := d.Maintenance()
	at, ok, why := d.reloads.last()
	return web.Status{
		Version: version.Version, Revision: version.GetRevision(), GoVersion: runtime.Version(),
		Started: d.started, ConfigFile: d.opts.ConfigFile, ConfigOK: ok, ConfigTime: at, ConfigError: why,
		Paused: paused, PausedUntil: until, Maintenance: maintained, Ready: d.Ready(), Scaled: d.fleet.Scale().String(),
		Shard: d.opts.Shard, Shards: d.opts.Shards, Lifecycle: d.opts.Lifecycle,
	}
}

func (d daemon) Pause(t time.Duration) error { return d.fleet.Pause(t) }
func (d daemon) Resume() error               { return d.fleet.Resume() }

func (d daemon) Maintenance() (now, coming []web.Maintenance) {
	under, ahead := d.fleet.Maintenance(time.Now())
	return maintenanceView(under), maintenanceView(ahead)
}

func maintenanceView(list []maintenance.Window) (out []web.Maintenance) {
	for _, w := range list {
		out = append(out, web.Maintenance(w))
	}
	return out
}

func (d daemon) Maintain(w web.Maintenance) (web.Maintenance, error) {
	for _, name := range w.Targets {
		if d.fleet.Target(name) == nil {
			return w, fmt.Errorf("%w: %s", web.ErrUnknownTarget, name)
		}
	}
	made, err := d.fleet.Maintain(maintenance.Window(w))
	switch {
	case errors.Is(err, maintenance.ErrFull):
		err = web.ErrFull
	case errors.Is(err, maintenance.ErrNotKept):
		err = fmt.Errorf("%w: %w", web.ErrNotKept, err)
	}
	return web.Maintenance(made), err
}

func (d daemon) EndMaintenance(id string) error {
	err := d.fleet.EndMaintenance(id)
	if errors.Is(err, maintenance.ErrUnknown) {
		return fmt.Errorf("%w: %s", web.ErrUnknownMaintenance, id)
	}
	return err
}

// Reload reloads the configuration.
func (d daemon) Reload() error {
	err := d.App.Reload()
	d.logReload(err, "http")
	return err
}

func (d daemon) Start(name string) error {
	s := d.fleet.Scenario(name)
	if s == nil {
		return web.ErrUnknown
	}
	return s.StartRun()
}

func (d daemon) Stop(name string) error {
	s := d.fleet.Scenario(name)
	if s == nil {
		return web.ErrUnknown
	}
	return s.StopRun()
}

// Scale sets the load of a scenario.
func (d daemon) Scale(name string, to web.Level, by string) (web.Control, error) {
	s := d.fleet.Scenario(name)
	if s == nil {
		return web.Control{}, web.ErrUnknown
	}
	level := pace.Target{VUs: to.VUs}
	if to.VUs == nil {
		level.Rate = &block.Rate{}
		if err := level.Rate.UnmarshalText([]byte(to.Rate)); err != nil {
			return web.Control{}, fmt.Errorf("rate: %w", err)
		}
	}
	_, err := s.SetLoad(level, by)
	switch {
	case errors.Is(err, fleet.ErrNotControlled):
		return web.Control{}, web.ErrNotControlled
	case errors.Is(err, fleet.ErrNotKept):
		err = fmt.Errorf("%w: %w", web.ErrNotKept, err)
	}
	return *control(s), err
}

// control is what pages and API show of a load that is set from outside, nil for other loads.
func control(s *fleet.Scenario) *web.Control {
	now, most, ok := s.Load()
	if !ok {
		return nil
	}
	c := &web.Control{Unit: "rate", Level: now.Level().String(), Most: most.String(), Since: now.Since, By: now.By}
	if most.VUs != nil {
		c.Unit = "vus"
	}
	return c
}

func (d daemon) Scenarios() []web.Scenario {
	now := time.Now()
	var out []web.Scenario
	for _, s := range d.fleet.Scenarios() {
		out = append(out, d.view(s, now))
	}
	return out
}

func (d daemon) Scenario(name string) (web.Detail, bool) {
	s := d.fleet.Scenario(name)
	if s == nil {
		return web.Detail{}, false
	}
	v := web.Detail{Scenario: d.view(s, time.Now()), Config: d.strike(configText(s.Block())), Failures: []web.Failure{}, Totals: d.totals(s)}
	for _, f := range s.Failures() {
		v.Failures = append(v.Failures, web.Failure{
			Time: f.At, Step: f.Step, Cause: f.Cause.String(), Code: f.Code, Duration: f.Duration.Seconds(), Text: f.Text,
		})
	}
	for _, step := range s.Config().Program.Steps {
		row := web.Step{Name: step.Label, Target: step.Target, Protocol: step.Protocol}
		if step.Metric != nil {
			row.Protocol = "metric, " + step.Metric.Type
		}
		if w := d.fleet.LastWindow(name, step.Label); w != nil {
			row.RequestRate = float64(w.Requests) / w.End.Sub(w.Start).Seconds()
			if n := w.Requests - w.Failures[load.Canceled]; n > 0 {
				row.ErrorRatio = float64(w.Failed()) / float64(n)
			}
			hdr := w.ResponseTime.HDR()
			row.Latency = latency(record.Percentiles{
				P50: time.Duration(hdr.ValueAtQuantile(50)), P95: time.Duration(hdr.ValueAtQuantile(95)), P99: time.Duration(hdr.ValueAtQuantile(99)),
			}, w.ResponseTime.Count())
			if m := step.Metric; m != nil && m.Numbers() {
				scale := load.ScaleOf(m.Unit)
				row.Latency = web.Latency{
					P50: scale.Value(hdr.ValueAtQuantile(50)), P95: scale.Value(hdr.ValueAtQuantile(95)), P99: scale.Value(hdr.ValueAtQuantile(99)),
					Count: w.ResponseTime.Count(), Unit: m.Unit,
				}
			}
		}
		v.Steps = append(v.Steps, row)
	}
	return v, true
}

// totals is what failed, was dropped or does not count since the scenario was loaded.
func (d daemon) totals(s *fleet.Scenario) []web.Total {
	out := []web.Total{}
	c := s.Counts()
	for _, f := range c.Failures {
		out = append(out, web.Total{What: web.FailedRequests, Where: f.Step, Why: f.Cause.String(), Count: f.Count, Of: f.Requests})
	}
	for reason, n := range c.Dropped {
		if n > 0 {
			out = append(out, web.Total{What: web.DroppedArrivals, Why: load.Reason(reason).String(), Count: n})
		}
	}
	for _, x := range c.Checks {
		if x.Failed > 0 {
			out = append(out, web.Total{What: web.FailedChecks, Where: x.Check, Count: x.Failed, Of: x.Evaluated})
		}
	}
	d.judge.Collect(func(m *metric.Desc, v float64, labels ...string) {
		if m == metric.ObjectiveExcluded && labels[0] == s.Name() && v > 0 {
			out = append(out, web.Total{What: web.ExcludedEvents, Where: labels[1], Why: labels[2], Count: uint64(v)})
		}
	})
	return out
}

// configText is a block of the configuration as people read it; nodes hide their secrets.
func configText(n *block.Node) string {
	text, err := json.MarshalIndent(n, "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func latency(p record.Percentiles, n uint64) web.Latency {
	return web.Latency{P50: p.P50.Seconds(), P95: p.P95.Seconds(), P99: p.P99.Seconds(), Count: n}
}

// Suites lists what runs together.
func (d daemon) Suites() (out []web.Suite) {
	for _, s := range d.suites.Status() {
		v := web.Suite{Name: s.Name, Schedule: s.Schedule, Running: s.Running, NextRun: s.Next, Missed: s.Missed}
		if r := s.Run; r != nil {
			v.Run = &web.SuiteRun{ID: r.ID, Began: r.Began, Ended: r.Ended, Result: r.Result}
			for _, p := range r.Parts {
				v.Run.Parts = append(v.Run.Parts, web.SuitePart{Scenario: p.Scenario, Run: p.Run, Began: p.Began, Ended: p.Ended, Result: p.Result, Why: p.Why})
			}
		}
		out = append(out, v)
	}
	return out
}

// StartSuite starts a run of a suite by hand.
func (d daemon) StartSuite(name string) error {
	s, err := d.suites.Named(name)
	if err != nil {
		return web.ErrUnknownSuite
	}
	return s.StartRun()
}

// StopSuite ends a run of a suite by hand.
func (d daemon) StopSuite(name string) error {
	s, err := d.suites.Named(name)
	if err != nil {
		return web.ErrUnknownSuite
	}
	return s.StopRun()
}

// view is what pages and API show of a scenario.
func (d daemon) view(s *fleet.Scenario, now time.Time) web.Scenario {
	cfg, sched := s.Config(), s.Schedule()
	v := web.Scenario{
		Name: s.Name(), Test: string(cfg.Test), Target: cfg.Target.S, Labels: cfg.Labels, BaselineOf: s.BaselineOf(),
		Executor: cfg.Workload.Executor, Model: cfg.Workload.Model(),
		Schedule: cfg.Schedule.Describe(), Workload: cfg.Played().Describe(),
		State: fleet.State(sched), Expected: sched.Due, NextRun: sched.Next, LastEnd: sched.LastEnd, Missed: sched.Missed,
	}
	if recent, ok := s.Recent(); ok {
		v.AchievedRate, v.RequestRate, v.ErrorRatio = recent.Iterations, recent.Requests, recent.ErrorRatio
		v.Latency = latency(recent.ResponseTime, recent.Count)
	}
	if r, running := s.Run(); running {
		v.RunID, v.RunStart = r.ID, r.Began
		v.PlannedRate, v.PlannedVUs, v.VUs, v.Busy = r.Stats.PlannedRate, r.Stats.PlannedVUs, r.Stats.VUs, r.Stats.Busy
	}
	for _, c := range s.Credentials() {
		shown := web.Credential{Name: c.Name, Up: c.Up, Expires: c.Expires}
		if c.Fault != nil {
			shown.Fault = d.strike(c.Fault.Error())
		}
		v.Credentials = append(v.Credentials, shown)
	}
	v.Control = control(s)
	v.DropRate = dropRate(d.fleet.LastWindow(s.Name(), ""))
	v.Valid = true
	for _, r := range s.Invalid(now) {
		v.Valid = false
		v.Invalid = append(v.Invalid, r.String())
	}
	return v
}

// dropRate is how many arrivals a second a scenario's window dropped; 0 for no window.
func dropRate(w *load.Window) float64 {
	if w == nil || w.Iterations == nil {
		return 0
	}
	var n uint64
	for _, d := range w.Iterations.Dropped {
		n += d
	}
	return float64(n) / cmp.Or(w.End.Sub(w.Start).Seconds(), 1)
}

// verdicts is what web sees of what was judged.
type verdicts struct{ *App }

// Accept makes the level that a finding found the new baseline.
func (v verdicts) Accept(id string) error {
	err := v.judge.Accept(id, time.Now().Round(0))
	switch {
	case errors.Is(err, analysis.ErrUnknown):
		return web.ErrUnknownFinding
	case errors.Is(err, analysis.ErrNotAcceptable):
		return web.ErrNotAcceptable
	}
	return err
}

// Release takes the release that a pipeline says a target runs.
func (v verdicts) Release(name, release string) error {
	t := v.fleet.Target(name)
	if t == nil {
		return web.ErrUnknownTarget
	}
	return t.Push(release, time.Now())
}
