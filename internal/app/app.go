// Package app wires the rooms together: it builds, starts, reloads and stops
// one daemon, and decides nothing else. New binds and builds, Start serves and
// runs, Stop unwinds; two Apps can live in one process.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/config"
	"github.com/perfd/perfd/internal/engine"
	"github.com/perfd/perfd/internal/fleet"
	"github.com/perfd/perfd/internal/history"
	"github.com/perfd/perfd/internal/judge"
	"github.com/perfd/perfd/internal/kind"
	"github.com/perfd/perfd/internal/kind/builtin"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/logging"
	"github.com/perfd/perfd/internal/metric"
	"github.com/perfd/perfd/internal/output"
	"github.com/perfd/perfd/internal/output/exposition"
	"github.com/perfd/perfd/internal/record"
	"github.com/perfd/perfd/internal/state"
	"github.com/perfd/perfd/internal/suite"
	"github.com/perfd/perfd/internal/validity"
	"github.com/perfd/perfd/internal/web"
	"github.com/perfd/perfd/internal/wire"
)

// Options is what a command line says, and what tests replace.
type Options struct {
	ConfigFile    string
	StoragePath   string
	Listen        []string // host:port each; nothing is served where there are none
	WebConfigFile string
	ExternalURL   string // address under which browsers reach perfd; may be empty
	RoutePrefix   string // of the web server's paths; the path of ExternalURL if empty
	Connections   int    // to the web server, at once; 0 is web.DefaultConnections
	Profiles      bool   // Go's profiles are served
	Lifecycle     bool   // changing endpoints other than pause are allowed
	NoClassic     bool   // native histograms only
	Shard, Shards int    // 0 ≤ Shard < Shards
	// Flags are values of the configuration that take the place of the file's, by the path of the key.
	Flags      map[string]string
	Grace      time.Duration
	Log        *slog.Logger
	Reload     <-chan struct{} // SIGHUP
	AutoReload time.Duration   // how often to look whether a file of the configuration changed; 0 is never

	// Narrow removes from a document what is not wanted; nil keeps all of it.
	Narrow func(*config.Document) error
	// Windows takes each window that ended, Judged each run that ended with its
	// finding; nil is nobody.
	Windows func(*load.Window)
	Judged  func(judge.Run, load.Finding)
	// SuiteEnded takes each run of a suite that ended; nil is nobody.
	SuiteEnded func(suite.Run)

	// Kinds is what is plugged in; nil is everything that perfd ships.
	Kinds *kind.Set
	// Disk is called before what reads or changes files of the history, the state and the queue; nil is nobody. Tests let
	// it hang, and fail.
	Disk func() error
	// Network is what everything but the web server reaches other machines by, but for tests the system's.
	Network wire.Network
	// Tests in fake time replace what real time would reach: NewWaiter and
	// Transport as fleet.Options has them, Root and Hold as validity.MonitorOptions has them.
	NewWaiter func() (engine.Waiter, error)
	Transport http.RoundTripper
	Root      string
	Hold      func()
}

// Plugged returns what is plugged in.
func (o Options) Plugged() kind.Set {
	if o.Kinds != nil {
		return *o.Kinds
	}
	return builtin.Kinds()
}

// A UsageError is a mistake of whoever started perfd: of a flag or of the configuration.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the mistake.
func (e *UsageError) Unwrap() error { return e.Err }

// secretsEvery is how often files that hold secrets are looked at.
const secretsEvery = 10 * time.Second

// HistoryFolder is where the history lies below --storage.path.
const HistoryFolder = "history"

// An App is one daemon.
type App struct {
	opts    Options
	log     *slog.Logger
	life    lifecycle
	started time.Time
	kinds   kind.Set

	history  *history.History
	recorder *record.Recorder
	monitor  *validity.Monitor
	judge    *judge.Judge
	fleet    *fleet.Fleet
	suites   *suite.All
	server   *web.Server // nil where nothing is served
	place    web.Place

	secrets       secrets
	historyFaults atomic.Uint64
	tlsFaults     *wire.TLSFaults
	registry      *metric.Registry // of all metrics but the recorder's
	outputs       *output.Set
	prepared      *output.Change // of New, for Start
	ready         atomic.Bool
	stopping      atomic.Bool

	reloading  sync.Mutex // one reload at a time
	collection collection
	reloads    reloads
}

