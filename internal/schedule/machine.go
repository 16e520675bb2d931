package schedule

import (
	"log/slog"
	"time"
)

// A machine is the state of a Runner and the rules by which it changes. It is a pure
// state machine over instants: it reads no clock and calls no other room.
//
//	nothing  ── a run is due, nothing forbids it ──► under way   (begin)
//	under way ── over, blackout, replaced, by hand ─► draining    (end)
//	under way ── always, a cut is due ─────────────► under way   (cut)
//	under way, draining ── the starter says ended ─► nothing
type machine struct {
	schedule *Schedule
	log      *slog.Logger

	mem   memory
	dirty bool // mem must be saved

	busy    bool    // mem.Run is under way or draining
	ending  Reason  // it was asked to end
	waiting *waiter // begins as soon as nothing forbids it
	paused  bool
	byHand  bool          // the run under way must end: it was stopped by hand
	cutNow  bool          // the always-on run under way must be cut although no cut is due
	leaving bool          // the process ends
	lost    *Run          // could not be begun: load is missing until its end
	retry   time.Duration // monotonic time before which no always-on run begins, after one ended by itself

	wall      time.Time     // at the last watch
	monotonic time.Duration // at the last watch
}

// A memory is what the next process must know.
type memory struct {
	Seen    time.Time `json:"seen"`            // when it was saved
	Lives   bool      `json:"lives,omitempty"` // Run was under way and goes on for as long as the process lives
	Due     time.Time `json:"due,omitzero"`    // runs due up to here were begun or missed
	Run     *Run      `json:"run,omitempty"`   // under way
	Owed    bool      `json:"owed,omitempty"`
	Stopped bool      `json:"stopped,omitempty"` // by hand, an always-on schedule
	LastRun string    `json:"last_run,omitempty"`
	LastEnd time.Time `json:"last_end,omitzero"`
	Follows time.Time `json:"follows,omitzero"` // when the run is due that follows one of another scenario
	Missed  uint64    `json:"missed,omitempty"`
}

// A waiter is a run that begins as soon as nothing forbids it.
type waiter struct {
	run      Run
	floating bool // it has its whole length whenever it begins; otherwise the clock decides how much is left
}

// An action is what the runner must do next: at most one of begin, cut and end.
type action struct {
	begin   *Run
	cut     *Run
	end     Reason
	save    *memory
	stepped time.Duration
}

func (d action) any() bool {
	return d.begin != nil || d.cut != nil || d.end != "" || d.save != nil || d.stepped != 0
}

const (
	// leastStep is the shortest change of the wall clock that counts as a step; NTP slews by less.
	leastStep = time.Second
	// longestLookBack bounds how far back missed runs are counted.
	longestLookBack = 31 * day
	// longestSetBack is the longest time by which a clock may be set back and runs are
	// still not begun twice. A clock that is set back further was wrong before.
	longestSetBack = day
	// brokenShare is the share of a run so far above which a gap without load leaves no
	// verdict but inconclusive (SEMANTICS section 5).
	brokenShare = 0.05
)

// watch compares the clocks and returns by how much the wall clock was stepped
// since it was last called.
func (m *machine) watch(wall time.Time, monotonic time.Duration) (stepped time.Duration) {
	if !m.wall.IsZero() {
		stepped = wall.Sub(m.wall) - (monotonic - m.monotonic)
	}
	m.wall, m.monotonic = wall, monotonic
	if stepped.Abs() <= leastStep {
		return 0
	}
	m.log.Warn("the wall clock was stepped", "by", stepped)
	return stepped
}

