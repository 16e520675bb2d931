package suite

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/perfd/perfd/internal/metric"
	"github.com/perfd/perfd/internal/schedule"
	"github.com/perfd/perfd/internal/state"
)

// ErrUnknown says that there is no suite of a name.
var ErrUnknown = errors.New("no such suite")

// statePrefix begins the keys of the state that hold what suites' schedules must know after a restart.
const statePrefix = "suite/"

// All is every suite there is. Its methods are safe for concurrent use.
type All struct {
	o     Options
	state *state.Store

	mu      sync.Mutex
	list    []*Suite
	prints  map[*Suite]string
	started bool

	retiring map[*Suite]bool // ends its last run, which is still judged
	retired  sync.WaitGroup
}

// NewAll returns no suites yet; Prepare makes some. Blackouts, Memory and Paused of the options are set for each suite.
func NewAll(o Options, st *state.Store) *All {
	return &All{o: o, state: st, prints: map[*Suite]string{}, retiring: map[*Suite]bool{}}
}

// A Change is a new document's suites, made and not yet in force. One of Commit and Abort must be called.
type Change struct {
	all  *All
	next []*Suite
	fps  map[*Suite]string
}

// Prepare makes the suites of a document, keeping those whose fingerprint is what it was.
func (a *All) Prepare(list []Config, fingerprint func(name string) string, blackouts []schedule.Blackout, paused bool) (*Change, error) {
	forbidden, err := schedule.NewBlackouts(blackouts)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	c := &Change{all: a, fps: map[*Suite]string{}}
	for _, cfg := range list {
		fp := fingerprint(cfg.Name.S)
		s := a.named(cfg.Name.S)
		if s == nil || a.prints[s] != fp {
			o := a.o
			o.Blackouts, o.Paused, o.Results = forbidden, paused, &Results{}
			if s != nil {
				o.Results = s.o.Results
			}
			o.Memory = a.state.At(keyOf(cfg.Name.S, fp))
			if s, err = New(cfg, o); err != nil {
				return nil, fmt.Errorf("suite %s: %w", cfg.Name.S, err)
			}
		}
		c.next, c.fps[s] = append(c.next, s), fp
	}
	return c, nil
}

// Abort lets go of what was prepared.
func (c *Change) Abort() {}

// Commit swaps to the new suites. One that changed ends its run under way, with those of its scenarios.
func (c *Change) Commit() {
	a := c.all
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.list {
		if _, kept := c.fps[s]; !kept {
			a.retiring[s] = true
			a.retired.Go(func() { a.retire(s) })
		}
	}
	a.list, a.prints = c.next, c.fps
	if a.started {
		for _, s := range c.next {
			s.Start()
		}
	}
}

// retire ends a suite that a reload has taken away or replaced.
func (a *All) retire(s *Suite) {
	_ = s.StopRun() // there may be none
	s.Stop()
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.retiring, s)
	a.forget()
}

func (a *All) named(name string) *Suite {
	for _, s := range a.list {
		if s.cfg.Name.S == name {
			return s
		}
	}
	return nil
}

// Start starts the schedules.
func (a *All) Start() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.started = true
	a.forget()
	for _, s := range a.list {
		s.Start()
	}
}

// keyOf is where a suite's schedule keeps its memory. A suite that changed has another key: its predecessor, which may
// still end its last run, is not its past.
func keyOf(name, fingerprint string) string {
	return statePrefix + name + "/" + fingerprint[:min(16, len(fingerprint))]
}

// forget drops what schedules remembered of suites that are not there any more; the caller holds the lock.
func (a *All) forget() {
	keep := map[string]bool{}
	for _, s := range a.list {
		keep[keyOf(s.cfg.Name.S, a.prints[s])] = true
	}
	for _, key := range a.state.Keys(statePrefix) {
		if !keep[key] {
			a.state.Forget(key)
		}
	}
}

// Stop ends all schedules and the runs under way, in which nothing begins from here on.
func (a *All) Stop() {
	for _, s := range a.everything() {
		s.End(schedule.Leaving)
	}
	for _, s := range a.suites() {
		s.Stop()
	}
	a.retired.Wait()
}

func (a *All) suites() []*Suite {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.list
}

// everything is all suites and those that end their last run.
func (a *All) everything() []*Suite {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.AppendSeq(slices.Clone(a.list), maps.Keys(a.retiring))
}

// Named returns the suite of a name.
func (a *All) Named(name string) (*Suite, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.named(name); s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("%w: %s", ErrUnknown, name)
}

// Judged takes a run of a scenario that was judged.
func (a *All) Judged(j Judged) {
	for _, s := range a.everything() {
		s.Judged(j)
	}
}

// Pause follows what all load does.
func (a *All) Pause(on bool) {
	for _, s := range a.suites() {
		s.Pause(on)
	}
}

// Status lists the suites in the document's order.
func (a *All) Status() (out []Status) {
	for _, s := range a.suites() {
		out = append(out, s.Status())
	}
	return out
}

// Collect sends the metrics of all suites.
func (a *All) Collect(send metric.Send) {
	for _, s := range a.suites() {
		s.Collect(send)
	}
}
