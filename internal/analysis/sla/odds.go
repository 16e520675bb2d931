package sla

import (
	"math"
	"time"

	"github.com/perfd/perfd/internal/stats"
)

// A bet is one alternative of the quick test: that the odds of a bad event are
// factor times what they may be. The larger the factor, the more would be made of a
// cluster that is larger than the design effect says, so the more careful it is.
type bet struct {
	factor float64
	care   float64 // what counts are divided by, over the design effect
	least  float64 // what they are divided by at least

	bad, event float64 // logarithm of the likelihood ratio for each bad event and each event

	process stats.Restarting
	streak  streak
}

// A streak holds the windows from the start on that speaks most for the bet
// (Page, "Continuous Inspection Schemes", Biometrika 41 (1954)).
type streak struct {
	log         float64
	since       time.Time
	events, bad float64
}

// odds are the bets on one side of a limit.
type odds []bet

func newOdds(limit float64, all ...bet) odds {
	for i := range all {
		all[i].bad = stats.LogOdds(limit, all[i].factor, 1, 0)
		all[i].event = stats.LogOdds(limit, all[i].factor, 0, 1)
	}
	return all
}

func (o odds) reset() {
	for i := range o {
		o[i].process, o[i].streak = stats.Restarting{}, streak{}
	}
}

// step takes a window that began at an instant, as effective counts; one can say most at most.
func (o odds) step(at time.Time, weight, effect, events, bad, most float64) {
	weight /= float64(len(o))
	for i := range o {
		b := &o[i]
		log := min((bad*b.bad+events*b.event)/max(b.least, b.care*effect), most)
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

// value is the e-process of all bets.
func (o odds) value() (sum float64) {
	for i := range o {
		sum += o[i].process.Value()
	}
	return sum
}

// since returns the start of the longest streak, and whether there is one.
func (o odds) since() (first time.Time, found bool) {
	for i := range o {
		if s := &o[i].streak; s.events > 0 && (!found || s.since.Before(first)) {
			first, found = s.since, true
		}
	}
	return first, found
}

// best returns the streak of the bet that has won most.
func (o odds) best() tally {
	most, found := math.Inf(-1), streak{}
	for i := range o {
		if v := o[i].process.Value(); v > most {
			most, found = v, o[i].streak
		}
	}
	return tally{events: found.events, bad: found.bad, since: found.since}
}
