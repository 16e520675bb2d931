package leak

import (
	"math"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/stats"
)

// fallsToAnother returns when the current lifetime ended though its level has
// been as low before. Level alone shows that in two ways: the floors under quick
// collections fall by a share, or each fall comes from the limit.
func (m *member) fallsToAnother(t *traffic) (at float64, ok bool) {
	s := stretch{points: m.life.points}
	if m.resource.Kind != load.ResourceMemory || len(s.points) < Defaults.RestartPoints {
		return 0, false
	}
	s.falls = findCollections(s.points, &Defaults)
	if at, ok := m.fallsFromLimit(s); ok {
		return at, true
	}
	return s.floorsFall(t)
}

// fallsFromLimit returns the first fall where all of them begin near the limit
// and they are too few and too rare for a collector that runs there.
func (m *member) fallsFromLimit(s stretch) (at float64, ok bool) {
	if k := len(s.falls.at); m.resource.Limit <= 0 || k == 0 || k >= Defaults.MinCycles || s.span() < Defaults.Patience {
		return 0, false
	}
	i := 0
	for _, fall := range s.falls.at {
		top := math.Inf(-1)
		for ; i < len(s.points) && s.points[i].at < fall; i++ {
			if s.points[i].at >= fall-3*s.falls.length/16 {
				top = max(top, s.points[i].high)
			}
		}
		if top < Defaults.NearLimit*m.resource.Limit {
			return 0, false
		}
	}
	return s.falls.at[0], true
}

// floorsFall returns when the floors under many quick collections fall by a share
// and stay there, though the load does not. Without such collections the fall may itself be one.
func (s stretch) floorsFall(t *traffic) (at float64, ok bool) {
	cycle, ok := s.quickCycle()
	if !ok {
		return 0, false
	}
	n := int(s.span() / max(Defaults.CyclesPerBlock*cycle, s.span()*Defaults.BlockReadings/float64(len(s.points))))
	if n < Defaults.RecentFloors+Defaults.LowFloors {
		return 0, false
	}
	floors := s.blocks(n)
	for i := Defaults.RecentFloors; i+Defaults.LowFloors <= len(floors); i++ {
		recent := math.Inf(1)
		for _, f := range floors[i-Defaults.RecentFloors : i] {
			recent = min(recent, f.low)
		}
		low := math.Inf(-1)
		for _, f := range floors[i : i+Defaults.LowFloors] {
			low = max(low, f.low)
		}
		before, after := floors[i-Defaults.RecentFloors], floors[i]
		if low >= (1-Defaults.RestartShare)*recent || t.rate(after.from, after.to) < (1-Defaults.RestartShare/2)*t.rate(before.from, before.to) {
			continue
		}
		// The fall is where a reading is as low as no floor before.
		for _, q := range s.points {
			if q.at >= floors[i-1].from && q.low < (1-Defaults.RestartShare)*recent {
				return q.at, true
			}
		}
	}
	return 0, false
}

// quickCycle returns the length of quick collections, found in parts of a
// lifetime so that growth and falls of other causes do not hide them.
func (s stretch) quickCycle() (seconds float64, ok bool) {
	size := max(Defaults.QuickPart, len(s.points)/Defaults.QuickParts)
	falls, within := 0, []float64{}
	for i := 0; i+size <= len(s.points); i += size {
		part := s.points[i : i+size]
		falls += len(findCollections(part, &Defaults).at)
		for j := 0; j+int(Defaults.BlockReadings) <= size; j += int(Defaults.BlockReadings) {
			fall, high := 0.0, math.Inf(-1)
			for _, q := range part[j : j+int(Defaults.BlockReadings)] {
				high = max(high, q.low)
				fall = max(fall, high-q.low)
			}
			within = append(within, fall/max(1, math.Abs(high)))
		}
	}
	switch {
	case falls >= Defaults.QuickCollections:
		return s.span() / float64(falls), true
	case stats.Median(within) > Defaults.QuickFall:
		return 0, true
	}
	return 0, false
}
