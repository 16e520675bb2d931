package target

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// A Limiter bounds the rate of requests to a target. Each scenario that sends
// there has a Claim of its own. It is safe for concurrent use.
//
// Its state is the theoretical arrival time of the generic cell rate algorithm
// (ITU-T I.371): each token advances it by the interval between two tokens, and a
// token is due when that time is at most the tolerance ahead. Hence in any span of
// t seconds at most rate × t + burst tokens are due, whoever takes them. The burst is
// the number of tokens of 100 ms, and at least one: long enough that arrivals which
// are a few milliseconds late, or the steps of a flow, do not lose tokens, and too
// short to load a target.
type Limiter struct {
	interval  int64        // ticks between two tokens; 0 is no limit
	tolerance int64        // ticks
	next      atomic.Int64 // theoretical arrival time of the next token, in ticks

	// span is the time over which the claims that ask are counted, in ticks: long enough for several tokens.
	span int64
	// asking is what is known of the claims that ask: the number of the span (32 bits), how many asked in it and
	// how many in the one before (16 bits each).
	asking atomic.Uint64
}

// A Claim is one scenario's right to a Limiter's tokens: an equal part of the rate
// for each scenario that asks, and what the others leave. Tokens that are due go to
// who asks first. While none is due, a claim that has had less than its part
// may book one of the next; a claim that has had it may not, so that neither a scenario
// that asks for too much, nor one that always asks a moment earlier, starves another.
type Claim struct {
	l    *Limiter
	next atomic.Int64 // as the Limiter's, of the claim's part
	turn atomic.Int64 // when the last of those that wait for a turn is to ask again
	seen atomic.Int64 // the span in which it asked last

	mu     sync.Mutex
	booked []int64 // when the tokens of admitted iterations are due that must wait, in order
	some   atomic.Bool
}

const (
	// A tick is a fraction of a nanosecond, so that rounding the interval up costs no rate. An int64 holds nine years of ticks.
	ticksPerNanosecond = 32
	// burst is the time over which unused tokens are kept.
	burst = 100 * time.Millisecond
	// spanTokens is how many tokens the span over which claims are counted has at least.
	spanTokens = 4
)

// NewLimiter returns the limiter of one shard. All shards share the rate (tokens
// per second) equally. A rate of 0 is no limit.
func NewLimiter(rate float64, shards int) *Limiter {
	l := &Limiter{}
	if rate <= 0 {
		return l
	}
	ticks := math.Ceil(float64(max(1, shards)) / rate * float64(time.Second) * ticksPerNanosecond)
	l.interval = int64(min(ticks, math.MaxInt64/16))
	l.tolerance = toleranceOf(l.interval)
	l.span = max(int64(time.Second)*ticksPerNanosecond, spanTokens*l.interval)
	return l
}

// toleranceOf is how far a line of tokens at an interval may be ahead.
func toleranceOf(interval int64) int64 {
	return max(0, int64(burst)*ticksPerNanosecond-interval)
}

// Claim returns a new claim on the limiter's tokens.
func (l *Limiter) Claim() *Claim {
	c := &Claim{l: l}
	c.seen.Store(-1)
	return c
}

