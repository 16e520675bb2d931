package app

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/analysis/limit"
)

// A resource that crosses its limit is found where no scenario is configured, too:
// no window ends then.
func TestALimitIsJudgedWithoutScenarios(t *testing.T) {
	play(t, shopKnobs(24*time.Hour, 1), 1, 0, func(s *stage) {
		text, err := os.ReadFile(s.opts.ConfigFile)
		if err != nil {
			t.Fatal(err)
		}
		targets, _, _ := strings.Cut(string(text), "scenarios:")
		if err := os.WriteFile(s.opts.ConfigFile, []byte(targets), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := s.Reload(); err != nil {
			t.Fatal(err)
		}
		s.serve(2*time.Minute, func() bool { return false })
		if found := s.active(limit.KindLimit); len(found) > 0 {
			t.Fatalf("found before the limit was crossed: %s", found[0].Sentence)
		}
		s.heap.held.Store(3 << 30)
		crossed := time.Now()
		// Two readings in a row, and the longest wait for a judgement.
		const most = 2*30*time.Second + 30*time.Second
		s.serve(most, func() bool { return len(s.active(limit.KindLimit)) > 0 })
		found := s.active(limit.KindLimit)
		if len(found) == 0 {
			t.Fatalf("not found %v after the limit was crossed: %+v", time.Since(crossed), s.Findings())
		}
		t.Logf("found after %v: %s", time.Since(crossed), found[0].Sentence)
	})
}
