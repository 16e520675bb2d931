package analysis

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/perfd/perfd/internal/load"
)

// The errors of Accept.
var (
	ErrUnknown       = errors.New("no such finding")
	ErrNotAcceptable = errors.New("only an active finding of an acceptable kind can be accepted")
)

// BoardOptions configure a Board.
type BoardOptions struct {
	// Kinds say which findings can be accepted.
	Kinds Kinds
	// Store writes a finding to disk, Forget deletes findings there; nil for neither.
	// Both are called without a lock.
	Store  func(load.Finding) error
	Forget func(ids ...string) error
	Log    *slog.Logger
}

// A Board holds the findings of all analyses. It distinguishes new findings from
// known ones, finds out which have recovered, and writes changes to the log and to
// disk. Its methods are safe for concurrent use.
type Board struct {
	o BoardOptions

	mu     sync.Mutex
	known  map[string]*entry       // by ID: findings that are or were active, and final ones
	status map[string]load.Finding // by ID: findings on what is watched and not active
}

// An entry is one finding and when it was last stored.
type entry struct {
	load.Finding
	stored time.Time
}

const (
	// storeEvery is how often the numbers of an active finding are stored again.
	storeEvery = 10 * time.Minute
	// maxEnded bounds how many findings that are not active are kept, in memory and
	// on disk: those of runs, and all others.
	maxEnded = 1000
)

// NewBoard returns a board with the findings that an earlier process stored.
func NewBoard(o BoardOptions, before []load.Finding) *Board {
	b := &Board{o: o, known: map[string]*entry{}, status: map[string]load.Finding{}}
	for _, f := range before {
		b.known[f.ID] = &entry{Finding: f, stored: f.Updated}
	}
	b.forget(b.bound())
	return b
}

// Report takes all findings of an analysis at an instant, and the kinds that it
// makes. An active finding of these kinds that is not reported with Fail has recovered.
func (b *Board) Report(kinds []load.Kind, at time.Time, reported []load.Finding) {
	b.mu.Lock()
	var changed, due []load.Finding
	failing := map[string]bool{}
	maps.DeleteFunc(b.status, func(_ string, f load.Finding) bool { return slices.Contains(kinds, f.Kind) })
	for _, f := range reported {
		f.Updated = at
		if f.Verdict != load.Fail {
			b.status[f.ID] = f
			continue
		}
		failing[f.ID] = true
		switch b.put(f) {
		case becameActive:
			changed = append(changed, b.known[f.ID].Finding)
		case storeDue:
			due = append(due, b.known[f.ID].Finding)
		}
	}
	for _, e := range b.known {
		if e.State == load.Active && slices.Contains(kinds, e.Kind) && !failing[e.ID] {
			e.State, e.Ended, e.Updated, e.stored = load.Recovered, at, at, at
			changed = append(changed, e.Finding)
		}
	}
	gone := b.bound()
	b.mu.Unlock()
	b.forget(gone)
	b.publish(changed)
	for _, f := range due {
		b.store(f)
	}
}

// A change is what a reported finding changes on the board.
type change uint8

const (
	unchanged change = iota
	becameActive
	storeDue // the numbers on disk are old
)

// put puts a finding that holds on the board.
func (b *Board) put(f load.Finding) change {
	e := b.known[f.ID]
	// A finding that began after it was accepted is worse than what was accepted. One that began before
	// is reported because the event of the acceptance has not reached the analysis yet.
	reopened := e != nil && e.State == load.Accepted && f.Since.After(e.Ended)
	if e == nil || reopened || e.State != load.Active && e.State != load.Accepted {
		f.State = load.Active
		b.known[f.ID] = &entry{Finding: f, stored: f.Updated}
		return becameActive
	}
	if e.State == load.Accepted {
		return unchanged
	}
	f.State, f.Since = load.Active, e.Since
	e.Finding = f
	if f.Updated.Sub(e.stored) < storeEvery {
		return unchanged
	}
	e.stored = f.Updated
	return storeDue
}

// Final takes a finding about something that is over, such as a run. It replaces an
// earlier one of the same ID.
func (b *Board) Final(f load.Finding) {
	f.State = load.Final
	b.mu.Lock()
	b.known[f.ID] = &entry{Finding: f, stored: f.Updated}
	gone := b.bound()
	b.mu.Unlock()
	b.forget(gone)
	b.publish([]load.Finding{f})
}

