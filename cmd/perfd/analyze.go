package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/app"
	"github.com/perfd/perfd/internal/command"
)

// An analysis holds the flags of `perfd analyze` beyond those of every command.
type analysis struct {
	scenario string
	kinds    list
	from, to instant
	format   string
	explain  bool
}

func (c *commandLine) analyzeFlags(now time.Time) {
	a, f := &c.analysis, c.flags
	a.from, a.to = instant{now: now}, instant{now: now, Time: now}
	f.StringVar(&c.opts.StoragePath, "storage.path", "data", "folder of what was measured")
	f.Var(&a.from, "from", `first instant to look at: 2026-03-01T12:00:00Z, "2026-03-01 12:00" of this machine's zone, or back from now: 90m, 24h, 7d`)
	f.Var(&a.to, "to", "instant to look up to, written like --from; now if it is not given")
	f.StringVar(&a.scenario, "scenario", "", "scenario to look at, and its targets")
	f.Var(&a.kinds, "kind", "kind of findings to look for, such as objective, regression or leak; may be given more than once, all if it is not given")
	f.StringVar(&a.format, "format", "text", "how findings are written: text or json")
	f.BoolVar(&a.explain, "explain", false, "write the steps that led to each finding instead: its intermediate series, as tables of CSV (leaks, regressions, changes and drifts)")
}

// runAnalyze judges a time in the past from the history and writes the findings.
func (c *commandLine) runAnalyze(opts app.Options, stdout, stderr io.Writer) int {
	o := command.AnalyzeOptions{
		Scenario: c.analysis.scenario, Kinds: c.analysis.kinds.values, From: c.analysis.from.Time, To: c.analysis.to.Time,
		Format: c.analysis.format, Explain: c.analysis.explain, Out: stdout,
	}
	return serve(opts, stderr, func(ctx context.Context, opts app.Options) (int, error) { return exitOK, command.Analyze(ctx, opts, o) })
}

// check returns what is wrong with the flags.
func (a analysis) check() error {
	switch {
	case a.scenario == "":
		return errors.New("--scenario: is required\n\thint: perfd check lists the scenarios of a configuration")
	case a.from.IsZero():
		return errors.New("--from: is required\n\thint: --from=7d looks at the last week")
	case !a.from.Before(a.to.Time):
		return fmt.Errorf("--from: must be before --to, got %s and %s", a.from.Format(time.RFC3339), a.to.Format(time.RFC3339))
	case a.format != "text" && a.format != "json":
		return fmt.Errorf("--format: want text or json, got %q", a.format)
	case a.explain && a.format == "json":
		return errors.New("--explain: writes CSV, which does not go with --format=json")
	}
	return nil
}

// An instant is a flag that names a point in time.
type instant struct {
	time.Time
	now time.Time
}

func (i *instant) String() string { return "" } // the help shows no default, as now differs each time

func (i *instant) Set(s string) error {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		i.Time = t
		return nil
	}
	if t, err := time.ParseInLocation("2006-01-02 15:04", s, time.Local); err == nil {
		i.Time = t
		return nil
	}
	d, err := back(s)
	if err != nil {
		return errors.New(`want 2026-03-01T12:00:00Z, "2026-03-01 12:00" or a time back from now such as 24h or 7d`)
	}
	i.Time = i.now.Add(-d)
	return nil
}

// mostDays is the number of days that back accepts: more could overflow a time.Duration, which holds 292 years.
const mostDays = 100_000

// back parses a duration that may begin with days: 7d, 1d12h, 90m.
func back(s string) (time.Duration, error) {
	var days uint64
	if n, rest, ok := strings.Cut(s, "d"); ok {
		var err error
		if days, err = strconv.ParseUint(n, 10, 32); err != nil || days > mostDays {
			return 0, errors.New("wrong number of days")
		}
		if s = rest; s == "" {
			s = "0"
		}
	}
	d, err := time.ParseDuration(s)
	if err == nil && d < 0 {
		err = errors.New("ahead of now")
	}
	return time.Duration(days)*24*time.Hour + d, err
}
