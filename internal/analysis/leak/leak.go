// Package leak says whether a resource of a target grows without end while load
// is on it.
//
// It looks at the floor of each resource, per member and lifetime of a process:
// cut at restarts, without the warm-up, the load that perfd sent accounted for,
// with a trend test that autocorrelation does not fool, a size that matters and
// growth that lasts and is a line rather than steps or a curve towards a level. docs/verdicts.md has the
// error rates.
package leak

import (
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
)

// A Target is a system under load and what is watched of it.
type Target struct {
	Name      string
	Resources []Resource
}

// A Resource is watched of each member of a target.
type Resource struct {
	Name  string
	Kind  string  // load.ResourceMemory, …
	Limit float64 // bytes or a count; 0 where there is none
}

// An Analysis watches the resources of targets.
type Analysis struct {
	targets map[string]*target
	runs    map[string]float64 // when those under way began, in seconds
	judged  float64            // the instant of the last Judge
}

var _ analysis.Analysis = (*Analysis)(nil)

type target struct {
	name      string
	resources map[string]*resource
	traffic   traffic
	settled   float64 // no sample before counts: the release had not settled
	release   string
}

type resource struct {
	Resource
	target  *target
	members map[string]*member
}

const (
	mostRuns = 1024
	// A member that is not seen is not judged after absent and forgotten after gone.
	absent = 15 * 60.0
	gone   = day
)

// New returns an analysis that watches nothing.
func New() *Analysis {
	return &Analysis{targets: map[string]*target{}, runs: map[string]float64{}}
}

// configure sets what is watched. What was watched before and still is keeps what is known of it.
func (a *Analysis) configure(targets []Target) {
	next := make(map[string]*target, len(targets))
	for _, c := range targets {
		t := a.targets[c.Name]
		if t == nil {
			t = &target{name: c.Name}
		}
		watched := make(map[string]*resource, len(c.Resources))
		for _, r := range c.Resources {
			old := t.resources[r.Name]
			if old == nil || old.Kind != r.Kind {
				old = &resource{target: t, members: map[string]*member{}}
			}
			old.Resource = r
			watched[r.Name] = old
		}
		t.resources = watched
		next[c.Name] = t
	}
	a.targets = next
}

// Window counts the requests of a step's target.
func (a *Analysis) Window(w *load.Window) {
	if t := a.targets[w.Target]; t != nil && w.Step != "" && !w.IsGroup() {
		t.traffic.add(seconds(w.Start), seconds(w.End), float64(w.Requests))
	}
}

// Baseline counts the requests of a baseline: they are load on its target as any other.
func (a *Analysis) Baseline(w *load.Window) { a.Window(w) }

// Sample takes the level of a resource.
func (a *Analysis) Sample(s load.Sample) {
	t := a.targets[s.Target]
	if t == nil || t.resources[s.Resource] == nil {
		return
	}
	g, ok := readingOf(s)
	if !ok || g.at < t.settled {
		return
	}
	r := t.resources[s.Resource]
	m := r.members[s.Member]
	if m == nil {
		if len(r.members) >= mostMembers {
			r.forgetGone(g.at, absent)
		}
		if len(r.members) >= mostMembers {
			return
		}
		m = &member{resource: r, name: s.Member}
		r.members[s.Member] = m
	}
	at, restarted := m.add(g, &t.traffic)
	if !restarted {
		return
	}
	for _, r := range t.resources { // the process has all of them
		if o := r.members[s.Member]; o != nil {
			o.restart(at)
		}
	}
}

// forgetGone drops members that have not been seen for longer.
func (r *resource) forgetGone(at, longer float64) {
	for name, m := range r.members {
		if at-m.last.at > longer {
			delete(r.members, name)
		}
	}
}

// Event takes what happened: a release is another program, and a change to the
// same release a restart.
func (a *Analysis) Event(e load.Event) {
	switch e.Kind {
	case load.RunBegan:
		if len(a.runs) >= mostRuns { // their ends were never reported
			clear(a.runs)
		}
		a.runs[e.Run] = seconds(e.At)
	case load.ReleaseChanged:
		t := a.targets[e.Target]
		if t == nil {
			return
		}
		t.release, t.settled = e.Release, seconds(e.At)
		if !e.Settled.IsZero() {
			t.settled = seconds(e.Settled)
		}
		for _, r := range t.resources {
			for _, m := range r.members {
				if e.Release == e.Previous {
					m.restart(seconds(e.At))
				} else {
					m.forget()
				}
			}
		}
	}
}

// Judge says what is known of each member of each resource.
func (a *Analysis) Judge(at time.Time) []load.Finding {
	var out []load.Finding
	now := seconds(at)
	a.judged = now
	for m := range a.members(now) {
		m.look(now, &m.resource.target.traffic)
		out = append(out, m.finding(&m.judgement.x, m.judgement.verdict, m.judgement.objection, at))
	}
	return out
}

// members yields those that were seen of late, in order.
func (a *Analysis) members(now float64) iter.Seq[*member] {
	return func(yield func(*member) bool) {
		for _, t := range sorted(a.targets) {
			for _, r := range sorted(t.resources) {
				r.forgetGone(now, gone)
				for _, m := range sorted(r.members) {
					if m.life.readings > 0 && now-m.last.at <= max(absent, 3*m.last.length) && !yield(m) {
						return
					}
				}
			}
		}
	}
}

// sorted returns the values of m by rising key.
func sorted[V any](m map[string]V) []V {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, strings.Compare)
	out := make([]V, len(keys))
	for i, k := range keys {
		out[i] = m[k]
	}
	return out
}
