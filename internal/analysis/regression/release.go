package regression

import (
	"cmp"
	"slices"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/stats"
)

// A release is looked at whenever it has twice as many intervals as at the last
// look, and look k may spend 1/(k(k+1)) of the error: together no more than all
// of it, however long the release stays. Intervals are looked at first when there are
// FirstLook of them, a few more than they must be worth; runs from the first.
// spend returns the factor by which a p-value of look k, counted from 1, grows.
func spend(k int) float64 { return float64(k * (k + 1)) }

// A confirmed regression was proven, and is not proven to be gone.
type confirmed struct {
	release, since  string // the release that brought it; its baseline's name
	baseline        *deployment
	at              time.Time
	statistic       string   // the clearest when it was found
	worse           []string // all that were proven
	checked         int      // blocks of the current deployment when it was last looked for recovery
	results         []result // the newest
	compared        string   // the release that they are of
	length          time.Duration
	requestsASecond float64
	unit            unit
	creep           int // releases since the baseline, none of which was called worse than the one before it; 0 of one release
}

// unit is what current is compared with its baseline by: intervals where no
// pause between runs divides the two, else runs, because runs differ.
func (s *deployment) unit(baseline *deployment) unit {
	if baseline.last == s.chain && s.chains == 1 {
		return intervals
	}
	return runs
}

// newest is the block whose load others are held to.
func (s *deployment) newest(u unit) *block {
	list := s.blocks
	if u == runs {
		list = s.runs
	}
	if len(list) == 0 {
		return nil
	}
	return &list[len(list)-1]
}

// side returns the blocks of a deployment at a load.
func (s *deployment) side(u unit, like *block) side {
	if u == runs {
		at := atLoad(s.runs, like)
		return side{at, at}
	}
	return side{atLoad(s.blocks, like), atLoad(s.tails, like)}
}

// baseline returns the latest deployment that current may be compared with; nil and
// why where there is none.
func (p *pair) baseline() (*deployment, string) {
	cur := p.current()
	if cur.accepted {
		return nil, whyAccepted
	}
	for _, s := range slices.Backward(p.deployments[:len(p.deployments)-1]) {
		if s.accepted && !s.retired && s.release == cur.release && s.observer == cur.observer {
			return s, "" // it was here before, at a level that was accepted
		}
	}
	why := whyFirst
	for _, s := range slices.Backward(p.deployments[:len(p.deployments)-1]) {
		if s.bad || s.retired || s.release == cur.release {
			continue
		}
		if s.observer == cur.observer {
			return s, ""
		}
		why = whyObserver
	}
	for _, s := range p.deployments[:len(p.deployments)-1] {
		if s.release == cur.release && s.observer != cur.observer {
			why = whyObserver
		}
	}
	return nil, why
}

// Why a release is not compared.
const (
	whyFirst    = "first"
	whyAccepted = "accepted"
	whyObserver = "observer"
	whyLoad     = "load"
	whyFew      = "few"
	whyEarly    = "early" // the first look is not due
	whyHours    = "hours" // no hours like those of now
)

// before returns the baseline's blocks at a load. Where they are few, those of
// the releases before it that were as good come with them.
func (p *pair) before(baseline *deployment, u unit, like *block) side {
	enough := 4 * thresholds.Effective
	if u == runs {
		enough = thresholds.Runs
	}
	var out side
	from := slices.Index(p.deployments, baseline)
	for _, s := range slices.Backward(p.deployments[:from+1]) {
		if s != baseline && (s.bad || s.retired || s.observer != baseline.observer) {
			continue
		}
		more := s.side(u, like)
		out.fine = append(more.fine, out.fine...)
		out.tail = append(more.tail, out.tail...)
		if len(out.fine) >= enough {
			break
		}
	}
	return out
}

// look compares the current release with its baseline where a look is due.
func (p *pair) look(margin float64) {
	p.fresh = false
	cur := p.current()
	if p.confirmed != nil {
		p.recheck(margin)
		return
	}
	base, why := p.baseline()
	if base == nil {
		p.looked, p.results = why, nil
		return
	}
	u := cur.unit(base)
	n := cur.seen[u]
	if cur.next == 0 {
		cur.next = thresholds.FirstLook
		if u == runs {
			cur.next = 1
		}
	}
	if n < cur.next {
		if cur.looks == 0 && p.looked == "" {
			p.looked = whyEarly
		}
		return
	}
	results, why := p.compareWith(base, cur, u, n, margin)
	if p.looked = why; why != "" {
		cur.next = n + thresholds.FirstLook // nothing was spent
		if u == runs {
			cur.next = n + 1
		}
		return
	}
	cur.next = 2 * n
	cur.looks++
	for i := range results {
		results[i].p = min(1, results[i].p*spend(cur.looks))
	}
	p.results = results
	p.lookBack(base, n, margin)
}