// Accept makes what an active finding of an acceptable kind found the new
// baseline. The caller passes the acceptance to the analysis, as an event.
func (b *Board) Accept(id string, at time.Time) (load.Finding, error) {
	b.mu.Lock()
	e := b.known[id]
	if e == nil {
		_, watched := b.status[id]
		b.mu.Unlock()
		if watched {
			return load.Finding{}, ErrNotAcceptable
		}
		return load.Finding{}, ErrUnknown
	}
	if e.State != load.Active || !b.o.Kinds.Finding(e.Kind).Acceptable {
		b.mu.Unlock()
		return load.Finding{}, ErrNotAcceptable
	}
	e.State, e.Ended, e.Updated, e.stored = load.Accepted, at, at, at
	f := e.Finding
	b.mu.Unlock()
	b.publish([]load.Finding{f})
	return f, nil
}

// Findings returns all findings, the latest change of state first.
func (b *Board) Findings() []load.Finding {
	b.mu.Lock()
	all := make([]load.Finding, 0, len(b.known)+len(b.status))
	for _, e := range b.known {
		all = append(all, e.Finding)
	}
	for _, f := range b.status {
		all = append(all, f)
	}
	b.mu.Unlock()
	slices.SortFunc(all, func(a, b load.Finding) int {
		return cmp.Or(changedAt(b).Compare(changedAt(a)), cmp.Compare(b.State, a.State), cmp.Compare(a.ID, b.ID))
	})
	return all
}

// Active returns the number of active findings by kind.
func (b *Board) Active() map[load.Kind]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := map[load.Kind]int{}
	for _, e := range b.known {
		if e.State == load.Active {
			n[e.Kind]++
		}
	}
	return n
}

// bound removes the oldest findings that are not active beyond maxEnded, and returns their IDs.
func (b *Board) bound() (gone []string) {
	for _, runs := range []bool{true, false} {
		var ended []*entry
		for _, e := range b.known {
			if e.State != load.Active && (e.Kind == load.KindRun) == runs {
				ended = append(ended, e)
			}
		}
		if len(ended) <= maxEnded {
			continue
		}
		slices.SortFunc(ended, func(x, y *entry) int { return x.Updated.Compare(y.Updated) })
		for _, e := range ended[:len(ended)-maxEnded] {
			delete(b.known, e.ID)
			gone = append(gone, e.ID)
		}
	}
	return gone
}

// forget deletes findings on disk.
func (b *Board) forget(ids []string) {
	if b.o.Forget == nil || len(ids) == 0 {
		return
	}
	if err := b.o.Forget(ids...); err != nil {
		b.o.Log.Error("old findings were not forgotten", "findings", len(ids), "err", err)
	}
}

// publish writes findings whose state changed to the log and to disk.
func (b *Board) publish(changed []load.Finding) {
	for _, f := range changed {
		level := slog.LevelInfo
		if f.State == load.Active || f.State == load.Final && f.Verdict == load.Fail {
			level = slog.LevelWarn
		}
		attrs := []any{
			"finding", f.ID, "kind", string(f.Kind), "state", string(f.State), "verdict", f.Verdict.String(), "sentence", f.Sentence,
		}
		for _, a := range []struct{ name, value string }{
			{"scenario", f.Scenario},
			{"step", f.Step},
			{"metric", f.Metric},
			{"target", f.Target},
			{"objective", f.Objective},
			{"statistic", f.Statistic},
			{"resource", f.Resource},
			{"member", f.Member},
			{"run", f.Run},
			{"release", f.Release},
			{"baseline", f.Baseline},
		} {
			if a.value != "" {
				attrs = append(attrs, a.name, a.value)
			}
		}
		b.o.Log.Log(context.Background(), level, "finding", attrs...)
		b.store(f)
	}
}

// store writes a finding to disk.
func (b *Board) store(f load.Finding) {
	if b.o.Store == nil {
		return
	}
	if err := b.o.Store(f); err != nil {
		b.o.Log.Error("a finding was not kept", "finding", f.ID, "err", err)
	}
}

// changedAt returns when the state of a finding last changed.
func changedAt(f load.Finding) time.Time {
	if f.Ended.After(f.Since) {
		return f.Ended
	}
	return f.Since
}
