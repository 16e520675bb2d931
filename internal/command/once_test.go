package command

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/app"
	"github.com/perfd/perfd/internal/engine"
	"github.com/perfd/perfd/internal/kind/builtin"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
)

var update = flag.Bool("update", false, "write the golden files again")

// A target answers the n-th call, counted from 1, after a time, or fails it.
type target struct {
	answer func(n int64) (took time.Duration, cause load.Cause, code int32)
	calls  atomic.Int64
	hold   func() // returns at the end of a stall of perfd's; nil without stalls
}

// A call is the block of a step that calls the target.
type call struct {
	Path string `yaml:"path" doc:"Path to call."`
	step protocol.Step
}

// Compile returns the step.
func (c *call) Compile(*protocol.Compiler) protocol.Step { return c.step }

// Do takes the target's time.
func (x *target) Do(c *protocol.Call) {
	c.Result.Sent = int64(c.VU.Env.Now())
	took, cause, code := x.answer(x.calls.Add(1))
	time.Sleep(took)
	if x.hold != nil {
		x.hold()
	}
	c.Result.Done, c.Result.Cause, c.Result.Code = int64(c.VU.Env.Now()), cause, code
	c.Response = answered{code, took}
}

// An answered is an answer without a body.
type answered struct {
	code int32
	took time.Duration
}

func (a answered) Code() int                  { return int(a.code) }
func (a answered) Duration() time.Duration    { return a.took }
func (answered) Body() []byte                 { return nil }
func (answered) Header(string) (string, bool) { return "", false }
func (answered) Size() int64                  { return 0 }
func (answered) Sum() uint64                  { return 0 }

