package fleet

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/version"

	"github.com/perfd/perfd/internal/config"
	"github.com/perfd/perfd/internal/credential"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/target"
	"github.com/perfd/perfd/internal/wire"
)

// A Target is what all scenarios on one target share: its limits, its state of
// distress and the watch over its release and resources. It outlives a reload
// that leaves the target and safety as they were.
type Target struct {
	f           *Fleet
	name        string
	fingerprint string // of the configuration it was made from
	origin      wire.Origin
	credential  *credential.Credential // nil for none
	dialer      *wire.Dialer
	limiter     *target.Limiter
	distress    *target.Distress

	watch   *target.Watch
	changes changes
	settle  time.Duration      // after a change of the release
	known   string             // the release that the state holds; the tick's own
	cancel  context.CancelFunc // ends the watch
	done    chan struct{}      // closed when the watch has ended
}

// changes are the changes of a target's release that no run was cut at yet.
type changes struct {
	mu      sync.Mutex
	last    time.Time   // when runs were last cut
	waiting *load.Event // those since, as one
	count   int         // of them
}

// cutEvery is the shortest time between two changes of a release that runs are cut at. A
// pipeline gone wild, or a target that answers with another release each time, makes thousands a second.
const cutEvery = time.Second

// changed takes a change of the release: the first at once, and those that follow within
// cutEvery as one.
func (t *Target) changed(e load.Event) {
	c := &t.changes
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting != nil {
		e.Previous = c.waiting.Previous
	}
	c.waiting = &e
	c.count++
	t.cut()
}

// cutAtChanges cuts runs at the changes that wait, once it is time.
func (t *Target) cutAtChanges() {
	t.changes.mu.Lock()
	defer t.changes.mu.Unlock()
	t.cut()
}

// cut is cutAtChanges; the caller holds the lock.
func (t *Target) cut() {
	c := &t.changes
	if c.waiting == nil || time.Since(c.last) < cutEvery {
		return
	}
	e, n := *c.waiting, c.count
	c.waiting, c.count = nil, 0
	if e.Release == e.Previous {
		return // it was taken back
	}
	c.last = time.Now()
	t.f.releaseChanged(t, e, n)
}

// releasePrefix begins the keys of the state that hold the releases of targets.
const releasePrefix = "release/"

// A storedRelease is what a restart must know of a target's release.
type storedRelease struct {
	Release string    `json:"release"`
	Settled time.Time `json:"settled"`
}

// newTarget makes a target and starts nothing.
func (f *Fleet) newTarget(c *target.Config, by *credential.Credential, s *config.Safety, fingerprint string) *Target {
	shards := f.o.Shards
	rate := s.MaxRequestRate.PerSecond()
	if own := c.Limits.RequestRate.PerSecond(); own > 0 {
		rate = min(rate, own)
	}
	connections := 0
	if most := c.Limits.Connections; most > 0 {
		connections = max(1, most/max(1, shards))
	}
	proxy, _ := wire.ParseProxy(c.ProxyURL.Value()) // nil where there is none
	reach := func(connections int) wire.DialerOptions {
		return wire.DialerOptions{
			Guard: *s.Guard(), MaxConnections: connections, Proxy: proxy, Local: c.LocalAddresses.Addrs(), Static: c.Static(),
		}
	}
	t := &Target{
		f: f, name: c.Name.S, fingerprint: fingerprint, credential: by, origin: originOf(c.URL.S),
		dialer:   f.o.Network.NewDialer(reach(connections)),
		limiter:  target.NewLimiter(rate, shards),
		distress: target.NewDistress(s.BackOff),
	}
	if c.Release != nil {
		t.settle = c.Release.Settle.D()
	}
	t.watch = t.newWatch(c, by, f.o.Network.NewDialer(reach(0)))
	var was storedRelease
	if f.o.State.Get(releasePrefix+t.name, &was) {
		t.watch.Restore(was.Release, was.Settled)
		t.known = was.Release
	}
	return t
}

