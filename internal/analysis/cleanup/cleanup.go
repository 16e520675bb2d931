// Package cleanup says whether the resources of a target return to the level
// they had before a run, once no load is left on it: what stays is what nobody gave back.
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

const (
	before      = 10 * time.Minute // of readings make the level before a run
	leastBefore = 4                // readings
	mostBefore  = 64

	// Settle is how long a resource may take to be back.
	Settle     = 10 * time.Minute
	leastAfter = 2 // readings in a row that must be back
	cutPause   = 30 * time.Second

	tolerance   = 0.05 // of the level before
	fewCounts   = 2    // a count may differ by as much
	mostMembers = 128
	absent      = 24 * time.Hour
)

// An Analysis watches the resources of targets.
type Analysis struct{ targets map[string]*target }

var _ analysis.Analysis = (*Analysis)(nil)

// A target is idle, under load, or waited for after load.
type target struct {
	name    string
	runs    map[string]bool // under way
	members map[key]*member
	kinds   map[string]string // of resources, by name
	waits   *wait             // nil unless load has ended and nothing was judged yet
	found   []load.Finding    // of the last run that was judged
}

type key struct{ resource, member string }

// A wait is for the resources of a target after a run.
type wait struct {
	run   load.Event
	since time.Time
}

// A member is one process or instance with one resource.
type member struct {
	seen   time.Time
	recent []load.Sample // of late, while there is no load

	known     bool    // level and allowed are
	level     float64 // before the load, the middle of readings
	allowed   float64 // above level
	last      float64 // since the load
	readings  int
	inARow    int
	backSince time.Time // zero: not back
}

// New returns an analysis that watches nothing.
func New() *Analysis { return &Analysis{targets: map[string]*target{}} }

