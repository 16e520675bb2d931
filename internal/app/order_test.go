package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/judge"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/web"
)

const orderConfig = `
targets: [{name: shop, url: "http://127.0.0.1:9798"}]
x-scenario: &scenario
  target: shop
  schedule: {manual: true, duration: 5m}
  workload: {executor: constant-arrival-rate, rate: 1/s, max_vus: 5}
  flow: [{name: get, call: {path: /}}]
scenarios:
  - {name: import, <<: *scenario}
  - {name: read, <<: *scenario, schedule: {after: import, delay: 1m, duration: 2m}}
  - {name: base, <<: *scenario}
  - {name: peak, <<: *scenario}
suites:
  - {name: evening, scenarios: [{scenario: base}, {scenario: peak, after: base, start: 1m}]}
`

// The daemon begins runs after one another, and those of suites; a run that was stopped is followed by none. What a
// reload takes away ends, and a pause keeps suites from beginning.
func TestRunsInTheirOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		var ended []string
		a := inBubble(t, orderConfig, &stopwatch{}, filepath.Join(t.TempDir(), "data"), func(r judge.Run, _ load.Finding) {
			ended = append(ended, strings.Join([]string{r.Scenario, r.Began.Sub(begun).Round(time.Second).String(), r.At.Sub(begun).Round(time.Second).String(), r.Result}, " "))
		})
		d := daemon{a}
		must(t, a.fleet.Scenario("import").StartRun())
		time.Sleep(20 * time.Minute)
		must(t, a.fleet.Scenario("import").StartRun())
		time.Sleep(time.Minute)
		must(t, a.fleet.Scenario("import").StopRun())
		time.Sleep(9 * time.Minute)
		must(t, d.StartSuite("evening")) // at 30m
		time.Sleep(15 * time.Minute)
		want := web.Suite{Name: "evening", Schedule: "started by hand", Run: &web.SuiteRun{Result: "inconclusive", Parts: []web.SuitePart{
			{Scenario: "base", Result: "inconclusive", Why: "it has no objectives"}, {Scenario: "peak", Result: "inconclusive", Why: "it has no objectives"},
		}}}
		got := d.Suites()[0]
		if r := got.Run; r != nil {
			r.ID, r.Began, r.Ended = "", time.Time{}, time.Time{}
			for i := range r.Parts {
				p := &r.Parts[i]
				p.Run, p.Began, p.Ended = "", time.Time{}, time.Time{}
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("the suite (-want +got):\n%s", d)
		}
		must(t, a.fleet.Pause(0))
		if err := d.StartSuite("evening"); err == nil {
			t.Error("a suite begins in a pause")
		}
		must(t, a.fleet.Resume())
		must(t, d.StartSuite("evening")) // at 45m
		time.Sleep(time.Minute)
		must(t, os.WriteFile(a.opts.ConfigFile, []byte(orderConfig[:strings.Index(orderConfig, "suites:")]), 0o600))
		must(t, a.Reload())
		time.Sleep(10 * time.Minute)
		if err := d.StartSuite("evening"); err == nil || len(d.Suites()) != 0 {
			t.Errorf("after the reload there are the suites %v, and a start says %v", d.Suites(), err)
		}
		must(t, a.Stop())
		if d := cmp.Diff([]string{
			"import 0s 5m0s inconclusive", "read 6m0s 8m0s inconclusive", "import 20m0s 21m0s interrupted",
			"base 30m0s 35m0s inconclusive", "peak 36m0s 41m0s inconclusive", "base 45m0s 46m0s interrupted",
		}, ended); d != "" {
			t.Errorf("runs (-want +got):\n%s", d)
		}
	})
}
