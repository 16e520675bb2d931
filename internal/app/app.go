// Package app wires the rooms together: it builds, starts, reloads and stops
// one daemon, and decides nothing else. New binds and builds, Start serves and
// runs, Stop unwinds; two Apps can live in one process.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfd/perfd/internal/config"
	"github.com/perfd/perfd/internal/kind"
	"github.com/perfd/perfd/internal/kind/builtin"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/output/exposition"
	"github.com/perfd/perfd/internal/output/remotewrite"
	"github.com/perfd/perfd/internal/record"
	"github.com/perfd/perfd/internal/validity"
	"github.com/perfd/perfd/internal/web"
)

// Options is what a command line says.
type Options struct {
	ConfigFile    string
	StoragePath   string
	Listen        []string // host:port each
	WebConfigFile string
	Lifecycle     bool // changing endpoints other than pause are allowed
	NoClassic     bool // native histograms only
	Shard, Shards int  // 0 ≤ Shard < Shards
	Grace         time.Duration
	DemoAddress   string // of the demo shop
	Log           *slog.Logger
	Reload        <-chan struct{} // SIGHUP
	Kinds         *kind.Set       // what is plugged in; nil for everything that perfd ships

	narrow func(*config.Document) error // leaves of a document what is wanted; nil for all of it
}

// kinds returns what is plugged in.
func (o Options) kinds() kind.Set {
	if o.Kinds != nil {
		return *o.Kinds
	}
	return builtin.Kinds()
}

// A UsageError is a mistake of whoever started perfd: of a flag or of the configuration.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

const (
	// tickEvery is how often runs and targets are looked at.
	tickEvery = time.Second
	// secretsEvery is how often files that hold secrets are looked at.
	secretsEvery = 10 * time.Second
)

// An App is one daemon.
type App struct {
	opts    Options
	log     *slog.Logger
	life    lifecycle
	started time.Time

	// Created once.
	store    *store
	recorder *record.Recorder
	monitor  *validity.Monitor
	server   *web.Server
	pause    pause
	windows  lastWindows
	verdicts *verdicts
	results  results

	historyFaults atomic.Uint64
	observed      func(*load.Window)   // takes each window that ended too; nil for nobody
	registry      *prometheus.Registry // of all metrics but the recorder's
	writer        atomic.Pointer[remotewrite.Writer]
	tracing       atomic.Pointer[tracing]
	ready         atomic.Bool
	stopping      atomic.Bool
	retiring      sync.WaitGroup // scenarios that end their last run

	// Swapped whole by Reload.
	mu    sync.RWMutex
	state *generation

	reloading sync.Mutex // one reload at a time
	noted     sync.Mutex // guards what follows
	loadedAt  time.Time
	loadErr   error
}

// Run runs one daemon until ctx ends, then drains it. A *UsageError says that
// it never started because of a flag or the configuration.
func Run(ctx context.Context, opts Options) error {
	a, err := New(opts)
	if err != nil {
		return err
	}
	a.Start()
	a.serveReloads(ctx)
	return a.Stop()
}

