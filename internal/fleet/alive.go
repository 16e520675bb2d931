package fleet

import (
	"context"
	"time"

	"github.com/perfd/perfd/internal/state"
)

const (
	aliveKey = "alive"
	// aliveEvery is how often the state says that the process lives: what a kill overstates of the time without
	// load is this and what a write takes.
	aliveEvery = 4 * time.Second
)

// An alive says in the state that the process lives, once for all runs: each would
// otherwise have to save where it is.
type alive struct {
	state  *state.Store
	before time.Time // the earlier process was last known to live; zero for none
}

// lastAlive returns what an earlier process left.
func lastAlive(s *state.Store) alive {
	a := alive{state: s}
	s.Get(aliveKey, &a.before)
	return a
}

// keep writes until ctx ends, while a run is under way.
func (a *alive) keep(ctx context.Context, scenarios func() []*Scenario) {
	every := time.NewTicker(aliveEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		for _, s := range scenarios() {
			if s.current() == nil {
				continue
			}
			_ = a.state.Set(aliveKey, time.Now()) // the disk's owner reports what it does not take
			break
		}
	}
}
