package app

import (
	"errors"
	"fmt"

	"github.com/perfd/perfd/internal/config"
)

// A generation is everything that one document made. Parts that a reload leaves as
// they were are the same objects in the old generation and the new.
type generation struct {
	doc       *config.Document
	targets   map[string]*liveTarget
	scenarios []*scenario // in the document's order
}

func (st *generation) scenario(name string) *scenario {
	for _, s := range st.scenarios {
		if s.name == name {
			return s
		}
	}
	return nil
}

// build makes a generation of a document, taking over from the old one what is
// unchanged. It starts nothing; an error leaves nothing behind.
func (a *App) build(doc *config.Document, old *generation) (_ *generation, err error) {
	st := &generation{doc: doc, targets: map[string]*liveTarget{}}
	for i := range doc.Targets {
		c := &doc.Targets[i]
		said := targetSaid(doc, c)
		if old != nil && old.targets[c.Name.S] != nil && old.targets[c.Name.S].said == said {
			st.targets[c.Name.S] = old.targets[c.Name.S]
			continue
		}
		t := a.newTarget(c, &doc.Safety)
		t.said = said
		st.targets[c.Name.S] = t
	}
	var fresh []*scenario
	defer func() {
		if err == nil {
			return
		}
		for _, s := range fresh {
			s.sink.Close()
		}
	}()
	for i := range doc.Scenarios {
		c := &doc.Scenarios[i]
		var was *scenario
		if old != nil {
			was = old.scenario(c.Name.S)
		}
		if was != nil && was.cfg.Fingerprint == c.Fingerprint {
			st.scenarios = append(st.scenarios, was)
			continue // its objectives may have changed; adopt sees to them once nothing can fail any more
		}
		s, err := newScenario(a, c, st.targets)
		if err == nil {
			err = s.newRunner(doc.Blackouts)
		}
		if err == nil {
			err = s.openSink()
		}
		if err != nil {
			return nil, fmt.Errorf("scenario %s: %w", c.Name.S, err)
		}
		s.reborn = was != nil
		fresh = append(fresh, s)
		st.scenarios = append(st.scenarios, s)
	}
	return st, nil
}

// Reload reads the configuration again and swaps to it. Scenarios whose
// fingerprint is unchanged go on untouched; others end their run with its grace
// while their successors start. An error changes nothing.
func (a *App) Reload() error {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	if a.stopping.Load() {
		return errors.New("perfd is stopping")
	}
	doc, err := loadDocument(a.opts)
	var st *generation
	old := a.current()
	if err == nil {
		st, err = a.build(doc, old)
	}
	a.noteReload(err)
	if err != nil {
		return err
	}
	a.mu.Lock()
	a.state = st
	a.mu.Unlock()
	for i := range doc.Scenarios {
		if s := st.scenario(doc.Scenarios[i].Name.S); s.cfg != &doc.Scenarios[i] {
			s.adopt(&doc.Scenarios[i])
		}
	}
	a.verdicts.group.Configure(doc.Description())
	a.watch(st, old)
	// What may be wrong with outputs was found when the document was loaded; an error here is the machine's.
	outputs := errors.Join(a.reloadRemoteWrite(doc), a.reloadTracing(doc))
	a.noteReload(outputs)
	kept := map[*scenario]bool{}
	for _, s := range st.scenarios {
		kept[s] = true
	}
	for _, s := range old.scenarios {
		if !kept[s] {
			a.retiring.Go(func() { s.retire() })
		}
	}
	a.unwatch(old, st)
	was := map[*scenario]bool{}
	for _, s := range old.scenarios {
		was[s] = true
	}
	for _, s := range st.scenarios {
		if !was[s] {
			s.launch()
		}
	}
	return outputs
}
