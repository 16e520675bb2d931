package app

import (
	"context"
	"time"

	"github.com/prometheus/common/version"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/target"
)

// releases is the prefix of the keys under which the store keeps what releases targets had.
const releases = "release/"

// A storedRelease is what a restart must know of a target's release.
type storedRelease struct {
	Release string    `json:"release"`
	Settled time.Time `json:"settled"`
}

// newWatch builds the watch over a target's release and resources.
func (a *App) newWatch(c *target.Config, t *liveTarget) *target.Watch {
	if a.opts.Shard > 0 { // resources belong to shard 0 (SEMANTICS section 6)
		own := *c
		own.Resources = nil
		c = &own
	}
	w := target.NewWatch(target.Options{
		Config: c, Dial: t.dialer.DialContext, UserAgent: "perfd/" + version.Version, Log: a.log,
		Sample:  func(s load.Sample) { a.verdicts.inbox.put(s) },
		Changed: func(ch target.Change) { a.releaseChanged(t.name, ch) },
	})
	if c.Release != nil {
		t.settle = c.Release.Settle.D()
	}
	var was storedRelease
	if a.store.get(releases+t.name, &was) {
		w.Restore(was.Release, was.Settled)
		t.known = was.Release
	}
	return w
}

// watch starts the watches of targets that an older generation did not have.
func (a *App) watch(st, old *generation) {
	for name, t := range st.targets {
		if old != nil && old.targets[name] == t {
			continue
		}
		ctx, cancel := context.WithCancel(context.Background())
		t.leave, t.left = cancel, make(chan struct{})
		go func() {
			defer close(t.left)
			t.watch.Run(ctx)
		}()
	}
}

// unwatch ends the watches of targets that a newer generation does not have.
func (a *App) unwatch(st, next *generation) {
	for name, t := range st.targets {
		if next != nil && next.targets[name] == t {
			continue
		}
		t.leave()
		<-t.left
	}
}

// rememberRelease keeps a target's release for the next process. It is the tick's.
func (a *App) rememberRelease(t *liveTarget) {
	is := t.watch.State()
	if !is.Known || is.Release == t.known {
		return
	}
	t.known = is.Release
	settled := is.Since
	if is.Previous != "" {
		settled = settled.Add(t.settle)
	}
	if err := a.store.set(releases+t.name, storedRelease{is.Release, settled}); err != nil {
		a.log.Warn("a release was not kept; a restart may take it for new", "target", t.name, "err", err)
	}
}

// releaseChanged puts a new release on the timeline, and cuts the runs on the target.
func (a *App) releaseChanged(name string, ch target.Change) {
	a.log.Info("the target changed its release", "target", name, "release", ch.Release, "previous", ch.Previous, "settled", ch.Settled)
	a.verdicts.inbox.put(load.Event{
		At: ch.At, Kind: load.ReleaseChanged, Target: name, Release: ch.Release, Previous: ch.Previous, Settled: ch.Settled,
	})
	for _, s := range a.current().scenarios {
		if s.targets[name] != nil {
			s.runner.Cut()
		}
	}
}
