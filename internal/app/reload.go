package app

import (
	"context"
	"errors"
	"sync"
	"time"
)

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
			if !a.fleet.SecretsChanged() {
				continue
			}
			why = "secret file"
		}
		a.logReload(a.Reload(), why)
	}
}

func (a *App) logReload(err error, why string) {
	if err != nil {
		a.log.Error("reload refused, the old configuration goes on", "reason", why, "err", err)
		return
	}
	a.log.Info("configuration reloaded", "reason", why)
}

// Reload reads the configuration again and swaps to it. Scenarios whose
// fingerprint is unchanged go on untouched; others end their run with its grace
// while their successors start. An error changes nothing.
func (a *App) Reload() error {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	if a.stopping.Load() {
		return errors.New("perfd is stopping")
	}
	doc, err := Load(a.opts)
	if err != nil {
		a.reloads.note(err)
		return err
	}
	outputs, err := a.outputs.Prepare(doc.Outputs, doc.Dir)
	if err != nil {
		a.reloads.note(err)
		return err
	}
	change, err := a.fleet.Prepare(doc)
	if err != nil {
		outputs.Abort()
		a.reloads.note(err)
		return err
	}
	a.judge.Configure(doc.Description())
	outputs.Commit()
	change.Commit()
	a.reloads.note(nil)
	return nil
}

// reloads remembers how the last load of the configuration went. Its zero value
// is ready.
type reloads struct {
	mu  sync.Mutex
	at  time.Time // of the last that succeeded
	err error     // of the last
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
