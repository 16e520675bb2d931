package schedule

import (
	"log/slog"
	"time"
)

// An agenda is everything a runner knows, and what it makes of it. It is a state
// machine over instants: it reads no clock and calls nobody.
//
//	nothing  ── a run is due, nothing forbids it ──► under way   (begin)
//	under way ── over, blackout, replaced, by hand ─► draining    (end)
//	under way ── always, a cut is due ─────────────► under way   (cut)
//	under way, draining ── the starter says ended ─► nothing
type agenda struct {
	schedule *Schedule
	log      *slog.Logger

	mem   memory
	dirty bool // mem is to be saved

	busy    bool    // mem.Run is under way or draining
	ending  Reason  // it was asked to end
	waiting *waiter // begins as soon as it may
	paused  bool
	byHand  bool // the run under way is to be stopped by hand
	cutNow  bool // the always-on run under way is to be cut without the clock's asking
	leaving bool
	lost    *Run          // could not be begun: load is missing until its end
	retry   time.Duration // monotonic: not before, after an always-on run ended by itself

	wall      time.Time // at the last watch
	monotonic time.Duration
}

// A memory is what a restart must know.
type memory struct {
	Seen    time.Time `json:"seen"`          // when it was saved
	Due     time.Time `json:"due,omitzero"`  // runs due up to here were begun or missed
	Run     *Run      `json:"run,omitempty"` // under way
	Owed    bool      `json:"owed,omitempty"`
	Stopped bool      `json:"stopped,omitempty"` // by hand, an always-on schedule
	LastRun string    `json:"last_run,omitempty"`
	LastEnd time.Time `json:"last_end,omitzero"`
	Missed  uint64    `json:"missed,omitempty"`
}

// A waiter is a run that begins as soon as nothing is in its way.
type waiter struct {
	run      Run
	floating bool // it has its whole length before it, whenever it begins; else the clock decides how much is left
}

// A deed is what an agenda wants done, at most one of begin, cut and end.
type deed struct {
	begin   *Run
	cut     *Run
	end     Reason
	save    *memory
	stepped time.Duration
}

func (d deed) some() bool {
	return d.begin != nil || d.cut != nil || d.end != "" || d.save != nil || d.stepped != 0
}

const (
	// leastStep is a step of the wall clock that is no slew.
	leastStep = time.Second
	// heartbeat is how often the memory of a run under way is saved.
	heartbeat = sleep
	// longestLookBack bounds how far back missed runs are counted.
	longestLookBack = 31 * day
	// longestSetBack is by how much a clock set back keeps runs from being begun
	// twice; further back it is a clock that was wrong.
	longestSetBack = day
	// brokenShare of a run so far without load leaves it good for no verdict
	// (SEMANTICS section 5).
	brokenShare = 0.05
)

// watch compares the clocks and returns by how much the wall clock was stepped
// since it was last called.
func (a *agenda) watch(wall time.Time, monotonic time.Duration) (stepped time.Duration) {
	if !a.wall.IsZero() {
		stepped = wall.Sub(a.wall) - (monotonic - a.monotonic)
	}
	a.wall, a.monotonic = wall, monotonic
	if stepped.Abs() <= leastStep {
		return 0
	}
	a.log.Warn("the wall clock was stepped", "by", stepped)
	return stepped
}

// restore takes up an earlier process's memory and returns its run where that is
// lost.
func (a *agenda) restore(m memory, now time.Time) (lost *Run) {
	before := m.Run
	m.Run = nil
	a.mem = m
	a.dirty = true
	if m.Due.IsZero() {
		a.mem.Due = now
		if run, ok := a.schedule.Active(now); ok && a.schedule.fires() && a.schedule.resume {
			a.join(run, now.Sub(run.Zero), now)
		}
	}
	if before == nil {
		return nil
	}
	if !a.resumable(*before, now) {
		a.log.Warn("a run that was under way before is not resumed", "run", before.ID)
		a.mem.LastRun, a.mem.LastEnd = before.ID, m.Seen
		return before
	}
	run := *before
	if a.schedule.mode() == always {
		run.Zero = a.schedule.zero // the workload, and with it the phase, may have changed
	}
	run.Resumed = true
	a.join(run, max(0, now.Sub(m.Seen)), now)
	return nil
}

func (a *agenda) resumable(r Run, now time.Time) bool {
	if !a.schedule.resume || r.ended(now) {
		return false
	}
	if a.schedule.mode() == always {
		return !a.mem.Stopped && !r.Manual && r.End.IsZero() && !r.Fire.Before(a.schedule.alwaysOn(now).Fire)
	}
	return (r.Manual || !r.End.IsZero()) && !a.schedule.blackouts.between(a.mem.Seen, now)
}

// join lets a run be taken up in its middle, after a gap without load.
func (a *agenda) join(r Run, gap time.Duration, now time.Time) {
	r.Gap += gap
	if float64(r.Gap) > brokenShare*float64(now.Sub(r.begin())) {
		r.Broken = true
	}
	a.waiting = &waiter{run: r}
}

