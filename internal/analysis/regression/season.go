package regression

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/perfd/perfd/internal/stats"
)

// The hours of a day and of a week.
const (
	day  = 24
	week = 7 * day
)

// hour is the number of the hour since 1970 in which a block began, to the nearest one.
func (b *block) hour() int64 { return (b.start + int64(30*time.Minute)) / int64(time.Hour) }

// hourOfWeek counts hours of a week in UTC from its Monday's midnight: 1970 began on a Thursday.
func hourOfWeek(hour int64) int64 { return (hour + 3*day) % week }

// weekend says whether an hour of the week belongs to Saturday or Sunday.
func weekend(ofWeek int64) bool { return ofWeek >= 5*day }

// midweek says whether an hour of the week is one of a working day in every time zone
// and in every custom of weekends: Monday noon to Thursday evening, in UTC.
func midweek(ofWeek int64) bool { return ofWeek >= 12 && ofWeek < 3*day+18 }

// A usual finds the like hours of the points of a pair: the same hour of the week in the weeks
// before, and the same hour of earlier days of its type.
type usual struct {
	points    []point
	statistic string
	// worst takes the worse of like hours, so that one that was as bad is no reason to
	// call another; without it the median of them counts.
	worst bool
	// loose takes a single earlier day of its type for enough.
	loose bool
	// daily leaves weeks out.
	daily bool
}

// at returns the level of like hours of a point that began at or after from and before another
// instant, in nanoseconds, and whether hours of the week are among them. Weeks know every season; days must be
// two, or one of which no custom makes a weekend.
func (u usual) at(x *point, from, before int64) (level float64, weekly, ok bool) {
	hour := x.hour()
	sign := worseSign(u.statistic)
	find := func(hour int64) (float64, bool) {
		i, found := slices.BinarySearchFunc(u.points, hour, func(p point, h int64) int { return cmp.Compare(p.hour(), h) })
		if !found {
			return 0, false
		}
		p := &u.points[i]
		if p.start < from || p.start >= before || p.observer != x.observer || !near(&p.block, &x.block) {
			return 0, false
		}
		v := sign * p.value(u.statistic)
		return v, !math.IsNaN(v)
	}
	var weeks, days []float64
	for k := int64(1); k <= int64(thresholds.UsualWeeks) && !u.daily; k++ {
		if v, found := find(hour - k*week); found {
			weeks = append(weeks, v)
		}
	}
	midweekDay := false
	if len(weeks) == 0 || u.worst {
		of := hourOfWeek(hour)
		for k := int64(1); k < 14 && len(days) < thresholds.UsualDays; k++ {
			other := hourOfWeek(hour - k*day)
			if weekend(other) != weekend(of) {
				continue
			}
			if v, found := find(hour - k*day); found {
				days = append(days, v)
				midweekDay = midweekDay || midweek(of) && midweek(other)
			}
		}
	}
	if len(days) == 1 && !midweekDay && !u.loose {
		days = nil
	}
	weekly = len(weeks) > 0
	switch {
	case !weekly && len(days) == 0:
		return 0, false, false
	case !u.worst && weekly:
		level = stats.Median(weeks)
	case !u.worst:
		level = stats.Median(days)
	case len(days) == 0:
		level = upperMedian(weeks)
	case !weekly:
		level = upperMedian(days)
	default:
		level = max(upperMedian(weeks), upperMedian(days))
	}
	return sign * level, weekly, true
}

// upperMedian is the median, the larger of two in the middle.
func upperMedian(x []float64) float64 {
	slices.Sort(x)
	return x[len(x)/2]
}

// worseSign is 1 for a statistic that is worse when it rises, -1 for one that is worse when it falls.
func worseSign(statistic string) float64 {
	if statistic == rate {
		return -1
	}
	return 1
}

// deviations returns what a statistic deviates by from like hours in those points that
// have both, and which these are: from hours of the week once there are Season such
// points, from hours of the day before. The two are not mixed, because a drift makes them differ.
func deviations(series []point, statistic string) (r []float64, at []int) {
	column := slices.Index(statistics[:], statistic)
	var byWeek, byDay []int
	for i := range series {
		switch x := &series[i]; {
		case math.IsNaN(x.value(statistic) - float64(x.usual[column])):
		case x.weekly[column]:
			byWeek = append(byWeek, i)
		default:
			byDay = append(byDay, i)
		}
	}
	if at = byDay; len(byWeek) >= thresholds.Season {
		at = byWeek
	}
	for _, i := range at {
		r = append(r, series[i].value(statistic)-float64(series[i].usual[column]))
	}
	return r, at
}

// seasonal says whether a series has a season: whether deviations from like hours are smaller
// than those from the median.
func seasonal(x, deviations []float64) bool {
	return len(deviations) >= thresholds.Season && spread(deviations) < thresholds.SeasonShare*spread(x)
}

// spread is the mean absolute deviation from the median.
func spread(x []float64) float64 {
	m, sum := stats.Median(x), 0.0
	for _, v := range x {
		sum += math.Abs(v - m)
	}
	return sum / float64(len(x))
}

// An alike is a statistic since an instant beside like hours before it.
type alike struct {
	before, after float64 // medians, as blocks have them
	by            float64 // by how much it is higher since: no more than like hours prove
	hours         int     // that have like hours
	epoch         int64   // since when like hours count, in ns; 0 for all
}

// besideLikeHours compares the points of a series from an index on with like hours
// before it, first with those since an instant at which another level began: a release, or what was accepted.
// Where these have no like hours, levels before that instant count, and then only by how much more than just before
// the change the series deviates from them.
func (p *pair) besideLikeHours(series []point, statistic string, from int) (a alike, known bool) {
	since := max(0, p.since.UnixNano()) // the zero time is before 1970
	for i := from - 1; i > 0; i-- {
		if series[i].release != series[i-1].release {
			since = max(since, series[i].start)
			break
		}
	}
	change := series[from].start
	if a, known = p.compareHours(series[from:], statistic, since, change); known || since <= 0 {
		return a, known
	}
	if a, known = p.compareHours(series[from:], statistic, 0, change); !known {
		return a, false
	}
	u := usual{points: p.points, statistic: statistic, worst: true}
	var before []float64
	for i := range series[max(0, from-thresholds.BesideChange):from] {
		x := &series[max(0, from-thresholds.BesideChange)+i]
		if level, _, ok := u.at(x, 0, x.start); ok {
			if v := x.value(statistic); !math.IsNaN(v) {
				before = append(before, v-level)
			}
		}
	}
	if len(before) > 0 {
		already := stats.Median(before)
		if sign := worseSign(statistic); sign*already > 0 {
			a.by -= already
			a.before += already
		}
	}
	return a, true
}

// compareHours compares points with like hours from one instant to another.
func (p *pair) compareHours(list []point, statistic string, from, before int64) (a alike, known bool) {
	u := usual{points: p.points, statistic: statistic, worst: true}
	var is, was, by []float64
	for i := range list {
		v := list[i].value(statistic)
		if math.IsNaN(v) {
			continue
		}
		if level, _, ok := u.at(&list[i], from, before); ok {
			is, was, by = append(is, v), append(was, level), append(by, v-level)
		}
	}
	if len(by) < thresholds.Alike {
		return alike{}, false
	}
	return alike{stats.Median(was), stats.Median(is), stats.Median(by), len(by), from}, true
}
