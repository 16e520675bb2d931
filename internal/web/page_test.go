package web

import (
	"flag"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/load"
)

var update = flag.Bool("update", false, "write the golden files of pages again")

// TestPagesAreGolden holds every field of the pages, at the first instant of a bubble: 2000-01-01 00:00:00 UTC.
func TestPagesAreGolden(t *testing.T) {
	for _, c := range []struct {
		golden, path string
		code         int
		change       func(*fake)
	}{
		{"landing.html", "/", 200, nil},
		{"trouble.html", "/", 200, func(f *fake) {
			f.status.Paused, f.status.PausedUntil = true, time.Now().Add(2*time.Hour)
			f.status.Ready, f.status.ConfigOK, f.status.ConfigError = false, false, "perfd.yaml:14:9: scenarios[1].test: wrong <b>\n    hint: stress"
			f.status.Shards, f.status.Shard = 3, 1
		}},
		{"empty.html", "/", 200, func(f *fake) { f.scenarios, f.findings = nil, nil }},
		{"unjudged.html", "/", 200, func(f *fake) { f.findings = []load.Finding{} }},
		{"scenario.html", "/scenarios/shop-soak", 200, nil},
		{"waiting.html", "/scenarios/shop-reports?debug=1", 200, nil},
		{"missing.html", "/scenarios/no%3Cb%3Ene", 404, nil},
	} {
		t.Run(c.golden, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := shop(time.Now())
				if c.change != nil {
					c.change(f)
				}
				w := httptest.NewRecorder()
				handler(f, true).ServeHTTP(w, httptest.NewRequest("GET", c.path, nil))
				if w.Code != c.code {
					t.Errorf("%s = %d, want %d", c.path, w.Code, c.code)
				}
				file := filepath.Join("testdata", c.golden)
				if *update {
					if err := os.WriteFile(file, w.Body.Bytes(), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(w.Body.String(), "\n")); diff != "" {
					t.Errorf("%s differs from %s (-update writes it again):\n%s", c.path, file, diff)
				}
				if p := w.Header().Get("Content-Security-Policy"); !strings.Contains(p, "default-src 'none'") {
					t.Errorf("%s has the policy %q", c.path, p)
				}
			})
		})
	}
}

func objective(name string, v load.Verdict, s load.State) load.Finding {
	return load.Finding{ID: name, Kind: load.KindObjective, Scenario: "shop", Objective: name, Verdict: v, State: s}
}

func TestDebugOpensTheConfiguration(t *testing.T) {
	for path, want := range map[string]string{
		"/scenarios/shop-soak":         `<details class="card" id="config">`,
		"/scenarios/shop-soak?debug=1": `<details class="card" id="config" open>`,
	} {
		w := httptest.NewRecorder()
		handler(shop(time.Now()), true).ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s has no %s", path, want)
		}
	}
}

func TestOverview(t *testing.T) {
	good := Scenario{State: "running", Valid: true, RequestRate: 10}
	failing, invalid := good, good
	failing.ErrorRatio, failing.DropRate = 0.5, 3
	invalid.Valid = false
	ready := Status{Ready: true}
	for _, c := range []struct {
		name      string
		status    Status
		scenarios []Scenario
		findings  []load.Finding
		want      overview
	}{
		{"nothing", ready, nil, nil, overview{Tone: "idle", Headline: "Nothing is due"}},
		{"one waits", ready, []Scenario{{State: "waiting", Valid: true}}, nil, overview{Tone: "idle", Headline: "Nothing is due", Scenarios: 1}},
		{"one runs", ready, []Scenario{good, {Valid: true}}, nil, overview{Tone: "good", Headline: "Load is on", Scenarios: 2, Running: 1, RequestRate: 10}},
		{"one is invalid", ready, []Scenario{good, invalid}, nil, overview{Tone: "warn", Headline: "perfd disturbs its measurement", Scenarios: 2, Running: 2, RequestRate: 20, Invalid: 1}},
		{"one fails, which is worse", ready, []Scenario{failing, invalid}, nil, overview{Tone: "bad", Headline: "Requests fail", Scenarios: 2, Running: 2, RequestRate: 20, DropRate: 3, Invalid: 1, Failing: 1}},
		{"paused", Status{Ready: true, Paused: true}, []Scenario{failing}, nil, overview{Tone: "warn", Headline: "Load is paused", Scenarios: 1, Running: 1, RequestRate: 10, DropRate: 3, Failing: 1}},
		{"not ready", Status{}, nil, nil, overview{Tone: "warn", Headline: "Not ready"}},
		{
			"an active finding is worse than requests that fail", ready,
			[]Scenario{failing},
			[]load.Finding{{Kind: load.KindDrift, State: load.Active}, {Kind: load.KindLeak, State: load.Active}, {Kind: load.KindRegression, State: load.Recovered}},
			overview{Tone: "bad", Headline: "A target leaks", Scenarios: 1, Running: 1, RequestRate: 10, DropRate: 3, Failing: 1, Active: 2},
		},
		{
			"an objective that fails is worst", ready,
			[]Scenario{good},
			[]load.Finding{{Kind: load.KindRegression, State: load.Active}, objective("a", load.Fail, load.Active), objective("b", load.Pass, "")},
			overview{Tone: "bad", Headline: "An objective fails", Scenarios: 1, Running: 1, RequestRate: 10, Objectives: 2, Broken: 1, Active: 1},
		},
		{
			"two that fail", ready,
			[]Scenario{good},
			[]load.Finding{objective("a", load.Fail, load.Active), objective("b", load.Fail, load.Active)},
			overview{Tone: "bad", Headline: "2 objectives fail", Scenarios: 1, Running: 1, RequestRate: 10, Objectives: 2, Broken: 2},
		},
		{
			"objectives that fail no more", ready,
			[]Scenario{good},
			[]load.Finding{objective("a", load.Fail, load.Recovered), objective("b", load.Pass, "")},
			overview{Tone: "good", Headline: "Load is on", Scenarios: 1, Running: 1, RequestRate: 10, Objectives: 2},
		},
	} {
		if diff := cmp.Diff(c.want, overviewOf(c.status, c.scenarios, kinds, c.findings)); diff != "" {
			t.Errorf("%s: overview differs:\n%s", c.name, diff)
		}
	}
}

