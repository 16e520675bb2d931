package pace

import (
	"math"
	"math/bits"
	"time"
)

// A segment is a straight line from one level to another.
//
// Levels are integers in units of 1/scale: arrivals per nanosecond, or VUs. Where
// the level goes from f to g over the length d, in nanoseconds, its integral from
// the segment's start to x is f·x + (g−f)x²/(2d). An area is twice that integral, in
// units of 1/scale, so that the area of a whole segment, d(f+g), is an integer.
type segment struct {
	stage    int           // index into the workload's stages
	start    time.Duration // since the beginning of the segment's section
	length   uint64        // nanoseconds, more than 0
	from, to uint64
	before   uint128 // area of the section before the segment
}

func (s *segment) area() uint128 { return product(s.length, s.from+s.to) }

// areaAt is the area up to x ≤ length, rounded up.
func (s *segment) areaAt(x uint64) uint128 {
	line := product(2*s.from, x)
	if s.from == s.to {
		return line
	}
	// (g−f)x²/d with x² = q·d + r is (g−f)q + (g−f)r/d.
	q, r := product(x, x).over(s.length)
	if s.to > s.from {
		slope := s.to - s.from
		return line.plus(product(slope, q)).plus(uint128{0, product(slope, r).overUp(s.length)})
	}
	slope := s.from - s.to
	down, _ := product(slope, r).over(s.length)
	return line.minus(product(slope, q)).minus(uint128{0, down})
}

// lastAt is the last nanosecond at which the area is at most a, which must be less
// than the area of the whole segment.
func (s *segment) lastAt(a uint128) uint64 {
	if s.from == s.to {
		x, _ := a.over(2 * s.from)
		return x
	}
	// The estimate is off by some nanoseconds; the exact area decides.
	x := nanoseconds(s.estimate(a), s.length-1)
	for x > 0 && a.less(s.areaAt(x)) {
		x--
	}
	for x+1 < s.length && !a.less(s.areaAt(x+1)) {
		x++
	}
	return x
}

// estimate solves 2f·x + (g−f)x²/d = a for x, or its mirror image for a falling
// line, in the form without cancellation: x = a/(f + sqrt(f² + a(g−f)/d)), with f,
// g and d as for segment.
func (s *segment) estimate(a uint128) float64 {
	rise := func(a uint128, low, high uint64) float64 {
		m, f := a.float(), float64(low)
		return m / (f + math.Sqrt(f*f+m*float64(high-low)/float64(s.length)))
	}
	if s.to > s.from {
		return rise(a, s.from, s.to)
	}
	return float64(s.length) - rise(s.area().minus(a), s.to, s.from)
}

// levelAt is the level at x in units of 1/scale.
func (s *segment) levelAt(x uint64) float64 {
	f, g := float64(s.from), float64(s.to)
	return f + (g-f)*(float64(x)/float64(s.length))
}

// moved returns the number of whole units by which the level has moved at x, and
// the x at which it has moved by one more, at most the segment's length.
func (s *segment) moved(x uint64) (units, next uint64) {
	span := max(s.from, s.to) - min(s.from, s.to)
	if span == 0 {
		return 0, s.length
	}
	hi, lo := bits.Mul64(span, x)
	units, _ = bits.Div64(hi, lo, s.length)
	return units, product(s.length, units+1).overUp(span)
}
