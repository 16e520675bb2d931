package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/perfd/perfd/test/daemon"
	"github.com/perfd/perfd/test/proc"
)

// tool is the path of a program that make deps installs.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%v; make deps installs it", err)
	}
	if path, err = filepath.Abs(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// pinned is the path of a program that tools/go.mod pins.
func pinned(t *testing.T, name string) string {
	t.Helper()
	return tool(t, repository(".tools", "bin", name))
}

// A prometheus is a running Prometheus server.
type prometheus struct {
	URL  string
	stop func() // at once
}

var prometheusListening = regexp.MustCompile(`msg="Listening on".* address=(\S+)`)

var prometheusReady = regexp.MustCompile(`msg="Server is ready to receive web requests\."`)

// startPrometheus runs a Prometheus that scrapes one address every second until
// the test ends. Global holds further lines of its global section.
func startPrometheus(t *testing.T, binary, scrape string, global ...string) *prometheus {
	t.Helper()
	dir := t.TempDir()
	config := fmt.Sprintf("global:\n  scrape_interval: 1s\n  %s\nscrape_configs:\n  - job_name: perfd\n    static_configs: [{targets: [%q]}]\n",
		strings.Join(global, "\n  "), scrape)
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := proc.Start(proc.Spec{Path: binary, Args: []string{
		"--config.file=" + file, "--storage.tsdb.path=" + filepath.Join(dir, "tsdb"), "--web.listen-address=127.0.0.1:0",
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("output of %s:\n%s", binary, p.Output())
		}
	})
	ctx := within(t, time.Minute)
	m, err := p.WaitFor(ctx, prometheusListening)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.WaitFor(ctx, prometheusReady); err != nil { // until then it answers queries with 503
		t.Fatal(err)
	}
	return &prometheus{URL: "http://" + m[1], stop: p.Kill}
}

// query evaluates an expression that has one element, now. It is an error if
// the expression has none.
func (p *prometheus) query(ctx context.Context, expr string) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL+"/api/v1/query?query="+url.QueryEscape(expr), http.NoBody)
	if err != nil {
		return 0, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err
	}
	var answer struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := json.Unmarshal(text, &answer); err != nil || len(answer.Data.Result) != 1 {
		return 0, fmt.Errorf("query %s: want one element, got: %s", expr, text)
	}
	v, _ := answer.Data.Result[0].Value[1].(string)
	return strconv.ParseFloat(v, 64)
}