// New builds a daemon: it takes the storage, loads the configuration and binds
// its listeners. Nothing is served and no load starts before Start; an error
// leaves nothing behind.
func New(opts Options) (_ *App, err error) {
	a := &App{opts: opts, log: opts.Log, started: time.Now()}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.life.stop(context.Background(), a.log))
		}
	}()
	doc, err := loadDocument(opts)
	if err != nil {
		return nil, &UsageError{err}
	}
	unlock, err := lockStorage(opts.StoragePath)
	if err != nil {
		return nil, &UsageError{err}
	}
	a.life.onStop("storage lock", func(context.Context) error { return unlock() })
	var aside string
	if a.store, aside, err = openStore(opts.StoragePath); err != nil {
		return nil, err
	}
	if aside != "" {
		a.log.Error("the state of earlier runs could not be read and was set aside", "file", aside)
	}
	past, err := a.openHistory(doc)
	if err != nil {
		return nil, err
	}
	a.verdicts = newVerdicts(past, doc, a.log)
	a.verdicts.judged = a.judged
	a.pause = pause{store: a.store, changed: a.pauseChanged}
	a.recorder = record.New(record.Options{NoClassic: opts.NoClassic, Circumstances: a.circumstances, Windows: a.window})
	a.monitor = validity.NewMonitor(validity.MonitorOptions{Disturbed: a.disturbed, NoPorts: a.noPorts})
	if a.state, err = a.build(doc, nil); err != nil {
		return nil, &UsageError{err}
	}
	a.noteReload(nil)
	a.registry = newRegistry(a)
	writer, err := a.newRemoteWrite(doc)
	if err != nil {
		return nil, &UsageError{err}
	}
	a.writer.Store(writer)
	a.life.onStop("remote write", a.stopRemoteWrite) // after everything whose metrics it sends
	spans, err := a.newTracing(doc)
	if err != nil {
		return nil, &UsageError{err}
	}
	a.tracing.Store(spans)
	a.life.onStop("tracing", a.stopTracing) // before the last snapshot, which has its exemplars
	metrics := exposition.New(exposition.Options{Scenarios: a.recorder, Daemon: a.registry, Log: a.log})
	handler := web.Handler(web.Options{Daemon: daemon{a}, Verdicts: findings{a}, Metrics: metrics, Lifecycle: opts.Lifecycle, Log: a.log})
	if a.server, err = web.Listen(opts.Listen, opts.WebConfigFile, handler, a.log); err != nil {
		return nil, &UsageError{err}
	}
	a.life.onStop("web server", a.server.Shutdown)
	return a, nil
}

// Addr is the first address the daemon listens on.
func (a *App) Addr() net.Addr { return a.server.Addrs()[0] }

// Start serves and lets the scenarios run: sinks first, sources last.
func (a *App) Start() {
	a.server.Start()
	for _, addr := range a.server.Addrs() {
		a.log.Info("listening", "address", addr.String())
	}
	if w := a.remoteWrite(); w != nil {
		w.Start()
	}
	a.background("history", a.verdicts.history.Run)
	a.background("verdicts", a.verdicts.run)
	a.background("recorder", a.recorder.Run) // its last windows are judged
	a.background("monitor", a.monitor.Run)
	a.background("tick", a.tick)
	a.background("census", a.census)
	a.life.onStop("pause", func(context.Context) error { a.pause.close(); return nil })
	a.pause.restore()
	a.pause.look(a.current().doc.KillSwitch()) // before any load
	a.forgetSchedules()
	a.watch(a.current(), nil)
	a.life.onStop("watches", func(context.Context) error { a.unwatch(a.current(), nil); return nil })
	for _, s := range a.current().scenarios {
		s.launch()
	}
	a.life.onStop("scenarios", a.stopScenarios)
	a.ready.Store(true)
	a.log.Info("ready", "scenarios", len(a.current().scenarios))
}

// background runs f until the stack of stops reaches it.
func (a *App) background(name string, f func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(ctx)
	}()
	a.life.onStop(name, func(context.Context) error {
		cancel()
		<-done
		return nil
	})
}

// Stop ends all load within the grace, then everything else; /metrics answers
// until the end.
func (a *App) Stop() error {
	a.stopping.Store(true)
	a.reloading.Lock() // a reload under way must not start what would then not be stopped
	defer a.reloading.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), a.opts.Grace)
	defer cancel()
	return a.life.stop(ctx, a.log)
}

// stopScenarios ends every run with its grace. What has not ended when nine
// tenths of the stop's time have passed is interrupted; the rest is for what
// stops afterwards.
func (a *App) stopScenarios(ctx context.Context) error {
	all := a.current().scenarios
	late := time.AfterFunc(a.opts.Grace*9/10, func() {
		for _, s := range all {
			if r := s.current(); r != nil {
				r.engine.Kill()
			}
		}
	})
	defer late.Stop()
	for _, s := range all {
		a.retiring.Go(s.drain)
	}
	ended := make(chan struct{})
	go func() {
		a.retiring.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return errors.New("iterations do not end, though they were interrupted")
	}
}

// serveReloads reloads on SIGHUP and when a file that holds a secret changed,
// until ctx ends.
func (a *App) serveReloads(ctx context.Context) {
	secrets := time.NewTicker(secretsEvery)
	defer secrets.Stop()
	for {
		why := "signal"
		select {
		case <-ctx.Done():
			return
		case <-a.opts.Reload:
		case <-secrets.C:
			if !a.current().doc.SecretsChanged() {
				continue
			}
			why = "secret file"
		}
		if err := a.Reload(); err != nil {
			a.log.Error("reload refused, the old configuration goes on", "reason", why, "err", err)
		} else {
			a.log.Info("configuration reloaded", "reason", why)
		}
	}
}

