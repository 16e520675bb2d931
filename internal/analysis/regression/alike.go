package regression

import (
	"math"
	"slices"
	"time"

	"github.com/perfd/perfd/internal/stats"
)

// besides are blocks that have like hours, and what a statistic deviates from these by.
type besides struct {
	blocks []block
	by     []float64
	hours  int // different ones
}

// beside finds the like hours of blocks, of those between two instants: of the same hour of the week or of earlier
// days, or where weekly is set of the former only. An hour's level is that of its blocks.
func (p *pair) beside(list []block, u usual, observer string, from, before int64, weekly bool) besides {
	type found struct {
		level  float64
		weekly bool
		ok     bool
	}
	var out besides
	seen, used := map[int64]found{}, map[int64]bool{}
	for i := range list {
		b := &list[i]
		v := b.value(u.statistic)
		if math.IsNaN(v) {
			continue
		}
		// The hour whose middle is the nearest to the block's.
		x := point{block: *b, origin: origin{observer: observer}}
		x.start = b.start + (b.end-b.start)/2 - int64(30*time.Minute)
		hour := x.hour()
		f, known := seen[hour]
		if !known {
			f.level, f.weekly, f.ok = u.at(&x, from, min(before, x.start))
			seen[hour] = f
		}
		if !f.ok || weekly && !f.weekly {
			continue
		}
		out.blocks, out.by = append(out.blocks, *b), append(out.by, v-f.level)
		used[hour] = true
	}
	out.hours = len(used)
	return out
}

// A season is what is known of the season of a series when a release begins.
type season struct {
	weekly   bool    // like hours are those of the week, and not of days
	variance float64 // of what an hour deviates from like hours by
	time     float64 // for how many hours these deviations resemble each other
	hours    int     // that have like hours
}

// seasonOf returns the season of a statistic before an instant at the load of a block, if it has one.
func (p *pair) seasonOf(statistic, observer string, before int64, like *block) (season, bool) {
	var history []point
	for i := len(p.points) - 1; i >= 0 && len(history) < thresholds.Searched; i-- {
		x := &p.points[i]
		if x.start < before && x.observer == observer && near(&x.block, like) {
			history = append(history, *x)
		}
	}
	slices.Reverse(history)
	x, _ := column(history, statistic)
	r, at := deviations(history, statistic)
	if !seasonal(x, r) {
		return season{}, false
	}
	c := season{weekly: history[at[0]].weekly[slices.Index(statistics[:], statistic)], hours: len(r)}
	// Releases have levels of their own.
	for from := 0; from < len(r); {
		to := from + 1
		for to < len(r) && history[at[to]].release == history[at[from]].release {
			to++
		}
		level := stats.Median(r[from:to])
		for i := range r[from:to] {
			r[from+i] -= level
		}
		from = to
	}
	c.time = stats.CorrelationTime(r)
	for i, v := range r {
		r[i] = math.Abs(v)
	}
	d := 1.4826 * stats.Median(r)
	c.variance = d * d
	return c, true
}

// shiftInSeason compares two sides in their deviations from like hours, where both have them. Like hours of the later one
// lie before its release. What an hour deviates by is common to its blocks, so that it widens the error.
func (p *pair) shiftInSeason(statistic string, before, after []block, cur *deployment, margin float64) (r result, ok bool) {
	since := cur.start.UnixNano()
	c, ok := p.seasonOf(statistic, cur.observer, since, cur.newest(intervals))
	if !ok {
		return r, false
	}
	u := usual{points: p.points, statistic: statistic, loose: !c.weekly, daily: !c.weekly}
	x, y := p.beside(before, u, cur.observer, 0, since, c.weekly), p.beside(after, u, cur.observer, 0, since, c.weekly)
	shift, worth, ok := shiftOf(x.by, y.by, intervals)
	if !ok {
		return r, false
	}
	of := func(hours int) float64 { return c.variance * min(1, c.time/float64(hours)) }
	r = result{statistic: statistic, worth: worth, season: true, after: math.Exp(stats.Mean(values(statistic, y.blocks)))}
	r.take(shift.Widened(of(x.hours)+of(y.hours), max(2, float64(c.hours)/c.time-1), thresholds.Confidence), margin)
	r.before = r.after / (1 + r.change)
	return r, true
}

