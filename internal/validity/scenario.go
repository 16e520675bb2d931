package validity

import (
	"sync"
	"time"

	"github.com/perfd/perfd/internal/load"
)

// invalidFor is how long a measurement remains invalid after a disturbance, so that every scrape interval sees it.
const invalidFor = time.Minute

// keptSpans is how many disturbances of each reason are remembered. They are asked for when a window ends, so those of
// a few minutes do.
const keptSpans = 256

// A Scenario keeps account of what disturbed one scenario's measurement. Its
// methods are safe for concurrent use.
type Scenario struct {
	limit time.Duration

	mu    sync.Mutex
	found [NumReasons]account
}

// An account is what is known of one reason.
type account struct {
	seconds float64
	until   time.Time // end of the latest disturbance
	spans   []span    // by the wall clock, the latest last
}

type span struct{ from, to time.Time }

// NewScenario returns a measurement that is valid so far.
func NewScenario(c Config) *Scenario { return &Scenario{limit: c.maxLateness()} }

// Limit is how late one iteration in a hundred may start at most.
func (s *Scenario) Limit() time.Duration { return s.limit }

// Late notes that between two instants one iteration in a hundred or more started later than Limit.
func (s *Scenario) Late(from, to time.Time) { s.Disturbed(Lateness, from, to) }

// Dropped judges how many arrivals were dropped between two instants, by their
// reason. Drops that the target caused disturb nothing; nor does load withheld
// from a target in distress, or the target's own alert would be inhibited:
// load.Flags.BackedOff makes those windows inconclusive.
func (s *Scenario) Dropped(n *[load.NumReasons]uint64, from, to time.Time) {
	for _, ours := range [...]struct {
		why load.Reason
		r   Reason
	}{{load.VUCap, VUCap}, {load.Late, LateDrops}, {load.RateCap, RateCap}} {
		if n[ours.why] > 0 {
			s.Disturbed(ours.r, from, to)
		}
	}
}

// Disturbed notes a disturbance between two instants, both with their monotonic
// readings. Time that was noted for the reason before is not counted twice.
func (s *Scenario) Disturbed(r Reason, from, to time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &s.found[r]
	begin := from
	if a.until.After(begin) {
		begin = a.until
	}
	if to.After(begin) {
		a.seconds += to.Sub(begin).Seconds()
		a.until = to
	}
	from, to = from.Round(0), to.Round(0)
	if to.Before(from) {
		// The wall clock went back: the windows on both sides are disturbed, not those between.
		a.add(span{from.Add(-slowly), from})
		from = to.Add(-slowly)
	}
	a.add(span{from, to})
}

// add remembers a span, joined to the last one where they touch.
func (a *account) add(x span) {
	if n := len(a.spans); n > 0 {
		if last := &a.spans[n-1]; !x.from.After(last.to) && !x.from.Before(last.from) {
			if x.to.After(last.to) {
				last.to = x.to
			}
			return
		}
	}
	if len(a.spans) == keptSpans {
		a.spans = append(a.spans[:0], a.spans[1:]...)
	}
	a.spans = append(a.spans, x)
}

// Seconds returns for how long the measurement was disturbed since it began, by reason.
func (s *Scenario) Seconds() (seconds [NumReasons]float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for r := range s.found {
		seconds[r] = s.found[r].seconds
	}
	return seconds
}

// Reasons returns what makes the measurement invalid now: what disturbed it
// within the last minute. No reason is a valid measurement.
func (s *Scenario) Reasons(now time.Time) (reasons []Reason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for r := range s.found {
		if until := s.found[r].until; !until.IsZero() && now.Sub(until) < invalidFor {
			reasons = append(reasons, Reason(r))
		}
	}
	return reasons
}

// Window returns what disturbed a window of the wall clock that ended lately, as
// the bits of load.Flags.Invalid.
func (s *Scenario) Window(start, end time.Time) (bits uint32) {
	start, end = start.Round(0), end.Round(0)
	s.mu.Lock()
	defer s.mu.Unlock()
	for r := range s.found {
		for _, x := range s.found[r].spans {
			if x.from.Before(end) && x.to.After(start) {
				bits |= 1 << r
			}
		}
	}
	return bits
}
