package maintenance

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/perfd/perfd/internal/state"
)

// stateKey is the key of the state that holds pushed windows.
const stateKey = "maintenance"

const (
	// mostPushed bounds the windows that are under way or to come.
	mostPushed = 100
	// longest is how long a window may last: the span of an error budget.
	longest = 30 * 24 * time.Hour
	// longestName bounds a name, which is a label's value; bytes.
	longestName = 128
	// kept is how long a window that is over is remembered, for windows of
	// results that are judged after it.
	kept = 10 * time.Minute
)

// The errors of Push and End, beside those that say what is wrong with a window.
var (
	ErrUnknown = errors.New("no such maintenance window")
	ErrNotKept = errors.New("it holds, but a restart would not know")
	ErrFull    = fmt.Errorf("there are %d maintenance windows under way or to come already", mostPushed)
)

// Pushed are the windows that were pushed. They survive a restart. Its methods
// are safe for concurrent use.
type Pushed struct {
	store *state.Store

	mu   sync.Mutex
	list []Window // in the order of their pushes; the last ones over are among them
}

// NewPushed returns the windows that an earlier process was given.
func NewPushed(store *state.Store) *Pushed {
	p := &Pushed{store: store}
	store.Get(stateKey, &p.list)
	return p
}

// Push takes a window and returns it with its ID. It begins at once where From
// is zero or past. The error says what is wrong with it, or that the window
// holds but a restart would not know.
func (p *Pushed) Push(w Window, now time.Time) (Window, error) {
	if w.From.Before(now) {
		w.From = now
	}
	w.From, w.Until = w.From.Round(0).UTC(), w.Until.Round(0).UTC()
	switch {
	case w.Name == "":
		return w, errors.New("name: is required: what is done to the target")
	case len(w.Name) > longestName:
		return w, fmt.Errorf("name: must have at most %d bytes, got %d", longestName, len(w.Name))
	case !w.Until.After(w.From):
		return w, fmt.Errorf("until: must be after the beginning, %s, got %s", w.From.Format(time.RFC3339), w.Until.Format(time.RFC3339))
	case w.Until.Sub(w.From) > longest:
		return w, fmt.Errorf("until: a window lasts 30d at most, got %v", w.Until.Sub(w.From).Round(time.Second))
	}
	w.ID = rand.Text()[:12]
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop(now)
	ahead := 0
	for i := range p.list {
		if p.list[i].Until.After(now) {
			ahead++
		}
	}
	if ahead >= mostPushed {
		return w, ErrFull
	}
	p.list = append(p.list, w)
	return w, p.save()
}

// End ends a window at an instant, or takes one back that has not begun.
// [ErrUnknown] says that there is no such window under way or to come.
func (p *Pushed) End(id string, now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.list, func(w Window) bool { return w.ID == id && w.Until.After(now) })
	if i < 0 {
		return fmt.Errorf("%w: %s", ErrUnknown, id)
	}
	p.list[i].Until = now.Round(0).UTC()
	p.drop(now)
	return p.save()
}

// save writes the windows to disk. The caller holds mu.
func (p *Pushed) save() error {
	if err := p.store.Set(stateKey, p.list); err != nil {
		return fmt.Errorf("%w: %w", ErrNotKept, err)
	}
	return nil
}

// drop forgets windows that never were, and those that nobody asks for any more.
func (p *Pushed) drop(now time.Time) {
	p.list = slices.DeleteFunc(p.list, func(w Window) bool {
		return !w.Until.After(w.From) || w.Until.Before(now.Add(-kept))
	})
}

// During reports whether a target is in maintenance at any time between two instants.
func (p *Pushed) During(target string, from, to time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.list, func(w Window) bool {
		return w.Covers(target) && w.From.Before(to) && w.Until.After(from)
	})
}

// At returns the windows that hold an instant.
func (p *Pushed) At(t time.Time) []Window {
	return p.where(func(w *Window) bool { return !t.Before(w.From) && t.Before(w.Until) })
}

// After returns the windows that begin after an instant.
func (p *Pushed) After(t time.Time) []Window {
	return p.where(func(w *Window) bool { return w.From.After(t) })
}

func (p *Pushed) where(is func(*Window) bool) (some []Window) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.list {
		if is(&p.list[i]) {
			some = append(some, p.list[i])
		}
	}
	return some
}
