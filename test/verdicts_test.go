package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/perfd/perfd/test/daemon"
)

// judged is a scenario with an objective on errors and one on response times.
func judged(url string) string {
	return fmt.Sprintf(`
targets:
  - {name: server, url: %q, release: {push: true, settle: 0s}}
scenarios:
  - name: judged
    test: endurance
    target: server
    schedule: {always: true}
    workload: {executor: constant-arrival-rate, rate: 40/s, pre_allocated_vus: 20, max_vus: 20}
    objectives:
      - {name: p95, that: p(95) < 200ms}
      - {name: errors, that: error_ratio < 1%%, severity: critical}
    flow:
      - {name: get, http: {url: /get}, timeout: 2s}
`, url)
}

// verdict returns the verdict on an objective, or none.
func verdict(m daemon.Metrics, objective string) string {
	for _, v := range []string{"pass", "fail", "inconclusive"} {
		if m.Value("perfd_objective_verdict", "objective="+objective, "verdict="+v) == 1 {
			return v
		}
	}
	return "none"
}

// awaitVerdict waits until an objective has a verdict and returns how long that took.
func awaitVerdict(t *testing.T, d *daemon.Daemon, objective, want string, limit time.Duration) time.Duration {
	t.Helper()
	began := time.Now()
	until(t, d, limit, func(m daemon.Metrics) string {
		if got := verdict(m, objective); got != want {
			return fmt.Sprintf("%s is %s, want %s", objective, got, want)
		}
		return ""
	})
	return time.Since(began)
}

// disturbedFor is for how long the machine disturbed perfd, by what was excluded: a
// verdict may take that much longer. Windows are 10 s long, at 40 requests a second.
func disturbedFor(before, after daemon.Metrics) time.Duration {
	const excluded = "perfd_objective_excluded_total"
	n := 0.0
	for _, reason := range []string{"invalid", "pacer_gap", "lateness", "late", "throttled"} {
		n += after.Value(excluded, "objective=p95", "reason="+reason) - before.Value(excluded, "objective=p95", "reason="+reason)
	}
	return time.Duration(math.Ceil(n/400)) * 10 * time.Second
}

// Everything failing is a broken objective within a minute, and the release that
// runs is named; what a stop of the daemon touched does not count; a target that hangs
// is not excused by that (SEMANTICS sections 3 and 7).
func TestStallsAreInconclusiveHangsAndErrorsFail(t *testing.T) {
	var broken atomic.Bool
	var hold gate
	g := newTarget(t, func(w http.ResponseWriter, r *http.Request) {
		hold.ServeHTTP(w, r)
		if broken.Load() {
			http.Error(w, "broken", http.StatusInternalServerError)
		}
	}, nil)
	d := start(t, judged(g.URL))
	until(t, d, time.Minute, atLeast(400, "perfd_objective_events_total", "objective=p95"))

	// perfd itself is stopped.
	if err := d.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	<-time.After(3 * time.Second)
	if err := d.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	until(t, d, time.Minute, func(m daemon.Metrics) string {
		for _, o := range []string{"p95", "errors"} {
			if got := verdict(m, o); got == "fail" {
				t.Fatalf("%s is called broken though perfd itself was stopped", o)
			}
		}
		return atLeast(100, "perfd_objective_excluded_total", "objective=p95")(m) // three seconds of arrivals, at least
	})

	// The target hangs.
	until(t, d, 3*time.Minute, func(m daemon.Metrics) string {
		if m.Value("perfd_measurement_valid") != 1 {
			return "a valid measurement"
		}
		return ""
	})
	before := scrape(t, d)
	hold.shut()
	hung := awaitVerdict(t, d, "p95", "fail", 5*time.Minute)
	lost := disturbedFor(before, scrape(t, d))
	hold.reopen()
	t.Logf("a hang is called after %v, of which the machine disturbed %v", hung.Round(time.Second), lost)
	if limit := 90*time.Second + lost; hung > limit {
		t.Errorf("a hang is called after %v, want at most %v", hung, limit)
	}

	var list []finding
	get(t, d, "/api/v1/findings?kind=objective&state=active", &list)
	if !slices.ContainsFunc(list, func(f finding) bool {
		return f.Objective == "p95" && f.Verdict == "fail" && strings.Contains(f.Sentence, "judged")
	}) {
		t.Errorf("the list of findings has no broken p95: %+v", list)
	}
	stop(t, d)
}