// originOf returns the host and port of an address.
func originOf(address string) wire.Origin {
	u, err := url.Parse(address)
	if err != nil {
		return wire.Origin{}
	}
	port := cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	o, err := wire.ParseOrigin(net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return wire.Origin{Host: strings.ToLower(u.Hostname())}
	}
	return o
}

// at reports whether the target is at a host, of which it may have another name.
func (t *Target) at(host string, addrs []netip.Addr) bool {
	return t.origin.Host == host ||
		slices.ContainsFunc(t.dialer.Known(t.origin.Host, t.origin.Port), func(a netip.Addr) bool { return slices.Contains(addrs, a) })
}

// redirectLimiter returns the limiter of a request that a redirect of the target
// sends to a host: that of the target which is there, the redirecting one before
// others, or one of the host's own.
func (t *Target) redirectLimiter(host string, port uint16, addrs []netip.Addr) *target.Limiter {
	now := t.f.current()
	there := []*Target{}
	for _, one := range append([]*Target{t}, now.inOrder()...) {
		if one.at(host, addrs) {
			if one.origin.Port == port {
				return one.limiter
			}
			there = append(there, one)
		}
	}
	if len(there) > 0 {
		return there[0].limiter
	}
	return now.hosts.Limiter(addrs)
}

// newWatch makes the watch over the target's release and resources. Its dialer is
// under the guard of load and goes by the same proxy, and is not load's: neither
// takes connections of the other's limit.
func (t *Target) newWatch(c *target.Config, by *credential.Credential, d *wire.Dialer) *target.Watch {
	if t.f.o.Shard > 0 { // resources belong to shard 0 (SEMANTICS section 6)
		own := *c
		own.Resources = nil
		c = &own
	}
	return target.NewWatch(target.Options{
		Config: c, Dial: d.DialContext, Credential: by, Transport: t.f.o.Transport, TLSFaults: t.f.o.TLSFaults,
		UserAgent: "perfd/" + version.Version, Log: t.f.o.Log,
		Sample: t.f.o.Judge.Sample,
		Changed: func(ch target.Change) {
			t.changed(load.Event{
				At: ch.At, Kind: load.ReleaseChanged, Target: t.name, Release: ch.Release, Previous: ch.Previous, Settled: ch.Settled,
			})
		},
	})
}

// start starts the watch.
func (t *Target) start() {
	ctx, cancel := context.WithCancel(context.Background())
	t.cancel, t.done = cancel, make(chan struct{})
	go func() {
		defer close(t.done)
		awaitFetch(ctx, t.credential)
		t.watch.Run(ctx)
	}()
}

// stop ends the watch, if it was started.
func (t *Target) stop() {
	if t.cancel == nil {
		return
	}
	t.cancel()
	<-t.done
}

// Push takes the release that a pipeline says the target runs from an instant on.
func (t *Target) Push(release string, at time.Time) error { return t.watch.Push(release, at) }

// tick looks at the target's distress, and keeps its release for the next process.
func (t *Target) tick(at time.Time) {
	t.distress.Look(at)
	t.cutAtChanges()
	is := t.watch.State()
	if !is.Known || is.Release == t.known {
		return
	}
	t.known = is.Release
	settled := is.Since
	if is.Previous != "" {
		settled = settled.Add(t.settle)
	}
	if err := t.f.o.State.Set(releasePrefix+t.name, storedRelease{is.Release, settled}); err != nil {
		t.f.o.Log.Warn("a release was not kept; a restart may take it for new", "target", t.name, "err", err)
	}
}

// clockedLimiter is a claim on a target's limiter on the clock of one engine:
// limiters are shared by engines whose zeros differ.
type clockedLimiter struct {
	*target.Claim
	offset time.Duration // the engine's zero since the limiters' own
}

// Take takes a token and returns how long its user must wait, or when to ask again.
func (c clockedLimiter) Take(now time.Duration, turn bool) (wait time.Duration, ok bool) {
	return c.Claim.Take(now+c.offset, turn)
}

// Admitted returns how long an iteration that was admitted waits for its token.
func (c clockedLimiter) Admitted(now time.Duration) time.Duration {
	return c.Claim.Admitted(now + c.offset)
}