// lookBack compares the current release with the level that was accepted, beside the comparison with
// the release before it: many small steps make a large one.
func (p *pair) lookBack(base *deployment, n int, margin float64) {
	p.crept = nil
	cur := p.current()
	if p.anchor == nil || p.anchor == base || p.anchor == cur || p.anchor.observer != cur.observer || p.anchor.release == cur.release {
		return
	}
	u := cur.unit(p.anchor)
	if u != cur.unit(base) {
		n = cur.seen[u]
	}
	results, why := p.compareWith(p.anchor, cur, u, n, margin)
	if why != "" {
		return
	}
	better := 0
	for i := range results {
		r := &results[i]
		if (r.statistic == p50 || r.statistic == p95) && r.in.Upper <= -margin && !r.unlike {
			better++
		}
		r.p = min(1, r.p*spend(cur.looks))
	}
	if better == 2 {
		p.setAnchor(cur) // what is proven to be better is the level to hold
		return
	}
	p.crept = results
}

// setAnchor makes the level of a deployment the one that later releases are held to together.
func (p *pair) setAnchor(s *deployment) { p.anchor, p.sinceAnchor = s, 0 }

// compareWith compares the last n units of a deployment with a baseline.
func (p *pair) compareWith(base, cur *deployment, u unit, n int, margin float64) ([]result, string) {
	like := cur.newest(u)
	if like == nil {
		return nil, whyEarly
	}
	before, after := p.before(base, u, like), cur.side(u, like)
	measured := len(after.fine)
	if u == intervals {
		after = side{p.comparable(after.fine, cur), p.comparable(after.tail, cur)}
	}
	if after.fine = after.fine[max(0, len(after.fine)-n):]; len(after.fine) > 0 {
		// The tail's blocks of the same time.
		start := after.fine[0].start
		i, _ := slices.BinarySearchFunc(after.tail, start, func(b block, at int64) int { return cmp.Compare(b.start, at) })
		after.tail = after.tail[i:]
	}
	if len(before.fine) == 0 {
		return nil, whyLoad
	}
	var results []result
	if u == intervals {
		results = p.compareLike(base, cur, before, after, margin)
	} else {
		results = compare(before, after, u, margin)
	}
	if !slices.ContainsFunc(results, func(r result) bool { return r.statistic == p95 }) {
		if len(after.fine) < min(measured, thresholds.FirstLook) {
			return nil, whyHours
		}
		return nil, whyFew
	}
	return results, ""
}

// passed says whether everything that was compared is proven to be no worse.
func (p *pair) passed() bool {
	return p.confirmed == nil && len(p.results) > 0 && !slices.ContainsFunc(p.results, func(r result) bool { return !r.inside })
}

// follows says whether a pair is as bad as another in its clearest statistic,
// proven or not; one that was not compared yet may be.
func (p *pair) follows(st *confirmed) bool {
	if p.confirmed != nil || len(p.results) == 0 {
		return true
	}
	return slices.ContainsFunc(p.results, func(r result) bool { return r.statistic == st.statistic && r.beyond })
}

// confirm records a regression that was proven against the release before or, where
// crept is set, against the level that was accepted.
func (p *pair) confirm(proven []result, crept bool) {
	cur := p.current()
	base, _ := p.baseline()
	results, releases := p.results, 0
	if crept {
		base, results, releases = p.anchor, p.crept, p.sinceAnchor
	}
	if base == nil {
		return
	}
	clearest := slices.MinFunc(proven, func(a, b result) int { return cmp.Compare(a.p, b.p) })
	st := &confirmed{release: cur.release, since: base.release, baseline: base, at: cur.start, statistic: clearest.statistic, creep: releases}
	for _, r := range proven {
		st.worse = append(st.worse, r.statistic)
	}
	st.unit = cur.unit(base)
	st.checked = cur.seen[st.unit]
	p.confirmed = st
	cur.bad = true
	st.take(results, cur)
}

// take keeps the newest numbers of a regression.
func (st *confirmed) take(results []result, cur *deployment) {
	st.results, st.compared = results, cur.release
	if b := cur.newest(st.unit); b != nil {
		st.length = time.Duration(float64(b.seconds) * float64(time.Second)).Round(10 * time.Second)
		st.requestsASecond = b.rate()
	}
}

// recheck looks whether a regression is gone: whether of the last 24, 48, 96 … intervals, or
// the last runs, what was worse is back inside the margin. Not proven either way, it holds.
func (p *pair) recheck(margin float64) {
	st, cur := p.confirmed, p.current()
	u := cur.unit(st.baseline)
	n := cur.seen[u]
	step := thresholds.FirstLook
	if u == runs {
		step = 1
	}
	if n < st.checked {
		st.checked = 0 // another release
	}
	if n-st.checked < step {
		return
	}
	st.checked = n
	if all, why := p.compareWith(st.baseline, cur, u, n, margin); why == "" {
		st.take(all, cur)
	}
	for size := 2 * step; size < 2*min(n, keptBlocks); size *= 2 {
		part, why := p.compareWith(st.baseline, cur, u, min(size, n), margin)
		if why != "" {
			continue
		}
		if st.gone(part) {
			p.recover(min(size, n), part, u)
			return
		}
	}
}