// What people and pipelines read of perfd once, in fake time through the program's own
// wiring: the summary of each outcome, and its exit code.
func TestWhatOnceSays(t *testing.T) {
	good := func(int64) (time.Duration, load.Cause, int32) { return 40 * time.Millisecond, load.None, 200 }
	every := func(k int64, bad func(int64) (time.Duration, load.Cause, int32)) func(int64) (time.Duration, load.Cause, int32) {
		return func(n int64) (time.Duration, load.Cause, int32) {
			if n%k == 0 {
				return bad(n)
			}
			return good(n)
		}
	}
	fails := func(cause load.Cause, code int32) func(int64) (time.Duration, load.Cause, int32) {
		return func(int64) (time.Duration, load.Cause, int32) { return 2 * time.Millisecond, cause, code }
	}
	// The last calls are quick again, so that none is under way at the end of the run: what is
	// dropped while it drains depends on the order of what happens at one instant.
	slowUntil := func(last int64) func(int64) (time.Duration, load.Cause, int32) {
		return func(n int64) (time.Duration, load.Cause, int32) {
			if n > last {
				return good(n)
			}
			return 933 * time.Millisecond, load.None, 200 // never at the instant of an arrival
		}
	}
	const (
		judged     = "objectives: [{name: p95, that: p(95) < 500ms}, {name: errors, that: error_ratio < 1%}]"
		unjudged   = "objectives: []"
		tenASecond = "{executor: constant-arrival-rate, rate: 10/s, max_vus: 20}"
	)
	for i, c := range []struct {
		name       string
		workload   string
		objectives string
		more       string // at the top of the document
		lasts, cut time.Duration
		stalls     bool
		answer     func(int64) (time.Duration, load.Cause, int32)
		code       int
	}{
		{name: "passing", objectives: judged, lasts: 20 * time.Minute, answer: good, code: OncePassed},
		{name: "failing-objective", objectives: judged, lasts: 10 * time.Minute, answer: every(4, slowUntil(5900)), code: OnceBroken},
		{name: "failing-errors", objectives: judged, lasts: 10 * time.Minute, answer: every(5, fails(load.Status, 503)), code: OnceBroken},
		{name: "inconclusive", objectives: judged, lasts: 20 * time.Second, answer: good, code: OnceInconclusive},
		{name: "refused", objectives: judged, lasts: time.Minute, answer: fails(load.Refused, 0), code: OnceBroken},
		{name: "unreachable", objectives: judged, lasts: time.Minute, answer: fails(load.Unreachable, 0), code: OnceBroken},
		{name: "everything-fails", objectives: judged, lasts: time.Minute, answer: fails(load.Status, 500), code: OnceBroken},
		{name: "most-fail-without-objectives", objectives: unjudged, lasts: time.Minute, answer: func(n int64) (time.Duration, load.Cause, int32) {
			if n%3 > 0 {
				return 40 * time.Millisecond, load.Status, 502
			}
			return good(n)
		}, code: OnceBroken},
		{name: "check-never-holds", objectives: unjudged, lasts: time.Minute, answer: func(int64) (time.Duration, load.Cause, int32) { return 40 * time.Millisecond, load.None, 206 }, code: OnceBroken},
		{name: "no-objectives", objectives: unjudged, lasts: time.Minute, answer: good, code: OncePassed},
		{name: "drops", objectives: judged, workload: "{executor: constant-arrival-rate, rate: 10/s, max_vus: 2}", lasts: 5 * time.Minute, answer: slowUntil(600), code: OnceBroken},
		{name: "disturbed", objectives: judged, lasts: 20 * time.Minute, stalls: true, answer: good, code: OncePassed},
		{name: "maintenance", objectives: judged, more: "maintenance: [{name: nightly, targets: [shop], to: \"12:00\"}]", lasts: 5 * time.Minute, answer: fails(load.Refused, 0), code: OnceInconclusive},
		{name: "interrupted", objectives: judged, lasts: 20 * time.Minute, cut: 90 * time.Second, answer: good, code: OnceInconclusive},
	} {
		formats := []string{"text", "json"}
		if testing.Short() && i%3 > 0 { // each is a run of its own
			formats = formats[:1]
		}
		for _, format := range formats {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				workload := c.workload
				if workload == "" {
					workload = tenASecond
				}
				text := fmt.Sprintf(`%s
targets: [{name: shop, url: "http://127.0.0.1:9798"}]
scenarios:
  - name: browse
    test: load
    target: shop
    workload: %s
    %s
    flow: [{name: list, call: {path: /}, checks: {complete: status == 200}}]
`, c.more, workload, c.objectives)
				file := filepath.Join(dir, "perfd.yaml")
				if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
				x := &target{answer: c.answer}
				kinds := builtin.Kinds()
				kinds.Protocols = append(kinds.Protocols, protocol.Kind{Name: "call", Step: func() protocol.Config { return &call{step: x} }})
				opts := app.Options{
					ConfigFile: file, Shards: 1, Grace: 10 * time.Second, Log: slog.New(slog.DiscardHandler), Kinds: &kinds, NewWaiter: engine.NewTimerWaiter, Root: dir,
				}
				if c.stalls { // 300 ms of every 20 s
					began := time.Now()
					hold := func() {
						if at := (time.Since(began) + 12_637*time.Millisecond) % (20 * time.Second); at < 300*time.Millisecond {
							time.Sleep(300*time.Millisecond - at)
						}
					}
					x.hold, opts.Hold = hold, hold
					opts.NewWaiter = func() (engine.Waiter, error) {
						w, err := engine.NewTimerWaiter()
						return &held{w, hold}, err
					}
				}
				ctx := t.Context()
				if c.cut > 0 {
					short, cancel := context.WithTimeout(ctx, c.cut)
					defer cancel()
					ctx = short
				}
				var out bytes.Buffer
				code, err := Once(ctx, opts, OnceOptions{Scenario: "browse", For: c.lasts, Format: format, Summary: &out, Progress: io.Discard})
				if err != nil {
					t.Fatal(err)
				}
				if code != c.code {
					t.Errorf("%s: exit code %d, want %d", c.name, code, c.code)
				}
				golden(t, filepath.Join("once", c.name+map[string]string{"text": ".txt", "json": ".json"}[format]), out.String())
			})
		}
	}
}

