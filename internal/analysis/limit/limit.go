// Package limit says whether a resource of a target is over its limit, or over the
// share of it from which a warning is wanted.
//
// It compares the highest reading of each sample, per member, with both thresholds.
// A threshold is reached once a few readings in a row are at or above it, and left
// once as many in a row are below it by a margin. Where the resource says for how long
// (For), the mean of the readings of that time is compared instead, once it is covered.
// There are no statistics: a limit that is reached is a fact, whatever the level does next.
package limit

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

// An Analysis watches the resources that have a limit. It implements analysis.Analysis.
type Analysis struct {
	thresholds Thresholds
	targets    map[string]*target
	judged     time.Time // the instant of the last Judge
}

var _ analysis.Analysis = (*Analysis)(nil)

// A target has resources with limits, and runs that send to it.
type target struct {
	name      string
	resources map[string]*resource
	runs      map[string]*run // under way, by ID
}

// A resource is watched of each member of its target.
type resource struct {
	analysis.Resource
	target  *target
	members map[string]*member
}

// A member is one resource of one process or instance.
type member struct {
	resource *resource
	name     string

	seen     time.Time // the end of the latest sample
	high     float64   // its highest reading
	readings int       // in a row without a gap
	window   []stretch // what a resource with For was read of, of the last For; the oldest first
	near     threshold
	over     threshold
}

// A stretch is the sum of some readings, and when they were.
type stretch struct {
	start, end time.Time
	sum        float64
	count      int
}

// A threshold is one that a member's readings are compared with.
type threshold struct {
	exceeded bool
	since    time.Time // the first of the readings that exceeded it
	// against is the number of the latest readings in a row that contradict exceeded, and
	// began is when the first of them was read.
	against int
	began   time.Time
}

// A run holds what the resources of a target reached while it was under way.
type run struct {
	began time.Time
	peaks map[peakKey]*peak // at most Thresholds.MaxMembers times the number of resources
}

type peakKey struct{ resource, member string }

// A peak is the highest of the readings of a member during a run, and which
// thresholds the member exceeded.
type peak struct {
	high       float64
	readings   int
	near, over bool
}

// New returns an analysis of no target, with DefaultThresholds.
func New() *Analysis {
	return &Analysis{thresholds: DefaultThresholds(), targets: map[string]*target{}}
}

// Configure watches the resources that have a limit. What is known of those whose
// limit and share are as before is kept.
func (a *Analysis) Configure(d *analysis.Description) {
	next := make(map[string]*target, len(d.Targets))
	for _, c := range d.Targets {
		t := a.targets[c.Name]
		if t == nil {
			t = &target{name: c.Name, runs: map[string]*run{}}
		}
		watched := map[string]*resource{}
		for _, c := range c.Resources {
			if c.Limit <= 0 {
				continue
			}
			r := t.resources[c.Name]
			if r == nil || r.Kind != c.Kind || r.Limit != c.Limit || r.WarnAt != c.WarnAt || r.For != c.For {
				r = &resource{target: t, members: map[string]*member{}}
				t.forget(c.Name)
			}
			r.Resource = c
			watched[c.Name] = r
		}
		t.resources = watched
		next[c.Name] = t
	}
	a.targets = next
}

// forget drops what the runs under way know of a resource: it was compared with another limit.
func (t *target) forget(resource string) {
	for _, r := range t.runs {
		maps.DeleteFunc(r.peaks, func(k peakKey, _ *peak) bool { return k.resource == resource })
	}
}

// Window does nothing: limits are about resources.
func (a *Analysis) Window(*load.Window) {}

// Sample compares a reading with the limit of its resource.
func (a *Analysis) Sample(s load.Sample) {
	t := a.targets[s.Target]
	if t == nil || !finite(s.Min) || !finite(s.Max) {
		return
	}
	r := t.resources[s.Resource]
	if r == nil {
		return
	}
	m := r.members[s.Member]
	if m == nil {
		if len(r.members) >= a.thresholds.MaxMembers {
			a.forgetAbsent(r, s.End)
		}
		if len(r.members) >= a.thresholds.MaxMembers {
			return
		}
		m = &member{resource: r, name: s.Member}
		r.members[s.Member] = m
	}
	if m.readings > 0 && s.Start.Sub(m.seen) > a.absent(r) {
		*m = member{resource: r, name: s.Member} // readings so far apart are not in a row
	}
	if r.For > 0 {
		mean, covered := m.sustained(s, &a.thresholds)
		if !covered {
			return
		}
		s.Min, s.Max, s.Count = mean, mean, a.thresholds.Readings
	}
	m.add(s, &a.thresholds)
	for _, run := range t.runs {
		if !s.Start.Before(run.began) {
			run.add(m, s, a.thresholds.MaxMembers*len(t.resources))
		}
	}
}

// sustained adds a sample and returns the mean of all readings of the last For, and whether they
// cover nine tenths of it: readings have some time between them.
func (m *member) sustained(s load.Sample, h *Thresholds) (mean float64, covered bool) {
	last := m.resource.For
	m.seen = s.End
	// Short stretches are put together, so that a long For takes no more memory than a short one.
	if n := len(m.window); n > 0 && s.End.Sub(m.window[n-1].start) < last/time.Duration(h.Stretches) {
		w := &m.window[n-1]
		w.end, w.sum, w.count = s.End, w.sum+s.Mean*float64(max(1, s.Count)), w.count+max(1, s.Count)
	} else {
		m.window = append(m.window, stretch{s.Start, s.End, s.Mean * float64(max(1, s.Count)), max(1, s.Count)})
	}
	m.window = slices.DeleteFunc(m.window, func(w stretch) bool { return s.End.Sub(w.end) > last })
	sum, count := 0.0, 0
	for _, w := range m.window {
		sum, count = sum+w.sum, count+w.count
	}
	return sum / float64(count), s.End.Sub(m.window[0].start) >= last*9/10
}

