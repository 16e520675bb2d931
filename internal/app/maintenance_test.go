package app

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/web"
)

// A shop that gets ten times slower while it is in maintenance breaks nothing; it
// breaks its objective once the maintenance is over.
func TestWhatHappensInMaintenanceIsNotJudged(t *testing.T) {
	t.Parallel()
	const (
		slower  = 5 * time.Minute  // from the beginning on
		begins  = 4 * time.Minute  // the maintenance
		lasts   = 20 * time.Minute // and it
		noticed = 6 * time.Minute  // within which the objective must be called broken after it
	)
	play(t, shopKnobs(slower, 10), 1, 0, func(s *stage) {
		s.serve(begins, func() bool { return false })
		d := daemon{s.App}
		w, err := d.Maintain(web.Maintenance{Name: "database", Targets: []string{"shop"}, Until: time.Now().Add(lasts)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Maintain(web.Maintenance{Name: "x", Targets: []string{"shpo"}, Until: time.Now().Add(lasts)}); err == nil {
			t.Error("a target that is unknown was taken")
		}
		if now := d.Status().Maintenance; len(now) != 1 || now[0].ID != w.ID {
			t.Errorf("under way: %+v, want %+v", now, w)
		}
		s.serve(lasts, func() bool {
			for _, kind := range []load.Kind{load.KindObjective, load.KindRegression} {
				for _, f := range s.active(kind) {
					t.Fatalf("found in maintenance: %s", f.Sentence)
				}
			}
			return false
		})
		if now := d.Status().Maintenance; len(now) != 0 {
			t.Errorf("under way after its end: %+v", now)
		}
		ended := time.Now()
		s.serve(noticed, func() bool { return len(s.active(load.KindObjective)) > 0 })
		if len(s.active(load.KindObjective)) == 0 {
			t.Errorf("a broken objective is not called %v after the maintenance", time.Since(ended))
		}
		var timeline []time.Duration
		events, err := s.history.Events(s.began, time.Now())
		for _, e := range events {
			if e.Kind == load.MaintenanceSet && e.Target == "shop" {
				timeline = append(timeline, e.Until.Sub(s.began).Round(10*time.Second))
			}
		}
		if want := []time.Duration{begins + lasts, begins + lasts}; err != nil || !slices.Equal(timeline, want) {
			t.Errorf("ends on the timeline: %v (%v), want %v", timeline, err, want)
		}
	})
}

// Maintenance that a reload declares is in force at once, and a run goes on.
func TestMaintenanceIsDeclaredByAReload(t *testing.T) {
	play(t, shopKnobs(24*time.Hour, 1), 1, 0, func(s *stage) {
		s.serve(time.Minute, func() bool { return false })
		before, running := s.Fleet().Scenario("shop-soak").Run()
		text, err := os.ReadFile(s.opts.ConfigFile)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, "\nmaintenance: [{name: nightly, targets: [shop], to: \"12:00\"}]\n"...) // a bubble begins at midnight
		if err := os.WriteFile(s.opts.ConfigFile, text, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := s.Reload(); err != nil {
			t.Fatal(err)
		}
		if now := (daemon{s.App}).Status().Maintenance; len(now) != 1 || now[0].Name != "nightly" || now[0].Until.Hour() != 12 {
			t.Errorf("under way: %+v", now)
		}
		s.serve(30*time.Second, func() bool { return false })
		if w := s.Fleet().LastWindow("shop-soak", ""); w == nil || w.Flags.Excluded() != "maintenance" {
			t.Errorf("the last window: %+v", w)
		}
		if after, still := s.Fleet().Scenario("shop-soak").Run(); !running || !still || after.ID != before.ID {
			t.Errorf("run %q before, %q after the reload", before.ID, after.ID)
		}
	})
}
