package leak

import (
	"math"

	"github.com/perfd/perfd/internal/load"
)

const (
	// alpha is spread over the doublings of a lifetime from ten minutes to a month, and over the
	// windows that one look takes: the whole, its last half and its last quarter.
	alpha     = 0.01
	doublings = 12
	windows   = 3
	alphaLook = alpha / doublings / windows

	// A look is due when a lifetime has grown by an eighth, a day at most.
	growthOfLook = 1. / 8
)

// A judgement is what the last look at a member came to.
type judgement struct {
	due     float64 // when the next look is due; 0 is now
	looked  bool
	verdict load.Verdict
	x       examination
}

// look examines the member at an instant if that is due.
func (m *member) look(at float64, t *traffic) {
	j := &m.judgement
	if len(m.life.points) == 0 || j.looked && at < j.due {
		return
	}
	j.looked = true
	j.due = at + min(max((at-m.life.began)*growthOfLook, 10), day)
	kind := m.resource.Kind
	always := math.Inf(-1)
	whole := examine(m.stretches(always, at), m.readings(always, at), t)
	verdict, chosen := whole.verdict(kind, alphaLook), whole
	settled := verdict == load.Pass
	span := at - m.life.began
	for _, share := range [...]float64{0.5, 0.25} {
		if verdict == load.Fail || whole.daily && share*span < 2*day {
			break
		}
		from := at - share*span
		late := examine([]stretch{{points: m.life.between(from, at)}}, m.life.count(from, at), t)
		switch late.verdict(kind, alphaLook) {
		case load.Fail:
			verdict, chosen = load.Fail, late
		case load.Pass:
			settled = true
		}
	}
	if j.verdict == load.Fail && verdict != load.Fail && !settled && whole.lack != cycles {
		return // what was proven holds until something else is
	}
	j.verdict, j.x = verdict, chosen
}

// stretches returns the parts of all lifetimes from one instant to another.
func (m *member) stretches(from, to float64) []stretch {
	var out []stretch
	for i := range m.earlier {
		e := &m.earlier[i]
		out = append(out, stretch{e.between(from, to), e.began >= from})
	}
	return append(out, stretch{m.life.between(from, to), m.life.began >= from})
}

// readings returns how many readings of all lifetimes lie between two instants.
func (m *member) readings(from, to float64) int {
	n := m.life.count(from, to)
	for i := range m.earlier {
		n += m.earlier[i].count(from, to)
	}
	return n
}
