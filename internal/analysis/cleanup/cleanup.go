// Package cleanup judges whether the resources of a target return to the level
// that they had before a run, once no run sends load to it. What is still in use
// then was not given back.
package cleanup

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/amount"
	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/stats"
)

// An Analysis watches the resources of targets. It implements analysis.Analysis.
type Analysis struct {
	thresholds Thresholds
	targets    map[string]*target
}

var _ analysis.Analysis = (*Analysis)(nil)

// A target is idle, under load, or settling after load.
type target struct {
	thresholds *Thresholds
	name       string
	runs       map[string]bool // IDs of the runs that send to it now
	members    map[key]*member
	kinds      map[string]string // of resources, by name
	settling   *settling         // nil unless load has ended and its findings may still change
	found      []load.Finding    // of the last run that ended
}

type key struct{ resource, member string }

// A settling is the time after the last run on a target has ended.
type settling struct {
	run   load.Event // the end of that run
	since time.Time
}

// A member is one resource of one process or instance of a target.
type member struct {
	seen   time.Time     // the end of the last reading
	recent []load.Sample // the latest readings without load, oldest first

	known   bool    // whether level and allowed are
	level   float64 // the median of the readings before the load
	allowed float64 // how far above level the resource may stay

	// Since load ended.
	last      float64
	readings  int
	inARow    int       // the latest readings that are all back
	backSince time.Time // zero while it is not back
}

// New returns an analysis of no target, with DefaultThresholds.
func New() *Analysis {
	return &Analysis{thresholds: DefaultThresholds(), targets: map[string]*target{}}
}

// Configure watches the resources of targets. What is known of those that are
// watched already is kept.
func (a *Analysis) Configure(d *analysis.Description) {
	next := make(map[string]*target, len(d.Targets))
	for _, c := range d.Targets {
		t := a.targets[c.Name]
		if t == nil {
			t = &target{thresholds: &a.thresholds, name: c.Name, runs: map[string]bool{}, members: map[key]*member{}}
		}
		t.kinds = make(map[string]string, len(c.Resources))
		for _, r := range c.Resources {
			if load.ResourceRate(r.Kind) || r.Kind == load.ResourceDisk {
				continue // what is used is not held, and what is written is meant to stay
			}
			t.kinds[r.Name] = r.Kind
		}
		for k := range t.members {
			if _, ok := t.kinds[k.resource]; !ok {
				delete(t.members, k)
			}
		}
		next[c.Name] = t
	}
	a.targets = next
}

// Window does nothing: a target is under load while a run sends to it.
func (a *Analysis) Window(*load.Window) {}

// Sample adds a reading of a resource.
func (a *Analysis) Sample(s load.Sample) {
	t := a.targets[s.Target]
	if t == nil || math.IsNaN(s.Min) || math.IsInf(s.Min, 0) {
		return
	}
	if _, ok := t.kinds[s.Resource]; !ok {
		return
	}
	k := key{s.Resource, s.Member}
	m := t.members[k]
	if m == nil {
		if len(t.members) >= a.thresholds.MaxMembers*len(t.kinds) {
			return
		}
		m = new(member)
		t.members[k] = m
	}
	m.seen = s.End
	if len(t.runs) > 0 {
		return
	}
	m.recent = append(m.recent, s)
	for len(m.recent) > a.thresholds.MaxBefore || m.recent[0].End.Before(s.End.Add(-a.thresholds.Before)) {
		m.recent = slices.Delete(m.recent, 0, 1)
	}
	if t.settling != nil && !s.Start.Before(t.settling.since) {
		m.settle(s, a.thresholds.MinAfter)
	}
}

// settle adds a reading after load; the resource is back once minAfter in a row are.
func (m *member) settle(s load.Sample, minAfter int) {
	m.last = s.Min
	m.readings++
	if !m.known || s.Min > m.level+m.allowed {
		m.inARow = 0
		return
	}
	m.inARow++
	if m.inARow >= minAfter && m.backSince.IsZero() {
		m.backSince = s.End
	}
}

