package schedule

import (
	"slices"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/block"
)

// shortestEvery and shortestCut keep a slip of the keyboard from starting runs all the time.
const (
	shortestEvery = time.Second
	shortestCut   = time.Minute
)

// modesOf says which ways to begin a run a key belongs to; time_zone belongs to all.
var modesOf = map[string][]mode{
	"duration":   {onCron, every, after, manual},
	"delay":      {after},
	"jitter":     {onCron, every},
	"overlap":    {onCron, every, after},
	"missed":     {onCron, every, after},
	"on_restart": {always, onCron, every, after, manual},
	"anchor":     {always, every},
	"cut":        {always},
}

// A validator checks one decoded block.
type validator struct {
	at   *block.Node
	errs *block.Errors
}

// fail reports a mistake at a key, or at the whole block where the key is missing.
func (v validator) fail(key, format string, args ...any) *block.Error {
	if n := v.at.Get(key); n != nil {
		return v.errs.Add(n.Pos, n.Path, format, args...)
	}
	return v.errs.Add(v.at.Pos, block.Join(v.at.Path, key), format, args...)
}

// Validate checks the block.
func (c *Config) Validate(at *block.Node, errs *block.Errors) {
	v := validator{at, errs}
	if !v.mode(c) || !v.keys(c.mode()) {
		return
	}
	loc, ok := v.zone(c.TimeZone)
	if !ok {
		return
	}
	for key, d := range map[string]block.Duration{"duration": c.Duration, "cut": c.Cut} {
		if at.Get(key) != nil && d == 0 {
			v.fail(key, "must be more than 0")
		}
	}
	switch {
	case c.mode() == always && c.Cut > 0 && c.Cut.D() < shortestCut:
		v.fail("cut", "must be at least %s, got %s", block.Duration(shortestCut), c.Cut)
	case c.mode() == every && c.Every.D() < shortestEvery:
		v.fail("every", "must be at least %s, got %s", block.Duration(shortestEvery), c.Every)
	case c.mode() == onCron:
		v.cron(c, loc)
	case c.mode() == every && c.Jitter >= c.Every:
		v.fail("jitter", "must be shorter than every (%s), got %s", c.Every, c.Jitter)
	}
	if c.Anchor != "" {
		v.anchor(c.Anchor, loc)
	}
}

// mode checks that exactly one way to begin a run is given.
func (v validator) mode(c *Config) bool {
	var given []string
	for _, m := range []mode{always, onCron, every, after, manual} {
		if v.at.Get(string(m)) != nil {
			given = append(given, string(m))
		}
	}
	switch {
	case len(given) == 0:
		v.errs.Add(v.at.Pos, v.at.Path, "one of always, cron, every, after and manual is required").Hint = "write always: true"
	case len(given) > 1:
		v.fail(given[1], "only one of always, cron, every, after and manual may be given, found %s", strings.Join(given, " and "))
	case given[0] == "always" && !c.Always, given[0] == "manual" && !c.Manual:
		v.fail(given[0], "must be true").Hint = "leave it out, and say with cron, every, after, always or manual when the scenario runs"
	case given[0] == "cron" && c.Cron == "":
		v.fail("cron", "must not be empty")
	case given[0] == "after" && c.After.S == "":
		v.fail("after", "must name a scenario")
	case given[0] == "every" && c.Every == 0:
		v.fail("every", "must be more than 0")
	default:
		return true
	}
	return false
}

// keys reports each key that belongs to another way to begin a run.
func (v validator) keys(m mode) bool {
	before := v.errs.Len()
	for _, k := range v.at.Keys {
		of := modesOf[k.Name]
		if of == nil || slices.Contains(of, m) {
			continue
		}
		var names []string
		for _, o := range of {
			names = append(names, string(o))
		}
		v.errs.Add(k.Pos, k.Value.Path, "belongs to %s, this schedule is %s", strings.Join(names, " and "), m)
	}
	return v.errs.Len() == before
}

func (v validator) zone(name string) (*time.Location, bool) {
	switch loc, err := time.LoadLocation(name); {
	case name == "Local": // means something else on each machine
	case err == nil:
		return loc, true
	}
	v.fail("time_zone", "unknown time zone %q", name).Hint = "write a name of the IANA database, such as Europe/Berlin or UTC"
	return nil, false
}

func (v validator) cron(c *Config, loc *time.Location) {
	spec, err := parseCron(c.Cron, loc)
	if err != nil {
		v.fail("cron", "%v, got %q", err, c.Cron).Hint = cronHint(c.Cron)
		return
	}
	first := spec.next(time.Unix(0, 0))
	if first.IsZero() {
		v.fail("cron", "never comes, got %q", c.Cron).Hint = "is there such a day in such a month?"
		return
	}
	if c.Jitter == 0 {
		return
	}
	if gap := spec.shortestGap(first); c.Jitter.D() >= gap {
		v.fail("jitter", "must be shorter than the time between two runs (%s), got %s", block.Duration(gap), c.Jitter)
	}
}

func (v validator) anchor(text string, loc *time.Location) {
	at, err := parseAnchor(text, loc)
	switch {
	case err != nil:
		v.fail("anchor", "must be an instant such as 2026-03-30, 2026-03-30 06:00 or 2026-03-30T06:00:00Z, got %q", text)
	case at.Before(time.Unix(0, 0)):
		v.fail("anchor", "must not be before 1970, got %q", text)
	}
}

// Check reports where the schedule, which stands at a node (that of the
// scenario, where it was left out), does not fit its workload.
func (c Config) Check(at *block.Node, w Workload, errs *block.Errors) {
	v := validator{at, errs}
	end := c.end(w)
	switch m := c.mode(); {
	case m == always && !w.End.Never():
		errs.Add(at.Pos, at.Path, "always needs a workload that does not end, this one ends %s", w.End).Hint = "leave out the workload's duration, let its stages repeat for ever, or schedule it with cron, every or after"
	case (m == onCron || m == every || m == after) && end.Never():
		v.fail("duration", "is required: the workload does not end by itself").Hint = "write duration: 1h"
	case m == every && !w.End.Counted() && end.Time > c.Every.D() && c.Overlap != OverlapReplace:
		v.fail("every", "must not be shorter than a run, which lasts %s, got %s", block.Duration(end.Time), c.Every).Hint = "overlap: replace ends a run when the next is due"
	}
	if c.OnRestart == RestartResume && w.End.Counted() {
		v.fail("on_restart", "resume needs a workload that only the clock ends, this one ends %s", w.End).Hint = "leave it out: a run that a restart breaks off is interrupted"
	}
}