func (a *App) current() *generation {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.state
}

// loadDocument reads and checks the configuration file.
func loadDocument(opts Options) (*config.Document, error) {
	doc, err := config.Load(config.Options{File: opts.ConfigFile, Kinds: opts.kinds()})
	if err != nil {
		return nil, fmt.Errorf("the configuration is wrong:\n%w", err)
	}
	if opts.narrow != nil {
		if err := opts.narrow(doc); err != nil {
			return nil, err
		}
	}
	return doc, nil
}

// noteReload remembers how the last load of the configuration went.
func (a *App) noteReload(err error) {
	a.noted.Lock()
	defer a.noted.Unlock()
	a.loadErr = err
	if err == nil {
		a.loadedAt = time.Now()
	}
}

// lastReload tells when the configuration was last loaded, whether the last attempt succeeded, and why not.
func (a *App) lastReload() (at time.Time, ok bool, why string) {
	a.noted.Lock()
	defer a.noted.Unlock()
	if a.loadErr != nil {
		why = a.loadErr.Error()
	}
	return a.loadedAt, a.loadErr == nil, why
}

// tick looks at every run and target each second.
func (a *App) tick(ctx context.Context) {
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := time.Now()
		st := a.current()
		a.pause.look(st.doc.KillSwitch())
		for _, s := range st.scenarios {
			if r := s.current(); r != nil {
				r.tick(last, now)
			}
		}
		for _, t := range st.targets {
			t.distress.Look(now)
			a.rememberRelease(t)
		}
		last = now
	}
}

// census counts about once a second the VUs that are in an iteration. Its rhythm is
// random: arrivals that come as regularly as somebody looks would be seen always or never.
func (a *App) census(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration((0.5 + rand.Float64()) * float64(time.Second))):
		}
		now := time.Now()
		for _, s := range a.current().scenarios {
			if r := s.current(); r != nil {
				s.balance.Busy(r.engine.Stats().Busy, now)
			}
		}
	}
}

// disturbed notes what perfd did to all measurements, and follows a step of the clock.
func (a *App) disturbed(d validity.Disturbance) {
	a.log.Warn("perfd disturbed its own measurement", "reason", d.Reason.String(), "for", d.To.Sub(d.From), "step", d.Step)
	for _, s := range a.current().scenarios {
		r := s.current()
		if r == nil {
			continue
		}
		s.valid.Disturbed(d.Reason, d.From, d.To)
		if d.Reason == validity.Clock {
			r.engine.Reanchor(d.Step)
		}
	}
}

// noPorts counts connects of all targets that failed for want of a port.
func (a *App) noPorts() (n uint64) {
	st := a.current()
	if st == nil {
		return 0
	}
	for _, t := range st.targets {
		n += t.dialer.NoPorts()
	}
	return n
}

// pauseChanged pauses and resumes what runs.
func (a *App) pauseChanged(paused bool) {
	a.log.Info("pause", "paused", paused)
	for _, s := range a.current().scenarios {
		r := s.current()
		if paused {
			s.runner.Pause()
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

// flags says how a scenario's measurement was disturbed between two instants.
func (a *App) flags(s *scenario, start, end time.Time) load.Flags {
	f := load.Flags{Paused: a.pause.during(start, end), Invalid: s.valid.Window(start, end)}
	for _, t := range s.targets {
		f.BackedOff = f.BackedOff || t.distress.Share() < 1
	}
	if r := s.current(); r != nil {
		f.WarmUp = r.warmingUp(start)
	}
	if s.cfg.Tolerate || s.harsh() {
		return f
	}
	for _, o := range a.current().scenarios {
		if o != s && o.harsh() && o.runDuring(start, end) != "" && o.sharesTarget(s) {
			f.Disturbed = true
		}
	}
	return f
}

// harsh reports whether the scenario's load is meant to disturb its target.
func (s *scenario) harsh() bool {
	return s.cfg.Test == config.StressTest || s.cfg.Test == config.SpikeTest
}

func (s *scenario) sharesTarget(o *scenario) bool {
	for name := range s.targets {
		if o.targets[name] != nil {
			return true
		}
	}
	return false
}