// Event follows the beginnings and ends of runs, and releases.
func (a *Analysis) Event(e load.Event) {
	switch e.Kind {
	case load.RunBegan:
		for _, t := range a.touched(e) {
			t.begin(e)
		}
	case load.RunEnded:
		for _, t := range a.touched(e) {
			t.end(e)
		}
	case load.ReleaseChanged:
		if t := a.targets[e.Target]; t != nil {
			// The level of one process says nothing of another.
			t.conclude(e.At, "its release changed")
			for _, m := range t.members {
				*m = member{seen: m.seen}
			}
		}
	}
}

// touched returns the targets that a run sends to.
func (a *Analysis) touched(e load.Event) []*target {
	var out []*target
	for _, name := range slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(e.Targets), e.Target)))) {
		if t := a.targets[name]; t != nil {
			out = append(out, t)
		}
	}
	return out
}

// begin notes that a run sends to the target.
func (t *target) begin(e load.Event) {
	idle := len(t.runs) == 0
	t.runs[e.Run] = true
	switch {
	case !idle:
	case t.settling != nil && e.At.Sub(t.settling.since) < t.thresholds.Pause:
		t.settling = nil // the load continues, and the level before it stands
	default:
		t.conclude(e.At, "load came back")
		for k, m := range t.members {
			m.measure(e.At, t.kinds[k.resource], t.thresholds)
		}
	}
}

// measure sets the level before a load that begins at an instant.
func (m *member) measure(at time.Time, kind string, h *Thresholds) {
	var lows []float64
	for _, s := range m.recent {
		if !s.End.After(at) && !s.End.Before(at.Add(-h.Before)) {
			lows = append(lows, s.Min)
		}
	}
	*m = member{seen: m.seen}
	if len(lows) < h.MinBefore {
		return
	}
	m.known = true
	m.level = stats.Median(lows)
	m.allowed = max(h.Tolerance*math.Abs(m.level), slices.Max(lows)-m.level)
	if kind != load.ResourceMemory {
		m.allowed = max(m.allowed, h.Counts)
	}
}

// end notes that a run has ended. After the last one the target settles.
func (t *target) end(e load.Event) {
	if !t.runs[e.Run] {
		return
	}
	delete(t.runs, e.Run)
	if len(t.runs) > 0 {
		return
	}
	t.settling = &settling{run: e, since: e.At}
	for _, m := range t.members {
		m.recent, m.readings, m.inARow, m.backSince = nil, 0, 0, time.Time{}
	}
}

// conclude ends the settling, if there is one, for a reason.
func (t *target) conclude(at time.Time, why string) {
	if t.settling == nil {
		return
	}
	t.found = t.findings(at, why)
	t.settling = nil
}

// Judge returns a finding for each member after the last run on its target.
func (a *Analysis) Judge(at time.Time) []load.Finding {
	var out []load.Finding
	for _, name := range slices.Sorted(maps.Keys(a.targets)) {
		t := a.targets[name]
		maps.DeleteFunc(t.members, func(_ key, m *member) bool { return at.Sub(m.seen) > a.thresholds.Absent })
		if t.settling != nil {
			t.found = t.findings(at, "")
			if at.Sub(t.settling.since) > a.thresholds.Settle+time.Minute {
				t.settling = nil
			}
		}
		out = append(out, t.found...)
	}
	return out
}

// Run returns the findings on the targets of a run that ended, as far as they are known yet.
func (a *Analysis) Run(e load.Event, at time.Time) []load.Finding {
	var out []load.Finding
	for _, t := range a.touched(e) {
		if t.settling != nil && t.settling.run.Run == e.Run {
			out = append(out, t.findings(at, "")...)
		}
	}
	return out
}

// Collect does nothing: the analysis has no metrics of its own.
func (a *Analysis) Collect(analysis.Send) {}