func TestEverythingFailingIsCalledWithinAMinute(t *testing.T) {
	var broken atomic.Bool
	g := newTarget(t, func(w http.ResponseWriter, _ *http.Request) {
		if broken.Load() {
			http.Error(w, "broken", http.StatusInternalServerError)
		}
	}, nil)
	d := start(t, judged(g.URL))
	if code, body, err := send(t, d, "/api/v1/releases", `{"target": "server", "release": "v1.0.0"}`); err != nil || code != http.StatusOK {
		t.Fatalf("push a release: %d %s %v", code, body, err)
	}
	until(t, d, time.Minute, atLeast(400, "perfd_objective_events_total", "objective=errors"))
	if code, body, err := send(t, d, "/api/v1/releases", `{"target": "server", "release": "v1.1.0"}`); err != nil || code != http.StatusOK {
		t.Fatalf("push a release: %d %s %v", code, body, err)
	}
	before := scrape(t, d)
	broken.Store(true)
	took := awaitVerdict(t, d, "errors", "fail", 3*time.Minute)
	m := scrape(t, d)
	lost := disturbedFor(before, m)
	t.Logf("everything failing is called after %v, of which the machine disturbed %v", took.Round(time.Second), lost)
	if limit := time.Minute + lost; took > limit {
		t.Errorf("everything failing is called after %v, want at most %v", took, limit)
	}
	if m.Value("perfd_target_release_info", "release=v1.1.0") != 1 || m.Value("perfd_target_release_changes_total") != 1 ||
		m.Value("perfd_run_info", "release=v1.1.0") != 1 {
		t.Error("metrics do not say that the release changed and the run was cut at it")
	}
	var runs []finding
	for range 40 {
		if get(t, d, "/api/v1/findings?kind=run", &runs); len(runs) > 0 {
			break
		}
		<-time.After(500 * time.Millisecond)
	}
	if len(runs) == 0 || runs[0].Release != "v1.0.0" || !strings.Contains(runs[0].Sentence, "on v1.0.0") || len(runs[0].Parts) < 3 {
		t.Errorf("the run that the release cut is summed up as %+v", runs)
	}
	var active []finding
	get(t, d, "/api/v1/findings?kind=objective&state=active", &active)
	for _, c := range []struct {
		path string
		want int
	}{
		{"/api/v1/findings/nothing/accept", http.StatusNotFound},
		{"/api/v1/findings/" + active[0].ID + "/accept", http.StatusConflict},
	} {
		if code, body, err := send(t, d, c.path, ""); err != nil || code != c.want {
			t.Errorf("POST %s: %d %s %v, want %d", c.path, code, body, err, c.want)
		}
	}

	// A restart keeps the verdict, from the first window on.
	stop(t, d)
	d = startWith(t, daemon.Options{Dir: d.Dir()})
	awaitVerdict(t, d, "errors", "fail", time.Minute)
	var after []finding
	get(t, d, "/api/v1/findings?kind=objective&state=active", &after)
	if len(after) != len(active) || after[0].Since != active[0].Since {
		t.Errorf("active before a restart %+v, after it %+v", active, after)
	}
	broken.Store(false)
	stop(t, d)

	// perfd analyze reaches the same verdict from the history.
	out, err := exec.CommandContext(t.Context(), perfd, "analyze", "--config.file="+filepath.Join(d.Dir(), "perfd.yaml"),
		"--storage.path="+filepath.Join(d.Dir(), "data"), "--scenario=judged", "--from=1h", "--kind=objective", "--format=json").Output()
	if err != nil {
		t.Fatalf("analyze: %v %s", err, stderrOf(err))
	}
	var again []finding
	if err := json.Unmarshal(out, &again); err != nil {
		t.Fatalf("analyze printed %s: %v", out, err)
	}
	if !slices.ContainsFunc(again, func(f finding) bool { return f.Objective == "errors" && f.Verdict == "fail" }) {
		t.Errorf("perfd analyze does not find the broken objective again: %s", out)
	}
	out, err = exec.CommandContext(t.Context(), perfd, "analyze", "--config.file="+filepath.Join(d.Dir(), "perfd.yaml"),
		"--storage.path="+filepath.Join(d.Dir(), "data"), "--scenario=judged", "--from=1h", "--explain").Output()
	if err != nil || !strings.HasPrefix(string(out), "# ") {
		t.Errorf("analyze --explain: %v: %s%s", err, out, stderrOf(err))
	}
}

