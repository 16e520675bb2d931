package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/perfd/perfd/test/daemon"
	"github.com/perfd/perfd/test/proc"
)

// connections is how many each generator has.
const connections = 16

// text is what messages hold.
const text = `{"type":"order","id":"3b1f8a52-9c1d-4a52-8d0e-5d1f0c6f2a77","product":4711,"quantity":2}`

// ghzBar is what ghz must cost at least, in perfd's cost of a request.
const ghzBar = 2.0

// A comparison is of perfd with bare loops.
type comparison struct {
	name   string
	server string  // grpc or websocket
	step   string  // of perfd
	counts string  // what of perfd is counted
	label  string  // of it, empty for none
	bar    float64 // most that perfd may cost, of a bare loop
}

var body = base64.StdEncoding.EncodeToString([]byte(text))

var comparisons = []comparison{
	{
		name: "unary", server: "grpc", counts: "perfd_requests_total", bar: 1.15,
		step: fmt.Sprintf(`grpc: {method: bench.Echo/Unary, message: {body: %s}}`, body),
	},
	{
		name: "stream", server: "grpc", counts: "perfd_messages_total", label: "direction=received", bar: 1.3,
		step: fmt.Sprintf(`grpc: {method: bench.Echo/Pour, message: {body: %s}, listen: 1h}`, body),
	},
	{
		name: "converse", server: "grpc", counts: "perfd_messages_total", label: "direction=received", bar: 1.3,
		step: fmt.Sprintf(`grpc: {method: bench.Echo/Converse, send: {body: %s}, receive: any}`, body),
	},
	{
		name: "websocket", server: "websocket", counts: "perfd_messages_total", label: "direction=received", bar: 1.2,
		step: fmt.Sprintf(`websocket: {url: /, send: {text: %q}, receive: any}`, text),
	},
}

// A generator makes requests or exchanges messages as fast as it can on core 1.
type generator struct {
	name    string
	bare    bool
	measure func(ctx context.Context, address, dir string) (measurement, error)
}

// A measurement is what a generator did in its span.
type measurement struct {
	Messages uint64        `json:"messages"`
	CPU      time.Duration `json:"cpu"` // user and system
}

// warm is how long a generator runs before it is measured: connections are open and caches warm then.
const warm = time.Second

const config = `
safety: {max_request_rate: 1000000/s}
targets:
  - {name: server, url: "http://%s", grpc: {descriptors: {proto: [bench.proto]}}}
scenarios:
  - name: closed
    test: load
    target: server
    schedule: {always: true}
    workload: {executor: constant-vus, vus: %d}
    flow: %s
`

// start runs perfd with so many virtual users.
func (b *bench) start(ctx context.Context, dir, address string, vus int, flow string, before ...string) (*daemon.Daemon, error) {
	if err := os.WriteFile(filepath.Join(dir, "bench.proto"), []byte(definition), 0o644); err != nil {
		return nil, err
	}
	o := daemon.Options{Binary: b.binary, Dir: dir, Config: fmt.Sprintf(config, address, vus, flow), Before: before, Files: b.files}
	if before != nil {
		o.Env = append(os.Environ(), "GOMAXPROCS=1")
	}
	return daemon.Start(ctx, o)
}

