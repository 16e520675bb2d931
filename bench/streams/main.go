// Command streams measures what requests of gRPC and messages of streams cost perfd, beside loops that do the same with
// nothing but the library, and what many WebSockets that are mostly idle cost in memory.
//
//	streams               everything that has a bar
//	streams -only NAME    what has NAME in its name: unary, stream, converse, websocket or many
//	streams -ghz          beside ghz too, which it builds from tools/ghz
//
// The server has core 0, the generator core 1 and GOMAXPROCS=1, as in bench/throughput, whose comment says what makes runs
// differ: each round has processes of its own, takes each generator forwards and backwards, and ratios are taken within
// rounds before their median. The figure is CPU of the generator's process, user and system, a request or a message, with
// all that perfd does besides: recording, windows, metrics.
//
// The loops of gRPC are grpc-go's calls with a codec that hands bytes through, on as many connections with the same options as
// perfd has, with a deadline and the same metadata. Those of WebSocket are the write and the read of three libraries
// (tools/websockets), of which each round's best is compared with.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/perfd/perfd/bench/ratio"
	"github.com/perfd/perfd/test/daemon"
)

// settings are what the command line sets.
type settings struct {
	rounds int
	span   time.Duration
	only   string
	ghz    bool
	count  int
	files  uint64
}

func main() {
	var s settings
	flag.IntVar(&s.rounds, "rounds", 5, "rounds; each takes every generator twice")
	flag.DurationVar(&s.span, "span", 2*time.Second, "how long a generator is measured at a time")
	flag.StringVar(&s.only, "only", "", "measure only what has this in its name")
	flag.BoolVar(&s.ghz, "ghz", false, "beside ghz too")
	flag.IntVar(&s.count, "websockets", 15_000, "how many WebSockets are opened for their memory")
	flag.Uint64Var(&s.files, "files", 20_000, "limit on descriptors of each program")
	serve := flag.String("serve", "", "be the server, of grpc or websocket: the benchmark starts itself with this")
	be := flag.String("be", "", "be the bare loop of unary, stream or converse: likewise")
	address := flag.String("address", "", "where a loop finds the server")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var err error
	switch {
	case *serve != "":
		err = serveStreams(ctx, *serve)
	case *be != "":
		err = loop(ctx, *be, *address, s.span)
	default:
		err = run(ctx, s)
	}
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "streams:", err)
		os.Exit(1)
	}
}

// A bench measures on this machine.
type bench struct {
	settings
	dir, binary string
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
	b := &bench{settings: s, dir: dir}
	if b.binary, err = daemon.Build(ctx, dir); err != nil {
		return err
	}
	var breached []error
	for i := range comparisons {
		c := &comparisons[i]
		if !strings.Contains(c.name, s.only) {
			continue
		}
		others, err := b.others(ctx, c)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		if err := b.compare(ctx, c, others); errors.As(err, new(breach)) {
			breached = append(breached, err)
		} else if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	if strings.Contains("many", s.only) {
		if err := b.many(ctx); errors.As(err, new(breach)) {
			breached = append(breached, err)
		} else if err != nil {
			return fmt.Errorf("many: %w", err)
		}
	}
	return errors.Join(breached...)
}

// A breach is a bar that is missed.
type breach string

func (b breach) Error() string { return string(b) }

// compare measures perfd beside other generators, and holds the median of its ratio to the best of each round that is a bare loop.
func (b *bench) compare(ctx context.Context, c *comparison, others []generator) error {
	fmt.Printf("%s: µs of CPU each, %d connections, %v twice a round\n", c.name, connections, b.span)
	list := append([]generator{b.perfd(c)}, others...)
	var toBare, ghzTo []float64
	for i := range b.rounds {
		costs, err := b.round(ctx, c, list)
		if err != nil {
			return err
		}
		best := 0.0
		fmt.Printf("round %d:", i+1)
		for k, g := range list {
			fmt.Printf("  %s %.2f", g.name, costs[k])
			switch {
			case k > 0 && g.bare && (best == 0 || costs[k] < best):
				best = costs[k]
			case k > 0 && !g.bare:
				ghzTo = append(ghzTo, costs[k]/costs[0])
			}
		}
		toBare = append(toBare, costs[0]/best)
		fmt.Printf("  ratio %.3f\n", costs[0]/best)
	}
	ratio.Print("perfd to bare", toBare)
	var errs []error
	if median, _, _, _ := ratio.Interval(toBare); median > c.bar {
		errs = append(errs, breach(fmt.Sprintf("%s: %.3f of a bare loop is above the bar of %.2f", c.name, median, c.bar)))
	}
	if ghzTo != nil {
		ratio.Print("ghz to perfd", ghzTo)
		if median, _, _, _ := ratio.Interval(ghzTo); median < ghzBar {
			errs = append(errs, breach(fmt.Sprintf("%s: ghz costs %.2f times as much, below the bar of %.1f", c.name, median, ghzBar)))
		}
	}
	return errors.Join(errs...)
}

// round measures each generator twice against a server of its own, forwards and backwards, and returns µs of CPU each.
func (b *bench) round(ctx context.Context, c *comparison, list []generator) ([]float64, error) {
	server, address, err := b.startServer(ctx, c.server, "taskset", "-c", "0")
	if err != nil {
		return nil, err
	}
	defer server.Kill()
	costs := make([]float64, len(list))
	for n := range 2 * len(list) {
		k := min(n, 2*len(list)-1-n)
		dir, err := os.MkdirTemp(b.dir, "generator-")
		if err != nil {
			return nil, err
		}
		m, err := list[k].measure(ctx, address, dir)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", list[k].name, err)
		}
		if m.Messages == 0 {
			return nil, fmt.Errorf("%s: nothing was measured", list[k].name)
		}
		costs[k] += float64(m.CPU.Nanoseconds()) / 1e3 / float64(m.Messages) / 2
	}
	return costs, nil
}