// perfd once is a gate in a pipeline: its exit code is the verdict.
func TestOnceExitsWithTheVerdict(t *testing.T) {
	g := newTarget(t, slowly, nil)
	config := func(objective string) string {
		return fmt.Sprintf(`
targets: [{name: server, url: %q}]
scenarios:
  - name: gate
    test: load
    target: server
    schedule: {cron: "0 3 * * *", duration: 1h}
    workload: {executor: constant-arrival-rate, rate: 100/s, max_vus: 50}
    objectives: [{name: it, that: %s}]
    flow: [{name: get, http: {url: /get}}]
`, g.URL, objective)
	}
	for _, c := range []struct {
		name, objective string
		want            int
	}{
		{"pass", "p(95) < 2s", 0},
		{"fail", "p(95) < 1ms", 3},
		{"inconclusive", "error_ratio < 0.01%", 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "perfd.yaml")
			if err := os.WriteFile(file, []byte(config(c.objective)), 0o644); err != nil {
				t.Fatal(err)
			}
			var run summary
			var code int
			var progress string
			for try := 1; ; try++ {
				run, code, progress = once(t, file)
				if run.Valid || try == 3 {
					break
				}
				t.Logf("the machine disturbed perfd (%v): tried again", run.Invalid)
			}
			if code != c.want {
				t.Errorf("exit code %d, want %d\n%+v\n%s", code, c.want, run, progress)
			}
			if run.Scenario != "gate" || run.Requests < 2000 || run.Finding.Verdict != c.name {
				t.Errorf("summary says %+v, want gate with more than 2,000 requests and %s", run, c.name)
			}
			if !strings.Contains(progress, "failed") {
				t.Errorf("no line of progress: %s", progress)
			}
		})
	}
}

// A summary is what the test reads of perfd once --summary=json.
type summary struct {
	Scenario string   `json:"scenario"`
	Requests float64  `json:"requests"`
	Valid    bool     `json:"measurement_valid"`
	Invalid  []string `json:"invalid_reasons"`
	Finding  finding  `json:"finding"`
}

// once runs perfd once and returns what it said on stdout, its exit code, and stderr.
func once(t *testing.T, file string) (run summary, code int, progress string) {
	t.Helper()
	cmd := exec.CommandContext(within(t, 2*time.Minute), perfd, "once", "gate", "--for=25s", "--summary=json", "--config.file="+file)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &run); err != nil {
		t.Fatalf("summary %s: %v\n%s", out, err, &stderr)
	}
	return run, cmd.ProcessState.ExitCode(), stderr.String()
}

// A finding as the API and summaries have it.
type finding struct {
	ID        string    `json:"id"`
	Since     time.Time `json:"since"`
	Kind      string    `json:"kind"`
	Verdict   string    `json:"verdict"`
	Objective string    `json:"objective"`
	Release   string    `json:"release"`
	Sentence  string    `json:"sentence"`
	Parts     []finding `json:"parts"`
}

// get reads what the API answers.
func get(t *testing.T, d *daemon.Daemon, path string, data any) {
	t.Helper()
	code, body, err := d.Do(within(t, 10*time.Second), http.MethodGet, path)
	if err != nil || code != http.StatusOK {
		t.Fatalf("GET %s: %d %s %v", path, code, body, err)
	}
	if err := json.Unmarshal([]byte(body), &struct {
		Data any `json:"data"`
	}{data}); err != nil {
		t.Fatalf("GET %s: %s: %v", path, body, err)
	}
}

// send posts JSON.
func send(t *testing.T, d *daemon.Daemon, path, body string) (code int, answer string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 45*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.URL+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	var text bytes.Buffer
	_, err = text.ReadFrom(res.Body)
	return res.StatusCode, text.String(), err
}

func stderrOf(err error) string {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(exit.Stderr)
	}
	return ""
}
