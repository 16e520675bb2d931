package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/perfd/perfd/test/daemon"
	"github.com/perfd/perfd/test/proc"
)

// bar is how fast memory may grow.
const bar = 1.0 // MiB per hour

// judged is the shortest soak whose slope is judged: in less, the bound is
// wider than the bar whatever the daemon does.
const judged = 10 * time.Minute

func main() {
	shop := flag.Bool("shop", false, "be the shop: the soak starts itself with this")
	streams := flag.Int("streams", 0, "hold this many streams of gRPC and as many WebSockets instead, whose server restarts in the middle")
	web := flag.String("feeds.web", "", "be the server of the streams, with WebSockets at this address: likewise")
	rpc := flag.String("feeds.grpc", "", "and gRPC at this one")
	duration := flag.Duration("duration", 15*time.Minute, "length of the soak; the first third is warm-up")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var err error
	switch {
	case *shop:
		err = serveShop(ctx)
	case *web != "":
		err = serveFeeds(ctx, *web, *rpc)
	case *streams > 0:
		err = holdStreams(ctx, *streams, *duration)
	default:
		err = run(ctx, *duration)
	}
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, duration time.Duration) error {
	dir, err := os.MkdirTemp("", "perfd-soak-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary, err := daemon.Build(ctx, dir)
	if err != nil {
		return err
	}
	shop, url, err := startShop(ctx)
	if err != nil {
		return err
	}
	defer shop.Kill()
	d, err := daemon.Start(ctx, daemon.Options{Binary: binary, Dir: dir, Config: fmt.Sprintf(config, url)})
	if err != nil {
		return err
	}
	defer d.Kill()

	// Both ends are looked at between two runs, after one has warmed the daemon up.
	if _, err := d.Until(ctx, func(m daemon.Metrics) string {
		if m.Value("perfd_requests_total") < 5000 {
			return "5,000 requests to warm up"
		}
		return ""
	}); err != nil {
		return err
	}
	first, err := rest(ctx, d)
	if err != nil {
		return err
	}
	hours, mib, err := watch(ctx, d, duration)
	if err != nil {
		return err
	}
	last, err := rest(ctx, d)
	if err != nil {
		return err
	}
	return verdict(first, last, hours, mib, duration)
}

// An end is what the daemon holds in memory between two runs.
type end struct {
	goroutines, descriptors int
	requests, failures      float64
	at                      time.Time
}

// rest ends the run, so that every virtual user and its connection is closed, looks, and starts the next.
func rest(ctx context.Context, d *daemon.Daemon) (end, error) {
	if err := d.Post(ctx, "/api/v1/scenarios/visits/stop"); err != nil {
		return end{}, err
	}
	limited, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	m, err := d.Until(limited, func(m daemon.Metrics) string {
		if n := m.Value("perfd_vus"); n != 0 {
			return fmt.Sprintf("%v virtual users, want 0", n)
		}
		return ""
	})
	if err != nil {
		return end{}, err
	}
	descriptors, err := proc.Descriptors(d.PID())
	if err != nil {
		return end{}, err
	}
	e := end{
		goroutines: int(m.Value("go_goroutines")), descriptors: descriptors, at: time.Now(),
		requests: m.Value("perfd_requests_total"),
		failures: m.Value("perfd_request_failures_total") - m.Value("perfd_request_failures_total", "cause", "canceled"),
	}
	return e, d.Post(ctx, "/api/v1/scenarios/visits/start")
}

// watch samples resident memory each second, by the hours since the soak's
// begin, and gives what came after the first third.
func watch(ctx context.Context, d *daemon.Daemon, duration time.Duration) (hours, mib []float64, err error) {
	began := time.Now()
	err = proc.Poll(ctx, time.Second, func() (bool, error) {
		if !d.Running() {
			return false, fmt.Errorf("the daemon ended:\n%s", d.Output())
		}
		rss, err := proc.Resident(d.PID())
		if err != nil {
			return false, err
		}
		at := time.Since(began)
		if at >= duration/3 {
			hours, mib = append(hours, at.Hours()), append(mib, float64(rss)/(1<<20))
		}
		return at >= duration, nil
	})
	return hours, mib, err
}

func verdict(first, last end, hours, mib []float64, duration time.Duration) error {
	rate := (last.requests - first.requests) / last.at.Sub(first.at).Seconds()
	trend, upper := slope(hours, mib)
	fmt.Printf("soak of %v at %.0f requests/s, %.0f failed\n", duration, rate, last.failures-first.failures)
	fmt.Printf("resident memory: %.2f MiB at the end of the first third, %.2f MiB at the end; slope %+.2f MiB/h, below %+.2f with 95 %% confidence (bar %.1f)\n",
		mib[0], mib[len(mib)-1], trend, upper, bar)
	fmt.Printf("goroutines: %d, then %d; descriptors: %d, then %d\n", first.goroutines, last.goroutines, first.descriptors, last.descriptors)

	var errs []error
	if first.goroutines != last.goroutines {
		errs = append(errs, errors.New("goroutines differ between the ends"))
	}
	if first.descriptors != last.descriptors {
		errs = append(errs, errors.New("descriptors differ between the ends"))
	}
	if rate < 490 || last.failures != first.failures {
		errs = append(errs, errors.New("the load was not 500 requests/s without failures"))
	}
	switch {
	case duration < judged:
		fmt.Printf("the slope is not judged in less than %v: its bound is too wide\n", judged)
	case !(upper < bar):
		errs = append(errs, errors.New("the bound of the slope of resident memory is above the bar"))
	}
	return errors.Join(errs...)
}
