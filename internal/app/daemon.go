package app

import (
	"cmp"
	"encoding/json"
	"runtime"
	"time"

	"github.com/prometheus/common/version"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/record"
	"github.com/perfd/perfd/internal/web"
)

// daemon is what web sees of an App.
type daemon struct{ *App }

func (d daemon) Ready() bool { return d.ready.Load() && !d.stopping.Load() }

func (d daemon) Status() web.Status {
	paused, until := d.pause.state()
	at, ok, why := d.lastReload()
	return web.Status{
		Version: version.Version, Revision: version.GetRevision(), GoVersion: runtime.Version(),
		Started: d.started, ConfigFile: d.opts.ConfigFile, ConfigOK: ok, ConfigTime: at, ConfigError: why,
		Paused: paused, PausedUntil: until, Ready: d.Ready(),
		Shard: d.opts.Shard, Shards: d.opts.Shards, Lifecycle: d.opts.Lifecycle,
	}
}

func (d daemon) Pause(t time.Duration) error { return d.pause.set(t) }
func (d daemon) Resume() error               { return d.pause.resume() }

func (d daemon) Reload() error {
	err := d.App.Reload()
	if err != nil {
		d.log.Error("reload refused, the old configuration goes on", "err", err)
	} else {
		d.log.Info("configuration reloaded", "reason", "http")
	}
	return err
}

func (d daemon) Start(name string) error {
	s := d.current().scenario(name)
	if s == nil {
		return web.ErrUnknown
	}
	return s.runner.Start()
}

func (d daemon) Stop(name string) error {
	s := d.current().scenario(name)
	if s == nil {
		return web.ErrUnknown
	}
	return s.runner.Stop()
}

func (d daemon) Scenarios() []web.Scenario {
	now := time.Now()
	var out []web.Scenario
	for _, s := range d.current().scenarios {
		out = append(out, s.view(now))
	}
	return out
}

func (d daemon) Scenario(name string) (web.Detail, bool) {
	s := d.current().scenario(name)
	if s == nil {
		return web.Detail{}, false
	}
	v := web.Detail{Scenario: s.view(time.Now()), Config: configText(s.at.Load()), Failures: []web.Failure{}}
	for _, f := range s.failures.recent() {
		v.Failures = append(v.Failures, web.Failure{
			Time: f.At, Step: f.Step, Cause: f.Cause.String(), Code: f.Code, Duration: f.Duration.Seconds(), Text: f.Text,
		})
	}
	for _, step := range s.cfg.Program.Steps {
		row := web.Step{Name: step.Label, Target: step.Target, Protocol: step.Protocol}
		if w := d.windows.last(s.name, step.Label); w != nil {
			row.RequestRate = float64(w.Requests) / w.End.Sub(w.Start).Seconds()
			if n := w.Requests - w.Failures[load.Canceled]; n > 0 {
				row.ErrorRatio = float64(w.Failed()) / float64(n)
			}
			hdr := w.ResponseTime.HDR()
			row.Latency = latency(record.Percentiles{
				P50: time.Duration(hdr.ValueAtQuantile(50)), P95: time.Duration(hdr.ValueAtQuantile(95)), P99: time.Duration(hdr.ValueAtQuantile(99)),
			}, w.ResponseTime.Count())
		}
		v.Steps = append(v.Steps, row)
	}
	return v, true
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

// view is what pages and API show of the scenario.
func (s *scenario) view(now time.Time) web.Scenario {
	sched := s.runner.Status()
	v := web.Scenario{
		Name: s.name, Test: string(s.cfg.Test), Target: s.cfg.Target.S, Labels: s.cfg.Labels,
		Executor: s.cfg.Workload.Executor, Model: s.cfg.Workload.Model(),
		Schedule: s.cfg.Schedule.Describe(), Workload: s.cfg.Workload.Describe(),
		State: state(sched), Expected: sched.Due, NextRun: sched.Next, LastEnd: sched.LastEnd, Missed: sched.Missed,
	}
	if recent, ok := s.app.recorder.Recent(s.name); ok {
		v.AchievedRate, v.RequestRate, v.ErrorRatio = recent.Iterations, recent.Requests, recent.ErrorRatio
		v.Latency = latency(recent.ResponseTime, recent.Count)
	}
	if r := s.current(); r != nil {
		st := r.stats.Load()
		is := r.identity.Load()
		v.RunID, v.RunStart = is.id, is.began
		v.PlannedRate, v.PlannedVUs, v.VUs, v.Busy = st.PlannedRate, st.PlannedVUs, st.VUs, st.Busy
	}
	v.DropRate = s.dropRate()
	v.Valid = true
	for _, r := range s.valid.Reasons(now) {
		v.Valid = false
		v.Invalid = append(v.Invalid, r.String())
	}
	return v
}

// dropRate is how many arrivals a second the last window's scenario dropped.
func (s *scenario) dropRate() float64 {
	w := s.app.windows.last(s.name, "")
	if w == nil || w.Iterations == nil {
		return 0
	}
	var n uint64
	for _, d := range w.Iterations.Dropped {
		n += d
	}
	return float64(n) / cmp.Or(w.End.Sub(w.Start).Seconds(), 1)
}

// states are the values of the label, in the order in which a scenario is in the first that holds.
var states = []string{"paused", "draining", "running", "blackout", "stopped", "waiting"}
