package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/perfd/perfd/test/daemon"
)

// A register is a target whose orders are created and removed, by whoever has the token of the setup.
type register struct {
	mu               sync.Mutex
	setups, teardown int
	bad              []string
	open             map[string]bool
	created, removed int
	most             int // orders that existed at once
	failSetups       int
	requestsAfter    int           // of the flow, after teardown
	takes            time.Duration // a removal
	at, atOnce       int           // removals under way, and the most of them
}

func (r *register) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	token := "Bearer t" + fmt.Sprint(r.setups)
	switch at := q.Method + " " + q.URL.Path; {
	case at == "POST /setup":
		r.setups++
		if r.setups <= r.failSetups {
			http.Error(w, "not now", http.StatusServiceUnavailable)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"token": fmt.Sprintf("t%d", r.setups)})
	case q.Header.Get("Authorization") != token:
		r.bad = append(r.bad, fmt.Sprintf("%s with %q instead of %q", at, q.Header.Get("Authorization"), token))
	case at == "POST /teardown":
		r.teardown++
	case at == "POST /orders":
		if r.teardown > 0 {
			r.requestsAfter++
		}
		r.created++
		id := fmt.Sprintf("o%d", r.created)
		r.open[id] = true
		r.most = max(r.most, len(r.open))
		_ = json.NewEncoder(w).Encode(map[string]string{"id": id})
	case strings.HasPrefix(at, "DELETE /orders/"):
		r.at++
		r.atOnce = max(r.atOnce, r.at)
		r.mu.Unlock()
		time.Sleep(r.takes)
		r.mu.Lock()
		r.at--
		id := strings.TrimPrefix(q.URL.Path, "/orders/")
		if !r.open[id] {
			r.bad = append(r.bad, at+" of what is not there")
		}
		delete(r.open, id)
		r.removed++
	}
}

const registerConfig = `
targets: [{name: shop, url: %q}]
scenarios:
  - name: orders
    target: shop
    schedule: {manual: true, duration: 3s}
    workload: {executor: constant-arrival-rate, rate: 20/s, max_vus: 30}
    setup:
      - {name: sign in, http: {method: POST, url: /setup}, extract: {token: json.token}}
    flow:
      - {name: order, http: {method: POST, url: /orders, headers: {Authorization: "Bearer ${token}"}}, extract: {order: json.id}}
      - cleanup:
          - {name: remove, http: {method: DELETE, url: "/orders/${order}", headers: {Authorization: "Bearer ${token}"}}}
        keep: 10
    teardown:
      - {name: sign out, http: {method: POST, url: /teardown, headers: {Authorization: "Bearer ${token}"}}}
`

