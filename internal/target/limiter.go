package target

import (
	"math"
	"sync/atomic"
	"time"
)

// A Limiter bounds the rate of requests. It is safe for concurrent use and takes
// no lock.
//
// Its state is the theoretical arrival time of the generic cell rate algorithm
// (ITU-T I.371): each token advances it by the interval between two tokens, and a
// token is due when that time is at most the tolerance ahead. Hence in any span of
// t seconds at most rate × t + burst tokens are due. The burst is the number of
// tokens of 100 ms, and at least one: long enough that arrivals which are a few
// milliseconds late, or the steps of a flow, do not lose tokens, and too short to
// load a target.
type Limiter struct {
	interval  int64        // ticks between two tokens; 0 is no limit
	tolerance int64        // ticks
	next      atomic.Int64 // theoretical arrival time of the next token, in ticks
}

const (
	// A tick is a fraction of a nanosecond, so that rounding the interval up costs no rate. An int64 holds nine years of ticks.
	ticksPerNanosecond = 32
	// burst is the time over which unused tokens are kept.
	burst = 100 * time.Millisecond
)

// NewLimiter returns the limiter of one shard. All shards share the rate (tokens
// per second) equally. A rate of 0 is no limit.
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

// Take takes a token and returns how long the caller must wait for it. All callers
// give the time since the same zero.
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
