package regression

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/stats"
)

// A point is an hour, or a shorter run, of a long series.
type point struct {
	block
	origin
	usual  [len(statistics)]float32 // level of like hours before it; NaN where there are none
	weekly [len(statistics)]bool    // usual is of the same hour of the week
}

// A shift is a change of level that no release explains and that lasts.
type shift struct {
	at, surely    time.Time // the likeliest instant, and the last one possible
	statistic     string
	worse         []string
	before, after float64        // levels when it was found: seconds, a ratio, or requests per second
	now           float64        // level of the last points
	in            stats.Interval // of the change from before to after
	points        [2]int         // before and after
	like          block          // a point at whose load it was found
	season        bool           // the levels are those of like hours
	chance        float64        // probability of a change as marked in a series that has none
	hours         int            // since the change that have like hours before it
	epoch         int64          // when the level before began, in ns; 0 where it is not known to have begun
}

// to is the change to a level, as in result.
func (m *shift) to(level float64) float64 {
	if m.statistic == errorRatio {
		return level - m.before
	}
	return level/m.before - 1
}

// point takes a window into the series of hours.
func (p *pair) point(w *load.Window, o origin) {
	h := &p.hour
	if h.span > 0 && h.origin != o {
		// A run that ended is a point of its own; a part of an hour is one if it is most of it.
		if h.origin.chain != o.chain || h.span >= h.length/2 {
			p.endPoint()
		}
	}
	if b := h.add(w, o, ""); b != nil {
		p.addPoint(*b, o)
	}
}

// endPoint closes the point that is open.
func (p *pair) endPoint() {
	o := p.hour.origin
	if b := p.hour.close(); b != nil {
		p.addPoint(*b, o)
	}
}

func (p *pair) addPoint(b block, o origin) {
	if len(p.points) >= keptPoints {
		p.points = slices.Delete(p.points, 0, len(p.points)-keptPoints+1)
	}
	x := point{block: b, origin: o}
	for i, s := range statistics {
		x.usual[i] = float32(math.NaN())
		if level, weekly, ok := (usual{points: p.points, statistic: s}).at(&x, 0, x.start); ok {
			x.usual[i], x.weekly[i] = float32(level), weekly
		}
	}
	p.points = append(p.points, x)
	p.grown = true
}

// series returns the last points that one observer saw at the load of the last.
func (p *pair) series() []point {
	if len(p.points) == 0 {
		return nil
	}
	latest := &p.points[len(p.points)-1]
	var out []point
	for i := len(p.points) - 1; i >= 0 && len(out) < thresholds.Searched; i-- {
		x := &p.points[i]
		if x.observer != latest.observer || x.start < p.since.UnixNano() {
			break
		}
		if near(&x.block, &latest.block) {
			out = append(out, *x)
		}
	}
	slices.Reverse(out)
	return out
}

// search looks for changes at a level of error for each statistic.
func (p *pair) search(level, margin float64) {
	p.grown = false
	series := p.series()
	if p.moved != nil {
		p.follow(series, margin)
		return
	}
	var found []*shift
	var clearest float64
	for _, s := range statistics {
		m, chance := p.newest(series, s, level, margin)
		if m == nil {
			continue
		}
		if len(found) == 0 || chance < clearest {
			clearest = chance
			found = slices.Insert(found, 0, m)
		} else {
			found = append(found, m)
		}
	}
	if len(found) == 0 {
		return
	}
	p.moved = found[0]
	p.moved.like = series[len(series)-1].block
	for _, m := range found {
		p.moved.worse = append(p.moved.worse, m.statistic)
	}
}

