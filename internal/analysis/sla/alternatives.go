package sla

import (
	"math"
	"time"

	"github.com/perfd/perfd/internal/stats"
)

// An alternative is one Alternative of the quick test with its evidence.
type alternative struct {
	Alternative

	bad, event float64 // logarithm of the likelihood ratio of one bad event, and of one event

	process stats.Restarting
	streak  streak
}

// A streak holds the latest windows whose likelihood ratio is largest: those since
// the cumulative sum last was at its minimum (Page, "Continuous Inspection Schemes",
// Biometrika 41 (1954)).
type streak struct {
	log         float64 // logarithm of the likelihood ratio
	since       time.Time
	events, bad float64
}

// alternatives are those on one side of a limit.
type alternatives []alternative

// newAlternatives returns the alternatives to a limit without evidence.
func newAlternatives(limit float64, list []Alternative) alternatives {
	all := make(alternatives, len(list))
	for i, a := range list {
		all[i] = alternative{Alternative: a, bad: stats.LogOdds(limit, a.Factor, 1, 0), event: stats.LogOdds(limit, a.Factor, 0, 1)}
	}
	return all
}

// reset drops the evidence.
func (o alternatives) reset() {
	for i := range o {
		o[i].process, o[i].streak = stats.Restarting{}, streak{}
	}
}

// step adds a window that began at an instant. Its counts are divided by effect,
// and the logarithm of its likelihood ratio is most at most. Weight is that of
// the e-processes that start with the window.
func (o alternatives) step(at time.Time, weight, effect, events, bad, most float64) {
	weight /= float64(len(o))
	for i := range o {
		b := &o[i]
		log := min((bad*b.bad+events*b.event)/max(b.Least, b.Caution*effect), most)
		b.process.Step(weight, log)
		s := &b.streak
		if s.events == 0 {
			s.since = at
		}
		s.log += log
		s.events += events
		s.bad += bad
		if s.log <= 0 {
			*s = streak{}
		}
	}
}

// value returns the e-value of all alternatives together.
func (o alternatives) value() (sum float64) {
	for i := range o {
		sum += o[i].process.Value()
	}
	return sum
}

// since returns the start of the longest streak, and whether there is one.
func (o alternatives) since() (first time.Time, found bool) {
	for i := range o {
		if s := &o[i].streak; s.events > 0 && (!found || s.since.Before(first)) {
			first, found = s.since, true
		}
	}
	return first, found
}

// best returns the streak of the alternative with the largest e-value.
func (o alternatives) best() tally {
	most, found := math.Inf(-1), streak{}
	for i := range o {
		if v := o[i].process.Value(); v > most {
			most, found = v, o[i].streak
		}
	}
	return tally{events: found.events, bad: found.bad, since: found.since}
}
