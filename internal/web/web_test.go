package web

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a daemon that remembers what it was told.
type fake struct {
	ready bool
	err   error
	told  []string
}

func (f *fake) Ready() bool { return f.ready }
func (f *fake) Status() Status {
	return Status{Version: "1.2.3", ConfigOK: f.err == nil, ConfigError: "perfd.yaml:1:1: wrong <b>", Ready: f.ready, Paused: f.err != nil, ConfigFile: "perfd.yaml"}
}

func (f *fake) Scenarios() []Scenario {
	return []Scenario{{
		Name: "soak", Test: "endurance", Target: "shop", Executor: "constant-arrival-rate", Model: "open", State: "running", RunID: "r1",
		PlannedRate: 50, AchievedRate: 49.5, ErrorRatio: 0.025, Latency: Latency{P50: 0.0123, P95: 0.25, P99: 1.5}, Invalid: []string{"pacer_gap"},
	}}
}

func (f *fake) Scenario(name string) (Detail, bool) {
	return Detail{
		Scenario: f.Scenarios()[0], Steps: []Step{{Name: "list <products>"}}, Config: `{"password": "<secret>"}`,
		Failures: []Failure{{Cause: "timeout", Text: "i/o timeout"}},
	}, name == "soak"
}

func (f *fake) note(s string) error         { f.told = append(f.told, s); return f.err }
func (f *fake) Reload() error               { return f.note("reload") }
func (f *fake) Pause(d time.Duration) error { return f.note("pause " + d.String()) }
func (f *fake) Resume() error               { return f.note("resume") }
func (f *fake) Stop(name string) error      { return f.note("stop " + name) }
func (f *fake) Start(name string) (err error) {
	if name != "soak" {
		return ErrUnknown
	}
	return f.note("start " + name)
}

func handler(f *fake, lifecycle bool) http.Handler {
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "perfd_paused 0\n") })
	return Handler(Options{Daemon: f, Metrics: metrics, Lifecycle: lifecycle, Log: slog.New(slog.DiscardHandler)})
}

func TestRoutes(t *testing.T) {
	for _, c := range []struct {
		name, method, path string
		header             [2]string
		lifecycleOff       bool
		err                error
		code               int
		body, told         string
	}{
		{name: "metrics", method: "GET", path: "/metrics", code: 200, body: "perfd_paused 0"},
		{name: "healthy", method: "GET", path: "/-/healthy", code: 200, body: "healthy"},
		{name: "healthy by HEAD", method: "HEAD", path: "/-/healthy", code: 200},
		{name: "ready", method: "GET", path: "/-/ready", code: 200, body: "is ready"},
		{name: "reload", method: "POST", path: "/-/reload", code: 200, told: "reload"},
		{name: "reload by PUT", method: "PUT", path: "/-/reload", code: 200, told: "reload"},
		{name: "reload by GET", method: "GET", path: "/-/reload", code: 405},
		{name: "a refused reload says why", method: "POST", path: "/-/reload", err: errors.New("f:1:1: bad"), code: 500, body: "f:1:1: bad", told: "reload"},
		{name: "reload without leave", method: "POST", path: "/-/reload", lifecycleOff: true, code: 403, body: "--web.enable-lifecycle"},
		{name: "pause needs no leave", method: "POST", path: "/-/pause", lifecycleOff: true, code: 200, told: "pause 0s"},
		{name: "pause for a time", method: "POST", path: "/-/pause?for=2h", code: 200, told: "pause 2h0m0s"},
		{name: "pause for nonsense", method: "POST", path: "/-/pause?for=soon", code: 400, body: "must be a duration"},
		{name: "resume needs leave", method: "POST", path: "/-/resume", lifecycleOff: true, code: 403},
		{name: "resume", method: "POST", path: "/-/resume", code: 200, told: "resume"},
		{name: "another site may not pause", method: "POST", path: "/-/pause", header: [2]string{"Sec-Fetch-Site", "cross-site"}, code: 403},
		{name: "by its origin either", method: "POST", path: "/-/pause", header: [2]string{"Origin", "https://evil.example"}, code: 403},
		{name: "its own page may", method: "POST", path: "/-/pause", header: [2]string{"Origin", "http://example.com"}, code: 200, told: "pause 0s"},
		{name: "status", method: "GET", path: "/api/v1/status", code: 200, body: `"version":"1.2.3"`},
		{name: "scenarios", method: "GET", path: "/api/v1/scenarios", code: 200, body: `"name":"soak"`},
		{name: "a scenario", method: "GET", path: "/api/v1/scenarios/soak", code: 200, body: `"cause":"timeout"`},
		{name: "no such scenario", method: "GET", path: "/api/v1/scenarios/x", code: 404, body: `"errorType":"not_found"`},
		{name: "start", method: "POST", path: "/api/v1/scenarios/soak/start", code: 200, told: "start soak"},
		{name: "stop", method: "POST", path: "/api/v1/scenarios/soak/stop", code: 200, told: "stop soak"},
		{name: "start of nothing", method: "POST", path: "/api/v1/scenarios/x/start", code: 404, body: "no such scenario"},
		{name: "a start that cannot be", method: "POST", path: "/api/v1/scenarios/soak/start", err: errors.New("under way"), code: 409, body: "under way", told: "start soak"},
		{name: "no such endpoint", method: "GET", path: "/api/v1/nothing", code: 404, body: `"status":"error"`},
		{name: "no such page", method: "GET", path: "/nothing", code: 404},
		{name: "a page of no scenario", method: "GET", path: "/scenarios/x", code: 404},
		{name: "style", method: "GET", path: "/assets/style.css", code: 200, body: "--bg"},
		{name: "profiles", method: "GET", path: "/debug/pprof/", code: 200, body: "goroutine"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &fake{ready: true, err: c.err}
			r := httptest.NewRequest(c.method, c.path, nil)
			if c.header[0] != "" {
				r.Header.Set(c.header[0], c.header[1])
			}
			w := httptest.NewRecorder()
			handler(f, !c.lifecycleOff).ServeHTTP(w, r)
			if w.Code != c.code || !strings.Contains(w.Body.String(), c.body) {
				t.Errorf("%s %s = %d %s, want %d with %q", c.method, c.path, w.Code, w.Body, c.code, c.body)
			}
			if got := strings.Join(f.told, ","); got != c.told {
				t.Errorf("the daemon was told %q, want %q", got, c.told)
			}
			if strings.HasPrefix(c.path, "/api/") && !json.Valid(w.Body.Bytes()) {
				t.Errorf("%s is not JSON: %s", c.path, w.Body)
			}
		})
	}
}