// Run runs one daemon until ctx ends, then drains it. A *UsageError says that
// it never started because of a flag or the configuration.
func Run(ctx context.Context, opts Options) error {
	type begun struct {
		*App
		err error
	}
	begin := make(chan begun, 1)
	go func() {
		a, err := New(opts)
		if err == nil {
			a.Start()
		}
		begin <- begun{a, err}
	}()
	var b begun
	grace := opts.Grace
	select {
	case b = <-begin:
	case <-ctx.Done(): // a disk that hangs keeps the start, and must not keep the stop
		asked := time.Now()
		select {
		case b = <-begin:
			grace = max(0, grace-time.Since(asked))
		case <-time.After(grace):
			go func() { // the process ends now; should it not, nothing may run on
				if late := <-begin; late.err == nil {
					_ = late.stopWithin(grace)
				}
			}()
			return errStillStarting
		}
	}
	if b.err != nil {
		return b.err
	}
	b.serveReloads(ctx)
	return b.stopWithin(grace)
}

var errStillStarting = errors.New("the start had not ended when the grace was over, and is left behind: does the disk of --storage.path answer?")

// New builds a daemon: it takes the storage, loads the configuration and binds
// its listeners. Nothing is served and no load starts before Start; an error
// leaves nothing behind.
func New(opts Options) (_ *App, err error) {
	a := &App{opts: opts, started: time.Now(), kinds: opts.Plugged()}
	a.log = logging.Bound(opts.Log, a.strike)
	a.opts.Log = a.log
	a.life.onStop("log", func(context.Context) error {
		logging.Flush(a.log)
		return nil
	})
	defer func() {
		if err != nil {
			err = errors.Join(err, a.life.stop(context.Background(), a.log))
		}
	}()
	if a.place, err = web.NewPlace(opts.ExternalURL, opts.RoutePrefix); err != nil {
		return nil, &UsageError{err}
	}
	doc, err := Load(opts)
	if err != nil {
		return nil, &UsageError{err}
	}
	a.secrets.add(doc)
	unlock, err := state.Lock(opts.StoragePath)
	if err != nil {
		return nil, &UsageError{err}
	}
	a.life.onStop("storage lock", func(context.Context) error { return unlock() })
	if err := a.openHistory(doc); err != nil {
		return nil, err
	}
	kept, err := state.Open(opts.StoragePath, a.history)
	if err != nil {
		a.log.Error("the state of earlier runs could not be read", "err", err)
	}
	a.judge = judge.New(doc.Description(), judge.Options{Kinds: a.kinds.Analyses, History: a.history, Log: a.log, Judged: a.judged})
	a.recorder = record.New(record.Options{NoClassic: opts.NoClassic, Circumstances: a.circumstances, Failing: a.failing, Windows: a.window})
	a.tlsFaults = &wire.TLSFaults{Log: a.log}
	a.registry = newRegistry(a)
	a.outputs = a.newOutputs()
	a.suites = suite.NewAll(suite.Options{Starter: starter{a}, Log: a.log, Ended: opts.SuiteEnded}, kept)
	timeline := validity.NewTimeline()
	a.fleet, err = fleet.New(doc, fleet.Options{
		Timeline: timeline,
		Shard:    opts.Shard, Shards: opts.Shards, Grace: opts.Grace, Recorder: a.recorder, State: kept, Judge: a.judge,
		Outputs: a.outputs, TLSFaults: a.tlsFaults, Log: a.log, Strike: a.strike, Secret: a.secrets.token, NewWaiter: opts.NewWaiter, Transport: opts.Transport, Network: opts.Network,
		PauseChanged: a.suites.Pause,
	})
	if err != nil {
		return nil, &UsageError{err}
	}
	suites, err := a.changeSuites(doc)
	if err != nil {
		return nil, &UsageError{err}
	}
	suites.Commit()
	a.monitor = validity.NewMonitor(validity.MonitorOptions{
		Timeline: timeline, Limit: a.fleet.MayBeLate, Disturbed: a.fleet.Disturbed, NoPorts: a.fleet.NoPorts, Root: opts.Root, Hold: opts.Hold,
	})
	a.reloads.note(nil)
	if err := a.openOutputs(doc); err != nil {
		return nil, err
	}
	if err := a.listen(); err != nil {
		return nil, err
	}
	a.collection.bound(doc) // last: collections while all of it is built would slow the start
	a.life.onStop("collector", func(context.Context) error { a.collection.stop(); return nil })
	return a, nil
}