// restore resumes from the memory of an earlier process, which is known to have lived
// until alive. It returns the run that was under way where that is not resumed.
func (m *machine) restore(saved memory, alive, now time.Time) (lost *Run) {
	before := saved.Run
	if saved.Lives && alive.After(saved.Seen) {
		saved.Seen = alive
	}
	saved.Run, saved.Lives = nil, false
	m.mem = saved
	m.dirty = true
	if saved.Due.IsZero() {
		m.mem.Due = now
		if run, ok := m.schedule.Active(now); ok && m.schedule.fires() && m.schedule.resume {
			m.join(run, now.Sub(run.Zero), now)
		}
	}
	if before == nil {
		return nil
	}
	if !m.resumable(*before, now) {
		m.log.Warn("a run that was under way before is not resumed", "run", before.ID)
		m.mem.LastRun, m.mem.LastEnd = before.ID, saved.Seen
		return before
	}
	run := *before
	if m.schedule.mode() == always {
		run.Zero = m.schedule.zero // the workload, and with it the phase, may have changed
	}
	run.Resumed = true
	m.join(run, max(0, now.Sub(saved.Seen)), now)
	return nil
}

func (m *machine) resumable(r Run, now time.Time) bool {
	if !m.schedule.resume || r.ended(now) {
		return false
	}
	if m.schedule.mode() == always {
		return !m.mem.Stopped && !r.Manual && r.End.IsZero() && !r.Fire.Before(m.schedule.alwaysOn(now).Fire)
	}
	return (r.Manual || !r.End.IsZero()) && !m.schedule.blackouts.Between(m.mem.Seen, now)
}

// join has a run begin in its middle, after a gap without load.
func (m *machine) join(r Run, gap time.Duration, now time.Time) {
	r.Gap += gap
	if float64(r.Gap) > brokenShare*float64(now.Sub(r.begin())) {
		r.Broken = true
	}
	m.waiting = &waiter{run: r}
}

// collect handles the runs that have become due since the last call.
func (m *machine) collect(now time.Time) {
	if w := m.waiting; w != nil && !w.floating && (w.run.ended(now) || m.schedule.mode() != always && m.inBlackout(now)) {
		m.miss(w.run, false, "its time is over")
		m.waiting = nil
	}
	if due := m.mem.Follows; !due.IsZero() && !due.After(now) && !m.leaving {
		r := m.schedule.from(due)
		r.Zero, r.End = due, m.schedule.endFrom(due)
		m.mem.Follows, m.dirty = time.Time{}, true
		m.arrive(r, now)
	}
	if !m.schedule.fires() || m.leaving {
		return
	}
	if m.mem.Due.Sub(now) > longestSetBack {
		m.mem.Due, m.dirty = now, true
	}
	if earliest := now.Add(-longestLookBack); m.mem.Due.Before(earliest) {
		m.mem.Due = earliest
	}
	for r, ok := m.schedule.following(m.mem.Due); ok && !r.Zero.After(now); r, ok = m.schedule.following(r.Zero) {
		m.mem.Due, m.dirty = r.Zero, true
		m.arrive(r, now)
		if n := m.schedule.merged(r.Fire); n > 0 {
			m.mem.Missed += uint64(n)
			m.log.Warn("runs were missed", "runs", n, "reason", "the clock was set forward over their times, for which one runs", "run", r.ID)
		}
	}
}

// arrive decides whether a run that is due begins, waits or is missed.
func (m *machine) arrive(r Run, now time.Time) {
	late := now.Sub(r.Zero)
	switch {
	case m.inBlackout(r.Zero) || m.inBlackout(now):
		m.miss(r, true, "blackout")
	case m.paused:
		m.miss(r, true, "paused")
	case late > sleep && (!m.schedule.resume || r.ended(now)):
		m.miss(r, true, "perfd was not there")
	case m.waiting != nil || m.overlaps(r):
		m.overlap(r)
	case late > sleep:
		m.join(r, late, now)
	default:
		m.waiting = &waiter{run: r}
	}
}

// overlaps reports whether a run is under way that goes on beyond r's beginning. A
// run that only drains does not count: r waits for it.
func (m *machine) overlaps(r Run) bool {
	return m.busy && m.ending == "" && !m.mem.Run.ended(r.Zero)
}

func (m *machine) overlap(r Run) {
	switch policy := m.schedule.cfg.Overlap; {
	case policy == OverlapReplace:
		if m.waiting != nil {
			m.miss(m.waiting.run, false, "replaced")
		}
		m.waiting = &waiter{run: r}
	case policy == OverlapQueue && m.waiting == nil:
		m.waiting = &waiter{run: r, floating: true}
	default:
		m.miss(r, false, "the run before goes on")
	}
}

