package app

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perfd/perfd/internal/engine"
	"github.com/perfd/perfd/internal/judge"
	"github.com/perfd/perfd/internal/kind/builtin"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
)

// A signature is a step that notes what its requests say of their run.
type signature struct {
	heap
	mu   sync.Mutex
	said []string // without repetition
}

func (s *signature) Do(c *protocol.Call) {
	c.Result.Sent = int64(c.VU.Env.Now())
	s.mu.Lock()
	if said := c.VU.Env.Identity(); !slices.Contains(s.said, said) {
		s.said = append(s.said, said)
	}
	s.mu.Unlock()
	c.Result.Done, c.Result.Code = int64(c.VU.Env.Now()), 200
}

func (s *signature) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.said)
}

const steadyConfig = `
targets: [{name: shop, url: "http://127.0.0.1:9798"}]
scenarios:
  - name: steady
    target: shop
    workload: {executor: constant-vus, vus: 2}
    flow: [{think: 1s}, {name: get, call: {path: /}}]
`

// A stepOfStage is a step in a bubble, and what answers the watches there.
type stepOfStage interface {
	protocol.Step
	http.RoundTripper
}

// alwaysOn starts a daemon in the bubble, with one always-on scenario, on a storage folder.
func alwaysOn(t *testing.T, step *signature, storage string) *App {
	t.Helper()
	return inBubble(t, steadyConfig, step, storage, nil)
}

// inBubble starts a daemon in the bubble on a storage folder; judged, which may be nil, takes its runs that end.
func inBubble(t *testing.T, config string, step stepOfStage, storage string, judged func(judge.Run, load.Finding)) *App {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "perfd.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	kinds := builtin.Kinds()
	kinds.Protocols = append(kinds.Protocols, protocol.Kind{Name: "call", Step: func() protocol.Config { return &call{step: step} }})
	a, err := New(Options{
		ConfigFile: file, StoragePath: storage, Shards: 1, Grace: 10 * time.Second, Log: quiet,
		Kinds: &kinds, NewWaiter: engine.NewTimerWaiter, Transport: step, Root: dir, Judged: judged,
	})
	if err != nil {
		t.Fatal(err)
	}
	a.Start()
	t.Cleanup(func() { _ = a.Stop() }) // a second time does nothing
	return a
}

// Requests say which run they belong to after the run of their VU was cut, too.
func TestRequestsOfACutRunNameTheirRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		step := &signature{}
		a := alwaysOn(t, step, filepath.Join(t.TempDir(), "data"))
		run := func() string { return "steady/" + a.fleet.Scenario("steady").Schedule().Run.ID }
		want := []string{}
		for _, release := range []string{"v1", "v2", "v3"} {
			time.Sleep(time.Minute)
			if id := run(); !slices.Contains(want, id) { // learning the first release cuts nothing
				want = append(want, id)
			}
			if got := step.all(); !slices.Equal(got, want) {
				t.Errorf("requests said %q, want %q", got, want)
			}
			if err := a.fleet.Target("shop").Push(release, time.Now()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if len(want) != 2 {
			t.Errorf("runs %q, want one that was cut once so far", want)
		}
		if err := a.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// A daemon that is killed leaves its storage as it is. The next knows to a few seconds for how long its run had no load.
func TestTheGapOfAKilledRunIsWhatItWas(t *testing.T) {
	t.Parallel()
	times := []time.Duration{3 * time.Second, 29 * time.Second, 10*time.Minute + 23*time.Second, 3*time.Hour + 59*time.Second}
	if brief() {
		times = times[:3]
	}
	for _, lived := range times {
		t.Run(lived.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Hour) // past the day's cut
				dir := t.TempDir()
				first := alwaysOn(t, &signature{}, filepath.Join(dir, "first"))
				time.Sleep(lived)
				synctest.Wait()
				if err := os.CopyFS(filepath.Join(dir, "killed"), os.DirFS(filepath.Join(dir, "first"))); err != nil {
					t.Fatal(err)
				}
				id := first.fleet.Scenario("steady").Schedule().Run.ID
				if err := first.Stop(); err != nil {
					t.Error(err)
				}
				const down = 50 * time.Second
				time.Sleep(down)
				second := alwaysOn(t, &signature{}, filepath.Join(dir, "killed"))
				time.Sleep(time.Second)
				run := second.fleet.Scenario("steady").Schedule().Run
				if over := run.Gap - down; run.ID != id || !run.Resumed || over < 0 || over > 5*time.Second {
					t.Errorf("run %s resumed %v after a gap of %v, want %s and %v to 5 s more", run.ID, run.Resumed, run.Gap, id, down)
				}
				if err := second.Stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A stop that takes its time is no part of a run's gap, and the time between the stop and the start is all of it.
func TestTheGapOfAStoppedRunBeginsWithTheStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		storage := filepath.Join(t.TempDir(), "data")
		first := alwaysOn(t, &signature{}, storage)
		time.Sleep(10 * time.Minute)
		stopped := time.Now()
		if err := first.Stop(); err != nil {
			t.Error(err)
		}
		time.Sleep(20 * time.Second)
		second := alwaysOn(t, &signature{}, storage)
		want := time.Since(stopped)
		time.Sleep(time.Second)
		if gap := second.fleet.Scenario("steady").Schedule().Run.Gap; (gap - want).Abs() > 10*time.Millisecond {
			t.Errorf("a gap of %v, want %v", gap, want)
		}
		if err := second.Stop(); err != nil {
			t.Error(err)
		}
	})
}