// findings returns whether each member is back. Where over is not empty it is the
// reason why no more will be known.
func (t *target) findings(at time.Time, over string) []load.Finding {
	keys := slices.SortedFunc(maps.Keys(t.members), func(a, b key) int {
		return strings.Compare(a.resource+"\x00"+a.member, b.resource+"\x00"+b.member)
	})
	var out []load.Finding
	for _, k := range keys {
		m := t.members[k]
		if m.seen.Before(t.settling.since.Add(-t.thresholds.Before)) {
			continue
		}
		out = append(out, t.finding(k, m, at, over))
	}
	return out
}

func (t *target) finding(k key, m *member, at time.Time, over string) load.Finding {
	run := t.settling.run
	kind := t.kinds[k.resource]
	unit := load.ResourceUnit(kind)
	f := load.Finding{
		ID: analysis.ID(load.KindCleanUp, run.Run, t.name, k.resource, k.member), Kind: load.KindCleanUp,
		Scenario: run.Scenario, Target: t.name, Resource: k.resource, Member: k.member, Run: run.Run, Release: run.Release,
		Since: t.settling.since, Updated: at, Unit: unit,
		Value: load.Number(math.NaN()), Lower: load.Number(math.NaN()), Upper: load.Number(math.NaN()), Limit: load.Number(math.NaN()),
	}
	name := k.resource + " of " + t.name
	if k.member != "" {
		name += " (" + k.member + ")"
	}
	h := t.thresholds
	waited := min(at.Sub(t.settling.since), h.Settle)
	if !m.known {
		f.Sentence = fmt.Sprintf("whether %s returned to its level is not known: it was read too seldom before the load began", name)
		f.Needed = fmt.Sprintf("%d readings in the %s before a run", h.MinBefore, amount.Span(h.Before))
		return f
	}
	f.Limit = load.Number(m.level + m.allowed)
	f.Evidence = []load.Fact{
		{Name: "before", Value: load.Number(m.level), Unit: unit},
		{Name: "allowed above", Value: load.Number(m.allowed), Unit: unit},
		{Name: "readings after", Value: load.Number(m.readings)},
		{Name: "waited", Value: load.Number(waited.Seconds()), Unit: "seconds"},
	}
	if m.readings > 0 {
		f.Value, f.Lower, f.Upper = load.Number(m.last), load.Number(m.last), load.Number(m.last)
	}
	switch {
	case !m.backSince.IsZero():
		f.Verdict = load.Pass
		took := m.backSince.Sub(t.settling.since)
		f.Sentence = fmt.Sprintf("%s returned to %s, its level before, within %s of the end of load", name, amount.Of(m.level, unit), amount.Span(took))
		f.Evidence = append(f.Evidence, load.Fact{Name: "took", Value: load.Number(took.Seconds()), Unit: "seconds"})
	case over != "":
		f.Sentence = fmt.Sprintf("whether %s returns to %s is not known: %s after %s", name, amount.Of(m.level, unit), over, amount.Span(waited))
		f.Needed = amount.Span(h.Settle) + " without load"
	case at.Sub(t.settling.since) >= h.Settle && m.readings >= h.MinAfter:
		f.Verdict = load.Fail
		f.Sentence = fmt.Sprintf("%s stays at %s, %s above its level before, %s after load ended", name, amount.Of(m.last, unit), amount.Of(m.last-m.level, unit), amount.Span(waited))
		if kind == load.ResourceMemory {
			f.Doubts = append(f.Doubts, "allocators keep freed memory for a while, and caches are meant to stay: live heap tells more than resident memory")
		}
	default:
		f.Sentence = fmt.Sprintf("waiting for %s to return to %s, its level before", name, amount.Of(m.level, unit))
		f.Needed = fmt.Sprintf("up to %s without load", amount.Span(h.Settle-waited))
	}
	return f
}
