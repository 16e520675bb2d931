package validity

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/perfd/perfd/internal/load"
)

const (
	// recently is the time over which a measurement is called valid or not.
	recently = 5 * time.Minute
	// young is the least time that the share of a measurement that has just begun is of.
	young = time.Minute
	// relevant is the share of recently from which on a measurement is not valid.
	relevant = 0.2
	// leastLeft is the share of a window that must be left for the window to count.
	leastLeft = 0.5
	// keptSpans is how many gaps are remembered. They are asked for when a window ends,
	// so those of a few minutes do.
	keptSpans = 512
)

// A Scenario holds the results of one scenario against a timeline, and keeps account
// of what disturbed its measurement. Its methods are safe for concurrent use.
type Scenario struct {
	timeline *Timeline
	limit    atomic.Int64 // ns

	mu       sync.Mutex
	seconds  [load.NumDisturbances]float64
	until    [load.NumDisturbances]time.Time // end of what seconds count
	gaps     []span                          // by the wall clock, the latest last
	withheld []span                          // likewise: times without a credential
	windows  []judged                        // of the time called recently, the latest last
}

type span struct{ from, to time.Time }

// A judged is what is remembered of a window.
type judged struct {
	start, end time.Time
	lost       float64 // share of it that does not count
	by         uint32  // the disturbances' bits
}

// NewScenario returns a measurement that is valid so far. Limit is what perfd may be
// late by (Config.Limit).
func NewScenario(t *Timeline, limit time.Duration) *Scenario {
	s := &Scenario{timeline: t}
	s.SetLimit(limit)
	return s
}

// Limit is what perfd may be late by.
func (s *Scenario) Limit() time.Duration { return time.Duration(s.limit.Load()) }

// SetLimit changes what perfd may be late by, from the next result on.
func (s *Scenario) SetLimit(d time.Duration) { s.limit.Store(int64(d)) }

// Touched returns how perfd itself disturbed a request whose result is being
// recorded. Zero is the zero of its times, on the timeline. It takes no lock.
//
// A gap that the monitor has not woken up to report yet is seen by its heartbeat,
// which is overdue then. The time that a request waited for a token of a rate limit
// is no lateness.
func (s *Scenario) Touched(r *load.Result, zero int64) load.Disturbance {
	if r.Cause == load.NoCredential {
		return load.ByCredential
	}
	limit := s.limit.Load()
	due, done := r.Due+zero, r.Done+zero
	if by := s.timeline.touches(due, r.Sent+zero, done, limit); by != load.Undisturbed {
		return by
	}
	switch {
	case r.Cause == load.Internal:
		return load.ByFault
	case done-s.timeline.due.Load() > limit:
		return load.ByGap
	case r.Sent-r.Due-r.Waited > limit:
		return load.ByLateness
	}
	return load.Undisturbed
}

// Stalled reports whether perfd is disturbed at an instant of the timeline, which must be about now.
func (s *Scenario) Stalled(at int64) bool {
	limit := s.limit.Load()
	return at-s.timeline.due.Load() > limit || s.timeline.during(at, limit)
}

// Late notes that between two instants one iteration in a hundred or more started later than Limit.
func (s *Scenario) Late(from, to time.Time) { s.count(load.ByLateness, from, to) }

// Withheld notes that between two instants no iteration could start for want of a credential.
func (s *Scenario) Withheld(from, to time.Time) {
	s.count(load.ByCredential, from, to)
	s.mu.Lock()
	defer s.mu.Unlock()
	from, to = from.Round(0), to.Round(0)
	if n := len(s.withheld); n > 0 && !s.withheld[n-1].to.Before(from) {
		s.withheld[n-1].to = to
		return
	}
	if len(s.withheld) == keptSpans {
		s.withheld = append(s.withheld[:0], s.withheld[1:]...)
	}
	s.withheld = append(s.withheld, span{from, to})
}

// Dropped notes how many arrivals were dropped between two instants, by their
// reason. Drops that the target caused disturb nothing; nor does load withheld
// from a target in distress, or the target's own alert would be inhibited:
// load.Flags.BackedOff makes those windows inconclusive.
func (s *Scenario) Dropped(n *[load.NumReasons]uint64, from, to time.Time) {
	own := (&load.Iterations{Dropped: *n}).Own()
	for by, n := range own {
		if n > 0 {
			s.count(load.Disturbance(by), from, to)
		}
	}
}

