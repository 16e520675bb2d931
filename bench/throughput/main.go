// Command throughput measures what a request costs perfd, beside wrk in the
// same run, and how late perfd starts what is due.
//
// nginx has core 0, the generator core 1 and GOMAXPROCS=1. The figure is
// requests per second of the generator's CPU, recording on, so that it does not
// depend on whether the server or the generator is the one that is full. Rounds
// of the two alternate and their medians are compared, so that a slow phase of
// the machine meets both.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/perfd/perfd/bench/nginx"
	"github.com/perfd/perfd/test/daemon"
)

const connections = 16

func main() {
	rounds := flag.Int("rounds", 9, "rounds of each generator")
	span := flag.Duration("span", 4*time.Second, "length of a round")
	bar := flag.Float64("bar", 0.85, "least ratio of perfd's median to wrk's; exit 1 below it")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *rounds, *span, *bar)
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "throughput:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, rounds int, span time.Duration, bar float64) error {
	dir, err := os.MkdirTemp("", "perfd-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary, err := daemon.Build(ctx, dir)
	if err != nil {
		return err
	}
	server, err := nginx.Start(ctx, nginx.Options{Dir: dir, Before: []string{"taskset", "-c", "0"}, Connections: 256})
	if err != nil {
		return err
	}
	defer server.Kill()

	ratio, err := compare(ctx, binary, dir, server.URL, rounds, span)
	if err != nil {
		return err
	}
	if err := lateness(ctx, binary, dir, server.URL); err != nil {
		return err
	}
	if ratio < bar {
		return fmt.Errorf("ratio %.3f is below the bar of %.2f", ratio, bar)
	}
	return nil
}

// compare runs both generators in turns and returns the ratio of their medians.
func compare(ctx context.Context, binary, dir, url string, rounds int, span time.Duration) (float64, error) {
	var wrk, perfd, traced, share []float64
	// Takes spans and forgets them.
	spans := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	defer spans.Close()
	tracing := fmt.Sprintf("tracing: {endpoint: %q, protocol: http/protobuf, sampling_ratio: 0.01}\n", spans.URL)
	fmt.Printf("requests per second of CPU, %d connections, %v a round\n", connections, span)
	for i := range rounds {
		w, err := wrkRound(ctx, url, span)
		if err != nil {
			return 0, err
		}
		p, err := perfdRound(ctx, binary, dir, url, "", span)
		if err != nil {
			return 0, err
		}
		t, err := perfdRound(ctx, binary, dir, url, tracing, span)
		if err != nil {
			return 0, err
		}
		wrk, perfd, traced, share = append(wrk, w), append(perfd, p), append(traced, t), append(share, t/p)
		fmt.Printf("round %d: wrk %7.0f  perfd %7.0f  ratio %.3f  traced at 1 %% %7.0f  of untraced %.3f\n", i+1, w, p, p/w, t, t/p)
	}
	ratio := median(perfd) / median(wrk)
	fmt.Printf("median:  wrk %7.0f  perfd %7.0f  ratio %.3f  traced at 1 %% %7.0f  of untraced %.3f\n",
		median(wrk), median(perfd), ratio, median(traced), median(share))
	return ratio, nil
}

var wrkRequests = regexp.MustCompile(`(\d+) requests in`)

func wrkRound(ctx context.Context, url string, span time.Duration) (float64, error) {
	cmd := exec.CommandContext(ctx, "taskset", "-c", "1",
		"wrk", "-t1", fmt.Sprintf("-c%d", connections), fmt.Sprintf("-d%ds", int(span.Seconds())), url)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("wrk: %w\n%s", err, out)
	}
	m := wrkRequests.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("wrk: no count of requests in:\n%s", out)
	}
	n, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		return 0, fmt.Errorf("wrk: %w", err)
	}
	used := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return n / used.Seconds(), nil
}

