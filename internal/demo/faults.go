package demo

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// faults are the knobs of a target, and what they do to its requests.
type faults struct {
	names  []string // of the endpoints that knobs may speak of
	opened time.Time
	leaked prometheus.Counter // all that was ever leaked, in bytes

	mu    sync.Mutex
	knobs Knobs         // its maps are never changed, only replaced
	since time.Time     // the instant from which the rollouts of knobs count
	freed chan struct{} // closed when the hang ends; nil while there is none
	rand  *rand.Rand
	leak  leak
}

// Knobs returns the truth of this instant.
func (s *faults) Knobs() Knobs {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.knobs.after(time.Since(s.since))
}

// truth is Knobs without a copy: the caller changes nothing of it.
func (s *faults) truth() Knobs {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance()
	return s.knobs
}

// Set changes the truth, unless it is not valid.
func (s *faults) Set(k Knobs) error {
	return s.change(func(into *Knobs) error {
		*into = k.clone()
		return nil
	})
}

// change lets f turn the knobs of this instant; an error leaves them as they are.
func (s *faults) change(f func(*Knobs) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	k := s.knobs.after(now.Sub(s.since))
	if err := f(&k); err != nil {
		return err
	}
	if err := k.validate(s.names); err != nil {
		return err
	}
	switch {
	case k.Hang && s.freed == nil:
		s.freed = make(chan struct{})
	case !k.Hang && s.freed != nil:
		close(s.freed)
		s.freed = nil
	}
	s.become(k, now)
	return nil
}

// become makes knobs the truth. A release is a process of its own, which begins with
// empty memory. The caller holds the lock.
func (s *faults) become(k Knobs, now time.Time) {
	if k.Release != s.knobs.Release {
		s.leak = leak{}
	}
	s.knobs, s.since = k, now
}

// advance makes the releases that are due the truth. The caller holds the lock.
func (s *faults) advance() {
	if len(s.knobs.Rollouts) == 0 {
		return
	}
	now := time.Now()
	if now.Sub(s.since) >= time.Duration(s.knobs.Rollouts[0].After) {
		s.become(s.knobs.after(now.Sub(s.since)), now)
	}
}

// Leaked is how many bytes the release that serves has leaked.
func (s *faults) Leaked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leak.size()
}

// A fate is what the knobs have in store for one request.
type fate struct {
	wait   time.Duration
	failed bool
	freed  <-chan struct{} // closed when the hang ends; nil for none
}

// draw casts the lots for a request that arrives now.
func (s *faults) draw(endpoint string) fate {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance()
	k := s.knobs
	f := fate{
		wait:   of(k.Latency, endpoint).at(s.rand.NormFloat64()),
		failed: s.rand.Float64() < of(k.ErrorRatio, endpoint),
		freed:  s.freed,
	}
	if k.Slowdown > 0 {
		f.wait = time.Duration(float64(f.wait) * k.Slowdown)
	}
	f.wait += time.Duration(k.Delay)
	if k.StallEvery > 0 {
		if phase := time.Since(s.opened) % time.Duration(k.StallEvery); phase < time.Duration(k.StallFor) {
			f.wait += time.Duration(k.StallFor) - phase
		}
	}
	s.leak.grow(k.LeakPerRequest)
	s.leaked.Add(float64(k.LeakPerRequest))
	return f
}

// meet lets a request to an endpoint have its fate, with its body. It answers what goes wrong: failed says that
// the knobs had it so, and ok that the endpoint is to answer.
func (s *faults) meet(w http.ResponseWriter, r *http.Request, endpoint string) (body []byte, failed, ok bool) {
	f := s.draw(endpoint)
	// The body is read before the wait: only after its end does net/http notice that a client is gone.
	body, err := readBody(w, r)
	switch {
	case !f.pass(r.Context()):
	case f.failed:
		wrong(w, http.StatusInternalServerError, "it failed, as its knobs say")
		return body, true, false
	case err != nil:
		wrong(w, http.StatusBadRequest, err.Error())
	default:
		return body, false, true
	}
	return body, false, false
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	return io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
}

// of is the knob of an endpoint, or that of every other endpoint.
func of[T any](knob map[string]T, endpoint string) T {
	if v, ok := knob[endpoint]; ok {
		return v
	}
	return knob[""]
}

// pass waits for as long as the fate says, and reports whether the client waited too.
func (f fate) pass(ctx context.Context) bool {
	if f.freed != nil {
		select {
		case <-f.freed:
		case <-ctx.Done():
			return false
		}
	}
	if f.wait <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(f.wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
