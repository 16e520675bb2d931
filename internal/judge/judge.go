// Package judge owns the analyses. One goroutine feeds them with windows,
// samples and events as they happen, keeps those in the history, and puts what
// the analyses say on the board, so that no arrival, window or scrape waits for
// a judgement.
package judge

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/history"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

// Options of a Judge.
type Options struct {
	Kinds   analysis.Kinds
	History *history.History
	Log     *slog.Logger
	// Judged is called for each run that ended, once its finding is known; nil for nobody.
	Judged func(Run, load.Finding)
}

// A Judge is the daemon's judgement of everything that is configured. Window,
// Sample, Event and Ended never block and may be called from any goroutine.
type Judge struct {
	o     Options
	group *analysis.Group
	board *analysis.Board
	inbox inbox
	runs  runCounts

	// The judging goroutine's own.
	ended  []Run                // runs that wait for the windows that hold their ends
	latest map[string]time.Time // end of the latest window, by scenario
	past   []Run                // runs with a finding that may still change
	fed    time.Time            // end of the latest window or sample that is not judged yet; zero for none
	looked time.Time            // the last judgement
	toKeep bool                 // events wait to be written
	news   bool                 // a part of a window under way is to be judged at once

	hurry atomic.Bool // what is still handed over is not judged any more
}

const (
	// windowsWait is how long a run that ended waits for its last windows.
	windowsWait = 20 * time.Second
	// samplesWait is how long samples wait at most for a window to be judged with. A
	// window of any scenario ends every ten seconds; without scenarios none does, and
	// resources are watched all the same.
	samplesWait = 15 * time.Second
	// lookBack is how much of the history is read at start: the span of an error budget.
	lookBack = 30 * 24 * time.Hour
	// atOnce bounds what is judged between two looks at whether there is time for more.
	atOnce = 512
)

// New returns a Judge of what is configured, with the findings of earlier
// processes.
func New(d *analysis.Description, o Options) *Judge {
	before, err := o.History.Findings()
	if err != nil {
		o.Log.Error("earlier findings cannot be read", "err", err)
	}
	j := &Judge{
		o: o, group: analysis.NewGroup(o.Kinds), latest: map[string]time.Time{}, inbox: newInbox(),
		board: analysis.NewBoard(analysis.BoardOptions{
			Kinds: o.Kinds, Store: o.History.PutFinding, Forget: o.History.DeleteFindings, Log: o.Log,
		}, before),
	}
	j.Configure(d)
	return j
}

// Configure hands a new description to the analyses.
func (j *Judge) Configure(d *analysis.Description) { j.group.Configure(d) }

// Window hands a window over that ended.
func (j *Judge) Window(w *load.Window) { j.inbox.put(w) }

// Part hands over a part of a window under way, as analysis.Prompt takes it.
func (j *Judge) Part(w *load.Window) { j.inbox.put(part{w}) }

// A part is a part of a window under way. It is judged and not kept: its window is.
type part struct{ *load.Window }

// Sample hands over the level of a resource.
func (j *Judge) Sample(s load.Sample) { j.inbox.put(s) }

// Event hands over what happened besides.
func (j *Judge) Event(e load.Event) { j.inbox.put(e) }

// Ended hands over a run that ended. A Result that is known already, such as
// interrupted, is kept.
func (j *Judge) Ended(r Run) { j.inbox.put(r) }

// Findings returns everything on the board, what changed last first.
func (j *Judge) Findings() []load.Finding { return j.board.Findings() }

// Accept makes the level that an active finding found the new baseline. Its
// errors are those of [analysis.Board.Accept].
func (j *Judge) Accept(id string, at time.Time) error {
	found, err := j.board.Accept(id, at)
	if err != nil {
		return err
	}
	j.Event(load.Event{
		At: at, Kind: load.FindingTaken, Scenario: found.Scenario, Target: found.Target, Release: found.Release, Finding: id,
	})
	return nil
}

// Forget drops the counts of a scenario that is no longer configured.
func (j *Judge) Forget(scenario string) { j.runs.forget(scenario) }

// Run judges until ctx ends and everything that was handed over is judged, or
// until Hurry.
func (j *Judge) Run(ctx context.Context) {
	j.recall(ctx)
	for {
		items, open := j.inbox.take(ctx)
		for len(items) > atOnce && !j.hurry.Load() {
			j.digest(items[:atOnce], false)
			items = items[atOnce:]
		}
		if j.hurry.Load() {
			j.abandon(items)
			return
		}
		j.digest(items, !open)
		if !open {
			return
		}
	}
}

// Hurry has Run return soon after its context has ended. What it then had not judged is
// lost and counted; events are kept for the next process.
func (j *Judge) Hurry() { j.hurry.Store(true) }

// abandon keeps the events of what was handed over, and loses the rest.
func (j *Judge) abandon(items []any) {
	for _, item := range items {
		switch x := item.(type) {
		case load.Event:
			j.keepEvent(x)
		case Run:
			j.keepEvent(x.Event)
		}
	}
	j.keepEvents()
	j.inbox.lost.Add(uint64(len(items)))
	j.o.Log.Warn("the stop's grace was too short to judge everything that happened before it", "left_out", len(items))
}