// What people and pipelines read of a suite: the summary of each of its runs, and of all.
func TestWhatOnceSaysOfASuite(t *testing.T) {
	for _, c := range []struct {
		name string
		bad  int64 // from this call on answers are failures; 0 for none
		code int
	}{
		{"passing", 0, OncePassed},
		{"failing", 13_000, OnceBroken},
	} {
		for _, format := range []string{"text", "json"} {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				file := filepath.Join(dir, "perfd.yaml")
				text := `
targets: [{name: shop, url: "http://127.0.0.1:9798"}]
x-scenario: &scenario
  target: shop
  schedule: {manual: true, duration: 20m}
  workload: {executor: constant-arrival-rate, rate: 10/s, max_vus: 20}
  flow: [{name: list, call: {path: /}}]
scenarios:
  - {name: base, <<: *scenario, objectives: [{name: errors, that: error_ratio < 1%}]}
  - {name: peak, <<: *scenario, objectives: [{name: p95, that: p(95) < 500ms}]}
  - {name: import, <<: *scenario, workload: {executor: shared-iterations, vus: 2, iterations: 50}}
  - {name: soak, <<: *scenario, schedule: {always: true}}
suites:
  - {name: evening, schedule: {every: 2h}, scenarios: [{scenario: base}, {scenario: peak, start: 5m}, {scenario: import, after: base, start: 1m}]}
`
				if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
				x := &target{answer: func(n int64) (time.Duration, load.Cause, int32) {
					if c.bad > 0 && n >= c.bad {
						return time.Millisecond, load.Status, 503
					}
					return 40 * time.Millisecond, load.None, 200
				}}
				kinds := builtin.Kinds()
				kinds.Protocols = append(kinds.Protocols, protocol.Kind{Name: "call", Step: func() protocol.Config { return &call{step: x} }})
				opts := app.Options{
					ConfigFile: file, Shards: 1, Grace: 10 * time.Second, Log: slog.New(slog.DiscardHandler), Kinds: &kinds, NewWaiter: engine.NewTimerWaiter, Root: dir,
				}
				var out bytes.Buffer
				code, err := Once(t.Context(), opts, OnceOptions{Scenario: "evening", Format: format, Summary: &out, Progress: io.Discard})
				if err != nil {
					t.Fatal(err)
				}
				if code != c.code {
					t.Errorf("%s: exit code %d, want %d", c.name, code, c.code)
				}
				golden(t, filepath.Join("once", "suite-"+c.name+map[string]string{"text": ".txt", "json": ".json"}[format]), out.String())
			})
		}
	}
}

// On a terminal the progress of several runs is one line, over the one before; in a log it is a line each.
func TestProgressOfSeveralRuns(t *testing.T) {
	for terminal, want := range map[bool]string{
		true:  "\r\x1b[Kbase: 1s\r\x1b[Kbase: 2s, and 2 more",
		false: "base: 1s\nbase: 2s\npeak: 1s\nspike: 0s\n",
	} {
		var out strings.Builder
		o := OnceOptions{Terminal: terminal, Progress: &out}
		for _, lines := range [][]string{nil, {"base: 1s"}, {"base: 2s", "peak: 1s", "spike: 0s"}} {
			say(o, lines)
		}
		if out.String() != want {
			t.Errorf("terminal %v: %q, want %q", terminal, out.String(), want)
		}
	}
}

// A held waiter wakes an engine no earlier than a stall ends.
type held struct {
	engine.Waiter
	hold func()
}

func (w *held) Wait(until time.Time) {
	w.Waiter.Wait(until)
	w.hold()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s differs (-update writes it again):\n%s", file, diff)
	}
}