// mendSteps ends the regressions of steps whose scenario had one of the same release that is proven to be gone:
// steps that no longer look worse would take longer to prove it, and where all were one finding be new ones meanwhile.
func (s *scenario) mendSteps() {
	own := s.own()
	if own.confirmed != nil {
		return
	}
	for _, p := range s.pairs[:len(s.pairs)-1] {
		st := p.confirmed
		if st == nil || s.extents[load.KindRegression] != whole && !own.outlived(st) {
			continue
		}
		u := p.current().unit(st.baseline)
		n := p.current().seen[u]
		results, why := p.compareWith(st.baseline, p.current(), u, n, s.Margin)
		if why != "" && s.extents[load.KindRegression] != whole {
			continue // what a finding of its own says takes a look at the step
		}
		worse := func(r result) bool { return r.beyond && slices.Contains(st.worse, r.statistic) }
		if !slices.ContainsFunc(results, worse) {
			p.recover(n, results, u)
		}
	}
}

// outlived says whether the pair's own regression by the same release is proven to be gone since another pair's began.
func (p *pair) outlived(st *confirmed) bool {
	return p.mended.release == st.release && p.mended.at.After(st.at)
}

// gone says whether the statistic that shows the regression most clearly is proven to be back inside the margin, and
// no other that was worse looks beyond it: a tail has too few requests to prove it in hours.
func (st *confirmed) gone(results []result) bool {
	for _, s := range st.worse {
		i := slices.IndexFunc(results, func(r result) bool { return r.statistic == s })
		if s == st.statistic && (i < 0 || !results[i].inside) || i >= 0 && results[i].beyond {
			return false
		}
	}
	return true
}

// recover ends a regression; the last n units of the current deployment are back at the baseline.
func (p *pair) recover(n int, results []result, u unit) {
	cur := p.current()
	p.mended.release, p.mended.at = p.confirmed.release, p.fine.end
	p.confirmed, p.results, p.looked = nil, results, ""
	cur.bad = false
	cur.looks++
	switch {
	case n == 0:
	case u == intervals:
		cur.blocks = last(cur.blocks, n)
		cur.tails = slices.DeleteFunc(slices.Clone(cur.tails), func(b block) bool { return b.start < cur.blocks[0].start })
	default:
		cur.runs = last(cur.runs, n)
	}
	cur.next = 2 * cur.seen[u]
	for i := range p.results {
		p.results[i].p = 1 // what was looked for was recovery
	}
}

// accept makes the level of the release that brought a regression the baseline from an instant on.
func (p *pair) accept(at time.Time) {
	if p.confirmed == nil {
		return
	}
	from := len(p.deployments) - 1
	for i, s := range p.deployments {
		if s.start.Equal(p.confirmed.at) {
			from = i
		}
	}
	for i, s := range p.deployments {
		s.bad, s.retired = false, s.retired || i < from
	}
	p.deployments[from].accepted, p.deployments[from].acceptedAt = true, at
	p.setAnchor(p.deployments[from])
	p.sinceAnchor = len(p.deployments) - 1 - from
	p.crept = nil
	p.confirmed, p.results, p.looked = nil, nil, ""
	p.fresh = true
}

// family holds the p-values of all pairs of a scenario against each other, and
// confirms those whose worsening is proven at all looks, steps and statistics
// together, and large enough to matter.
func (s *scenario) family() {
	type entry struct {
		p     *pair
		r     result
		crept bool
	}
	var all []entry
	var ps []float64
	tests := len(s.pairs) * len(statistics)
	if slices.ContainsFunc(s.pairs, func(p *pair) bool { return p.crept != nil }) {
		tests *= 2
	}
	for _, p := range s.pairs {
		if p.confirmed != nil {
			continue
		}
		for _, r := range p.results {
			all, ps = append(all, entry{p, r, false}), append(ps, r.p)
		}
		for _, r := range p.crept {
			all, ps = append(all, entry{p, r, true}), append(ps, r.p)
		}
	}
	// What could not be compared yet counts, or the level would shift with it.
	for len(ps) < tests {
		ps = append(ps, 1)
	}
	adjusted := stats.Holm(ps)
	proven, crept := map[*pair][]result{}, map[*pair][]result{}
	for i, e := range all {
		if adjusted[i] <= thresholds.WorseLevel && e.r.beyond {
			if e.crept {
				crept[e.p] = append(crept[e.p], e.r)
			} else {
				proven[e.p] = append(proven[e.p], e.r)
			}
		}
	}
	for _, p := range s.pairs {
		switch {
		case len(proven[p]) > 0:
			p.confirm(proven[p], false)
		case len(crept[p]) > 0:
			p.confirm(crept[p], true)
		}
	}
}
