package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"
)

// killSwitch is the name of the file that stops all load.
const killSwitch = "STOP"

// config is the configuration: every scenario 0.2 iterations a second, whose steps have
// names and addresses of their own. The first scenarios are changed.
func (b *bench) config(changed int) string {
	var c strings.Builder
	fmt.Fprintf(&c, "safety: {max_request_rate: 1000000/s, kill_switch_file: %s}\ntargets:\n  - {name: sink, url: %q}\nscenarios:\n", killSwitch, b.url)
	for i := range b.scenarios {
		suffix := ""
		if i < changed {
			suffix = fmt.Sprintf("?changed=%d", changed)
		}
		fmt.Fprintf(&c, `  - name: scenario-%03d
    test: load
    target: sink
    schedule: {always: true}
    workload: {executor: constant-arrival-rate, rate: 0.2/s, max_vus: 5}
    objectives: [{name: p95, that: p(95) < 800ms, window: 5m}]
    flow:
`, i)
		for j := range b.steps {
			fmt.Fprintf(&c, "      - name: step-%02d\n        http: {url: \"/%d/%d%s\"}\n        expect: status == 200\n", j, i, j, suffix)
		}
	}
	return c.String()
}

// serve starts the target, which answers after a time that is log-normal around 5 ms,
// every other request of an address with a failure.
func serve() *httptest.Server {
	var mu sync.Mutex
	seen := map[string]bool{}
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		fail := seen[r.URL.Path]
		seen[r.URL.Path] = !fail
		mu.Unlock()
		time.Sleep(time.Duration(5e6 * math.Exp(rand.NormFloat64())))
		if fail {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
}
