package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/perfd/perfd/bench/nginx"
	"github.com/perfd/perfd/test/daemon"
)

// lateness prints how late iterations start at 2,000/s: alone, beside virtual users
// that keep sockets busy, and while somebody scrapes twenty times a second. Otherwise
// nobody asks perfd for anything in between, since a scrape takes a processor for
// longer than an arrival is usually late.
func (b *bench) lateness(ctx context.Context, binary string) error {
	server, err := nginx.Start(ctx, nginx.Options{Dir: b.dir, Before: []string{"taskset", "-c", "0"}, Connections: 256})
	if err != nil {
		return err
	}
	defer server.Kill()
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
	for _, c := range []struct {
		name, config string
		scraped      bool
	}{{"idle", timed, false}, {"sockets busy", busy, false}, {"idle, scraped 20 times a second", timed, true}} {
		if err := latenessOf(ctx, c.name, c.scraped, daemon.Options{
			Binary: binary, Dir: b.dir, Config: fmt.Sprintf(c.config, server.URL),
		}); err != nil {
			return fmt.Errorf("lateness, %s: %w", c.name, err)
		}
	}
	return nil
}

func latenessOf(ctx context.Context, name string, scraped bool, o daemon.Options) error {
	const family, label, n = "perfd_iteration_lateness_seconds", "scenario=timed", 20_000
	const takes = n * time.Second / 2000
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
	if !scraped {
		select {
		case <-time.After(takes):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	got, err := at(n, warm)
	if err != nil {
		return err
	}
	m, err := d.Scrape(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("lateness at 2,000/s, %s: p50 %.3f ms, p99 %.3f ms, p99.9 %.3f ms (%d iterations, %v dropped)\n",
		name, got.Quantile(0.5)*1e3, got.Quantile(0.99)*1e3, got.Quantile(0.999)*1e3, got.Count(), m.Value("perfd_iterations_dropped_total", label))
	if got.Quantile(0.5) == 0 {
		return errors.New("the median lateness reads as zero: nothing was measured")
	}
	return nil
}
