package app

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/config"
	"github.com/perfd/perfd/internal/history"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

// verdicts feeds the analyses with what happens, keeps it in the history, and
// puts what they say on the board. One goroutine does all of it, so that no
// arrival, window or scrape waits for a judgement.
type verdicts struct {
	log     *slog.Logger
	history *history.History
	board   *analysis.Board
	inbox   inbox
	judged  func(endedRun, load.Finding) // a run's result is known; nil for nobody

	kinds analysis.Kinds
	group *analysis.Group

	// The goroutine's own.
	ended []endedRun           // wait for the windows that hold their ends
	seen  map[string]time.Time // end of the last window, by scenario
	past  []endedRun           // are over, and their parts may still change
}

// An endedRun is a run that is over and what only its engine knows of it.
type endedRun struct {
	load.Event
	began  time.Time
	doubts []string
	at     time.Time // by the wall clock, when it was handed over
	parts  []load.Finding
	basis  analysis.Basis // of its verdict

	trace load.TraceID
	since time.Time // in this process
}

const (
	// mostWaiting bounds the windows and samples that wait to be judged.
	mostWaiting = 1 << 16
	// windowsWait is how long a run that ended waits for its last windows.
	windowsWait = 20 * time.Second
	// lookBack is how much of the history is read at start: that of an error budget.
	lookBack = 30 * 24 * time.Hour
)

// newVerdicts returns verdicts on what a document says, with the findings of
// earlier processes.
func newVerdicts(h *history.History, kinds analysis.Kinds, doc *config.Document, log *slog.Logger) *verdicts {
	before, err := h.Findings()
	if err != nil {
		log.Error("earlier findings cannot be read", "err", err)
	}
	v := &verdicts{
		log: log, history: h, kinds: kinds, group: analysis.NewGroup(kinds), seen: map[string]time.Time{}, inbox: newInbox(),
		board: analysis.NewBoard(analysis.BoardOptions{Kinds: kinds, Store: h.PutFinding, Forget: h.DeleteFindings, Log: log}, before),
	}
	v.group.Configure(doc.Description())
	return v
}

// run judges until ctx ends and everything that was handed over is judged.
func (v *verdicts) run(ctx context.Context) {
	v.recall(ctx)
	for {
		items, open := v.inbox.take(ctx)
		v.digest(items, !open)
		if !open {
			return
		}
	}
}

// recall feeds the analyses with the history.
func (v *verdicts) recall(ctx context.Context) {
	now := time.Now()
	err := v.history.Replay(ctx, now.Add(-lookBack), now, v.group)
	if err != nil && ctx.Err() == nil {
		v.log.Error("the history was not read to its end; verdicts begin with what was", "err", err)
	}
	v.group.Live()
	if took := time.Since(now); took > time.Second {
		v.log.Info("history read", "took", took.Round(time.Millisecond))
	}
}

// digest keeps and judges what was handed over, in its order. The last digest
// finishes what still waits.
func (v *verdicts) digest(items []any, last bool) {
	var windows []*load.Window
	var samples []load.Sample
	for _, item := range items {
		switch x := item.(type) {
		case *load.Window:
			windows = append(windows, x)
		case load.Sample:
			samples = append(samples, x)
		case load.Event:
			v.keepEvent(x)
		}
	}
	if len(windows)+len(samples) > 0 {
		if err := v.history.Append(windows, samples); err != nil {
			v.log.Debug("windows were not kept", "err", err) // counted, and said by the history
		}
	}
	at := v.feed(items)
	for _, w := range windows {
		if w.Step == "" {
			v.seen[w.Scenario] = w.End
		}
	}
	for _, item := range items {
		if r, ok := item.(endedRun); ok {
			v.ended = append(v.ended, r)
		}
	}
	if !at.IsZero() {
		v.judge(at)
	}
	v.finish(last)
}

