package e2e

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/demo"
	"github.com/perfd/perfd/test/daemon"
)

// Metrics of a scenario's own hold what the shop counted, and objectives about them reach verdicts.
func TestMetricsOfAScenariosOwn(t *testing.T) {
	if testing.Short() {
		t.Skip("verdicts take a minute")
	}
	shop := demo.New(demo.Default(), 1)
	var logins, refused, carts atomic.Int64
	g := newTarget(t, func(w http.ResponseWriter, r *http.Request) {
		code := &status{ResponseWriter: w, code: http.StatusOK}
		shop.ServeHTTP(code, r)
		switch {
		case r.URL.Path == "/auth/login" && code.code == http.StatusOK:
			logins.Add(1)
		case r.URL.Path == "/auth/login":
			refused.Add(1)
		case r.URL.Path == "/cart/items" && code.code < 300:
			carts.Add(3)
		}
	}, nil)
	d := start(t, fmt.Sprintf(`
targets: [{name: shop, url: %q}]
scenarios:
  - name: buy
    target: shop
    schedule: {manual: true, duration: 2m}
    workload: {executor: constant-arrival-rate, rate: 30/s, max_vus: 60}
    metrics:
      login_success: rate
      items: counter
      catalogue: gauge
      processing_time: trend
      answer_time: trend
      order_size: {type: trend, unit: items, help: Items of an order., buckets: [2, 4], labels: {token: [some, other]}}
    objectives:
      - {name: logins, that: login_success > 50%%}
      - {name: all logins, that: login_success > 95%%}
      - {name: processing, that: p(95) of processing_time < 2s}
      - {name: fast processing, that: p95 of processing_time < 1s}
      - {name: small orders, that: p(95) of order_size < 2}
      - {name: no large orders, that: p(95) of order_size < 4.5}
    flow:
      - set: {password: secret}
      - chance: 20%%
        steps: [{set: {password: ""}}]
      - name: login
        http: {url: /auth/login, json: {email: a@example.com, password: "${password}"}}
        expect: status in [200, 400, 401]
        extract: {token: json.token | default("")}
        add: {login_success: status == 200, answer_time: duration}
      - when: token != ""
        steps:
          - {name: cart, http: {url: /cart/items, headers: {Authorization: "Bearer ${token}"}, json: {productId: 3, quantity: 3}}, extract: {added: "3"}}
          - add: {items: added, processing_time: 1500ms, order_size: {value: added, labels: {token: "token == '' ? 'none' : 'some'"}}}
      - name: list
        http: {url: "/products?limit=7"}
        add: {catalogue: json.products | count}
`, g.URL))
	post(t, d, "/api/v1/scenarios/buy/start")
	for objective, want := range map[string]string{"all logins": "fail", "fast processing": "fail", "logins": "pass", "processing": "pass", "small orders": "fail", "no large orders": "pass"} {
		awaitVerdict(t, d, objective, want, 100*time.Second)
	}
	post(t, d, "/api/v1/scenarios/buy/stop")
	m := until(t, d, 30*time.Second, func(m daemon.Metrics) string {
		if started := m.Value("perfd_iterations_started_total"); started > m.Value("perfd_iterations_total") || m.Value("perfd_runs_total") < 1 {
			return "the run has not ended"
		}
		return ""
	})
	equal := func(name, metric string, want float64) {
		t.Helper()
		if got := m.Value(name, "scenario=buy", "metric="+metric); got != want {
			t.Errorf("%s of %s = %v, the shop counted %v", name, metric, got, want)
		}
	}
	equal("perfd_custom_events_total", "login_success", float64(logins.Load()+refused.Load()))
	equal("perfd_custom_events_missed_total", "login_success", float64(refused.Load()))
	equal("perfd_custom_total", "items", float64(carts.Load()))
	equal("perfd_custom_value", "catalogue", 7)
	h := m.Histogram("perfd_custom_duration_seconds", "metric=processing_time")
	if n := uint64(carts.Load() / 3); h.GetSampleCount() != n || h.GetSampleSum() != 1.5*float64(n) {
		t.Errorf("processing_time holds %d values with the sum %v, want %d of 1.5 s", h.GetSampleCount(), h.GetSampleSum(), n)
	}
	if len(h.GetPositiveSpan()) == 0 || len(h.GetBucket()) == 0 {
		t.Error("a trend is no native and classic histogram")
	}
	orders := m.Histogram("perfd_custom_amount", "metric=order_size", "token=some")
	if n := uint64(carts.Load() / 3); orders.GetSampleCount() != n || orders.GetSampleSum() != 3*float64(n) {
		t.Errorf("order_size holds %d values with the sum %v, want %d of 3", orders.GetSampleCount(), orders.GetSampleSum(), n)
	}
	if got := m.Value("perfd_objective_value", "objective=small orders"); got < 3 || got > 3.03 {
		t.Errorf("p95 of order_size is %v, want 3 within 0.8 %%", got)
	}
	if got := m.Value("perfd_custom_values_left_out_total", "metric=order_size"); got != 0 {
		t.Errorf("%v values are left out, want none", got)
	}
	if got := m.Value("perfd_requests_total", "scenario=buy"); got != float64(logins.Load()+refused.Load())*2+float64(carts.Load()/3) {
		t.Errorf("%v requests, want those of the shop alone: metrics are none", got)
	}
	if refused.Load() == 0 || carts.Load() == 0 {
		t.Error("no login was refused, or nothing was bought: nothing is tested")
	}
}

// A status notes the code of an answer.
type status struct {
	http.ResponseWriter
	code int
}

func (s *status) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}
