package app

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/perfd/perfd/internal/demo"
	"github.com/perfd/perfd/internal/judge"
	"github.com/perfd/perfd/internal/kind/builtin"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/stats"
)

// A story is a daemon in a bubble of fake time, on a machine that stalls, and the shop that it puts load on.
type story struct {
	*App
	t       *testing.T
	shop    *demo.Shop
	machine machine
	leak    float64      // bytes a request
	asked   atomic.Int64 // requests
	began   time.Time

	mu   sync.Mutex
	runs []judge.Run // that ended

	busy []float64 // virtual users in an iteration, at random instants
	over time.Time // when the load ended
}

const storyConfig = `
targets:
  - name: shop
    url: http://127.0.0.1:9798
    release: {url: /version, json: release, every: 30s, settle: 1m}
    resources:
      - {name: heap, kind: memory, scrape: /heap, metric: heap_bytes, limit: 2GiB}
scenarios:
  - name: browse
    test: endurance
    target: shop
    schedule: {SCHEDULE}
    workload: {EXECUTOR, warm_up: 30s}
    validity: {max_lateness: 100ms}
    objectives:
      - {name: p95, that: p(95) < 30ms}
      - {name: errors, that: error_ratio < 1%}
    flow:
      - {name: show product, call: {path: /products/7}, timeout: 6s}
      - think: 750ms
`

const (
	storyStalls  = 4 * time.Minute // when the machine begins to stall, for storyStalled
	storyStalled = 3 * time.Minute
	storyRollout = 45 * time.Minute  // when the next release comes
	storyKnown   = 130 * time.Minute // by when everything is found
	storyQuiet   = 20 * time.Minute  // for how long a sound shop is watched where time is short
	storySlower  = 1.5               // the release that is
	storyLeak    = 20_000            // bytes a request
)

// RoundTrip answers the watches without a socket. The heap is what a collection leaves, a little more or less.
func (s *story) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	if r.URL.Path != "/heap" {
		s.shop.ServeHTTP(w, r)
		return w.Result(), nil
	}
	noise := rand.New(rand.NewPCG(3, uint64(time.Since(s.began)))).Float64()
	fmt.Fprintf(w, "# TYPE heap_bytes gauge\nheap_bytes %.0f\n", heapLive+1e6*noise+s.leak*float64(s.asked.Load()))
	return w.Result(), nil
}

// Do calls the shop, and hears the answer when the machine does not stall.
func (s *story) Do(c *protocol.Call) {
	ctx, cancel := context.WithTimeout(context.Background(), c.Deadline-c.VU.Env.Now())
	defer cancel()
	s.asked.Add(1)
	c.Result.Sent = int64(c.VU.Env.Now())
	w := httptest.NewRecorder()
	s.shop.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/products/7", http.NoBody))
	s.machine.hold()
	c.Result.Done = int64(c.VU.Env.Now())
	if ctx.Err() != nil {
		c.Result.Cause = load.Timeout
		return
	}
	c.Result.Code = int32(w.Code)
}

// Judge fails what the shop failed.
func (s *story) Judge(c *protocol.Call) load.Cause {
	if c.Result.Code >= http.StatusBadRequest {
		return load.Status
	}
	return load.None
}

