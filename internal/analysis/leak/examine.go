package leak

import (
	"errors"
	"math"
	"slices"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/stats"
)

const (
	day = 86400.0

	mostBlocks    = 64
	leastBlocks   = 10  // after the warm-up: fewer prove nothing
	leastReadings = 40  // whatever there is to see
	leastCycles   = 12  // of a sawtooth
	cyclesInBlock = 2.5 // so that each block has seen a floor
	leastOfLife   = 4   // blocks of a lifetime that is to count

	warmUp        = 0.25 // of a lifetime's beginning that does not count
	warmUpSeveral = 0.30 // of each of several

	swingShare = 0.25 // of the range, which a drop must exceed to end a cycle
	sawtooth   = 0.03 // of the level, below which swings are not waited for
	drowned    = 8    // growth over swings, from which on they are not waited for either

	practical  = 0.03 // growth of the floor that matters, over half a day or more
	fullSpan   = 2 * day
	leastBytes = 1 << 20
	leastCount = 3

	varies     = 0.05 // of the load's mean: it is accounted for
	variesMuch = 0.20 // the number of requests may be the better clock
	clearer    = 0.9  // of the noise that must be left for that
	dailyNoise = 0.7  // of the noise, at most left by a day's course that is there
	wholeDays  = 1.4  // days past the warm-up from which on there may be a day's course
	knownDays  = 3    // and until which it may be a few steps just as well
	alongTime  = 10   // inflation from which on load and time are not told apart
)

// A lack says what an examination did not have enough of.
type lack uint8

const (
	enough   lack = iota
	readings      // too few, or too short a time
	cycles        // too few
	blocks        // too few beside the warm-up
	contrast      // load rose along with time
)

// An examination is what the floor over a stretch of time has to say.
type examination struct {
	lack lack
	from float64 // seconds
	span float64 // seconds that count, over all lifetimes

	readings, blocks, cycles, lives int
	cycle, block                    float64 // seconds; cycle is 0 without a sawtooth
	swing                           float64 // of the sawtooth

	trend      stats.Trend // per second
	perRequest stats.Trend
	requests   bool    // perRequest is there
	rate       float64 // requests per second of the time that counts
	clocked    bool    // growth follows requests rather than time
	daily      bool    // and a day's course beside

	floor, peak float64 // now
	growth      float64 // relative to the level where it began
	upper       float64 // of growth
	late        float64 // the same by the later half
	absolute    float64 // growth over the span, in the resource's unit
}

// A stretch is part of one lifetime.
type stretch struct {
	points []point
	fresh  bool // it has the lifetime's beginning, and so a warm-up
}

// examine looks at stretches, of which no more than the last one goes on.
func examine(stretches []stretch, count int, t *traffic) examination {
	var x examination
	x.readings = count
	stretches = slices.DeleteFunc(slices.Clone(stretches), func(s stretch) bool { return len(s.points) < leastPoints })
	total := 0.0
	for _, s := range stretches {
		total += s.points[len(s.points)-1].at - s.points[0].at
	}
	if count < leastReadings || len(stretches) == 0 || total <= 0 {
		x.lack = readings
		return x
	}
	x.from = stretches[0].points[0].at
	x.findCycles(stretches, total)
	if x.cycle > 0 && x.cycles < leastCycles {
		x.lack = cycles
		return x
	}
	lives := x.cutBlocks(stretches, total)
	if x.blocks < leastBlocks {
		x.lack = blocks
		return x
	}
	x.findTrend(lives, t)
	last := stretches[len(stretches)-1].points
	x.floor, x.peak = math.Inf(1), math.Inf(-1)
	for i := len(last) - 1; i >= 0 && (last[i].at >= last[len(last)-1].at-x.block || i == len(last)-1); i-- {
		x.floor, x.peak = min(x.floor, last[i].low), max(x.peak, last[i].high)
	}
	return x
}

