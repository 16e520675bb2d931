package app

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/engine"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/kind/builtin"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
	"github.com/perfd/perfd/internal/protocol"
)

// An ask is the block of a step of two targets: what it asks is noted with its time, and answered after a while.
type ask struct {
	Path block.Text `yaml:"path" doc:"What is asked for."`
	both *both
}

// A both is two targets, told apart by their ports.
type both struct {
	takes func(base string, since time.Duration) time.Duration
	fails func(base string, since time.Duration) bool

	began time.Time
	mu    sync.Mutex
	asked map[string]map[string][]time.Duration // times since the beginning, by target and path
	peak  map[string]int                        // of asks at the same time, by target
	open  map[string]int
}

func newBoth() *both {
	return &both{asked: map[string]map[string][]time.Duration{}, peak: map[string]int{}, open: map[string]int{}, began: time.Now()}
}

type askStep struct {
	*both
	base string
	path *expr.Template
}

func (a *ask) Compile(k *protocol.Compiler) protocol.Step {
	return &askStep{a.both, k.Base.S, expr.ParseTemplate(a.Path, k.Symbols, k.Errors)}
}

func (s *askStep) Do(c *protocol.Call) {
	path, err := s.path.Append(nil, c.Scope)
	if err != nil {
		c.Result.Cause, c.Err = load.Input, err
		return
	}
	c.Result.Sent = int64(c.VU.Env.Now())
	since := s.note(string(path))
	if s.takes != nil {
		time.Sleep(s.takes(s.base, since))
	}
	s.mu.Lock()
	s.open[s.base]--
	s.mu.Unlock()
	c.Result.Done, c.Result.Code = int64(c.VU.Env.Now()), 200
	if s.fails != nil && s.fails(s.base, since) {
		c.Result.Code, c.Result.Cause = 500, load.Status
	}
}

func (s *askStep) note(path string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	since := time.Since(s.began)
	if s.asked[s.base] == nil {
		s.asked[s.base] = map[string][]time.Duration{}
	}
	s.asked[s.base][path] = append(s.asked[s.base][path], since)
	s.open[s.base]++
	s.peak[s.base] = max(s.peak[s.base], s.open[s.base])
	return since
}

// of returns what was asked of a target so far.
func (b *both) of(base string) map[string][]time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	asked := maps.Clone(b.asked[base])
	for path := range asked {
		asked[path] = slices.Clone(asked[path])
	}
	return asked
}

// most returns the most asks at the same time.
func (b *both) most(base string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.peak[base]
}

// RoundTrip answers the watches: each target says its release in its header, once it has one.
type releases func(port string) string

func (r releases) RoundTrip(req *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	w.Header().Set("X-Release", r(req.URL.Port()))
	w.WriteHeader(http.StatusOK)
	return w.Result(), nil
}

const primary, baseline = "http://127.0.0.1:9001", "http://127.0.0.1:9002"

const twinTargets = `
targets:
  - {name: shop, url: "http://127.0.0.1:9001"%[1]s}
  - {name: shop-stable, url: "http://127.0.0.1:9002"%[1]s}
`

// twins starts a daemon in the bubble on a configuration, with rows for it, and two targets.
func twins(t *testing.T, config string, b *both, releasesOf releases) *App {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "perfd.yaml")
	rows := "id\n"
	for i := range 5000 {
		rows += fmt.Sprintf("r%d\n", i)
	}
	for name, text := range map[string]string{file: config, filepath.Join(dir, "rows.csv"): rows, filepath.Join(dir, "more.csv"): rows} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	kinds := builtin.Kinds()
	kinds.Protocols = append(kinds.Protocols, protocol.Kind{Name: "ask", Step: func() protocol.Config { return &ask{both: b} }})
	a, err := New(Options{
		ConfigFile: file, StoragePath: filepath.Join(dir, "data"), Shards: 1, Grace: 10 * time.Second, Log: quiet,
		Kinds: &kinds, NewWaiter: engine.NewTimerWaiter, Transport: releasesOf, Root: dir,
	})
	if err != nil {
		t.Fatal(err)
	}
	a.Start()
	t.Cleanup(func() { _ = a.Stop() }) // a second time does nothing
	return a
}

const twinFlow = `
data:
  rows: {file: rows.csv, order: sequential}
  more: {file: more.csv, order: shuffled}
scenarios:
  - name: browse
    target: shop
%s
    workload: {executor: %s}
    validity: {max_lateness: 10s}
    flow:
      - {name: first, ask: {path: "first/${rows.id}/${random_int(1, 1000000)}"}}
      - {think: {uniform: [1s, 3s]}}
      - next: more
      - chance: 0.5
        steps: [{name: second, ask: {path: "second/${rows.id}/${more.id}/${random_int(1, 1000000)}"}}]
`

