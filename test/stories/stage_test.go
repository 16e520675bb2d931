package stories

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/demo"
	"github.com/perfd/perfd/test/daemon"
)

// mainConfig is the configuration of the daemon with all scenarios but one. Objectives are far
// from what shops without a fault reach on a busy machine, but for slow's, which a release half
// as fast breaks.
const mainConfig = `
safety: {max_request_rate: 100/s}
targets:
  - {name: shop-slow, url: "$slow", release: {url: /version, json: release, every: 2s, settle: 30s}}
  - name: shop-leak
    url: "$leak"
    resources:
      - {name: heap, kind: memory, scrape: /heap, metric: shop_heap_bytes, every: 1s, limit: 2GiB}
      - {name: roomy, kind: memory, scrape: /heap, metric: shop_heap_bytes, every: 1s, limit: 64GiB}
  - name: shop-healthy
    url: "$healthy"
    resources: [{name: heap, kind: memory, scrape: /heap, metric: shop_heap_bytes, every: 1s, limit: 2GiB}]
  - {name: shop-hang, url: "$hang"}
  - {name: shop-stress, url: "$stress"}
scenarios:
  - name: slow
    target: shop-slow
    workload: {executor: constant-arrival-rate, arrivals: poisson, rate: 10/s, pre_allocated_vus: 40, max_vus: 40, warm_up: 10s}
    validity: {max_lateness: 100ms} # as all others, so that what the machine does is counted alike
    objectives: [{name: p95, that: p(95) < 380ms}]
    flow:
      - {name: list products, http: {url: "/products?limit=5"}, timeout: 2s}
      - {name: show product, http: {url: /products/7}, timeout: 2s}
  - name: leak
    test: endurance
    target: shop-leak
    workload: {executor: constant-arrival-rate, arrivals: poisson, rate: 12/s, pre_allocated_vus: 30, max_vus: 30, warm_up: 10s}
    objectives: [{name: p95, that: p(95) < 1s}, {name: errors, that: error_ratio < 1%}]
    flow: [{name: show product, http: {url: /products/7}, timeout: 2s}]
  - name: healthy
    test: endurance
    target: shop-healthy
    workload: {executor: constant-arrival-rate, arrivals: poisson, rate: 12/s, pre_allocated_vus: 30, max_vus: 30, warm_up: 10s}
    objectives: [{name: p95, that: p(95) < 1s}, {name: errors, that: error_ratio < 1%}]
    flow: [{name: show product, http: {url: /products/7}, timeout: 2s}]
  - name: hang
    test: endurance
    target: shop-hang
    workload: {executor: constant-arrival-rate, arrivals: poisson, rate: 10/s, pre_allocated_vus: 40, max_vus: 40, warm_up: 10s}
    objectives: [{name: p95, that: p(95) < 1s}, {name: errors, that: error_ratio < 1%, severity: critical}]
    flow: [{name: show product, http: {url: /products/7}, timeout: 2s}]
  - name: soak
    test: endurance
    target: shop-stress
    workload: {executor: constant-arrival-rate, arrivals: poisson, rate: 5/s, pre_allocated_vus: 20, max_vus: 20, warm_up: 10s}
    objectives: [{name: p95, that: p(95) < 1s}, {name: errors, that: error_ratio < 1%}]
    flow: [{name: show product, http: {url: /products/7}, timeout: 2s}]
  - name: stress
    test: stress
    target: shop-stress
    schedule: {every: 1d, anchor: "$anchor", duration: 3m}
    workload: {executor: constant-arrival-rate, arrivals: poisson, rate: 20/s, pre_allocated_vus: 60, max_vus: 60}
    objectives: [{name: errors, that: error_ratio < 5%}]
    flow: [{name: show product, http: {url: /products/7}, timeout: 2s}]
`

// starvedConfig is the configuration of the daemon that is stopped. Requests that are sent late, or
// wait for an answer while it is stopped, would break these objectives if they counted.
const starvedConfig = `
targets: [{name: shop-starved, url: "$starved"}]
scenarios:
  - name: starved
    target: shop-starved
    workload: {executor: constant-arrival-rate, arrivals: poisson, rate: 20/s, pre_allocated_vus: 40, max_vus: 40, warm_up: 10s}
    objectives: [{name: p95, that: p(95) < 400ms}, {name: errors, that: error_ratio < 1%}]
    flow: [{name: show product, http: {url: /products/7}, timeout: 2s}]
`

// open starts targets, daemons, servers and the inbox.
func open(t *testing.T) *stage {
	binary, err := daemon.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	before := prioritize(t)
	quick, even := demo.Latency{Median: demo.Duration(100 * time.Millisecond), Sigma: 0.3}, demo.Latency{Median: demo.Duration(200 * time.Millisecond), Sigma: 0.2}
	s := &stage{t: t, shops: map[string]*shop{
		"slow":    newShop(t, 1, even, as),
		"leak":    newShop(t, 2, quick, withHeap(leakEach)),
		"healthy": newShop(t, 3, quick, withHeap(0)),
		"hang":    newShop(t, 4, quick, as),
		"stress":  newShop(t, 5, quick, withCapacity),
		"starved": newShop(t, 6, quick, as),
	}}
	var hook string
	s.inbox, hook = newInbox(t)
	managers := map[string]string{}
	for _, p := range []string{current, old} {
		managers[p] = alertmanager(t, hook+"/"+p)
	}
	s.began = time.Now()
	words := []string{"$anchor", s.stressBegins().UTC().Format("2006-01-02 15:04")}
	for name, x := range s.shops {
		words = append(words, "$"+name, x.URL)
	}
	replace := strings.NewReplacer(words...)
	s.main, s.starved = run(t, binary, replace.Replace(mainConfig), before), run(t, binary, replace.Replace(starvedConfig), before)
	daemons := map[string]*daemon.Daemon{"perfd": s.main, "perfd-starved": s.starved}
	prometheus(t, pinned(t), binary, managers[current], 1, ", scrape_native_histograms: true", daemons)
	prometheus(t, program(t, "prometheus"), binary, managers[old], fourfold, "", daemons)
	for p, address := range managers {
		go s.inbox.watch(t.Context(), p, "http://"+address)
	}
	return s
}

func pinned(t *testing.T) string {
	t.Helper()
	return program(t, "../../.tools/bin/prometheus")
}

// scrape reads a daemon's metrics; a daemon that is gone fails the test.
func (s *stage) scrape(d *daemon.Daemon) daemon.Metrics {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.t.Context()), 20*time.Second)
	defer cancel()
	m, err := d.Scrape(ctx)
	if err != nil {
		s.t.Errorf("scrape perfd: %v", err)
	}
	return m
}
