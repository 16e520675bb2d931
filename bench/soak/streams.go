package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/perfd/perfd/test/daemon"
	"github.com/perfd/perfd/test/proc"
)

// files is the limit on descriptors of the daemon and the server of the streams.
const files = 20_000

// grown is how much more memory the daemon may hold at the end than before the restart.
const grown = 0.05

// streamsConfig has a scenario of each kind of streams, which last as long as the soak.
const streamsConfig = `
safety: {max_request_rate: 1000000/s}
targets:
  - {name: feeds, url: "http://%[1]s", grpc: {address: "%[2]s", descriptors: {proto: [feed.proto]}}}
scenarios:
  - name: grpc
    test: endurance
    target: feeds
    schedule: {always: true}
    workload: {executor: constant-vus, vus: %[3]d}
    flow:
      - {name: watch, grpc: {method: soak.Feed/Watch, sequence: json.seq, reconnect: {max_wait: 2s}, listen: 24h}}
  - name: websocket
    test: endurance
    target: feeds
    schedule: {always: true}
    workload: {executor: constant-vus, vus: %[3]d}
    flow:
      - {name: watch, websocket: {url: /feed, sequence: json.seq, ping_every: 10s, reconnect: {max_wait: 2s}, listen: 24h}}
`

// holdStreams holds so many streams of each kind for a time, and restarts their server in the middle.
func holdStreams(ctx context.Context, count int, duration time.Duration) error {
	dir, err := os.MkdirTemp("", "perfd-soak-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary, err := daemon.Build(ctx, dir)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "feed.proto"), []byte(feedProto), 0o600); err != nil {
		return err
	}
	server, err := newFeedServer()
	if err != nil {
		return err
	}
	if err := server.start(ctx); err != nil {
		return err
	}
	defer func() { server.Kill() }()
	d, err := daemon.Start(ctx, daemon.Options{Binary: binary, Dir: dir, Files: files, Config: fmt.Sprintf(streamsConfig, server.web, server.rpc, count)})
	if err != nil {
		return err
	}
	defer d.Kill()

	s := &streamSoak{daemon: d, server: server, count: count}
	before, err := s.half(ctx, duration/2)
	if err != nil {
		return err
	}
	// The server is quiet first, so that all that it has sent arrives; then every stream is lost.
	if err := s.quiet(ctx); err != nil {
		return err
	}
	server.Kill()
	if err := wait(ctx, 2*time.Second); err != nil {
		return err
	}
	if err := server.start(ctx); err != nil {
		return err
	}
	after, err := s.half(ctx, duration-duration/2)
	if err != nil {
		return err
	}
	if err := s.quiet(ctx); err != nil {
		return err
	}
	return s.verdict(ctx, before, after, duration)
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A streamSoak is the soak of streams under way.
type streamSoak struct {
	daemon *daemon.Daemon
	server *feedServer
	count  int
	made   map[string]made // by the servers that are quiet
}

// kinds are the scenarios, which are named as the server names their streams.
var kinds = []string{ofGRPC, ofWebSocket}

// A level is what the daemon holds in the last third of a half.
type level struct {
	resident    float64 // MiB, the median
	slope       float64 // MiB per hour
	goroutines  int
	descriptors int
}

// half waits until all streams are open, and watches the daemon for the time.
func (s *streamSoak) half(ctx context.Context, duration time.Duration) (l level, err error) {
	began := time.Now()
	limited, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := proc.Poll(limited, time.Second, func() (bool, error) {
		a, err := s.server.ask(limited, "/account")
		return err == nil && a.Open[ofGRPC] == s.count && a.Open[ofWebSocket] == s.count, err
	}); err != nil {
		return l, fmt.Errorf("not all streams are open: %w", err)
	}
	fmt.Printf("%d streams of each kind are open after %.1f s\n", s.count, time.Since(began).Seconds())
	var hours, mib []float64
	if err := proc.Poll(ctx, time.Second, func() (bool, error) {
		if !s.daemon.Running() {
			return false, fmt.Errorf("the daemon ended:\n%s", s.daemon.Output())
		}
		rss, err := proc.Resident(s.daemon.PID())
		at := time.Since(began)
		if at >= duration*2/3 {
			hours, mib = append(hours, at.Hours()), append(mib, float64(rss)/(1<<20))
		}
		return at >= duration, err
	}); err != nil {
		return l, err
	}
	l.slope, _ = slope(hours, mib)
	slices.Sort(mib)
	l.resident = mib[len(mib)/2]
	m, err := s.daemon.Scrape(ctx)
	if err != nil {
		return l, err
	}
	l.goroutines = int(m.Value("go_goroutines"))
	l.descriptors, err = proc.Descriptors(s.daemon.PID())
	return l, err
}

// quiet makes the server quiet, and adds up what it has made.
func (s *streamSoak) quiet(ctx context.Context) error {
	a, err := s.server.ask(ctx, "/quiet")
	if err != nil {
		return err
	}
	if s.made == nil {
		s.made = map[string]made{}
	}
	for kind, m := range a.Made {
		s.made[kind] = s.made[kind].plus(m)
	}
	// All of it arrives while the streams are open.
	limited, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	_, err = s.daemon.Until(limited, func(m daemon.Metrics) string {
		for _, kind := range kinds {
			if got, want := s.counted(m, kind).Sent, s.made[kind].Sent; got < want {
				return fmt.Sprintf("%d messages of %s, want %d", got, kind, want)
			}
		}
		return ""
	})
	return err
}

// counted is what the daemon says of a kind of streams, with what it received as sent.
func (s *streamSoak) counted(m daemon.Metrics, kind string) made {
	of := "scenario=" + kind
	return made{
		Sent:      int64(m.Value("perfd_messages_total", of, "direction=received")),
		Missing:   int64(m.Value("perfd_messages_missing_total", of)),
		Reordered: int64(m.Value("perfd_messages_reordered_total", of)),
		Repeated:  int64(m.Value("perfd_messages_repeated_total", of)),
	}
}

func (s *streamSoak) verdict(ctx context.Context, before, after level, duration time.Duration) error {
	m, err := s.daemon.Scrape(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("soak of %v: %d streams of each kind\n", duration, s.count)
	var errs []error
	for _, kind := range kinds {
		of := "scenario=" + kind
		got, want := s.counted(m, kind), s.made[kind]
		again := daemon.Native(m.Histogram("perfd_message_reconnect_seconds", of))
		lives := daemon.Native(m.Histogram("perfd_stream_lifetime_seconds", of))
		fmt.Printf("%s: the server sent %d messages, skipped %d numbers, sent %d late and %d twice; perfd received %d, missed %d, found %d late and %d repeated\n",
			kind, want.Sent, want.Missing, want.Reordered, want.Repeated, got.Sent, got.Missing, got.Reordered, got.Repeated)
		fmt.Printf("%s: %d streams ended, after %.0f s at the median; %d were opened again, after %.2f s at the median and %.2f s at p99, the 2 s without a server included\n",
			kind, lives.Count(), lives.Quantile(0.5), again.Count(), again.Quantile(0.5), again.Quantile(0.99))
		if got != want {
			errs = append(errs, fmt.Errorf("%s: perfd counts %+v, and the server made %+v", kind, got, want))
		}
		if n := again.Count(); n != int64(s.count) || lives.Count() != n {
			errs = append(errs, fmt.Errorf("%s: %d streams ended and %d were opened again, want %d", kind, lives.Count(), n, s.count))
		}
		if n := m.Value("perfd_request_failures_total", of); n > 0 {
			errs = append(errs, fmt.Errorf("%s: %v requests failed", kind, n))
		}
	}
	fmt.Printf("resident memory: %.1f MiB before the restart, %.1f MiB at the end (slopes %+.1f and %+.1f MiB/h); goroutines: %d, then %d; descriptors: %d, then %d\n",
		before.resident, after.resident, before.slope, after.slope, before.goroutines, after.goroutines, before.descriptors, after.descriptors)
	if after.resident > before.resident*(1+grown) {
		errs = append(errs, fmt.Errorf("the daemon holds %.1f %% more memory than before the restart, bar %.0f %%", 100*(after.resident/before.resident-1), 100*grown))
	}
	if after.goroutines > before.goroutines+s.count/4 { // those that perform steps come and go
		errs = append(errs, errors.New("there are more goroutines than before the restart"))
	}
	if before.descriptors != after.descriptors {
		errs = append(errs, errors.New("descriptors differ between the halves"))
	}
	return errors.Join(errs...)
}
