package stories

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/perfd/perfd/test/daemon"
	"github.com/perfd/perfd/test/proc"
)

// The Prometheus servers: a current one with native histograms and the rules as
// they are shipped, and the oldest one with classic histograms, whose rules are
// fast enough to see an hour of their time.
const (
	current = "3.16"
	old     = "2.42"
)

// fourfold is the time scale of the old server's rules, under which a quarter of an hour counts as an hour.
const fourfold = 4

// prioritize gives this process and what it starts real-time priority over other work on the
// machine, which would stall perfd, and returns the command line that puts perfd before all of
// them. Niceness does not do, as it counts within a session only. Without the right to set
// priorities nothing changes.
func prioritize(t *testing.T) []string {
	self := exec.CommandContext(t.Context(), "chrt", "--rr", "--all-tasks", "--pid", "10", strconv.Itoa(os.Getpid()))
	if out, err := self.CombinedOutput(); err != nil {
		t.Logf("no right to real-time priority: %v: %s", err, out)
		return nil
	}
	return []string{"chrt", "--fifo", "20"}
}

var listening = regexp.MustCompile(`msg="Listening on".* address=(\S+)`)

// program is the path of a program that make deps installs.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		t.Fatalf("%v; make deps installs it", err)
	}
	return path
}

// serve runs a program until the test ends and returns its address, host and port.
func serve(t *testing.T, path string, args ...string) string {
	t.Helper()
	p, err := proc.Start(proc.Spec{Path: path, Args: args})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("output of %s:\n%s", path, p.Output())
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	m, err := p.WaitFor(ctx, listening)
	if err != nil {
		t.Fatal(err)
	}
	return m[1]
}

// run runs perfd, under a command line, until the test ends.
func run(t *testing.T, binary, config string, before []string) *daemon.Daemon {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	d, err := daemon.Start(ctx, daemon.Options{Binary: binary, Dir: t.TempDir(), Config: config, Before: before})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.Kill()
		if t.Failed() {
			t.Logf("output of perfd:\n%s", d.Output())
		}
	})
	return d
}

// alertmanager runs one with the shipped configuration, but for receivers, which are webhooks, and waits, which are short.
func alertmanager(t *testing.T, hook string) string {
	t.Helper()
	shipped, err := os.ReadFile(filepath.Join("..", "..", "alerts", "alertmanager.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := toWebhook(shipped, hook)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "alertmanager.yaml")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return serve(t, program(t, "prometheus-alertmanager"), "--config.file="+file, "--storage.path="+filepath.Join(dir, "data"),
		"--web.listen-address=127.0.0.1:0", "--cluster.listen-address=")
}

// toWebhook replaces all receivers by webhooks below an address, and makes groups wait for a second only.
func toWebhook(config []byte, hook string) ([]byte, error) {
	var c struct {
		Route     map[string]any   `yaml:"route"`
		Receivers []map[string]any `yaml:"receivers"`
		Rest      map[string]any   `yaml:",inline"`
	}
	if err := yaml.Unmarshal(config, &c); err != nil {
		return nil, err
	}
	c.Route["group_wait"] = "1s"
	shorten(c.Route)
	for i, r := range c.Receivers {
		name := fmt.Sprint(r["name"])
		c.Receivers[i] = map[string]any{"name": name, "webhook_configs": []map[string]any{{"url": hook + "/" + name, "send_resolved": true}}}
	}
	return yaml.Marshal(c)
}

// shorten makes a route and those below it wait for a second where they wait for longer.
func shorten(route map[string]any) {
	if wait, ok := route["group_wait"]; ok && wait != "0s" {
		route["group_wait"] = "1s"
	}
	below, _ := route["routes"].([]any)
	for _, r := range below {
		if r, ok := r.(map[string]any); ok {
			shorten(r)
		}
	}
}

// prometheus runs one that scrapes daemons, with perfd's rules, and alerts an Alertmanager.
func prometheus(t *testing.T, binary, perfd, alertmanager string, scale int, global string, daemons map[string]*daemon.Daemon) string {
	t.Helper()
	dir := t.TempDir()
	rules := filepath.Join(dir, "rules")
	if out, err := exec.CommandContext(t.Context(), perfd, "rules", "--out="+rules, fmt.Sprintf("--time-scale=%d", scale)).CombinedOutput(); err != nil {
		t.Fatalf("perfd rules: %v\n%s", err, out)
	}
	var config strings.Builder
	fmt.Fprintf(&config, "global: {scrape_interval: 5s%s}\nrule_files: [%q]\n", global, filepath.Join(rules, "*.yaml"))
	fmt.Fprintf(&config, "alerting: {alertmanagers: [{static_configs: [{targets: [%q]}]}]}\nscrape_configs:\n", alertmanager)
	for job, d := range daemons {
		fmt.Fprintf(&config, "  - {job_name: %s, static_configs: [{targets: [%q]}]}\n", job, strings.TrimPrefix(d.URL, "http://"))
	}
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return serve(t, binary, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "tsdb"), "--web.listen-address=127.0.0.1:0")
}
