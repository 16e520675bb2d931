package app

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A bank gives tokens that are good for a time, and serves who has one.
type bank struct {
	lifetime time.Duration
	prefix   string // of tokens

	down      atomic.Bool
	fetches   atomic.Int64
	welcome   atomic.Int64 // requests with a token that is good
	strangers atomic.Int64 // and without

	mu   sync.Mutex
	good map[string]time.Time // until when
}

func (b *bank) token(w http.ResponseWriter, _ *http.Request) {
	n := b.fetches.Add(1)
	if b.down.Load() {
		http.Error(w, "out of order", http.StatusServiceUnavailable)
		return
	}
	token := fmt.Sprintf("%s-%08d", b.prefix, n)
	b.mu.Lock()
	b.good[token] = time.Now().Add(b.lifetime)
	b.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"access_token": token, "token_type": "bearer", "expires_in": int(b.lifetime.Seconds())})
}

func (b *bank) serve(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	until := b.good[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	b.mu.Unlock()
	if !time.Now().Before(until) {
		b.strangers.Add(1)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	b.welcome.Add(1)
	if r.URL.Path == "/fail" {
		w.WriteHeader(http.StatusTeapot)
	}
	fmt.Fprintf(w, "you came with %s", r.Header.Get("Authorization"))
}

// open serves a bank: its tokens at one address, what they are for at another.
func (b *bank) open(t *testing.T) (tokens, target string) {
	b.good = map[string]time.Time{}
	if b.prefix == "" {
		b.prefix = "token"
	}
	of, at := httptest.NewServer(http.HandlerFunc(b.token)), httptest.NewServer(http.HandlerFunc(b.serve))
	t.Cleanup(of.Close)
	t.Cleanup(at.Close)
	return of.URL, at.URL
}

const bankConfig = `
credentials:
  bank: {oauth2: {token_url: "%s", client_id: perfd, client_secret: of-the-client}}
targets:
  - {name: shop, url: "%s"}
  - {name: bank, url: "%s", credentials: bank}
scenarios:
  - name: open
    target: bank
    workload: {executor: constant-arrival-rate, rate: 200/s, max_vus: 100}
    flow: [{name: get, http: {url: /}}]
  - name: closed
    target: bank
    workload: {executor: constant-vus, vus: 2}
    flow: [{name: get, http: {url: /}}, {think: 20ms}]
  - name: plain
    target: shop
    workload: {executor: constant-vus, vus: 1}
    flow: [{name: show, http: {url: /products/1}}, {think: 20ms}]
`

// A token that expires every two seconds is renewed five times and more, and no request sees it.
func TestATokenThatExpiresCostsNothing(t *testing.T) {
	b := &bank{lifetime: 2 * time.Second}
	tokens, target := b.open(t)
	r := newRig(t)
	r.writeText(fmt.Sprintf(bankConfig, tokens, r.url, target))
	must(t, r.Reload())
	lasts := 10 * time.Second
	if testing.Short() {
		lasts = 4 * time.Second
	}
	time.Sleep(lasts)
	failed := r.value("perfd_request_failures_total", "scenario", "open") + r.value("perfd_request_failures_total", "scenario", "closed")
	dropped := r.value("perfd_iterations_dropped_total", "scenario", "open", "reason", "credential")
	if failed != 0 || dropped != 0 || b.strangers.Load() != 0 {
		t.Errorf("%v requests failed, %v arrivals were dropped, the target saw %d strangers", failed, dropped, b.strangers.Load())
	}
	// Renewed after 65 to 75 % of two seconds each.
	if n, least, most := float64(b.fetches.Load()), lasts.Seconds()/1.5-1, lasts.Seconds()/1.3+2; n < least || n > most {
		t.Errorf("%v fetches in %s, want %.0f to %.0f", n, lasts, least, most)
	}
	if want := 0.7 * 200 * lasts.Seconds(); float64(b.welcome.Load()) < want {
		t.Errorf("the target saw %d requests, want more than %.0f", b.welcome.Load(), want)
	}
	if r.value("perfd_credential_up", "credential", "bank") != 1 || r.value("perfd_credential_expiry_timestamp_seconds", "credential", "bank") < float64(time.Now().Unix()) {
		t.Error("the metrics do not say that the credential is up and when it expires")
	}
}

// Without a token no request is sent, scenarios say why, the endpoint is not stormed, and load begins when it is back.
func TestAnEndpointThatGivesNoTokens(t *testing.T) {
	t.Parallel()
	b := &bank{lifetime: time.Minute}
	b.down.Store(true)
	tokens, target := b.open(t)
	r := newRig(t, func(o *Options) { o.Listen = []string{"127.0.0.1:0"} })
	r.writeText(fmt.Sprintf(bankConfig, tokens, r.url, target) + `
  - name: prepared
    target: shop
    workload: {executor: constant-vus, vus: 1}
    setup: [{name: prepare, target: bank, http: {url: /}}]
    flow: [{name: show, http: {url: /products/1}}, {think: 20ms}]
`)
	must(t, r.Reload())
	r.until("both scenarios say that they have no credential", func() bool {
		return r.value("perfd_iterations_dropped_total", "scenario", "open", "reason", "credential") > 100 &&
			r.value("perfd_measurement_invalid_seconds_total", "scenario", "open", "reason", "credential") > 0 &&
			r.value("perfd_measurement_invalid_seconds_total", "scenario", "closed", "reason", "credential") > 0
	})
	if n := b.welcome.Load() + b.strangers.Load(); n > 0 {
		t.Errorf("the target saw %d requests", n)
	}
	if n := b.fetches.Load(); n > 5 {
		t.Errorf("the endpoint saw %d requests in seconds", n)
	}
	if r.requests("plain") == 0 {
		t.Error("a scenario that needs no credential makes no requests")
	}
	if r.value("perfd_credential_up", "credential", "bank") != 0 || r.value("perfd_credential_fetch_failures_total", "credential", "bank", "reason", "status") == 0 {
		t.Error("the metrics do not say that the credential is down")
	}
	if n := r.value("perfd_request_failures_total", "scenario", "open"); n > 0 {
		t.Errorf("%v requests count as failures of the target", n)
	}
	get := func(path string) string {
		resp, err := http.Get("http://" + r.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return string(body)
	}
	defer http.DefaultClient.CloseIdleConnections()
	for _, path := range []string{"/", "/scenarios/open", "/scenarios/closed"} {
		if page := get(path); !strings.Contains(page, "no credential bank") {
			t.Errorf("%s does not say that there is no credential", path)
		}
	}
	if page := get("/scenarios/open"); !strings.Contains(page, "none, no iteration starts: <bdi>status 503</bdi>") {
		t.Error("the scenario's page does not say why")
	}
	if api := get("/api/v1/scenarios/open"); !strings.Contains(strings.Join(strings.Fields(api), ""), `"credentials":[{"name":"bank","up":false,"fault":"status503"}]`) {
		t.Errorf("the API does not say why: %.600s", api)
	}
	if n := r.value("perfd_unmeasured_requests_total", "scenario", "prepared") + r.requests("prepared"); n > 0 {
		t.Errorf("%v requests are made before setup has its credential", n)
	}
	b.down.Store(false)
	r.until("load begins", func() bool {
		return r.requests("open") > 100 && r.requests("closed") > 10 && r.requests("prepared") > 10
	})
	if b.strangers.Load() > 0 {
		t.Errorf("the target saw %d strangers", b.strangers.Load())
	}
}

// The demo's shop gives a token at its login: all virtual users share it, and a step may go without.
func TestALoginOfTheShopIsShared(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var mu sync.Mutex
	tokens := map[string]int{} // by path and token: requests
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		mu.Lock()
		tokens[q.URL.Path+" "+q.Header.Get("Authorization")]++
		mu.Unlock()
		r.shop.ServeHTTP(w, q)
	}))
	defer front.Close()
	r.writeText(fmt.Sprintf(`
credentials:
  user: {login: {url: "%[1]s/auth/login", json: {email: a@example.com, password: secret}, token: json.token}}
targets: [{name: shop, url: "%[2]s", credentials: user}]
scenarios:
  - name: buy
    target: shop
    workload: {executor: constant-vus, vus: 5}
    flow:
      - {name: add, http: {url: /cart/items, json: {productId: 7, quantity: 1}}, expect: status == 201}
      - {name: stranger, http: {url: /products/1, credentials: none}}
      - {think: 20ms}
`, r.url, front.URL))
	must(t, r.Reload())
	r.until("there is load", func() bool { return r.requests("buy") > 50 })
	if n := r.value("perfd_request_failures_total", "scenario", "buy"); n > 0 {
		t.Errorf("%v of %v requests failed", n, r.requests("buy"))
	}
	if n := r.value("perfd_credential_fetches_total", "credential", "user"); n != 1 {
		t.Errorf("there were %v logins", n)
	}
	mu.Lock()
	defer mu.Unlock()
	for seen := range tokens {
		if token, ok := strings.CutPrefix(seen, "/cart/items Bearer "); ok && token == "" || !ok && seen != "/products/1 " {
			t.Errorf("requests came as %q", seen)
		}
	}
	if len(tokens) != 2 {
		t.Errorf("virtual users came as %v", tokens)
	}
}

