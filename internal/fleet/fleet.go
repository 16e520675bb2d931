// Package fleet knows which scenarios, runs, targets and watches exist at the
// moment, and why: it makes them from a document, starts and stops them, keeps
// what a reload leaves unchanged, pauses all load, and says under which
// circumstances a window was measured.
package fleet

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/config"
	"github.com/perfd/perfd/internal/engine"
	"github.com/perfd/perfd/internal/judge"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/maintenance"
	"github.com/perfd/perfd/internal/output"
	"github.com/perfd/perfd/internal/pace"
	"github.com/perfd/perfd/internal/record"
	"github.com/perfd/perfd/internal/state"
	"github.com/perfd/perfd/internal/validity"
	"github.com/perfd/perfd/internal/wire"
)

// Options of a Fleet.
type Options struct {
	Shard, Shards int           // 0 ≤ Shard < Shards
	Grace         time.Duration // of Stop, iterations under way included
	Recorder      *record.Recorder
	State         *state.Store
	Judge         Judge
	Outputs       *output.Set // take the traces of runs
	Log           *slog.Logger
	// Strike strikes secrets out of what people see of failures; nil leaves it.
	Strike func(string) string
	// Secret takes each text of a credential that Strike must strike out from now on; nil for nobody.
	Secret func(text string)
	// TLSFaults takes what is wrong with certificates that changed; nil for nobody.
	TLSFaults *wire.TLSFaults
	// Timeline is the monitor's; nil is one without a monitor.
	Timeline *validity.Timeline

	// PauseChanged is called when all load is paused, and when it goes on; nil for nobody.
	PauseChanged func(paused bool)

	// NewWaiter makes the waiter of an engine; nil is engine.NewWaiter.
	NewWaiter func() (engine.Waiter, error)
	// Transport carries the requests of watches; nil dials under the guard.
	Transport http.RoundTripper
	// Network is what load, watches and credentials reach other machines by.
	Network wire.Network
}

// A Judge takes what happens to scenarios and targets. Its methods never block.
type Judge interface {
	Sample(load.Sample)
	Event(load.Event)
	Ended(judge.Run)
	// CollectRuns sends how many runs of a scenario ended, by result.
	CollectRuns(send analysis.Send, scenario string)
	// Forget drops what is kept of a scenario that is no longer configured.
	Forget(scenario string)
}

const (
	// tickEvery is how often runs and targets are looked at.
	tickEvery = time.Second
	// interruptAfter is the share of the grace of a stop after which iterations
	// that have not ended are interrupted; the rest is for what stops afterwards.
	interruptAfter = 0.9
)

// A Fleet is everything that puts load on targets or watches them. Its methods
// are safe for concurrent use.
type Fleet struct {
	o       Options
	zero    time.Time // of the clock that the limiters of all targets share
	pause   pause
	alive   alive
	pushed  *maintenance.Pushed
	windows lastWindows

	mayBeLate    atomic.Int64 // ns
	disturbances disturbanceLog

	following sync.Mutex           // one look at maintenance at a time
	known     map[string]time.Time // end of the maintenance that was last put on the timeline, by target

	retiring sync.WaitGroup // scenarios that end their last run
	cancel   context.CancelFunc
	loops    sync.WaitGroup

	mu  sync.RWMutex
	now *generation
}

// New returns a Fleet of what a document says. It starts nothing; an error
// leaves nothing behind.
func New(doc *config.Document, o Options) (*Fleet, error) {
	if o.NewWaiter == nil {
		o.NewWaiter = engine.NewWaiter
	}
	if o.Timeline == nil {
		o.Timeline = validity.NewTimeline()
	}
	f := &Fleet{o: o, zero: time.Now(), pushed: maintenance.NewPushed(o.State), now: &generation{targets: map[string]*Target{}}}
	f.disturbances.log = o.Log
	o.State.Get(maintenanceKey, &f.known)
	f.alive = lastAlive(o.State)
	f.pause = pause{store: o.State, changed: f.pauseChanged}
	// Schedules must know from their beginning that they are paused: they would count
	// everything that comes before the pause as missed.
	f.pause.restore()
	f.pause.look(doc.KillSwitch())
	first, err := f.build(doc, f.now)
	if err != nil {
		f.pause.close()
		return nil, err
	}
	f.now = first
	f.keepTime(first)
	return f, nil
}

// Start starts watches and schedules. A pause that an earlier process began, and
// the kill switch, are in force before any load.
func (f *Fleet) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	f.loops.Go(func() { f.tick(ctx) })
	f.loops.Go(func() { f.census(ctx) })
	f.loops.Go(func() { f.alive.keep(ctx, f.Scenarios) })
	now := f.current()
	f.pause.look(now.doc.KillSwitch())
	f.followMaintenance(time.Now())
	f.forgetScenarios(now)
	for _, k := range now.credentials {
		k.start()
	}
	for _, t := range now.targets {
		t.start()
	}
	for _, s := range now.scenarios {
		s.start()
	}
}

// Stop ends every run with its grace, then everything else. Iterations that have
// not ended when nine tenths of the grace have passed are interrupted.
func (f *Fleet) Stop(ctx context.Context) error {
	now := f.current()
	err := f.stopScenarios(ctx, now)
	for _, t := range now.targets {
		t.stop()
	}
	for _, k := range now.credentials {
		k.stop()
	}
	f.pause.close()
	if f.cancel != nil {
		f.cancel()
		f.loops.Wait()
	}
	return err
}