// collect looks at the runs that have become due since it was last called.
func (a *agenda) collect(now time.Time) {
	if w := a.waiting; w != nil && !w.floating && (w.run.ended(now) || a.schedule.mode() != always && a.dark(now)) {
		a.miss(w.run, false, "its time is over")
		a.waiting = nil
	}
	if !a.schedule.fires() || a.leaving {
		return
	}
	if a.mem.Due.Sub(now) > longestSetBack {
		a.mem.Due, a.dirty = now, true
	}
	if earliest := now.Add(-longestLookBack); a.mem.Due.Before(earliest) {
		a.mem.Due = earliest
	}
	for r, ok := a.schedule.following(a.mem.Due); ok && !r.Zero.After(now); r, ok = a.schedule.following(r.Zero) {
		a.mem.Due, a.dirty = r.Zero, true
		a.arrive(r, now)
	}
}

// arrive decides what becomes of a run that is due.
func (a *agenda) arrive(r Run, now time.Time) {
	late := now.Sub(r.Zero)
	switch {
	case a.dark(r.Zero) || a.dark(now):
		a.miss(r, true, "blackout")
	case a.paused:
		a.miss(r, true, "paused")
	case late > sleep && (!a.schedule.resume || r.ended(now)):
		a.miss(r, true, "perfd was not there")
	case a.waiting != nil || a.overlaps(r):
		a.overlap(r)
	case late > sleep:
		a.join(r, late, now)
	default:
		a.waiting = &waiter{run: r}
	}
}

// overlaps reports whether a run is under way that goes on beyond r's beginning.
// One that only drains does not: r waits for it.
func (a *agenda) overlaps(r Run) bool {
	return a.busy && a.ending == "" && !a.mem.Run.ended(r.Zero)
}

func (a *agenda) overlap(r Run) {
	switch policy := a.schedule.cfg.Overlap; {
	case policy == OverlapReplace:
		if a.waiting != nil {
			a.miss(a.waiting.run, false, "replaced")
		}
		a.waiting = &waiter{run: r}
	case policy == OverlapQueue && a.waiting == nil:
		a.waiting = &waiter{run: r, floating: true}
	default:
		a.miss(r, false, "the run before goes on")
	}
}

// miss counts a run that was due and does not begin. One that nobody decided to
// leave out is owed.
func (a *agenda) miss(r Run, owed bool, why string) {
	a.mem.Missed++
	a.dirty = true
	a.mem.Owed = a.mem.Owed || owed && a.schedule.cfg.Missed == MissedRunOnce
	a.log.Warn("a run was missed", "run", r.ID, "reason", why)
}

// decide returns what is to be done now.
func (a *agenda) decide(now time.Time, monotonic time.Duration) deed {
	if a.busy {
		if a.ending != "" {
			return deed{}
		}
		if why := a.toEnd(now); why != "" {
			a.ending, a.byHand = why, false
			a.log.Info("a run is ended", "run", a.mem.Run.ID, "reason", why)
			return deed{end: why}
		}
		if a.schedule.mode() != always {
			return deed{}
		}
		next := a.schedule.alwaysOn(now)
		if !a.mem.Run.Fire.Before(next.Fire) {
			if !a.cutNow || a.mem.Run.Manual || !a.mem.Run.End.IsZero() {
				return deed{}
			}
			zero := next.Zero
			next = a.schedule.from(now)
			next.Zero = zero
		}
		a.cutNow = false
		a.mem.LastRun, a.mem.LastEnd = a.mem.Run.ID, now
		a.mem.Run, a.dirty = &next, true
		return deed{cut: &next}
	}
	if a.leaving || a.paused || a.dark(now) {
		return deed{}
	}
	run, ok := a.toBegin(now, monotonic)
	if !ok {
		return deed{}
	}
	a.busy, a.ending, a.lost, a.cutNow = true, "", nil, false
	a.mem.Run, a.dirty = &run, true
	return deed{begin: &run}
}

// toEnd is why the run under way is to end now.
func (a *agenda) toEnd(now time.Time) Reason {
	switch {
	case a.mem.Run.ended(now):
		return Over
	case a.byHand:
		return ByHand
	case a.dark(now):
		return InBlackout
	case a.leaving:
		return Leaving
	case a.waiting != nil && !a.waiting.floating:
		return Replaced
	}
	return ""
}

// toBegin is the run to begin now.
func (a *agenda) toBegin(now time.Time, monotonic time.Duration) (Run, bool) {
	switch w := a.waiting; {
	case w != nil:
		a.waiting = nil
		if w.floating {
			w.run.Zero, w.run.End = now, a.schedule.endFrom(now)
		}
		return w.run, true
	case a.schedule.mode() == always:
		return a.schedule.alwaysOn(now), !a.mem.Stopped && monotonic >= a.retry
	case a.mem.Owed:
		a.mem.Owed = false
		r := a.schedule.from(now)
		r.Zero, r.End = now, a.schedule.endFrom(now)
		return r, true
	}
	return Run{}, false
}