// A reload that leaves a credential as it was leaves its token, and one that changes it replaces it.
func TestAReloadKeepsACredential(t *testing.T) {
	t.Parallel()
	b := &bank{lifetime: time.Minute}
	tokens, target := b.open(t)
	r := newRig(t)
	text := fmt.Sprintf(bankConfig, tokens, r.url, target)
	r.writeText(text)
	must(t, r.Reload())
	r.until("there is load", func() bool { return r.requests("open") > 50 })
	r.writeText(text + "  - {name: more, target: bank, workload: {executor: constant-vus, vus: 1}, flow: [{name: get, http: {url: /}}, {think: 20ms}]}\n")
	must(t, r.Reload())
	r.until("the new scenario has load", func() bool { return r.requests("more") > 10 })
	if n := b.fetches.Load(); n != 1 {
		t.Errorf("%d tokens were fetched for one credential", n)
	}
	r.writeText(strings.Replace(text, "of-the-client", "of-another", 1))
	must(t, r.Reload())
	r.until("another token is fetched", func() bool { return b.fetches.Load() == 2 })
	r.until("there is load again", func() bool { return r.requests("closed") > 10 })
	if b.strangers.Load() > 0 || r.value("perfd_request_failures_total", "scenario", "open") > 0 {
		t.Errorf("the target saw %d strangers", b.strangers.Load())
	}
}

