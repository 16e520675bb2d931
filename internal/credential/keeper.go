package credential

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/wire"
)

// How values are renewed.
const (
	// A value is renewed between these shares of its lifetime, drawn each time, so that many instances do not come at once.
	renewFrom, renewTo = 0.65, 0.75
	// A value is not used in the last share of its lifetime, mostMargin at most: a request takes its time to arrive, and
	// clocks differ.
	margin     = 0.05
	mostMargin = time.Second
	// leastWait and mostWait bound the time between two fetches. After a failure it doubles, from leastWait on.
	leastWait = time.Second
	mostWait  = 30 * time.Second
	// leastRenewal is the least time between two fetches that succeed.
	leastRenewal = 500 * time.Millisecond
	// longestAsked bounds a Retry-After.
	longestAsked = 5 * time.Minute
	// refusedEvery is the least time between two fetches because a target refused the value.
	refusedEvery = 10 * time.Second
	// longestLifetime bounds a lifetime: what is longer is as good as for ever.
	longestLifetime = 365 * 24 * time.Hour
	// sayEvery is the shortest time between two log lines about the same credential failing.
	sayEvery = time.Minute
	// longestText bounds an error for people, in bytes: a part of it comes from the endpoint.
	longestText = 300
)

// Options of a Credential.
type Options struct {
	Name   string
	Source Source
	Client *Client
	Log    *slog.Logger
	// Secret is called with each text of a value that must not be shown, before the value is used; nil for nobody.
	Secret func(text string)
}

// A Credential keeps the current value of one entry of credentials. Run renews it;
// all other methods are safe for concurrent use.
type Credential struct {
	o       Options
	current atomic.Pointer[held]
	refused chan struct{} // of capacity 1
	tried   chan struct{} // closed after the first fetch

	mu       sync.Mutex
	fetches  uint64
	failures map[string]uint64 // by reason
	fault    error             // of the last fetch
	expires  time.Time         // of the last value
}

// held is the value in use and what ends its use.
type held struct {
	*Value
	end *time.Timer // nil for a value that does not expire
}

// New returns a credential without a value. It starts nothing.
func New(o Options) *Credential {
	return &Credential{o: o, refused: make(chan struct{}, 1), tried: make(chan struct{}), failures: map[string]uint64{}}
}

// Name is the name of the entry of credentials.
func (c *Credential) Name() string { return c.o.Name }

// Value returns the current value, nil where there is none. A nil credential has none.
func (c *Credential) Value() *Value {
	if c == nil {
		return nil
	}
	if h := c.current.Load(); h != nil {
		return h.Value
	}
	return nil
}

// Tried is closed once the first fetch has ended, well or not.
func (c *Credential) Tried() <-chan struct{} { return c.tried }

// Refused says that a target did not accept a value, which is renewed early if it is the current one.
func (c *Credential) Refused(v *Value) {
	if v == nil || c.Value() != v || v.Lifetime == 0 && v.Again == 0 {
		return
	}
	select {
	case c.refused <- struct{}{}:
	default:
	}
}

// A Status is how a credential stands.
type Status struct {
	Up      bool
	Expires time.Time // zero for never, or where there never was a value
	Fetches uint64
	// Failures are the fetches that failed, by reason.
	Failures map[string]uint64
	// Fault is why the last fetch failed, nil where it did not.
	Fault error
}

// Status returns how the credential stands.
func (c *Credential) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Status{Up: c.Value() != nil, Expires: c.expires, Fetches: c.fetches, Failures: maps.Clone(c.failures), Fault: c.fault}
}

// Run fetches and renews values until ctx ends. After that the credential has none.
func (c *Credential) Run(ctx context.Context) {
	defer func() {
		c.put(nil)
		if c.o.Client != nil {
			c.o.Client.close()
		}
	}()
	failed, first, said := 0, true, false
	var saidAt time.Time
	for ctx.Err() == nil {
		begun := time.Now()
		v, err := c.fetch(ctx)
		if ctx.Err() != nil {
			return
		}
		var wait time.Duration
		if err == nil {
			c.take(v, begun)
			if said {
				c.o.Log.Info("a credential is fetched again", "credential", c.o.Name, "failures", failed)
			}
			failed, said = 0, false
			wait = nextAfter(v, time.Since(begun))
		} else {
			c.note(err)
			if failed++; saidAt.IsZero() || time.Since(saidAt) >= sayEvery {
				saidAt, said = time.Now(), true
				c.o.Log.Warn("a credential was not fetched", "credential", c.o.Name, "reason", reasonOf(err), "err", shortened(err.Error()), "failures", failed, "in_use", c.Value() != nil)
			}
			wait = c.backOff(failed, askedBy(err))
		}
		if first {
			first = false
			close(c.tried)
		}
		if !c.sleep(ctx, wait, begun, err == nil) {
			return
		}
	}
}

