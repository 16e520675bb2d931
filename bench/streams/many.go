package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/perfd/perfd/test/daemon"
	"github.com/perfd/perfd/test/proc"
)

const (
	manyBar = 10 << 10         // bytes of resident memory that a WebSocket may cost
	settle  = 30 * time.Second // how long memory is watched once all are open
)

// many measures WebSockets that exchange a message a second each, and are idle in between.
func (b *bench) many(ctx context.Context) error {
	flow := fmt.Sprintf(`[{name: echo, websocket: {url: /, send: {text: %q}, receive: any}}, {think: 1s}]`, text)
	one, err := b.resident(ctx, 1, flow)
	if err != nil {
		return err
	}
	all, err := b.resident(ctx, b.count, flow)
	if err != nil {
		return err
	}
	each := float64(all.resident-one.resident) / float64(b.count-1)
	fmt.Printf("many: %d WebSockets in one process, %.0f messages a second: %.0f bytes of resident memory each above one, bar %d; round trip p50 %.2f ms, p99 %.2f ms; %.0f dropped; %.0f µs of CPU a message\n",
		b.count, all.rate, each, manyBar, 1e3*all.trips.Quantile(0.5), 1e3*all.trips.Quantile(0.99), all.dropped, all.cost)
	switch {
	case each > manyBar:
		return breach(fmt.Sprintf("many: %.0f bytes each are above the bar of %d", each, manyBar))
	case all.dropped > 0:
		return breach(fmt.Sprintf("many: %.0f messages or WebSockets were dropped", all.dropped))
	case all.rate < 0.9*float64(b.count)/1.1:
		return breach(fmt.Sprintf("many: %.0f messages a second, want one of each WebSocket", all.rate))
	}
	return nil
}

// A state is what so many WebSockets come to.
type state struct {
	resident int64 // bytes, the median
	trips    daemon.Distribution
	rate     float64 // messages received a second
	dropped  float64 // messages without an answer, failures and WebSockets that ended
	cost     float64 // µs of CPU a message
}

func (b *bench) resident(ctx context.Context, vus int, flow string) (s state, err error) {
	server, address, err := b.startServer(ctx, "websocket")
	if err != nil {
		return s, err
	}
	defer server.Kill()
	dir, err := os.MkdirTemp(b.dir, "many-")
	if err != nil {
		return s, err
	}
	d, err := b.start(ctx, dir, address, vus, flow)
	if err != nil {
		return s, err
	}
	defer d.Kill()
	limited, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	if _, err := d.Until(limited, func(now daemon.Metrics) string {
		if n := now.Value("perfd_connections_opened_total"); int(n) < vus {
			return fmt.Sprintf("%v WebSockets of %d are open", n, vus)
		}
		return ""
	}); err != nil {
		return s, err
	}
	const family, received = "perfd_message_round_trip_seconds", "direction=received"
	if err := wait(ctx, 5*time.Second); err != nil { // the last have begun, and the collector has been there
		return s, err
	}
	first, err := d.Scrape(ctx)
	if err != nil {
		return s, err
	}
	cpu, err := proc.CPU(d.PID())
	if err != nil {
		return s, err
	}
	var seen []int64
	began := time.Now()
	if err := proc.Poll(ctx, time.Second, func() (bool, error) {
		rss, err := proc.Resident(d.PID())
		seen = append(seen, rss)
		return time.Since(began) >= settle, err
	}); err != nil {
		return s, err
	}
	last, err := d.Scrape(ctx)
	if err != nil {
		return s, err
	}
	cpu2, err := proc.CPU(d.PID())
	if err != nil {
		return s, err
	}
	slices.Sort(seen)
	s.resident = seen[len(seen)/2]
	s.trips = daemon.Native(last.Histogram(family)).Since(daemon.Native(first.Histogram(family)))
	n := last.Value("perfd_messages_total", received) - first.Value("perfd_messages_total", received)
	s.rate = n / time.Since(began).Seconds()
	s.cost = float64((cpu2 - cpu).Microseconds()) / n
	// A message that is under way when it is looked has no answer yet; an iteration has one at a time.
	lost := last.Value("perfd_messages_total", "direction=sent") - last.Value("perfd_messages_total", received)
	s.dropped = max(0, lost-float64(vus)) + last.Value("perfd_request_failures_total") + last.Value("perfd_stream_closes_total")
	return s, nil
}
