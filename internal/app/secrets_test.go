package app

import (
	"bytes"
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
)

// heardBytes keeps what was written or sent to it.
type heardBytes struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (h *heardBytes) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.b.Write(p)
}

func (h *heardBytes) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.b.String()
}

// A marker stands in every key that holds a secret. Nothing that leaves the process but the requests that need it shows it:
// no log line, page, answer of the API, metric, span, sample or name of a file.
func TestNoSecretLeavesTheProcess(t *testing.T) {
	t.Parallel()
	const marker = "MARKER"
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch r.URL.Path {
		case "/location":
			w.Header().Set("Location", "http://user:MARKER-location@127.0.0.1:1/?token=MARKER-environment")
			w.WriteHeader(http.StatusFound)
			return
		case "/echo":
			w.WriteHeader(http.StatusInternalServerError)
		}
		fmt.Fprintf(w, "%s %s", r.Header.Get("Authorization"), body)
	}))
	defer target.Close()
	// A receiver that says what it was given: it refuses everything.
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, fmt.Sprint("not this: ", r.Header, r.URL), http.StatusUnauthorized)
	}))
	defer refusing.Close()
	spans := &heardBytes{}
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(spans, r.Body)
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	defer collector.Close()
	samples := &heardBytes{}
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(samples, r.Body) }))
	defer receiver.Close()

	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("MARKER-of-a-file+~x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "perfd.yaml")
	text := fmt.Sprintf(`
vars: {tok: "${env:TEST_TOKEN}", filed: "${file:secret}", short: "${env:TEST_SHORT}"}
targets:
  - name: t
    url: %q
    http: {headers: {Authorization: "Bearer ${tok}", X-Api-Key: "MARKER-literal"}}
    release: {url: "/version?token=${tok}", json: nothing, every: 1s}
    resources: [{name: heap, kind: memory, scrape: "/heap?token=${tok}", metric: heap, every: 1s}]
  - {name: gone, url: "http://127.0.0.1:1"}
remote_write:
  - {url: "%s/w?token=${env:TEST_TOKEN}", name: secret, identity: {job: perfd, instance: i}}
  - {url: "%s/w?token=MARKER-query", name: plain, identity: {job: perfd, instance: i}, headers: {X-Scope-OrgID: "MARKER-tenant"}, basic_auth: {username: me, password: MARKER-password}}
  - {url: "http://127.0.0.1:1/w/${env:TEST_TOKEN}", name: gone, identity: {job: perfd, instance: i}, bearer_token: MARKER-bearer}
  - {url: "%s/ok", name: ok, identity: {job: perfd, instance: i}}
remote_write_queue: {interval: 1s}
tracing: {endpoint: "%s/${env:TEST_TOKEN}", protocol: http/protobuf, sampling_ratio: 1, delay: 200ms, headers: {Anything: "MARKER-header"}}
scenarios:
  - name: s
    target: t
    workload: {executor: constant-arrival-rate, rate: 20/s, max_vus: 20}
    objectives: [{name: errors, that: error_ratio < 1%%}]
    flow:
      - {name: expectation, http: {url: "/?q=${filed}"}, expect: 'body contains "${tok} is not there"'}
      - {name: query, http: {url: "/echo?token=${tok}", method: POST, json: {password: "MARKER-body", note: "${filed}", short: "${short}"}}}
      - {name: location, http: {url: "/location?a=${tok}"}, target: t}
      - {name: refused, target: gone, http: {url: "/${tok}?b=${filed}", headers: {X-Token: "${tok}"}}}
      - {name: extracted, http: {url: "/", method: POST, body: "${tok}"}, extract: {x: json.x}}
`, target.URL, refusing.URL, refusing.URL, receiver.URL, collector.URL)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	log := &heardBytes{}
	storage := filepath.Join(dir, "data")
	a, err := New(Options{
		ConfigFile: file, StoragePath: storage, Listen: []string{"127.0.0.1:0"}, Lifecycle: true, Shards: 1, Grace: 10 * time.Second,
		Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		if strings.Contains(err.Error(), marker) {
			t.Errorf("the configuration's error shows a secret: %v", err)
		}
		t.Fatal(strings.ReplaceAll(err.Error(), marker, "…"))
	}
	a.Start()
	answers := map[string]string{}
	get := func(path string) string {
		resp, err := http.Get("http://" + a.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		answers[path] = string(body)
		return string(body)
	}
	for end := time.Now().Add(45 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		shown := get("/api/v1/failures?limit=1000")
		if strings.Contains(shown, "expectation") && strings.Contains(shown, `"refused"`) && strings.Contains(shown, "query") &&
			strings.Contains(spans.String(), "refused") && strings.Contains(log.String(), "remote write") && samples.String() != "" {
			break
		}
	}
	for _, path := range []string{"/", "/scenarios/s", "/scenarios/s?debug", "/api/v1/scenarios", "/api/v1/scenarios/s", "/api/v1/findings", "/api/v1/status", "/metrics"} {
		get(path)
	}
	// A reload that is refused, and one whose old secrets may still be under way.
	for _, change := range []string{"scenarios: [{name: \"${env:TEST_TOKEN}\"}]\n", strings.ReplaceAll(text, "MARKER-body", "MARKER-changed")} {
		if err := os.WriteFile(file, []byte(change), 0o600); err != nil {
			t.Fatal(err)
		}
		resp, err := http.Post("http://"+a.Addr().String()+"/-/reload", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		answers["a reload"] += string(body)
		get("/api/v1/status")
	}
	http.DefaultClient.CloseIdleConnections()
	if err := a.Stop(); err != nil {
		t.Error(err)
	}
	answers["the log"] = log.String()
	answers["the spans"] = spans.String()
	answers["the samples"] = samples.String()
	for where, text := range answers {
		if text == "" {
			t.Errorf("%s is empty", where)
		}
		if i := strings.Index(text, marker); i >= 0 {
			t.Errorf("%s shows a secret: …%s…", where, text[max(0, i-200):min(len(text), i+60)])
		}
	}
	for _, step := range []string{"expectation", "query", "refused"} {
		if !strings.Contains(answers["the log"], "step="+step) || !strings.Contains(answers["the spans"], step) {
			t.Errorf("nothing is known of the step %s", step)
		}
	}
	err = filepath.WalkDir(storage, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		kept, err := os.ReadFile(path)
		if strings.Contains(path, marker) || bytes.Contains(kept, []byte(marker)) {
			t.Errorf("%s holds a secret", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