// findCycles counts the swings of the floor about its line.
func (x *examination) findCycles(stretches []stretch, total float64) {
	var off [][]float64
	var all []float64
	growth, level := 0.0, math.Inf(1)
	for _, s := range stretches {
		slope := stats.Slopes(sparse(s.points)).Median()
		own := make([]float64, len(s.points))
		for i, p := range s.points {
			own[i] = p.low - slope*(p.at-s.points[0].at)
			level = min(level, math.Abs(p.low))
		}
		growth = max(growth, slope*(s.points[len(s.points)-1].at-s.points[0].at))
		off = append(off, own)
		all = append(all, own...)
	}
	slices.Sort(all)
	cut := len(all) / 50
	x.swing = all[len(all)-1-cut] - all[cut]
	if x.swing <= max(sawtooth*level, growth/drowned) {
		return
	}
	for _, own := range off {
		x.cycles += swings(own, swingShare*x.swing)
	}
	x.cycle = total / float64(max(1, x.cycles))
}

// sparse takes few of the points: enough for a line to be taken out.
func sparse(p []point) stats.Track {
	var t stats.Track
	step := float64(len(p)) / float64(min(len(p), 24))
	for i := 0.0; int(i) < len(p); i += step {
		t.T, t.Y = append(t.T, p[int(i)].at), append(t.Y, p[int(i)].low)
	}
	return t
}

// swings counts the falls of x by more than least that a rise by as much came before.
func swings(x []float64, least float64) int {
	n, low, high, up := 0, x[0], x[0], false
	for _, v := range x {
		if up {
			high = max(high, v)
			if high-v > least {
				n++
				low, up = v, false
			}
			continue
		}
		low = min(low, v)
		if v-low > least {
			high, up = v, true
		}
	}
	return n
}

// A floor is the lowest level of a block of time.
type floor struct{ from, to, at, low float64 }

// cutBlocks takes the floors of what is past the warm-up.
func (x *examination) cutBlocks(stretches []stretch, total float64) [][]floor {
	x.block = max(total/mostBlocks, cyclesInBlock*x.cycle)
	skip := warmUp
	if len(stretches) > 1 {
		skip = warmUpSeveral
	}
	var out [][]floor
	for _, s := range stretches {
		p := s.points
		begin, end := p[0].at, p[len(p)-1].at
		if s.fresh {
			begin += skip * (end - begin)
		}
		n := int(math.Floor((end - begin) / x.block * (1 + 1e-9)))
		if n < leastOfLife {
			continue
		}
		length := (end - begin) / float64(n)
		own := make([]floor, 0, n)
		for _, q := range p {
			if q.at < begin {
				continue
			}
			i := min(n-1, int((q.at-begin)/length))
			from := begin + float64(i)*length
			if k := len(own); k > 0 && own[k-1].from == from {
				if q.low < own[k-1].low {
					own[k-1].at, own[k-1].low = q.at, q.low
				}
				continue
			}
			own = append(own, floor{from, from + length, q.at, q.low})
		}
		if len(own) < leastOfLife {
			continue
		}
		x.blocks += len(own)
		x.span += end - begin
		x.lives++
		out = append(out, own)
	}
	return out
}

