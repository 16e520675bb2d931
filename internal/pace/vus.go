package pace

import "time"

// vus is a plan of the closed model.
type vus struct{ *profile }

// At counts VUs as k6 does: the number changes by one each time the line between two
// targets has moved by a whole VU, so that a target is reached at its stage's end
// and not before.
func (p vus) At(t time.Duration) Level {
	if t < 0 {
		return Level{}
	}
	if t >= p.end {
		return Level{Stage: p.stages, Until: Forever}
	}
	at := p.locate(t)
	s := at.segment()
	moved, next := s.moved(at.since(t))
	n := s.from + moved
	if s.to < s.from {
		n = s.from - moved
	}
	return Level{VUs: int(n), Stage: s.stage, Until: min(later(at.starts(), time.Duration(next)), p.end)}
}
