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

// BoardOptions of a Board.
type BoardOptions struct {
	// Kinds say which findings can be accepted.
	Kinds Kinds
	// Store keeps a finding on disk, Forget lets findings go from there; nil does
	// neither. Both are called without a lock.
	Store  func(load.Finding) error
	Forget func(ids ...string) error
	Log    *slog.Logger
}

// A Board is where findings live: it tells what is new from what was known,
// notices what recovered, and says so in the log and on disk. Its methods are
// safe for concurrent use.
type Board struct {
	o BoardOptions

	mu     sync.Mutex
	lives  map[string]*life        // by ID: what is or was active, and what is final
	status map[string]load.Finding // by ID: what is watched and not active
}

// A life is one finding and when the disk last heard of it.
type life struct {
	load.Finding
	stored time.Time
}

const (
	// storeEvery is how often the numbers of a finding that goes on are written again.
	storeEvery = 10 * time.Minute
	// keptLives bounds how many findings that are over are kept, in memory and on disk: of
	// runs, and of everything else.
	keptLives = 1000
)

// NewBoard returns a board with what an earlier process left on it.
func NewBoard(o BoardOptions, before []load.Finding) *Board {
	b := &Board{o: o, lives: map[string]*life{}, status: map[string]load.Finding{}}
	for _, f := range before {
		b.lives[f.ID] = &life{Finding: f, stored: f.Updated}
	}
	b.forget(b.bound())
	return b
}

// Report takes everything that an analysis says of its kinds at an instant.
// What was active, is of these kinds and is not reported as failing any more has
// recovered.
func (b *Board) Report(kinds []load.Kind, at time.Time, reported []load.Finding) {
	b.mu.Lock()
	var news, later []load.Finding
	failing := map[string]bool{}
	maps.DeleteFunc(b.status, func(_ string, f load.Finding) bool { return slices.Contains(kinds, f.Kind) })
	for _, f := range reported {
		f.Updated = at
		if f.Verdict != load.Fail {
			b.status[f.ID] = f
			continue
		}
		failing[f.ID] = true
		switch b.fail(f) {
		case isNew:
			news = append(news, b.lives[f.ID].Finding)
		case isDue:
			later = append(later, b.lives[f.ID].Finding)
		}
	}
	for _, l := range b.lives {
		if l.State == load.Active && slices.Contains(kinds, l.Kind) && !failing[l.ID] {
			l.State, l.Ended, l.Updated, l.stored = load.Recovered, at, at, at
			news = append(news, l.Finding)
		}
	}
	gone := b.bound()
	b.mu.Unlock()
	b.forget(gone)
	b.tell(news)
	for _, f := range later {
		b.keep(f)
	}
}

// What fail found.
type novelty uint8

const (
	isKnown novelty = iota
	isNew           // everybody must hear of it
	isDue           // the disk's numbers are old
)

// fail brings a finding that holds onto the board.
func (b *Board) fail(f load.Finding) novelty {
	l := b.lives[f.ID]
	if l == nil || l.State != load.Active && l.State != load.Accepted {
		f.State = load.Active
		b.lives[f.ID] = &life{Finding: f, stored: f.Updated}
		return isNew
	}
	if l.State == load.Accepted {
		return isKnown // its analysis hears of it with the next event
	}
	f.State, f.Since = load.Active, l.Since
	l.Finding = f
	if f.Updated.Sub(l.stored) < storeEvery {
		return isKnown
	}
	l.stored = f.Updated
	return isDue
}

// Final takes a finding about something that is over. Reported again under its
// ID, it replaces the earlier one.
func (b *Board) Final(f load.Finding) {
	f.State = load.Final
	b.mu.Lock()
	b.lives[f.ID] = &life{Finding: f, stored: f.Updated}
	gone := b.bound()
	b.mu.Unlock()
	b.forget(gone)
	b.tell([]load.Finding{f})
}

// Accept makes what an active finding of an acceptable kind found the new
// baseline. Its analysis is to be told by an event.
func (b *Board) Accept(id string, at time.Time) (load.Finding, error) {
	b.mu.Lock()
	l := b.lives[id]
	if l == nil {
		_, watched := b.status[id]
		b.mu.Unlock()
		if watched {
			return load.Finding{}, ErrNotAcceptable
		}
		return load.Finding{}, ErrUnknown
	}
	if l.State != load.Active || !b.o.Kinds.Finding(l.Kind).Acceptable {
		b.mu.Unlock()
		return load.Finding{}, ErrNotAcceptable
	}
	l.State, l.Ended, l.Updated, l.stored = load.Accepted, at, at, at
	f := l.Finding
	b.mu.Unlock()
	b.tell([]load.Finding{f})
	return f, nil
}

// Findings returns everything on the board, what changed last first.
func (b *Board) Findings() []load.Finding {
	b.mu.Lock()
	all := make([]load.Finding, 0, len(b.lives)+len(b.status))
	for _, l := range b.lives {
		all = append(all, l.Finding)
	}
	for _, f := range b.status {
		all = append(all, f)
	}
	b.mu.Unlock()
	slices.SortFunc(all, func(a, b load.Finding) int {
		return cmp.Or(changed(b).Compare(changed(a)), cmp.Compare(b.State, a.State), cmp.Compare(a.ID, b.ID))
	})
	return all
}

// Active counts the findings that hold, by kind.
func (b *Board) Active() map[load.Kind]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := map[load.Kind]int{}
	for _, l := range b.lives {
		if l.State == load.Active {
			n[l.Kind]++
		}
	}
	return n
}

// bound takes the oldest of what is over off the board and returns their IDs.
func (b *Board) bound() (gone []string) {
	for _, runs := range []bool{true, false} {
		var over []*life
		for _, l := range b.lives {
			if l.State != load.Active && (l.Kind == load.KindRun) == runs {
				over = append(over, l)
			}
		}
		if len(over) <= keptLives {
			continue
		}
		slices.SortFunc(over, func(x, y *life) int { return x.Updated.Compare(y.Updated) })
		for _, l := range over[:len(over)-keptLives] {
			delete(b.lives, l.ID)
			gone = append(gone, l.ID)
		}
	}
	return gone
}

func (b *Board) forget(ids []string) {
	if b.o.Forget == nil || len(ids) == 0 {
		return
	}
	if err := b.o.Forget(ids...); err != nil {
		b.o.Log.Error("old findings were not forgotten", "findings", len(ids), "err", err)
	}
}

// tell writes what changed to log and disk.
func (b *Board) tell(changed []load.Finding) {
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
		b.keep(f)
	}
}

func (b *Board) keep(f load.Finding) {
	if b.o.Store == nil {
		return
	}
	if err := b.o.Store(f); err != nil {
		b.o.Log.Error("a finding was not kept", "finding", f.ID, "err", err)
	}
}

// changed is when a finding last came or went.
func changed(f load.Finding) time.Time {
	if f.Ended.After(f.Since) {
		return f.Ended
	}
	return f.Since
}
