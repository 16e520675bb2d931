package pace

import (
	"cmp"
	"errors"
	"math/bits"
	"slices"
	"time"

	"github.com/perfd/perfd/internal/block"
)

// A profile is a level over time: the first pass through the stages, then laps.
type profile struct {
	scale  uint64 // units of a segment's level that make a level of 1
	first  section
	lap    section // no segments where nothing repeats
	end    time.Duration
	stages int
}

// newProfile lays out stages in time, and then laps that repeat some of them.
// Without stages the level stays that of the start. The end is that of the whole.
func newProfile(start Target, stages []Stage, repeat *Repeat, end End) (*profile, error) {
	var rates []block.Rate
	for _, t := range append([]Target{start}, targets(stages)...) {
		if t.Rate != nil {
			rates = append(rates, *t.Rate)
		}
	}
	fine, err := scaleOf(rates...)
	if err != nil {
		return nil, err
	}
	units := func(t Target) uint64 {
		if t.Rate != nil {
			return fine.level(*t.Rate)
		}
		return uint64(*t.VUs)
	}
	level := units(start)
	p := &profile{scale: uint64(fine), end: Forever, stages: max(1, len(stages))}
	if end.Time > 0 {
		p.end = end.Time
	}
	if stages == nil {
		p.first.add(0, p.end, level, level)
	}
	for i, s := range stages {
		p.first.add(i, s.Duration.D(), level, units(s.Target))
		level = units(s.Target)
	}
	if repeat != nil {
		for i, s := range stages[repeat.From:] {
			p.lap.add(repeat.From+i, s.Duration.D(), level, units(s.Target))
			level = units(s.Target)
		}
	}
	if p.first.length == 0 {
		return nil, errors.New("a workload without length")
	}
	return p, nil
}

func targets(stages []Stage) []Target {
	out := make([]Target, len(stages))
	for i, s := range stages {
		out[i] = s.Target
	}
	return out
}

// End is the end of the last stage or lap.
func (p *profile) End() End {
	if p.end == Forever {
		return End{}
	}
	return End{Time: p.end}
}

// A section is a row of segments without a gap between them.
type section struct {
	segments []segment
	length   time.Duration
	area     uint128
}

// add appends a stage; one of length 0 is a jump and leaves no segment.
func (s *section) add(stage int, length time.Duration, from, to uint64) {
	if length == 0 {
		return
	}
	g := segment{stage: stage, start: s.length, length: uint64(length), from: from, to: to, before: s.area}
	s.segments = append(s.segments, g)
	s.length += length
	s.area = s.area.plus(g.area())
}

// at returns the index of the segment that contains t, 0 ≤ t < length.
func (s *section) at(t time.Duration) int {
	i, exact := slices.BinarySearchFunc(s.segments, t, func(g segment, t time.Duration) int {
		return cmp.Compare(g.start, t)
	})
	if !exact {
		i--
	}
	return i
}

// A cursor is a position on a profile. It moves forward only.
type cursor struct {
	*profile
	section *section
	index   int           // of the segment
	begin   time.Duration // of the section, since the plan's zero
	base    uint128       // area before the section
}

// locate returns a cursor at the segment that contains t, 0 ≤ t < end.
func (p *profile) locate(t time.Duration) cursor {
	if t < p.first.length || p.lap.length == 0 {
		return cursor{profile: p, section: &p.first, index: p.first.at(t)}
	}
	laps := (t - p.first.length) / p.lap.length
	begin := p.first.length + laps*p.lap.length
	return cursor{
		profile: p, section: &p.lap, index: p.lap.at(t - begin),
		begin: begin, base: p.first.area.plus(p.lap.area.times(uint64(laps))),
	}
}

// areaAt is the area up to t, rounded up.
func (p *profile) areaAt(t time.Duration) uint128 {
	t = max(0, min(t, p.end))
	at := p.locate(min(t, p.end-1)) // the end belongs to the last segment
	return at.before().plus(at.segment().areaAt(at.since(t)))
}

func (c *cursor) segment() *segment { return &c.section.segments[c.index] }

// starts is when the segment starts.
func (c *cursor) starts() time.Duration { return c.begin + c.segment().start }

// since is the time from the segment's start to t in nanoseconds.
func (c *cursor) since(t time.Duration) uint64 { return uint64(t - c.starts()) }

// ends is when the segment ends, Forever for one that does not.
func (c *cursor) ends() time.Duration { return later(c.starts(), time.Duration(c.segment().length)) }

// before is the area before the segment.
func (c *cursor) before() uint128 { return c.base.plus(c.segment().before) }

// after is the area up to the segment's end.
func (c *cursor) after() uint128 { return c.before().plus(c.segment().area()) }

// next moves to the next segment, and reports whether any load follows.
func (c *cursor) next() bool {
	if c.index++; c.index < len(c.section.segments) {
		return true
	}
	return c.skip(1)
}

// skip moves to the beginning of a later section, 1 for the next, and reports
// whether any load follows.
func (c *cursor) skip(sections uint64) bool {
	room := uint64(Forever - later(c.begin, c.section.length))
	c.begin = later(c.begin, c.section.length)
	c.base = c.base.plus(c.section.area)
	c.section, c.index = &c.lap, 0
	more := sections - 1
	if c.lap.area.isZero() || more >= room/uint64(c.lap.length) {
		return false
	}
	c.begin += time.Duration(more) * c.lap.length
	c.base = c.base.plus(c.lap.area.times(more))
	return c.begin < c.end
}

// reach moves forward to the segment in which the area exceeds a, and reports
// whether there is one.
func (c *cursor) reach(a uint128) bool {
	for !a.less(c.after()) {
		// Laps are skipped, not walked: each may contain far less than one arrival.
		if past := c.base.plus(c.section.area); !a.less(past) && !c.lap.area.isZero() {
			whole := uint64(0)
			if rest := a.minus(past); c.lap.area.hi == 0 && rest.hi < c.lap.area.lo {
				whole, _ = bits.Div64(rest.hi, rest.lo, c.lap.area.lo)
			}
			if !c.skip(whole + 1) {
				return false
			}
			continue
		}
		if !c.next() {
			return false
		}
	}
	return true
}

// later returns a + b, or Forever where the sum overflows.
func later(a, b time.Duration) time.Duration {
	if a > Forever-b {
		return Forever
	}
	return a + b
}
