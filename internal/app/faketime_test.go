package app

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perfd/perfd/internal/config"
	"github.com/perfd/perfd/internal/demo"
	"github.com/perfd/perfd/internal/history"
	"github.com/perfd/perfd/internal/kind/builtin"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/record"
	"github.com/perfd/perfd/internal/target"
)

// A stage puts load on the demo shop in a bubble of fake time, and lets the daemon's own
// recorder, watch, history, analyses and board make of it what they do. Only the sockets
// are missing: what a bubble cannot know of, its clock does not wait for.
type stage struct {
	t        *testing.T
	shop     *demo.Shop
	heap     heap
	verdicts *verdicts
	sink     *record.Sink
	began    time.Time
	stop     []func()
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
    workload: {executor: constant-arrival-rate, rate: 5/s, max_vus: 50}
    objectives: [{name: p95, that: p(95) < 100ms}]
    flow:
      - {name: show product, http: {url: /products/7}}
`

const stageRate = 5 // requests a second

// A heap is the memory of a collected process behind the shop: what is live, what
// each request leaks, and garbage up to as much again (GOGC=100).
type heap struct {
	shop *demo.Shop
	leak float64 // bytes per request
	gone float64 // garbage collected so far, in requests

	requests atomic.Int64
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
	live := heapLive + h.leak*n
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

// play performs a script in a bubble, on a shop with these knobs.
func play(t *testing.T, knobs demo.Knobs, seed uint64, leak float64, script func(s *stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		file := filepath.Join(dir, "perfd.yaml")
		if err := os.WriteFile(file, []byte(stageConfig), 0o644); err != nil {
			t.Fatal(err)
		}
		doc, err := config.Load(config.Options{File: file, Kinds: builtin.Kinds(), Environ: []string{}})
		if err != nil {
			t.Fatal(err)
		}
		past, err := history.Open(history.Options{Dir: filepath.Join(dir, "history"), Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		s := &stage{t: t, shop: demo.New(knobs, seed), began: time.Now(), verdicts: newVerdicts(past, builtin.Kinds().Analyses, doc, quiet)}
		s.heap.shop, s.heap.leak = s.shop, leak
		watch := target.NewWatch(target.Options{
			Config: &doc.Targets[0], Transport: &s.heap, Log: quiet,
			Sample: func(x load.Sample) { s.verdicts.inbox.put(x) },
			Changed: func(c target.Change) {
				s.verdicts.inbox.put(load.Event{At: c.At, Kind: load.ReleaseChanged, Target: "shop", Release: c.Release, Previous: c.Previous, Settled: c.Settled})
			},
		})
		recorder := record.New(record.Options{
			Shards: 1, Windows: func(w *load.Window) { s.verdicts.inbox.put(w) },
			Circumstances: func(own *load.Window) (load.Circumstances, func(string) string) {
				release, settling := watch.During(own.Start, own.End)
				return load.Circumstances{
					Flags: load.Flags{Settling: settling}, Run: "r1", Release: release, Planned: stageRate * own.End.Sub(own.Start).Seconds(),
				}, func(string) string { return release }
			},
		})
		if s.sink, err = recorder.Open(record.Scenario{
			Name: "shop-soak", Test: "endurance",
			Steps: []record.Series{{Step: "show product", Target: "shop", Protocol: "http", Limits: doc.Scenarios[0].Limits(0)}},
		}); err != nil {
			t.Fatal(err)
		}
		s.background(s.verdicts.run)
		s.background(recorder.Run)
		s.background(watch.Run)
		s.verdicts.inbox.put(load.Event{At: s.began, Kind: load.RunBegan, Scenario: "shop-soak", Run: "r1", Test: "endurance", Target: "shop", Targets: []string{"shop"}, Observer: "o"})
		script(s)
		for i := range s.stop {
			s.stop[len(s.stop)-1-i]()
		}
		if err := past.Close(); err != nil {
			t.Error(err)
		}
	})
}

func (s *stage) background(f func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(ctx)
	}()
	s.stop = append(s.stop, func() { cancel(); <-done })
}

// serve sends requests for a while and stops early once done says so, which it is asked each ten seconds.
func (s *stage) serve(span time.Duration, r *rand.Rand, done func() bool) {
	end := time.Now().Add(span)
	next := time.Now()
	look := next
	var underWay sync.WaitGroup
	defer underWay.Wait()
	for next.Before(end) {
		next = next.Add(time.Duration(r.ExpFloat64() * float64(time.Second) / stageRate))
		time.Sleep(time.Until(next))
		due := next
		underWay.Go(func() { s.request(due) })
		if next.Sub(look) > 10*time.Second {
			if look = next; done() {
				return
			}
		}
	}
}

func (s *stage) request(due time.Time) {
	s.heap.requests.Add(1)
	s.sink.Started(1)
	w := httptest.NewRecorder()
	s.shop.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/products/7", http.NoBody))
	r := load.Result{Due: int64(due.Sub(s.began)), Done: int64(time.Since(s.began)), Code: int32(w.Code)}
	r.Sent = r.Due
	s.sink.Record(1, &r)
	s.sink.Iteration(&load.Iteration{VU: 1, Due: r.Due, Start: r.Due, End: r.Done})
}

// active returns the active findings of a kind.
func (s *stage) active(kind load.Kind) (found []load.Finding) {
	for _, f := range s.verdicts.board.Findings() {
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

// releaseRuns is how many releases of each kind are watched.
func releaseRuns() int {
	switch {
	case testing.Short():
		return 1
	case raceDetector: // ten times as slow; make test runs all of them without it too
		return 2
	}
	return 20
}

const (
	baselineSpan = 45 * time.Minute
	// statedEvidence is within how long after a release perfd promises to call one that is 15 % slower, at 5 requests a second.
	statedEvidence = 30 * time.Minute
)

func TestASlowerReleaseOfTheShopIsCalledByName(t *testing.T) {
	called := 0
	var slowest time.Duration
	for seed := range uint64(releaseRuns()) {
		play(t, shopKnobs(baselineSpan, 1.15), seed, 0, func(s *stage) {
			var found []load.Finding
			s.serve(baselineSpan+statedEvidence, rand.New(rand.NewPCG(seed, 2)), func() bool {
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
	for seed := range uint64(releaseRuns()) {
		play(t, shopKnobs(baselineSpan, 1), 100+seed, 0, func(s *stage) {
			s.serve(baselineSpan+2*statedEvidence, rand.New(rand.NewPCG(seed, 3)), func() bool { return false })
			for _, kind := range []load.Kind{load.KindRegression, load.KindChange, load.KindObjective, load.KindLeak} {
				for _, f := range s.active(kind) {
					t.Errorf("seed %d: an equal release is called: %s", seed, f.Sentence)
				}
			}
		})
	}
}

func TestALeakOfTheShopIsFoundAndASawtoothIsNot(t *testing.T) {
	if testing.Short() {
		t.Skip("four hours of fake time, twice, take seconds")
	}
	const span = 4 * time.Hour
	for _, leak := range []float64{0, 2000} {
		t.Run(fmt.Sprintf("%.0f bytes a request", leak), func(t *testing.T) {
			play(t, shopKnobs(24*time.Hour, 1), 7, leak, func(s *stage) {
				s.serve(span, rand.New(rand.NewPCG(7, 4)), func() bool { return false })
				found := s.active(load.KindLeak)
				if leak == 0 {
					if len(found) > 0 {
						t.Errorf("a healthy sawtooth is called a leak: %s", found[0].Sentence)
					}
					return
				}
				if len(found) != 1 {
					t.Fatalf("%d leaks found, want the heap's: %+v", len(found), s.verdicts.board.Findings())
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
