package schedule

import (
	"fmt"
	"hash/fnv"
	"time"
)

// A Run is one execution of a scenario.
type Run struct {
	ID   string    `json:"id"`           // unique within the scenario
	Fire time.Time `json:"fire"`         // when it was due, before jitter; for an always-on run its last cut, for a manual run the request
	Zero time.Time `json:"zero"`         // time zero of its workload
	End  time.Time `json:"end,omitzero"` // when it ends at the latest; zero for no bound

	Manual  bool          `json:"manual,omitempty"`
	Resumed bool          `json:"resumed,omitempty"` // it was under way before perfd started
	Gap     time.Duration `json:"gap,omitempty"`     // for how long it was without load because perfd was down
	Broken  bool          `json:"broken,omitempty"`  // a gap was over 5 % of the run so far, which leaves no verdict but inconclusive
}

// begin is when the run began, for its results.
func (r Run) begin() time.Time {
	if r.Zero.Before(r.Fire) { // always-on: the zero of its workload is decades in the past
		return r.Fire
	}
	return r.Zero
}

// ended reports whether the run's end has come.
func (r Run) ended(t time.Time) bool { return !r.End.IsZero() && !t.Before(r.End) }

// A Schedule says which run goes on when. It is immutable; all its methods are
// pure functions of instants.
type Schedule struct {
	cfg       Config
	scenario  string
	loc       *time.Location
	cron      cronSpec
	anchor    time.Time
	zero      time.Time     // of an always-on run
	length    time.Duration // of a run at the longest, 0 for no bound
	resume    bool
	blackouts *Blackouts
}

// Options are what New must know of a scenario.
type Options struct {
	Scenario  string
	Test      string // load, stress, spike, volume or endurance: decides the default of on_restart
	Workload  Workload
	Blackouts *Blackouts
}

// New compiles a validated Config. It fails only for one that was not validated.
func New(c Config, o Options) (*Schedule, error) {
	s := &Schedule{cfg: c, scenario: o.Scenario, length: c.end(o.Workload).Time, resume: c.resumes(o), blackouts: o.Blackouts}
	var err error
	if s.loc, err = c.location(); err != nil {
		return nil, fmt.Errorf("schedule: %w", err)
	}
	if c.Cron != "" {
		if s.cron, err = parseCron(c.Cron, s.loc); err != nil {
			return nil, fmt.Errorf("schedule: cron %w", err)
		}
	}
	origin, _ := instants(time.Date(1970, 1, 5, 0, 0, 0, 0, time.UTC), s.loc)
	s.anchor = origin
	if c.Anchor != "" {
		if s.anchor, err = parseAnchor(c.Anchor, s.loc); err != nil {
			return nil, fmt.Errorf("schedule: anchor: %w", err)
		}
	}
	s.zero = zeroOf(s.anchor, origin, o.Workload.Cycle)
	return s, nil
}

// resumes reports whether the clock can say where a run that was under way
// before a restart goes on, and whether it should.
func (c Config) resumes(o Options) bool {
	switch {
	case o.Workload.End.Counted():
		return false
	case c.OnRestart != "":
		return c.OnRestart == RestartResume
	case c.mode() == always:
		return true
	}
	// Joining a peak of 10,000 VUs is not a resume.
	return o.Test != "stress" && o.Test != "spike" && o.Test != "volume"
}

// zeroOf is time zero of an always-on run: an instant a whole number of cycles
// before the anchor and not after origin, so that the first pass through the
// workload is over. It does not depend on when perfd was started, so that restarts
// and shards agree on the phase, on each arrival's number and so on its shard.
func zeroOf(anchor, origin time.Time, cycle time.Duration) time.Time {
	if cycle == 0 {
		cycle = 7 * day
	}
	back := anchor.Sub(origin)
	if back <= 0 {
		return anchor
	}
	return anchor.Add(-(back + cycle - 1) / cycle * cycle)
}

func (s *Schedule) mode() mode { return s.cfg.mode() }

// fires reports whether the clock alone begins runs that end.
func (s *Schedule) fires() bool { return s.mode() == onCron || s.mode() == every }

