package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/history"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/report"
)

// AnalyzeOptions of Analyze.
type AnalyzeOptions struct {
	Scenario string
	Kinds    []string // of findings; none is all
	From, To time.Time
	Format   string // text or json
	Out      io.Writer
}

// Analyze runs every analysis over a stretch of the history, as the daemon would
// have had it begun at From, and writes what they say at To of a scenario and
// its targets. It may run beside the daemon whose history it reads.
func Analyze(ctx context.Context, opts Options, o AnalyzeOptions) (err error) {
	doc, err := loadDocument(opts)
	if err != nil {
		return &UsageError{err}
	}
	s, err := scenarioNamed(doc, o.Scenario)
	if err != nil {
		return &UsageError{err}
	}
	kinds := opts.kinds().Analyses
	if err := checkKinds(o.Kinds, kinds); err != nil {
		return &UsageError{err}
	}
	h, err := history.OpenReadOnly(filepath.Join(opts.StoragePath, historyFolder))
	if err != nil {
		return fmt.Errorf("read the history: %w", err)
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	past := &rerun{Group: analysis.NewGroup(kinds), kinds: kinds, scenario: o.Scenario, began: map[string]time.Time{}}
	past.Configure(doc.Description())
	err = h.Replay(ctx, o.From, o.To, past)
	var newer *history.NewerError
	switch {
	case errors.As(err, &newer) || ctx.Err() != nil:
		return fmt.Errorf("read the history: %w", err)
	case err != nil: // everything but what is damaged was told
		opts.Log.Warn("parts of the history could not be read", "err", err)
	}
	if past.windows == 0 {
		return fmt.Errorf("the history has no window of %s from %s to %s", o.Scenario, o.From.Format(time.RFC3339), o.To.Format(time.RFC3339))
	}
	past.finish(func(load.Event) bool { return true })
	found := append([]load.Finding{}, past.found...)
	past.Judge(o.To, func(_ *analysis.Kind, known []load.Finding) { found = append(found, known...) })
	targets := s.Program.Targets()
	found = slices.DeleteFunc(found, func(f load.Finding) bool {
		about := f.Scenario == o.Scenario || f.Scenario == "" && slices.Contains(targets, f.Target)
		return !about || len(o.Kinds) > 0 && !slices.Contains(o.Kinds, string(f.Kind))
	})
	if o.Format == "json" {
		e := json.NewEncoder(o.Out)
		e.SetIndent("", "  ")
		return e.Encode(found)
	}
	for i, f := range found {
		if i > 0 {
			fmt.Fprintln(o.Out)
		}
		if err := report.Finding(o.Out, kinds, f); err != nil {
			return err
		}
	}
	return nil
}

// checkKinds checks that there are findings of the kinds asked for.
func checkKinds(asked []string, kinds analysis.Kinds) error {
	known := []string{string(load.KindRun)}
	for _, k := range kinds {
		for _, made := range k.Makes() {
			known = append(known, string(made))
		}
	}
	for _, k := range asked {
		if !slices.Contains(known, k) {
			return fmt.Errorf("--kind: there are no findings of kind %q\n\thint: %s", k, block.Nearest(k, known))
		}
	}
	return nil
}

// A rerun feeds analyses with the past and asks them about each run that ended
// in it, once they have the window in which it did.
type rerun struct {
	*analysis.Group
	kinds    analysis.Kinds
	scenario string
	windows  int
	began    map[string]time.Time // by run
	ended    []load.Event
	found    []load.Finding
}

func (r *rerun) Window(w *load.Window) {
	r.Group.Window(w)
	if w.Scenario != r.scenario {
		return
	}
	r.windows++
	if w.Step == "" {
		r.finish(func(e load.Event) bool { return !e.At.After(w.End) })
	}
}

func (r *rerun) Event(e load.Event) {
	r.Group.Event(e)
	if e.Scenario != r.scenario {
		return
	}
	switch e.Kind {
	case load.RunEnded:
		r.ended = append(r.ended, e)
	case load.RunBegan:
		if _, resumed := r.began[e.Run]; !resumed {
			r.began[e.Run] = e.At
		}
	}
}

// finish sums up the runs that ended and are ripe.
func (r *rerun) finish(ripe func(load.Event) bool) {
	r.ended = slices.DeleteFunc(r.ended, func(e load.Event) bool {
		if !ripe(e) {
			return false
		}
		if e.Result != "interrupted" && e.Result != "error" {
			e.Result = "" // the verdict's to say
		}
		began, ok := r.began[e.Run]
		if !ok {
			began = e.At
		}
		f, _ := analysis.RunOf(r.kinds, e, began, r.Run(e, e.At), nil, e.At)
		r.found = append(r.found, f)
		return true
	})
}