// openHistory opens what perfd remembers.
func (a *App) openHistory(doc *config.Document) (err error) {
	a.history, err = history.Open(history.Options{
		Dir: filepath.Join(a.opts.StoragePath, HistoryFolder), MaxBytes: int64(doc.History.MaxSize), MaxAge: doc.History.MaxAge.D(),
		Log: a.log, Fault: func(error) { a.historyFaults.Add(1) }, Disk: a.opts.Disk,
	})
	if err != nil {
		return fmt.Errorf("open the history: %w", err)
	}
	a.life.onStop("history", func(context.Context) error { return a.history.Close() })
	return nil
}

// openOutputs builds what takes metrics, windows and traces out of the process; Start starts it.
func (a *App) openOutputs(doc *config.Document) (err error) {
	a.life.onStop("outputs", a.outputs.Stop) // after everything whose metrics they send
	if a.prepared, err = a.outputs.Prepare(doc.Outputs, doc.Dir); err != nil {
		return &UsageError{err}
	}
	return nil
}

// listen binds the listeners.
func (a *App) listen() (err error) {
	if len(a.opts.Listen) == 0 {
		return nil
	}
	metrics := exposition.New(exposition.Options{Scenarios: a.recorder, Daemon: a.registry, Drop: a.registry.Drop, Log: a.log})
	handler := web.Handler(web.Options{Daemon: daemon{a}, Verdicts: verdicts{a}, Kinds: a.kinds.Analyses, Metrics: metrics, Lifecycle: a.opts.Lifecycle, Profiles: a.opts.Profiles, Place: a.place, Log: a.log})
	if a.server, err = web.Listen(a.opts.Listen, a.opts.WebConfigFile, handler, a.place, a.log); err != nil {
		return &UsageError{err}
	}
	if a.opts.Connections > 0 {
		a.server.Limit(a.opts.Connections)
	}
	a.life.onStop("web server", a.server.Shutdown)
	return nil
}

// Addr is the first address the daemon listens on.
func (a *App) Addr() net.Addr { return a.server.Addrs()[0] }

// Kinds is what is plugged in.
func (a *App) Kinds() kind.Set { return a.kinds }

// Fleet is what runs.
func (a *App) Fleet() *fleet.Fleet { return a.fleet }

// Findings returns everything that was found, what changed last first.
func (a *App) Findings() []load.Finding {
	all := a.judge.Findings()
	scaled := a.fleet.Scale().String()
	if scaled == "" {
		return all
	}
	all = slices.Clone(all)
	for i := range all {
		if f := &all[i]; !f.Updated.Before(a.started) { // others are of a process that may have had another scale
			f.Doubts = append(slices.Clip(f.Doubts), scaled)
		}
	}
	return all
}

// Start serves and lets the scenarios run: sinks first, sources last.
func (a *App) Start() {
	if a.server != nil {
		a.server.Start()
		for _, addr := range a.server.Addrs() {
			a.log.Info("listening", "address", addr.String())
		}
	}
	a.prepared.Commit()
	a.background("history", a.history.Run)
	a.backgroundWithin("judge", a.judge.Run, a.judge.Hurry)
	a.background("recorder", a.recorder.Run) // its last windows are judged
	a.background("monitor", a.monitor.Run)
	a.background("bursts", func(ctx context.Context) { collectBursts(ctx, burstQuiet) })
	a.fleet.Start()
	a.life.onStop("fleet", a.fleet.Stop)
	a.suites.Start()
	a.life.onStop("suites", func(context.Context) error {
		a.suites.Stop()
		return nil
	})
	a.ready.Store(true)
	a.log.Info("ready", "scenarios", len(a.fleet.Scenarios()))
}

// background runs f until the stack of stops reaches it.
func (a *App) background(name string, f func(context.Context)) {
	a.backgroundWithin(name, f, func() {})
}