// recall feeds the analyses with the history.
func (j *Judge) recall(ctx context.Context) {
	began := time.Now()
	err := j.o.History.Replay(ctx, began.Add(-lookBack), began, j.group)
	if err != nil && ctx.Err() == nil {
		j.o.Log.Error("the history was not read to its end; verdicts begin with what was", "err", err)
	}
	j.group.Live()
	if took := time.Since(began); took > time.Second {
		j.o.Log.Info("history read", "took", took.Round(time.Millisecond))
	}
}

// digest keeps and judges what was handed over, in its order. The last digest
// finishes the runs that still wait.
func (j *Judge) digest(items []any, last bool) {
	var windows []*load.Window
	var samples []load.Sample
	for _, item := range items {
		switch x := item.(type) {
		case *load.Window:
			windows = append(windows, x)
		case load.Sample:
			samples = append(samples, x)
		case load.Event:
			j.keepEvent(x)
		case Run:
			j.ended = append(j.ended, x)
		}
	}
	if len(windows)+len(samples) > 0 {
		if err := j.o.History.Append(windows, samples); err != nil {
			j.o.Log.Debug("windows were not kept", "err", err) // the history counts and reports it
		}
	}
	j.feed(items)
	for _, w := range windows {
		if w.Step == "" {
			j.latest[w.Scenario] = w.End
		}
	}
	if len(windows) > 0 || j.news || !j.fed.IsZero() && time.Since(j.looked) >= samplesWait {
		j.judge(j.fed)
		j.fed, j.looked, j.news = time.Time{}, time.Now(), false
	}
	j.finish(last)
	j.keepEvents()
}

// feed gives the items to the analyses.
func (j *Judge) feed(items []any) {
	note := func(end time.Time) {
		if end.After(j.fed) {
			j.fed = end
		}
	}
	for _, item := range items {
		switch x := item.(type) {
		case *load.Window:
			j.group.Window(x)
			note(x.End)
		case part:
			if j.group.Part(x.Window) {
				j.news = true
				note(x.End)
			}
		case load.Sample:
			j.group.Sample(x)
			note(x.End)
		case load.Event:
			j.group.Event(x)
		case Run:
			j.group.Event(x.Event)
		}
	}
}

// judge puts what the analyses say at an instant on the board.
func (j *Judge) judge(at time.Time) {
	j.group.Judge(at, func(k *analysis.Kind, found []load.Finding) {
		j.board.Report(k.Makes(), at, found)
		j.amend(found, at)
	})
}

// finish sums up the runs whose last windows were judged.
func (j *Judge) finish(last bool) {
	j.ended = slices.DeleteFunc(j.ended, func(r Run) bool {
		if !last && j.latest[r.Scenario].Before(r.At) && time.Since(r.HandedOver) < windowsWait {
			return false
		}
		at := r.At
		if s := j.latest[r.Scenario]; s.After(at) {
			at = s
		}
		r.parts = j.group.Run(r.Event, at)
		var f load.Finding
		f, r.Basis = analysis.RunOf(j.o.Kinds, r.Event, r.Began, r.parts, r.Doubts, at)
		if r.Result == "" {
			r.Result = f.Verdict.String()
		}
		j.board.Final(f)
		j.keepEvent(r.Event)
		j.runs.add(r.Scenario, r.Result)
		if j.o.Judged != nil {
			j.o.Judged(r, f)
		}
		j.past = append(j.past, r)
		return true
	})
	j.past = slices.DeleteFunc(j.past, func(r Run) bool { return time.Since(r.HandedOver) > j.o.Kinds.Late() })
}

// amend changes the finding of a run where an analysis has reached another
// verdict on a part of it since the run ended.
func (j *Judge) amend(findings []load.Finding, at time.Time) {
	for i := range j.past {
		r := &j.past[i]
		changed := false
		for k := range r.parts {
			p := &r.parts[k]
			n := slices.IndexFunc(findings, func(f load.Finding) bool { return f.ID == p.ID && f.Run == r.Run })
			if n >= 0 && j.o.Kinds.Finding(p.Kind).Late > 0 && findings[n].Verdict != p.Verdict {
				*p, changed = findings[n], true
			}
		}
		if changed {
			f, _ := analysis.RunOf(j.o.Kinds, r.Event, r.Began, r.parts, r.Doubts, at)
			j.board.Final(f)
		}
	}
}

// keepEvent keeps an event until keepEvents writes it with others: each write of its
// own would wait for the disk.
func (j *Judge) keepEvent(e load.Event) {
	if err := j.o.History.AddEvent(e); err != nil {
		j.o.Log.Error("an event was not kept", "event", string(e.Kind), "err", err)
	}
	j.toKeep = true
}

func (j *Judge) keepEvents() {
	if !j.toKeep {
		return
	}
	j.toKeep = false
	if err := j.o.History.Flush(); err != nil {
		j.o.Log.Error("events were not kept yet: it is tried again", "err", err)
	}
}

// Collect sends the metrics of analyses, findings and history.
func (j *Judge) Collect(send analysis.Send) {
	j.group.Collect(send)
	active := j.board.Active()
	for _, k := range j.o.Kinds.Findings() {
		if !k.OfRuns {
			send(metric.Findings, float64(active[k.Kind]), string(k.Kind))
		}
	}
	for tier, n := range j.o.History.Sizes() {
		send(metric.HistoryBytes, float64(n), tier)
	}
	send(metric.HistoryLost, float64(j.inbox.lost.Load()))
}

// CollectRuns sends how many runs of a scenario ended, by result.
func (j *Judge) CollectRuns(send analysis.Send, scenario string) { j.runs.collect(send, scenario) }
