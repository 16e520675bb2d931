package sla

import (
	"math"
	"slices"
	"time"
)

// Every verdict is proven at 95 %: the probability that an objective that is
// exactly met is ever called broken within 30 days is at most alpha, and the
// same of one that is exactly missed and called met.
const (
	alpha      = 0.05
	confidence = 1 - alpha
	alphaSpan  = 30 * 24 * time.Hour
	usualShare = 0.6 // of alpha: the test of all evidence since it last began anew
	quickShare = 0.4 // the test of the latest evidence, whenever it began
)

// A ledger spends one alpha over 30 days, however often evidence begins anew:
// each epoch of evidence takes a share that no other epoch of the last 30 days has.
type ledger struct {
	ended   []spent // epochs that ended within 30 days
	current int     // number of the share that is in use, from 1
	part    float64 // that share
}

type spent struct {
	number int
	at     time.Time
}

// mostEpochs bounds the ledger: a release every ten minutes for 30 days. Shares
// beyond are as small as the last.
const mostEpochs = 4320

// share returns the part of alpha that an epoch has. The first has half; the
// others share out the other half as 1/(j ln² j): all add up to 1, and fall
// as slowly as a sequence whose sum is finite well can.
func share(number int) float64 {
	j := float64(number)
	if j <= 1 {
		return 0.5
	}
	return (1/math.Log2(j) - 1/math.Log2(j+1)) / 2
}

// next ends the epoch and begins another with the largest share that is free.
func (l *ledger) next(at time.Time) {
	if l.current > 0 {
		l.ended = append(l.ended, spent{l.current, at})
	}
	l.ended = slices.DeleteFunc(l.ended, func(s spent) bool { return at.Sub(s.at) >= alphaSpan })
	l.ended = l.ended[max(0, len(l.ended)-mostEpochs):]
	taken := make([]bool, mostEpochs+1)
	for _, s := range l.ended {
		taken[s.number] = true
	}
	l.current = 1
	for l.current < mostEpochs && taken[l.current] {
		l.current++
	}
	l.part = share(l.current)
}