func (x *examination) findTrend(lives [][]floor, t *traffic) {
	byTime, byRequests := make([]stats.Track, len(lives)), make([]stats.Track, len(lives))
	var loads []float64
	angles := [4][]float64{}
	spent, lasted := 0.0, 0.0
	for i, life := range lives {
		for _, f := range life {
			byTime[i].T, byTime[i].Y = append(byTime[i].T, f.at), append(byTime[i].Y, f.low)
			byRequests[i].T = append(byRequests[i].T, t.at(f.at))
			loads = append(loads, t.rate(f.from, f.to))
			turn := 2 * math.Pi * f.at / day
			for j, v := range [4]float64{math.Sin(turn), math.Cos(turn), math.Sin(2 * turn), math.Cos(2 * turn)} {
				angles[j] = append(angles[j], v)
			}
		}
		byRequests[i].Y = byTime[i].Y
		first, last := life[0].at, life[len(life)-1].at
		spent, lasted = spent+t.at(last)-t.at(first), lasted+last-first
	}
	x.rate = spent / lasted
	mean, sd := stats.Mean(loads), math.Sqrt(stats.Variance(loads))
	var covariates [][]float64
	if sd > varies*mean {
		covariates = append(covariates, loads)
	}
	var ok bool
	if x.trend, ok = fit(byTime, covariates); !ok {
		x.lack = contrast
		return
	}
	clock := byTime
	if spent > 0 {
		x.perRequest, x.requests = fit(byRequests, covariates)
		// Load that came late leaves few points that requests tell apart.
		x.requests = x.requests && !math.IsInf(x.perRequest.In.Width(), 0) && !math.IsNaN(x.perRequest.Slope)
		if x.requests && sd > variesMuch*mean && x.perRequest.Noise < clearer*x.trend.Noise {
			x.clocked = true
			x.trend, clock = x.perRequest, byRequests
		}
	}
	if x.span >= wholeDays*day {
		if both, fine := fit(clock, append(covariates, angles[:]...)); fine && both.Noise < dailyNoise*x.trend.Noise {
			x.daily = true
			if x.span < knownDays*day {
				both.Shape, both.Steps = max(both.Shape, x.trend.Shape), x.trend.Steps
			}
			x.trend = both
		}
	}
	if x.clocked {
		x.perRequest = x.trend
		x.trend = perSecond(x.trend, x.rate)
	}
	x.absolute = x.trend.Slope * x.span
	level := max(math.Abs(x.trend.Level), 1)
	x.growth = x.absolute / level
	x.upper = x.trend.In.Upper * x.span / level
	x.late = x.trend.LateIn.Upper * x.span / level
}

// fit finds the trend of tracks beside covariates; ok is false where it cannot be told from them.
func fit(tracks []stats.Track, covariates [][]float64) (trend stats.Trend, ok bool) {
	if len(covariates) == 0 {
		return stats.FindTrend(tracks, 1), true
	}
	rest, inflation, err := stats.WithoutCovariates(tracks, covariates...)
	if errors.Is(err, stats.ErrRank) && len(covariates) > 1 {
		rest, inflation, err = stats.WithoutCovariates(tracks, covariates[0])
	}
	if err != nil || inflation > alongTime {
		return stats.Trend{}, false
	}
	return stats.FindTrend(rest, inflation), true
}

// perSecond turns growth per request into growth per second.
func perSecond(t stats.Trend, rate float64) stats.Trend {
	t.Slope, t.Late = t.Slope*rate, t.Late*rate
	t.In = stats.Interval{Lower: t.In.Lower * rate, Upper: t.In.Upper * rate}
	t.LateIn = stats.Interval{Lower: t.LateIn.Lower * rate, Upper: t.LateIn.Upper * rate}
	return t
}

// matters returns the growth that matters over a span: what rises for a short
// while may be a warm-up, a cache or the morning, and must rise by more, though
// twice the level is always enough.
func matters(span float64) float64 {
	return min(1, practical*math.Pow(max(1, fullSpan*(1-warmUp)/span), 2))
}

// verdict judges at a level of significance.
func (x *examination) verdict(kind string, alpha float64) load.Verdict {
	if x.lack != enough {
		return load.Inconclusive
	}
	least := leastCount
	if kind == load.ResourceMemory {
		least = leastBytes
	}
	if x.trend.Grows(alpha) && x.growth > matters(x.span) && x.absolute >= float64(least) {
		return load.Fail
	}
	if x.upper < practical || !x.trend.Grows(0.05) && x.late < practical {
		return load.Pass
	}
	return load.Inconclusive
}
