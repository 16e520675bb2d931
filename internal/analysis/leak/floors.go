package leak

import (
	"math"
)

// A floor is the lowest level of a block of time.
type floor struct{ from, to, at, low float64 }

// A stretch is part of one lifetime.
type stretch struct {
	points []point
	fresh  bool // it has the lifetime's beginning, and so a warm-up
	falls  collections
}

// span returns the time between the first and last point.
func (s stretch) span() float64 {
	if len(s.points) == 0 {
		return 0
	}
	return s.points[len(s.points)-1].at - s.points[0].at
}

// after returns the part of s from an instant on.
func (s stretch) after(from float64) stretch {
	for len(s.points) > 0 && s.points[0].at < from {
		s.points = s.points[1:]
	}
	for len(s.falls.at) > 0 && s.falls.at[0] < from {
		s.falls.at = s.falls.at[1:]
	}
	s.fresh = false
	return s
}

// blocks returns the floors of s over n blocks of equal length. Blocks
// without a reading have none.
func (s stretch) blocks(n int) []floor {
	p := s.points
	begin := p[0].at
	length := s.span() / float64(n)
	out := make([]floor, 0, n)
	for _, q := range p {
		i := min(n-1, int((q.at-begin)/length))
		from := begin + float64(i)*length
		if k := len(out); k > 0 && out[k-1].from == from {
			if q.low < out[k-1].low {
				out[k-1].at, out[k-1].low = q.at, q.low
			}
			continue
		}
		out = append(out, floor{from, from + length, q.at, q.low})
	}
	return out
}

// troughs returns the lowest level between each two collections.
func (s stretch) troughs() []floor {
	var out []floor
	i := 0
	for k, from := range s.falls.at {
		to := math.Inf(1)
		if k+1 < len(s.falls.at) {
			to = s.falls.at[k+1]
		}
		f := floor{from: from, to: from, low: math.Inf(1)}
		for ; i < len(s.points) && s.points[i].at < to; i++ {
			q := s.points[i]
			if q.at < from {
				continue
			}
			f.to = q.at
			if q.low < f.low {
				f.at, f.low = q.at, q.low
			}
		}
		// One that has just begun has the load of before.
		f.from = min(f.from, f.to-s.falls.length/8)
		if !math.IsInf(f.low, 1) {
			out = append(out, f)
		}
	}
	return out
}
