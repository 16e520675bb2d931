package schedule

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// A Starter performs runs, one at a time. Its methods are called by the
// goroutine of Runner.Run, never while the runner is locked, and do not block.
type Starter interface {
	// Begin starts a run. It calls ended, once and from any goroutine, when the
	// run is over and its last iteration with it: by itself, or after End. An
	// error means that nothing was started.
	Begin(r Run, ended func()) error
	// End has the run under way end, with its grace.
	End(why Reason)
	// Cut gives the run under way a new identity; its load goes on.
	Cut(r Run)
}

// A Reason says why a run must end.
type Reason string

// The reasons. Only Over is a run's regular end.
const (
	Over       Reason = "over" // its end has come
	InBlackout Reason = "blackout"
	Replaced   Reason = "replaced" // overlap: replace
	ByHand     Reason = "by hand"
	Leaving    Reason = "shutdown" // a restart may resume it
)

// A Memory keeps what a runner must know after a restart, as JSON.
type Memory interface {
	// Get decodes what was kept into v, and reports whether there was anything.
	Get(v any) bool
	// Set keeps v over a restart.
	Set(v any) error
}

// RunnerOptions are what NewRunner needs.
type RunnerOptions struct {
	Schedule *Schedule
	Starter  Starter
	Memory   Memory // nil forgets
	Log      *slog.Logger

	// Alive is the last instant at which the earlier process that left the memory is known
	// to have lived; zero where nothing is. A run that was under way when that was killed
	// had load until then.
	Alive time.Time
	// Paused begins with a pause, as if Pause had been called.
	Paused bool
	// Lost, if not nil, is called for a run that was under way when an earlier
	// process ended and is not resumed. Its result is interrupted.
	Lost func(Run)
	// Stepped, if not nil, is called with the time by which the wall clock was
	// stepped against the monotonic one, which stops while the machine is suspended.
	Stepped func(by time.Duration)
	// Clock reads the wall clock and, at the same instant, a monotonic clock. Nil
	// reads those of the system.
	Clock func() (wall time.Time, monotonic time.Duration)
}

// A Status is the state of a Runner at one instant.
type Status struct {
	Running  bool   // a run is under way, draining included
	Draining bool   // it was asked to end
	Why      Reason // why it must end, while Draining
	Run      Run    // the run under way
	Blackout bool
	Paused   bool
	Stopped  bool // by hand, an always-on schedule

	Next    time.Time // when the clock begins the next run; zero for none
	LastRun string    // the ID of the run that ended last
	LastEnd time.Time
	Missed  uint64 // runs that were due and did not begin, over restarts
	Due     bool   // load is expected now: a run should be under way, and neither blackout nor pause forbids it
}

// sleep is the longest time for which a runner derives the wall clock from the
// monotonic one. A run that is noticed by this much too late is on time: a step of
// the wall clock may have passed over its beginning.
const sleep = 30 * time.Second

// A Runner begins and ends the runs of one scenario. One goroutine calls Run; any
// goroutine may call the other methods, also before and after Run.
type Runner struct {
	o    RunnerOptions
	wake chan struct{} // of capacity 1: the state has changed

	mu sync.Mutex // never held while Starter, Memory or a function of the options is called
	machine
}

// NewRunner returns a runner. Nothing begins before Run.
func NewRunner(o RunnerOptions) *Runner {
	if o.Clock == nil {
		epoch := time.Now()
		o.Clock = func() (time.Time, time.Duration) {
			now := time.Now()
			return now.Round(0), now.Sub(epoch)
		}
	}
	r := &Runner{o: o, wake: make(chan struct{}, 1)}
	r.machine = machine{schedule: o.Schedule, log: o.Log, paused: o.Paused}
	return r
}

// Run begins and ends runs until ctx ends. It then ends the run under way and
// returns when that is over. A later process may resume it.
func (r *Runner) Run(ctx context.Context) {
	r.recall()
	timer := time.NewTimer(0)
	defer timer.Stop()
	stop := ctx.Done()
	for {
		do, wait := r.look()
		if do.any() {
			r.perform(do)
			continue
		}
		if r.gone() {
			return
		}
		timer.Reset(wait)
		select {
		case <-stop:
			stop = nil
			_ = r.change(r.leave) // never fails
		case <-r.wake:
		case <-timer.C:
		}
	}
}

