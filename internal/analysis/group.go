package analysis

import (
	"sync"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

// A Group is one analysis of each kind at work: everything it is fed with goes
// to all of them, in the order of the list. Its methods are safe for concurrent
// use and hold the lock for one item or one analysis at a time, so that a scrape
// does not wait for a replay of history.
type Group struct {
	mu      sync.Mutex
	members []member
	live    bool

	// maintained is until when targets are in declared maintenance, by name.
	maintained map[string]time.Time
}

type member struct {
	Analysis
	kind *Kind
	took time.Duration // feeding, once live, and judging
}

// A Replayed analysis learns where history ends.
type Replayed interface {
	// Live is called once, after the last item out of history: what follows happens
	// now. An Analysis that never hears it, such as that of `perfd analyze`, is in the past.
	Live()
}

// NewGroup returns a new analysis of each kind, configured with nothing.
func NewGroup(kinds Kinds) *Group {
	g := &Group{members: make([]member, len(kinds)), maintained: map[string]time.Time{}}
	for i := range kinds {
		g.members[i] = member{Analysis: kinds[i].New(), kind: &kinds[i]}
	}
	return g
}

// Configure hands a description to all analyses.
func (g *Group) Configure(d *Description) { g.each(func(a Analysis) { a.Configure(d) }) }

// Window feeds a window. That of a baseline goes to those that are Twinned.
func (g *Group) Window(w *load.Window) {
	if !IsBaseline(w.Scenario) {
		g.feed(func(a Analysis) { a.Window(w) })
		return
	}
	g.feed(func(a Analysis) {
		if t, ok := a.(Twinned); ok {
			t.Baseline(w)
		}
	})
}

// Part feeds a part of a window under way to those that are Prompt, and reports whether
// any of them has something new to say. Those of baselines are nobody's.
func (g *Group) Part(w *load.Window) (news bool) {
	if IsBaseline(w.Scenario) {
		return false
	}
	g.feed(func(a Analysis) {
		if p, ok := a.(Prompt); ok && p.Part(w) {
			news = true
		}
	})
	return news
}

// Sample feeds the level of a resource.
// It is no evidence while its target is in declared maintenance.
func (g *Group) Sample(s load.Sample) {
	g.mu.Lock()
	maintained := s.Start.Before(g.maintained[s.Target])
	g.mu.Unlock()
	if !maintained {
		g.feed(func(a Analysis) { a.Sample(s) })
	}
}

// Event feeds an event.
func (g *Group) Event(e load.Event) {
	if e.Kind == load.MaintenanceSet {
		g.mu.Lock()
		g.maintained[e.Target] = e.Until
		g.mu.Unlock()
	}
	g.feed(func(a Analysis) { a.Event(e) })
}

// Live ends the replay of history.
func (g *Group) Live() {
	g.each(func(a Analysis) {
		if r, ok := a.(Replayed); ok {
			r.Live()
		}
	})
	g.mu.Lock()
	g.live = true
	g.mu.Unlock()
}

// Judge asks each analysis what it knows at an instant. Report is called once
// per analysis, without the lock.
func (g *Group) Judge(at time.Time, report func(k *Kind, found []load.Finding)) {
	for i := range g.members {
		m := &g.members[i]
		g.mu.Lock()
		began := time.Now()
		found := m.Judge(at)
		m.took += time.Since(began)
		g.mu.Unlock()
		report(m.kind, found)
	}
}

// Run returns what all analyses say of a run that ended.
func (g *Group) Run(e load.Event, at time.Time) (parts []load.Finding) {
	g.each(func(a Analysis) { parts = append(parts, a.Run(e, at)...) })
	return parts
}

// Collect sends the metrics of all analyses, and how long each has taken.
func (g *Group) Collect(send Send) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range g.members {
		m := &g.members[i]
		m.Collect(send)
		send(metric.AnalysisSeconds, m.took.Seconds(), m.kind.Name)
	}
}

func (g *Group) each(do func(Analysis)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range g.members {
		do(g.members[i].Analysis)
	}
}

// feed is each on the clock of every analysis.
func (g *Group) feed(do func(Analysis)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range g.members {
		if m := &g.members[i]; g.live {
			began := time.Now()
			do(m.Analysis)
			m.took += time.Since(began)
		} else {
			do(m.Analysis)
		}
	}
}
