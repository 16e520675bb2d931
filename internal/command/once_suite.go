package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/app"
	"github.com/perfd/perfd/internal/config"
	"github.com/perfd/perfd/internal/judge"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/report"
	"github.com/perfd/perfd/internal/schedule"
	"github.com/perfd/perfd/internal/suite"
)

// narrowSuite leaves of a document what one run of a suite needs.
func narrowSuite(doc *config.Document, s *suite.Config, o OnceOptions) error {
	if o.For > 0 {
		return fmt.Errorf("%s is a suite, which lasts as long as its scenarios\n\thint: leave out --for", o.Scenario)
	}
	doc.Scenarios = slices.DeleteFunc(doc.Scenarios, func(c *config.Scenario) bool {
		return !slices.ContainsFunc(s.Scenarios, func(m suite.Member) bool { return m.Scenario.S == c.Name.S })
	})
	for _, c := range doc.Scenarios {
		c.Schedule = schedule.Config{Manual: true, Duration: c.Schedule.Duration}
	}
	one := *s
	one.Schedule = schedule.Config{Manual: true, Duration: s.Schedule.Duration}
	doc.Suites = []suite.Config{one}
	narrowAll(doc, o)
	return nil
}

// runSuite performs one run of a suite and writes its summary.
func (r *once) runSuite(ctx context.Context, a *app.App, o OnceOptions) (code int, err error) {
	r.announce(a, o)
	a.Start()
	s, err := a.Suites().Named(o.Scenario)
	if err == nil {
		err = s.StartRun()
	}
	if err != nil {
		return OnceFailed, errors.Join(err, a.Stop())
	}
	follow(ctx, o, s.StopRun, func(elapsed time.Duration) (func() []string, bool) {
		st := s.Status()
		if st.Run == nil {
			return func() []string { return nil }, false
		}
		return func() []string { return suiteProgress(a, st.Run, elapsed) }, !st.Run.Ended.IsZero() && !st.Running
	})
	if err := a.Stop(); err != nil {
		return OnceFailed, err
	}
	ended := r.ended
	if ended.ID == "" {
		return OnceFailed, errors.New("the suite did not end")
	}
	out := report.Suite{Suite: ended.Suite, Run: ended.ID, Result: ended.Result, Began: ended.Began, Ended: ended.Ended, Scaled: a.Fleet().Scale().String()}
	code = OncePassed
	for _, p := range ended.Parts {
		out.Scenarios = append(out.Scenarios, report.SuitePart{Scenario: p.Scenario, Result: p.Result, Why: p.Why, Began: p.Began, Ended: p.Ended})
		j := r.judged[p.Scenario]
		if j.run.Run == "" || p.Result == suite.NotStarted {
			code = worseCode(code, OnceInconclusive)
			continue
		}
		run := r.tally(p.Scenario).report(a.Fleet().Scenario(p.Scenario).Config(), j.run, j.finding)
		run.Scaled = out.Scaled
		out.Runs = append(out.Runs, run)
		code = worseCode(code, onceCode(p.Result, j.finding.Verdict, j.run.Basis))
	}
	if ended.Result == suite.Interrupted {
		code = worseCode(code, OnceInconclusive)
	}
	write := report.SuiteText
	if o.Format == "json" {
		write = report.SuiteJSON
	}
	return code, write(o.Summary, out)
}

// worseCode is the exit code of two runs.
func worseCode(a, b int) int {
	order := []int{OncePassed, OnceInconclusive, OnceBroken, OnceFailed}
	return order[max(slices.Index(order, a), slices.Index(order, b))]
}

// suiteProgress says how each scenario stands that runs.
func suiteProgress(a *app.App, r *suite.Run, elapsed time.Duration) (lines []string) {
	for _, p := range r.Parts {
		s := a.Fleet().Scenario(p.Scenario)
		if p.Began.IsZero() || p.Result != "" || s == nil {
			continue
		}
		lines = append(lines, p.Scenario+": "+report.Progress(progress(a, s, elapsed-p.Began.Sub(r.Began), s.Schedule().Run)))
	}
	if len(lines) == 0 {
		lines = []string{"waiting for the next scenario of the suite, or for a verdict"}
	}
	return lines
}

// judgedRun is a run that ended with its finding.
type judgedRun struct {
	run     judge.Run
	finding load.Finding
}

// once is what one call of Once gathers.
type once struct {
	kinds   analysis.Kinds
	suite   bool
	tallies map[string]*tally    // by scenario; complete before load begins
	judged  map[string]judgedRun // read after Stop, which waits for them, as for ended
	ended   suite.Run
}

func (r *once) tally(scenario string) *tally { return r.tallies[scenario] }

// narrow leaves of a document what is asked for.
func (r *once) narrow(doc *config.Document, o OnceOptions) error {
	err := error(nil)
	if s := doc.Suite(o.Scenario); s != nil {
		r.suite = true
		err = narrowSuite(doc, s, o)
	} else {
		err = narrow(doc, o)
	}
	for i := range doc.Scenarios {
		r.tallies[doc.Scenarios[i].Name.S] = &tally{kinds: r.kinds, steps: map[string]*stepTally{}}
	}
	return err
}

// add takes a window.
func (r *once) add(w *load.Window) {
	if t := r.tallies[w.Scenario]; t != nil {
		t.add(w)
	}
}
