package record

import (
	"testing"
	"time"
)

// A panic inside a scrape, or inside a fold, costs that one only.
func TestAPanicLeavesTheRecorderUnlocked(t *testing.T) {
	clock := time.Now
	r := New(Options{Now: func() time.Time { return clock() }})
	s := open(t, r, shop())
	panics := func(what string, do func()) {
		t.Helper()
		defer func() {
			if recover() == nil {
				t.Errorf("%s did not panic", what)
			}
		}()
		do()
	}

	sc := r.scenarios["shop"]
	values(t, r, "perfd_requests_total")
	steps := sc.stepsInOrder
	sc.stepsInOrder = []*step{nil}
	panics("a scrape", func() { scrape(r) })
	sc.stepsInOrder = steps

	r.sinks = append(r.sinks, nil)
	panics("a fold", func() { r.Fold(time.Now()) })
	r.sinks = r.sinks[:len(r.sinks)-1]

	ended := make(chan struct{})
	go func() {
		defer close(ended)
		values(t, r, "perfd_requests_total")
		r.Fold(time.Now())
		s.Close()
	}()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the recorder is locked")
	}
}
