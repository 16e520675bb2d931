package e2e

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/perfd/perfd/test/daemon"
	"github.com/perfd/perfd/test/proc"
)

// A ramp killed in its middle resumes where the wall clock puts it, not where it was
// killed and not at its beginning (SEMANTICS section 5).
func TestKilledRampResumesWhereTheClockSays(t *testing.T) {
	const (
		slope   = 2.0 // requests per second, per second
		measure = 5 * time.Second
	)
	g := newTarget(t, nil, nil)
	anchor := time.Now().Truncate(time.Second)
	dir := t.TempDir()
	d := startWith(t, daemon.Options{Dir: dir, Config: fmt.Sprintf(`
targets:
  - {name: server, url: %q}
scenarios:
  - name: ramp
    test: load
    target: server
    schedule: {always: true, anchor: %q}
    workload:
      executor: ramping-arrival-rate
      start_rate: 0/s
      stages: [{duration: 2m, target: 240/s}, {duration: 2m, target: 0/s}]
      repeat: {from: 0}
      max_vus: 50
    flow:
      - {name: get, http: {url: /get}}
`, g.URL, anchor.Format(time.RFC3339))})

	// The clock is the only thing waited for: the kill lands 10 s into the ramp, the start 15 s.
	<-time.After(time.Until(anchor.Add(10 * time.Second)))
	d.Kill()
	killed := time.Now()
	before := len(g.at("/get"))
	if before == 0 {
		t.Fatal("no request before the kill")
	}
	<-time.After(time.Until(anchor.Add(15 * time.Second)))
	d = startWith(t, daemon.Options{Dir: dir})

	err := proc.Poll(within(t, 30*time.Second), 10*time.Millisecond, func() (bool, error) {
		return g.since("/get", killed.Add(time.Second)) > 0, nil
	})
	if err != nil {
		t.Fatalf("wait for load after the restart: %v", err)
	}
	first := g.at("/get")[before]
	<-time.After(time.Until(first.Add(measure)))

	got := 0
	for _, at := range g.at("/get")[before:] {
		if at.Before(first.Add(measure)) {
			got++
		}
	}
	from, to := first.Sub(anchor).Seconds(), first.Add(measure).Sub(anchor).Seconds()
	want := slope / 2 * (to*to - from*from)
	if second := slope * to; math.Abs(float64(got)-want) > second {
		t.Errorf("requests in the %v after the restart, %.1f s into the ramp = %d, want %.0f ± %.0f (one second's worth)",
			measure, from, got, want, second)
	}
	t.Logf("killed at 10 s, load again at %.2f s: %d requests in %v, the clock says %.0f", from, got, measure, want)

	low := slope * time.Since(anchor).Seconds()
	planned := scrape(t, d).Value("perfd_planned_arrivals_per_second")
	high := slope * time.Since(anchor).Seconds()
	if planned < low-slope || planned > high+slope {
		t.Errorf("perfd_planned_arrivals_per_second = %.2f, want within a second of %.2f to %.2f", planned, low, high)
	}
	stop(t, d)
}
