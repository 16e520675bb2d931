package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/perfd/perfd/test/daemon"
	"github.com/perfd/perfd/test/proc"
)

// three is a configuration of three scenarios, the third with a rate of its own.
func three(url string, rate int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "targets:\n  - {name: server, url: %q}\nscenarios:\n", url)
	for name, r := range map[string]int{"a": 50, "b": 30, "c": rate} {
		fmt.Fprintf(&b, `
  - name: %[1]s
    test: load
    target: server
    schedule: {always: true}
    workload: {executor: constant-arrival-rate, rate: %[2]d/s, max_vus: 20}
    flow:
      - {name: get, http: {url: /%[1]s}}
`, name, r)
	}
	return b.String()
}

// A reload that changes one of three scenarios costs the other two no request
// and no counter, and not even a connection.
func TestReloadKeepsUnchangedScenarios(t *testing.T) {
	g := newTarget(t, nil, nil)
	d := start(t, three(g.URL, 10))
	before := until(t, d, time.Minute, atLeast(100, "perfd_requests_total", "scenario=a"))
	began := time.Now()

	for i, reload := range []func(){
		func() { post(t, d, "/-/reload") },
		func() {
			if err := d.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
		},
	} {
		rate := 100 * (i + 1)
		if err := d.Configure(three(g.URL, rate)); err != nil {
			t.Fatal(err)
		}
		reload()
		until(t, d, 30*time.Second, func(m daemon.Metrics) string {
			if got := m.Value("perfd_planned_arrivals_per_second", "scenario=c"); got != float64(rate) {
				return fmt.Sprintf("planned rate of c = %v, want %d", got, rate)
			}
			return ""
		})
		until(t, d, 30*time.Second, atLeast(before.Value("perfd_requests_total", "scenario=a")+float64(100*(i+1)),
			"perfd_requests_total", "scenario=a"))
	}

	after := scrape(t, d)
	elapsed := time.Since(began).Seconds()
	for name, rate := range map[string]float64{"a": 50, "b": 30} {
		label := "scenario=" + name
		late := lateDrops(after, label)
		if got := after.Value("perfd_iterations_dropped_total", label) - late; got != 0 {
			t.Errorf("%s: %v arrivals dropped, want 0", name, got)
		}
		if got := after.Value("perfd_request_failures_total", label); got != 0 {
			t.Errorf("%s: %v requests failed, want 0", name, got)
		}
		started := after.Value("perfd_iterations_started_total", label) - before.Value("perfd_iterations_started_total", label)
		if want := rate * elapsed; started+late < want-rate || started > want+rate {
			t.Errorf("%s: %v iterations started in %.2f s at %v/s, want %.0f within a second's worth", name, started, elapsed, rate, want)
		}
		for _, reason := range []string{"age", "end", "error"} {
			if got := after.Value("perfd_connections_closed_total", label, "reason="+reason); got != 0 {
				t.Errorf("%s: %v connections closed with reason %s, want 0", name, got, reason)
			}
		}
	}

	drainedCountsAgree(t, d, g, "a", "b", "c")
	stop(t, d)
}