// comparable returns those blocks of a deployment that what was before can be held against: those that have like hours before
// it, or follow it within half a day that is of its type. While a day is not known yet, all of them do.
func (p *pair) comparable(list []block, s *deployment) []block {
	since := s.start.UnixNano()
	if len(p.points) == 0 || p.points[0].start > since-int64(day*time.Hour) {
		return list
	}
	began := block{start: since}
	u := usual{points: p.points, statistic: p95, loose: true}
	known := map[int64]bool{}
	out := make([]block, 0, len(list))
	for i := range list {
		b := &list[i]
		hour := b.hour()
		ok, looked := known[hour]
		if !looked {
			ok = weekend(hourOfWeek(hour)) == weekend(hourOfWeek(began.hour())) && b.start < since+int64(day/2*time.Hour) ||
				p.beside([]block{*b}, u, s.observer, 0, since, false).hours > 0
			known[hour] = ok
		}
		if ok {
			out = append(out, *b)
		}
	}
	return out
}

// besideLike is by how much a deployment deviates from like hours of its baseline's time; where there are none, from those before it,
// less what the baseline deviated by itself.
func (p *pair) besideLike(statistic string, base, cur *deployment, before, after []block) (by float64, known bool) {
	since := cur.start.UnixNano()
	u := usual{points: p.points, statistic: statistic, loose: true}
	until := since
	if i := slices.Index(p.deployments, base); i >= 0 && i+1 < len(p.deployments) {
		until = min(until, p.deployments[i+1].start.UnixNano())
	}
	enough := func(b besides) bool { return 2*len(b.by) >= len(after) && len(b.by) > 0 }
	if own := p.beside(after, u, cur.observer, base.start.UnixNano(), until, false); enough(own) {
		return stats.Median(own.by), true
	}
	u.loose = false
	is, was := p.beside(after, u, cur.observer, 0, since, false), p.beside(before, u, cur.observer, 0, since, false)
	if !enough(is) || len(was.by) == 0 && until < since {
		return 0, false
	}
	by = stats.Median(is.by)
	if len(was.by) > 0 {
		by -= stats.Median(was.by)
	}
	return by, true
}

// holdAgainst takes back what like hours do not confirm of a result: that it is beyond the margin, inside it, or better.
func (r *result) holdAgainst(by, margin float64) {
	sign := worseSign(r.statistic)
	least := math.Abs(limit(r.statistic, r.before, margin))
	size := sign * r.change
	if r.statistic != errorRatio {
		by = math.Expm1(by)
	}
	by *= sign
	switch {
	case r.beyond && by < max(least, size/2):
		r.beyond, r.unlike = false, true
	case r.inside && by >= least:
		r.inside, r.unlike = false, true
	case size <= -least && by > -least/2:
		r.unlike = true
	}
}

// compareLike compares two sides of intervals: levels that have a season in their deviations from like hours, and all else
// as it is, where like hours, if there are any, must confirm what is found.
func (p *pair) compareLike(base, cur *deployment, before, after side, margin float64) []result {
	out := compare(before, after, intervals, margin)
	for _, s := range statistics {
		i := slices.IndexFunc(out, func(r result) bool { return r.statistic == s })
		x, y := before.blocks(s), after.blocks(s)
		if s != errorRatio {
			if r, ok := p.shiftInSeason(s, x, y, cur, margin); ok {
				if i < 0 {
					out = append(out, r)
				} else {
					out[i] = r
				}
				continue
			}
		}
		if i >= 0 {
			if by, known := p.besideLike(s, base, cur, x, y); known {
				out[i].holdAgainst(by, margin)
			}
		}
	}
	return out
}
