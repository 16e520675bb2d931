package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/perfd/perfd/test/daemon"
	"github.com/perfd/perfd/test/proc"
)

// promtools are the oldest Prometheus that the rules are for, and the current one.
func promtools(t *testing.T) map[string]string {
	t.Helper()
	return map[string]string{"2.42": tool(t, "promtool"), "3.16": pinned(t, "promtool")}
}

// written runs perfd rules into a folder and returns the files.
func written(t *testing.T, args ...string) []string {
	t.Helper()
	dir := t.TempDir()
	if code, out := run(t, proc.Spec{Path: perfd, Args: append([]string{"rules", "--out=" + dir}, args...)}); code != 0 {
		t.Fatalf("perfd rules %v: exit %d:\n%s", args, code, out)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("perfd rules %v wrote %d files, %v", args, len(files), err)
	}
	return files
}

// Both promtools load the rules as they are shipped, and as fast as demonstrations and tests want them.
func TestRulesAreRight(t *testing.T) {
	shipped, fast := written(t), written(t, "--time-scale=60")
	one := filepath.Join(t.TempDir(), "one.yaml")
	out, err := exec.CommandContext(within(t, time.Minute), perfd, "rules").Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(one, out, 0o644); err != nil {
		t.Fatal(err)
	}
	for version, promtool := range promtools(t) {
		for what, files := range map[string][]string{"shipped": shipped, "60 times as fast": fast, "one file": {one}} {
			t.Run(version+", "+what, func(t *testing.T) {
				args := append([]string{"check", "rules", "--lint=all", "--lint-fatal"}, files...)
				out, err := exec.CommandContext(within(t, time.Minute), promtool, args...).CombinedOutput()
				if err != nil {
					t.Errorf("promtool check rules: %v\n%s", err, out)
				}
				if n := strings.Count(string(out), "SUCCESS"); n != len(files) {
					t.Errorf("%d of %d files are right:\n%s", n, len(files), out)
				}
			})
		}
	}
}

// Every alert fires where it should, and not where it nearly should.
func TestRulesFire(t *testing.T) {
	files, err := filepath.Glob(repository("alerts", "tests", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files of tests, %v", len(files), err)
	}
	for version, promtool := range promtools(t) {
		for _, f := range files {
			if version == "2.42" && strings.HasPrefix(filepath.Base(f), "native") {
				continue // its tests cannot write native histograms
			}
			t.Run(version+", "+filepath.Base(f), func(t *testing.T) {
				t.Parallel()
				out, err := exec.CommandContext(within(t, 5*time.Minute), promtool, "test", "rules", f).CombinedOutput()
				if err != nil {
					t.Errorf("promtool test rules: %v\n%s", err, out)
				}
			})
		}
	}
}

// The example for Alertmanager is one that Alertmanager takes, and it routes by severity.
func TestAlertmanagerExample(t *testing.T) {
	amtool := tool(t, "amtool")
	file := repository("alerts", "alertmanager.yaml")
	if out, err := exec.CommandContext(within(t, time.Minute), amtool, "check-config", file).CombinedOutput(); err != nil {
		t.Fatalf("amtool check-config: %v\n%s", err, out)
	}
	for _, c := range []struct{ alert, severity, team, want string }{
		{"PerfdMeasurementInvalid", "warning", "checkout", "chat"},
		{"PerfdLeakNearLimit", "critical", "", "pager"},
		{"PerfdObjectiveFailed", "critical", "checkout", "pager"},
		{"PerfdObjectiveFailed", "warning", "checkout", "checkout"},
		{"PerfdObjectiveFailed", "warning", "search", "chat"},
		{"PerfdSpansDropped", "info", "", "chat"},
	} {
		args := []string{
			"config", "routes", "test", "--config.file=" + file,
			"alertname=" + c.alert, "severity=" + c.severity, "team=" + c.team,
		}
		out, err := exec.CommandContext(within(t, time.Minute), amtool, args...).Output()
		if got := strings.TrimSpace(string(out)); err != nil || got != c.want {
			t.Errorf("%s, %s, team %q goes to %q, %v, want %q", c.alert, c.severity, c.team, got, err, c.want)
		}
	}
}

// No rule fails on what perfd really exposes, and what is recorded is there: with classic buckets in the oldest Prometheus,
// and with native histograms alone in a current one. Load that is fine fires nothing.
func TestRulesEvaluate(t *testing.T) {
	g := newTarget(t, nil, nil)
	d := start(t, three(g.URL, 10))
	rules := filepath.Dir(written(t, "--time-scale=20")[0])
	for name, c := range map[string]struct{ binary, scrape string }{
		"2.42, classic": {tool(t, "prometheus"), ""},
		"3.16, native":  {pinned(t, "prometheus"), "scrape_native_histograms: true"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startWithRules(t, c.binary, d, rules, c.scrape)
			err := proc.Poll(within(t, 90*time.Second), time.Second, func() (bool, error) {
				if waits := p.unevaluated(t); waits != "" {
					return false, proc.Pending(waits)
				}
				n, err := p.query(t.Context(), `count(scenario_step:perfd_response_time_seconds:p95_rate5m > 0)`)
				if err != nil || n < 1 {
					return false, proc.Pending(fmt.Sprintf("recorded percentiles: %v, %v", n, err))
				}
				return true, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			// What this machine may do to perfd is not asked here.
			if n, err := p.query(t.Context(), `count(ALERTS{alertstate="firing",concern!~"validity|load|self"}) or vector(0)`); err != nil || n != 0 {
				t.Errorf("%v alerts fire, %v, want none", n, err)
			}
		})
	}
}

// startWithRules runs a Prometheus that scrapes a daemon every second and evaluates the rules of a folder, until the test ends.
func startWithRules(t *testing.T, binary string, d *daemon.Daemon, rules, global string) *prometheus {
	t.Helper()
	dir := t.TempDir()
	config := fmt.Sprintf("global:\n  scrape_interval: 1s\n  %s\nrule_files: [%q]\nscrape_configs:\n  - job_name: perfd\n    static_configs: [{targets: [%q]}]\n",
		global, filepath.Join(rules, "perfd-*.yaml"), strings.TrimPrefix(d.URL, "http://"))
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := proc.Start(proc.Spec{Path: binary, Args: []string{
		"--config.file=" + file, "--storage.tsdb.path=" + filepath.Join(dir, "tsdb"), "--web.listen-address=127.0.0.1:0",
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	m, err := p.WaitFor(within(t, time.Minute), prometheusListening)
	if err != nil {
		t.Fatal(err)
	}
	return &prometheus{URL: "http://" + m[1]}
}

// unevaluated names a rule that was not evaluated yet, empty if there is none. A rule that failed fails the test.
func (p *prometheus) unevaluated(t *testing.T) string {
	t.Helper()
	res, err := http.Get(p.URL + "/api/v1/rules")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusServiceUnavailable {
		return "Prometheus is not ready"
	}
	var answer struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError string }
			}
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	if len(answer.Data.Groups) == 0 {
		return "no rule was loaded"
	}
	for _, g := range answer.Data.Groups {
		for _, r := range g.Rules {
			switch r.Health {
			case "ok":
			case "unknown":
				return r.Name + " was not evaluated"
			default:
				t.Fatalf("%s is %s: %s", r.Name, r.Health, r.LastError)
			}
		}
	}
	return ""
}