func (f *Fleet) stopScenarios(ctx context.Context, now *generation) error {
	late := time.AfterFunc(time.Duration(float64(f.o.Grace)*interruptAfter), func() {
		for _, s := range now.scenarios {
			if r := s.current(); r != nil {
				r.kill()
			}
		}
	})
	defer late.Stop()
	for _, s := range now.scenarios {
		f.retiring.Go(s.stop)
	}
	ended := make(chan struct{})
	go func() {
		f.retiring.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return errors.New("iterations do not end, though they were interrupted")
	}
}

func (f *Fleet) current() *generation {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.now
}

// Document returns the document in force.
func (f *Fleet) Document() *config.Document { return f.current().doc }

// Scenarios returns the scenarios there are, in the document's order.
func (f *Fleet) Scenarios() []*Scenario { return f.current().scenarios }

// Scenario returns the scenario of a name, nil where there is none.
func (f *Fleet) Scenario(name string) *Scenario { return f.current().scenario(name) }

// Target returns the target of a name, nil where there is none.
func (f *Fleet) Target(name string) *Target { return f.current().targets[name] }

// Scale is what the configuration is scaled by.
func (f *Fleet) Scale() config.Scale { return f.current().doc.Scale }

// SecretsChanged reports whether a file that holds a secret of the document has
// changed since it was read; one change is reported once.
func (f *Fleet) SecretsChanged() bool { return f.current().doc.SecretsChanged() }

// FilesChanged reports whether a file of the document has changed since it was read;
// one change is reported once.
func (f *Fleet) FilesChanged() bool { return f.current().doc.FilesChanged() }

// tick looks at every run and target each second.
func (f *Fleet) tick(ctx context.Context) {
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		at := time.Now()
		now := f.current()
		f.pause.look(now.doc.KillSwitch())
		f.followMaintenance(at)
		for _, s := range now.scenarios {
			if r := s.current(); r != nil {
				r.tick(last, at)
			}
		}
		for _, t := range now.targets {
			t.tick(at)
		}
		last = at
		f.disturbances.sum(at)
	}
}

// census counts about once a second the VUs that are in an iteration, for
// Little's law. Its intervals are random: regular arrivals would otherwise be
// seen always or never.
func (f *Fleet) census(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration((0.5 + rand.Float64()) * float64(time.Second))):
		}
		at := time.Now()
		for _, s := range f.Scenarios() {
			if r := s.current(); r != nil {
				s.balance.Busy(r.engine.Stats().Busy, at)
			}
		}
	}
}

// Disturbed notes what perfd did to the measurements, and follows a step of the clock.
func (f *Fleet) Disturbed(d validity.Disturbance) {
	touched := 0
	for _, s := range f.Scenarios() {
		r := s.current()
		if p, ok := s.plan.(pace.Controlled); ok && d.By == load.ByClock {
			p.Shift(d.Step)
		}
		if r == nil {
			continue
		}
		if s.valid.Disturbed(d) {
			touched++
		}
		if d.By == load.ByClock {
			r.engine.Reanchor(d.Step)
		}
	}
	if touched > 0 {
		f.disturbances.note(d, touched)
	}
}

// MayBeLate is what perfd may be late by before it disturbs a measurement: the least
// of all scenarios.
func (f *Fleet) MayBeLate() time.Duration { return time.Duration(f.mayBeLate.Load()) }

// keepTime has the monitor's heartbeat follow the scenarios of a generation.
func (f *Fleet) keepTime(g *generation) {
	tightest := validity.Config{}.Limit(0)
	for i, s := range g.scenarios {
		if limit := s.valid.Limit(); i == 0 || limit < tightest {
			tightest = limit
		}
	}
	f.mayBeLate.Store(int64(tightest))
}

// NoPorts counts connects of all targets that failed because the machine had no
// local port left.
func (f *Fleet) NoPorts() (n uint64) {
	for _, t := range f.current().targets {
		n += t.dialer.NoPorts()
	}
	return n
}

// finished has the scenarios follow that are after one whose run has come to its end.
func (f *Fleet) finished(scenario string) {
	for _, s := range f.Scenarios() {
		if s.primary == nil && s.cfg.Schedule.After.S == scenario {
			s.runner.Follow()
		}
	}
}

// Pause stops all load for d or, with 0, until Resume. It survives a restart.
func (f *Fleet) Pause(d time.Duration) error { return f.pause.set(d) }

// Resume ends a pause that was asked for; the kill switch stays in force.
func (f *Fleet) Resume() error { return f.pause.resume() }

// Paused reports whether load is paused, and until when; zero is without end.
func (f *Fleet) Paused() (on bool, until time.Time) { return f.pause.state() }

// pauseChanged pauses and resumes what runs.
func (f *Fleet) pauseChanged(paused bool) {
	f.o.Log.Info("pause", "paused", paused)
	if f.o.PauseChanged != nil {
		f.o.PauseChanged(paused)
	}
	for _, s := range f.Scenarios() {
		r := s.current()
		if paused {
			s.runner.Pause() // a baseline's side has that of its scenario: a second time changes nothing
			if r != nil {
				r.engine.Pause()
			}
			continue
		}
		s.runner.Resume()
		if r != nil {
			r.engine.Resume()
		}
	}
}

// releaseChanged puts a new release on the timeline, and cuts the runs on the
// target. It may stand for several changes.
func (f *Fleet) releaseChanged(t *Target, event load.Event, changes int) {
	f.o.Log.Info("the target changed its release", "target", t.name, "release", event.Release, "previous", event.Previous, "settled", event.Settled, "changes", changes)
	f.o.Judge.Event(event)
	for _, s := range f.Scenarios() {
		if s.primary == nil && s.targets[t.name] != nil {
			s.runner.Cut()
		}
	}
}