// perfd is perfd with a step.
func (b *bench) perfd(c *comparison) generator {
	return generator{"perfd", false, func(ctx context.Context, address, dir string) (m measurement, err error) {
		d, err := b.start(ctx, dir, address, connections, "[{name: step, "+c.step+"}]", "taskset", "-c", "1")
		if err != nil {
			return m, err
		}
		defer d.Kill()
		count := func() (n uint64, cpu time.Duration, err error) {
			now, err := d.Scrape(ctx)
			if err != nil {
				return 0, 0, err
			}
			if failed := now.Value("perfd_request_failures_total"); failed > 0 {
				return 0, 0, fmt.Errorf("%v requests failed:\n%s", failed, d.Output())
			}
			var labels []string
			if c.label != "" {
				labels = []string{c.label}
			}
			cpu, err = proc.CPU(d.PID())
			return uint64(now.Value(c.counts, labels...)), cpu, err
		}
		if _, err := d.Until(ctx, func(now daemon.Metrics) string {
			if n := now.Value("perfd_connections_opened_total"); n < connections {
				return fmt.Sprintf("%v connections of %d", n, connections)
			}
			return ""
		}); err != nil {
			return m, err
		}
		if err := wait(ctx, warm); err != nil {
			return m, err
		}
		n, cpu, err := count()
		if err != nil {
			return m, err
		}
		if err := wait(ctx, b.span); err != nil {
			return m, err
		}
		n2, cpu2, err := count()
		return measurement{n2 - n, cpu2 - cpu}, err
	}}
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// others are the generators that a comparison is with.
func (b *bench) others(ctx context.Context, c *comparison) ([]generator, error) {
	if c.server == "websocket" {
		binary := filepath.Join(b.dir, "websockets")
		if err := build(ctx, "tools/websockets", binary, "."); err != nil {
			return nil, err
		}
		var list []generator
		for _, library := range []string{"gobwas", "gorilla", "coder"} {
			list = append(list, b.bare(library, binary, "-library", library, "-text", text, "-connections", strconv.Itoa(connections), "-span", b.span.String(), "-warm", warm.String()))
		}
		return list, nil
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	list := []generator{b.bare("bare", self, "-be", c.name, "-span", b.span.String())}
	if b.ghz && c.name == "unary" {
		binary := filepath.Join(b.dir, "ghz")
		if err := build(ctx, "tools/ghz", binary, "github.com/bojand/ghz/cmd/ghz"); err != nil {
			return nil, err
		}
		list = append(list, b.ghzOf(binary))
	}
	return list, nil
}

// build builds a program of a module of its own.
func build(ctx context.Context, module, binary, what string) error {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return err
	}
	root := filepath.Dir(strings.TrimSpace(string(out)))
	if out, err := exec.CommandContext(ctx, "go", "build", "-C", filepath.Join(root, module), "-buildvcs=false", "-o", binary, what).CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", module, err, out)
	}
	return nil
}

// bare is a program that measures itself and prints a measurement.
func (b *bench) bare(name, binary string, args ...string) generator {
	return generator{name, true, func(ctx context.Context, address, _ string) (m measurement, err error) {
		args := append([]string{"-c", "1", binary}, args...)
		out, err := onOneCore(ctx, append(args, "-address", address)...)
		if err == nil {
			err = json.Unmarshal(out, &m)
		}
		return m, err
	}}
}

func onOneCore(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "taskset", args...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, &complaint)
	}
	return out, err
}

var ghzCount = regexp.MustCompile(`"count":\s*(\d+)`)

// ghzOf is ghz, which is measured from its start to its end.
func (b *bench) ghzOf(binary string) generator {
	return generator{"ghz", false, func(ctx context.Context, address, dir string) (m measurement, err error) {
		file := filepath.Join(dir, "bench.proto")
		if err := os.WriteFile(file, []byte(definition), 0o644); err != nil {
			return m, err
		}
		cmd := exec.CommandContext(ctx, "taskset", "-c", "1", binary, "--insecure", "--proto", file, "--call", "bench.Echo/Unary",
			"-d", fmt.Sprintf(`{"body": %q}`, body), "-c", strconv.Itoa(connections), "--connections", strconv.Itoa(connections),
			"-z", (b.span + warm).String(), "-O", "json", "--cpus", "1", address)
		out, err := cmd.Output()
		if err != nil {
			return m, err
		}
		n := ghzCount.FindSubmatch(out)
		if n == nil {
			return m, fmt.Errorf("no count of requests in:\n%s", out)
		}
		m.Messages, err = strconv.ParseUint(string(n[1]), 10, 64)
		m.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		return m, err
	}}
}
