package fleet

import (
	"sync"

	"github.com/perfd/perfd/internal/load"
)

// lastWindows keeps the last window of each scenario and step for pages.
type lastWindows struct {
	mu sync.Mutex
	by map[windowKey]*load.Window
}

type windowKey struct{ scenario, step string }

// add takes a window that ended.
func (l *lastWindows) add(w *load.Window) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.by == nil {
		l.by = map[windowKey]*load.Window{}
	}
	l.by[windowKey{w.Scenario, w.Step}] = w
}

// last returns the last window of a step, or of a whole scenario with step "".
func (l *lastWindows) last(scenario, step string) *load.Window {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.by[windowKey{scenario, step}]
}

// forget lets go of the windows of a scenario that is gone.
func (l *lastWindows) forget(scenario string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k := range l.by {
		if k.scenario == scenario {
			delete(l.by, k)
		}
	}
}
