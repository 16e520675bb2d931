package sla

// A dispersion estimates the design effect DE of an objective's events. Requests
// of one minute are correlated, so that k bad ones of n are worth k/DE of n/DE
// independent ones. The estimate is Pearson's chi-square of the intervals over its
// degrees of freedom; an interval weighs less the older it is. It is kept from epoch
// to epoch, because clustering is a property of target and load, not of the share of
// bad events.
type dispersion struct {
	// Weighted sums over intervals with n events, k of them bad: Σk, Σn, Σk²/n, the
	// number of intervals, and the sum of squared weights.
	bad, events, squares, intervals, weights float64
}

// add adds an interval with n events, k of them bad.
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

// effect returns the design effect, at least 1, and the effective number of
// intervals that it rests on, (Σw)²/Σw².
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

// forBreach returns the design effect that a breach is proven with: the estimate
// and its prior, weighted by intervals.
func (d *dispersion) forBreach() float64 {
	effect, known := d.effect()
	return (effect*known + defaults.BreachEffect*defaults.BreachIntervals) / (known + defaults.BreachIntervals)
}

// forPass returns the design effect that a pass is proven with: the estimate and
// its prior, weighted by bad events.
func (d *dispersion) forPass() float64 {
	effect, _ := d.effect()
	return (effect*d.bad + defaults.PassEffect*defaults.PassBad) / (d.bad + defaults.PassBad)
}

// plus returns the dispersion of the intervals of both.
func (d dispersion) plus(o dispersion) dispersion {
	d.bad += o.bad
	d.events += o.events
	d.squares += o.squares
	d.intervals += o.intervals
	d.weights += o.weights
	return d
}

// A lagged dispersion leaves out the last lag intervals.
type lagged struct {
	dispersion
	waiting [lag][2]float64
	count   int
}

// add adds an interval, which counts after lag others.
func (l *lagged) add(k, n float64) {
	slot := &l.waiting[l.count%lag]
	if l.count >= lag {
		l.dispersion.add(slot[0], slot[1])
	}
	*slot = [2]float64{k, n}
	l.count++
}

// set replaces the estimate by d and drops the intervals that wait.
func (l *lagged) set(d dispersion) { *l = lagged{dispersion: d} }
