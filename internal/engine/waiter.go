package engine

import "time"

// A Waiter is what a loop sleeps on. One goroutine calls Wait; any may call Poke
// and Close.
type Waiter interface {
	// Wait returns at an instant of the monotonic clock, or soon after a Poke since the last Wait began. The zero
	// time waits for a Poke alone. Wait may return early.
	Wait(until time.Time)
	// Poke makes Wait return.
	Poke()
	// Close frees what the waiter holds. No Wait follows.
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
