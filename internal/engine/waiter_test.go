package engine

import (
	"testing"
	"time"
)

func newWaiterForTest(t testing.TB) Waiter {
	w, err := NewWaiter()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

func TestWaiter(t *testing.T) {
	for name, w := range map[string]Waiter{"of the platform": newWaiterForTest(t), "of Go's timers": newTimerWaiter()} {
		t.Run(name, func(t *testing.T) {
			for range 3 {
				until := time.Now().Add(5 * ms)
				for time.Now().Before(until) {
					w.Wait(until)
				}
			}
			w.Wait(time.Now().Add(-time.Hour)) // returns at once

			w.Poke()
			w.Poke()
			w.Wait(time.Time{})

			poked := make(chan struct{})
			go func() {
				w.Poke()
				close(poked)
			}()
			w.Wait(time.Now().Add(time.Hour))
			<-poked
		})
	}
}

// TestPokesAreNotLost waits for as many answers as there are pokes, from the moment at which a poke is easiest to miss.
func TestPokesAreNotLost(t *testing.T) {
	for name, w := range map[string]Waiter{"of the platform": newWaiterForTest(t), "of Go's timers": newTimerWaiter()} {
		t.Run(name, func(t *testing.T) {
			const n = 5000
			asked := make(chan struct{})
			go func() {
				defer close(asked)
				for range n {
					asked <- struct{}{}
					w.Poke()
				}
			}()
			for range asked {
				w.Wait(time.Time{})
			}
		})
	}
}
