//go:build !linux

package engine

// NewWaiter returns the most exact waiter of the platform.
func NewWaiter() (Waiter, error) { return newTimerWaiter(), nil }
