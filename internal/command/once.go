package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/app"
	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/config"
	"github.com/perfd/perfd/internal/fleet"
	"github.com/perfd/perfd/internal/hist"
	"github.com/perfd/perfd/internal/judge"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/output"
	"github.com/perfd/perfd/internal/report"
	"github.com/perfd/perfd/internal/schedule"
	"github.com/perfd/perfd/internal/suite"
)

// OnceOptions of Once.
type OnceOptions struct {
	Scenario string        // or suite
	For      time.Duration // how long the run lasts; 0: what schedule and workload say
	Format   string        // of the summary: text or json

	Summary, Progress io.Writer
	Terminal          bool // Progress is one: a line that is written over and over
	RemoteWrite       bool // send metrics where the configuration says
}

// The exit codes of Once.
const (
	OncePassed       = 0
	OnceFailed       = 1 // failed while running
	OnceBroken       = 3 // an objective, or another judgement of the run, failed
	OnceInconclusive = 4
)

// Once performs one run of a scenario, or of a suite, at this instant, whatever its schedule
// says, and writes a summary of it. A *app.UsageError says that nothing was
// started.
func Once(ctx context.Context, opts app.Options, o OnceOptions) (code int, err error) {
	r := &once{kinds: opts.Plugged().Analyses, tallies: map[string]*tally{}, judged: map[string]judgedRun{}}
	opts.Narrow = func(doc *config.Document) error { return r.narrow(doc, o) }
	if opts.StoragePath == "" {
		dir, err := os.MkdirTemp("", "perfd-once-")
		if err != nil {
			return OnceFailed, fmt.Errorf("once: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		opts.StoragePath = dir
	}
	opts.Windows = r.add
	opts.Judged = func(run judge.Run, f load.Finding) { r.judged[run.Scenario] = judgedRun{run, f} } // read after Stop, which waits for this
	opts.SuiteEnded = func(run suite.Run) { r.ended = run }
	a, err := app.New(opts)
	if err != nil {
		return OnceFailed, err
	}
	if r.suite {
		return r.runSuite(ctx, a, o)
	}
	return r.runScenario(ctx, a, o)
}

// runScenario performs one run of a scenario and writes its summary.
func (r *once) runScenario(ctx context.Context, a *app.App, o OnceOptions) (code int, err error) {
	r.announce(a, o)
	a.Start()
	s := a.Fleet().Scenario(o.Scenario)
	if err := s.StartRun(); err != nil {
		return OnceFailed, errors.Join(err, a.Stop())
	}
	follow(ctx, o, s.StopRun, func(elapsed time.Duration) (func() []string, bool) {
		st := s.Schedule()
		return func() []string { return []string{report.Progress(progress(a, s, elapsed, st.Run))} }, !st.LastEnd.IsZero() && !st.Running
	})
	if err := a.Stop(); err != nil {
		return OnceFailed, err
	}
	j := r.judged[o.Scenario]
	if j.run.Run == "" {
		return OnceFailed, errors.New("the run was not judged")
	}
	run := r.tally(o.Scenario).report(s.Config(), j.run, j.finding)
	run.Scaled = a.Fleet().Scale().String()
	write := report.Text
	if o.Format == "json" {
		write = report.JSON
	}
	if err := write(o.Summary, run); err != nil {
		return OnceFailed, err
	}
	return onceCode(j.run.Result, j.finding.Verdict, j.run.Basis), nil
}

// announce says before a run that it is a rehearsal.
func (r *once) announce(a *app.App, o OnceOptions) {
	if s := a.Fleet().Scale(); s.On() {
		fmt.Fprintln(o.Progress, s)
	}
}

// onceCode is the exit code of a run: its verdict's, except that a run which
// nothing can pass is not held against it.
func onceCode(result string, v load.Verdict, basis analysis.Basis) int {
	switch {
	case result == judge.Errored:
		return OnceFailed
	case v == load.Fail:
		return OnceBroken
	case v == load.Pass, basis == analysis.NoObjectives:
		return OncePassed
	}
	return OnceInconclusive
}

// scenarioNamed returns the scenario of a name that somebody typed.
func scenarioNamed(doc *config.Document, name string) (*config.Scenario, error) {
	if s := doc.Scenario(name); s != nil {
		return s, nil
	}
	var names []string
	for i := range doc.Scenarios {
		names = append(names, doc.Scenarios[i].Name.S)
	}
	for i := range doc.Suites {
		names = append(names, doc.Suites[i].Name.S)
	}
	return nil, fmt.Errorf("there is no scenario named %q\n\thint: %s", name, block.Nearest(name, names))
}

// narrow leaves of a document what one run needs.
func narrow(doc *config.Document, o OnceOptions) error {
	s, err := scenarioNamed(doc, o.Scenario)
	if err != nil {
		return err
	}
	lasts := s.Schedule.Duration
	if o.For > 0 {
		lasts = block.Duration(o.For)
	}
	if s.Workload.End().Within(lasts.D()).Never() {
		return fmt.Errorf("scenario %s has no end of its own\n\thint: say how long, such as --for=10m", o.Scenario)
	}
	one := *s
	one.Schedule = schedule.Config{Manual: true, Duration: lasts}
	doc.Scenarios, doc.Suites = []*config.Scenario{&one}, nil
	narrowAll(doc, o)
	return nil
}

// narrowAll leaves out what no run in the foreground heeds.
func narrowAll(doc *config.Document, o OnceOptions) {
	doc.Blackouts = nil
	if !o.RemoteWrite {
		doc.Outputs = slices.DeleteFunc(doc.Outputs, func(o output.Configured) bool { return o.Kind.Takes&output.Snapshots != 0 })
	}
}

const (
	// A terminal's line of progress is written each second, a log's each ten.
	terminalEvery = time.Second
	logEveryRun   = 10 * time.Second
)

// follow waits for the end of a run, which a cancelled ctx brings about early by stop, and says meanwhile how it
// stands. look returns the lines that say so, none while there is nothing to say, and whether the run is over.
func follow(ctx context.Context, o OnceOptions, stop func() error, look func(elapsed time.Duration) (lines func() []string, over bool)) {
	every := logEveryRun
	if o.Terminal {
		every = terminalEvery
	}
	began := time.Now()
	next := began.Add(every)
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	done, ended := ctx.Done(), false
	for {
		select {
		case <-done:
			done = nil
			_ = stop() // it has ended by itself where there is nothing to stop
		case now := <-ticker.C:
			lines, over := look(now.Sub(began))
			if over && !ended {
				ended = true // what else is due at this instant, such as a window, is recorded and judged before the daemon stops
				continue
			}
			if over {
				if o.Terminal {
					fmt.Fprint(o.Progress, "\r\x1b[K")
				}
				return
			}
			if now.Before(next) {
				continue
			}
			next = next.Add(every)
			say(o, lines())
		}
	}
}

// say writes how a run stands: on a terminal one line, over the one before.
func say(o OnceOptions, lines []string) {
	switch {
	case !o.Terminal:
		for _, line := range lines {
			fmt.Fprintln(o.Progress, line)
		}
	case len(lines) > 1:
		fmt.Fprintf(o.Progress, "\r\x1b[K%s, and %d more", lines[0], len(lines)-1)
	case len(lines) == 1:
		fmt.Fprint(o.Progress, "\r\x1b[K"+lines[0])
	}
}

// progress is how a run stands.
func progress(a *app.App, s *fleet.Scenario, elapsed time.Duration, run schedule.Run) report.ProgressLine {
	l := report.ProgressLine{Elapsed: elapsed, Objectives: len(s.Config().Judged)}
	if !run.End.IsZero() {
		l.Total = run.End.Sub(run.Zero)
	}
	if recent, ok := s.Recent(); ok {
		l.AchievedRate, l.Failed, l.P95 = recent.Requests, recent.ErrorRatio, recent.ResponseTime.P95.Seconds()
	}
	if r, running := s.Run(); running {
		l.AskedRate = r.Now.PlannedRate * float64(s.Config().Program.Requests)
		for _, n := range r.Now.Dropped {
			l.Dropped += n
		}
	}
	l.Verdict = a.Kinds().Analyses.Scenarios(a.Findings())[s.Name()].Objectives.Verdict()
	return l
}

// A tally adds the windows of a run up for its summary.
type tally struct {
	kinds analysis.Kinds

	mu    sync.Mutex
	own   load.Window
	it    load.Iterations
	asked float64
	bits  uint32
	steps map[string]*stepTally
}

type stepTally struct {
	requests, failed uint64
	retries          uint64
	failures         [load.NumCauses]uint64
	response         hist.Histogram
	messages         *load.MessageCounts // nil where the step opens no streams
}

func (t *tally) add(w *load.Window) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if w.Step != "" {
		s := t.steps[w.Step]
		if s == nil {
			s = &stepTally{}
			t.steps[w.Step] = s
		}
		s.requests += w.Requests
		s.retries += w.Retries
		s.failed += w.Failed()
		for c, n := range w.Failures {
			if load.Cause(c) != load.Canceled {
				s.failures[c] += n
			}
		}
		s.response.Merge(w.ResponseTime)
		if w.Messages != nil {
			if s.messages == nil {
				s.messages = &load.MessageCounts{}
			}
			s.messages.Add(w.Messages)
		}
		return
	}
	t.own.Requests += w.Requests
	for c, n := range w.Failures {
		t.own.Failures[c] += n
	}
	for _, c := range w.Touched {
		t.own.Touched = load.AddTouched(t.own.Touched, c)
	}
	for _, c := range w.Checks {
		t.own.Checks = load.AddCheck(t.own.Checks, c)
	}
	t.asked += w.Planned
	if w.Requests > 0 || w.Planned > 0 {
		t.bits |= w.Flags.Invalid
	}
	if w.Iterations == nil {
		return
	}
	t.it.Started += w.Iterations.Started
	for r, n := range w.Iterations.Dropped {
		t.it.Dropped[r] += n
	}
}

// report is the summary of a run.
func (t *tally) report(s *config.Scenario, e judge.Run, f load.Finding) report.Run {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := report.Run{
		Scenario: e.Scenario, Run: e.Run, Test: e.Test, Target: e.Target, Release: e.Release, Began: e.Began, Ended: e.At,
		Requests: t.own.Requests, Failed: t.own.Failed(), Iterations: t.it.Started, Finding: f, Kinds: t.kinds, Valid: t.bits == 0,
	}
	for reason, n := range t.it.Dropped {
		r.Dropped += n
		r.Drops = count(r.Drops, load.Reason(reason).String(), n)
	}
	for _, c := range t.own.Touched {
		r.Touched = count(r.Touched, c.By.String(), c.Count)
	}
	for _, c := range t.own.Checks {
		r.Checks = append(r.Checks, report.Check(c))
	}
	if seconds := e.At.Sub(e.Began).Seconds(); seconds > 0 {
		r.AskedRate, r.AchievedRate = t.asked/seconds, float64(t.it.Started)/seconds
	}
	for _, d := range load.Disturbances(t.bits) {
		r.Invalid = append(r.Invalid, d.String())
	}
	for _, step := range s.Program.Steps {
		row := report.Step{Name: step.Label, Group: step.Group}
		scale := load.Scale{}
		if m := step.Metric; m != nil {
			row.Group, row.Metric = false, m.Type
			if m.Numbers() {
				row.Unit, scale = m.Unit, load.ScaleOf(m.Unit)
			}
		}
		if x := t.steps[step.Label]; x != nil {
			row.Requests, row.Failed, row.Retries, row.Messages = x.requests, x.failed, x.retries, x.messages
			for cause, n := range x.failures {
				row.Failures = count(row.Failures, load.Cause(cause).String(), n)
			}
			if x.response.Count() > 0 {
				p := x.response.HDR().ValueAtPercentilesSlice([]float64{50, 90, 95, 99})
				row.P50, row.P90, row.P95, row.P99 = scale.Value(p[0]), scale.Value(p[1]), scale.Value(p[2]), scale.Value(p[3])
			}
		}
		r.Steps = append(r.Steps, row)
	}
	return r
}

// count adds n for a reason, unless it is 0.
func count(list []report.Count, reason string, n uint64) []report.Count {
	if n == 0 {
		return list
	}
	if i := slices.IndexFunc(list, func(c report.Count) bool { return c.Reason == reason }); i >= 0 {
		list[i].Count += n
		return list
	}
	return append(list, report.Count{Reason: reason, Count: n})
}