// feed gives the items to the analyses and returns the end of the last window, zero for none.
func (v *verdicts) feed(items []any) (at time.Time) {
	for _, item := range items {
		switch x := item.(type) {
		case *load.Window:
			v.group.Window(x)
			if x.End.After(at) {
				at = x.End
			}
		case load.Sample:
			v.group.Sample(x)
		case load.Event:
			v.group.Event(x)
		case endedRun:
			v.group.Event(x.Event)
		}
	}
	return at
}

// judge puts what the analyses say at an instant on the board.
func (v *verdicts) judge(at time.Time) {
	v.group.Judge(at, func(k *analysis.Kind, found []load.Finding) {
		v.board.Report(k.Makes(), at, found)
		v.amend(found, at)
	})
}

// finish sums up the runs whose last windows were judged.
func (v *verdicts) finish(last bool) {
	v.ended = slices.DeleteFunc(v.ended, func(r endedRun) bool {
		if !last && v.seen[r.Scenario].Before(r.At) && time.Since(r.at) < windowsWait {
			return false
		}
		at := r.At
		if s := v.seen[r.Scenario]; s.After(at) {
			at = s
		}
		r.parts = v.group.Run(r.Event, at)
		var f load.Finding
		f, r.basis = analysis.RunOf(v.kinds, r.Event, r.began, r.parts, r.doubts, at)
		if r.Result == "" {
			r.Result = f.Verdict.String()
		}
		v.board.Final(f)
		v.keepEvent(r.Event)
		if v.judged != nil {
			v.judged(r, f)
		}
		v.past = append(v.past, r)
		return true
	})
	v.past = slices.DeleteFunc(v.past, func(r endedRun) bool { return time.Since(r.at) > v.kinds.Late() })
}

// amend changes what was said of a run where the verdict of a part of it came late.
func (v *verdicts) amend(findings []load.Finding, at time.Time) {
	for i := range v.past {
		r := &v.past[i]
		changed := false
		for j := range r.parts {
			p := &r.parts[j]
			k := slices.IndexFunc(findings, func(f load.Finding) bool { return f.ID == p.ID && f.Run == r.Run })
			if k >= 0 && v.kinds.Finding(p.Kind).Late > 0 && findings[k].Verdict != p.Verdict {
				*p, changed = findings[k], true
			}
		}
		if changed {
			f, _ := analysis.RunOf(v.kinds, r.Event, r.began, r.parts, r.doubts, at)
			v.board.Final(f)
		}
	}
}

func (v *verdicts) keepEvent(e load.Event) {
	if err := v.history.Event(e); err != nil {
		v.log.Error("an event was not kept", "event", string(e.Kind), "err", err)
	}
}

// collect sends the metrics of analyses, findings and history.
func (v *verdicts) collect(send analysis.Send) {
	v.group.Collect(send)
	active := v.board.Active()
	for _, k := range v.kinds.Findings() {
		if !k.OfRuns {
			send(metric.Findings, float64(active[k.Kind]), string(k.Kind))
		}
	}
	for tier, n := range v.history.Sizes() {
		send(metric.HistoryBytes, float64(n), tier)
	}
	send(metric.HistoryLost, float64(v.inbox.lost.Load()))
}

// An inbox holds what waits for the judging goroutine. Handing over never
// blocks: what is too much is lost, and counted; events never are.
type inbox struct {
	mu    sync.Mutex
	items []any // *load.Window, load.Sample, load.Event, endedRun
	wake  chan struct{}
	lost  atomic.Uint64
}

func newInbox() inbox { return inbox{wake: make(chan struct{}, 1)} }

func (b *inbox) put(items ...any) {
	b.mu.Lock()
	for _, x := range items {
		switch x.(type) {
		case *load.Window, load.Sample:
			if len(b.items) >= mostWaiting {
				b.lost.Add(1)
				continue
			}
		}
		b.items = append(b.items, x)
	}
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take waits for something and returns all there is; open is false for the last
// of it, after ctx has ended.
func (b *inbox) take(ctx context.Context) (items []any, open bool) {
	open = true
	select {
	case <-b.wake:
	case <-ctx.Done():
		open = false
	case <-time.After(windowsWait / 4): // a run may wait for windows that never come
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	items, b.items = b.items, nil
	return items, open
}