func TestNumbersForPeople(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct{ got, want string }{
		{seconds(0), "–"},
		{seconds(0.0000421), "42.1 µs"},
		{seconds(0.00099960), "1 ms"},
		{seconds(0.0052345), "5.23 ms"},
		{seconds(0.009996), "10 ms"},
		{seconds(0.05234), "52.3 ms"},
		{seconds(0.09996), "100 ms"},
		{seconds(0.5234), "523 ms"},
		{seconds(0.9996), "1 s"},
		{seconds(30), "30 s"},
		{seconds(120), "120 s"},
		{rate(0), "–"},
		{rate(49.52), "49.5/s"},
		{rate(99.96), "100/s"},
		{rate(1234.5), "1,234/s"},
		{failed(0, 0), "–"},
		{failed(0, 10), "0 %"},
		{failed(0.00001, 10), "0.001 %"},
		{failed(0.025, 10), "2.5 %"},
		{failed(1, 10), "100 %"},
		{ago(time.Time{}, now), "–"},
		{ago(now.Add(-90*time.Second), now), "1m 30s ago"},
		{ago(now.Add(73*time.Second), now), "in 1m 13s"},
		{since(now.Add(-59600*time.Millisecond), now), "1m"},
		{since(now.Add(-51*time.Hour), now), "2d 3h"},
		{since(now.Add(-47*time.Hour), now), "47h"},
		{string(when(time.Time{}, now)), "–"},
		{string(when(now.Add(-time.Hour), now)), `<time datetime="2026-03-01T11:00:00Z">11:00:00</time>`},
		{string(when(now.Add(-13*time.Hour), now)), `<time datetime="2026-02-28T23:00:00Z">28 Feb 23:00</time>`},
		{string(when(now.AddDate(-1, 0, 0), now)), `<time datetime="2025-03-01T12:00:00Z">1 Mar 2025 12:00</time>`},
		{asked(Scenario{State: "waiting"}), ""},
		{asked(Scenario{State: "running", Model: "open"}), "of 0/s"},
		{asked(Scenario{State: "running", Model: "closed", PlannedVUs: 5}), "by 5 VUs"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestSpreadIsLogarithmic(t *testing.T) {
	if got := spreadOf(Latency{}); got != nil {
		t.Errorf("the spread of nothing = %v, want none", got)
	}
	for _, c := range []struct {
		latency Latency
		want    spread
	}{
		{Latency{P50: 0.01, P95: 0.1, P99: 1}, spread{From: 25, Middle: 50, To: 75, Width: 50}},
		{Latency{P50: 0.1, P95: 0.1, P99: 0.1}, spread{From: 50, Middle: 50, To: 50, Width: 1}},
		{Latency{P50: 0.00001, P95: 30, P99: 60}, spread{From: 0, Middle: 99, To: 99, Width: 99}},
	} {
		if diff := cmp.Diff(c.want, *spreadOf(c.latency)); diff != "" {
			t.Errorf("spreadOf(%v) differs:\n%s", c.latency, diff)
		}
	}
}
