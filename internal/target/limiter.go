package target

import (
	"math"
	"sync/atomic"
	"time"
)

// A Limiter lets a rate of requests through. Any number of goroutines use it,
// without a lock.
//
// Its state is the theoretical arrival time of the generic cell rate algorithm
// (ITU-T I.371): each token moves it on by the interval between two tokens, and
// a token is due when that time is at most the tolerance ahead. So in any span
// of t seconds at most rate × t + burst tokens are due. The burst is what the
// rate allows in 100 ms, and at least one: wide enough that arrivals which are a
// few milliseconds late, or the steps of a flow, do not lose tokens, and too
// short for a target to feel.
type Limiter struct {
	interval  int64 // between two tokens, in ticks; 0 lets everything through
	tolerance int64 // ticks
	next      atomic.Int64
}

const (
	// A tick is a fraction of a nanosecond, so that rounding the interval up costs no rate; int64 holds nine years of them.
	ticksPerNanosecond = 32
	// burst is how long tokens that nobody takes pile up.
	burst = 100 * time.Millisecond
)

// NewLimiter returns a limiter for one of so many shards, which share the rate
// (tokens per second) equally. A rate of 0 is no limit.
func NewLimiter(rate float64, shards int) *Limiter {
	l := &Limiter{}
	if rate <= 0 {
		return l
	}
	ticks := math.Ceil(float64(max(1, shards)) / rate * float64(time.Second) * ticksPerNanosecond)
	l.interval = int64(min(ticks, math.MaxInt64/4))
	l.tolerance = max(0, int64(burst)*ticksPerNanosecond-l.interval)
	return l
}

// Take takes a token at a time that counts from one zero for all users, and
// returns how long the user must wait for it: 0 is not at all.
func (l *Limiter) Take(now time.Duration) (wait time.Duration) {
	if l.interval == 0 {
		return 0
	}
	at := int64(now) * ticksPerNanosecond
	for {
		next := l.next.Load()
		if l.next.CompareAndSwap(next, max(next, at)+l.interval) {
			early := next - l.tolerance - at
			return time.Duration(max(0, (early+ticksPerNanosecond-1)/ticksPerNanosecond))
		}
	}
}

// TryTake takes a token if one is due at once.
func (l *Limiter) TryTake(now time.Duration) bool {
	if l.interval == 0 {
		return true
	}
	at := int64(now) * ticksPerNanosecond
	for {
		next := l.next.Load()
		if next-l.tolerance > at {
			return false
		}
		if l.next.CompareAndSwap(next, max(next, at)+l.interval) {
			return true
		}
	}
}
