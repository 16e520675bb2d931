package app

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/perfd/perfd/internal/config"
)

// serveReloads reloads on SIGHUP, when a file that holds a secret changed and, where
// that is asked for, when a file of the configuration changed, until ctx ends.
func (a *App) serveReloads(ctx context.Context) {
	secrets := time.NewTicker(secretsEvery)
	defer secrets.Stop()
	var files <-chan time.Time // when to look at the files of the configuration
	if d := a.opts.AutoReload; d > 0 {
		ticker := time.NewTicker(d)
		defer ticker.Stop()
		files = ticker.C
	}
	var next <-chan time.Time // when a signal may reload again
	signals := a.opts.Reload
	for {
		why := "signal"
		select {
		case <-ctx.Done():
			return
		case <-signals:
			// Signals that come within reloadEvery wait, and are one then: it reads the newest file.
			signals, next = nil, time.After(reloadEvery)
		case <-next:
			signals, next = a.opts.Reload, nil
			continue
		case <-secrets.C:
			if !a.fleet.SecretsChanged() {
				continue
			}
			why = "secret file"
		case <-files:
			if !a.fleet.FilesChanged() {
				continue
			}
			why = "file changed"
		}
		a.logReload(a.Reload(), why)
	}
}

// reloadEvery is the shortest time between two reloads by signal.
const reloadEvery = time.Second

func (a *App) logReload(err error, why string) {
	if err != nil {
		a.log.Error("reload refused, the old configuration goes on", "reason", why, "err", err)
		return
	}
	a.log.Info("configuration reloaded", "reason", why)
}

// Reload reads the configuration again and swaps to it. Scenarios whose
// fingerprint is unchanged go on untouched; others end their run with its grace
// while their successors start. An error changes nothing. Calls that wait for one
// under way share the next.
func (a *App) Reload() error {
	asked := a.reloads.begun()
	a.reloading.Lock()
	defer a.reloading.Unlock()
	if done, err := a.reloads.since(asked); done {
		return err
	}
	a.reloads.begin()
	if a.stopping.Load() {
		return errors.New("perfd is stopping")
	}
	defer a.collection.loosen()()
	doc, err := loadAfter(a.opts, a.fleet.Document())
	if err == nil {
		undo := a.secrets.add(doc) // before anything uses what is in it
		if err = changeAll(doc, a.changeOutputs, a.changeJudge, a.changeFleet, a.changeSuites); err != nil {
			err = errors.New(a.strike(err.Error()))
			undo()
		}
	}
	a.reloads.note(err)
	if err == nil {
		a.collection.bound(doc)
	}
	return err
}

// A change of a part of the daemon to a new document: everything in it that can
// fail has succeeded, and nothing that runs was touched. One of the two is called.
type change interface {
	Commit()
	Abort()
}

// A preparation makes the change of one part.
type preparation func(*config.Document) (change, error)

// changeAll changes all parts to a document, in order, or none of them.
func changeAll(doc *config.Document, parts ...preparation) error {
	var prepared []change
	for _, prepare := range parts {
		c, err := prepare(doc)
		if err != nil {
			for _, p := range slices.Backward(prepared) {
				p.Abort()
			}
			return err
		}
		prepared = append(prepared, c)
	}
	for _, c := range prepared {
		c.Commit()
	}
	return nil
}

func (a *App) changeOutputs(doc *config.Document) (change, error) {
	return a.outputs.Prepare(doc.Outputs, doc.Dir)
}

func (a *App) changeFleet(doc *config.Document) (change, error) { return a.fleet.Prepare(doc) }

// changeSuites comes after the fleet: suites begin runs of scenarios that exist.
func (a *App) changeSuites(doc *config.Document) (change, error) {
	paused, _ := a.fleet.Paused()
	return a.suites.Prepare(doc.Suites, doc.SuiteFingerprint, doc.Blackouts, paused)
}

func (a *App) changeJudge(doc *config.Document) (change, error) {
	d := doc.Description()
	return infallible(func() { a.judge.Configure(d) }), nil
}

// infallible is a change that needs no preparation.
type infallible func()

// Commit makes the change.
func (f infallible) Commit() { f() }

// Abort does nothing.
func (f infallible) Abort() {}

// reloads remembers how the last load of the configuration went. Its zero value
// is ready.
type reloads struct {
	mu  sync.Mutex
	n   uint64    // that began
	at  time.Time // of the last that succeeded
	err error     // of the last
}

// begun is how many reloads have begun.
func (r *reloads) begun() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n
}

func (r *reloads) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n++
}

// since reports whether a reload has begun after another was the nth, and how the last one
// went, which has ended.
func (r *reloads) since(n uint64) (done bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n > n, r.err
}

func (r *reloads) note(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
	if err == nil {
		r.at = time.Now()
	}
}

// last says when the configuration was last loaded, whether the last attempt
// succeeded, and why not.
func (r *reloads) last() (at time.Time, ok bool, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		why = r.err.Error()
	}
	return r.at, r.err == nil, why
}