// tell tells a story of a shop whose next release is so much slower and which leaks so many bytes each request.
func tell(t *testing.T, schedule, executor string, slowdown, leak float64, script func(s *story)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		file := filepath.Join(dir, "perfd.yaml")
		config := strings.NewReplacer("SCHEDULE", schedule, "EXECUTOR", executor).Replace(storyConfig)
		for name, text := range map[string]string{file: config, filepath.Join(dir, "traffic.csv"): storyTraffic} {
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s := &story{t: t, shop: demo.New(shopKnobs(storyRollout, slowdown), 5), leak: leak, began: time.Now()}
		s.machine.stalls = storyBursts(s.began)
		kinds := builtin.Kinds()
		kinds.Protocols = append(kinds.Protocols, protocol.Kind{Name: "call", Step: func() protocol.Config { return &call{step: s} }})
		var err error
		s.App, err = New(Options{
			ConfigFile: file, StoragePath: filepath.Join(dir, "data"), Shards: 1, Grace: 10 * time.Second, Log: quiet, Kinds: &kinds,
			NewWaiter: s.machine.waiter, Hold: s.machine.hold, Transport: s, Root: dir,
			Judged: func(run judge.Run, _ load.Finding) {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.runs = append(s.runs, run)
			},
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

// storyBursts are the machine's stalls: a third of a second every ten.
func storyBursts(began time.Time) (stalls []stall) {
	for at := began.Add(storyStalls); at.Before(began.Add(storyStalls + storyStalled)); at = at.Add(10 * time.Second) {
		stalls = append(stalls, stall{at, at.Add(350 * time.Millisecond)})
	}
	return stalls
}

// value adds up a metric's series that have a label's value, where one is given; of histograms it is the counts, and sum what was counted.
func (s *story) value(name string, label ...string) (v, sum float64) {
	s.t.Helper()
	add := func(f *dto.MetricFamily, m *dto.Metric) {
		has := func(l *dto.LabelPair) bool { return l.GetName() == label[0] && l.GetValue() == label[1] }
		if f.GetName() != name || len(label) > 0 && !slices.ContainsFunc(m.Label, has) {
			return
		}
		v += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		sum += m.GetHistogram().GetSampleSum()
	}
	for f, m := range s.recorder.Gather() {
		add(f, m)
	}
	families, err := s.registry.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			add(f, m)
		}
	}
	return v, sum
}

// watch looks at the findings until an instant, or until it has seen enough, and reads how many virtual users
// are in an iteration, at instants that no plan knows.
func (s *story) watch(until time.Time, enough func(active []load.Finding) bool) {
	r := rand.New(rand.NewPCG(1, 2))
	for time.Now().Before(until) {
		time.Sleep(time.Duration(r.Int64N(int64(6 * time.Second))))
		if run, running := s.fleet.Scenario("browse").Run(); running {
			s.busy = append(s.busy, float64(run.Now.Busy))
		}
		if enough(slices.DeleteFunc(s.Findings(), func(f load.Finding) bool { return f.State != load.Active })) {
			return
		}
	}
}

// storyTraffic is what is replayed: twenty minutes, again and again.
const storyTraffic = "0,4\n300,6\n600,4\n900,5\n"

// replayed is how many arrivals the traffic has in a span from its beginning on.
func replayed(span time.Duration) (n float64) {
	for i := 0; span > 0; i++ {
		n += []float64{4, 6, 4, 5}[i%4] * min(5*time.Minute, span).Seconds()
		span -= 5 * time.Minute
	}
	return n
}

// Under loads of other models, too, what is wrong with a shop is found, nothing is where nothing is wrong, and the figures
// hold: Little's law, what was due, dropped and disturbed, what the shop was asked, and the result of the run.
func TestTheStoryOfTheShopUnderOtherLoads(t *testing.T) {
	t.Parallel()
	iterations := 42_000
	if brief() {
		iterations = 22_000
	}
	for _, c := range []struct {
		name, schedule, executor string
		closed                   bool
	}{
		{"shared-iterations", "every: 1d, anchor: 2000-01-01 00:01", fmt.Sprintf("executor: shared-iterations, vus: 4, iterations: %d, max_duration: 4h", iterations), true},
		{"replay", "always: true", "executor: ramping-arrival-rate, replay: {file: traffic.csv}, max_vus: 20", false},
	} {
		for _, broken := range []bool{true, false} {
			name := c.name + " on a sound shop"
			if broken {
				name = c.name + " on a broken shop"
			}
			t.Run(name, func(t *testing.T) {
				if brief() && broken != c.closed {
					t.Skip("hours of fake time take seconds")
				}
				slowdown, leak := 1.0, 0.0
				if broken {
					slowdown, leak = storySlower, storyLeak
				}
				tell(t, c.schedule, c.executor, slowdown, leak, func(s *story) {
					s.findings(broken)
					if broken {
						s.hang()
					}
					s.end(c.closed)
					s.figures(c.closed, broken)
					if !c.closed {
						due := replayed(s.over.Sub(s.began))
						started, _ := s.value("perfd_iterations_started_total")
						dropped := s.dropped()
						if math.Abs(started+dropped-due) > 1 {
							t.Errorf("%v iterations started and %v were dropped, together not the %v that are replayed", started, dropped, due)
						}
						return
					}
					if started, _ := s.value("perfd_iterations_started_total"); started != float64(iterations) {
						t.Errorf("%v iterations, want %d", started, iterations)
					}
					want := load.Pass.String()
					if broken {
						want = load.Fail.String()
					}
					if runs := s.results(); len(runs) != 1 || runs[0].Result != want {
						t.Errorf("runs %+v, want one with the result %s", runs, want)
					}
				})
			})
		}
	}
}

// findings waits for what is to be found.
func (s *story) findings(broken bool) {
	s.t.Helper()
	found := map[load.Kind]load.Finding{}
	until := storyKnown
	if !broken && brief() {
		until = storyQuiet
	}
	s.watch(s.began.Add(until), func(active []load.Finding) bool {
		for _, f := range active {
			if _, known := found[f.Kind]; !known {
				found[f.Kind] = f
				s.t.Logf("after %v: %s", time.Since(s.began).Round(time.Second), f.Sentence)
			}
		}
		return broken && len(found) == 3
	})
	if !broken {
		for _, f := range found {
			s.t.Errorf("of a sound shop: %s", f.Sentence)
		}
		return
	}
	if f := found[load.KindObjective]; f.Objective != "p95" || !f.Since.After(s.began.Add(storyRollout)) {
		s.t.Errorf("of the objectives: %+v, want p95 after the release", f)
	}
	if f := found[load.KindRegression]; f.Release != "v1.1.0" || f.Baseline != "v1.0.0" {
		s.t.Errorf("of the release: %+v, want v1.1.0 against v1.0.0", f)
	}
	if f := found[load.KindLeak]; f.Resource != "heap" {
		s.t.Errorf("of the heap: %+v, want a leak", f)
	}
}

// hang has the shop answer nobody for a minute.
func (s *story) hang() {
	s.t.Helper()
	k := s.shop.Knobs()
	for _, k.Hang = range []bool{true, false} {
		if err := s.shop.Set(k); err != nil {
			s.t.Fatal(err)
		}
		s.watch(time.Now().Add(time.Minute), func([]load.Finding) bool { return false })
	}
}

// end ends the load, or waits for its end where it has one, and waits for the last windows.
func (s *story) end(ends bool) {
	s.t.Helper()
	if ends {
		s.watch(s.began.Add(4*time.Hour), func([]load.Finding) bool { return s.results() != nil })
		s.over = s.results()[0].At
	} else {
		if err := s.fleet.Pause(0); err != nil {
			s.t.Error(err)
		}
		s.over = time.Now()
	}
	time.Sleep(time.Minute)
}

// results are the runs that ended.
func (s *story) results() []judge.Run {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.runs)
}

// dropped is how many arrivals became no iteration, but for those of the pause at the end.
func (s *story) dropped() (n float64) {
	n, _ = s.value("perfd_iterations_dropped_total")
	paused, _ := s.value("perfd_iterations_dropped_total", "reason", "paused")
	return n - paused
}

// figures holds what perfd says of its load against what the shop knows, and against each other.
func (s *story) figures(closed, broken bool) {
	t := s.t
	t.Helper()
	of := func(name string, label ...string) float64 {
		v, _ := s.value(name, label...)
		return v
	}
	asked, requests := float64(s.asked.Load()), of("perfd_requests_total")
	started, ended := of("perfd_iterations_started_total"), of("perfd_iterations_total")
	dropped, noVU := s.dropped(), of("perfd_iterations_dropped_total", "reason", "no_free_vu")
	failed := of("perfd_request_failures_total")
	if requests != asked || started != asked || ended != asked {
		t.Errorf("the shop was asked %v times; %v requests, %v iterations that started and %v that ended", asked, requests, started, ended)
	}
	if closed && dropped > 0 || !closed && (noVU > 0) != broken {
		t.Errorf("%v iterations were dropped, %v of them for want of a virtual user", dropped, noVU)
	}
	if (failed > 0) != broken {
		t.Errorf("%v requests failed", failed)
	}
	for _, objective := range []string{"p95", "errors"} {
		events, bad, excluded := countedBy(s.App, objective)
		if events+excluded != requests+dropped {
			t.Errorf("%s: %v events and %v that do not count, want together %v requests and %v drops", objective, events, excluded, requests, dropped)
		}
		if objective == "errors" && bad != failed+noVU {
			t.Errorf("%v errors, want %v failures and %v iterations that found no virtual user", bad, failed, noVU)
		}
	}
	// Each stall touches what is under way in it, and what is due.
	stalled := of("perfd_objective_excluded_total", "reason", "pacer_gap") + of("perfd_objective_excluded_total", "reason", "late")
	if stalled == 0 || stalled > 2*2*7*storyStalled.Seconds()/10 {
		t.Errorf("%v requests do not count because of stalls", stalled)
	}
	if invalid := of("perfd_measurement_invalid_seconds_total", "reason", "pacer_gap"); invalid < 0.3*storyStalled.Seconds()/10 || invalid > storyStalled.Seconds()/5 {
		t.Errorf("invalid for %v s because of stalls, which took %v s", invalid, 0.35*storyStalled.Seconds()/10)
	}
	if n := of("perfd_measurement_invalid_seconds_total", "reason", "internal"); n > 0 || of("perfd_measurement_valid") != 1 {
		t.Errorf("the measurement contradicts itself for %v s; valid is %v", n, of("perfd_measurement_valid"))
	}
	began := s.began
	if closed {
		began = began.Add(time.Minute)
	}
	_, spent := s.value("perfd_iteration_duration_seconds")
	mean, little := stats.Mean(s.busy), spent/s.over.Sub(began).Seconds()
	if math.Abs(mean-little) > 0.05*little || closed && math.Abs(little-4) > 0.02*4 {
		t.Errorf("%v virtual users are in an iteration on average, by Little's law %v", mean, little)
	}
	t.Logf("asked %v times; %v dropped, %v failed, %v disturbed; %.3f virtual users busy, %.3f by Little's law", asked, dropped, failed, stalled, mean, little)
}
