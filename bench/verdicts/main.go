// Command verdicts measures what judging costs: the share of a processor that
// all analyses take over 100 pairs of scenario and step with three objectives for each
// of ten scenarios and one for each step, and whether arrivals are later while they judge, at the
// turn of a window, than in the rest of it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/perfd/perfd/test/daemon"
	"github.com/perfd/perfd/test/proc"
)

const (
	scenarios = 10
	steps     = 10
	window    = 10 * time.Second
	// Judging happens between shortly before the end of a window and a while after it.
	before, after = 200 * time.Millisecond, 1300 * time.Millisecond

	mostShare = 0.02 // of a processor
	// mostLater is by how many native buckets (9 % each) the p99 of lateness may be worse while judging.
	mostLater = 1.5
)

func main() {
	rounds := flag.Int("rounds", 30, "how many windows are looked at")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *rounds)
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "verdicts:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, rounds int) error {
	dir, err := os.MkdirTemp("", "perfd-verdicts-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary, err := daemon.Build(ctx, dir)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	target := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metrics" {
			fmt.Fprintln(w, "heap_bytes 100000000\ngoroutines 50\nfds 20")
		}
	})}
	go target.Serve(l) //nolint:errcheck // ends with the program
	defer func() { _ = target.Close() }()
	d, err := daemon.Start(ctx, daemon.Options{Binary: binary, Dir: dir, Config: config("http://" + l.Addr().String())})
	if err != nil {
		return err
	}
	defer d.Kill()
	if err := until(ctx, time.Now().Truncate(window).Add(3*window)); err != nil { // every analysis has begun
		return err
	}
	judging, resting, share, err := watch(ctx, d, rounds)
	if err != nil {
		return err
	}
	return verdict(judging, resting, share)
}

// config is 100 pairs at 200 requests a second together, and one scenario at 300
// whose lateness is looked at.
func config(url string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `
safety: {max_request_rate: 100000/s}
targets:
  - name: shop
    url: %q
    release: {push: true}
    resources:
      - {name: heap, kind: memory, scrape: /metrics, metric: heap_bytes}
      - {name: goroutines, kind: goroutines, scrape: /metrics, metric: goroutines}
      - {name: fds, kind: descriptors, scrape: /metrics, metric: fds}
scenarios:
  - name: pulse
    target: shop
    workload: {executor: constant-arrival-rate, rate: 300/s, arrivals: poisson, max_vus: 50}
    flow: [{name: get, http: {url: /}}]
`, url)
	for i := range scenarios {
		fmt.Fprintf(&b, `
  - name: pairs-%d
    test: endurance
    target: shop
    workload: {executor: constant-arrival-rate, rate: 2/s, arrivals: poisson, seed: %d, max_vus: 20}
    objectives:
      - {name: p95, that: p(95) < 500ms}
      - {name: errors, that: error_ratio < 0.1%%}
      - {name: rate, that: rate > 1/s}
    flow:
`, i, i)
		for j := range steps {
			fmt.Fprintf(&b, "      - {name: step %d, http: {url: /%d}, objectives: [{name: p99 of step %d, that: p(99) < 1s}]}\n", j, j, j)
		}
	}
	return b.String()
}

// watch adds up the lateness of arrivals around the turns of windows and in the
// rest of them, and returns the share of a processor that analyses took.
func watch(ctx context.Context, d *daemon.Daemon, rounds int) (judging, resting daemon.Distribution, share float64, err error) {
	const name = "perfd_iteration_lateness_seconds"
	var first, last daemon.Metrics
	var began, ended time.Time
	var all, rest []daemon.Distribution
	turn := time.Now().Truncate(window).Add(window)
	for range rounds {
		var looks []daemon.Metrics
		for _, at := range []time.Time{turn.Add(-before), turn.Add(after), turn.Add(window - before)} {
			if err := until(ctx, at); err != nil {
				return judging, resting, 0, err
			}
			m, err := d.Scrape(ctx)
			if err != nil {
				return judging, resting, 0, err
			}
			looks = append(looks, m)
		}
		at := func(i int) daemon.Distribution { return daemon.Native(looks[i].Histogram(name, "scenario=pulse")) }
		all, rest = append(all, at(1).Since(at(0))), append(rest, at(2).Since(at(1)))
		if first == nil {
			first, began = looks[0], time.Now()
		}
		last, ended = looks[2], time.Now()
		turn = turn.Add(2 * window)
	}
	spent := last.Value("perfd_analysis_seconds_total") - first.Value("perfd_analysis_seconds_total")
	return daemon.Sum(all), daemon.Sum(rest), spent / ended.Sub(began).Seconds(), nil
}

func until(ctx context.Context, at time.Time) error {
	return proc.Poll(ctx, time.Millisecond, func() (bool, error) { return !time.Now().Before(at), nil })
}

func verdict(judging, resting daemon.Distribution, share float64) error {
	fmt.Printf("%d pairs, %d objectives: analyses take %.3f %% of a processor (bar %.0f %%)\n",
		scenarios*steps, scenarios*(steps+3), share*100, mostShare*100)
	for _, q := range []float64{0.5, 0.99} {
		fmt.Printf("p%g of lateness: %.3f ms while judging (%d arrivals), %.3f ms else (%d)\n",
			q*100, judging.Quantile(q)*1e3, judging.Count(), resting.Quantile(q)*1e3, resting.Count())
	}
	var errs []error
	if share > mostShare {
		errs = append(errs, errors.New("analyses take more of a processor than they may"))
	}
	if later := judging.Quantile(0.99) / resting.Quantile(0.99); later > 1+0.09*mostLater {
		errs = append(errs, fmt.Errorf("the p99 of lateness is %.2f times as high while judging", later))
	}
	return errors.Join(errs...)
}
