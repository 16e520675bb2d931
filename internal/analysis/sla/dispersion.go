package sla

import "math"

// A dispersion estimates the design effect DE of an objective's events. Requests
// of one minute are correlated, so that k bad ones of n are worth k/DE of n/DE
// independent ones. The estimate is the variance of batches of intervals around
// the batches just before them, over that of independent events; a batch weighs less the older it is. It is kept from
// epoch to epoch, because clustering is a property of target and load, not of the
// share of bad events.
//
// Batches must be independent of each other: bad minutes that follow each other are
// worth fewer than as many that do not. So batches grow to 2, 4, 8 … intervals until
// they are independent (batch means; Law and Kelton, Simulation Modeling and
// Analysis, section 9.5.3): the variance of a sum of two that are correlated by rho
// is 1 + rho times that of two that are not.
type dispersion struct{ batches [scales]batches }

// scales is how many lengths of batches there are: the longest are of 64 intervals.
const scales = 7

// near is the weight that a batch keeps with each that follows in the share that
// residuals are taken from: it has halved after eight.
var near = math.Exp2(-1.0 / 8)

// batches are those of one length.
type batches struct {
	// Weighted sums over batches with k bad events: Σk, the number of batches, and the
	// sum of squared weights.
	bad, count, weights float64
	// Weighted sums of the squares of residuals (k - pn)/√n, of what they would be for
	// independent events, p(1-p), and of the products of neighbours. p is the share of
	// bad events in the batches just before, so that a change of level is no clustering.
	power, expected, products float64
	nearBad, nearEvents       float64
	last                      float64 // the latest residual
	open                      [2]float64
	half                      bool // open holds the first half of a batch
}

// add adds an interval with n events, k of them bad.
func (d *dispersion) add(k, n float64) {
	if n <= 0 {
		return
	}
	keep := fading
	for i := range d.batches {
		b := &d.batches[i]
		b.add(k, n, keep)
		if !b.half {
			b.open, b.half = [2]float64{k, n}, true
			return
		}
		k, n = k+b.open[0], n+b.open[1]
		b.half = false
		keep *= keep
	}
}

func (b *batches) add(k, n, keep float64) {
	b.bad = b.bad*keep + k
	b.count = b.count*keep + 1
	b.weights = b.weights*keep*keep + 1
	if most := n / (1 - near); b.nearEvents > most {
		// Batches have become smaller: those before must not outweigh them for long.
		b.nearBad *= most / b.nearEvents
		b.nearEvents = most
	}
	if b.nearEvents > 0 {
		p := b.nearBad / b.nearEvents
		// The variance of p is added to that of k.
		residual := (k - p*n) / math.Sqrt(n*(1+n/b.nearEvents))
		// The share with this batch, so that the first bad events after none are expected to vary, too.
		with := (b.nearBad + k) / (b.nearEvents + n)
		b.expected = b.expected*keep + with*(1-with)
		b.power = b.power*keep + residual*residual
		b.products = b.products*keep + residual*b.last
		b.last = residual
	}
	b.nearBad = b.nearBad*near + k
	b.nearEvents = b.nearEvents*near + n
}

// effect returns the design effect that batches of this length show, at least 1, and
// the effective number of batches that it rests on, (Σw)²/Σw².
func (b *batches) effect() (effect, known float64) {
	if b.count < 2 {
		return 1, b.count
	}
	known = b.count * b.count / b.weights
	if b.expected <= 0 {
		return 1, known
	}
	return max(1, b.power/b.expected), known
}

// correlation returns the correlation of neighbours, 0 where it is not significant.
func (b *batches) correlation(known float64) float64 {
	if b.power <= 0 {
		return 0
	}
	if c := b.products / b.power; c > defaults.Correlated/math.Sqrt(known) {
		return min(c, 0.9)
	}
	return 0
}

// bad is the weighted number of bad events.
func (d *dispersion) bad() float64 { return d.batches[0].bad }

// effect returns the design effect, at least 1, and the effective number of batches
// that it rests on.
func (d *dispersion) effect() (effect, known float64) {
	effect, known = d.batches[0].effect()
	for i := range d.batches {
		b := &d.batches[i]
		_, n := b.effect()
		rho := b.correlation(n)
		if rho == 0 {
			break
		}
		if i+1 == scales || d.batches[i+1].count < defaults.LeastBatches {
			// Correlation that falls by rho from one batch to the next.
			return effect * (1 + rho) / (1 - rho), known
		}
		effect *= 1 + rho
	}
	return effect, known
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
	return (effect*d.bad() + defaults.PassEffect*defaults.PassBad) / (d.bad() + defaults.PassBad)
}

// plus returns the dispersion of the intervals of both.
func (d dispersion) plus(o dispersion) dispersion {
	for i := range d.batches {
		to, from := &d.batches[i], &o.batches[i]
		to.bad += from.bad
		to.count += from.count
		to.weights += from.weights
		to.power += from.power
		to.expected += from.expected
		to.products += from.products
		to.half = false
	}
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
