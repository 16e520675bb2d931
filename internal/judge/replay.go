package judge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/history"
	"github.com/perfd/perfd/internal/load"
)

// A Replay asks what the analyses would have said of the past.
type Replay struct {
	Kinds    analysis.Kinds
	History  *history.History
	Log      *slog.Logger
	Scenario string   // the one to speak of
	Targets  []string // its own
	Findings []string // kinds of findings to return; none is all
	From, To time.Time
	// Explain takes each finding that is returned and the steps that led to it, none where nothing shows them; nil is nobody.
	Explain func(f load.Finding, steps []analysis.Step)
}

// Run feeds fresh analyses with the history from From to To, as the daemon would
// have had it begun at From, and returns what they say of each run that ended and
// at To. Parts of the history that are damaged are logged and left out.
func (r Replay) Run(ctx context.Context, d *analysis.Description) ([]load.Finding, error) {
	past := &rerun{Group: analysis.NewGroup(r.Kinds), kinds: r.Kinds, scenario: r.Scenario, began: map[string]time.Time{}}
	past.Configure(d)
	err := r.History.Replay(ctx, r.From, r.To, past)
	var newer *history.NewerError
	switch {
	case errors.As(err, &newer) || ctx.Err() != nil:
		return nil, fmt.Errorf("read the history: %w", err)
	case err != nil:
		r.Log.Warn("parts of the history could not be read", "err", err)
	}
	if past.windows == 0 {
		return nil, fmt.Errorf("the history has no window of %s from %s to %s", r.Scenario, r.From.Format(time.RFC3339), r.To.Format(time.RFC3339))
	}
	past.finish(func(load.Event) bool { return true })
	found := append([]load.Finding{}, past.found...)
	past.Judge(r.To, func(_ *analysis.Kind, known []load.Finding) { found = append(found, known...) })
	found = slices.DeleteFunc(found, func(f load.Finding) bool {
		about := f.Scenario == r.Scenario || f.Scenario == "" && slices.Contains(r.Targets, f.Target)
		return !about || len(r.Findings) > 0 && !slices.Contains(r.Findings, string(f.Kind))
	})
	if r.Explain != nil {
		for i := range found {
			r.Explain(found[i], past.Explain(&found[i]))
		}
	}
	return found, nil
}

// Check returns an error with a hint where there are no findings of one of the
// kinds asked for.
func (r Replay) Check() error {
	var known []string
	for _, k := range r.Kinds.Findings() {
		known = append(known, string(k.Kind))
	}
	for _, k := range r.Findings {
		if !slices.Contains(known, k) {
			return fmt.Errorf("there are no findings of kind %q\n\thint: %s", k, block.Nearest(k, known))
		}
	}
	return nil
}

// A rerun feeds analyses with the past and asks them about each run that ended
// in it, once they have the window that holds its end.
type rerun struct {
	*analysis.Group
	kinds    analysis.Kinds
	scenario string
	windows  int
	began    map[string]time.Time // by run
	ended    []load.Event
	found    []load.Finding
}

// Window feeds a window, then finishes the runs that ended in it.
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

// Event feeds an event and notes where runs begin and end.
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

// finish sums up the runs that ended and are complete.
func (r *rerun) finish(complete func(load.Event) bool) {
	r.ended = slices.DeleteFunc(r.ended, func(e load.Event) bool {
		if !complete(e) {
			return false
		}
		if e.Result != Interrupted && e.Result != Errored {
			e.Result = "" // follows from the verdict
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