// newest returns the newest change of a statistic that lasts, that no release and no
// season explains, and that matters; and its p-value. A series with a season is searched in its
// deviations from like hours.
func (p *pair) newest(series []point, s string, level, margin float64) (*shift, float64) {
	x, at := column(series, s)
	r, deviating := deviations(series, s)
	season := seasonal(x, r)
	if season {
		x, at = r, deviating
	}
	for _, c := range slices.Backward(stats.Changes(x, stats.ChangeOptions{Level: level})) {
		if !lasting(x, c) || worseSign(s)*(c.After-c.Before) < 0 || explained(series, at[c.First], at[c.Last]) {
			continue
		}
		like, known := p.besideLikeHours(series, s, at[c.At])
		if !known {
			continue
		}
		m := newShift(s, c.Before, c.After, c.Size, c.At, len(x)-c.At)
		if season {
			m = newShift(s, like.after-like.by, like.after, c.Size, c.At, len(x)-c.At)
		}
		m.season, m.hours, m.epoch, m.chance = season, like.hours, like.epoch, c.P
		if !m.matters(margin) || !m.beyondLikeHours(like, margin) || !m.confirms(beyondDrift(x, c.At), margin) {
			continue
		}
		m.at, m.surely = series[at[c.At]].began(), series[at[c.Last]].began()
		return m, c.P
	}
	return nil, 1
}

// beyondLikeHours says whether like hours confirm a change.
func (m *shift) beyondLikeHours(like alike, margin float64) bool { return m.confirms(like.by, margin) }

// confirms says whether a difference, as blocks have it, is at least half of a change and more than the practical margin.
func (m *shift) confirms(by, margin float64) bool {
	sign := worseSign(m.statistic)
	least := math.Abs(limit(m.statistic, m.before, margin))
	size, by := sign*(m.after-m.before), sign*by
	if m.statistic != errorRatio {
		size = math.Abs(math.Log(m.after / m.before))
		least = math.Log1p(least)
	}
	return by >= least && by >= size/2
}

// beyondDrift is by how much values from an index on lie above the line that those of the week before
// rose along, in the median of two days; a line that falls, for what is above, is taken for level.
func beyondDrift(x []float64, at int) float64 {
	before, after := x[max(0, at-week):at], x[at:min(len(x), at+2*day)]
	track := stats.Track{Y: before}
	for i := range before {
		track.T = append(track.T, float64(i))
	}
	slope := stats.Slopes(track).Median()
	level := stats.Median(before)
	if rise := stats.Median(after) - level; slope*rise < 0 || math.IsNaN(slope) {
		slope = 0
	}
	middle := float64(len(before)-1) / 2
	var above []float64
	for i, v := range after {
		above = append(above, v-level-slope*(float64(len(before)+i)-middle))
	}
	return stats.Median(above)
}

// column returns a statistic of those points that have it, and which these are.
func column(series []point, s string) (x []float64, at []int) {
	for i := range series {
		if v := series[i].value(s); !math.IsNaN(v) {
			x, at = append(x, v), append(at, i)
		}
	}
	return x, at
}

// explained says whether a release changed between two points, or close to them.
func explained(series []point, first, last int) bool {
	for i := max(1, first-thresholds.ByRelease); i <= min(len(series)-1, last+thresholds.ByRelease); i++ {
		if series[i].release != series[i-1].release {
			return true
		}
	}
	return false
}

// lasting says whether a series still is at the new level of a change or further on.
func lasting(x []float64, c stats.Change) bool {
	now := stats.Median(x[max(c.At, len(x)-thresholds.LastLevel):])
	return (now < (c.Before+c.After)/2) != (c.After > c.Before)
}

// newShift returns a change between levels as blocks have them.
func newShift(s string, before, after float64, size stats.Interval, n, m int) *shift {
	out := &shift{statistic: s, before: before, after: after, in: size, points: [2]int{n, m}}
	if s != errorRatio {
		out.before, out.after = math.Exp(before), math.Exp(after)
		out.in = stats.Interval{Lower: math.Expm1(size.Lower), Upper: math.Expm1(size.Upper)}
	}
	out.now = out.after
	return out
}

// gather makes one change of what happened to a whole scenario: where one pair's
// was found, the others' at the same time need not be found among all times any more.
func (s *scenario) gather() {
	var first *shift
	for _, p := range slices.Backward(s.pairs) {
		if first == nil {
			first = p.moved
		}
	}
	if first == nil || s.extents[load.KindChange] != undecided {
		return
	}
	same := make([]*shift, len(s.pairs))
	for i, p := range s.pairs {
		if same[i] = p.moved; same[i] == nil {
			same[i] = p.changeLike(first, s.Margin)
		}
		if same[i] == nil {
			return
		}
	}
	for i, p := range s.pairs {
		p.moved = same[i]
		p.moved.at = first.at
	}
}

