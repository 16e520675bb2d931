package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/app"
	"github.com/perfd/perfd/internal/command"
)

// A plan holds the flags of `perfd plan` beyond those of every command.
type plan struct {
	length  time.Duration
	from    string
	latency time.Duration
	format  string
	width   int
}

func (c *commandLine) planFlags() {
	f := c.flags
	f.DurationVar(&c.plan.length, "for", 0, "how much is drawn, such as 168h; 24h, or the whole of a run that the clock does not begin, if 0")
	f.StringVar(&c.plan.from, "from", "", "when the time that is drawn begins, as 2006-01-02T15:04:05Z; now if empty")
	f.DurationVar(&c.plan.latency, "latency", 0, "how long each request takes, such as 200ms: says how many virtual users are busy, and how many iterations they perform")
	f.StringVar(&c.plan.format, "format", "text", "what is written: text, json or svg")
	f.IntVar(&c.plan.width, "width", 80, "columns of the terminal")
}

// check returns what is wrong with the flags.
func (p plan) check() error {
	var errs []error
	if p.length < 0 || p.length > command.LongestPlan {
		errs = append(errs, fmt.Errorf("--for: must be between 0s and %s, got %s", command.LongestPlan, p.length))
	}
	if _, err := p.begin(time.Time{}); err != nil {
		errs = append(errs, fmt.Errorf("--from: want an instant such as 2006-01-02T15:04:05Z, got %q", p.from))
	}
	if p.latency < 0 || p.latency > time.Hour {
		errs = append(errs, fmt.Errorf("--latency: must be between 0s and 1h, got %s", p.latency))
	}
	if !slices.Contains(command.PlanFormats, p.format) {
		errs = append(errs, fmt.Errorf("--format: want %s, got %q", strings.Join(command.PlanFormats, ", "), p.format))
	}
	if p.width < command.NarrowestPlan || p.width > 1000 {
		errs = append(errs, fmt.Errorf("--width: must be between %d and 1000, got %d", command.NarrowestPlan, p.width))
	}
	return errors.Join(errs...)
}

// begin is when the time that is drawn begins.
func (p plan) begin(now time.Time) (time.Time, error) {
	if p.from == "" {
		return now, nil
	}
	return time.Parse(time.RFC3339, p.from)
}

// runPlan draws the load of a scenario.
func (c *commandLine) runPlan(opts app.Options, stdout, stderr io.Writer) int {
	from, err := c.plan.begin(time.Now().Truncate(time.Second))
	if err == nil {
		err = command.Plan(opts, command.PlanOptions{
			Scenario: c.args[0], From: from, For: c.plan.length, Latency: c.plan.latency, Format: c.plan.format, Width: c.plan.width,
		}, stdout)
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitUsage
	}
	return exitOK
}