func perfdRound(ctx context.Context, binary, dir, url, more string, span time.Duration) (float64, error) {
	d, err := daemon.Start(ctx, daemon.Options{
		Binary: binary, Dir: dir, Before: []string{"taskset", "-c", "1"}, Env: append(os.Environ(), "GOMAXPROCS=1"),
		Config: fmt.Sprintf(`
safety: {max_request_rate: 1000000/s}
targets:
  - {name: server, url: %q}
scenarios:
  - name: closed
    test: load
    target: server
    schedule: {always: true}
    workload: {executor: constant-vus, vus: %d}
    flow:
      - {name: get, http: {url: /}}
`, url, connections) + more,
	})
	if err != nil {
		return 0, err
	}
	defer d.Kill()
	// Connections are open and caches warm before the span begins.
	if _, err := d.Until(ctx, func(m daemon.Metrics) string {
		if m.Value("perfd_requests_total") < 10_000 {
			return "10,000 requests to warm up"
		}
		return ""
	}); err != nil {
		return 0, err
	}
	before, err := spent(ctx, d)
	if err != nil {
		return 0, err
	}
	select {
	case <-time.After(span):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	after, err := spent(ctx, d)
	if err != nil {
		return 0, err
	}
	if after.failures > 0 {
		return 0, fmt.Errorf("%v of perfd's requests failed", after.failures)
	}
	return (after.requests - before.requests) / (after.cpu - before.cpu).Seconds(), nil
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[len(v)/2] + v[(len(v)-1)/2]) / 2
}

// lateness prints how late iterations start at 2,000/s, alone and beside
// virtual users that keep sockets busy.
func lateness(ctx context.Context, binary, dir, url string) error {
	const timed = `
safety: {max_request_rate: 1000000/s}
targets:
  - {name: server, url: %q}
scenarios:
  - name: timed
    test: load
    target: server
    schedule: {always: true}
    workload: {executor: constant-arrival-rate, rate: 2000/s, max_vus: 200}
    flow:
      - {name: get, http: {url: /}}
`
	const busy = timed + `
  - name: busy
    test: load
    target: server
    schedule: {always: true}
    workload: {executor: constant-vus, vus: 8}
    flow:
      - {name: get, http: {url: /}}
      - think: 1ms
`
	for _, c := range []struct{ name, config string }{{"idle", timed}, {"sockets busy", busy}} {
		if err := latenessOf(ctx, c.name, daemon.Options{
			Binary: binary, Dir: dir, Config: fmt.Sprintf(c.config, url),
		}); err != nil {
			return fmt.Errorf("lateness, %s: %w", c.name, err)
		}
	}
	return nil
}

func latenessOf(ctx context.Context, name string, o daemon.Options) error {
	const family, label, n = "perfd_iteration_lateness_seconds", "scenario=timed", 20_000
	d, err := daemon.Start(ctx, o)
	if err != nil {
		return err
	}
	defer d.Kill()
	at := func(least int64, since daemon.Distribution) (daemon.Distribution, error) {
		var got daemon.Distribution
		_, err := d.Until(ctx, func(m daemon.Metrics) string {
			got = daemon.Native(m.Histogram(family, label)).Since(since)
			if got.Count() < least {
				return fmt.Sprintf("%d iterations", least)
			}
			return ""
		})
		return got, err
	}
	warm, err := at(2000, daemon.Distribution{})
	if err != nil {
		return err
	}
	got, err := at(n, warm)
	if err != nil {
		return err
	}
	m, err := d.Scrape(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("lateness at 2,000/s, %s: p50 %.3f ms, p99 %.3f ms (%d iterations, %v dropped)\n",
		name, got.Quantile(0.5)*1e3, got.Quantile(0.99)*1e3, got.Count(), m.Value("perfd_iterations_dropped_total", label))
	if got.Quantile(0.5) == 0 {
		return errors.New("the median lateness reads as zero: nothing was measured")
	}
	return nil
}