// changeLike returns the change of a pair at the time of another's; nil where there is none.
func (p *pair) changeLike(m *shift, margin float64) *shift {
	series := p.series()
	x, at := column(series, m.statistic)
	if m.season {
		x, at = deviations(series, m.statistic)
	}
	cut, _ := slices.BinarySearchFunc(at, m.at.UnixNano(), func(i int, t int64) int {
		return cmp.Compare(series[i].start, t)
	})
	if cut < thresholds.LastLevel || len(x)-cut < thresholds.Alike {
		return nil
	}
	like, known := p.besideLikeHours(series, m.statistic, at[cut])
	if !known {
		return nil
	}
	_, size := stats.HodgesLehmann(x[:cut], x[cut:], thresholds.Confidence)
	out := newShift(m.statistic, stats.Median(x[:cut]), stats.Median(x[cut:]), size, cut, len(x)-cut)
	if m.season {
		out = newShift(m.statistic, like.after-like.by, like.after, size, cut, len(x)-cut)
	}
	out.season, out.hours, out.epoch, out.chance = m.season, like.hours, like.epoch, m.chance
	if !out.matters(margin) || !out.beyondLikeHours(like, margin) {
		return nil
	}
	out.surely, out.worse, out.like = m.surely, []string{m.statistic}, series[len(series)-1].block
	return out
}

// matters says whether a change is proven to be for the worse, and past the practical margin.
func (m *shift) matters(margin float64) bool {
	proven := m.in.Lower > 0
	if m.statistic == rate {
		proven = m.in.Upper < 0
	}
	return proven && m.beyond(m.after, margin)
}

// beyond says whether a level is worse than before by more than the margin.
func (m *shift) beyond(level, margin float64) bool {
	allowed := limit(m.statistic, m.before, margin)
	if m.statistic == rate {
		return m.to(level) <= allowed
	}
	return m.to(level) >= allowed
}

// follow brings a change up to date, and ends it when the level of the last
// points is back inside the margin.
func (p *pair) follow(series []point, margin float64) {
	m := p.moved
	if len(series) == 0 || series[len(series)-1].observer != p.observer(m.at) {
		p.moved = nil // the two observers are not comparable
		return
	}
	if !near(&series[len(series)-1].block, &m.like) {
		return
	}
	recent := series[max(0, len(series)-thresholds.LastLevel):]
	if series[len(series)-1].start < m.at.Add(time.Duration(thresholds.UsualWeeks*week)*time.Hour).UnixNano() && p.points[0].start < m.at.UnixNano() {
		// By day and by week levels differ: hours that have no like hours before the change say nothing.
		like, known := p.compareHours(recent, m.statistic, m.epoch, m.at.UnixNano())
		if !known {
			return
		}
		m.now = m.before + like.by
		if m.statistic != errorRatio {
			m.now = m.before * math.Exp(like.by)
		}
	} else {
		x, _ := column(series[max(0, len(series)-week):], m.statistic)
		if len(x) < thresholds.LastLevel {
			return
		}
		if m.now = stats.Median(x); m.statistic != errorRatio {
			m.now = math.Exp(m.now)
		}
	}
	if !m.beyond(m.now, margin) {
		p.moved = nil
		p.since = recent[0].began()
	}
}

// observer is who measured the points at an instant.
func (p *pair) observer(at time.Time) string {
	for i := range p.points {
		if p.points[i].start >= at.UnixNano() {
			return p.points[i].observer
		}
	}
	return p.points[len(p.points)-1].observer
}

// acceptChange makes the level since an instant the one to compare with.
func (p *pair) acceptChange(since time.Time) {
	p.moved = nil
	if since.After(p.since) {
		p.since = since
	}
}
