package engine

import "time"

// A Waiter puts a loop to sleep. Wait is called by one goroutine; Poke and Close
// by any.
type Waiter interface {
	// Wait returns at an instant of the monotonic clock, or soon after a Poke since the last Wait began. A zero
	// instant waits for a Poke alone. It may return early.
	Wait(until time.Time)
	Poke()
	Close() error
}

// A timerWaiter waits with Go's timers, which run late by a millisecond at p99
// but obey the clock of a synctest bubble.
type timerWaiter struct {
	timer *time.Timer
	poked chan struct{}
}

// NewTimerWaiter returns a Waiter for tests in fake time.
func NewTimerWaiter() (Waiter, error) { return newTimerWaiter(), nil }

func newTimerWaiter() *timerWaiter {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &timerWaiter{t, make(chan struct{}, 1)}
}

func (w *timerWaiter) Wait(until time.Time) {
	if !until.IsZero() {
		w.timer.Reset(time.Until(until))
		defer w.timer.Stop()
	}
	select {
	case <-w.timer.C:
	case <-w.poked:
	}
}

func (w *timerWaiter) Poke() {
	select {
	case w.poked <- struct{}{}:
	default:
	}
}

func (w *timerWaiter) Close() error { return nil }
