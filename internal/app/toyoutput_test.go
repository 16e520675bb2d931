package app_test

import (
	"bytes"
	"context"
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
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfd/perfd/internal/app"
	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/command"
	"github.com/perfd/perfd/internal/config"
	"github.com/perfd/perfd/internal/kind/builtin"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
	"github.com/perfd/perfd/internal/output"
)

// The toy output keeps windows in memory. All there is of it is in this file:
// whatever perfd does with an output follows from its descriptor.

// toyMetric counts windows; toyStray is what a forgotten registration looks like.
var (
	toyMetric = &metric.Desc{Name: "toy_windows_total", Type: metric.Counter, Help: "Windows in memory.", Labels: []string{"shelf"}}
	toyStray  = &metric.Desc{Name: "toy_stray", Help: "Nobody registers this one."}
)

func toyKind(shelf *toyShelf) output.Kind {
	return output.Kind{
		Name: "toy", Doc: "Keeps windows in memory.", Takes: output.Windows, Metrics: []*metric.Desc{toyMetric},
		Config: func() output.Config { return &toyBlocks{shelf: shelf} },
	}
}

type toyBlocks struct {
	Toy *toyConfig `yaml:"toy" doc:"Where windows are kept."`

	shelf *toyShelf
}

type toyConfig struct {
	Shelf  string `yaml:"shelf" block:"required" doc:"Name of the shelf."`
	Broken bool   `yaml:"broken" doc:"The shelf cannot be opened."`
}

func (b *toyBlocks) Enabled() bool { return b.Toy != nil }

func (b *toyBlocks) Check(root *block.Node, _ string, errs *block.Errors) {
	if b.Toy != nil && b.Toy.Shelf == "none" {
		at := root.Get("toy").Get("shelf")
		errs.Add(at.Pos, at.Path, "there is no shelf %q", b.Toy.Shelf)
	}
}

func (b *toyBlocks) Open(_ *output.Env, old output.Output) (output.Output, error) {
	if b.Toy.Broken {
		return nil, fmt.Errorf("shelf %s cannot be opened", b.Toy.Shelf)
	}
	return &toyOutput{b.Toy.Shelf, b.shelf}, nil
}

type toyShelf struct {
	mu      sync.Mutex
	windows map[string][]*load.Window // by shelf
}

func (s *toyShelf) count(shelf string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.windows[shelf])
}

type toyOutput struct {
	name  string
	shelf *toyShelf
}

func (o *toyOutput) Start()                      {}
func (o *toyOutput) Close(context.Context) error { return nil }

func (o *toyOutput) Collect(send metric.Send, _ chan<- prometheus.Metric) {
	send(toyMetric, float64(o.shelf.count(o.name)), o.name)
	send(toyStray, 1)
}

func (o *toyOutput) WriteWindow(_ context.Context, w *load.Window) error {
	o.shelf.mu.Lock()
	defer o.shelf.mu.Unlock()
	o.shelf.windows[o.name] = append(o.shelf.windows[o.name], w)
	return nil
}

const toyDocument = `
toy: {shelf: %s}
targets:
  - {name: shop, url: "%s"}
scenarios:
  - name: steady
    target: shop
    workload: {executor: constant-arrival-rate, rate: 50/s, max_vus: 10}
    flow: [{name: show, http: {url: /}}]
`

func TestAnOutputIsOneDescriptor(t *testing.T) {
	t.Parallel()
	shelf := &toyShelf{windows: map[string][]*load.Window{}}
	kinds := builtin.Kinds()
	kinds.Outputs = append(kinds.Outputs, toyKind(shelf))

	t.Run("schema", func(t *testing.T) {
		text, err := config.Schema(kinds)
		if err != nil {
			t.Fatal(err)
		}
		var s struct {
			Properties map[string]struct {
				Description string
				Properties  map[string]any
			}
		}
		if err := json.Unmarshal(text, &s); err != nil {
			t.Fatal(err)
		}
		if got := s.Properties["toy"]; got.Description != "Where windows are kept." || got.Properties["shelf"] == nil {
			t.Errorf("the schema says of toy: %+v", got)
		}
	})

	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	defer target.Close()
	file := filepath.Join(t.TempDir(), "perfd.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	opts := app.Options{
		ConfigFile: file, StoragePath: t.TempDir(), Listen: []string{"127.0.0.1:0"}, Shards: 1, Grace: 10 * time.Second,
		Log: slog.New(slog.DiscardHandler), Kinds: &kinds,
	}

	t.Run("check", func(t *testing.T) {
		for text, want := range map[string]string{
			"toy: {}":                     "toy.shelf: is required",
			"toy: {shelf: a, shelv: b}":   `unknown key "shelv"`,
			"toy: {shelf: none}":          `there is no shelf "none"`,
			"to: {shelf: a}":              `did you mean "toy"?`,
			"toy: {shelf: a}\ntargets: 1": "targets: must be a list",
		} {
			write(text)
			if err := command.Check(opts, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("check of %q = %v, want %q", text, err, want)
			}
		}
		write(fmt.Sprintf(toyDocument, "a", target.URL))
		var out bytes.Buffer
		if err := command.Check(opts, &out); err != nil {
			t.Errorf("check = %v", err)
		}
	})
	if testing.Short() {
		t.Skip("a window takes ten seconds")
	}

	write(fmt.Sprintf(toyDocument, "a", target.URL))
	a, err := app.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	a.Start()
	stopped := false
	stop := func() {
		if !stopped {
			stopped = true
			if err := a.Stop(); err != nil {
				t.Errorf("Stop = %v", err)
			}
		}
	}
	defer stop()
	scrape := func() string {
		t.Helper()
		res, err := http.Get("http://" + a.Addr().String() + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("/metrics answers %d, %v: %s", res.StatusCode, err, body)
		}
		return string(body)
	}
	until := func(what string, holds func() bool) {
		t.Helper()
		for deadline := time.Now().Add(45 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("not within 45 s: %s", what)
			}
		}
	}
	until("windows on shelf a", func() bool { return shelf.count("a") > 0 })
	for _, want := range []string{
		`toy_windows_total{shelf="a"} `,
		`perfd_output_windows_lost_total{output="toy",reason="queue_full"} 0`,
	} {
		if got := scrape(); !strings.Contains(got, want) {
			t.Errorf("/metrics has no line %s", want)
		}
	}
	// The forgotten one costs itself, and says so.
	if got := scrape(); strings.Contains(got, "toy_stray") || strings.Contains(got, `perfd_metrics_dropped_total{reason="unregistered"} 0`) {
		t.Errorf("the metric that nobody registered is exposed, or not counted")
	}

	// A shelf that cannot be opened leaves the old one where it is.
	write(strings.Replace(fmt.Sprintf(toyDocument, "b", target.URL), "shelf: b", "shelf: b, broken: true", 1))
	if err := a.Reload(); err == nil || !strings.Contains(err.Error(), "output toy: shelf b cannot be opened") {
		t.Errorf("Reload = %v, want the output's error", err)
	}
	before := shelf.count("a")
	until("windows go on after a reload that failed", func() bool { return shelf.count("a") > before })

	write(fmt.Sprintf(toyDocument, "b", target.URL))
	if err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	stop() // ends the windows under way
	if shelf.count("b") == 0 {
		t.Error("no window on the new shelf")
	}
}
