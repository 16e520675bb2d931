// Package command is what the commands of perfd do besides running the daemon:
// check, plan, once, analyze and demo.
package command

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/perfd/perfd/internal/amount"
	"github.com/perfd/perfd/internal/app"
	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/config"
	"github.com/perfd/perfd/internal/flow"
	"github.com/perfd/perfd/internal/pace"
	"github.com/perfd/perfd/internal/suite"
)

// Check loads, validates and builds the configuration, starts nothing, and
// prints what each scenario would do, and a warning of what cannot go together. The
// error holds every mistake.
func Check(opts app.Options, w io.Writer) error {
	doc, err := app.Load(opts)
	if err != nil {
		return err
	}
	for _, s := range doc.Scenarios {
		if _, err := pace.New(s.Workload, s.Name.S); err != nil {
			return fmt.Errorf("scenario %s: %w", s.Name.S, err)
		}
	}
	out := w
	var text strings.Builder
	w = &text
	fmt.Fprintf(w, "%s is right: %d targets, %d scenarios.\n", opts.ConfigFile, len(doc.Targets), len(doc.Scenarios))
	if doc.Scale.On() {
		fmt.Fprintln(w, doc.Scale)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range doc.Scenarios {
		describe(t, s)
	}
	for i := range doc.Suites {
		describeSuite(t, &doc.Suites[i])
	}
	if err := t.Flush(); err != nil {
		return err
	}
	misfits := doc.Misfits()
	if len(misfits) > 0 {
		fmt.Fprintln(w)
	}
	for _, m := range misfits {
		fmt.Fprintf(w, "warning: %v\n", m)
	}
	_, err = io.WriteString(out, doc.Strike(text.String()))
	return err
}

// outline writes a flow as a tree, each branch with the requests that an iteration makes there in the mean.
func outline(w io.Writer, s *config.Scenario) {
	p := s.Program
	fmt.Fprintf(w, "  flow\t%s requests an iteration", amount.Count(p.Expected))
	if p.Expected != float64(p.Requests) {
		fmt.Fprintf(w, " in the mean, %d for certain", p.Requests)
	}
	fmt.Fprintf(w, ", %s of thinking in the mean", p.Think)
	if p.Pace > 0 {
		fmt.Fprintf(w, ", at least %s long", block.Duration(p.Pace))
	}
	fmt.Fprintln(w)
	lines(w, p)
	if p.SetUp != nil {
		fmt.Fprintln(w, "  setup\tbefore a run, measured by nothing")
		lines(w, p.SetUp)
	}
	for _, c := range p.CleanUps {
		fmt.Fprintln(w, "  cleanup\tlater, measured by nothing")
		lines(w, c)
	}
	if p.TearDown != nil {
		fmt.Fprintln(w, "  teardown\tafter a run, measured by nothing")
		lines(w, p.TearDown)
	}
}

// lines writes the tree of one program.
func lines(w io.Writer, p *flow.Program) {
	for _, l := range p.Outline {
		indent := strings.Repeat("  ", l.Depth)
		if l.Step < 0 {
			fmt.Fprintf(w, "  \t%s%s: %s\n", indent, l.Text, amount.Count(l.Expected))
			continue
		}
		step := p.Steps[l.Step]
		fmt.Fprintf(w, "  step\t%s%s (%s to %s)", indent, l.Text, step.Protocol, step.Target)
		if l.Expected != 1 {
			fmt.Fprintf(w, ": %s", amount.Count(l.Expected))
		}
		fmt.Fprintln(w)
	}
}

func describeSuite(w io.Writer, s *suite.Config) {
	fmt.Fprintf(w, "\nsuite %s\t%s\n", s.Name.S, s.Schedule.Describe())
	for _, m := range s.Scenarios {
		begins := m.Start.String() + " after the suite"
		if m.After.S != "" {
			begins = m.Start.String() + " after the end of " + m.After.S
		}
		fmt.Fprintf(w, "  %s\t%s\n", m.Scenario.S, begins)
	}
}

func describe(w io.Writer, s *config.Scenario) {
	fmt.Fprintf(w, "\n%s\t%s test on %s\n", s.Name.S, s.Test, s.Target.S)
	fmt.Fprintf(w, "  schedule\t%s\n", s.Schedule.Describe())
	fmt.Fprintf(w, "  workload\t%s\n", s.Played().Describe())
	if s.Twin != nil {
		fmt.Fprintf(w, "  twin\t%s\n", s.Twin.Describe(s.Target.S))
	}
	outline(w, s)
	for i := range s.Judged {
		o := &s.Judged[i]
		of := "all steps"
		switch {
		case o.Metric:
			of = "metric " + o.Step
		case o.Step != "":
			of = "step " + o.Step
		}
		fmt.Fprintf(w, "  objective\t%s: %s (%s, shown over %s, %s)\n", o.Name, o.That, of, block.Duration(o.Window), o.Severity)
	}
	peak, mean := s.Played().Peak(), s.Workload.Mean()
	if s.Workload.Open() {
		n := s.Program.Expected
		fmt.Fprintf(w, "  rate\tmean %s iterations/s = %s requests/s, peak %s iterations/s = %s requests/s, at most %d VUs\n",
			amount.Count(mean), amount.Count(mean*n), amount.Count(peak), amount.Count(peak*n), s.Workload.MostVUs())
	} else {
		fmt.Fprintf(w, "  rate\tmean %s VUs, peak %s VUs; as many iterations as the target allows\n", amount.Count(mean), amount.Count(peak))
		if s.Program.Think > 0 {
			most := peak / s.Program.Think.Seconds()
			fmt.Fprintf(w, "  at most\t%s iterations/s = %s requests/s, if the target took no time\n", amount.Count(most), amount.Count(most*s.Program.Expected))
		}
	}
	switch end := s.Workload.End(); {
	case end.Counted():
		fmt.Fprintf(w, "  ends\t%s\n", end.Within(s.Schedule.Duration.D()))
	case end.Time > 0 && s.Schedule.Duration > 0:
		ends := "the schedule's duration"
		if end.Time < s.Schedule.Duration.D() {
			ends = "its workload"
		}
		fmt.Fprintf(w, "  ends\twith %s, the shorter of %s and %s\n", ends, s.Schedule.Duration, block.Duration(end.Time))
	}
}