// miss counts a run that was due and does not begin. Where owed is set and the
// policy is run_once, a run that makes up for it follows.
func (m *machine) miss(r Run, owed bool, why string) {
	m.mem.Missed++
	m.dirty = true
	m.mem.Owed = m.mem.Owed || owed && m.schedule.cfg.Missed == MissedRunOnce
	m.log.Warn("a run was missed", "run", r.ID, "reason", why)
}

// decide returns what must be done at an instant.
func (m *machine) decide(now time.Time, monotonic time.Duration) action {
	if m.busy {
		if m.ending != "" {
			return action{}
		}
		if why := m.toEnd(now); why != "" {
			m.ending, m.byHand = why, false
			m.log.Info("a run is ended", "run", m.mem.Run.ID, "reason", why)
			return action{end: why}
		}
		if m.schedule.mode() != always {
			return action{}
		}
		next := m.schedule.alwaysOn(now)
		if !m.mem.Run.Fire.Before(next.Fire) {
			if !m.cutNow || m.mem.Run.Manual || !m.mem.Run.End.IsZero() {
				return action{}
			}
			zero := next.Zero
			next = m.schedule.from(now)
			next.Zero = zero
		}
		m.cutNow = false
		m.mem.LastRun, m.mem.LastEnd = m.mem.Run.ID, now
		m.mem.Run, m.dirty = &next, true
		return action{cut: &next}
	}
	if m.leaving || m.paused || m.inBlackout(now) {
		return action{}
	}
	run, ok := m.toBegin(now, monotonic)
	if !ok {
		return action{}
	}
	m.busy, m.ending, m.lost, m.cutNow = true, "", nil, false
	m.mem.Run, m.dirty = &run, true
	return action{begin: &run}
}

// toEnd is the reason for which the run under way must end, empty for none.
func (m *machine) toEnd(now time.Time) Reason {
	switch {
	case m.mem.Run.ended(now):
		return Over
	case m.byHand:
		return ByHand
	case m.inBlackout(now):
		return InBlackout
	case m.leaving:
		return Leaving
	case m.waiting != nil && !m.waiting.floating:
		return Replaced
	}
	return ""
}

// toBegin returns the run that must begin, where there is one.
func (m *machine) toBegin(now time.Time, monotonic time.Duration) (Run, bool) {
	switch w := m.waiting; {
	case w != nil:
		m.waiting = nil
		if w.floating {
			w.run.Zero, w.run.End = now, m.schedule.endFrom(now)
		}
		return w.run, true
	case m.schedule.mode() == always:
		return m.schedule.alwaysOn(now), !m.mem.Stopped && monotonic >= m.retry
	case m.mem.Owed:
		m.mem.Owed = false
		r := m.schedule.from(now)
		r.Zero, r.End = now, m.schedule.endFrom(now)
		return r, true
	}
	return Run{}, false
}

// close records that the run under way is over.
func (m *machine) close(now time.Time, monotonic time.Duration) {
	if !m.busy {
		return
	}
	if m.schedule.mode() == always && m.ending == "" {
		m.retry = monotonic + sleep // a fault that ends every run must not begin runs in a tight loop
		m.log.Error("an always-on run ended by itself, another follows", "run", m.mem.Run.ID, "in", sleep)
	}
	if m.ending != Leaving {
		m.mem.LastRun, m.mem.LastEnd = m.mem.Run.ID, now
		m.mem.Run = nil
	}
	m.busy, m.ending, m.byHand, m.dirty = false, "", false, true
}

// toSave returns the memory where it must be saved, nil otherwise. A run that goes on
// is not saved again: how long it did is what the process says of itself.
func (m *machine) toSave(now time.Time) *memory {
	if !m.dirty {
		return nil
	}
	m.dirty = false
	if !m.leaving {
		m.mem.Seen = now
	}
	mem := m.mem
	mem.Lives = m.busy && !m.leaving
	if w := m.waiting; mem.Run == nil && w != nil && !w.floating {
		mem.Run = &w.run
	}
	return &mem
}

