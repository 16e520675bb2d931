package builtin_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
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

	"github.com/perfd/perfd/internal/app"
	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/command"
	"github.com/perfd/perfd/internal/config"
	"github.com/perfd/perfd/internal/engine"
	"github.com/perfd/perfd/internal/kind"
	"github.com/perfd/perfd/internal/kind/builtin"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/pace"
)

// toyBatch is an executor: workers share a number of iterations out among
// themselves, and no worker performs more than its quota.
var toyBatch = pace.Executor{
	Name:    "toy-batch",
	Doc:     "Performs a number of iterations.",
	New:     func() pace.Workload { return &batch{Workers: 2} },
	Instead: map[string]string{"rate": "size"},
}

type batch struct {
	Size    int `yaml:"size" block:"required" doc:"Iterations of all workers together."`
	Workers int `yaml:"workers" doc:"Virtual users."`
	Quota   int `yaml:"quota" doc:"Most iterations of each worker."`
}

func (b *batch) Check(c *pace.Checker) {
	c.VUs("workers", &b.Workers, 1)
	if b.Size < 1 {
		c.Fail("size", "must be at least 1, got %d", b.Size)
	}
}

func (b *batch) Summary() pace.Summary {
	n := float64(b.Workers)
	return pace.Summary{Model: pace.ClosedModel, End: b.End(), Peak: n, Mean: n, FirstVUs: b.Workers, MostVUs: b.Workers}
}

func (b *batch) Describe() string {
	return fmt.Sprintf("%d iterations by %d workers", b.Size, b.Workers)
}
func (b *batch) Plan(string, int) (pace.Plan, error) { return b, nil }
func (b *batch) End() pace.End                       { return pace.End{Total: uint64(b.Size), PerVU: uint64(b.Quota)} }

func (b *batch) At(t time.Duration) (level pace.Level) {
	if t >= 0 {
		level = pace.Level{VUs: b.Workers, Until: pace.Forever}
	}
	return level
}

// toySawtooth is a shape: it rises from one level to another, again and again.
var toySawtooth = pace.Shape{
	Name: "sawtooth",
	Doc:  "Rises from low to high, teeth times.",
	New:  func() pace.Curve { return &sawtooth{Teeth: 1} },
}

type sawtooth struct {
	Low   pace.Target    `yaml:"low" block:"required" doc:"The level from which it rises."`
	High  pace.Target    `yaml:"high" block:"required" doc:"The level to which it rises."`
	Over  block.Duration `yaml:"over" block:"required" doc:"How long it rises."`
	Teeth int            `yaml:"teeth" doc:"How often it rises; 1 by default."`
}

func (s *sawtooth) Check(c *pace.Checker) {
	c.Target(s.Low)
	c.Target(s.High)
	if s.Teeth < 1 {
		c.In("sawtooth").Fail("teeth", "must be at least 1, got %d", s.Teeth)
	}
}

func (s *sawtooth) Stages() (stages []pace.Stage) {
	for range s.Teeth {
		stages = append(stages, pace.Stage{Target: s.Low}, pace.Stage{Duration: s.Over, Target: s.High})
	}
	return stages
}

func (s *sawtooth) Describe(pace.Target) string {
	return fmt.Sprintf(", then %d× from %s to %s over %s", s.Teeth, s.Low, s.High, s.Over)
}

// withToys is everything that perfd ships, the toy executor and the toy shape.
func withToys() kind.Set {
	set := builtin.Kinds()
	set.Executors = append(set.Executors, toyBatch)
	set.Shapes = append(set.Shapes, toySawtooth)
	return set
}

// write writes a configuration with one scenario and returns its path.
func write(t *testing.T, schedule, workload string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "perfd.yaml")
	text := fmt.Sprintf(`targets:
  - {name: shop, url: "http://127.0.0.1:9798"}
scenarios:
  - name: toy
    target: shop
    schedule: %s
    workload: %s
    flow: [{name: home, http: {url: /}}]
`, schedule, workload)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// workload loads a configuration of one scenario.
func workload(t *testing.T, text string) (pace.Config, error) {
	t.Helper()
	d, err := config.Load(config.Options{File: write(t, "{manual: true}", text), Environ: []string{}, Kinds: withToys()})
	if err != nil {
		return pace.Config{}, err
	}
	return d.Scenarios[0].Workload, nil
}

// wantLines runs perfd check and looks for lines of its output.
func wantLines(t *testing.T, schedule, workload string, want ...string) {
	t.Helper()
	set := withToys()
	var out bytes.Buffer
	if err := command.Check(app.Options{ConfigFile: write(t, schedule, workload), Kinds: &set}, &out); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(out.String()), " ")
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("check of %s does not say %q, but:\n%s", workload, w, out.String())
		}
	}
}

// wantMistake loads a wrong workload.
func wantMistake(t *testing.T, text, want string) {
	t.Helper()
	if _, err := workload(t, text); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("load of %s = %v, want %q", text, err, want)
	}
}

