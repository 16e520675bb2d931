package app_test

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
	"testing"
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/app"
	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/command"
	"github.com/perfd/perfd/internal/config"
	"github.com/perfd/perfd/internal/demo"
	"github.com/perfd/perfd/internal/kind"
	"github.com/perfd/perfd/internal/kind/builtin"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

// A greed is an analysis that perfd does not ship: it finds scenarios that make
// more requests than their block allows.
type greed struct {
	most     map[string]int
	requests map[string]uint64
}

type greedConfig struct {
	Most int `yaml:"most" doc:"Requests that a scenario may make in all (default 10)."`
}

func (c *greedConfig) Validate(at *block.Node, errs *block.Errors) {
	if n := at.Get("most"); n != nil && c.Most < 1 {
		errs.Add(n.Pos, n.Path, "must be at least 1, got %d", c.Most)
	}
}

var greedRequests = &metric.Desc{Name: "perfd_greed_requests", Labels: []string{"scenario"}, Help: "Requests that the greed analysis has seen."}

var greedKind = analysis.Kind{
	Name: "greed",
	Doc:  "Does a scenario make too many requests?",
	New:  func() analysis.Analysis { return &greed{requests: map[string]uint64{}} },
	Findings: []analysis.FindingKind{{
		Kind: "over_eager", Word: "over-eager", Headline: "A scenario is greedy", Gravity: 35, Acceptable: true,
		Speech: analysis.Summed, Topic: "greed", Clean: "not greedy",
	}},
	Metrics:  []*metric.Desc{greedRequests},
	Block:    func() any { return &greedConfig{Most: 10} },
	BlockDoc: "How many requests are too many.",
}

func (g *greed) Configure(d *analysis.Description) {
	g.most = map[string]int{}
	for _, s := range d.Scenarios {
		g.most[s.Name] = s.Blocks["greed"].(*greedConfig).Most
	}
}

func (g *greed) Window(w *load.Window) {
	if w.Step == "" {
		g.requests[w.Scenario] += w.Requests
	}
}
func (g *greed) Sample(load.Sample) {}
func (g *greed) Event(load.Event)   {}

func (g *greed) Judge(at time.Time) (found []load.Finding) {
	for name := range g.most {
		found = append(found, g.about(name, at))
	}
	return found
}

func (g *greed) Run(e load.Event, at time.Time) []load.Finding {
	return []load.Finding{g.about(e.Scenario, at)}
}

func (g *greed) about(scenario string, at time.Time) load.Finding {
	f := load.Finding{
		ID: analysis.ID("over_eager", scenario), Kind: "over_eager", Scenario: scenario, Since: at, Verdict: load.Pass,
		Sentence: scenario + " made its share of requests",
	}
	if g.requests[scenario] > uint64(g.most[scenario]) {
		f.Verdict, f.Sentence = load.Fail, scenario+" made more requests than it may"
	}
	return f
}

func (g *greed) Collect(send analysis.Send) {
	for name := range g.most {
		send(greedRequests, float64(g.requests[name]), name)
	}
}

// withGreed is what perfd ships and one kind more.
func withGreed() kind.Set {
	k := builtin.Kinds()
	k.Analyses = append(k.Analyses, greedKind)
	return k
}

const greedyDocument = `
targets:
  - {name: shop, url: "%s"}
scenarios:
  - name: greedy
    target: shop
    greed: {most: 5}
    workload: {executor: constant-arrival-rate, rate: 100/s, max_vus: 10}
    flow: [{name: show, http: {url: /products/1}}]
  - name: modest
    target: shop
    greed: {most: 1000000}
    workload: {executor: constant-arrival-rate, rate: 20/s, max_vus: 10}
    flow: [{name: show, http: {url: /products/2}}]
`

