package app

import (
	"slices"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/maintenance"
)

// A shop that gets ten times slower while it is in maintenance breaks nothing; it
// breaks its objective once the maintenance is over.
func TestWhatHappensInMaintenanceIsNotJudged(t *testing.T) {
	const (
		slower  = 5 * time.Minute  // from the beginning on
		begins  = 4 * time.Minute  // the maintenance
		lasts   = 20 * time.Minute // and it
		noticed = 6 * time.Minute  // within which the objective must be called broken after it
	)
	play(t, shopKnobs(slower, 10), 1, 0, func(s *stage) {
		s.serve(begins, func() bool { return false })
		d := daemon{s.App}
		w, err := d.Maintain(maintenance.Window{Name: "database", Targets: []string{"shop"}, Until: time.Now().Add(lasts)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Maintain(maintenance.Window{Name: "x", Targets: []string{"shpo"}, Until: time.Now().Add(lasts)}); err == nil {
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
