package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/perfd/perfd/test/daemon"
	"github.com/perfd/perfd/test/proc"
)

// A generator makes requests as fast as it can on core 1.
type generator struct {
	name    string
	measure func(ctx context.Context, j job) (measurement, error)
}

// A job is one measurement of a generator.
type job struct {
	url    string        // of the server
	dir    string        // an empty folder for what the generator writes
	span   time.Duration // how long it is measured
	server int           // process id of the server
}

// A measurement is what a generator did in its span.
type measurement struct {
	requests float64
	cpu      time.Duration // of the generator, user and system
	others   float64       // share of the machine that went to others than this process, server and generator
}

// rate is requests per second of CPU.
func (m measurement) rate() float64 { return m.requests / m.cpu.Seconds() }

// othersSince is the share of the machine that others than this process, the
// server and a generator took since an account.
func (j job) othersSince(before proc.Account, began time.Time, generator int) (float64, error) {
	after, err := proc.Accounts()
	if err != nil {
		return 0, err
	}
	const cores = 2 // those of the server and the generator; on a larger machine others may have the rest
	return after.Others(before, os.Getpid(), j.server, generator).Seconds() / time.Since(began).Seconds() / cores, nil
}

// wrk is wrk with one thread, whose requests carry header fields.
func (s *settings) wrk(fields []string) generator {
	return program("wrk", fields, regexp.MustCompile(`(\d+) requests in`), func(j job) []string {
		return []string{"wrk", "-t1", fmt.Sprintf("-c%d", s.connections), fmt.Sprintf("-d%ds", int(j.span.Seconds()))}
	})
}

// h2load is h2load with one thread, whose requests carry header fields.
func (s *settings) h2load(fields []string) generator {
	return program("h2load", fields, regexp.MustCompile(`(\d+) succeeded`), func(j job) []string {
		return []string{"h2load", "-t1", fmt.Sprintf("-c%d", s.connections), fmt.Sprintf("-m%d", s.streams), "-D", strconv.Itoa(int(j.span.Seconds()))}
	})
}

// netHTTP is Go's net/http in a process of its own, with a connection for each loop.
func (s *settings) netHTTP(fields []string) generator {
	return program("net/http", fields, regexp.MustCompile(`(\d+) requests`), func(j job) []string {
		self, err := os.Executable()
		if err != nil {
			self = os.Args[0]
		}
		return []string{"env", "GOMAXPROCS=1", self, "-loops", strconv.Itoa(s.connections), "-span", j.span.String()}
	})
}

// program is a program that makes requests for a time and then says how many.
func program(name string, fields []string, requests *regexp.Regexp, command func(job) []string) generator {
	return generator{name, func(ctx context.Context, j job) (measurement, error) {
		args := append([]string{"-c", "1"}, command(j)...)
		for _, f := range fields {
			args = append(args, "-H", f)
		}
		before, err := proc.Accounts()
		if err != nil {
			return measurement{}, err
		}
		began := time.Now()
		cmd := exec.CommandContext(ctx, "taskset", append(args, j.url)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return measurement{}, fmt.Errorf("%w\n%s", err, out)
		}
		others, err := j.othersSince(before, began, cmd.Process.Pid)
		if err != nil {
			return measurement{}, err
		}
		m := requests.FindSubmatch(out)
		if m == nil {
			return measurement{}, fmt.Errorf("no count of requests in:\n%s", out)
		}
		n, err := strconv.ParseFloat(string(m[1]), 64)
		if err != nil {
			return measurement{}, err
		}
		return measurement{n, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), others}, nil
	}}
}

const closedConfig = `
safety: {max_request_rate: 1000000/s}
targets:
  - {name: server, url: %q, http: %s}
scenarios:
  - name: closed
    test: load
    target: server
    schedule: {always: true}
    workload: {executor: constant-vus, vus: %d}
    flow:
      - {name: get, http: {url: /}}
`

// warm is how many requests perfd makes before it is measured: connections are
// open and caches warm then.
const warm = 10_000

// perfd is a binary of perfd with more lines in its configuration.
func (s *settings) perfd(name, binary, more string) generator {
	return generator{name, func(ctx context.Context, j job) (measurement, error) {
		d, err := s.startClosed(ctx, binary, j.dir, j.url, more)
		if err != nil {
			return measurement{}, err
		}
		defer d.Kill()
		if _, err := d.Until(ctx, func(m daemon.Metrics) string {
			if m.Value("perfd_requests_total") < warm {
				return fmt.Sprintf("%d requests to warm up", warm)
			}
			return ""
		}); err != nil {
			return measurement{}, err
		}
		account, err := proc.Accounts()
		if err != nil {
			return measurement{}, err
		}
		began := time.Now()
		before, err := spent(ctx, d)
		if err != nil {
			return measurement{}, err
		}
		select {
		case <-time.After(j.span):
		case <-ctx.Done():
			return measurement{}, ctx.Err()
		}
		after, err := spent(ctx, d)
		if err != nil {
			return measurement{}, err
		}
		if after.failures > 0 {
			return measurement{}, fmt.Errorf("%v requests failed", after.failures)
		}
		others, err := j.othersSince(account, began, d.PID())
		return measurement{after.requests - before.requests, after.cpu - before.cpu, others}, err
	}}
}

func (s *settings) startClosed(ctx context.Context, binary, dir, url, more string) (*daemon.Daemon, error) {
	block, vus := "{}", s.connections
	switch {
	case s.http2 && s.streams > 1:
		block, vus = fmt.Sprintf("{version: 2, connections: {pool: %d}}", s.connections), s.connections*s.streams
	case s.http2:
		block = "{version: 2}"
	}
	return daemon.Start(ctx, daemon.Options{
		Binary: binary, Dir: dir, Before: []string{"taskset", "-c", "1"}, Env: append(os.Environ(), "GOMAXPROCS=1"),
		Config: fmt.Sprintf(closedConfig, url, block, vus) + more,
	})
}

// headerOf returns the header fields that perfd sends besides Host, so that wrk
// can send the same.
func (s *settings) headerOf(ctx context.Context, binary, dir string) ([]string, error) {
	plain := *s
	plain.http2 = false
	seen := make(chan http.Header, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case seen <- r.Header:
		default:
		}
	}))
	defer server.Close()
	d, err := plain.startClosed(ctx, binary, dir, server.URL, "")
	if err != nil {
		return nil, err
	}
	defer d.Kill()
	var fields []string
	select {
	case h := <-seen:
		for name, values := range h {
			fields = append(fields, name+": "+strings.Join(values, ", "))
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(time.Minute):
		return nil, fmt.Errorf("perfd sends no request:\n%s", d.Output())
	}
	slices.Sort(fields)
	return fields, nil
}
