package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

// series reads the values of an expression over time, a second apart.
func (p *prometheus) series(ctx context.Context, expr string, from, to time.Time) (map[int64]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet,
		fmt.Sprintf("%s/api/v1/query_range?query=%s&start=%d&end=%d&step=1", p.URL, expr, from.Unix(), to.Unix()), http.NoBody)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	var answer struct {
		Data struct {
			Result []struct{ Values [][2]any }
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || len(answer.Data.Result) != 1 {
		return nil, fmt.Errorf("query %s: want one series, got %v, %w", expr, answer.Data.Result, err)
	}
	values := map[int64]float64{}
	for _, pair := range answer.Data.Result[0].Values {
		at, _ := pair[0].(float64)
		text, _ := pair[1].(string)
		if values[int64(at)], err = strconv.ParseFloat(text, 64); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// What a real Prometheus scrapes is followed, a few seconds later and doubled. When it is gone, load goes on.
func TestReplayFollowsAPrometheus(t *testing.T) {
	traffic := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "traffic %f\n", 60+40*math.Sin(2*math.Pi*float64(time.Now().UnixMilli()%12_000)/12_000))
	}))
	defer traffic.Close()
	const offset = 8 * time.Second
	p := startPrometheus(t, pinned(t, "prometheus"), strings.TrimPrefix(traffic.URL, "http://"))
	ctx := within(t, 2*time.Minute)
	p.until(t, fmt.Sprintf("count_over_time(traffic[1m]) > bool %d", int(2*offset.Seconds())), 1)
	g := newTarget(t, nil, nil)
	d := start(t, fmt.Sprintf(`
targets: [{name: shop, url: %q}]
scenarios:
  - name: browse
    target: shop
    workload:
      executor: ramping-arrival-rate
      max_vus: 50
      replay: {prometheus: %q, query: traffic, step: 1s, offset: %s, factor: 2, max: 1000/s}
    flow: [{name: home, http: {url: /home}}]
`, g.URL, p.URL, offset))
	until(t, d, time.Minute, atLeast(10, "perfd_requests_total"))

	// Instead of a minute, six seconds: 300 to 1,000 arrivals each.
	const window = 6 * time.Second
	begin := time.Now().Truncate(time.Second).Add(2 * time.Second)
	const windows = 3
	time.Sleep(time.Until(begin.Add(windows*window + 500*time.Millisecond)))
	values, err := p.series(ctx, "traffic", begin.Add(-offset), begin.Add(windows*window))
	if err != nil {
		t.Fatal(err)
	}
	for i := range windows {
		from := begin.Add(time.Duration(i) * window)
		want := 0.
		for s := range int(window / time.Second) {
			want += 2 * values[from.Add(time.Duration(s)*time.Second-offset).Unix()]
		}
		got := float64(g.since("/home", from) - g.since("/home", from.Add(window)))
		t.Logf("window %d: %v requests, %.1f were to be made", i, got, want)
		if math.Abs(got-want) > 0.02*want {
			t.Errorf("window %d: %v requests, want %.1f within 2 %%", i, got, want)
		}
	}

	p.stop()
	failures := func(n int) {
		until(t, d, time.Minute, atLeast(float64(n), "perfd_target_read_failures_total", "target=shop", "what=replay", "fault=unanswered"))
	}
	failures(int(offset.Seconds()) + 2) // one a second: what was read beforehand is over
	gone := time.Now()
	failures(int(offset.Seconds()) + 4)
	if n := g.since("/home", gone); n == 0 {
		t.Error("no request without Prometheus, want those of the value before")
	}
	if n := strings.Count(d.Output(), "the target could not be read"); n != 1 {
		t.Errorf("the failure is said %d times, want once", n)
	}
}
