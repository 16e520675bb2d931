// Package schedule says, by the wall clock, when a scenario runs: it turns the
// schedule and blackouts blocks into pure functions of instants (Schedule,
// Blackouts), and drives a Starter by them on real time (Runner). It knows
// nothing of load but when a workload ends (pace.End).
package schedule

import (
	"time"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/pace"
)

// A Config is the schedule block of a scenario. Exactly one of always, cron,
// every, after and manual says when runs begin; the zero Config is always.
type Config struct {
	Always bool           `yaml:"always" doc:"Runs all the time; the default."`
	Cron   string         `yaml:"cron" doc:"Begins a run at each time that a cron expression of five fields names, or one of @hourly, @daily, @weekly, @monthly and @yearly."`
	Every  block.Duration `yaml:"every" scale:"time" doc:"Begins a run at each multiple of this time since the anchor."`
	After  block.Text     `yaml:"after" doc:"Begins a run when one of another scenario has come to its end; a run that was stopped, interrupted or broken off has none."`
	Delay  block.Duration `yaml:"delay" scale:"time" doc:"How long after the end of the other scenario's run a run begins (default 0s)."`
	Manual bool           `yaml:"manual" doc:"Runs only when started through the API."`

	TimeZone string         `yaml:"time_zone" doc:"Time zone of cron and anchor, such as Europe/Berlin; UTC by default."`
	Duration block.Duration `yaml:"duration" scale:"time" doc:"How long a run lasts; the workload may end it before."`
	Jitter   block.Duration `yaml:"jitter" scale:"time" doc:"Delays each run by a part of this time that only scenario and run decide; 0s by default."`

	Overlap   Overlap `yaml:"overlap" doc:"What happens when a run is due while another goes on: skip, the default, leaves it out, queue begins it afterwards, replace ends the other."`
	Missed    Missed  `yaml:"missed" doc:"What happens after runs were missed, because perfd was down or paused or in a blackout: skip, the default, or run_once to make up for them with one run."`
	OnRestart Restart `yaml:"on_restart" doc:"What happens to a run that was under way when perfd was stopped: resume it where the clock says, or skip the rest of it; skip is the default of stress, spike and volume tests."`

	Anchor string         `yaml:"anchor" doc:"An instant at which a lap of the workload begins (always), or a run (every), as 2006-01-02, 2006-01-02 15:04 or 2006-01-02T15:04:05Z; Monday 1970-01-05 00:00 by default."`
	Cut    block.Duration `yaml:"cut" doc:"How often an always-on run is cut into one that ends and one that begins, without stopping load; 24h by default."`
}

// Overlap says what happens when a run is due while another goes on.
type Overlap string

// The policies of overlap.
const (
	OverlapSkip    Overlap = "skip"
	OverlapQueue   Overlap = "queue"
	OverlapReplace Overlap = "replace"
)

// Missed says what happens after runs were missed.
type Missed string

// The policies of missed.
const (
	MissedSkip    Missed = "skip"
	MissedRunOnce Missed = "run_once"
)

// Restart says what happens to a run that was under way when perfd stopped.
type Restart string

// The policies of on_restart.
const (
	RestartResume Restart = "resume"
	RestartSkip   Restart = "skip"
)

// DecodeBlock accepts the names of the policies.
func (o *Overlap) DecodeBlock(n *block.Node, errs *block.Errors) {
	*o = oneOf(n, errs, OverlapSkip, OverlapQueue, OverlapReplace)
}

// DecodeBlock accepts the names of the policies.
func (m *Missed) DecodeBlock(n *block.Node, errs *block.Errors) {
	*m = oneOf(n, errs, MissedSkip, MissedRunOnce)
}

// DecodeBlock accepts the names of the policies.
func (r *Restart) DecodeBlock(n *block.Node, errs *block.Errors) {
	*r = oneOf(n, errs, RestartResume, RestartSkip)
}

// JSONSchema lists the policies.
func (Overlap) JSONSchema() map[string]any {
	return map[string]any{"enum": []string{"skip", "queue", "replace"}}
}

// JSONSchema lists the policies.
func (Missed) JSONSchema() map[string]any {
	return map[string]any{"enum": []string{"skip", "run_once"}}
}

// JSONSchema lists the policies.
func (Restart) JSONSchema() map[string]any { return map[string]any{"enum": []string{"resume", "skip"}} }

// A mode says how the runs of a schedule begin.
type mode string

const (
	always mode = "always"
	onCron mode = "cron"
	every  mode = "every"
	after  mode = "after"
	manual mode = "manual"
)

func (c Config) mode() mode {
	switch {
	case c.Cron != "":
		return onCron
	case c.Every > 0:
		return every
	case c.After.S != "":
		return after
	case c.Manual:
		return manual
	}
	return always
}

// AlwaysOn reports whether the scenario runs all the time.
func (c Config) AlwaysOn() bool { return c.mode() == always }

const defaultCut = 24 * time.Hour

func (c Config) cut() time.Duration {
	if c.Cut == 0 {
		return defaultCut
	}
	return c.Cut.D()
}

// A Workload is what a schedule must know of what it starts.
type Workload struct {
	Cycle time.Duration // of the lap that repeats for ever; 0 for none
	End   pace.End      // when it ends by itself
}

// end says when a run ends: where the schedule has a duration, after that at the latest.
func (c Config) end(w Workload) pace.End { return w.End.Within(c.Duration.D()) }

// Describe says the schedule in one line: "cron 0 3 * * * (Europe/Berlin), runs
// last 1h".
func (c Config) Describe() string {
	var s string
	switch c.mode() {
	case always:
		s = "always, cut every " + block.Duration(c.cut()).String()
	case onCron:
		s = "cron " + c.Cron
	case every:
		s = "every " + c.Every.String()
	case after:
		s = "after each run of " + c.After.S
		if c.Delay > 0 {
			s = c.Delay.String() + " " + s
		}
	case manual:
		s = "started by hand"
	}
	if c.TimeZone != "" {
		s += " (" + c.TimeZone + ")"
	}
	if c.Anchor != "" {
		s += ", anchored at " + c.Anchor
	}
	if c.Duration > 0 {
		s += ", runs last " + c.Duration.String()
	}
	if c.Jitter > 0 {
		s += ", up to " + c.Jitter.String() + " later"
	}
	if c.Overlap != "" && c.Overlap != OverlapSkip {
		s += ", overlap " + string(c.Overlap)
	}
	if c.Missed != "" && c.Missed != MissedSkip {
		s += ", missed " + string(c.Missed)
	}
	return s
}

// location is the schedule's time zone, which validation has found to be known.
func (c Config) location() (*time.Location, error) {
	if c.TimeZone == "" {
		return time.UTC, nil
	}
	return time.LoadLocation(c.TimeZone)
}