// Configure says which resources are watched.
func (a *Analysis) Configure(d *analysis.Description) {
	next := make(map[string]*target, len(d.Targets))
	for _, c := range d.Targets {
		t := a.targets[c.Name]
		if t == nil {
			t = &target{name: c.Name, runs: map[string]bool{}, members: map[key]*member{}}
		}
		t.kinds = make(map[string]string, len(c.Resources))
		for _, r := range c.Resources {
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

// Window takes nothing: load is on a target while a run is.
func (a *Analysis) Window(*load.Window) {}

// Sample takes the level of a resource.
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
		if len(t.members) >= mostMembers*len(t.kinds) {
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
	for len(m.recent) > mostBefore || m.recent[0].End.Before(s.End.Add(-before)) {
		m.recent = slices.Delete(m.recent, 0, 1)
	}
	if t.waits != nil && !s.Start.Before(t.waits.since) {
		m.settle(s)
	}
}

// settle takes a reading after load.
func (m *member) settle(s load.Sample) {
	m.last = s.Min
	m.readings++
	if !m.known || s.Min > m.level+m.allowed {
		m.inARow = 0
		return
	}
	m.inARow++
	if m.inARow >= leastAfter && m.backSince.IsZero() {
		m.backSince = s.End
	}
}

// Event takes the beginnings and ends of runs, and releases.
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
			// What the level was before says nothing of another process.
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

func (t *target) begin(e load.Event) {
	idle := len(t.runs) == 0
	t.runs[e.Run] = true
	switch {
	case !idle:
	case t.waits != nil && e.At.Sub(t.waits.since) < cutPause:
		t.waits = nil // load goes on, from the same level
	default:
		t.conclude(e.At, "load came back")
		for k, m := range t.members {
			m.measure(e.At, t.kinds[k.resource])
		}
	}
}

// measure takes the level before load, of a kind of resource.
func (m *member) measure(at time.Time, kind string) {
	var lows []float64
	for _, s := range m.recent {
		if !s.End.After(at) && !s.End.Before(at.Add(-before)) {
			lows = append(lows, s.Min)
		}
	}
	*m = member{seen: m.seen}
	if len(lows) < leastBefore {
		return
	}
	m.known = true
	m.level = stats.Median(lows)
	m.allowed = max(tolerance*math.Abs(m.level), slices.Max(lows)-m.level)
	if kind != load.ResourceMemory {
		m.allowed = max(m.allowed, fewCounts)
	}
}

func (t *target) end(e load.Event) {
	if !t.runs[e.Run] {
		return
	}
	delete(t.runs, e.Run)
	if len(t.runs) > 0 {
		return
	}
	t.waits = &wait{run: e, since: e.At}
	for _, m := range t.members {
		m.recent, m.readings, m.inARow, m.backSince = nil, 0, 0, time.Time{}
	}
}

// conclude ends a wait for a reason, if there is one.
func (t *target) conclude(at time.Time, why string) {
	if t.waits == nil {
		return
	}
	t.found = t.findings(at, why)
	t.waits = nil
}

// Judge says what is known of the last run of each target.
func (a *Analysis) Judge(at time.Time) []load.Finding {
	var out []load.Finding
	for _, name := range slices.Sorted(maps.Keys(a.targets)) {
		t := a.targets[name]
		maps.DeleteFunc(t.members, func(_ key, m *member) bool { return at.Sub(m.seen) > absent })
		if t.waits != nil {
			t.found = t.findings(at, "")
			if at.Sub(t.waits.since) > Settle+time.Minute {
				t.waits = nil
			}
		}
		out = append(out, t.found...)
	}
	return out
}

// Run says what is known of the targets of a run that ended.
func (a *Analysis) Run(e load.Event, at time.Time) []load.Finding {
	var out []load.Finding
	for _, t := range a.touched(e) {
		if t.waits != nil && t.waits.run.Run == e.Run {
			out = append(out, t.findings(at, "")...)
		}
	}
	return out
}

// Collect sends nothing: findings say it all.
func (a *Analysis) Collect(analysis.Send) {}

// findings says of each member whether it is back; over, where not empty, is why no more will be known.
func (t *target) findings(at time.Time, over string) []load.Finding {
	keys := slices.SortedFunc(maps.Keys(t.members), func(a, b key) int {
		return strings.Compare(a.resource+"\x00"+a.member, b.resource+"\x00"+b.member)
	})
	var out []load.Finding
	for _, k := range keys {
		m := t.members[k]
		if m.seen.Before(t.waits.since.Add(-before)) {
			continue
		}
		out = append(out, t.finding(k, m, at, over))
	}
	return out
}

func (t *target) finding(k key, m *member, at time.Time, over string) load.Finding {
	run := t.waits.run
	kind, unit := t.kinds[k.resource], "count"
	if kind == load.ResourceMemory {
		unit = "bytes"
	}
	f := load.Finding{
		ID: analysis.ID(load.KindCleanUp, run.Run, t.name, k.resource, k.member), Kind: load.KindCleanUp,
		Scenario: run.Scenario, Target: t.name, Resource: k.resource, Member: k.member, Run: run.Run, Release: run.Release,
		Since: t.waits.since, Updated: at, Unit: unit,
		Value: load.Number(math.NaN()), Lower: load.Number(math.NaN()), Upper: load.Number(math.NaN()), Limit: load.Number(math.NaN()),
	}
	name := k.resource + " of " + t.name
	if k.member != "" {
		name += " (" + k.member + ")"
	}
	waited := min(at.Sub(t.waits.since), Settle)
	if !m.known {
		f.Sentence = fmt.Sprintf("whether %s returned to its level is not known: it was read too seldom before the load began", name)
		f.Needed = fmt.Sprintf("%d readings in the %s before a run", leastBefore, amount.Span(before))
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
		took := m.backSince.Sub(t.waits.since)
		f.Sentence = fmt.Sprintf("%s returned to %s, its level before, within %s of the end of load", name, amount.Of(m.level, unit), amount.Span(took))
		f.Evidence = append(f.Evidence, load.Fact{Name: "took", Value: load.Number(took.Seconds()), Unit: "seconds"})
	case over != "":
		f.Sentence = fmt.Sprintf("whether %s returns to %s is not known: %s after %s", name, amount.Of(m.level, unit), over, amount.Span(waited))
		f.Needed = amount.Span(Settle) + " without load"
	case at.Sub(t.waits.since) >= Settle && m.readings >= leastAfter:
		f.Verdict = load.Fail
		f.Sentence = fmt.Sprintf("%s stays at %s, %s above its level before, %s after load ended", name, amount.Of(m.last, unit), amount.Of(m.last-m.level, unit), amount.Span(waited))
		if kind == load.ResourceMemory {
			f.Doubts = append(f.Doubts, "allocators keep freed memory for a while, and caches are meant to stay: live heap tells more than resident memory")
		}
	default:
		f.Sentence = fmt.Sprintf("waiting for %s to return to %s, its level before", name, amount.Of(m.level, unit))
		f.Needed = fmt.Sprintf("up to %s without load", amount.Span(Settle-waited))
	}
	return f
}
