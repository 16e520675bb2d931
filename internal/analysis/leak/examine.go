package leak

import (
	"math"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/stats"
)

const day = 86400.0

// A lack says what an examination did not have enough of.
type lack uint8

const (
	enough   lack = iota
	readings      // too few, or too short a time
	cycles        // too few collections
	blocks        // too few floors beside the warm-up
	contrast      // load rose or fell along with time
)

// An examination is what the floors over a window of time say.
type examination struct {
	lack  lack
	from  float64 // seconds
	span  float64 // seconds of all lifetimes, without their warm-ups
	seen  float64 // seconds of all lifetimes, warm-ups included
	fresh bool    // a lifetime's beginning is among it

	readings, blocks, cycles, lives int
	cycle, block                    float64 // seconds; cycle is 0 without collections
	swing                           float64 // of the collections

	trend      trend // per second
	perRequest trend
	requests   bool    // perRequest is there
	rate       float64 // requests per second of the window
	clocked    bool    // growth follows requests rather than time
	loadPart   float64 // largest part of a floor that is taken out for load

	start, floor, peak float64 // level where the line begins; floor and peak at the end
	growth             float64 // of the line over the window, relative to start
	absolute           float64 // the same in the resource's unit
	upper              float64 // of growth

	working working
}

// minLife is the number of floors of one of several lifetimes that is to count.
const minLife = 4

// examine looks at the windows of lifetimes, of which only the last goes on.
func examine(windows []stretch, count int, t *traffic, th *Thresholds) examination {
	x := examination{readings: count}
	total, used := 0.0, windows[:0:0]
	single := windows[len(windows)-1]
	for _, s := range windows {
		x.seen += s.span()
		x.fresh = x.fresh || s.fresh
		if len(s.points) < minLife {
			continue
		}
		if s.fresh {
			skip := th.WarmUp
			if len(windows) > 1 {
				skip = th.WarmUpShort
			}
			s = s.after(s.points[0].at + skip*s.span())
		}
		if len(s.points) >= minLife && s.span() > 0 {
			used = append(used, s)
			total += s.span()
		}
	}
	if len(used) == 0 || count < th.MinReadings {
		x.lack = readings
		return x
	}
	x.from = used[0].points[0].at
	last := used[len(used)-1]
	for _, s := range used {
		if len(s.falls.at) >= x.cycles {
			x.cycles, x.cycle, x.swing = len(s.falls.at), s.falls.length, s.falls.swing
		}
	}
	if len(used) > 1 && x.cycles < 3 { // the falls of several lifetimes are not always collections
		x.cycles, x.cycle, x.swing = 0, 0, 0
	}
	lives := x.cutFloors(used, single, total, th)
	if x.lack != enough {
		return x
	}
	if x.blocks < th.MinBlocks && x.cycle == 0 || x.blocks < min(th.MinBlocks, th.MinCycles-1) {
		x.lack = blocks
		return x
	}
	x.findTrend(lives, t, th)
	end := last.points[len(last.points)-1]
	x.floor, x.peak = end.low, end.high
	for i := len(last.points) - 1; i >= 0 && last.points[i].at >= end.at-max(x.block, x.cycle); i-- {
		x.floor, x.peak = min(x.floor, last.points[i].low), max(x.peak, last.points[i].high)
	}
	return x
}

// cutFloors takes the floors of each window: over blocks that see several
// collections, or between collections where they are too slow for that. The first
// collection ends the warm-up of the single lifetime then.
func (x *examination) cutFloors(used []stretch, single stretch, total float64, th *Thresholds) [][]floor {
	points := 0
	for _, s := range used {
		points += len(s.points)
	}
	wanted := min(float64(th.MaxBlocks), max(2*float64(th.MinBlocks), float64(points)/th.BlockReadings))
	x.block = max(total/wanted, th.CyclesPerBlock*x.cycle)
	slow := x.cycle > 0 && total/x.block < 1.5*float64(th.MinBlocks)
	if slow && len(used) == 1 && len(single.falls.at) >= th.MinCycles {
		own := single.troughs()
		x.block, x.blocks, x.lives, x.cycles = x.cycle, len(own), 1, len(own)
		x.from, x.span = own[0].from, own[len(own)-1].to-own[0].from
		return [][]floor{own}
	}
	if slow && len(used) == 1 {
		x.block = total / wanted
		first, end := used[0].points[0].low, used[0].points[len(used[0].points)-1].low
		if end-first < th.AboveSwing*x.swing {
			x.lack = cycles
			return nil
		}
	}
	var out [][]floor
	for _, s := range used {
		var own []floor
		if n := int(math.Floor(s.span() / x.block * (1 + 1e-9))); n < minLife {
			own = s.troughs()
		} else {
			own = s.blocks(n)
		}
		if len(own) < minLife {
			continue
		}
		x.blocks += len(own)
		x.span += s.span()
		x.lives++
		out = append(out, own)
	}
	return out
}