func TestNotReady(t *testing.T) {
	w := httptest.NewRecorder()
	handler(&fake{}, true).ServeHTTP(w, httptest.NewRequest("GET", "/-/ready", nil))
	if w.Code != 503 {
		t.Errorf("/-/ready = %d while not ready, want 503", w.Code)
	}
}

func TestPages(t *testing.T) {
	for _, c := range []struct {
		path         string
		want, unwant []string
	}{
		{"/", []string{"soak", "50.0/s", "49.5/s", "2.50 %", "12.3 ms", "250 ms", "1.50 s", "invalid: pacer_gap", "All load is paused", "wrong &lt;b&gt;"}, []string{"<b>"}},
		{"/scenarios/soak", []string{"list &lt;products&gt;", "i/o timeout", "invalid: pacer_gap"}, []string{"password"}},
		{"/scenarios/soak?debug=1", []string{"password", "&lt;secret&gt;"}, nil},
	} {
		w := httptest.NewRecorder()
		handler(&fake{ready: true, err: errors.New("x")}, true).ServeHTTP(w, httptest.NewRequest("GET", c.path, nil))
		for _, text := range c.want {
			if !strings.Contains(w.Body.String(), text) {
				t.Errorf("%s does not show %q", c.path, text)
			}
		}
		for _, text := range c.unwant {
			if strings.Contains(w.Body.String(), text) {
				t.Errorf("%s shows %q", c.path, text)
			}
		}
		if p := w.Header().Get("Content-Security-Policy"); !strings.Contains(p, "default-src 'none'") {
			t.Errorf("%s has the policy %q", c.path, p)
		}
	}
}

func TestServerAsksForAPassword(t *testing.T) {
	file := filepath.Join(t.TempDir(), "web.yaml")
	// The bcrypt hash of "secret" at its lowest cost.
	const hash = "$2a$04$4ewQKJDGtzPRFq9rtVDR8.RDYOXwCuaK6ykB4ywcb7zcVcMTfqpCy"
	if err := os.WriteFile(file, []byte("basic_auth_users: {me: "+hash+"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	s, err := Listen([]string{"127.0.0.1:0"}, file, handler(&fake{ready: true}, true), log)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer http.DefaultClient.CloseIdleConnections()
	url := "http://" + s.Addrs()[0].String() + "/-/healthy"
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a password: %d, want %d", resp.StatusCode, http.StatusUnauthorized)
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if _, err := Listen([]string{"127.0.0.1:0"}, file+".missing", nil, log); err == nil {
		t.Error("a web configuration that is missing is accepted")
	}
	if _, err := Listen([]string{"127.0.0.1:0", "nonsense"}, "", nil, log); err == nil || !strings.Contains(err.Error(), "--web.listen-address") {
		t.Errorf("a wrong address: %v, want an error that names the flag", err)
	}
}