func TestSetupTeardownAndCleanup(t *testing.T) {
	r := &register{open: map[string]bool{}, failSetups: 1}
	g := newTarget(t, r.ServeHTTP, nil)
	d := start(t, fmt.Sprintf(registerConfig, g.URL))
	post(t, d, "/api/v1/scenarios/orders/start")
	m := until(t, d, 30*time.Second, func(m daemon.Metrics) string {
		if m.Value("perfd_runs_total", "scenario=orders") < 1 {
			return "the run has not ended"
		}
		return ""
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.bad) > 0 {
		t.Errorf("%d requests were wrong, the first: %s", len(r.bad), r.bad[0])
	}
	if r.setups != 2 || r.teardown != 1 || r.requestsAfter > 0 {
		t.Errorf("%d setups (the first of which failed), %d teardowns, %d orders after it; want 2, 1, 0", r.setups, r.teardown, r.requestsAfter)
	}
	// The run's three seconds are those of its plan, which goes on while setup is attempted again.
	if r.created < 20 || r.removed != r.created || len(r.open) != 0 || r.most > 20 {
		t.Errorf("%d orders, %d of them removed, %d left, at most %d at once; want 20 or more, all removed, at most 20 at once", r.created, r.removed, len(r.open), r.most)
	}
	for what, want := range map[[2]string]float64{
		{"setup", "setup/sign in"}: 2, {"teardown", "teardown/sign out"}: 1, {"cleanup", "cleanup/remove"}: float64(r.removed),
	} {
		if got := m.Value("perfd_unmeasured_requests_total", "scenario=orders", "part="+what[0], "step="+what[1]); got != want {
			t.Errorf("%s: %v requests are counted, want %v", what[1], got, want)
		}
	}
	if n := len(m.Series("perfd_requests_total", "scenario=orders")); n != 1 || m.Value("perfd_requests_total", "scenario=orders", "step=order") != float64(r.created) {
		t.Errorf("%d steps are measured, %v requests of order; want 1 and %d", n, m.Value("perfd_requests_total", "scenario=orders", "step=order"), r.created)
	}
	if got := m.Value("perfd_unmeasured_request_failures_total", "part=setup", "cause=status"); got != 1 {
		t.Errorf("%v failures of setup are counted, want 1", got)
	}
	if p, l := m.Value("perfd_cleanups_pending", "scenario=orders"), m.Value("perfd_cleanups_lost_total", "scenario=orders"); p != 0 || l != 0 {
		t.Errorf("%v orders wait to be removed and %v are lost, want none", p, l)
	}
}

// What waits at the end of a run is removed several at once, and what is not removed in time is counted.
func TestCleanupAtOnceAndInTime(t *testing.T) {
	for _, test := range []struct {
		name, keys string
		takes      time.Duration
		all        bool
	}{
		{"all", "limit: 10", 20 * time.Millisecond, true},
		{"too many", "limit: 2, within: 1s", 100 * time.Millisecond, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := &register{open: map[string]bool{}, takes: test.takes}
			g := newTarget(t, r.ServeHTTP, nil)
			keys := "        keep: 5000\n        " + strings.Join(strings.Split(test.keys, ", "), "\n        ")
			config := strings.NewReplacer("        keep: 10", keys, "rate: 20/s, max_vus: 30", "rate: 200/s, max_vus: 60").Replace(fmt.Sprintf(registerConfig, g.URL))
			d := start(t, config)
			post(t, d, "/api/v1/scenarios/orders/start")
			m := until(t, d, 45*time.Second, atLeast(1, "perfd_runs_total", "scenario=orders"))
			r.mu.Lock()
			defer r.mu.Unlock()
			pending, lost := m.Value("perfd_cleanups_pending", "scenario=orders"), m.Value("perfd_cleanups_lost_total", "scenario=orders")
			if len(r.bad) > 0 || r.teardown != 1 || pending != 0 {
				t.Errorf("wrong requests %q, %d teardowns, %v wait; want none, 1, none", r.bad, r.teardown, pending)
			}
			if test.all && (r.removed != r.created || lost != 0 || r.atOnce < 5 || r.atOnce > 10) {
				t.Errorf("%d of %d orders were removed, at most %d at once, %v are lost; want all, 5 to 10, none", r.removed, r.created, r.atOnce, lost)
			}
			// A removal that was under way when the time was over is lost to perfd, whatever became of it.
			if !test.all && (lost == 0 || r.atOnce > 2 || float64(r.removed)+lost < float64(r.created) || float64(r.removed)+lost > float64(r.created+2)) {
				t.Errorf("%d of %d orders were removed, at most %d at once, %v are lost; want some lost, 2, the rest", r.removed, r.created, r.atOnce, lost)
			}
		})
	}
}

func TestARunWhoseSetupFailsIsOver(t *testing.T) {
	r := &register{open: map[string]bool{}, failSetups: 100}
	g := newTarget(t, r.ServeHTTP, nil)
	d := start(t, strings.Replace(fmt.Sprintf(registerConfig, g.URL), "duration: 3s", "duration: 60s", 1))
	post(t, d, "/api/v1/scenarios/orders/start")
	m := until(t, d, 20*time.Second, func(m daemon.Metrics) string {
		if m.Value("perfd_runs_total", "scenario=orders", "result=error") < 1 {
			return "the run has not ended"
		}
		return ""
	})
	if n := m.Value("perfd_iterations_started_total", "scenario=orders"); n != 0 || r.setups != 3 || r.teardown != 0 {
		t.Errorf("%v iterations after %d setups, and %d teardowns; want none after 3, and none", n, r.setups, r.teardown)
	}
	if _, body, err := d.Do(t.Context(), "GET", "/api/v1/failures?scenario=orders"); err != nil || !strings.Contains(body, "setup/sign in") {
		t.Errorf("the failures of the scenario do not name the step (%v): %s", err, body)
	}
}

func TestSetupWaitsForTheEndOfAPause(t *testing.T) {
	r := &register{open: map[string]bool{}}
	g := newTarget(t, r.ServeHTTP, nil)
	dir := t.TempDir()
	stop := filepath.Join(dir, "STOP")
	if err := os.WriteFile(stop, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	config := strings.Replace(fmt.Sprintf(registerConfig, g.URL), "schedule: {manual: true, duration: 3s}", "schedule: {always: true}", 1)
	d := startWith(t, daemon.Options{Dir: dir, Config: "safety: {kill_switch_file: STOP}\n" + config})
	until(t, d, 20*time.Second, func(m daemon.Metrics) string {
		if m.Value("perfd_paused") != 1 {
			return "load is not paused"
		}
		return ""
	})
	time.Sleep(time.Second) // in which nothing may happen
	r.mu.Lock()
	early := r.setups + r.created
	r.mu.Unlock()
	if early > 0 {
		t.Errorf("%d requests were sent during a pause", early)
	}
	if err := os.Remove(stop); err != nil {
		t.Fatal(err)
	}
	until(t, d, 20*time.Second, atLeast(5, "perfd_requests_total", "scenario=orders"))
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.setups != 1 || len(r.bad) > 0 {
		t.Errorf("%d setups after the pause, wrong requests %q; want 1 and none", r.setups, r.bad)
	}
}
