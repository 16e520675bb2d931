package validity

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perfd/perfd/internal/load"
)

// A Timeline is what is known of the process: the monitor's heartbeat, and the
// intervals of the last minutes in which perfd was disturbed. Every result is held
// against it, so that reading takes no lock: an atomic load or two where nothing
// happened. Its methods are safe for concurrent use.
//
// Its times are nanoseconds since its zero, by the monotonic clock.
type Timeline struct {
	zero time.Time
	// due is when the next heartbeat is due; without a monitor it never is.
	due atomic.Int64
	// latest is the end of the interval that ends last.
	latest atomic.Int64
	known  atomic.Pointer[[]interval] // in the order in which they were added; what it points to is never changed

	mu sync.Mutex // of who adds an interval
}

// An interval is a stretch of time in which perfd was disturbed.
type interval struct {
	by       load.Disturbance
	from, to int64 // to includes the settling time
	late     int64 // of a gap: for how long perfd did not run; 0 of other intervals
	latest   int64 // the latest end up to this interval, in the order in which they were added
}

// keptIntervals is how many intervals are remembered. Gaps that matter come a few
// times a second on the busiest machine, and requests take seconds.
const keptIntervals = 64

const (
	// settleShare is the settling time after a gap as a share of the gap: what waited
	// while perfd did not run is worked off meanwhile, beside what comes.
	settleShare = 1.0
	// mostSettling bounds the settling time.
	mostSettling = time.Second
)

// NewTimeline returns a timeline that begins at this instant, without a heartbeat.
func NewTimeline() *Timeline {
	t := &Timeline{zero: time.Now()}
	t.due.Store(math.MaxInt64)
	t.latest.Store(math.MinInt64)
	t.known.Store(new([]interval))
	return t
}

// Since returns the time of an instant, which must have its monotonic reading.
func (t *Timeline) Since(at time.Time) int64 { return int64(at.Sub(t.zero)) }

// expect says when the next heartbeat is due.
func (t *Timeline) expect(at time.Time) { t.due.Store(t.Since(at)) }

// silence says that no further heartbeat is due.
func (t *Timeline) silence() { t.due.Store(math.MaxInt64) }

// add adds a disturbance.
func (t *Timeline) add(d Disturbance) {
	x := interval{by: d.By, from: t.Since(d.From), to: t.Since(d.To), late: int64(d.Late)}
	x.to += int64(min(time.Duration(settleShare*float64(d.Late)), mostSettling))
	t.mu.Lock()
	defer t.mu.Unlock()
	x.latest = max(x.to, t.latest.Load())
	old := *t.known.Load()
	if len(old) == cap(old) {
		fresh := make([]interval, 0, 2*keptIntervals)
		old = append(fresh, old[max(0, len(old)-keptIntervals+1):]...)
	}
	// Readers hold headers, and see what was there when theirs was stored.
	all := append(old, x)
	t.known.Store(&all)
	t.latest.Store(x.latest)
}

// touches returns what disturbed a request that was due, was sent and was done at
// these times, where only gaps longer than limit disturb.
//
// A request is touched by an interval in which it was due, sent or done. An interval
// that lies between two of these delayed it by the gap at most: it touches the
// request where the gap is at least Share of the response time. So a target that
// hangs for half a minute is not excused by the moment that perfd stood still meanwhile.
func (t *Timeline) touches(due, sent, done, limit int64) load.Disturbance {
	if due > t.latest.Load() {
		return load.Undisturbed
	}
	all := *t.known.Load()
	for i := len(all) - 1; i >= 0; i-- {
		x := &all[i]
		if x.latest < due {
			break
		}
		if x.to < due || x.from > done || x.late != 0 && x.late <= limit {
			continue
		}
		within := x.from <= due || x.from <= sent && sent <= x.to || done <= x.to
		if within || x.late == 0 || float64(x.late) >= Share*float64(done-due) {
			return x.by
		}
	}
	return load.Undisturbed
}

// during reports whether a gap longer than limit, or another disturbance, covers an instant.
func (t *Timeline) during(at, limit int64) bool {
	return t.touches(at, at, at, limit) != load.Undisturbed
}