// take takes a token if one is due at once.
func (l *Limiter) take(at int64) bool {
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

// book takes the next token, if it is due within some ticks, and returns in how many.
func (l *Limiter) book(at, within int64) (wait int64, ok bool) {
	for {
		next := l.next.Load()
		wait := max(0, next-l.tolerance-at)
		if wait > within {
			return wait, false
		}
		if l.next.CompareAndSwap(next, max(next, at)+l.interval) {
			return wait, true
		}
	}
}

// Take takes the next token and returns how long its user must wait, for a limiter that has one user.
func (l *Limiter) Take(now time.Duration) time.Duration {
	if l.interval == 0 {
		return 0
	}
	wait, _ := l.book(int64(now)*ticksPerNanosecond, math.MaxInt64)
	return inTime(wait)
}

// asks counts a claim that asks, and returns how many do.
func (l *Limiter) asks(c *Claim, at int64) int64 {
	span := at / l.span
	first := c.seen.Swap(span) != span
	for {
		w := l.asking.Load()
		at, now, before := int64(w>>32), w>>16&math.MaxUint16, w&math.MaxUint16
		if !first || span < at {
			return int64(max(1, now, before))
		}
		switch span - at {
		case 0:
			now = min(now+1, math.MaxUint16)
		case 1:
			now, before = 1, now
		default:
			now, before = 1, 0
		}
		if l.asking.CompareAndSwap(w, uint64(span)<<32|now<<16|before) {
			return int64(max(1, now, before))
		}
	}
}

// part is the interval between two tokens of a claim's part.
func (c *Claim) part(at int64) int64 {
	return min(c.l.asks(c, at), math.MaxInt64/16/c.l.interval) * c.l.interval
}

// charge counts a token that the claim got. What it gets beyond its part, because others leave it, is not held
// against it later.
func (c *Claim) charge(at, part int64) {
	for {
		next := c.next.Load()
		if c.next.CompareAndSwap(next, min(max(next, at), at+toleranceOf(part))+part) {
			return
		}
	}
}

// try takes a token that is due or, where the claim has had less than its part, one that is due within some ticks.
func (c *Claim) try(at, part, within int64) (wait int64, ok bool) {
	if c.l.take(at) {
		c.charge(at, part)
		return 0, true
	}
	if c.next.Load()-toleranceOf(part) > at || c.turn.Load() > at {
		return 0, false // it had its part, or others of the scenario wait for theirs
	}
	if wait, ok = c.l.book(at, within); ok {
		c.charge(at, part)
	}
	return wait, ok
}

// Admit takes a token for the first request of an iteration, and reports whether
// there was one. All callers give the time since the same zero. A token may be due
// later, by no more than patience or the time between two tokens: Admitted tells.
func (c *Claim) Admit(now, patience time.Duration) bool {
	if c.l.interval == 0 {
		return true
	}
	at := int64(now) * ticksPerNanosecond
	wait, ok := c.try(at, c.part(at), max(int64(min(patience, math.MaxInt64/ticksPerNanosecond))*ticksPerNanosecond, c.l.interval))
	if ok && wait > 0 {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.forget(at) // of iterations that came to nothing
		c.booked = append(c.booked, at+wait)
		c.some.Store(true)
	}
	return ok
}

// Admitted returns how long an iteration that was admitted waits before its first
// request. The iteration that begins first has the token that is due first, whichever was admitted first.
func (c *Claim) Admitted(now time.Duration) (wait time.Duration) {
	if !c.some.Load() {
		return 0
	}
	at := int64(now) * ticksPerNanosecond
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(at)
	if len(c.booked) > 0 {
		wait = inTime(c.booked[0] - at)
		c.booked = c.booked[1:]
	}
	c.some.Store(len(c.booked) > 0)
	return wait
}

// forget drops the booked tokens that are due. The caller holds the lock.
func (c *Claim) forget(at int64) {
	n := 0
	for n < len(c.booked) && c.booked[n] <= at {
		n++
	}
	c.booked = c.booked[n:]
}

// Take takes a token for a request that is to be sent whatever it waits. With ok,
// the token is due after wait; without, the caller asks again after wait, and says
// then that it is its turn.
func (c *Claim) Take(now time.Duration, turn bool) (wait time.Duration, ok bool) {
	if c.l.interval == 0 {
		return 0, true
	}
	at := int64(now) * ticksPerNanosecond
	part := c.part(at)
	if wait, ok := c.try(at, part, math.MaxInt64); ok {
		return inTime(wait), true
	}
	if turn {
		// More scenarios may ask by now, so that turns that were given before come too soon.
		if wait, ok := c.l.book(at, max(int64(burst)*ticksPerNanosecond, part)); ok {
			c.charge(at, part)
			return inTime(wait), true
		}
	}
	for {
		last := c.turn.Load()
		mine := max(last+part, c.next.Load()-toleranceOf(part))
		if mine <= at {
			mine = at + part // what made the claim wait is over, and try again would fail for its neighbours' sake
		}
		if c.turn.CompareAndSwap(last, mine) {
			return inTime(mine - at), false
		}
	}
}

// inTime converts ticks to a time, rounded up.
func inTime(ticks int64) time.Duration {
	return time.Duration((ticks + ticksPerNanosecond - 1) / ticksPerNanosecond)
}
