package app

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perfd/perfd/internal/demo"
	"github.com/perfd/perfd/internal/engine"
	"github.com/perfd/perfd/internal/kind/builtin"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
)

// A stage is a daemon in a bubble of fake time, with the demo shop in the same
// process. It is wired as the program wires it; only sockets are missing, whose
// waiting a bubble does not see: steps call the shop, and so do the watches.
type stage struct {
	*App
	t     *testing.T
	shop  *demo.Shop
	heap  heap
	began time.Time
}

const stageConfig = `
targets:
  - name: shop
    url: http://127.0.0.1:9798
    release: {url: /version, json: release, every: 30s, settle: 1m}
    resources:
      - {name: heap, kind: memory, scrape: /heap, metric: heap_bytes, limit: 1GiB}
scenarios:
  - name: shop-soak
    test: endurance
    target: shop
    workload: {executor: constant-arrival-rate, rate: 5/s, arrivals: poisson, max_vus: 50, seed: %d}
    objectives: [{name: p95, that: p(95) < 100ms}]
    validity: {max_lateness: 1s} # nothing disturbs the stage: most of its time would be heartbeats
    flow:
      - {name: show product, call: {path: /products/7}}
`

const stageRate = 5 // requests a second

// A heap is the memory of a collected process behind the shop: what is live, what
// each request leaks, and garbage up to as much again (GOGC=100).
type heap struct {
	shop *demo.Shop
	leak float64 // bytes per request
	gone float64 // garbage collected so far, in requests

	requests atomic.Int64
	held     atomic.Int64 // bytes that no request explains
}

const (
	heapLive    = 40 << 20
	heapGarbage = 64 << 10 // bytes per request
)

func (h *heap) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/heap" {
		h.shop.ServeHTTP(w, r)
		return
	}
	n := float64(h.requests.Load())
	live := heapLive + h.leak*n + float64(h.held.Load())
	for (n-h.gone)*heapGarbage > live {
		h.gone += live / heapGarbage
	}
	fmt.Fprintf(w, "# TYPE heap_bytes gauge\nheap_bytes %.0f\n", live+(n-h.gone)*heapGarbage)
}

// RoundTrip answers the watch without a socket.
func (h *heap) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result(), nil
}

// Do calls the shop, in the time that the engine keeps.
func (h *heap) Do(c *protocol.Call) {
	h.requests.Add(1)
	c.Result.Sent = int64(c.VU.Env.Now())
	w := httptest.NewRecorder()
	h.shop.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/products/7", http.NoBody))
	c.Result.Done, c.Result.Code = int64(c.VU.Env.Now()), int32(w.Code)
}

// Judge fails what the shop failed.
func (h *heap) Judge(c *protocol.Call) load.Cause {
	if c.Result.Code >= http.StatusBadRequest {
		return load.Status
	}
	return load.None
}

// A call is the block of a step that calls the shop.
type call struct {
	Path string `yaml:"path" doc:"Path to call."`
	step protocol.Step
}

// Compile returns the step.
func (c *call) Compile(*protocol.Compiler) protocol.Step { return c.step }