// add compares a sample with both thresholds.
func (m *member) add(s load.Sample, h *Thresholds) {
	n := max(1, s.Count)
	m.seen, m.high = s.End, s.Max
	m.readings = min(m.readings+n, h.Readings)
	m.near.add(s, n, m.resource.WarnAt, m.resource.Limit, h)
	m.over.add(s, n, 1, m.resource.Limit, h)
}

// add counts a sample of n readings that contradicts what is known of a share of a
// limit. All n readings count where all of them contradict it, and one of them where
// only the highest does.
func (x *threshold) add(s load.Sample, n int, share, limit float64, h *Thresholds) {
	var contradicts bool
	if x.exceeded {
		contradicts = s.Max < recovery(share, h)*limit
	} else {
		contradicts = s.Max >= share*limit
		if s.Min < share*limit {
			n = 1
		}
	}
	if !contradicts {
		x.against = 0
		return
	}
	if x.against == 0 {
		x.began = s.Start
	}
	x.against = min(x.against+n, h.Readings)
	if x.against >= h.Readings {
		*x = threshold{exceeded: !x.exceeded, since: x.began}
	}
}

// recovery returns the share of a limit below which a threshold is left again. The
// margin is at most half of the share, so that a small share can be left at all.
func recovery(share float64, h *Thresholds) float64 { return share - min(h.Hysteresis, share/2) }

// add notes the state of a member after a sample during the run, of the first most members.
func (r *run) add(m *member, s load.Sample, most int) {
	k := peakKey{m.resource.Name, m.name}
	p := r.peaks[k]
	if p == nil {
		if len(r.peaks) >= most {
			return
		}
		p = &peak{high: s.Max}
		r.peaks[k] = p
	}
	p.high = max(p.high, s.Max)
	p.readings += max(1, s.Count)
	p.near = p.near || m.near.exceeded
	p.over = p.over || m.over.exceeded
}

// Event follows the beginnings of runs.
func (a *Analysis) Event(e load.Event) {
	if e.Kind != load.RunBegan { // Run ends it
		return
	}
	for _, t := range a.touched(e) {
		if len(t.runs) >= a.thresholds.MaxRuns { // their ends were never reported
			clear(t.runs)
		}
		t.runs[e.Run] = &run{began: e.At, peaks: map[peakKey]*peak{}}
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

// Judge returns how each member relates to the limit of its resource.
func (a *Analysis) Judge(at time.Time) []load.Finding {
	a.judged = at
	var out []load.Finding
	a.each(at, func(m *member) { out = append(out, m.finding(at, &a.thresholds)) })
	return out
}

// Run returns what the resources of a run's targets reached while it was under way.
func (a *Analysis) Run(e load.Event, at time.Time) []load.Finding {
	var out []load.Finding
	for _, t := range a.touched(e) {
		r := t.runs[e.Run]
		delete(t.runs, e.Run)
		if r == nil {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(t.resources)) {
			for _, k := range slices.SortedFunc(maps.Keys(r.peaks), compare) {
				if k.resource == name {
					out = append(out, r.finding(e, at, t.resources[name], k.member, &a.thresholds))
				}
			}
		}
	}
	return out
}

// Collect sends the limits, and how the latest samples of members relate to them.
// Members that were absent at the last Judge are left out, as is whether a
// threshold is exceeded while there are too few readings to say.
func (a *Analysis) Collect(send analysis.Send) {
	for _, name := range slices.Sorted(maps.Keys(a.targets)) {
		t := a.targets[name]
		for _, r := range slices.Sorted(maps.Keys(t.resources)) {
			send(metric.TargetResourceLimit, t.resources[r].Limit, name, r)
		}
	}
	a.each(a.judged, func(m *member) {
		r := m.resource
		if m.readings == 0 {
			return
		}
		send(metric.TargetResourceLimitRatio, m.high/r.Limit, r.target.name, r.Name, m.name)
		if m.readings < a.thresholds.Readings && !m.near.exceeded {
			return // nor is the mean of a time that is not over
		}
		send(metric.TargetResourceLimitExceeded, analysis.Number(m.near.exceeded), r.target.name, r.Name, m.name, "warn")
		send(metric.TargetResourceLimitExceeded, analysis.Number(m.over.exceeded), r.target.name, r.Name, m.name, "limit")
	})
}

// each calls do with the members that were read of late, in order, and forgets the others.
func (a *Analysis) each(at time.Time, do func(*member)) {
	for _, name := range slices.Sorted(maps.Keys(a.targets)) {
		t := a.targets[name]
		for _, name := range slices.Sorted(maps.Keys(t.resources)) {
			r := t.resources[name]
			a.forgetAbsent(r, at)
			for _, name := range slices.Sorted(maps.Keys(r.members)) {
				do(r.members[name])
			}
		}
	}
}

// forgetAbsent drops members that have not been read for long.
func (a *Analysis) forgetAbsent(r *resource, at time.Time) {
	longest := a.absent(r)
	maps.DeleteFunc(r.members, func(_ string, m *member) bool { return at.Sub(m.seen) > longest })
}

// absent returns after how long without a reading a member of a resource is absent.
func (a *Analysis) absent(r *resource) time.Duration {
	return max(a.thresholds.Absent, time.Duration(a.thresholds.AbsentReads)*r.Every)
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
