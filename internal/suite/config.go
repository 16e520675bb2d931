// Package suite strings runs of scenarios together: which begins how long after
// the suite, or after another's run, and what came of all of them. It begins
// runs through a Starter and decides by the results that they report; it knows
// nothing of load.
package suite

import (
	"slices"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/pace"
	"github.com/perfd/perfd/internal/schedule"
)

// A Config is an entry of the suites block.
type Config struct {
	Name      block.Text      `yaml:"name" block:"required" doc:"Name of the suite: letters, digits, _ and -. No scenario has it."`
	Schedule  schedule.Config `yaml:"schedule" doc:"When the suite runs: cron, every or manual (default: manual). A suite that a restart of perfd breaks off is interrupted; scenarios under way go on as their own schedules say."`
	Scenarios []Member        `yaml:"scenarios" block:"required" doc:"What runs, each scenario once."`

	at *block.Node
}

// A Member is a scenario of a suite.
type Member struct {
	Scenario block.Text     `yaml:"scenario" block:"required" doc:"Name of the scenario, whose own schedule is manual; its duration ends the run."`
	Start    block.Duration `yaml:"start" scale:"time" doc:"How long after the suite's beginning the run begins, or after the end of another's run where after names one (default 0s)."`
	After    block.Text     `yaml:"after" doc:"Name of a scenario of the suite: this one begins when that one's run is over, whatever came of it."`
}

// Validate checks the entry by itself.
func (c *Config) Validate(at *block.Node, errs *block.Errors) {
	c.at = at
	schedules := at.Get("schedule")
	if schedules == nil {
		c.Schedule = schedule.Config{Manual: true}
	}
	if c.Schedule.AlwaysOn() && schedules != nil && schedules.Get("always") != nil {
		errs.Add(schedules.Pos, schedules.Path, "a suite ends, so that it cannot run always").Hint = "write cron, every or manual"
	}
	if n := schedules.Get("after"); n != nil {
		errs.Add(n.Pos, n.Path, "a suite is after no scenario").Hint = "write cron, every or manual, and after below a scenario of the suite"
	}
	if n := schedules.Get("on_restart"); n != nil {
		errs.Add(n.Pos, n.Path, "a suite is not resumed").Hint = "leave it out"
	}
	if list := at.Get("scenarios"); list != nil && list.Kind == block.List && len(list.Items) == 0 {
		errs.Add(list.Pos, list.Path, "must name a scenario at least")
	}
}

// A Scenario is what Check must know of one.
type Scenario struct {
	Manual bool     // only asked for it runs
	End    pace.End // of its runs, their schedule's duration included
}

// Check reports what does not fit the scenarios there are, by name, and whether the
// suite's name is one of theirs.
func (c *Config) Check(scenarios map[string]Scenario, errs *block.Errors) {
	var names []string
	for name := range scenarios {
		names = append(names, name)
	}
	slices.Sort(names)
	if _, taken := scenarios[c.Name.S]; taken {
		errs.Add(c.Name.Pos, c.Name.Path, "a scenario is named %q already", c.Name.S).Hint = "perfd once takes the names of both"
	}
	var members []string
	for _, m := range c.Scenarios {
		members = append(members, m.Scenario.S)
	}
	whole := true
	for i, m := range c.Scenarios {
		s, ok := scenarios[m.Scenario.S]
		switch {
		case m.Scenario.S == "":
			whole = false // is missing, decoding said so
		case !ok:
			whole = false
			errs.Add(m.Scenario.Pos, m.Scenario.Path, "unknown scenario %q", m.Scenario.S).Hint = block.Nearest(m.Scenario.S, names)
		case slices.Contains(members[:i], m.Scenario.S):
			whole = false
			errs.Add(m.Scenario.Pos, m.Scenario.Path, "%s is in the suite already", m.Scenario.S)
		case !s.Manual:
			errs.Add(m.Scenario.Pos, m.Scenario.Path, "%s has a schedule of its own", m.Scenario.S).Hint = "a scenario of a suite has schedule: {manual: true}"
		case s.End.Never():
			whole = false
			errs.Add(m.Scenario.Pos, m.Scenario.Path, "runs of %s never end", m.Scenario.S).Hint = "write schedule: {manual: true, duration: 1h} in the scenario"
		}
		switch {
		case m.After.S == "":
		case !slices.Contains(members, m.After.S):
			whole = false
			errs.Add(m.After.Pos, m.After.Path, "%q is no scenario of the suite", m.After.S).Hint = block.Nearest(m.After.S, members)
		default:
			if order := c.order(i); order != nil {
				whole = false
				errs.Add(m.After.Pos, m.After.Path, "%s would never begin: it is after itself, by way of %s", m.Scenario.S, strings.Join(order, ", "))
			}
		}
	}
	if whole && c.at != nil && len(c.Scenarios) > 0 {
		at := c.at.Get("schedule")
		if at == nil {
			at = c.at
		}
		c.Schedule.Check(at, schedule.Workload{End: c.End(scenarios)}, errs)
	}
}

// order lists by way of which others a member is after itself, nil where it is not.
func (c *Config) order(i int) (order []string) {
	m := c.Scenarios[i]
	for range c.Scenarios {
		order = append(order, m.After.S)
		if m.After.S == c.Scenarios[i].Scenario.S {
			return order
		}
		next := slices.IndexFunc(c.Scenarios, func(o Member) bool { return o.Scenario.S == m.After.S })
		if next < 0 || c.Scenarios[next].After.S == "" {
			return nil
		}
		m = c.Scenarios[next]
	}
	return nil // a circle of others, which they report
}

// End is when a run of the suite is over by itself: with the last of its scenarios.
func (c *Config) End(scenarios map[string]Scenario) pace.End {
	ends := map[string]time.Duration{}
	var end func(m Member) (time.Duration, bool)
	end = func(m Member) (time.Duration, bool) {
		if at, known := ends[m.Scenario.S]; known {
			return at, at > 0
		}
		ends[m.Scenario.S] = 0
		of, begins := scenarios[m.Scenario.S].End, m.Start.D()
		if m.After.S != "" {
			i := slices.IndexFunc(c.Scenarios, func(o Member) bool { return o.Scenario.S == m.After.S })
			at, ok := end(c.Scenarios[i])
			if !ok {
				return 0, false
			}
			begins += at
		}
		if of.Time == 0 {
			return 0, false
		}
		ends[m.Scenario.S] = begins + of.Time
		return begins + of.Time, true
	}
	var last pace.End
	for _, m := range c.Scenarios {
		at, ok := end(m)
		if !ok {
			return pace.End{Total: 1} // by iterations, whenever that is
		}
		last.Time = max(last.Time, at)
	}
	return last
}