// greedyOptions returns those of a daemon with greed on a shop of its own, and where its log goes.
func greedyOptions(t *testing.T, document string) (app.Options, *lockedBuffer) {
	t.Helper()
	shop := httptest.NewServer(demo.New(demo.Knobs{}, 1))
	t.Cleanup(shop.Close)
	file := filepath.Join(t.TempDir(), "perfd.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, document, shop.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	kinds, log := withGreed(), &lockedBuffer{}
	return app.Options{
		ConfigFile: file, StoragePath: t.TempDir(), Listen: []string{"127.0.0.1:0"}, Lifecycle: true, Shards: 1,
		Grace: 5 * time.Second, Log: slog.New(slog.NewJSONHandler(log, nil)), Kinds: &kinds,
	}, log
}

// A lockedBuffer may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestOneMoreAnalysisIsConfigured(t *testing.T) {
	t.Parallel()
	text, err := config.Schema(withGreed())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"How many requests are too many.", "Requests that a scenario may make in all (default 10)."} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the schema does not say: %s", want)
		}
	}
	opts, _ := greedyOptions(t, greedyDocument)
	if err := command.Check(opts, io.Discard); err != nil {
		t.Errorf("check of a document with greed: %v", err)
	}
	for document, want := range map[string]string{
		strings.Replace(greedyDocument, "most: 5", "most: 0", 1):  "scenarios[0].greed.most: must be at least 1, got 0",
		strings.Replace(greedyDocument, "most: 5", "moste: 2", 1): `scenarios[0].greed.moste: unknown key "moste"`,
		strings.Replace(greedyDocument, "greed:", "gread:", 1):    "hint: did you mean \"greed\"?",
	} {
		opts, _ := greedyOptions(t, document)
		if err := command.Check(opts, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("check says %v, want %s", err, want)
		}
	}
	opts.Kinds = nil
	if err := command.Check(opts, io.Discard); err == nil || !strings.Contains(err.Error(), `unknown key "greed"`) {
		t.Errorf("check without greed says %v, want an unknown key", err)
	}
}

func TestOneMoreAnalysisJudgesARun(t *testing.T) {
	t.Parallel()
	for scenario, want := range map[string]struct {
		code int
		says []string
	}{
		"greedy": {command.OnceBroken, []string{"FAIL          over-eager", "iterations; greedy made more requests than it may"}},
		"modest": {command.OncePassed, []string{"pass          over-eager", "; not greedy"}},
	} {
		opts, _ := greedyOptions(t, greedyDocument)
		opts.Listen = nil
		var summary bytes.Buffer
		code, err := command.Once(t.Context(), opts, command.OnceOptions{
			Scenario: scenario, For: time.Second, Format: "text", Summary: &summary, Progress: io.Discard,
		})
		if err != nil || code != want.code {
			t.Errorf("once %s = %d, %v, want %d", scenario, code, err, want.code)
		}
		for _, s := range want.says {
			if !strings.Contains(strings.Join(strings.Fields(summary.String()), " "), strings.Join(strings.Fields(s), " ")) {
				t.Errorf("the summary of %s does not say %q:\n%s", scenario, s, &summary)
			}
		}
	}
}

// TestOneMoreAnalysisIsServed waits for a window of ten seconds.
func TestOneMoreAnalysisIsServed(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits for a window")
	}
	opts, log := greedyOptions(t, greedyDocument)
	a, err := app.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	a.Start()
	t.Cleanup(func() {
		if err := a.Stop(); err != nil {
			t.Error(err)
		}
	})
	address := addressIn(t, log.String())
	get := func(path string) string {
		r, err := http.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		text, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	const active = `perfd_findings_active{kind="over_eager"} 1`
	for end := time.Now().Add(45 * time.Second); !strings.Contains(get("/metrics"), active); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("/metrics never had %s:\n%s", active, get("/metrics"))
		}
	}
	for path, want := range map[string][]string{
		"/metrics":                         {`perfd_greed_requests{scenario="greedy"}`, `perfd_greed_requests{scenario="modest"}`, `perfd_analysis_seconds_total{analysis="greed"}`},
		"/":                                {"A scenario is greedy", "<b>over-eager</b>", "greedy made more requests than it may"},
		"/scenarios/greedy":                {"<b>over-eager</b>", "greedy made more requests than it may"},
		"/api/v1/findings?kind=over_eager": {`"kind":"over_eager"`, `"verdict":"fail"`, `"state":"active"`},
		"/api/v1/findings?kind=overeager":  {"over_eager"},
	} {
		body := get(path)
		for _, s := range want {
			if !strings.Contains(body, s) {
				t.Errorf("%s does not have %s:\n%s", path, s, body)
			}
		}
	}
	r, err := http.Post("http://"+address+"/api/v1/findings/"+analysis.ID("over_eager", "greedy")+"/accept", "application/json", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != http.StatusOK {
		t.Errorf("accept = %s, want it accepted", r.Status)
	}
}

// addressIn returns where a daemon with this log listens.
func addressIn(t *testing.T, log string) string {
	t.Helper()
	for line := range strings.Lines(log) {
		var entry struct{ Msg, Address string }
		if err := json.Unmarshal([]byte(line), &entry); err == nil && entry.Msg == "listening" {
			return entry.Address
		}
	}
	t.Fatalf("the log does not say where the daemon listens:\n%s", log)
	return ""
}
