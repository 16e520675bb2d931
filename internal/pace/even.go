package pace

import (
	"iter"
	"time"
)

// even is a plan with even arrivals (see the package comment).
type even struct {
	rates
	phase uint128 // area before arrival 0, less than that of one arrival
}

// OutOfStep gives a plan with even arrivals a phase of its own, between 0 and that of
// one arrival, so that scenarios of one rate do not all send at the same instants: n
// of them would be a burst of n. The first arrival comes later by no more than within
// at the peak rate; Forever leaves it the whole time between two arrivals. The phase
// depends on the workload's seed and the scenario's name alone, so that restarts and
// shards agree on it. Other plans are returned as they are.
func OutOfStep(p Plan, c Config, scenario string, within time.Duration) Plan {
	// The name's hash is mixed once more: a Poisson plan with the same seed uses the first.
	share := float64(mix(seedOf(c.Seed, scenario), 1)>>11) / (1 << 53)
	switch p := p.(type) {
	case even:
		p.phase = p.part(share * min(1, c.Peak()*within.Seconds()))
		return p
	case controlledRate: // its peak is that of the level that a run begins with
		p.share, p.within = share, within
		return p
	}
	return p
}

// part is the area of a part of an arrival.
func (p even) part(share float64) uint128 { return uint128{lo: uint64(share * float64(2*p.scale))} }

// Arrivals yields, of all arrivals numbered from 0, those whose number is shard
// modulo of.
func (p even) Arrivals(from time.Duration, shard, of int) iter.Seq[time.Duration] {
	from = max(0, from)
	return func(yield func(time.Duration) bool) {
		if from >= p.end {
			return
		}
		at := p.locate(from)
		arrival := 2 * p.scale // area of one arrival
		var k uint64
		if area := p.areaAt(from); p.phase.less(area) {
			k = area.minus(p.phase).overUp(arrival)
		}
		step := uint64(of)
		k += (uint64(shard) + step - k%step) % step
		for ; ; k += step {
			due := product(k, arrival).plus(p.phase)
			if !at.reach(due) {
				return
			}
			x := at.segment().lastAt(due.minus(at.before()))
			if t := at.starts() + time.Duration(x); t >= p.end || !yield(t) {
				return
			}
		}
	}
}
