package fleet

import (
	"fmt"
	"sync"

	"github.com/perfd/perfd/internal/config"
	"github.com/perfd/perfd/internal/maintenance"
	"github.com/perfd/perfd/internal/target"
)

// A generation is everything that one document made. Parts that a reload leaves
// as they were are the same objects in the old generation and the new.
type generation struct {
	doc         *config.Document
	maintenance *maintenance.Plan
	targets     map[string]*Target
	credentials map[string]*keeper
	scenarios   []*Scenario   // in the document's order
	hosts       *target.Hosts // that redirects lead to and that are no targets
}

// inOrder returns the targets in the document's order.
func (g *generation) inOrder() []*Target {
	var list []*Target
	for i := range g.doc.Targets {
		list = append(list, g.targets[g.doc.Targets[i].Name.S])
	}
	return list
}

func (g *generation) scenario(name string) *Scenario {
	for _, s := range g.scenarios {
		if s.name == name {
			return s
		}
	}
	return nil
}

// build makes a generation of a document, taking over from the old one what is
// unchanged. It starts nothing; an error leaves nothing behind.
func (f *Fleet) build(doc *config.Document, old *generation) (*generation, error) {
	plan, err := maintenance.NewPlan(doc.Maintenance)
	if err != nil {
		return nil, err
	}
	g := &generation{doc: doc, maintenance: plan, targets: map[string]*Target{}, hosts: old.hosts, credentials: f.buildCredentials(doc, old)}
	if rate := doc.Safety.MaxRequestRate.PerSecond(); g.hosts == nil || g.hosts.Rate() != rate {
		g.hosts = target.NewHosts(rate, f.o.Shards)
	}
	for i := range doc.Targets {
		c := &doc.Targets[i]
		name, fingerprint := c.Name.S, doc.TargetFingerprint(c.Name.S)
		if was := old.targets[name]; was != nil && was.fingerprint == fingerprint {
			g.targets[name] = was
			continue
		}
		g.targets[name] = f.newTarget(c, g.credential(c.Credentials.S), &doc.Safety, fingerprint)
	}
	for _, c := range doc.Scenarios {
		was := old.scenario(c.Name.S)
		if was != nil && was.cfg.Fingerprint == c.Fingerprint {
			g.scenarios = append(g.scenarios, was.sides()...)
			continue // Commit gives it its objectives, which may have changed
		}
		s, err := f.newScenario(c, g, doc.Blackouts)
		if err != nil {
			g.discard(old)
			return nil, fmt.Errorf("scenario %s: %w", c.Name.S, err)
		}
		s.replaces = was != nil
		g.scenarios = append(g.scenarios, s)
		if err := f.addTwin(s, g); err != nil {
			g.discard(old)
			return nil, fmt.Errorf("scenario %s: twin: %w", c.Name.S, err)
		}
	}
	return g, nil
}

// discard lets go of the parts of a generation that never started: those that
// the old one does not have.
func (g *generation) discard(old *generation) {
	for _, s := range g.scenarios {
		if old.scenario(s.name) != s {
			s.sink.Close()
		}
	}
}

// A Change is a new document's generation, built and not yet in force. One of
// Commit and Abort must be called.
type Change struct {
	f         *Fleet
	old, next *generation
}

// Prepare builds everything of a document that can fail, and touches nothing
// that runs. One change may be prepared at a time.
func (f *Fleet) Prepare(doc *config.Document) (*Change, error) {
	old := f.current()
	next, err := f.build(doc, old)
	if err != nil {
		return nil, err
	}
	return &Change{f, old, next}, nil
}

// Abort lets go of what was prepared.
func (c *Change) Abort() { c.next.discard(c.old) }

// Commit swaps to the new generation. Unchanged scenarios go on untouched; others
// end their run with its grace while their successors start.
func (c *Change) Commit() {
	f, old, next := c.f, c.old, c.next
	f.mu.Lock()
	f.now = next
	f.mu.Unlock()
	for _, block := range next.doc.Scenarios {
		s := next.scenario(block.Name.S)
		for _, side := range s.sides() {
			side.failures.conceal()
		}
		if s.cfg != block {
			s.setObjectives(block)
			if s.twin != nil {
				s.twin.setObjectives(block.BaselineSide())
			}
		}
	}
	f.keepTime(next)
	for name, k := range next.credentials {
		if old.credentials[name] != k {
			k.start()
		}
	}
	for name, t := range next.targets {
		if old.targets[name] != t {
			t.start()
		}
	}
	var draining sync.WaitGroup
	for _, s := range old.scenarios {
		if next.scenario(s.name) != s {
			draining.Add(1)
			f.retiring.Go(func() {
				defer draining.Done()
				f.retire(s)
			})
		}
	}
	for name, k := range old.credentials {
		if next.credentials[name] != k {
			f.retiring.Go(func() {
				draining.Wait() // their last requests need it
				k.stop()
			})
		}
	}
	for name, t := range old.targets {
		if next.targets[name] != t {
			t.stop()
		}
	}
	for _, s := range next.scenarios {
		if old.scenario(s.name) != s {
			s.start()
		}
	}
}

// retire ends a scenario that a reload has taken away or replaced.
func (f *Fleet) retire(s *Scenario) {
	s.stop()
	s.sink.Close()
	if f.Scenario(s.name) == nil {
		f.o.State.Forget(controlPrefix + s.name)
		f.windows.forget(s.name)
		f.o.Judge.Forget(s.name)
	}
	if err := f.o.State.Set(s.memoryKey(), nil); err != nil {
		s.log.Warn("forget the schedule", "err", err)
	}
	s.log.Info("scenario ended", "reason", "reload")
}

// forgetScenarios drops what schedules of scenarios remembered that are no longer
// configured, and to what such scenarios were set.
func (f *Fleet) forgetScenarios(now *generation) {
	keep := map[string]bool{}
	for _, s := range now.scenarios {
		keep[s.memoryKey()], keep[controlPrefix+s.name] = true, true
	}
	for _, key := range append(f.o.State.Keys(schedulePrefix), f.o.State.Keys(controlPrefix)...) {
		if !keep[key] {
			f.o.State.Forget(key)
		}
	}
}
