package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/app"
	"github.com/perfd/perfd/internal/history"
	"github.com/perfd/perfd/internal/judge"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/report"
)

// AnalyzeOptions of Analyze.
type AnalyzeOptions struct {
	Scenario string
	Kinds    []string // of findings; none is all
	From, To time.Time
	Format   string // text or json
	Explain  bool   // write the steps that led to each finding instead, as tables of CSV
	Out      io.Writer
}

// Analyze runs every analysis over a stretch of the history, as the daemon would
// have had it begun at From, and writes what they say at To of a scenario and
// its targets. It may run beside the daemon whose history it reads.
func Analyze(ctx context.Context, opts app.Options, o AnalyzeOptions) (err error) {
	doc, err := app.Load(opts)
	if err != nil {
		return &app.UsageError{Err: err}
	}
	s, err := scenarioNamed(doc, o.Scenario)
	if err != nil {
		return &app.UsageError{Err: err}
	}
	r := judge.Replay{
		Kinds: opts.Plugged().Analyses, Log: opts.Log, Scenario: o.Scenario, Targets: s.Program.Targets(),
		Findings: o.Kinds, From: o.From, To: o.To,
	}
	if err := r.Check(); err != nil {
		return &app.UsageError{Err: fmt.Errorf("--kind: %w", err)}
	}
	if r.History, err = history.OpenReadOnly(filepath.Join(opts.StoragePath, app.HistoryFolder)); err != nil {
		return fmt.Errorf("read the history: %w", err)
	}
	defer func() { err = errors.Join(err, r.History.Close()) }()
	if o.Explain {
		return explain(ctx, &r, doc.Description(), o.Out)
	}
	found, err := r.Run(ctx, doc.Description())
	if err != nil {
		return err
	}
	if o.Format == "json" {
		e := json.NewEncoder(o.Out)
		e.SetIndent("", "  ")
		return e.Encode(found)
	}
	for i, f := range found {
		if i > 0 {
			fmt.Fprintln(o.Out)
		}
		if err := report.Finding(o.Out, r.Kinds, f); err != nil {
			return err
		}
	}
	return nil
}

// explain writes the steps that led to each finding that has some.
func explain(ctx context.Context, r *judge.Replay, d *analysis.Description, out io.Writer) error {
	explained := 0
	var wrote error
	r.Explain = func(f load.Finding, steps []analysis.Step) {
		if len(steps) > 0 && wrote == nil {
			explained++
			wrote = report.Steps(out, r.Kinds, f, steps)
		}
	}
	if _, err := r.Run(ctx, d); err != nil {
		return err
	}
	if wrote == nil && explained == 0 {
		_, wrote = fmt.Fprintln(out, "# no finding of this time has steps to show; leaks, regressions, changes and drifts have")
	}
	return wrote
}