func (x *examination) findTrend(lives [][]floor, t *traffic, th *Thresholds) {
	byTime, byRequests := make([]stats.Track, len(lives)), make([]stats.Track, len(lives))
	var loads []float64
	spent, lasted := 0.0, 0.0
	for i, life := range lives {
		for _, f := range life {
			byTime[i].T, byTime[i].Y = append(byTime[i].T, f.at), append(byTime[i].Y, f.low)
			byRequests[i].T = append(byRequests[i].T, t.at(f.at))
			loads = append(loads, t.rate(f.from, f.to))
		}
		x.working.floors = append(x.working.floors, life...)
		byRequests[i].Y = byTime[i].Y
		first, last := life[0].at, life[len(life)-1].at
		spent, lasted = spent+t.at(last)-t.at(first), lasted+last-first
	}
	x.working.loads = loads
	x.rate = spent / lasted
	mean, sd := stats.Mean(loads), math.Sqrt(stats.Variance(loads))
	rest, inflation := byTime, 1.0
	if sd > th.LoadVaries*mean {
		var err error
		rest, inflation, err = stats.WithoutCovariates(byTime, loads)
		if err != nil || inflation > th.MaxInflation {
			x.lack = contrast
			return
		}
		for i, r := range rest {
			for j := range r.Y {
				x.loadPart = max(x.loadPart, math.Abs(r.Y[j]-byTime[i].Y[j]))
			}
		}
	}
	for _, r := range rest {
		x.working.without = append(x.working.without, r.Y...)
	}
	x.trend = findTrend(rest, inflation, th)
	if spent > 0 {
		for i := range byRequests {
			byRequests[i].Y = rest[i].Y
		}
		x.perRequest = findTrend(byRequests, inflation, th)
		// Load that came late leaves few floors that requests tell apart.
		x.requests = !math.IsInf(x.perRequest.in.Width(), 0) && !math.IsNaN(x.perRequest.slope)
		if x.requests && sd > th.ClockLoad*mean && x.perRequest.noise < th.ClockNoise*x.trend.noise {
			x.clocked = true
			x.trend = x.perRequest.perSecond(x.rate)
		}
	}
	x.start = x.trend.level
	x.absolute = x.trend.slope * x.span / float64(x.lives)
	level := max(math.Abs(x.start), 1)
	x.growth = x.absolute / level
	x.upper = x.trend.in.Upper * x.span / float64(x.lives) / level
}

// patient says whether a line has been seen for long enough to be taken at its word.
func (x *examination) patient(th *Thresholds) bool {
	if x.fresh {
		return x.seen >= th.Patience*nearly
	}
	return x.span >= (1-th.WarmUp)*th.Patience*nearly
}

// nearly allows for the readings at both ends of a window.
const nearly = 0.98

// end returns the level where the line ends.
func (x *examination) end() float64 { return x.start + x.absolute }

// perSecond turns growth per request into growth per second.
func (t trend) perSecond(rate float64) trend {
	t.slope, t.late, t.span = t.slope*rate, t.late*rate, t.span/rate
	t.in = stats.Interval{Lower: t.in.Lower * rate, Upper: t.in.Upper * rate}
	return t
}

// An objection is why a rise is not taken for a leak.
type objection uint8

const (
	none        objection = iota
	chance                // it may be noise
	small                 // it is too little to matter, for the time it has been seen
	fading                // the later half rises less
	settles               // it is what a lifetime's curve towards a level makes of it
	slowing               // more and more slowly
	stepped               // in a few steps
	withinPast            // the level has been as high before
	uncollected           // it has not been collected since
)

// objects says what speaks against a leak at a level of significance.
func (x *examination) objects(r *Resource, th *Thresholds) objection {
	t := &x.trend
	least := th.MinCount
	if r.Kind == load.ResourceMemory {
		least = th.MinBytes
	}
	lateP, lateSlope := th.LateP, th.LateSlope
	if x.lives > 1 {
		lateSlope = th.LateSlopeShort
	}
	if t.points < 12 || x.lives > 1 {
		lateP = th.LatePFew
	}
	switch {
	case t.slope <= 0 || t.p >= th.Alpha:
		return chance
	case x.absolute < least || !x.matters(r, th):
		return small
	case t.steps > 0 && (t.steps < maxSteps || t.late < th.StairSlope*t.slope):
		return stepped
	case t.bend < th.Bend, t.bend < th.BendEarly && (x.lives > 1 || !x.patient(th)):
		return slowing
	case t.flat, t.late < lateSlope*t.slope, t.lateP >= lateP:
		return fading
	}
	return none
}

// matters says whether growth is enough for the time it has been seen, or leads
// to the limit soon.
func (x *examination) matters(r *Resource, th *Thresholds) bool {
	patient := x.patient(th)
	much := th.SteepCount
	if r.Kind == load.ResourceMemory {
		much = th.SteepBytes
	}
	if x.growth > th.Steep && (patient || x.absolute >= much) && x.lives == 1 && x.trend.in.Lower*x.span > th.Steep/2*math.Abs(x.start) {
		return true
	}
	if r.Limit > 0 {
		left := (r.Limit - x.peak) / x.trend.slope
		if left < th.LimitWithin && (patient || left < x.seen) {
			return true
		}
	}
	return patient && x.growth > th.Growth
}
