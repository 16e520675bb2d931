package leak

import (
	"math"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/stats"
)

// A judgement is what the last look at a member came to.
type judgement struct {
	due       float64 // when the next look is due; 0 is now
	looked    bool
	verdict   load.Verdict
	objection objection
	x         examination
}

// look examines the member at an instant if that is due.
func (m *member) look(at float64, t *traffic) {
	j := &m.judgement
	if len(m.life.points) == 0 || j.looked && at < j.due {
		return
	}
	seen := at - m.life.began
	j.due = at + min(max(seen*Defaults.LookGrowth, 10), day)
	if seen < Defaults.Patience {
		j.due = min(j.due, m.life.began+Defaults.Patience)
	}
	for range mostEarlier {
		fall, ok := m.fallsToAnother(t)
		if !ok {
			break
		}
		due := j.due
		m.restart(fall)
		j.due = due
	}
	verdict, objection, x := m.examine(math.Inf(-1), at, t, false)
	if j.looked && j.verdict == load.Fail && verdict == load.Inconclusive && x.lack != cycles && x.spares(objection, &Defaults) {
		return // what was proven holds until something else is
	}
	j.looked = true
	j.verdict, j.objection, j.x = verdict, objection, x
}

// spares says whether an objection leaves a leak that was called before what it is: doubt is no proof of the contrary,
// and neither is another shape than a line while the later half rises like the whole.
func (x *examination) spares(o objection, th *Thresholds) bool {
	switch o {
	case chance:
		return x.trend.p < th.HoldP
	case small:
		return true
	case slowing, stepped, fading:
		return x.trend.slope > 0 && x.trend.late >= th.HoldSlope*x.trend.slope
	}
	return false
}

// examine judges what was read between two instants: all lifetimes, the last one,
// and the last one's later half and quarter, so that growth that began late is found.
func (m *member) examine(from, to float64, t *traffic, begins bool) (load.Verdict, objection, examination) {
	th := &Defaults
	r := &m.resource.Resource
	all := m.stretches(from, to)
	for i := range all {
		all[i].fresh = all[i].fresh || begins
		all[i].falls = findCollections(all[i].points, th)
	}
	current := all[len(all)-1]
	whole := examine(all[len(all)-1:], m.life.count(from, to), t, th)
	curve := settle(all[len(all)-1:], t, th)
	began := current.points[0].at
	collected := math.Inf(1)
	if at, ok := lastCollected(current.points, th); ok && r.Kind == load.ResourceMemory {
		collected = at
	}
	against := chance
	if whole.lack == enough {
		if against = whole.objectsOf(r, curve, began, collected, th); against == none {
			return load.Fail, none, whole
		}
	}
	if len(all) > 1 {
		pooled := examine(all, m.readings(from, to), t, th)
		if pooled.lack == enough && pooled.lives > 1 {
			o := pooled.objects(r, th)
			if o == none && warmUps(all, &pooled, t, th) {
				o = settles
			}
			if o == none {
				return load.Fail, none, pooled
			}
			if whole.lack != enough {
				whole, against = pooled, o
			}
		}
	}
	clean := whole.clean(th)
	if len(current.points) < th.MinReadings {
		return load.Inconclusive, against, whole
	}
	for _, share := range [...]float64{0.5, 0.25} {
		cut := current.points[len(current.points)-1].at - share*current.span()
		part := current.after(cut)
		late := examine([]stretch{part}, len(part.points), t, th)
		if late.lack != enough {
			continue
		}
		if late.objectsOf(r, curve, began, collected, th) == none {
			if late.exceeds(current, cut) {
				return load.Fail, none, late
			}
			against = withinPast
		}
		if share == 0.5 {
			clean = clean || whole.lack == enough && late.cleanLate(max(whole.span, th.Patience), th)
		}
		if late.trend.p < 0.05 && late.trend.slope*whole.span > th.Growth*math.Abs(late.start) {
			clean = false
		}
	}
	if clean {
		return load.Pass, against, whole
	}
	return load.Inconclusive, against, whole
}

// objectsOf is objects, and whether the rise is only what a curve makes of it, or is mostly younger than the last collection and
// has not been seen for Patience.
func (x *examination) objectsOf(r *Resource, curve settling, began, collected float64, th *Thresholds) objection {
	o := x.objects(r, th)
	if o == none && x.settles(curve, curve.rise(x.from-began, x.from-began+x.span), x.span, th) {
		return settles
	}
	if o == none && collected < x.from+x.span/2 && !x.patient(th) {
		return uncollected
	}
	return o
}

// settles says whether the growth over a time is about the rise of a curve, and that of a line beside it small.
func (x *examination) settles(curve settling, rise, span float64, th *Thresholds) bool {
	return x.absolute < th.Unsettled*rise && curve.slope*span < th.Growth*math.Abs(x.start)
}

// warmUps says whether the rise of several lifetimes is what the warm-up of each leaves of a curve.
func warmUps(lives []stretch, x *examination, t *traffic, th *Thresholds) bool {
	var used []stretch
	for _, s := range lives {
		if s.fresh && len(s.points) >= minLife && s.span() > 0 {
			used = append(used, s)
		}
	}
	curve, rise, span := settle(used, t, th), 0.0, 0.0
	for _, s := range used {
		rise += curve.rise(th.WarmUpShort*s.span(), s.span()) / float64(len(used))
		span += (1 - th.WarmUpShort) * s.span() / float64(len(used))
	}
	return x.settles(curve, rise, span, th)
}

// clean says whether growth that matters is ruled out over the window.
func (x *examination) clean(th *Thresholds) bool {
	return x.lack == enough && x.lives == 1 && (x.cycle == 0 || x.cycles >= th.MinCyclesPass) && x.upper*max(1, th.Patience/x.span) < th.Growth
}

// cleanLate says whether growth that matters over span is ruled out by the later half.
func (x *examination) cleanLate(span float64, th *Thresholds) bool {
	return (x.cycle == 0 || x.cycles >= th.MinCyclesPass) && x.trend.in.Upper*span < th.Growth*math.Abs(x.start)
}

// exceeds says whether the floors end above nearly all that was read before an instant.
func (x *examination) exceeds(s stretch, cut float64) bool {
	var before []float64
	for _, f := range s.blocksBefore(cut, x.block) {
		before = append(before, f.low)
	}
	return len(before) == 0 || x.trend.level+x.trend.slope*x.span > stats.Quantile(before, 0.95)
}

// blocksBefore returns the floors of blocks of a length before an instant.
func (s stretch) blocksBefore(cut, length float64) []floor {
	p := s.points
	for len(p) > 0 && p[len(p)-1].at >= cut {
		p = p[:len(p)-1]
	}
	if len(p) < 2 {
		return nil
	}
	part := stretch{points: p}
	return part.blocks(max(1, int(part.span()/length)))
}

// stretches returns the parts of all lifetimes from one instant to another.
func (m *member) stretches(from, to float64) []stretch {
	var out []stretch
	for i := range m.earlier {
		e := &m.earlier[i]
		if p := e.between(from, to); len(p) > 0 {
			out = append(out, stretch{points: p, fresh: e.began >= from})
		}
	}
	return append(out, stretch{points: m.life.between(from, to), fresh: m.life.began >= from})
}

// readings returns how many readings of all lifetimes lie between two instants.
func (m *member) readings(from, to float64) int {
	n := m.life.count(from, to)
	for i := range m.earlier {
		n += m.earlier[i].count(from, to)
	}
	return n
}