// recall restores the memory of an earlier process.
func (r *Runner) recall() {
	var m memory
	if r.o.Memory != nil && !r.o.Memory.Get(&m) {
		m = memory{}
	}
	r.mu.Lock()
	wall, monotonic := r.o.Clock()
	r.watch(wall, monotonic)
	lost := r.restore(m, r.o.Alive, wall)
	r.mu.Unlock()
	if lost != nil && r.o.Lost != nil {
		r.o.Lost(*lost)
	}
}

// look returns the next action or, where there is none, the time for which there
// will be none.
func (r *Runner) look() (action, time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	wall, monotonic := r.o.Clock()
	stepped := r.watch(wall, monotonic)
	r.collect(wall)
	do := r.decide(wall, monotonic)
	do.stepped, do.save = stepped, r.toSave(wall)
	return do, r.idle(wall, monotonic, sleep)
}

// perform carries out an action. The memory is saved first, so that a process that
// is killed in between resumes a run that did not begin rather than forgets one
// that did.
func (r *Runner) perform(do action) {
	if do.stepped != 0 && r.o.Stepped != nil {
		r.o.Stepped(do.stepped)
	}
	if do.save != nil && r.o.Memory != nil {
		if err := r.o.Memory.Set(do.save); err != nil {
			r.log.Error("the schedule's memory was not written; a restart may not know this run", "err", err)
		}
	}
	switch {
	case do.begin != nil:
		if err := r.o.Starter.Begin(*do.begin, sync.OnceFunc(r.ended)); err != nil {
			r.log.Error("a run did not start", "run", do.begin.ID, "err", err)
			r.failed()
		}
	case do.cut != nil:
		r.o.Starter.Cut(*do.cut)
	case do.end != "":
		r.o.Starter.End(do.end)
	}
}

// ended is the callback of Starter.Begin.
func (r *Runner) ended() {
	_ = r.change(func(wall time.Time) error {
		_, monotonic := r.o.Clock()
		r.close(wall, monotonic)
		return nil
	}) // never fails
}

// failed records that the run under way did not start.
func (r *Runner) failed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost = r.mem.Run
	wall, monotonic := r.o.Clock()
	r.close(wall, monotonic)
}

// gone reports whether the process ends and no run is under way.
func (r *Runner) gone() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.leaving && !r.busy
}

// change changes the runner's state and wakes Run.
func (r *Runner) change(f func(wall time.Time) error) error {
	r.mu.Lock()
	wall, _ := r.o.Clock()
	err := f(wall)
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
	return err
}

// The errors of Start and Stop.
var (
	ErrRunning    = errors.New("a run is under way already")
	ErrNotRunning = errors.New("no run is under way")
	ErrBlackout   = errors.New("a blackout is in force")
	ErrPaused     = errors.New("load is paused")
)

// Start begins a run by hand, or an always-on one that was stopped by hand.
func (r *Runner) Start() error { return r.change(r.start) }

// Stop ends the run under way by hand. An always-on schedule stays stopped, over
// restarts too, until Start.
func (r *Runner) Stop() error { return r.change(r.stop) }

// Cut gives an always-on run that is under way a new identity at once, for a change
// of the system under load. Other runs go on unchanged.
func (r *Runner) Cut() { _ = r.change(r.cut) } // never fails

// Follow says that a run of the scenario that this one is after has come to its end. Other
// schedules take no notice.
func (r *Runner) Follow() { _ = r.change(r.follow) } // never fails

// Pause keeps runs from beginning: those that are due during a pause are missed. The
// run under way keeps its identity and its end; its engine must be paused too.
func (r *Runner) Pause() { r.pause(true) }

// Resume ends a pause.
func (r *Runner) Resume() { r.pause(false) }

func (r *Runner) pause(on bool) {
	_ = r.change(func(wall time.Time) error { // never fails
		r.collect(wall) // runs that became due before the change are not affected by it
		r.paused = on
		return nil
	})
}

// Status returns the state of the runner.
func (r *Runner) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	wall, _ := r.o.Clock()
	return r.status(wall)
}