// Both sides have the same arrivals at the same instants, each with the same rows and random choices, though the
// baseline is so slow that it drops most of what it should get. The scenario's own side does what it does without.
func TestBothSidesOfATwinGetTheSame(t *testing.T) {
	t.Parallel()
	play := func(twin string, slow time.Duration) (b *both, a *App) {
		b = newBoth()
		b.takes = func(base string, _ time.Duration) time.Duration {
			if base == baseline {
				return slow
			}
			return 20 * time.Millisecond
		}
		a = twins(t, fmt.Sprintf(twinTargets, "")+fmt.Sprintf(twinFlow, twin, "constant-arrival-rate, rate: 5/s, arrivals: poisson, max_vus: 25"), b, func(string) string { return "v1" })
		time.Sleep(2 * time.Minute)
		if err := a.fleet.Pause(0); err != nil {
			t.Error(err)
		}
		time.Sleep(20 * time.Second)
		if err := a.fleet.Resume(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		// What is under way is interrupted and ends; the targets of this test do not hear it.
		if err := a.fleet.Pause(0); err != nil {
			t.Error(err)
		}
		time.Sleep(20 * time.Second)
		return b, a
	}
	firsts := func(m map[string][]time.Duration) map[string]time.Duration {
		out := map[string]time.Duration{}
		for path, at := range m {
			if strings.HasPrefix(path, "first/") {
				out[path] = at[0]
			}
		}
		return out
	}
	synctest.Test(t, func(t *testing.T) {
		b, a := play("    twin: {baseline: shop-stable}", 4*time.Second)
		own, other := firsts(b.of(primary)), firsts(b.of(baseline))
		if len(own) < 600 || len(other) < 100 || len(other) > len(own)*3/4 {
			t.Errorf("%d arrivals on the scenario's side and %d on the slow baseline's, want some 900 and many fewer", len(own), len(other))
		}
		for path, at := range other {
			if own[path] != at {
				t.Errorf("%s at %v on the baseline's side, at %v on the other", path, at, own[path])
			}
		}
		both, ofOwn := 0, b.of(primary)
		for path := range b.of(baseline) {
			if strings.HasPrefix(path, "second/") {
				if ofOwn[path] == nil {
					t.Errorf("%s was asked of the baseline alone", path)
				}
				both++
			}
		}
		if both < 20 {
			t.Errorf("%d second steps on both sides", both)
		}
		if n := b.most(baseline); n > 25 {
			t.Errorf("%d requests at once on the baseline's side, whose share is 25 virtual users", n)
		}
		c := a.fleet.Scenario(analysis.BaselineName("browse", "shop-stable")).Counts()
		if c.Dropped[load.NoFreeVU] == 0 || a.fleet.Scenario("browse").Counts().Dropped[load.NoFreeVU] != 0 {
			t.Errorf("the baseline dropped %v, the scenario %v", c.Dropped, a.fleet.Scenario("browse").Counts().Dropped)
		}
		if err := a.Stop(); err != nil {
			t.Error(err)
		}
		with := slices.Sorted(maps.Values(own))
		alone, a := play("", 0)
		if err := a.Stop(); err != nil {
			t.Error(err)
		}
		// It begins at another time, so that its Poisson arrivals are others.
		if n := len(firsts(alone.of(primary))); n < len(with)*8/10 || n > len(with)*12/10 {
			t.Errorf("%d arrivals without a twin, %d with one", n, len(with))
		}
	})
}

// The n-th iteration of a closed workload is made alike on both sides, however fast each goes.
func TestIterationsOfATwinAreAlikeInAClosedModel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBoth()
		b.takes = func(base string, _ time.Duration) time.Duration {
			if base == baseline {
				return 300 * time.Millisecond
			}
			return 100 * time.Millisecond
		}
		config := fmt.Sprintf(twinTargets, "") + fmt.Sprintf(twinFlow, "    twin: {baseline: shop-stable}\n    schedule: {every: 1h}", "shared-iterations, vus: 1, iterations: 60")
		a := twins(t, config, b, func(string) string { return "v1" })
		time.Sleep(time.Until(time.Now().Truncate(time.Hour).Add(time.Hour + 5*time.Minute)))
		own, other := b.of(primary), b.of(baseline)
		if len(own) < 60 {
			t.Errorf("%d requests on the scenario's side, want 60 iterations", len(own))
		}
		if len(other) < 30 {
			t.Errorf("%d requests on the baseline's side", len(other))
		}
		for path := range other {
			if own[path] == nil {
				t.Errorf("%s was asked of the baseline alone", path)
			}
		}
		if err := a.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// noisy is how long a target takes within an environment that both share, a walk of ±30 % that is the same for both,
// and which may get slower; each request has its own luck.
func noisy(seed uint64, slower func(base string, since time.Duration) float64) func(string, time.Duration) time.Duration {
	r := rand.New(rand.NewPCG(seed, 1))
	walk := make([]float64, 3600)
	for i := 1; i < len(walk); i++ {
		walk[i] = min(max(walk[i-1]+0.02*r.NormFloat64(), -0.26), 0.26)
	}
	var mu sync.Mutex
	return func(base string, since time.Duration) time.Duration {
		mu.Lock()
		luck := math.Exp(0.4 * r.NormFloat64())
		mu.Unlock()
		return time.Duration(4e7 * luck * math.Exp(walk[int(since.Seconds()/5)%len(walk)]) * slower(base, since))
	}
}

const twinSoak = `
scenarios:
  - name: soak
    target: shop
    twin: {baseline: shop-stable}
    workload: {executor: constant-arrival-rate, rate: 12/s, arrivals: poisson, max_vus: 100, seed: %d}
    objectives: [{name: p95, that: p(95) < 10s}]
    validity: {max_lateness: 10s}
    flow: [{name: show, ask: {path: "%%{random_int(1, 9)}"}}]
`

// Through the whole daemon: a release that is 10 % slower is called by name beside its twin, soon after it came or from the
// beginning on; an environment that gets slower for both is not, nor are equal twins. Nothing else speaks of the baseline's side.
func TestTheDaemonTellsAReleaseFromItsEnvironment(t *testing.T) {
	t.Parallel()
	const change = 20 * time.Minute
	seeds := uint64(5)
	if brief() {
		seeds = 1
	}
	for _, c := range []struct {
		name   string
		slower func(base string, since time.Duration) float64
		from   time.Duration // that the release is there; negative: never
	}{
		{"a release", func(base string, since time.Duration) float64 {
			if base == primary && since >= change {
				return 1.1
			}
			return 1
		}, change},
		{"from the beginning", func(base string, _ time.Duration) float64 {
			if base == primary {
				return 1.1
			}
			return 1
		}, 0},
		{"the environment", func(_ string, since time.Duration) float64 {
			if since >= change {
				return 1.4
			}
			return 1
		}, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			if brief() && c.from != 0 {
				t.Skip("36 minutes of fake time take seconds")
			}
			for seed := range seeds {
				synctest.Test(t, func(t *testing.T) {
					b := newBoth()
					b.takes = noisy(seed, c.slower)
					released := func(port string) string {
						if port == "9001" && c.from >= 0 && time.Since(b.began) >= c.from {
							return "v2"
						}
						return "v1"
					}
					config := fmt.Sprintf(twinTargets, ", release: {url: /version, header: X-Release, every: 5s, settle: 10s}") +
						strings.ReplaceAll(fmt.Sprintf(twinSoak, seed), "%{", "${")
					a := twins(t, config, b, released)
					var found []load.Finding
					look := func() {
						for _, f := range a.Findings() {
							if f.Kind == load.KindTwin && f.State == load.Active {
								found = append(found, f)
							}
							if analysis.IsBaseline(f.Scenario) {
								t.Errorf("a finding about the baseline's side: %s", f.Sentence)
							}
						}
					}
					for end := b.began.Add(max(c.from, change) + 16*time.Minute); time.Now().Before(end) && len(found) == 0; time.Sleep(10 * time.Second) {
						look()
					}
					took := time.Since(b.began) - max(0, c.from)
					switch {
					case c.from < 0 && len(found) > 0:
						t.Errorf("seed %d: called: %s", seed, found[0].Sentence)
					case c.from >= 0 && len(found) == 0:
						t.Errorf("seed %d: not called within %v", seed, took)
					case c.from >= 0 && (took < 0 || took > 16*time.Minute || found[0].Release != "v2" || found[0].Baseline != "v1" || found[0].Scenario != "soak"):
						t.Errorf("seed %d: called after %v: %+v", seed, took, found[0])
					case c.from >= 0:
						t.Logf("seed %d, after %v: %s", seed, took.Round(time.Second), found[0].Sentence)
					}
					said := map[string]float64{}
					a.judge.Collect(func(d *metric.Desc, v float64, labels ...string) {
						if d == metric.TwinVerdict && labels[0] == "soak" {
							said[labels[1]] = v
						}
					})
					if len(said) != 5 || said["release"] != analysis.Number(c.from >= 0) {
						t.Errorf("seed %d: perfd_twin_verdict says %v", seed, said)
					}
					if err := a.Stop(); err != nil {
						t.Error(err)
					}
				})
			}
		})
	}
}
