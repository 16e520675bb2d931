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
//
// A machine that stalls perfd meanwhile makes it invalid for an honest reason;
// then the hang shows nothing, and is tried again.
func TestHangingTargetDropsAsNoFreeVUAndStaysValid(t *testing.T) {
	const tries = 3
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
	for try := 1; ; try++ {
		h := hang(t, d, &hold)
		disturbed := h.invalid("pacer_gap") + h.invalid("throttled") + h.invalid("clock") + h.invalid("ports")
		if disturbed > 0 && try < tries {
			t.Logf("the machine disturbed perfd for %.1f s: tried again", disturbed)
			continue
		}
		h.judge(t)
		break
	}
	stop(t, d)
}

// A stall is what the daemon counted from before a hang of its target to the
// hang's end.
type stall struct {
	before, after daemon.Metrics
	span          time.Duration
	flagged       []time.Duration // into the stall, when the daemon called the measurement invalid
}

// hang stops all answers for half a minute, from a valid measurement on.
func hang(t *testing.T, d *daemon.Daemon, hold *gate) stall {
	t.Helper()
	const span = 30 * time.Second
	served := scrape(t, d).Value("perfd_requests_total")
	var s stall
	s.before = until(t, d, 3*time.Minute, func(m daemon.Metrics) string {
		if m.Value("perfd_measurement_valid") != 1 {
			return "a valid measurement to begin with"
		}
		return atLeast(served+100, "perfd_requests_total")(m)
	})
	hold.shut()
	began := time.Now()
	s.after = until(t, d, 2*span, func(m daemon.Metrics) string {
		s.span = time.Since(began)
		if m.Value("perfd_measurement_valid") != 1 {
			s.flagged = append(s.flagged, s.span)
		}
		if s.span < span {
			return "the end of the hang"
		}
		return ""
	})
	hold.reopen()
	return s
}

// grew is by how much a counter rose during the stall.
func (s *stall) grew(name string, labels ...string) float64 {
	return s.after.Value(name, labels...) - s.before.Value(name, labels...)
}

func (s *stall) invalid(reason string) float64 {
	return s.grew("perfd_measurement_invalid_seconds_total", "reason="+reason)
}

func (s *stall) judge(t *testing.T) {
	t.Helper()
	if len(s.flagged) > 0 {
		t.Errorf("perfd_measurement_valid was not 1 from %v into the hang", s.flagged[0])
	}
	for _, m := range s.after.Series("perfd_measurement_invalid_seconds_total") {
		for _, l := range m.GetLabel() {
			if l.GetName() == "reason" && s.invalid(l.GetValue()) != 0 {
				t.Errorf("invalid seconds of reason %s over the hang = %.2f, want 0", l.GetValue(), s.invalid(l.GetValue()))
			}
		}
	}
	const dropped = "perfd_iterations_dropped_total"
	all, mine := s.grew(dropped), s.grew(dropped, "reason=no_free_vu")
	if mine != all || mine == 0 {
		t.Errorf("drops: %v of reason no_free_vu of %v, want all of them; late %v, vu_cap %v, backoff %v, rate_cap %v", mine, all,
			s.grew(dropped, "reason=late"), s.grew(dropped, "reason=vu_cap"), s.grew(dropped, "reason=backoff"), s.grew(dropped, "reason=rate_cap"))
	}
	// Due arrivals are those that started and those that did not: none is lost.
	due := s.grew("perfd_iterations_started_total") + all
	if want := 50 * s.span.Seconds(); due < want-50 || due > want+50 {
		t.Errorf("started + dropped over the hang = %v, want %.0f within a second's worth", due, want)
	}
}

// A stopped process cannot be scraped while it stands still, so what it did not
// measure is counted afterwards, with its reason, and makes the measurement invalid
// while it is a relevant share of the last minutes (SEMANTICS section 7).
func TestSIGSTOPCountsInvalidSeconds(t *testing.T) {
	const stopped = 20 * time.Second
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

	until(t, d, 30*time.Second, func(m daemon.Metrics) string {
		got := m.Value("perfd_measurement_invalid_seconds_total", "reason=pacer_gap") -
			before.Value("perfd_measurement_invalid_seconds_total", "reason=pacer_gap")
		if got < stopped.Seconds()-0.2 {
			return fmt.Sprintf("invalid seconds of reason pacer_gap = %v, want the %v of the stop", got, stopped)
		}
		if m.Value("perfd_measurement_valid") != 0 {
			return "a measurement that is not valid, with a third of its first minute lost"
		}
		return ""
	})
	stop(t, d)
}

// Stops of 150 ms cost what they touch: at least 85 % of requests count, none of those that
// were late is a bad event, and the measurement stays valid.
func TestShortStopsCostWhatTheyTouch(t *testing.T) {
	const (
		bursts  = 6
		every   = 5 * time.Second // four times as often as a bad machine
		stopped = 150 * time.Millisecond
	)
	g := newTarget(t, nil, nil)
	d := start(t, judged(g.URL))
	before := until(t, d, time.Minute, atLeast(400, "perfd_objective_events_total", "objective=p95"))
	for range bursts {
		if err := d.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		<-time.After(stopped)
		if err := d.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		<-time.After(every - stopped)
	}
	var m daemon.Metrics
	grew := func(name string) float64 {
		return m.Value(name, "objective=p95") - before.Value(name, "objective=p95")
	}
	until(t, d, time.Minute, func(now daemon.Metrics) string {
		m = now
		want := 40 * (bursts*every + 10*time.Second).Seconds() // the last stops are in windows that ended
		if all := grew("perfd_objective_events_total") + grew("perfd_objective_excluded_total"); all < want {
			return fmt.Sprintf("%v events, want %v", all, want)
		}
		return ""
	})
	events, bad, excluded := grew("perfd_objective_events_total"), grew("perfd_objective_bad_total"), grew("perfd_objective_excluded_total")
	t.Logf("%v events count, %v of them bad, %v are excluded", events, bad, excluded)
	if excluded < bursts || events < 0.85*(events+excluded) {
		t.Errorf("%v events count and %v do not, want at least 85 %%, and some of each stop", events, excluded)
	}
	// Without stops none of a local target's requests takes 200 ms; what a busy machine adds is a few.
	if bad > 0.02*events {
		t.Errorf("%v of %v events are bad though only perfd was stopped", bad, events)
	}
	if m.Value("perfd_measurement_valid") != 1 {
		t.Error("the measurement is not valid")
	}
	stop(t, d)
}
