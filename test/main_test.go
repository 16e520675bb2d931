// Package e2e runs the real perfd program against real servers on loopback and
// looks at it from outside: flags, signals, HTTP, /metrics, and Prometheus.
package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/perfd/perfd/test/daemon"
)

// perfd is the path of the daemon, built with the race detector.
var perfd string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(build(m))
}

func build(m *testing.M) int {
	dir, err := os.MkdirTemp("", "perfd-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	perfd, err = daemon.Build(ctx, dir, "-race")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// within returns a context that ends after d or with the test.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// start runs a daemon with a configuration until the test ends. A data race in
// it fails the test.
func start(t *testing.T, config string, flags ...string) *daemon.Daemon {
	t.Helper()
	return startWith(t, daemon.Options{Config: config, Flags: flags})
}

func startWith(t *testing.T, o daemon.Options) *daemon.Daemon {
	t.Helper()
	if o.Binary == "" {
		o.Binary = perfd
	}
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	d, err := daemon.Start(within(t, time.Minute), o)
	if err != nil {
		t.Fatal(err)
	}
	watch(t, d)
	return d
}

// watch ends the daemon with the test, and looks for a race it may have had.
func watch(t *testing.T, d *daemon.Daemon) {
	t.Helper()
	t.Cleanup(func() {
		d.Kill()
		out := d.Output()
		if strings.Contains(out, "DATA RACE") {
			t.Error("the daemon reports a data race")
		}
		if t.Failed() {
			t.Logf("output of the daemon:\n%s", out)
		}
	})
}

// until scrapes until the condition names nothing that is missing.
func until(t *testing.T, d *daemon.Daemon, limit time.Duration, condition func(daemon.Metrics) (missing string)) daemon.Metrics {
	t.Helper()
	m, err := d.Until(within(t, limit), condition)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func scrape(t *testing.T, d *daemon.Daemon) daemon.Metrics {
	t.Helper()
	m, err := d.Scrape(within(t, 10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func post(t *testing.T, d *daemon.Daemon, path string) {
	t.Helper()
	if err := d.Post(within(t, 30*time.Second), path); err != nil {
		t.Fatal(err)
	}
}

// stop ends the daemon the way an operator does and holds its exit code.
func stop(t *testing.T, d *daemon.Daemon) {
	t.Helper()
	code, err := d.Stop(within(t, time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if code != 0 {
		t.Fatalf("exit code after SIGTERM = %d, want 0", code)
	}
}

// atLeast is a condition for until: a counter has reached n.
func atLeast(n float64, name string, labels ...string) func(daemon.Metrics) string {
	return func(m daemon.Metrics) string {
		if got := m.Value(name, labels...); got < n {
			return fmt.Sprintf("%s%v = %v, want at least %v", name, labels, got, n)
		}
		return ""
	}
}

// repository is the path of a file of this repository.
func repository(elem ...string) string {
	return filepath.Join(append([]string{".."}, elem...)...)
}