// leave has the run under way end and no other begin, because the process ends.
func (m *machine) leave(now time.Time) error {
	if w := m.waiting; w != nil && w.floating && !w.run.Manual {
		m.miss(w.run, true, "perfd ends before its turn")
		m.waiting = nil
	}
	m.leaving, m.mem.Seen, m.dirty = true, now, true
	return nil
}

func (m *machine) start(now time.Time) error {
	switch {
	case m.inBlackout(now):
		return ErrBlackout
	case m.paused:
		return ErrPaused
	case m.busy && m.ending == "" || m.waiting != nil:
		return ErrRunning
	}
	if m.schedule.mode() == always {
		m.mem.Stopped, m.retry, m.dirty = false, 0, true
		return nil
	}
	r := m.schedule.from(now)
	r.Manual = true
	m.waiting = &waiter{run: r, floating: true}
	return nil
}

func (m *machine) stop(time.Time) error {
	isAlways := m.schedule.mode() == always
	if !m.busy && m.waiting == nil && !m.mem.Owed && (!isAlways || m.mem.Stopped) {
		return ErrNotRunning
	}
	m.mem.Stopped, m.mem.Owed, m.dirty = isAlways, false, true
	m.waiting = nil
	m.byHand = m.busy
	return nil
}

// follow has a run begin the schedule's delay after an instant at which a run of the scenario that it is after has ended.
// One that has not begun by then is missed.
func (m *machine) follow(now time.Time) error {
	if m.schedule.mode() != after {
		return nil
	}
	if due := m.mem.Follows; !due.IsZero() {
		m.miss(m.schedule.from(due), false, "another run to follow has ended before its turn")
	}
	m.mem.Follows, m.dirty = now.Add(m.schedule.cfg.Delay.D()), true
	return nil
}

// cut has an always-on run cut where one is under way.
func (m *machine) cut(time.Time) error {
	m.cutNow = m.busy && m.ending == "" && m.schedule.mode() == always
	return nil
}

// idle is the time for which the clock gives nothing to do, at most longest.
func (m *machine) idle(now time.Time, monotonic, longest time.Duration) time.Duration {
	wait := longest
	sooner := func(t time.Time) {
		if !t.IsZero() {
			wait = max(0, min(wait, t.Sub(now)))
		}
	}
	if _, until, in := m.schedule.blackouts.In(now); in {
		sooner(until)
	} else if begin, ok := m.schedule.blackouts.Next(now); ok {
		sooner(begin)
	}
	if m.schedule.fires() && !m.leaving {
		if next, ok := m.schedule.following(m.mem.Due); ok {
			sooner(next.Zero)
		}
	}
	if !m.leaving {
		sooner(m.mem.Follows)
	}
	switch isAlways := m.schedule.mode() == always; {
	case m.busy && m.ending == "" && isAlways:
		sooner(m.mem.Run.Fire.Add(m.schedule.cfg.cut()))
	case m.busy && m.ending == "":
		sooner(m.mem.Run.End)
	case !m.busy && isAlways && m.retry > monotonic:
		wait = min(wait, m.retry-monotonic)
	}
	return wait
}

func (m *machine) inBlackout(t time.Time) bool {
	_, _, in := m.schedule.blackouts.In(t)
	return in
}

func (m *machine) status(now time.Time) Status {
	s := Status{
		Running: m.busy, Draining: m.busy && m.ending != "", Why: m.ending,
		Blackout: m.inBlackout(now), Paused: m.paused, Stopped: m.mem.Stopped,
		LastRun: m.mem.LastRun, LastEnd: m.mem.LastEnd, Missed: m.mem.Missed,
	}
	if m.busy {
		s.Run = *m.mem.Run
	}
	isAlways := m.schedule.mode() == always
	if !isAlways || s.Blackout && !s.Stopped { // an always-on run that goes on has no next
		s.Next = m.schedule.Next(now)
	}
	if m.schedule.mode() == after {
		s.Next = m.mem.Follows
	}
	wanted := m.busy && m.ending == "" || m.waiting != nil || isAlways && !m.mem.Stopped || m.lost != nil && !m.lost.ended(now)
	s.Due = wanted && !s.Blackout && !s.Paused
	return s
}