// Broken notes that what was recorded between two instants, of which the latest window
// is the end, does not add up (LittleCheck). It returns the bit for the window's flags.
func (s *Scenario) Broken(from, to time.Time) uint32 {
	s.count(load.ByLittlesLaw, from, to)
	s.mu.Lock()
	defer s.mu.Unlock()
	bit := load.ByLittlesLaw.Bit()
	for i := range s.windows {
		if w := &s.windows[i]; w.end.After(from) {
			w.lost, w.by = 1, w.by|bit
		}
	}
	return bit
}

// Disturbed notes a disturbance of the process, and reports whether it is one of the scenario.
func (s *Scenario) Disturbed(d Disturbance) bool {
	if d.Late != 0 && d.Late <= s.Limit() {
		return false
	}
	s.count(d.By, d.From, d.To)
	if d.Late == 0 {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.gaps) == keptSpans {
		s.gaps = append(s.gaps[:0], s.gaps[1:]...)
	}
	s.gaps = append(s.gaps, span{d.From.Round(0), d.To.Round(0)})
	return true
}

// count counts the time between two instants, both with their monotonic readings.
// Time that was counted for a disturbance before is not counted twice.
func (s *Scenario) count(by load.Disturbance, from, to time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.until[by].After(from) {
		from = s.until[by]
	}
	if to.After(from) {
		s.seconds[by] += to.Sub(from).Seconds()
		s.until[by] = to
	}
}

// Seconds returns for how long the measurement was disturbed since it began, by disturbance.
func (s *Scenario) Seconds() [load.NumDisturbances]float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seconds
}

// Window judges the scenario's own window, which ended: it returns the disturbances'
// bits where less than half of it is left, and for how long perfd did not run in it.
// An iteration of the scenario makes about perIteration requests.
func (s *Scenario) Window(w *load.Window, perIteration int) (invalid uint32, stalled time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stalled = within(s.gaps, w)
	j := judged{start: w.Start, end: w.End}
	j.lost, j.by = lost(w, perIteration)
	// What was due in a stall may be dropped, and counted, only in the window after it.
	if length := w.End.Sub(w.Start); length > 0 && stalled > 0 {
		j.lost, j.by = max(j.lost, stalled.Seconds()/length.Seconds()), j.by|load.ByGap.Bit()
	}
	// Where virtual users wait for a credential, as in the closed model, nothing is dropped.
	if without := within(s.withheld, w); without > 0 {
		j.lost, j.by = max(j.lost, without.Seconds()/w.End.Sub(w.Start).Seconds()), j.by|load.ByCredential.Bit()
	}
	if j.lost > 1-leastLeft {
		invalid = j.by
	}
	for len(s.windows) > 0 && !s.windows[0].end.After(w.End.Add(-recently)) {
		s.windows = append(s.windows[:0], s.windows[1:]...)
	}
	s.windows = append(s.windows, j)
	return invalid, stalled
}

// within returns how much of a window spans cover.
func within(spans []span, w *load.Window) (covered time.Duration) {
	for _, g := range spans {
		if from, to := later(g.from, w.Start), earlier(g.to, w.End); to.After(from) {
			covered += to.Sub(from)
		}
	}
	return covered
}

// lost returns the share of the requests of a scenario's own window that do not
// count, and the bits of what disturbed them. Requests that never came about because
// perfd did not start their iterations are among them; failures that are the
// target's whatever perfd did are not.
func lost(w *load.Window, perIteration int) (share float64, bits uint32) {
	all := w.Requests - w.Failures[load.Canceled]
	var gone uint64
	for _, t := range w.Touched {
		if !t.Cause.Sure() {
			gone += t.Count
			bits |= t.By.Bit()
		}
	}
	if w.Iterations != nil {
		for by, n := range w.Iterations.Own() {
			if n > 0 {
				n *= uint64(max(1, perIteration))
				gone, all = gone+n, all+n
				bits |= load.Disturbance(by).Bit()
			}
		}
	}
	if gone == 0 {
		return 0, 0
	}
	return float64(gone) / float64(all), bits
}

// Invalid returns what makes the measurement invalid now, nil where it is valid: what
// disturbed it in the last five minutes, where that cost a relevant share of them.
func (s *Scenario) Invalid(now time.Time) []load.Disturbance {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lost, all time.Duration
	var bits uint32
	for _, w := range s.windows {
		if !w.end.After(now.Add(-recently)) {
			continue
		}
		length := w.end.Sub(w.start)
		all += length
		lost += time.Duration(w.lost * float64(length))
		bits |= w.by
	}
	if lost == 0 || float64(lost) < relevant*float64(max(all, young)) {
		return nil
	}
	return load.Disturbances(bits)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