// keys are the keys of a workload that the JSON schema describes.
func keys(t *testing.T) map[string]map[string]any {
	t.Helper()
	text, err := config.Schema(withToys())
	if err != nil {
		t.Fatal(err)
	}
	var s struct {
		Properties struct {
			Scenarios struct {
				Items struct {
					Properties struct {
						Workload struct{ Properties map[string]map[string]any }
					}
				}
			}
		}
	}
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return s.Properties.Scenarios.Items.Properties.Workload.Properties
}

func TestOneMoreExecutor(t *testing.T) {
	const good = "{executor: toy-batch, size: 25, workers: 3, quota: 20}"
	t.Run("schema", func(t *testing.T) {
		known := keys(t)
		if got := known["size"]["description"]; got != "Iterations of all workers together." {
			t.Errorf("description of size = %q", got)
		}
		if text, _ := known["executor"]["description"].(string); !strings.Contains(text, "per-vu-iterations, externally-controlled or toy-batch") {
			t.Errorf("description of executor = %q, want it to list toy-batch", text)
		}
	})
	t.Run("mistakes", func(t *testing.T) {
		wantMistake(t, "{executor: toy-batch, size: 0}", "perfd.yaml:7:43: scenarios[0].workload.size: must be at least 1, got 0")
		wantMistake(t, "{executor: toy-batch}", "scenarios[0].workload.size: is required")
		wantMistake(t, "{executor: toy-batch, size: 5, rate: 1/s}", "belongs to constant-arrival-rate and externally-controlled, the executor is toy-batch\n\thint: toy-batch has size")
		wantMistake(t, "{executor: constant-vus, size: 5}", "belongs to toy-batch, the executor is constant-vus")
		wantMistake(t, "{executor: toy-bath}", `hint: did you mean "toy-batch"?`)
	})
	t.Run("check", func(t *testing.T) {
		wantLines(t, "{cron: '@daily'}", good,
			"workload toy-batch: 25 iterations by 3 workers", "peak 3 VUs", "ends after 25 iterations or 20 iterations of each VU, whichever is first")
		wantLines(t, "{cron: '@daily', duration: 1h}", "{executor: toy-batch, size: 25}", "ends after 25 iterations or 1h, whichever is first")
	})
	for _, shards := range []int{1, 2, 5} {
		t.Run(fmt.Sprintf("run on %d shards", shards), func(t *testing.T) {
			c, err := workload(t, good)
			if err != nil {
				t.Fatal(err)
			}
			iterations := 0
			for shard := range shards {
				n, _ := perform(t, c, shard, shards)
				iterations += n
			}
			if iterations != 25 {
				t.Errorf("%d iterations, want 25", iterations)
			}
		})
	}
}

// A run of perfd once ends when its iterations are done, whatever its schedule
// says, and nothing more is sent.
func TestOneMoreExecutorEndsARun(t *testing.T) {
	var served atomic.Int64
	shop := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served.Add(1) }))
	defer shop.Close()
	file := write(t, "{cron: '@daily'}", "{executor: toy-batch, size: 25, workers: 3}")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, bytes.ReplaceAll(text, []byte("http://127.0.0.1:9798"), []byte(shop.URL)), 0o600); err != nil {
		t.Fatal(err)
	}
	set := withToys()
	var summary bytes.Buffer
	code, err := command.Once(t.Context(), app.Options{ConfigFile: file, Kinds: &set, Grace: 10 * time.Second, Log: slog.New(slog.DiscardHandler)},
		command.OnceOptions{Scenario: "toy", Format: "json", Summary: &summary, Progress: io.Discard})
	if err != nil || code != command.OncePassed {
		t.Fatalf("Once = %d, %v, want %d\n%s", code, err, command.OncePassed, summary.String())
	}
	if got := served.Load(); got != 25 {
		t.Errorf("the shop served %d requests, want 25", got)
	}
	if !strings.Contains(summary.String(), `"requests": 25`) {
		t.Errorf("the summary does not say 25 requests:\n%s", summary.String())
	}
}

