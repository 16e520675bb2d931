package app

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// TestASourceIsReadWhileARunFollowsIt counts the reads of two sources: of a scenario that always runs, by
// which the time passes, and of one that is started by hand.
func TestASourceIsReadWhileARunFollowsIt(t *testing.T) {
	t.Parallel()
	number := func(text string) float64 {
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || n <= 0 {
			t.Errorf("%q: %v", text, err)
			return 1
		}
		return n
	}
	var mu sync.Mutex
	reads := map[string]int{}
	source := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		reads[strings.Split(r.URL.Path, "/")[1]]++
		var values []string
		for at, end := number(r.FormValue("start")), number(r.FormValue("end")); at <= end; at += number(r.FormValue("step")) {
			values = append(values, fmt.Sprintf(`[%f,"20"]`, at))
		}
		_, _ = fmt.Fprintf(w, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[%s]}]}}`, strings.Join(values, ","))
	}))
	defer source.Close()
	count := func(name string) int {
		mu.Lock()
		defer mu.Unlock()
		return reads[name]
	}
	r := newRig(t)
	text := fmt.Sprintf("targets: [{name: shop, url: %q}]\nscenarios:\n", r.url)
	for name, schedule := range map[string]string{"always": "{always: true}", "manual": "{manual: true}"} {
		text += fmt.Sprintf("  - {name: %s, target: shop, schedule: %s, workload: {executor: ramping-arrival-rate, max_vus: 5, replay: {prometheus: '%s/%s', query: q, step: 1s, max: 50/s}}, flow: [{name: a, http: {url: /products/1}}]}\n",
			name, schedule, source.URL, name)
	}
	r.writeText(text)
	must(t, r.Reload())
	passes := func(n int) {
		t.Helper()
		from := count("always")
		r.until("more reads of the one that runs", func() bool { return count("always") >= from+n })
	}
	passes(2)
	if n := count("manual"); n != 0 {
		t.Errorf("%d reads before a run", n)
	}
	s := r.fleet.Scenario("manual")
	must(t, s.StartRun())
	r.until("requests at the level that was read", func() bool { return r.requests("manual") > 10 })
	must(t, s.StopRun())
	r.until("the end of the run", func() bool {
		_, running := s.Run()
		return !running
	})
	passes(1) // a read that was under way is over
	was := count("manual")
	passes(2)
	if n := count("manual"); was == 0 || n > was {
		t.Errorf("%d reads during the run and %d after it, want some and none", was, n-was)
	}
}
