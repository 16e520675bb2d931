package pace

import (
	"cmp"
	"math/bits"
	"slices"
	"time"
)

// A course is a level over time: the first pass through the stages, then laps.
type course struct {
	scale  uint64 // what a level of 1 is in a segment's units
	first  section
	lap    section // no segments where nothing repeats
	end    time.Duration
	stages int
}

// End is the end of the last stage or lap.
func (c *course) End() End {
	if c.end == Forever {
		return End{}
	}
	return End{Time: c.end}
}

// A section is a row of segments without a gap between them.
type section struct {
	segments []segment
	length   time.Duration
	area     wide
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

// at returns the index of the segment that holds t, 0 ≤ t < length.
func (s *section) at(t time.Duration) int {
	i, exact := slices.BinarySearchFunc(s.segments, t, func(g segment, t time.Duration) int {
		return cmp.Compare(g.start, t)
	})
	if !exact {
		i--
	}
	return i
}

// A cursor is a place between segments of a course. It moves forward only.
type cursor struct {
	*course
	section *section
	index   int           // of the segment
	begin   time.Duration // of the section, since the plan's zero
	base    wide          // area before the section
}

// locate returns the cursor at the segment that holds t, 0 ≤ t < end.
func (c *course) locate(t time.Duration) cursor {
	if t < c.first.length || c.lap.length == 0 {
		return cursor{course: c, section: &c.first, index: c.first.at(t)}
	}
	laps := (t - c.first.length) / c.lap.length
	begin := c.first.length + laps*c.lap.length
	return cursor{
		course: c, section: &c.lap, index: c.lap.at(t - begin),
		begin: begin, base: c.first.area.plus(c.lap.area.times(uint64(laps))),
	}
}

// areaAt is the area up to t, rounded up.
func (c *course) areaAt(t time.Duration) wide {
	t = max(0, min(t, c.end))
	at := c.locate(min(t, c.end-1)) // the end belongs to the last segment
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
func (c *cursor) before() wide { return c.base.plus(c.segment().before) }

// after is the area up to the segment's end.
func (c *cursor) after() wide { return c.before().plus(c.segment().area()) }

// next moves to the next segment; false where no more load comes.
func (c *cursor) next() bool {
	if c.index++; c.index < len(c.section.segments) {
		return true
	}
	return c.skip(1)
}

// skip moves over the rest of the section to the beginning of a later one, 1 for
// the next; false where no more load comes.
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

// reach moves forward to the segment during which the area passes a; false where
// it never does.
func (c *cursor) reach(a wide) bool {
	for !a.less(c.after()) {
		// Laps that hold far less than one arrival are not walked one by one.
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

// later returns a + b, Forever where that is too long to count.
func later(a, b time.Duration) time.Duration {
	if a > Forever-b {
		return Forever
	}
	return a + b
}