func TestOneMoreShape(t *testing.T) {
	const (
		open   = "{executor: ramping-arrival-rate, max_vus: 50, sawtooth: {low: 10/s, high: 30/s, over: 10s, teeth: 3}}"
		closed = "{executor: ramping-vus, sawtooth: {low: 2, high: 6, over: 8s}, repeat: {times: 1}}"
	)
	t.Run("schema", func(t *testing.T) {
		tooth, ok := keys(t)["sawtooth"]
		if !ok || tooth["description"] != "Rises from low to high, teeth times." {
			t.Errorf("the schema of sawtooth = %v", tooth)
		}
		if properties, _ := tooth["properties"].(map[string]any); properties["teeth"] == nil {
			t.Errorf("the schema of sawtooth does not have teeth: %v", tooth)
		}
	})
	t.Run("mistakes", func(t *testing.T) {
		wantMistake(t, "{executor: ramping-vus, sawtooth: {low: 1, high: 2, over: 1s, teeth: 0}}", "scenarios[0].workload.sawtooth.teeth: must be at least 1, got 0")
		wantMistake(t, "{executor: ramping-vus, sawtooth: {low: 1, high: 2/s, over: 1s}}", "scenarios[0].workload.sawtooth.high: must be a number of virtual users")
		wantMistake(t, "{executor: ramping-vus, sawtooth: {low: 1, high: 2, over: 0s}}", "scenarios[0].workload.sawtooth: together must last more than 0")
		wantMistake(t, "{executor: ramping-vus, stages: [{duration: 1s, target: 2}], sawtooth: {low: 1, high: 2, over: 1s}}", "only one of stages and sawtooth may be given")
		wantMistake(t, "{executor: ramping-vus}", "replay, sawtooth")
		wantMistake(t, "{executor: constant-vus, sawtooth: {low: 1, high: 2, over: 1s}}", "belongs to ramping-arrival-rate and ramping-vus, the executor is constant-vus")
	})
	t.Run("check", func(t *testing.T) {
		wantLines(t, "{cron: '@daily', duration: 1h}", open,
			"workload ramping-arrival-rate: 0/s, then 3× from 10/s to 30/s over 10s", "peak 30 iterations/s", "mean 20 iterations/s", "the shorter of 1h and 30s")
		wantLines(t, "{cron: '@daily'}", closed, "workload ramping-vus: 1 VU, then 1× from 2 VUs to 6 VUs over 8s, repeats from stage 0 1×")
	})
	t.Run("run of the open model", func(t *testing.T) {
		c, err := workload(t, open)
		if err != nil {
			t.Fatal(err)
		}
		n, took := perform(t, c, 0, 1)
		if n != 600 { // three times 10 s with 20/s in the mean
			t.Errorf("%d iterations, want 600", n)
		}
		if took < 30*time.Second || took > 31*time.Second {
			t.Errorf("the run took %v, want 30s", took)
		}
	})
	t.Run("run of the closed model", func(t *testing.T) {
		c, err := workload(t, closed)
		if err != nil {
			t.Fatal(err)
		}
		// Of two laps with 2, 3, 4 and 5 VUs for 2 s each, and 10 iterations a second by each VU.
		if n, _ := perform(t, c, 0, 1); n < 540 || n > 580 {
			t.Errorf("%d iterations, want about 560", n)
		}
	})
}

// perform runs one shard of a workload with the real engine, in a bubble of fake
// time, until it ends by itself. Each iteration takes 100 ms.
func perform(t *testing.T, c pace.Config, shard, shards int) (iterations int, took time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		plan, err := pace.New(c, "toy")
		if err != nil {
			t.Fatal(err)
		}
		sink := &counter{}
		e, err := engine.New(engine.Options{
			Plan: plan, NewVU: func(int) (engine.VU, error) { return sleeper{}, nil }, Sink: sink, Start: time.Now(),
			MaxVUs: c.MostVUs(), PreAllocated: c.FirstVUs(),
			GracefulStop: c.GracefulStop.D(), GracefulRampDown: c.GracefulRampDown(), MaxLateness: c.MaxLateness(),
			Shard: shard, Shards: shards,
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := e.Run(t.Context()); got != engine.Finished {
			t.Errorf("Run of shard %d = %v, want finished", shard, got)
		}
		iterations, took = sink.n, e.Now()
	})
	return iterations, took
}

// A sleeper is a virtual user whose iterations take 100 ms.
type sleeper struct{}

func (sleeper) Begin(time.Duration) bool { return true }
func (sleeper) Go() (time.Duration, bool) {
	time.Sleep(100 * time.Millisecond)
	return 0, true
}
func (sleeper) Interrupt() {}
func (sleeper) Close()     {}

// A counter counts iterations that ended.
type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) Started(int)              {}
func (c *counter) Drop(load.Reason, uint64) {}
func (c *counter) Iteration(*load.Iteration) {
	c.mu.Lock()
	c.n++
	c.mu.Unlock()
}

// The executors that end after a number of iterations perform exactly as many, over any number of shards.
func TestIterationsAreCounted(t *testing.T) {
	for text, want := range map[string]int{
		"{executor: shared-iterations, vus: 3, iterations: 25}":                       25,
		"{executor: per-vu-iterations, vus: 3, iterations: 4}":                        12,
		"{executor: per-vu-iterations}":                                               1,
		"{executor: shared-iterations, vus: 2, iterations: 100, max_duration: 950ms}": 20, // of 100 ms each
	} {
		c, err := workload(t, text)
		if err != nil {
			t.Fatal(err)
		}
		for _, shards := range []int{1, 2, 5} {
			got := 0
			for shard := range shards {
				n, _ := perform(t, c, shard, shards)
				got += n
			}
			if got != want {
				t.Errorf("%s on %d shards: %d iterations, want %d", text, shards, got, want)
			}
		}
	}
}
