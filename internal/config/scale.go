package config

import (
	"fmt"
	"strconv"

	"github.com/perfd/perfd/internal/block"
)

// A Scale makes a rehearsal of a configuration: the fields that are tagged so take a part of their time, or of their load.
type Scale struct {
	Time float64 `yaml:"time" doc:"How many times faster everything goes: stages, runs, schedules, delays, think times and windows; 1, as it is written, by default. No timeout, no limit and no objective changes."`
	Load float64 `yaml:"load" doc:"What part of virtual users, rates and iterations there is, such as 0.02, and at least one of what is not 0; 1 by default."`
}

// The bounds of a Scale.
const (
	MostTimeScale = 100_000
	MostLoadScale = 1
)

// Validate checks the factors.
func (s *Scale) Validate(at *block.Node, errs *block.Errors) {
	if n := at.Get("time"); n != nil && (s.Time < 1 || s.Time > MostTimeScale) {
		errs.Add(n.Pos, n.Path, "must be between 1 and %d, got %v", MostTimeScale, s.Time).Hint = "60 makes a minute of an hour"
	}
	if n := at.Get("load"); n != nil && (s.Load <= 0 || s.Load > MostLoadScale) {
		errs.Add(n.Pos, n.Path, "must be more than 0 and at most %d, got %v", MostLoadScale, s.Load).Hint = "0.02 makes 200 virtual users of 10,000"
	}
}

// On reports whether anything is scaled.
func (s Scale) On() bool { return s != Scale{1, 1} }

// String says what is scaled: "scaled: time 1/60, load 0.02", nothing where nothing is.
func (s Scale) String() string {
	if !s.On() {
		return ""
	}
	number := func(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }
	time := "1"
	if s.Time != 1 {
		time = "1/" + number(s.Time)
	}
	return fmt.Sprintf("scaled: time %s, load %s", time, number(s.Load))
}

// print makes a rehearsal part of a fingerprint.
func (s Scale) print(p printer) {
	if s.On() {
		p.text(s.String())
	}
}

// scaleOf is what a document says of a rehearsal, right or wrong.
func scaleOf(root *block.Node) Scale {
	s := Scale{1, 1}
	if n := root.Get("scale"); n != nil {
		block.Decode(n, &s, new(block.Errors))
	}
	return s
}

// scaled says what is wrong with a document only where it is scaled.
func scaled(all block.Mistakes, s Scale) block.Mistakes {
	for _, m := range all {
		m.Text = s.String() + ": " + m.Text
	}
	return all
}

// unscaled adds what a rehearsal leaves at its times of day.
func (d *Document) unscaled(errs *block.Errors) {
	if d.Scale.Time == 1 {
		return
	}
	warn := func(n *block.Node, what string) {
		if n != nil {
			errs.Add(n.Pos, n.Path, "%s, though times are scaled by 1/%v", what, d.Scale.Time)
		}
	}
	const cron = "begins runs at its times of day"
	for _, s := range d.Scenarios {
		warn(s.At.Get("schedule").Get("cron"), cron)
		for _, k := range s.At.Get("workload").Keys {
			warn(k.Value.Get("prometheus"), "is followed as fast as it is measured")
		}
	}
	for i := range d.Suites {
		warn(d.SuiteNode(d.Suites[i].Name.S).Get("schedule").Get("cron"), cron)
	}
	for _, key := range []string{"blackouts", "maintenance"} {
		warn(d.root.Get(key), "are at their times of day")
	}
}
