package sla

import "math"

// Requests of one minute fare alike, so k bad ones of n weigh as much as k/DE of n/DE independent
// ones. A dispersion estimates the design effect DE from the
// intervals of the last hours, of which each counts less the older it is: it is
// Pearson's chi-square over its degrees of freedom. It outlives epochs, because it is
// a property of target and load and not of how well they do.
type dispersion struct {
	// Of intervals with n events and k bad: Σk, Σn, Σk²/n, their number and the sum of squared weights.
	bad, events, squares, intervals, weights float64
}

// fading is the weight that an interval keeps with each that follows: half after four hours of minutes.
var fading = math.Exp2(-1.0 / 240)

func (d *dispersion) add(k, n float64) {
	if n <= 0 {
		return
	}
	d.bad = d.bad*fading + k
	d.events = d.events*fading + n
	d.squares = d.squares*fading + k*k/n
	d.intervals = d.intervals*fading + 1
	d.weights = d.weights*fading*fading + 1
}

// effect returns the design effect, at least 1, and from how many intervals it is known.
func (d *dispersion) effect() (effect, known float64) {
	if d.intervals < 2 {
		return 1, d.intervals
	}
	known = d.intervals * d.intervals / d.weights
	p := d.bad / d.events
	if p <= 0 || p >= 1 {
		return 1, known
	}
	chi := (d.squares - p*d.bad) / (p * (1 - p))
	return max(1, chi/d.intervals*known/(known-1)), known
}

// What the design effect is taken for until it is known, and how much must be
// known to outweigh it. Whoever has seen few bad events does not know how they
// cluster, so for a pass it is bad events that count, and otherwise intervals. The
// numbers are those with which the error rates of docs/verdicts.md stay under their bar.
const (
	breachEffect, breachIntervals = 3, 5
	passEffect, passBad           = 4, 20
)

func (d *dispersion) forBreach() float64 {
	effect, known := d.effect()
	return (effect*known + breachEffect*breachIntervals) / (known + breachIntervals)
}

func (d *dispersion) forPass() float64 {
	effect, _ := d.effect()
	return (effect*d.bad + passEffect*passBad) / (d.bad + passBad)
}

// plus returns both together.
func (d dispersion) plus(o dispersion) dispersion {
	d.bad += o.bad
	d.events += o.events
	d.squares += o.squares
	d.intervals += o.intervals
	d.weights += o.weights
	return d
}

// lag is how many intervals pass before one counts in the quick test's dispersion: a
// breach must not hide behind the variance that it makes itself.
const lag = 10

// A lagged dispersion knows nothing of the last intervals.
type lagged struct {
	dispersion
	waiting [lag][2]float64
	count   int
}

func (l *lagged) add(k, n float64) {
	slot := &l.waiting[l.count%lag]
	if l.count >= lag {
		l.dispersion.add(slot[0], slot[1])
	}
	*slot = [2]float64{k, n}
	l.count++
}

// set makes l know what d knows, and nothing that waits.
func (l *lagged) set(d dispersion) { *l = lagged{dispersion: d} }