// A target that says what it was sent, an endpoint that says what it was asked, and a token that changes every second:
// nothing that people see shows any of it.
func TestNoTokenLeavesTheProcess(t *testing.T) {
	t.Parallel()
	const marker = "MARKER"
	b := &bank{lifetime: 2 * time.Second, prefix: "MARKER-token"}
	tokens, target := b.open(t)
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": "invalid_request", "error_description": fmt.Sprint(q.Header.Get("Authorization"), " ", string(body), " ", q.URL)})
	}))
	t.Cleanup(echo.Close)
	log := &heardBytes{}
	r := newRig(t, func(o *Options) {
		o.Listen = []string{"127.0.0.1:0"}
		o.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	text := fmt.Sprintf(bankConfig, tokens, r.url, target)
	text = strings.Replace(text, "targets:\n", fmt.Sprintf(`  asked: {oauth2: {token_url: "%[1]s/t", grant: password, client_id: perfd, client_secret: MARKER-client, username: u, password: MARKER-password, params: {audience: MARKER-parameter}}}
  body: {oauth2: {token_url: "%[1]s/t", client_id: perfd, client_secret: MARKER-client-2, client_auth: body}}
  refresh: {oauth2: {token_url: "%[1]s/t", grant: refresh_token, refresh_token: MARKER-refresh}}
  session: {login: {url: "%[1]s/l?token=MARKER-query", json: {password: MARKER-json}, headers: {X-Any: MARKER-header}, token: json.token, expect: json.error == "MARKER-json is not there"}}
  key: {api_key: {query: k, value: MARKER-api-key}}
  person: {basic: {username: me, password: MARKER-basic}}
targets:
`, echo.URL), 1)
	text += `  - name: failing
    target: bank
    workload: {executor: constant-vus, vus: 1}
    flow:
      - {name: said, http: {url: /fail}, extract: {x: "json.x"}}
  - name: keyed
    target: bank
    workload: {executor: constant-vus, vus: 1}
    flow:
      - {name: queried, http: {url: /fail, credentials: key, redirects: 1}, extract: {x: "json.x"}}
      - {name: personal, http: {url: /fail, credentials: person}, extract: {x: "json.x"}}
`
	for _, name := range []string{"asked", "body", "refresh", "session"} {
		text += fmt.Sprintf("  - {name: %[1]s, target: bank, workload: {executor: constant-vus, vus: 1}, flow: [{name: get, http: {url: /, credentials: %[1]s}}]}\n", name)
	}
	r.writeText(text)
	must(t, r.Reload())
	answers := map[string]string{}
	get := func(path string) string {
		resp, err := http.Get("http://" + r.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		answers[path] += string(body)
		return string(body)
	}
	defer http.DefaultClient.CloseIdleConnections()
	r.until("each endpoint was asked, tokens have changed and requests have failed", func() bool {
		shown := get("/api/v1/failures?limit=1000")
		return b.fetches.Load() > 3 && strings.Contains(shown, "said") && strings.Count(log.String(), "a credential was not fetched") >= 4
	})
	for _, name := range []string{"open", "failing", "keyed", "asked", "body", "refresh", "session"} {
		get("/scenarios/" + name)
		if api := get("/api/v1/scenarios/" + name); strings.Contains("asked body refresh session", name) && !strings.Contains(api, "status 400") {
			t.Errorf("nobody says why %s has no token: %s", name, api)
		}
	}
	for _, path := range []string{"/", "/api/v1/scenarios", "/api/v1/status", "/metrics"} {
		get(path)
	}
	answers["the log"] = log.String()
	for where, text := range answers {
		if i := strings.Index(text, marker); i >= 0 {
			t.Errorf("%s shows a secret: …%s…", where, text[max(0, i-200):min(len(text), i+60)])
		}
	}
}
