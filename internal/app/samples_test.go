package app

import (
	"testing"
	"time"

	"github.com/perfd/perfd/internal/analysis/limit"
)

// A resource that crosses its limit is found where no load runs, too: nothing
// ends a window then.
func TestALimitIsJudgedWithoutLoad(t *testing.T) {
	play(t, shopKnobs(24*time.Hour, 1), 1, 0, func(s *stage) {
		s.serve(time.Minute, func() bool { return false })
		if err := s.Fleet().Scenario("shop-soak").StopRun(); err != nil {
			t.Fatal(err)
		}
		s.serve(time.Minute, func() bool { return false })
		if found := s.active(limit.KindLimit); len(found) > 0 {
			t.Fatalf("found before the limit was crossed: %s", found[0].Sentence)
		}
		s.heap.held.Store(3 << 30)
		crossed := time.Now()
		s.serve(5*time.Minute, func() bool { return len(s.active(limit.KindLimit)) > 0 })
		found := s.active(limit.KindLimit)
		if len(found) == 0 {
			t.Fatalf("not found %v after the limit was crossed: %+v", time.Since(crossed), s.Findings())
		}
		t.Logf("found after %v: %s", time.Since(crossed), found[0].Sentence)
	})
}