// until queries until the value is the wanted one, and ends the test if it never is.
func (p *prometheus) until(t *testing.T, expr string, want float64) {
	t.Helper()
	err := proc.Poll(within(t, 30*time.Second), 100*time.Millisecond, func() (bool, error) {
		got, err := p.query(t.Context(), expr)
		if err != nil {
			return false, proc.Pending(err.Error())
		}
		if got != want {
			return false, proc.Pending(fmt.Sprintf("%s = %v, want %v", expr, got, want))
		}
		return true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// perfd, Prometheus and the target agree on a run: counts exactly, percentiles within one bucket, with classic
// buckets in the oldest Prometheus that Debian ships and with native histograms
// in a current one.
func TestPrometheusAgreesWithTheRunAndTheTarget(t *testing.T) {
	g := newTarget(t, slowly, nil)
	// By hand: the run must fit into the minute that the API looks back, and the servers take their time to start.
	d := start(t, strings.Replace(steady(g.URL, 100), "always: true", "manual: true", 1))
	address := strings.TrimPrefix(d.URL, "http://")
	old := startPrometheus(t, tool(t, "prometheus"), address)
	current := startPrometheus(t, pinned(t, "prometheus"), address,
		"scrape_native_histograms: true", "always_scrape_classic_histograms: true")

	post(t, d, "/api/v1/scenarios/steady/start")
	until(t, d, time.Minute, atLeast(1000, "perfd_requests_total"))
	// A stop, unlike a pause, lets requests in flight finish.
	post(t, d, "/api/v1/scenarios/steady/stop")
	m := resting(t, d)
	saw := float64(len(g.at("/get")))
	if got := m.Value("perfd_requests_total"); got != saw {
		t.Errorf("perfd_requests_total = %v when drained, the target saw %v", got, saw)
	}
	p99 := ownP99(t, d, "steady", saw)

	const selector = `{scenario="steady",step="get"}`
	bounds := []float64{0}
	for _, b := range m.Histogram("perfd_response_time_seconds").GetBucket() {
		bounds = append(bounds, b.GetUpperBound())
	}
	classic := func(v float64) int {
		i := 0
		for i < len(bounds) && bounds[i] < v {
			i++
		}
		return i
	}
	// Schema 3 has eight buckets to a doubling.
	native := func(v float64) int { return int(math.Ceil(math.Log2(v) * 8)) }

	for _, c := range []struct {
		name   string
		server *prometheus
		count  string
		p99    string
		bucket func(seconds float64) int
	}{
		{
			"classic buckets in Prometheus 2.42", old,
			`perfd_response_time_seconds_count` + selector,
			`histogram_quantile(0.99, perfd_response_time_seconds_bucket` + selector + `)`,
			classic,
		},
		{
			"classic buckets in Prometheus 3.16", current,
			`perfd_response_time_seconds_count` + selector,
			`histogram_quantile(0.99, perfd_response_time_seconds_bucket` + selector + `)`,
			classic,
		},
		{
			"native histogram in Prometheus 3.16", current,
			`histogram_count(perfd_response_time_seconds` + selector + `)`,
			`histogram_quantile(0.99, perfd_response_time_seconds` + selector + `)`,
			native,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.server.until(t, `perfd_requests_total`+selector, saw)
			c.server.until(t, c.count, saw)
			got, err := c.server.query(within(t, 10*time.Second), c.p99)
			if err != nil {
				t.Fatal(err)
			}
			// Where a stall of the machine lies at the percentile, it divides what is below from what is far above, and the
			// two may take different sides of it: a few requests of a thousand.
			lowest, highest := 0.0, 0.0
			for q, into := range map[string]*float64{"0.985": &lowest, "0.995": &highest} {
				if *into, err = c.server.query(within(t, 10*time.Second), strings.Replace(c.p99, "0.99", q, 1)); err != nil {
					t.Fatal(err)
				}
			}
			if own := c.bucket(p99); own < c.bucket(lowest)-1 || own > c.bucket(highest)+1 {
				t.Errorf("%s = %.4f s (%.4f s to %.4f s from the 98.5th to the 99.5th), the run's own p99 is %.4f s: more than a bucket apart", c.p99, got, lowest, highest, p99)
			}
			t.Logf("p99 = %.4f s, the run's own is %.4f s", got, p99)
		})
	}
}

// ownP99 is the 99th percentile of response times, in seconds, from the run's
// own HdrHistogram. It covers the last minute, which must hold the whole run.
func ownP99(t *testing.T, d *daemon.Daemon, scenario string, requests float64) float64 {
	t.Helper()
	code, body, err := d.Do(within(t, 10*time.Second), http.MethodGet, "/api/v1/scenarios/"+scenario)
	if err != nil || code != http.StatusOK {
		t.Fatalf("scenario %s of the API = %d, %v: %s", scenario, code, err, body)
	}
	var answer struct {
		Data struct {
			Latency struct {
				P99   float64 `json:"p99"`
				Count float64 `json:"count"`
			} `json:"response_time"`
		}
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatalf("scenario %s of the API: %v in %s", scenario, err, body)
	}
	if got := answer.Data.Latency; got.Count != requests || got.P99 <= 0 {
		t.Fatalf("response times of the API: p99 %v of %v requests, want all %v of the run", got.P99, got.Count, requests)
	}
	return answer.Data.Latency.P99
}

// promtool knows Prometheus's rules for names, units and help.
func TestExpositionIsLintedByPromtool(t *testing.T) {
	g := newTarget(t, nil, nil)
	d := start(t, three(g.URL, 10))
	until(t, d, time.Minute, atLeast(10, "perfd_requests_total"))
	code, text, err := d.Do(within(t, 10*time.Second), http.MethodGet, "/metrics")
	if err != nil || code != http.StatusOK {
		t.Fatalf("GET /metrics = %d, %v", code, err)
	}
	lint := exec.CommandContext(within(t, 30*time.Second), pinned(t, "promtool"), "check", "metrics")
	lint.Stdin = strings.NewReader(text)
	if out, err := lint.CombinedOutput(); err != nil {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}
