// Command large measures perfd with many series: a configuration of 500
// scenarios with 20 steps each, of which the target answers some with a failure,
// so that every series comes into use.
//
//	large                      ready, reload, scrape and memory beside their bars
//	large -profiles DIR        the same, with profiles of the daemon in DIR
//
// The daemon starts under its kill switch, so that the first figures are those of series
// that nobody has used; then it is let loose until each step has succeeded and failed.
// Scrapes are timed under the kill switch again, since what is measured is the CPU time of
// the process. Peaks of memory are of the resident size, with load and scrapes in both formats
// at once.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/perfd/perfd/test/daemon"
	"github.com/perfd/perfd/test/proc"
)

// settings are what the command line sets.
type settings struct {
	scenarios, steps int
	binary           string // built where empty
	profiles         string // folder; none where empty
}

// The bars.
const (
	mostReady  = 2 * time.Second
	mostReload = 500 * time.Millisecond
	mostScrape = time.Second // of CPU
	mostMemory = 500e6       // bytes, at the peak
)

func main() {
	var s settings
	flag.IntVar(&s.scenarios, "scenarios", 500, "scenarios")
	flag.IntVar(&s.steps, "steps", 20, "steps of each scenario")
	flag.StringVar(&s.binary, "binary", "", "the perfd to measure; built where not given")
	flag.StringVar(&s.profiles, "profiles", "", "folder for profiles of the daemon; none where not given")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, s)
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "large:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s settings) error {
	dir, err := os.MkdirTemp("", "perfd-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if s.binary == "" {
		if s.binary, err = daemon.Build(ctx, dir); err != nil {
			return err
		}
	}
	sink := serve()
	defer sink.Close()
	b := &bench{settings: s, url: sink.URL}
	stop := filepath.Join(dir, killSwitch)
	if err := os.WriteFile(stop, nil, 0o600); err != nil {
		return err
	}
	o := daemon.Options{Binary: s.binary, Dir: dir, Config: b.config(0)}
	if s.profiles != "" {
		o.Flags = append(o.Flags, "--web.enable-pprof")
	}
	began := time.Now()
	if b.Daemon, err = daemon.Start(ctx, o); err != nil {
		return err
	}
	defer b.Kill()
	took := time.Since(began)
	spent, err := proc.CPU(b.PID())
	if err != nil {
		return err
	}
	b.duration(fmt.Sprintf("ready, with %.2f s of CPU", spent.Seconds()), took, mostReady)

	if err := b.measure(ctx, "unused"); err != nil {
		return err
	}
	if err := os.Remove(stop); err != nil {
		return err
	}
	if err := b.use(ctx); err != nil {
		return err
	}
	if err := os.WriteFile(stop, nil, 0o600); err != nil {
		return err
	}
	if err := b.quiet(ctx); err != nil {
		return err
	}
	if err := b.measure(ctx, "used"); err != nil {
		return err
	}
	for _, changed := range []int{1, s.scenarios * 9 / 10} {
		if err := b.reload(ctx, changed); err != nil {
			return err
		}
	}
	if err := b.peak("reloaded"); err != nil {
		return err
	}
	return errors.Join(b.breaches...)
}

// A bench is the daemon that is measured and what it costs too much.
type bench struct {
	*daemon.Daemon
	settings
	url      string // of the target
	breaches []error
}

func (b *bench) duration(what string, took, most time.Duration) {
	fmt.Printf("%-42s %8.2f s, bar %.1f\n", what, took.Seconds(), most.Seconds())
	b.breached(what, took > most)
}

func (b *bench) memory(what string, bytes int64) {
	fmt.Printf("%-42s %8.0f MB, bar %.0f\n", what, float64(bytes)/1e6, mostMemory/1e6)
	b.breached(what, bytes > mostMemory)
}

func (b *bench) breached(what string, is bool) {
	if is {
		b.breaches = append(b.breaches, fmt.Errorf("%s: the bar is breached", what))
	}
}

// formats are what scrapers ask for: as Prometheus does, and as curl does.
var formats = []struct{ name, accept, encoding string }{
	{"text", "text/plain", "identity"},
	{"text, gzip", "text/plain", "gzip"},
	{"protobuf", protobuf, "identity"},
	{"protobuf, gzip", protobuf, "gzip"},
}

const protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"

