package e2e

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/perfd/perfd/test/daemon"
	"github.com/perfd/perfd/test/proc"
)

// steady is a configuration with one open scenario.
func steady(url string, rate int) string {
	return fmt.Sprintf(`
targets:
  - {name: server, url: %q}
scenarios:
  - name: steady
    test: load
    target: server
    schedule: {always: true}
    workload: {executor: constant-arrival-rate, rate: %d/s, max_vus: 50}
    flow:
      - {name: get, http: {url: /get}}
`, url, rate)
}

func TestSIGTERMDrainsAndExitsZero(t *testing.T) {
	var hold gate
	hold.shut()
	g := newTarget(t, hold.ServeHTTP, nil)
	d := start(t, steady(g.URL, 5))
	until(t, d, time.Minute, atLeast(2, "perfd_vus_busy"))

	if err := d.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	// While requests are in flight the daemon is not ready, and can still be scraped.
	err := proc.Poll(within(t, 10*time.Second), 10*time.Millisecond, func() (bool, error) {
		code, _, err := d.Do(t.Context(), http.MethodGet, "/-/ready")
		return code == http.StatusServiceUnavailable, err
	})
	if err != nil {
		t.Fatalf("wait for 503 on /-/ready: %v", err)
	}
	sent := scrape(t, d).Value("perfd_vus_busy")
	if sent < 2 {
		t.Errorf("perfd_vus_busy while draining = %v, want the requests under way", sent)
	}
	hold.reopen()
	code, err := d.Wait(within(t, 30*time.Second))
	if err != nil || code != 0 {
		t.Fatalf("exit = %d, %v; want 0", code, err)
	}
}

func TestSecondSignalExitsAtOnce(t *testing.T) {
	var hold gate
	hold.shut()
	g := newTarget(t, hold.ServeHTTP, nil)
	d := start(t, steady(g.URL, 5))
	until(t, d, time.Minute, atLeast(1, "perfd_vus_busy"))

	if err := d.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	err := proc.Poll(within(t, 10*time.Second), 10*time.Millisecond, func() (bool, error) {
		return strings.Contains(d.Output(), "draining"), nil
	})
	if err != nil {
		t.Fatalf("wait for the word that it drains: %v", err)
	}
	if err := d.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	code, err := d.Wait(within(t, 5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if code == 0 {
		t.Error("exit code after a second signal = 0, want another: requests were cut off")
	}
}

func TestStorageRefusesASecondDaemon(t *testing.T) {
	g := newTarget(t, nil, nil)
	dir := t.TempDir()
	startWith(t, daemon.Options{Dir: dir, Config: steady(g.URL, 1)})

	p, err := proc.Start(proc.Spec{Path: perfd, Args: []string{
		"run", "--config.file=" + filepath.Join(dir, "perfd.yaml"), "--storage.path=" + filepath.Join(dir, "data"),
		"--web.listen-address=127.0.0.1:0",
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	code, err := p.Wait(within(t, 30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if code == 0 || !strings.Contains(p.Output(), "in use by another perfd") {
		t.Errorf("second daemon on one storage path: exit %d, output:\n%s\nwant a refusal that says why", code, p.Output())
	}
}

func TestPauseStopsAllLoadAndSurvivesARestart(t *testing.T) {
	g := newTarget(t, nil, nil)
	dir := t.TempDir()
	d := startWith(t, daemon.Options{Dir: dir, Config: steady(g.URL, 50)})
	until(t, d, time.Minute, atLeast(50, "perfd_requests_total"))

	m := drain(t, d)
	if got := m.Value("perfd_scenario_expected"); got != 0 {
		t.Errorf("perfd_scenario_expected when paused = %v, want 0", got)
	}
	quiet := len(g.at("/get"))
	if got := m.Value("perfd_requests_total"); int(got) != quiet {
		t.Errorf("perfd_requests_total when paused = %v, the target saw %d", got, quiet)
	}
	// Arrivals that the pause holds back are counted as dropped.
	until(t, d, 30*time.Second, atLeast(50, "perfd_iterations_dropped_total", "reason=paused"))
	stop(t, d)

	d = startWith(t, daemon.Options{Dir: dir})
	restarted := time.Now()
	until(t, d, 30*time.Second, func(m daemon.Metrics) string {
		if m.Value("perfd_scenario_state", "state=paused") != 1 || time.Since(restarted) < 2*time.Second {
			return "two seconds in pause"
		}
		return ""
	})
	if got := len(g.at("/get")); got != quiet {
		t.Errorf("requests that the target saw after a restart in pause = %d, want %d", got, quiet)
	}
	post(t, d, "/-/resume")
	until(t, d, 30*time.Second, atLeast(50, "perfd_requests_total"))
	stop(t, d)
}

func TestDemoServesMovingMetrics(t *testing.T) {
	d, err := daemon.StartDemo(within(t, time.Minute), perfd, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	watch(t, d)
	until(t, d, time.Minute, atLeast(10, "perfd_requests_total"))
	code, page, err := d.Do(t.Context(), http.MethodGet, "/")
	if err != nil || code != http.StatusOK || !strings.Contains(page, "shop") {
		t.Errorf("GET / = %d, %v; want the landing page with the shop's scenario, got:\n%.2000s", code, err, page)
	}
	if err := d.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code, err := d.Wait(within(t, 45*time.Second)); err != nil || code != 0 {
		t.Errorf("exit after Ctrl-C = %d, %v; want 0", code, err)
	}
}

// run runs a program to its end.
func run(t *testing.T, s proc.Spec) (code int, output string) {
	t.Helper()
	p, err := proc.Start(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if code, err = p.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	return code, p.Output()
}
