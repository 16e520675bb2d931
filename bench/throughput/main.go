// Command throughput measures what a request costs perfd, beside wrk or beside
// another build of perfd in the same run, and how late perfd starts what is due.
//
//	throughput            perfd, and perfd with traces, beside wrk; lateness
//	throughput -vs PATH   perfd beside another binary of it
//	throughput -traced    perfd with traces of 1 % beside itself without
//	throughput -lateness  lateness alone
//	throughput -http2     perfd over HTTP/2 beside h2load, at -connections and -streams; with one stream a connection, net/http too
//
// nginx has core 0, the generator core 1 and GOMAXPROCS=1. The figure is
// requests per second of the generator's CPU, recording on, so that it does not
// depend on whether the server or the generator is the one that is full.
//
// # What makes runs differ, and what is done about it
//
// The layout of memory. A process keeps the pages and addresses that it starts
// with, and with them its cache misses. One server for all rounds of a run shifts
// them alike: rounds agree with each other, and runs do not. So each round has a server and generators of its own, and the median is
// over layouts.
//
// Slow phases of the machine: frequency, temperature, neighbours on the same
// hardware. They last longer than a round. So a round takes each generator twice,
// forwards and backwards (A B C C B A), which cancels a drift that is linear in
// time, and ratios are taken within rounds before their median.
//
// The batch. How many answers a generator finds at one wake-up depends on
// whether server or generator is the one that is full, and a wake-up costs as
// much as a request. Differences in the requests move that balance: wrk
// therefore sends the header fields that perfd sends.
//
// The beginning. perfd is measured when 10,000 requests are done; wrk, which
// cannot be asked in between, opens its connections within a few milliseconds.
//
// Other processes, and the hypervisor. What they take is measured; a round in
// which it is more than -disturbance of the machine is repeated.
//
// The interval that is printed with a median is its distribution-free 95 %
// confidence interval: the order statistics of ranks r and n+1−r, where r is the
// largest rank with P(Binomial(n, 1/2) < r) ≤ 2.5 % (Conover, Practical
// Nonparametric Statistics, 3rd ed., section 3.2). If it is wider than ±3 %, the
// output says so: take more rounds, or a quieter machine.
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
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/perfd/perfd/test/daemon"
)

// settings are what the command line sets.
type settings struct {
	rounds      int
	span        time.Duration
	disturbance float64
	vs          string
	traced      bool
	late        bool
	http2       bool
	connections int
	streams     int
	bar         float64
}

func main() {
	var s settings
	flag.IntVar(&s.rounds, "rounds", 9, "rounds; each takes every generator twice")
	flag.DurationVar(&s.span, "span", 3*time.Second, "how long a generator is measured at a time")
	flag.Float64Var(&s.disturbance, "disturbance", 0.02, "share of the machine that others may take in a round; more repeats it, as often as there are rounds")
	flag.StringVar(&s.vs, "vs", "", "another perfd binary to compare with, instead of wrk")
	flag.BoolVar(&s.traced, "traced", false, "perfd with traces beside itself without, instead of wrk")
	flag.BoolVar(&s.late, "lateness", false, "measure lateness only")
	flag.BoolVar(&s.http2, "http2", false, "HTTP/2 without TLS, beside h2load instead of wrk")
	flag.IntVar(&s.connections, "connections", 16, "connections of each generator")
	flag.IntVar(&s.streams, "streams", 32, "streams of each connection of HTTP/2")
	loops := flag.Int("loops", 0, "be net/http: so many loops of requests to the address that is given, each with a connection of its own")
	var fields headerFields
	flag.Var(&fields, "H", "a header field of those requests")
	flag.Float64Var(&s.bar, "bar", 0, "least ratio; exit 1 below it (default 0.85 beside wrk, 0.95 beside h2load, 0.98 beside another perfd, 0.97 with traces)")
	flag.Parse()
	if *loops > 0 {
		if err := beNetHTTP(flag.Arg(0), *loops, s.span, fields); err != nil {
			fmt.Fprintln(os.Stderr, "throughput:", err)
			os.Exit(1)
		}
		return
	}
	if s.bar == 0 {
		s.bar = 0.85
		switch {
		case s.traced:
			s.bar = 0.97
		case s.http2 && s.vs == "":
			s.bar = 0.95
		case s.vs != "":
			s.bar = 0.98
		}
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, s)
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "throughput:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s settings) error {
	if runtime.NumCPU() < 2 {
		return errors.New("needs two processors: one for the server, one for the generator")
	}
	dir, err := os.MkdirTemp("", "perfd-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary, err := daemon.Build(ctx, dir)
	if err != nil {
		return err
	}
	b := &bench{dir: dir, settings: s}
	if s.late {
		return b.lateness(ctx, binary)
	}
	var baseline generator
	var others []generator
	// Takes spans and forgets them.
	spans := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	defer spans.Close()
	plain := s.perfd("perfd", binary, "")
	traced := s.perfd("traced at 1 %", binary, fmt.Sprintf("tracing: {endpoint: %q, protocol: http/protobuf, sampling_ratio: 0.01}\n", spans.URL))
	switch {
	case s.traced:
		baseline, others = plain, []generator{traced}
	case s.vs != "":
		baseline, others = s.perfd("other perfd", s.vs, ""), []generator{plain}
	default:
		fields, err := s.headerOf(ctx, binary, dir)
		if err != nil {
			return err
		}
		baseline, others = s.wrk(fields), []generator{plain, traced}
		if s.http2 {
			baseline, others = s.h2load(fields), []generator{plain}
		}
		if s.http2 && s.streams == 1 {
			others = append(others, s.netHTTP(fields))
		}
	}
	ratio, err := b.compare(ctx, append([]generator{baseline}, others...))
	if err != nil {
		return err
	}
	if s.vs == "" && !s.traced && !s.http2 {
		if err := b.lateness(ctx, binary); err != nil {
			return err
		}
	}
	if ratio < s.bar {
		return fmt.Errorf("ratio %.3f is below the bar of %.2f", ratio, s.bar)
	}
	return nil
}