// A file that does not load changes nothing, and says so in the answer, in a
// metric and in the log.
func TestBrokenReloadChangesNothing(t *testing.T) {
	g := newTarget(t, nil, nil)
	d := start(t, three(g.URL, 10))
	before := until(t, d, time.Minute, atLeast(50, "perfd_requests_total", "scenario=a"))
	if got := before.Value("perfd_config_last_reload_successful"); got != 1 {
		t.Errorf("perfd_config_last_reload_successful after the start = %v, want 1", got)
	}

	broken := strings.Replace(three(g.URL, 10), "rate: 50/s", "rate: 50", 1) + "scenario_fils: []\n"
	if err := d.Configure(broken); err != nil {
		t.Fatal(err)
	}
	code, body, err := d.Do(within(t, 30*time.Second), http.MethodPost, "/-/reload")
	if err != nil {
		t.Fatal(err)
	}
	if code/100 == 2 {
		t.Errorf("POST /-/reload of a broken file: status %d, want a failure", code)
	}
	for _, want := range []string{"scenario_fils", "scenario_files", "rate"} {
		if !strings.Contains(body, want) {
			t.Errorf("the answer to the rejected reload does not mention %q:\n%s", want, body)
		}
		// The log reaches the test by a pipe, which may be read after the answer.
		err := proc.Poll(within(t, 10*time.Second), 10*time.Millisecond, func() (bool, error) {
			return strings.Contains(d.Output(), want), nil
		})
		if err != nil {
			t.Errorf("the log of the rejected reload does not mention %q: %v\n%s", want, err, d.Output())
		}
	}
	m := until(t, d, 30*time.Second, atLeast(before.Value("perfd_requests_total", "scenario=a")+100, "perfd_requests_total", "scenario=a"))
	if got := m.Value("perfd_config_last_reload_successful"); got != 0 {
		t.Errorf("perfd_config_last_reload_successful = %v, want 0", got)
	}
	if got := m.Value("perfd_iterations_dropped_total") - lateDrops(m); got != 0 {
		t.Errorf("%v arrivals dropped, want 0", got)
	}

	if err := d.Configure(three(g.URL, 10)); err != nil {
		t.Fatal(err)
	}
	post(t, d, "/-/reload")
	if got := scrape(t, d).Value("perfd_config_last_reload_successful"); got != 1 {
		t.Errorf("perfd_config_last_reload_successful after the file was mended = %v, want 1", got)
	}
	drainedCountsAgree(t, d, g, "a", "b", "c")
	stop(t, d)
}

// drainedCountsAgree stops all load and holds that each scenario counted what
// the target saw on its path.
func drainedCountsAgree(t *testing.T, d *daemon.Daemon, g *target, scenarios ...string) {
	t.Helper()
	m := drain(t, d)
	for _, s := range scenarios {
		if got, saw := m.Value("perfd_requests_total", "scenario="+s), len(g.at("/"+s)); int(got) != saw {
			t.Errorf("perfd_requests_total{scenario=%q} = %v when drained, the target saw %d", s, got, saw)
		}
	}
}

// drain pauses the daemon and waits until nothing is under way.
func drain(t *testing.T, d *daemon.Daemon) daemon.Metrics {
	t.Helper()
	post(t, d, "/-/pause")
	return resting(t, d)
}

// settled is for how long no iteration may start before load counts as ended:
// at the rates of these tests, dozens are due in it.
const settled = time.Second

// resting waits until load has ended: no run goes on, nothing is under way, and
// nothing has started for a while. That no virtual user is busy would not do,
// as between two arrivals none is.
func resting(t *testing.T, d *daemon.Daemon) daemon.Metrics {
	t.Helper()
	started, since := -1.0, time.Now()
	return until(t, d, 30*time.Second, func(m daemon.Metrics) string {
		for _, state := range []string{"running", "draining"} {
			if n := m.Value("perfd_scenario_state", "state="+state); n != 0 {
				return fmt.Sprintf("%v scenarios are %s", n, state)
			}
		}
		if got := m.Value("perfd_vus_busy"); got != 0 {
			return fmt.Sprintf("perfd_vus_busy = %v, want 0", got)
		}
		if n := m.Value("perfd_iterations_started_total"); n != started {
			started, since = n, time.Now()
		}
		if time.Since(since) < settled {
			return fmt.Sprintf("iterations started within the last %v", settled)
		}
		return ""
	})
}

// lateDrops is how many arrivals were dropped because the machine held perfd up, as perfd itself says; 0 where it does not.
func lateDrops(m daemon.Metrics, labels ...string) float64 {
	if m.Value("perfd_measurement_invalid_seconds_total", "reason=pacer_gap") == 0 {
		return 0
	}
	return m.Value("perfd_iterations_dropped_total", append(labels, "reason=late")...)
}
