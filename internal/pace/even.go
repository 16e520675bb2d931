package pace

import (
	"iter"
	"time"
)

// even is a plan with even arrivals (see the package comment).
type even struct{ rates }

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
		k := p.areaAt(from).overUp(arrival)
		step := uint64(of)
		k += (uint64(shard) + step - k%step) % step
		for ; at.reach(product(k, arrival)); k += step {
			x := at.segment().lastAt(product(k, arrival).minus(at.before()))
			if t := at.starts() + time.Duration(x); t >= p.end || !yield(t) {
				return
			}
		}
	}
}