// close notes that the run under way is over.
func (a *agenda) close(now time.Time, monotonic time.Duration) {
	if !a.busy {
		return
	}
	if a.schedule.mode() == always && a.ending == "" {
		a.retry = monotonic + sleep // a fault that ends each run must not begin one after another
		a.log.Error("an always-on run ended by itself, another follows", "run", a.mem.Run.ID, "in", sleep)
	}
	if a.ending != Leaving {
		a.mem.LastRun, a.mem.LastEnd = a.mem.Run.ID, now
		a.mem.Run = nil
	}
	a.busy, a.ending, a.byHand, a.dirty = false, "", false, true
}

// toSave returns the memory where it is to be saved.
func (a *agenda) toSave(now time.Time) *memory {
	if !a.dirty && (!a.busy || now.Sub(a.mem.Seen).Abs() < heartbeat) {
		return nil
	}
	a.dirty = false
	if !a.leaving {
		a.mem.Seen = now
	}
	m := a.mem
	if w := a.waiting; m.Run == nil && w != nil && !w.floating {
		m.Run = &w.run
	}
	return &m
}

// leave has the run under way end and no other begin. Load was there up to now.
func (a *agenda) leave(now time.Time) error {
	if w := a.waiting; w != nil && w.floating && !w.run.Manual {
		a.miss(w.run, true, "perfd ends before its turn")
		a.waiting = nil
	}
	a.leaving, a.mem.Seen, a.dirty = true, now, true
	return nil
}

func (a *agenda) start(now time.Time) error {
	switch {
	case a.dark(now):
		return ErrBlackout
	case a.paused:
		return ErrPaused
	case a.busy && a.ending == "" || a.waiting != nil:
		return ErrRunning
	}
	if a.schedule.mode() == always {
		a.mem.Stopped, a.retry, a.dirty = false, 0, true
		return nil
	}
	r := a.schedule.from(now)
	r.Manual = true
	a.waiting = &waiter{run: r, floating: true}
	return nil
}

func (a *agenda) stop(time.Time) error {
	isAlways := a.schedule.mode() == always
	if !a.busy && a.waiting == nil && !a.mem.Owed && (!isAlways || a.mem.Stopped) {
		return ErrNotRunning
	}
	a.mem.Stopped, a.mem.Owed, a.dirty = isAlways, false, true
	a.waiting = nil
	a.byHand = a.busy
	return nil
}

// cut has an always-on run that is under way cut.
func (a *agenda) cut(time.Time) error {
	a.cutNow = a.busy && a.ending == "" && a.schedule.mode() == always
	return nil
}

// idle is for how long there is nothing to do, as far as the clock can tell.
func (a *agenda) idle(now time.Time, monotonic time.Duration) time.Duration {
	wait := sleep
	sooner := func(t time.Time) {
		if !t.IsZero() {
			wait = max(0, min(wait, t.Sub(now)))
		}
	}
	if _, until, in := a.schedule.blackouts.In(now); in {
		sooner(until)
	} else if begin, ok := a.schedule.blackouts.Next(now); ok {
		sooner(begin)
	}
	if a.schedule.fires() && !a.leaving {
		if next, ok := a.schedule.following(a.mem.Due); ok {
			sooner(next.Zero)
		}
	}
	switch isAlways := a.schedule.mode() == always; {
	case a.busy && a.ending == "" && isAlways:
		sooner(a.mem.Run.Fire.Add(a.schedule.cfg.cut()))
	case a.busy && a.ending == "":
		sooner(a.mem.Run.End)
	case !a.busy && isAlways && a.retry > monotonic:
		wait = min(wait, a.retry-monotonic)
	}
	return wait
}

func (a *agenda) dark(t time.Time) bool {
	_, _, in := a.schedule.blackouts.In(t)
	return in
}

func (a *agenda) status(now time.Time) Status {
	s := Status{
		Running: a.busy, Draining: a.busy && a.ending != "", Why: a.ending,
		Blackout: a.dark(now), Paused: a.paused, Stopped: a.mem.Stopped,
		LastRun: a.mem.LastRun, LastEnd: a.mem.LastEnd, Missed: a.mem.Missed,
	}
	if a.busy {
		s.Run = *a.mem.Run
	}
	isAlways := a.schedule.mode() == always
	if !isAlways || s.Blackout && !s.Stopped { // an always-on run that goes on has no next
		s.Next = a.schedule.Next(now)
	}
	wanted := a.busy && a.ending == "" || a.waiting != nil || isAlways && !a.mem.Stopped || a.lost != nil && !a.lost.ended(now)
	s.Due = wanted && !s.Blackout && !s.Paused
	return s
}
