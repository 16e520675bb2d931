package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// flakyList names what flaky reruns: a package, and optionally the flags of
// its test binary, a line.
//
//go:embed flaky.txt
var flakyList string

// A candidate is a package with tests that wait on sockets, processes or the clock.
type candidate struct {
	pkg    string   // as in ./internal/wire
	flags  []string // of the test binary
	binary string   // its path
	runs   int
	failed int
	tests  map[string]int // how often each test failed
	worst  time.Duration  // the longest run
}

func (c *candidate) name() string {
	return strings.Join(append([]string{c.pkg}, c.flags...), " ")
}

// flaky reruns candidates in turns, with processes beside them that keep the
// processors busy, until the time is up. What a failed run printed is kept in
// .tools/flaky.
func flaky(ctx context.Context, out io.Writer, span time.Duration, load int, only []string) error {
	list, err := candidates(flakyList, only)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "perfd-flaky-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	kept := filepath.Join(".tools", "flaky")
	if err := os.MkdirAll(kept, 0o755); err != nil {
		return err
	}
	// The slowest run began before the time was up and ends within its own limit.
	const runLimit = 15 * time.Minute
	fmt.Fprintf(out, "build %d test binaries\n", len(list))
	built := map[string]string{} // by package
	for i, c := range list {
		if built[c.pkg] == "" {
			built[c.pkg] = filepath.Join(dir, fmt.Sprintf("%d.test", i))
			build := exec.CommandContext(ctx, "go", "test", "-race", "-c", "-o", built[c.pkg], c.pkg)
			if text, err := build.CombinedOutput(); err != nil {
				return fmt.Errorf("build the tests of %s: %w\n%s", c.pkg, err, text)
			}
		}
		c.binary = built[c.pkg]
	}
	stop, err := keepBusy(ctx, load, span+runLimit)
	if err != nil {
		return err
	}
	defer stop()
	began := time.Now()
	for time.Since(began) < span && ctx.Err() == nil {
		for _, c := range list {
			if time.Since(began) >= span || ctx.Err() != nil {
				break
			}
			c.run(ctx, out, runLimit, kept)
		}
	}
	return summary(out, list, load, time.Since(began))
}

// candidates reads the list, reduced to packages that are asked for.
func candidates(text string, only []string) ([]*candidate, error) {
	var list []*candidate
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 || len(only) > 0 && !slices.Contains(only, words[0]) {
			continue
		}
		list = append(list, &candidate{pkg: words[0], flags: words[1:], tests: map[string]int{}})
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("no tests to rerun in %v", only)
	}
	return list, nil
}

var failedTest = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)

// run runs the candidate once.
func (c *candidate) run(ctx context.Context, out io.Writer, limit time.Duration, kept string) {
	runs, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(runs, c.binary, append([]string{"-test.timeout=" + limit.String(), "-test.count=1"}, c.flags...)...)
	cmd.Dir = c.pkg
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	began := time.Now()
	text, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return // it was interrupted, and says nothing
	}
	took := time.Since(began)
	c.runs++
	c.worst = max(c.worst, took)
	if err == nil {
		fmt.Fprintf(out, "ok    %s %s\n", clock(took), c.name())
		return
	}
	c.failed++
	names := map[string]bool{}
	for _, m := range failedTest.FindAllStringSubmatch(string(text), -1) {
		names[m[1]] = true
	}
	if len(names) == 0 {
		names[err.Error()] = true
	}
	for name := range names {
		c.tests[name]++
	}
	file := filepath.Join(kept, fmt.Sprintf("%s-%s.txt", strings.ReplaceAll(strings.TrimPrefix(c.pkg, "./"), "/", "-"), began.Format("150405")))
	if err := os.WriteFile(file, text, 0o644); err != nil {
		fmt.Fprintln(out, err)
	}
	fmt.Fprintf(out, "FAIL  %s %s: see %s\n", clock(took), c.name(), file)
}

var errFlaky = errors.New("tests failed under load")

func summary(out io.Writer, list []*candidate, load int, took time.Duration) error {
	fmt.Fprintf(out, "\n== %s under a load of %d\n%5s %6s %7s\n", clock(took), load, "runs", "failed", "longest")
	var err error
	for _, c := range list {
		fmt.Fprintf(out, "%5d %6d %7s  %s\n", c.runs, c.failed, clock(c.worst), c.name())
		for name, n := range c.tests {
			fmt.Fprintf(out, "%32s %d times: %s\n", "", n, name)
		}
		if c.failed > 0 {
			err = errFlaky
		}
	}
	return err
}

const busyCommand = "busy"

// keepBusy starts n processes of this program that compute until stop is
// called, for the given time at most, and not longer than this one lives.
func keepBusy(ctx context.Context, n int, most time.Duration) (stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var started []*exec.Cmd
	stop = func() {
		cancel()
		for _, c := range started {
			_ = c.Wait() // it was killed, or its time was up
		}
	}
	for range n {
		c := exec.CommandContext(ctx, self, busyCommand, most.String())
		if err := c.Start(); err != nil {
			stop()
			return nil, err
		}
		started = append(started, c)
	}
	return stop, nil
}

// busy keeps one processor busy for a time, and ends early when the process
// that started it is gone.
func busy(span string) {
	d, err := time.ParseDuration(span)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	parent := os.Getppid()
	var n uint64
	for began := time.Now(); time.Since(began) < d && os.Getppid() == parent; {
		for range 1_000_000 {
			n = n*6364136223846793005 + 1442695040888963407
		}
	}
	runtime.KeepAlive(n)
}
