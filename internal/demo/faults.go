package demo

import (
	"context"
	"time"
)

// A fate is what the knobs have in store for one request.
type fate struct {
	wait   time.Duration
	failed bool
	freed  <-chan struct{} // closed when the hang ends; nil for none
}

// draw casts the lots for a request that arrives now.
func (s *Shop) draw(endpoint string) fate {
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
	if k.StallEvery > 0 {
		if phase := time.Since(s.opened) % time.Duration(k.StallEvery); phase < time.Duration(k.StallFor) {
			f.wait += time.Duration(k.StallFor) - phase
		}
	}
	s.leak.grow(k.LeakPerRequest)
	s.leaked.Add(float64(k.LeakPerRequest))
	return f
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
