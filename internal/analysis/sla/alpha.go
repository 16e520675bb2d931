package sla

import (
	"math"
	"slices"
	"time"
)

// A ledger spends one Alpha over a Span, however often the evidence starts over:
// each epoch of evidence has a share that no other epoch of the last Span has.
type ledger struct {
	ended   []spent // the epochs that ended within Span
	current int     // the number of the share in use, from 1; 0 before the first epoch
	part    float64 // that share
}

// A spent is the share of an epoch that ended.
type spent struct {
	number int
	at     time.Time
}

// maxEpochs bounds the ledger: a release every ten minutes for 30 days. Epochs
// beyond it share the smallest share until older ones are out of the Span.
const maxEpochs = 4320

// share returns the share of Alpha that epoch j has, counted from 1. The first has
// half; the others divide the other half in proportion to about 1/(j ln² j), by
// 1/log₂ j - 1/log₂(j+1), so that all shares add up to 1 and fall slowly.
func share(number int) float64 {
	j := float64(number)
	if j <= 1 {
		return 0.5
	}
	return (1/math.Log2(j) - 1/math.Log2(j+1)) / 2
}

// next ends the epoch at an instant and starts another with the largest share that is free.
func (l *ledger) next(at time.Time) {
	if l.current > 0 {
		l.ended = append(l.ended, spent{l.current, at})
	}
	l.ended = slices.DeleteFunc(l.ended, func(s spent) bool { return at.Sub(s.at) >= defaults.Span })
	if len(l.ended) > maxEpochs {
		// The epochs that end last with the smallest share free nothing when they are forgotten.
		i := slices.IndexFunc(l.ended, func(s spent) bool { return s.number == maxEpochs })
		l.ended = slices.Delete(l.ended, i, i+1)
	}
	taken := make([]bool, maxEpochs+1)
	for _, s := range l.ended {
		taken[s.number] = true
	}
	l.current = 1
	for l.current < maxEpochs && taken[l.current] {
		l.current++
	}
	l.part = share(l.current)
}
