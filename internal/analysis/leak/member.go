package leak

import (
	"math"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/stats"
)

const (
	mostPoints  = 2048 // of the lifetime that is under way: 48 KiB
	mostMarks   = 4096
	thinned     = 512 // points of a lifetime that is over
	mostEarlier = 7   // lifetimes that are over and of the same release
	mostMembers = 128 // of one resource
	minPoints   = 8   // before there is a floor to fall from
)

// A reading is one sample, in seconds.
type reading struct {
	at, length, low, high float64
	readings              int
}

// A member is one process or instance of a target with one resource.
type member struct {
	resource *resource
	name     string

	life    series
	earlier []series // of the same release, oldest first

	last     reading
	lowest   float64 // of the lifetime
	restarts int
	swing    float64   // mean difference between readings
	low      []reading // that may be the first ones after a restart

	judgement judgement
}

// add takes a reading. It returns when the process restarted, if that is when this reading proves it.
func (m *member) add(r reading, t *traffic) (restarted float64, ok bool) {
	floor := m.recentFloor()
	below := floor-r.high > max(Defaults.RestartShare*math.Abs(floor), Defaults.RestartNoise*m.swing)
	m.low = append(m.low, r)
	if below && len(m.low) < Defaults.RestartReadings {
		return 0, false
	}
	ok = below && !t.fell(m.last.at, r.at) && !m.collects()
	restarted = m.low[0].at
	for _, l := range m.low {
		m.keep(l)
	}
	m.low = m.low[:0]
	return restarted, ok
}

// collects says whether a fall may be the first collection that is seen of a
// lifetime: memory rose until now, and has not been collected before.
func (m *member) collects() bool {
	if m.resource.Kind != load.ResourceMemory {
		return false
	}
	p := m.life.points
	if len(findCollections(p, &Defaults).at) > 0 {
		return false
	}
	t := sparse(p)
	return stats.MannKendall(t.Y).Rising() < 0.01
}

func (m *member) keep(r reading) {
	if m.life.readings > 0 {
		m.swing += (math.Abs(r.low-m.last.low) - m.swing) / 32
	}
	m.lowest = min(m.lowest, r.low)
	if m.life.readings == 0 {
		m.lowest = r.low
	}
	m.last = r
	m.life.add(r.at, r.length, r.low, r.high, r.readings)
}

// restart ends the lifetime that was under way; what was read from an instant on is of the next one.
func (m *member) restart(at float64) {
	next := series{}
	for _, p := range m.life.between(at, math.Inf(1)) {
		next.add(p.at, 0, p.low, p.high, 1)
	}
	m.life.readings -= next.readings
	m.life.points = m.life.between(math.Inf(-1), math.Nextafter(at, 0))
	m.life.thin(thinned)
	if len(m.life.points) >= minPoints {
		m.earlier = append(m.earlier, m.life)
	}
	if len(m.earlier) > mostEarlier {
		m.earlier = m.earlier[1:]
	}
	m.life = next
	m.lowest = math.Inf(1)
	for _, p := range next.points {
		m.lowest = min(m.lowest, p.low)
	}
	m.restarts++
	m.judgement.due = 0
}

// forget begins anew: another release is another program.
func (m *member) forget() {
	*m = member{resource: m.resource, name: m.name}
}

// recentFloor is the level that a drop must pass to be a restart, -Inf while
// there is none. Memory falls when it is collected: only a level below that of the whole
// lifetime is another process. Counts have no such cycles: a level below that of late will do.
func (m *member) recentFloor() float64 {
	p := m.life.points
	if len(p) < minPoints {
		return math.Inf(-1)
	}
	if m.resource.Kind == load.ResourceMemory {
		return m.lowest
	}
	floor := math.Inf(1)
	for _, q := range p[max(0, len(p)-Defaults.RestartPoints):] {
		floor = min(floor, q.low)
	}
	return floor
}

// readingOf returns what a sample says; ok is false where it says nothing.
func readingOf(s load.Sample) (r reading, ok bool) {
	from, to := seconds(s.Start), seconds(s.End)
	ok = to >= from
	for _, v := range []float64{s.Min, s.Max} {
		ok = ok && !math.IsNaN(v) && !math.IsInf(v, 0)
	}
	return reading{at: (from + to) / 2, length: to - from, low: s.Min, high: s.Max, readings: max(1, s.Count)}, ok
}
