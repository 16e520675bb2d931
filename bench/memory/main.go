// Command memory measures how much resident memory a virtual user costs: one
// that thinks, and one that holds a live connection.
//
// Each figure is the difference between a daemon with many virtual users and
// the same daemon with one, divided by their number.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/perfd/perfd/bench/nginx"
	"github.com/perfd/perfd/test/daemon"
	"github.com/perfd/perfd/test/proc"
)

// files is the limit on descriptors of each program.
const files = 20_000

var only = flag.String("only", "", "measure only what has this in its name, such as together")

func main() {
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "memory:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "perfd-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary, err := daemon.Build(ctx, dir)
	if err != nil {
		return err
	}
	server, err := nginx.Start(ctx, nginx.Options{Dir: dir, Connections: files - 1000})
	if err != nil {
		return err
	}
	defer server.Kill()

	const visits = "[{name: get, http: {url: /}}, {think: {uniform: [20s, 40s]}}]"
	breached := false
	for _, m := range []measurement{
		{
			name: "thinking", vus: 50_000, most: 1 << 10,
			flow: "[{think: 2h}, {name: get, http: {url: /}}]",
		},
		{name: "with a live connection, after a ramp", vus: 10_000, most: 4 << 10, connected: true, flow: visits},
		{name: "with a live connection, begun together", vus: 10_000, most: 12 << 10, connected: true, flow: visits, start: "default"},
		{name: "with a live connection, begun at once", vus: 10_000, most: 12 << 10, connected: true, flow: visits, start: "0s"},
	} {
		if !strings.Contains(m.name, *only) {
			continue
		}
		per, err := m.perVU(ctx, binary, dir, server.URL)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		fmt.Printf("%d virtual users, %s: %.0f bytes each above idle, bar %.0f\n", m.vus, m.name, per, m.most)
		breached = breached || per > m.most
	}
	if breached {
		return fmt.Errorf("a bar is breached")
	}
	return nil
}

type measurement struct {
	name      string
	vus       int
	flow      string
	connected bool // each virtual user holds a connection
	most      float64
	start     string // start_over of users that a plan without a ramp asks for; empty for a ramp
}

// workload is a ramp that plays from its beginning because the run is started by hand; an always-on run would join it at
// its end. Or it asks for all users from its begin on.
func (m measurement) workload(vus int) string {
	switch m.start {
	case "":
		return fmt.Sprintf("{executor: ramping-vus, start_vus: 1, stages: [{duration: 10s, target: %d}, {duration: 2h, target: %d}]}", vus, vus)
	case "default":
		return fmt.Sprintf("{executor: constant-vus, vus: %d}", vus)
	}
	return fmt.Sprintf("{executor: constant-vus, vus: %d, start_over: %s}", vus, m.start)
}

func (m measurement) perVU(ctx context.Context, binary, dir, url string) (bytes float64, err error) {
	one, err := m.resident(ctx, binary, dir, url, 1)
	if err != nil {
		return 0, err
	}
	many, err := m.resident(ctx, binary, dir, url, m.vus)
	if err != nil {
		return 0, err
	}
	return float64(many-one) / float64(m.vus-1), nil
}

// settle is how long memory is watched once all virtual users are there.
const settle = 30 * time.Second

// resident is the median memory of a daemon with so many virtual users.
func (m measurement) resident(ctx context.Context, binary, dir, url string, vus int) (int64, error) {
	d, err := daemon.Start(ctx, daemon.Options{
		Binary: binary, Dir: dir, Files: files,
		Config: fmt.Sprintf(`
safety: {max_request_rate: 1000000/s}
targets:
  - {name: server, url: %q}
scenarios:
  - name: users
    test: load
    target: server
    schedule: {manual: true}
    workload: %s
    flow: %s
`, url, m.workload(vus), m.flow),
	})
	if err != nil {
		return 0, err
	}
	defer d.Kill()
	if err := d.Post(ctx, "/api/v1/scenarios/users/start"); err != nil {
		return 0, err
	}
	limited, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	if _, err := d.Until(limited, func(now daemon.Metrics) string {
		if got := now.Value("perfd_vus"); got != float64(vus) {
			return fmt.Sprintf("perfd_vus = %v, want %d", got, vus)
		}
		open := now.Value("perfd_connections_opened_total") - now.Value("perfd_connections_closed_total")
		if m.connected && open != float64(vus) {
			return fmt.Sprintf("%v open connections, want %d", open, vus)
		}
		return ""
	}); err != nil {
		return 0, err
	}

	var seen []int64
	until := time.Now().Add(settle)
	err = proc.Poll(ctx, time.Second, func() (bool, error) {
		rss, err := proc.Resident(d.PID())
		seen = append(seen, rss)
		return !time.Now().Before(until), err
	})
	if err != nil {
		return 0, err
	}
	last, err := d.Scrape(ctx)
	if err != nil {
		return 0, err
	}
	if n := last.Value("perfd_request_failures_total"); n > 0 {
		var why strings.Builder
		for _, s := range last.Series("perfd_request_failures_total") {
			if failed := s.GetCounter().GetValue(); failed > 0 {
				fmt.Fprintf(&why, ", %v:%v", failed, s.Label)
			}
		}
		return 0, fmt.Errorf("%v requests failed%s", n, &why)
	}
	slices.Sort(seen)
	return seen[len(seen)/2], nil
}