// leastDrain is what a part gets to drain in, where load has used up the grace.
const leastDrain = time.Second

// backgroundWithin is background for what has something to drain: hurry is called when
// the grace is over, and has f return soon.
func (a *App) backgroundWithin(name string, f func(context.Context), hurry func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(ctx)
	}()
	a.life.onStop(name, func(grace context.Context) error {
		cancel()
		least := time.NewTimer(leastDrain)
		defer least.Stop()
		select {
		case <-done:
			return nil
		case <-least.C:
		}
		select {
		case <-done:
		case <-grace.Done():
			hurry()
			<-done
		}
		return nil
	})
}

// Stop ends all load within the grace, then everything else; /metrics answers
// until the end.
func (a *App) Stop() error { return a.stopWithin(a.opts.Grace) }

func (a *App) stopWithin(grace time.Duration) error {
	a.stopping.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	// A reload under way must not start what would then not be stopped. One that takes half
	// of the grace is left behind, as the steps of the stop are.
	ended := make(chan struct{})
	go func() {
		a.reloading.Lock()
		defer a.reloading.Unlock()
		close(ended)
	}()
	half := time.NewTimer(grace / 2)
	defer half.Stop()
	select {
	case <-ended:
	case <-half.C:
	}
	return a.life.stop(ctx, a.log)
}

// Load reads and checks the configuration file, and narrows the document.
func Load(opts Options) (*config.Document, error) { return loadAfter(opts, nil) }

// loadAfter is Load for a document that comes in the place of another, nil for none.
func loadAfter(opts Options, was *config.Document) (*config.Document, error) {
	if opts.Narrow != nil {
		was = nil // it is not what the file said
	}
	doc, err := config.Load(config.Options{File: opts.ConfigFile, Flags: opts.Flags, Kinds: opts.Plugged(), Was: was})
	if err != nil {
		return nil, fmt.Errorf("the configuration is wrong:\n%w", err)
	}
	if opts.Narrow != nil {
		if err := opts.Narrow(doc); err != nil {
			return nil, err
		}
	}
	return doc, nil
}

// window hands a window that ended to everybody who takes it.
func (a *App) window(w *load.Window) {
	a.fleet.Window(w)
	a.judge.Window(w)
	a.outputs.Write(w)
	if a.opts.Windows != nil {
		a.opts.Windows(w)
	}
}

// failing takes a part of a window under way in which every request failed, or the first after it.
func (a *App) failing(part *load.Window) {
	a.monitor.Look()
	a.fleet.Flag(part)
	a.judge.Part(part)
}

// circumstances says what must be known of a scenario's window before it is judged.
func (a *App) circumstances(own *load.Window) (load.Circumstances, func(target string) string) {
	a.monitor.Look() // after a stall the fold may come before the monitor's own look
	return a.fleet.Circumstances(own)
}

// judged makes a span of a run that ended, under the trace that the log names.
func (a *App) judged(r judge.Run, f load.Finding) {
	a.outputs.RunEnded(output.RunSpan{
		Scenario: r.Scenario, Run: r.Run, Test: r.Test, Trace: r.Trace, Start: r.Joined, End: r.HandedOver, Result: r.Result, Release: f.Release,
	})
	a.suites.Judged(suite.Judged{Scenario: r.Scenario, Run: r.Run, Result: r.Result, Began: r.Began, Ended: r.At, NoObjectives: r.Basis == analysis.NoObjectives})
	if a.opts.Judged != nil {
		a.opts.Judged(r, f)
	}
}

// Suites is what runs together.
func (a *App) Suites() *suite.All { return a.suites }

// starter begins and ends runs for suites.
type starter struct{ *App }

func (s starter) StartRun(scenario string) error {
	of := s.fleet.Scenario(scenario)
	if of == nil {
		return fmt.Errorf("there is no scenario named %q any more", scenario)
	}
	return of.StartRun()
}

func (s starter) StopRun(scenario string) {
	if of := s.fleet.Scenario(scenario); of != nil {
		_ = of.StopRun() // it has ended by itself where there is nothing to stop
	}
}

func (s starter) Running(scenario string) bool {
	of := s.fleet.Scenario(scenario)
	return of != nil && (of.Schedule().Running || of.Schedule().Due)
}
