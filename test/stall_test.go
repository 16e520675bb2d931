package e2e

import (
	"fmt"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/perfd/perfd/test/daemon"
)

// A server that closes idle connections while virtual users think must cost
// them nothing: the end of the connection is seen before it is used, or the
// request is sent once more on a new one (SEMANTICS section 8). The think times
// lie around the server's timeout, where closing and sending cross on the wire.
func TestIdleTimeoutShorterThanThinkTimeFailsNothing(t *testing.T) {
	const want = 10_000
	g := newTarget(t, nil, func(s *http.Server) { s.IdleTimeout = 100 * time.Millisecond })
	d := start(t, fmt.Sprintf(`
targets:
  - {name: server, url: %q}
scenarios:
  - name: thinkers
    test: load
    target: server
    schedule: {always: true}
    workload: {executor: constant-vus, vus: 80}
    flow:
      - {name: get, http: {url: /get}}
      - think: {uniform: [95ms, 115ms]}
`, g.URL))
	m := until(t, d, 3*time.Minute, atLeast(want, "perfd_requests_total"))
	if got := m.Value("perfd_request_failures_total"); got != 0 {
		t.Errorf("perfd_request_failures_total = %v of %v, want 0", got, m.Value("perfd_requests_total"))
	}
	if m.Value("perfd_connections_closed_total", "reason=peer")+m.Value("perfd_connections_closed_total", "reason=stale") == 0 {
		t.Error("no connection was closed by the server: the test shows nothing")
	}
	t.Logf("%v requests, %v connections closed while idle, %v while a request was on its way",
		m.Value("perfd_requests_total"), m.Value("perfd_connections_closed_total", "reason=peer"),
		m.Value("perfd_connections_closed_total", "reason=stale"))
	stop(t, d)
}

// A target that hangs must not silence its own alert: what does not start is
// the target's doing, and the measurement stays valid (SEMANTICS section 2).
func TestHangingTargetDropsAsNoFreeVUAndStaysValid(t *testing.T) {
	const hang = 30 * time.Second
	var hold gate
	g := newTarget(t, hold.ServeHTTP, nil)
	d := start(t, fmt.Sprintf(`
targets:
  - {name: server, url: %q}
scenarios:
  - name: steady
    test: load
    target: server
    schedule: {always: true}
    workload: {executor: constant-arrival-rate, rate: 50/s, pre_allocated_vus: 20, max_vus: 20}
    flow:
      - {name: get, http: {url: /get}, timeout: 60s}
`, g.URL))
	before := until(t, d, 3*time.Minute, func(m daemon.Metrics) string {
		if m.Value("perfd_measurement_valid") != 1 {
			return "a valid measurement to begin with"
		}
		return atLeast(100, "perfd_requests_total")(m)
	})

	hold.shut()
	began := time.Now()
	var invalid []string
	m := until(t, d, 2*hang, func(m daemon.Metrics) string {
		if got := m.Value("perfd_measurement_valid"); got != 1 {
			invalid = append(invalid, time.Since(began).String())
		}
		if time.Since(began) < hang {
			return "the end of the hang"
		}
		return ""
	})
	hold.reopen()

	if len(invalid) > 0 {
		t.Errorf("perfd_measurement_valid was not 1 at %v into the hang", invalid)
	}
	if got, want := m.Value("perfd_measurement_invalid_seconds_total"), before.Value("perfd_measurement_invalid_seconds_total"); got != want {
		t.Errorf("perfd_measurement_invalid_seconds_total over the hang: from %v to %v", want, got)
	}
	mine := m.Value("perfd_iterations_dropped_total", "reason=no_free_vu")
	if all := m.Value("perfd_iterations_dropped_total"); mine != all || mine == 0 {
		t.Errorf("drops: %v with reason no_free_vu of %v, want all of them", mine, all)
	}
	// Due arrivals are those that started and those that did not: none is lost.
	due := m.Value("perfd_iterations_started_total") + mine
	elapsed := due / 50
	if since := time.Since(began).Seconds(); elapsed < since-1 {
		t.Errorf("started + dropped = %v, which is %.1f s of 50/s; the hang alone was %.1f s", due, elapsed, since)
	}
	until(t, d, time.Minute, atLeast(m.Value("perfd_requests_total")+100, "perfd_requests_total"))
	stop(t, d)
}

// A stopped process cannot be scraped while it stands still, so what it did not
// measure is counted afterwards, with its reason (SEMANTICS section 7).
func TestSIGSTOPCountsInvalidSeconds(t *testing.T) {
	const stopped = 3 * time.Second
	g := newTarget(t, nil, nil)
	d := start(t, steady(g.URL, 50))
	before := until(t, d, time.Minute, atLeast(100, "perfd_requests_total"))

	if err := d.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	<-time.After(stopped)
	if err := d.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}

	m := until(t, d, 30*time.Second, func(m daemon.Metrics) string {
		got := m.Value("perfd_measurement_invalid_seconds_total", "reason=pacer_gap") -
			before.Value("perfd_measurement_invalid_seconds_total", "reason=pacer_gap")
		if got < stopped.Seconds()-0.2 {
			return fmt.Sprintf("invalid seconds of reason pacer_gap = %v, want the %v of the stop", got, stopped)
		}
		return ""
	})
	if got := m.Value("perfd_measurement_valid"); got != 0 {
		t.Errorf("perfd_measurement_valid after a stop = %v, want 0 for at least a minute", got)
	}
	stop(t, d)
}
