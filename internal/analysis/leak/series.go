package leak

import (
	"math"
	"time"
)

// seconds is Unix time in seconds: what all arithmetic here is done in.
func seconds(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }

func instant(s float64) time.Time {
	whole, part := math.Modf(s)
	return time.Unix(int64(whole), int64(part*1e9)).UTC()
}

// A point is the lowest and the highest level of a bin of time, and when the lowest one was read.
type point struct{ at, low, high float64 }

// A series holds one lifetime in bins of a width that doubles when there are too
// many of them: floors stay, whatever the width.
type series struct {
	began, ended float64 // of the first and last reading
	width        float64 // seconds
	points       []point
	readings     int
}

func (s *series) add(at, length, low, high float64, readings int) {
	if s.readings == 0 {
		s.began, s.width = at-length/2, max(length, 1)
	}
	s.readings += readings
	s.ended = max(s.ended, at+length/2)
	for s.width < length {
		s.widen()
	}
	s.points = s.put(s.points, point{at, low, high})
	for len(s.points) > mostPoints {
		s.widen()
	}
}

func (s *series) widen() {
	s.width *= 2
	kept := s.points[:0]
	for _, p := range s.points {
		kept = s.put(kept, p)
	}
	s.points = kept
}

// put folds p into the last point where both lie in the same bin.
func (s *series) put(to []point, p point) []point {
	if n := len(to); n > 0 && math.Floor(to[n-1].at/s.width) == math.Floor(p.at/s.width) {
		last := &to[n-1]
		last.high = max(last.high, p.high)
		if p.low < last.low {
			last.at, last.low = p.at, p.low
		}
		return to
	}
	return append(to, p)
}

// thin leaves at most n points, in memory of their own.
func (s *series) thin(n int) {
	for len(s.points) > n {
		s.widen()
	}
	s.points = append([]point(nil), s.points...)
}

// between returns the points from one instant to another, both included.
func (s *series) between(from, to float64) []point {
	p := s.points
	for len(p) > 0 && p[0].at < from {
		p = p[1:]
	}
	for len(p) > 0 && p[len(p)-1].at > to {
		p = p[:len(p)-1]
	}
	return p
}

// count returns how many readings lie between two instants, by the share of points that do.
func (s *series) count(from, to float64) int {
	if len(s.points) == 0 {
		return 0
	}
	return s.readings * len(s.between(from, to)) / len(s.points)
}
