package engine

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// A plan that is refreshed at any time loses no arrival and gives none twice.
func TestRefreshKeepsArrivals(t *testing.T) {
	for _, often := range []time.Duration{7 * ms, 10 * ms, 3 * ms} {
		synctest.Test(t, func(t *testing.T) {
			r := newRun(t, every{10 * ms, s}, []act{{ask: ms}}, nil)
			done := make(chan struct{})
			go func() {
				for {
					select {
					case <-done:
						return
					case <-time.After(often):
						r.engine.Refresh()
					}
				}
			}()
			r.do(t.Context())
			close(done)
			var starts []time.Duration
			for _, sp := range r.spans() {
				starts = append(starts, sp.due)
			}
			if want := from(0, 10*ms, 100); !slices.Equal(starts, want) {
				t.Errorf("refreshed each %v: %d starts, want 100:\n%v", often, len(starts), starts)
			}
		})
	}
}