// play performs a script in a bubble, on a shop with these knobs.
func play(t *testing.T, knobs demo.Knobs, seed uint64, leak float64, script func(s *stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		file := filepath.Join(dir, "perfd.yaml")
		if err := os.WriteFile(file, fmt.Appendf(nil, stageConfig, seed), 0o644); err != nil {
			t.Fatal(err)
		}
		s := &stage{t: t, shop: demo.New(knobs, seed), began: time.Now()}
		s.heap.shop, s.heap.leak = s.shop, leak
		kinds := builtin.Kinds()
		kinds.Protocols = append(kinds.Protocols, protocol.Kind{Name: "call", Step: func() protocol.Config { return &call{step: &s.heap} }})
		var err error
		s.App, err = New(Options{
			ConfigFile: file, StoragePath: filepath.Join(dir, "data"), Shards: 1, Grace: 10 * time.Second, Log: quiet,
			Kinds: &kinds, NewWaiter: engine.NewTimerWaiter, Transport: &s.heap,
			Root: dir, // what the machine does meanwhile disturbs nothing
		})
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		script(s)
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// serve lets time pass and stops early once done says so, which it is asked each ten seconds.
func (s *stage) serve(span time.Duration, done func() bool) {
	for end := time.Now().Add(span); time.Now().Before(end); time.Sleep(10 * time.Second) {
		if done() {
			return
		}
	}
}

// active returns the active findings of a kind.
func (s *stage) active(kind load.Kind) (found []load.Finding) {
	for _, f := range s.Findings() {
		if f.Kind == kind && f.State == load.Active {
			found = append(found, f)
		}
	}
	return found
}

// shopKnobs are those of the demo shop without failures, whose next release comes after a while.
func shopKnobs(after time.Duration, slowdown float64) demo.Knobs {
	k := demo.Default()
	k.ErrorRatio = nil
	k.Rollouts = []demo.Rollout{{After: demo.Duration(after), Release: "v1.1.0", Slowdown: slowdown}}
	return k
}

// brief reports whether simulations are as short as they can be. Under the race detector, where they are ten times as
// slow, they find what is shared, which hours of them do no better than minutes; make test runs them in full without it.
func brief() bool { return testing.Short() || raceDetector }

// releaseRuns is how many releases of each kind are watched.
func releaseRuns() int {
	if brief() {
		return 1
	}
	return 20
}

const (
	// baselineSpan is how long a release serves before the next one.
	baselineSpan = 45 * time.Minute
	// statedEvidence is within how long after a release perfd promises to call one that is 15 % slower, at 5 requests a second.
	statedEvidence = 30 * time.Minute
)

func TestASlowerReleaseOfTheShopIsCalledByName(t *testing.T) {
	t.Parallel()
	called := 0
	var slowest time.Duration
	for seed := range uint64(releaseRuns()) {
		play(t, shopKnobs(baselineSpan, 1.15), seed, 0, func(s *stage) {
			var found []load.Finding
			s.serve(baselineSpan+statedEvidence, func() bool {
				found = s.active(load.KindRegression)
				return len(found) > 0
			})
			if len(found) == 0 {
				t.Logf("seed %d: not called within %v", seed, statedEvidence)
				return
			}
			took := time.Since(s.began) - baselineSpan
			slowest = max(slowest, took)
			f := found[0]
			if took < 0 || f.Release != "v1.1.0" || f.Baseline != "v1.0.0" || !strings.Contains(f.Sentence, "v1.1.0") {
				t.Errorf("seed %d: called after %v: %+v, want v1.1.0 against v1.0.0", seed, took, f)
			}
			called++
		})
	}
	t.Logf("%d of %d releases that are 15 %% slower are called, the last after %v", called, releaseRuns(), slowest.Round(time.Second))
	if called != releaseRuns() {
		t.Errorf("%d of %d slower releases are called, want all", called, releaseRuns())
	}
}

func TestAnEqualReleaseOfTheShopIsNotCalled(t *testing.T) {
	t.Parallel()
	if brief() {
		t.Skip("nearly two hours of fake time take seconds")
	}
	for seed := range uint64(releaseRuns()) {
		play(t, shopKnobs(baselineSpan, 1), 100+seed, 0, func(s *stage) {
			s.serve(baselineSpan+2*statedEvidence, func() bool { return false })
			for _, kind := range []load.Kind{load.KindRegression, load.KindChange, load.KindObjective, load.KindLeak} {
				for _, f := range s.active(kind) {
					t.Errorf("seed %d: an equal release is called: %s", seed, f.Sentence)
				}
			}
		})
	}
}

func TestALeakOfTheShopIsFoundAndASawtoothIsNot(t *testing.T) {
	t.Parallel()
	if brief() {
		t.Skip("four hours of fake time, twice, take seconds")
	}
	const span = 4 * time.Hour
	for _, leak := range []float64{0, 2000} {
		t.Run(fmt.Sprintf("%.0f bytes a request", leak), func(t *testing.T) {
			play(t, shopKnobs(24*time.Hour, 1), 7, leak, func(s *stage) {
				s.serve(span, func() bool { return false })
				found := s.active(load.KindLeak)
				if leak == 0 {
					if len(found) > 0 {
						t.Errorf("a healthy sawtooth is called a leak: %s", found[0].Sentence)
					}
					return
				}
				if len(found) != 1 {
					t.Fatalf("%d leaks found, want the heap's: %+v", len(found), s.Findings())
				}
				f := found[0]
				truth := load.Number(leak * stageRate)
				t.Logf("%s; the truth is %.0f bytes/s", f.Sentence, truth)
				if f.Lower > truth || f.Upper < truth {
					t.Errorf("slope %v to %v bytes/s does not hold the truth, %v", f.Lower, f.Upper, truth)
				}
				if f.Resource != "heap" || f.Target != "shop" {
					t.Errorf("found %+v, want the shop's heap", f)
				}
			})
		})
	}
}