// measure prints what scrapes cost while there is no load, and the memory.
func (b *bench) measure(ctx context.Context, state string) error {
	if err := b.profile(ctx, "heap", state, "/debug/pprof/heap?gc=1"); err != nil {
		return err
	}
	for _, f := range formats {
		const rounds = 3
		var bytes int64
		var spent time.Duration
		for range rounds {
			before, err := proc.CPU(b.PID())
			if err != nil {
				return err
			}
			if bytes, err = b.scrape(ctx, f.accept, f.encoding); err != nil {
				return err
			}
			after, err := proc.CPU(b.PID())
			if err != nil {
				return err
			}
			spent += after - before
		}
		b.duration(fmt.Sprintf("%s: scrape, CPU, %s, %.1f MB", state, f.name, float64(bytes)/1e6), spent/rounds, mostScrape)
	}
	resident, err := proc.Resident(b.PID())
	if err != nil {
		return err
	}
	b.memory(state+": resident, with scrapes", resident)
	return b.peak(state)
}

func (b *bench) peak(state string) error {
	peak, err := proc.Peak(b.PID())
	if err != nil {
		return err
	}
	b.memory(state+": peak so far", peak)
	return nil
}

// scrape reads /metrics and returns its length.
func (b *bench) scrape(ctx context.Context, accept, encoding string) (bytes int64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.URL+"/metrics", http.NoBody)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("Accept-Encoding", encoding)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("scrape: %s", res.Status)
	}
	return io.Copy(io.Discard, res.Body)
}

// least is how long load runs at least: several windows.
const least = 45 * time.Second

// use lets the load run until each step has succeeded and failed, with scrapes in both formats at once all the time.
func (b *bench) use(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	began := time.Now()
	for {
		both := make(chan error)
		for _, accept := range []string{formats[0].accept, protobuf} {
			go func() {
				_, err := b.scrape(ctx, accept, "identity")
				both <- err
			}()
		}
		if err := errors.Join(<-both, <-both); err != nil {
			return err
		}
		m, err := b.Scrape(ctx)
		if err != nil {
			return err
		}
		if took := time.Since(began); took >= least && b.allUsed(m) {
			fmt.Printf("all series are in use after %.0f s at %.0f requests/s\n", took.Seconds(), m.Value("perfd_requests_total")/took.Seconds())
			return b.profile(ctx, "heap", "load", "/debug/pprof/heap?gc=1")
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not every step succeeded and failed: %w", ctx.Err())
		case <-time.After(2 * time.Second):
		}
	}
}

// allUsed reports whether no histogram of a step is empty.
func (b *bench) allUsed(m daemon.Metrics) bool {
	for _, name := range []string{"perfd_request_duration_seconds", "perfd_request_failure_duration_seconds"} {
		used := 0
		for _, s := range m.Series(name) {
			if s.Histogram.GetSampleCount() > 0 {
				used++
			}
		}
		if used < b.scenarios*b.steps {
			return false
		}
	}
	return true
}

// quiet waits until no virtual user is busy.
func (b *bench) quiet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	_, err := b.Until(ctx, func(m daemon.Metrics) string {
		if n := m.Value("perfd_vus_busy"); n != 0 {
			return fmt.Sprintf("%v virtual users are busy, want 0", n)
		}
		return ""
	})
	return err
}

// reload changes the first scenarios of the configuration.
func (b *bench) reload(ctx context.Context, changed int) error {
	if err := b.Configure(b.config(changed)); err != nil {
		return err
	}
	profiled := make(chan error, 1)
	go func() {
		profiled <- b.profile(ctx, "cpu", fmt.Sprintf("reload-%d", changed), "/debug/pprof/profile?seconds=2")
	}()
	if b.profiles != "" {
		time.Sleep(500 * time.Millisecond) // until it is on
	}
	before, err := proc.CPU(b.PID())
	if err != nil {
		return err
	}
	began := time.Now()
	if err := b.Post(ctx, "/-/reload"); err != nil {
		return err
	}
	took := time.Since(began)
	after, err := proc.CPU(b.PID())
	if err != nil {
		return err
	}
	b.duration(fmt.Sprintf("reload of %d scenarios, with %.2f s of CPU", changed, (after-before).Seconds()), took, mostReload)
	return <-profiled
}

// profile writes a profile of the daemon where they are asked for.
func (b *bench) profile(ctx context.Context, what, state, path string) error {
	if b.profiles == "" {
		return nil
	}
	_, body, err := b.Do(ctx, http.MethodGet, path)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.profiles, what+"-"+state+".pprof"), []byte(body), 0o600)
}