// nextFire is the first fire time after t, zero where none comes.
func (s *Schedule) nextFire(t time.Time) time.Time {
	switch s.mode() {
	case onCron:
		return s.cron.next(t)
	case every:
		return s.floor(t, s.cfg.Every.D()).Add(s.cfg.Every.D())
	}
	return time.Time{}
}

// merged is how many fire times the clock passed over that a fire time stands for, beside itself.
func (s *Schedule) merged(fire time.Time) int {
	if s.mode() != onCron {
		return 0
	}
	return s.cron.merged(fire)
}

// floor is the last instant up to t that is a whole number of steps from the anchor.
func (s *Schedule) floor(t time.Time, step time.Duration) time.Time {
	since := t.Sub(s.anchor)
	rest := since % step
	if rest < 0 {
		rest += step
	}
	return t.Round(0).Add(-rest).In(s.loc)
}

// run is the run of a fire time.
func (s *Schedule) run(fire time.Time) Run {
	r := Run{ID: fire.UTC().Format("20060102T150405Z"), Fire: fire, Zero: fire.Add(s.jitter(fire))}
	r.End = s.endFrom(r.Zero)
	return r
}

// jitter is the same for a scenario's fire time on every machine and after every restart.
func (s *Schedule) jitter(fire time.Time) time.Duration {
	steps := uint64(s.cfg.Jitter.D() / time.Millisecond)
	if steps == 0 {
		return 0
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%s\n%d", s.scenario, fire.UnixNano())
	// FNV's high bits are mixed worse than its low ones in short texts; fold them.
	sum := h.Sum64()
	return time.Duration((sum^sum>>32)%steps) * time.Millisecond
}

// following is the first run with its zero after t, in a blackout or not.
func (s *Schedule) following(t time.Time) (Run, bool) {
	// Jitter is shorter than the time between two fires, so it keeps their order.
	for fire := s.nextFire(t.Add(-s.cfg.Jitter.D())); !fire.IsZero(); fire = s.nextFire(fire) {
		if r := s.run(fire); r.Zero.After(t) {
			return r, true
		}
	}
	return Run{}, false
}

// Next is when the clock next begins a run after t, the zero time where it begins
// none. Runs that are due in a blackout, and so missed, do not count. An always-on
// schedule begins a run only at the end of a blackout.
func (s *Schedule) Next(t time.Time) time.Time {
	if s.mode() == always {
		if _, until, in := s.blackouts.In(t); in {
			return until
		}
		begin, ok := s.blackouts.Next(t)
		if !ok {
			return time.Time{}
		}
		_, until, _ := s.blackouts.In(begin)
		return until
	}
	const looked = 10_000 // runs in a row that blackouts may cover
	for range looked {
		r, ok := s.following(t)
		if !ok {
			break
		}
		if _, _, in := s.blackouts.In(r.Zero); !in {
			return r.Zero
		}
		t = r.Zero
	}
	return time.Time{}
}

// Active is the run that is under way at t by the clock alone, which does not know
// what was started or stopped by hand, missed or queued. Where runs overlap it is
// the last one, unless a blackout has ended that. A run without a bound on its time
// is never found.
func (s *Schedule) Active(t time.Time) (Run, bool) {
	if s.mode() == always {
		_, _, in := s.blackouts.In(t)
		return s.alwaysOn(t), !in
	}
	var last Run
	found := false
	for r, ok := s.following(t.Add(-s.length)); ok && !r.Zero.After(t); r, ok = s.following(r.Zero) {
		last, found = r, true
	}
	if !found || s.blackouts.Between(last.Zero, t) {
		return Run{}, false
	}
	return last, true
}

// alwaysOn is the always-on run at t, which began with its last cut.
func (s *Schedule) alwaysOn(t time.Time) Run {
	cut := s.floor(t, s.cfg.cut())
	r := s.run(cut)
	r.Zero, r.End = s.zero, time.Time{}
	return r
}

// from is a run that begins by hand, or makes up for missed ones. The caller sets
// its zero and end when it begins.
func (s *Schedule) from(t time.Time) Run {
	return Run{ID: t.UTC().Format("20060102T150405.000Z"), Fire: t}
}

// endFrom is when a run with its zero at t ends; zero for never.
func (s *Schedule) endFrom(t time.Time) time.Time {
	if s.length == 0 {
		return time.Time{}
	}
	return t.Add(s.length)
}