// fetch asks the source for a value within the endpoint's timeout.
func (c *Credential) fetch(ctx context.Context) (*Value, error) {
	c.mu.Lock()
	c.fetches++
	c.mu.Unlock()
	if c.o.Client != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.o.Client.timeout)
		defer cancel()
	}
	return c.o.Source.Fetch(ctx, c.o.Client)
}

// take puts a value that was asked for at an instant into use.
func (c *Credential) take(v *Value, begun time.Time) {
	if c.o.Secret != nil {
		for _, text := range v.Secrets {
			c.o.Secret(text)
		}
	}
	v.Lifetime = min(v.Lifetime, longestLifetime)
	var expires time.Time
	if v.Lifetime > 0 {
		expires = begun.Add(v.Lifetime)
	}
	c.mu.Lock()
	c.fault, c.expires = nil, expires
	c.mu.Unlock()
	c.put(v)
	if v.Lifetime > 0 {
		h := c.current.Load()
		usable := v.Lifetime - min(mostMargin, time.Duration(margin*float64(v.Lifetime)))
		h.end = time.AfterFunc(usable-time.Since(begun), func() { c.current.CompareAndSwap(h, nil) })
	}
}

// put replaces the value in use; nil is none. Only Run's goroutine calls it.
func (c *Credential) put(v *Value) {
	var next *held
	if v != nil {
		next = &held{Value: v}
	}
	if was := c.current.Swap(next); was != nil && was.end != nil {
		was.end.Stop()
	}
}

// note counts a fetch that failed.
func (c *Credential) note(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fault = err
	c.failures[reasonOf(err)]++
}

// nextAfter is how long after a fetch that took a time its value is renewed; negative is never.
func nextAfter(v *Value, took time.Duration) time.Duration {
	switch {
	case v.Lifetime > 0:
		share := renewFrom + rand.Float64()*(renewTo-renewFrom)
		return max(leastRenewal, time.Duration(share*float64(v.Lifetime))-took)
	case v.Again > 0:
		return max(leastRenewal, v.Again)
	}
	return -1
}

// backOff is the wait after a failure, the n-th in a row: doubled each time and
// jittered by half, but no longer than a part of what the value in use has left.
func (c *Credential) backOff(n int, asked time.Duration) time.Duration {
	d := mostWait
	if n < 6 {
		d = min(mostWait, leastWait<<n)
	}
	d = d/2 + rand.N(d/2)
	c.mu.Lock()
	left := time.Until(c.expires)
	c.mu.Unlock()
	if c.Value() != nil && left > 0 {
		d = min(d, max(leastWait, left/4))
	}
	return max(d, min(asked, longestAsked))
}

// sleep waits until the next fetch, or shorter where a target refuses the value; a negative wait is for ever. It
// returns false when ctx has ended.
func (c *Credential) sleep(ctx context.Context, wait time.Duration, begun time.Time, well bool) bool {
	var due <-chan time.Time
	if wait >= 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		due = t.C
	}
	refused := c.refused
	if !well {
		refused = nil // it is being renewed as fast as it may be
	} else {
		select {
		case <-refused: // what was refused is the value before
		default:
		}
	}
	select {
	case <-ctx.Done():
		return false
	case <-due:
		return true
	case <-refused:
	}
	t := time.NewTimer(refusedEvery + rand.N(refusedEvery/2) - time.Since(begun))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-due:
	case <-t.C:
	}
	return true
}

// An Error is a fetch that failed for a reason of its own.
type Error struct {
	Reason string // a label's value: status, extract or file
	Text   string
	Asked  time.Duration // the endpoint asks to wait; 0 for no wish
}

func (e *Error) Error() string { return e.Text }

// reasonOf is why a fetch failed, as a label: that of an Error, or a cause of transport.
func reasonOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	if _, ok := errors.AsType[*wire.RefusedError](err); ok {
		return "guard"
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return load.Timeout.String()
	}
	return wire.Classify(err).String()
}

func askedBy(err error) time.Duration {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Asked
	}
	return 0
}

// shortened bounds an error's text.
func shortened(text string) string {
	if len(text) > longestText {
		return text[:longestText] + "…"
	}
	return text
}
