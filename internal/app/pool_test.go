package app

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// TestAScenarioHasConnectionsOfItsOwnKind counts which connections of a server the requests of
// two scenarios on one target come over.
func TestAScenarioHasConnectionsOfItsOwnKind(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	seen := map[string]map[string]int{"shared": {}, "own": {}, "short": {}}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		scenario, _, _ := strings.Cut(r.Header.Get("X-Perfd"), "/")
		mu.Lock()
		defer mu.Unlock()
		seen[scenario][r.RemoteAddr]++
	}))
	defer server.Close()
	r := newRig(t)
	r.writeText(fmt.Sprintf(`
targets:
  - {name: shop, url: "%s", http: {connections: {pool: 3}}}
  - {name: other, url: "%s"}
scenarios:
  - {name: shared, target: shop, workload: {executor: constant-vus, vus: 12}, flow: [{name: a, http: {url: /}}]}
  - {name: own, target: other, workload: {executor: constant-vus, vus: 5}, flow: [{name: a, http: {url: /}}, {think: 5ms}]}
  - name: short
    target: other
    http: {connections: {pool: 1, max_requests: 4}}
    workload: {executor: constant-vus, vus: 2}
    flow: [{name: a, http: {url: /}}, {think: 5ms}]
`, server.URL, server.URL))
	must(t, r.Reload())
	count := func(scenario string) (connections, requests, most int) {
		mu.Lock()
		defer mu.Unlock()
		for _, n := range seen[scenario] {
			requests += n
			most = max(most, n)
		}
		return len(seen[scenario]), requests, most
	}
	for _, scenario := range []string{"shared", "own", "short"} {
		r.until("requests of "+scenario, func() bool { _, n, _ := count(scenario); return n >= 200 })
	}
	r.until("time that is blocked", func() bool {
		return r.value("perfd_request_phase_seconds_total", "scenario", "shared", "phase", "blocked") > 0
	})
	if blocked := r.value("perfd_request_phase_seconds_total", "scenario", "own", "phase", "blocked"); blocked > 0 {
		t.Errorf("virtual users with connections of their own were blocked for %v s", blocked)
	}
	if n, _, _ := count("shared"); n != 3 {
		t.Errorf("%d connections are shared, want 3", n)
	}
	if n, _, _ := count("own"); n != 5 {
		t.Errorf("5 virtual users have %d connections, want 5", n)
	}
	if n, requests, most := count("short"); most != 4 || n < requests/4 {
		t.Errorf("%d requests over %d connections, of which one took %d, want 4", requests, n, most)
	}
}
