// Package command is what the commands of perfd do besides running the daemon:
// check, once, analyze and demo.
package command

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/perfd/perfd/internal/app"
	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/config"
	"github.com/perfd/perfd/internal/pace"
)

// Check loads, validates and builds the configuration, starts nothing, and
// prints what each scenario would do, and a warning of what cannot go together. The
// error holds every mistake.
func Check(opts app.Options, w io.Writer) error {
	doc, err := app.Load(opts)
	if err != nil {
		return err
	}
	for i := range doc.Scenarios {
		s := &doc.Scenarios[i]
		if _, err := pace.New(s.Workload, s.Name.S); err != nil {
			return fmt.Errorf("scenario %s: %w", s.Name.S, err)
		}
	}
	out := w
	var text strings.Builder
	w = &text
	fmt.Fprintf(w, "%s is right: %d targets, %d scenarios.\n", opts.ConfigFile, len(doc.Targets), len(doc.Scenarios))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i := range doc.Scenarios {
		describe(t, &doc.Scenarios[i])
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

func describe(w io.Writer, s *config.Scenario) {
	fmt.Fprintf(w, "\n%s\t%s test on %s\n", s.Name.S, s.Test, s.Target.S)
	fmt.Fprintf(w, "  schedule\t%s\n", s.Schedule.Describe())
	fmt.Fprintf(w, "  workload\t%s\n", s.Workload.Describe())
	fmt.Fprintf(w, "  flow\t%d requests an iteration, %s of thinking in the mean\n", s.Program.Requests, s.Program.Think)
	for _, step := range s.Program.Steps {
		fmt.Fprintf(w, "  step\t%s (%s to %s)\n", step.Label, step.Protocol, step.Target)
	}
	for i := range s.Judged {
		o := &s.Judged[i]
		of := "all steps"
		if o.Step != "" {
			of = "step " + o.Step
		}
		fmt.Fprintf(w, "  objective\t%s: %s (%s, shown over %s, %s)\n", o.Name, o.That, of, block.Duration(o.Window), o.Severity)
	}
	peak, mean := s.Workload.Peak(), s.Workload.Mean()
	if s.Workload.Open() {
		n := float64(s.Program.Requests)
		fmt.Fprintf(w, "  rate\tmean %.4g iterations/s = %.4g requests/s, peak %.4g iterations/s = %.4g requests/s, at most %d VUs\n",
			mean, mean*n, peak, peak*n, s.Workload.MostVUs())
	} else {
		fmt.Fprintf(w, "  rate\tmean %.4g VUs, peak %.4g VUs; as many iterations as the target allows\n", mean, peak)
		if s.Program.Think > 0 {
			most := peak / s.Program.Think.Seconds()
			fmt.Fprintf(w, "  at most\t%.4g iterations/s = %.4g requests/s, if the target took no time\n", most, most*float64(s.Program.Requests))
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
