// Package leaks runs small programs with known leaks, and with growth that is known to be harmless, under the load of a
// real perfd that reads what they need, and holds it to what it says of them. Go, Node, Python and Java, as far as they
// are installed. The time scale is shortened: what services take hours for is done in minutes.
//
// It takes as long as -leaks.for says: go test ./test/leaks -timeout 1h -args -leaks.for=25m
package leaks

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/perfd/perfd/test/daemon"
	"github.com/perfd/perfd/test/proc"
)

var (
	span = flag.Duration("leaks.for", 0, "how long the programs run; nothing is run if it is 0")
	into = flag.String("leaks.record", "", "the file that what the programs need is written to, as internal/analysis/leak/testdata/processes.csv was")
)

// A program is one process under load.
type program struct {
	name     string
	command  []string
	resource string // what is watched, a metric
	kind     string
	leaks    bool
	url      string // once it runs
}

// javaHeap makes generations so small that both are collected every few seconds or minutes: at the size that a service has,
// the old one is not collected before the test is over, and what is garbage is not told from what is held.
var javaHeap = []string{"-Xms256m", "-Xmx256m", "-Xmn8m", "-XX:+UseG1GC", "-XX:InitiatingHeapOccupancyPercent=20", "-XX:-G1UseAdaptiveIHOP"}

// programs returns those whose interpreters are installed; what is missing is logged.
func programs(t *testing.T, leaky string) (all []program) {
	t.Helper()
	add := func(tool, name string, command []string, resource, kind string, leaks bool) {
		if _, err := exec.LookPath(tool); err != nil {
			t.Logf("%s is left out: %v", name, err)
			return
		}
		all = append(all, program{name: name, command: command, resource: resource, kind: kind, leaks: leaks})
	}
	for _, x := range []struct {
		mode, resource, kind string
		leaks                bool
	}{
		{"request", "heap_bytes", "memory", true},
		{"time", "heap_bytes", "memory", true},
		{"goroutine", "goroutines", "goroutines", true},
		{"descriptor", "open_fds", "descriptors", true},
		{"offheap", "rss_bytes", "memory", true},
		{"steady", "heap_bytes", "memory", false},
		{"cache", "heap_bytes", "memory", false},
		{"warming", "heap_bytes", "memory", false},
		{"pool", "rss_bytes", "memory", false},
	} {
		add("go", "go-"+x.mode, []string{leaky, x.mode}, x.resource, x.kind, x.leaks)
	}
	for mode, leaks := range map[string]bool{"array": true, "listener": true, "steady": false, "lru": false} {
		add("node", "node-"+mode, []string{"node", filepath.Join("testdata", "server.js"), mode}, "heap_bytes", "memory", leaks)
	}
	for mode, leaks := range map[string]bool{"list": true, "steady": false, "deque": false} {
		add("python3", "python-"+mode, []string{"python3", filepath.Join("testdata", "server.py"), mode}, "rss_bytes", "memory", leaks)
	}
	for mode, leaks := range map[string]bool{"list": true, "steady": false, "cache": false} {
		add("java", "java-"+mode, slices.Concat([]string{"java"}, javaHeap, []string{filepath.Join("testdata", "Server.java"), mode}), "heap_bytes", "memory", leaks)
	}
	slices.SortFunc(all, func(a, b program) int { return strings.Compare(a.name, b.name) })
	return all
}

var listening = regexp.MustCompile(`listening on (\S+)`)

// A finding is what the API says of a resource.
type finding struct {
	Kind, State, Target, Verdict, Sentence, Needed string
}

// TestLeaksOfRealProcesses finds all leaks and calls nothing harmless one, at any time.
func TestLeaksOfRealProcesses(t *testing.T) {
	if *span == 0 {
		t.Skip("runs with -leaks.for: make leaks")
	}
	ctx, cancel := context.WithTimeout(t.Context(), *span+5*time.Minute)
	defer cancel()
	leaky := filepath.Join(t.TempDir(), "leaky")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", leaky, "./leaky").CombinedOutput(); err != nil {
		t.Fatalf("build leaky: %v\n%s", err, out)
	}
	all := programs(t, leaky)
	var config strings.Builder
	config.WriteString("targets:\n")
	for i := range all {
		p := &all[i]
		x, err := proc.Start(proc.Spec{Path: p.command[0], Args: p.command[1:]})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { x.Kill() })
		m, err := x.WaitFor(ctx, listening)
		if err != nil {
			t.Fatalf("%s: %v\n%s", p.name, err, x.Output())
		}
		p.url = "http://" + m[1]
		fmt.Fprintf(&config, "  - {name: %s, url: '%s', resources: [{name: watched, kind: %s, scrape: /metrics, metric: %s, every: 1s}]}\n", p.name, p.url, p.kind, p.resource)
	}
	config.WriteString("scenarios:\n")
	for _, p := range all {
		fmt.Fprintf(&config, "  - {name: %s, test: endurance, target: %s, workload: {executor: constant-arrival-rate, arrivals: poisson, rate: 10/s, max_vus: 20}, flow: [{name: work, http: {url: /work}}]}\n", p.name, p.name)
	}
	binary, err := daemon.Build(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	d, err := daemon.Start(ctx, daemon.Options{Binary: binary, Dir: t.TempDir(), Config: config.String()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Kill)

	if *into != "" {
		file, err := os.Create(*into)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		go record(ctx, t, file, all)
	}
	began := time.Now()
	called, last := map[string]time.Duration{}, map[string]finding{}
	for time.Since(began) < *span {
		time.Sleep(5 * time.Second)
		for _, f := range findings(ctx, t, d.URL) {
			if f.Kind != "leak" {
				continue
			}
			last[f.Target] = f
			if _, known := called[f.Target]; f.State == "active" && !known {
				called[f.Target] = time.Since(began).Round(time.Second)
				t.Logf("%s is called after %v: %s", f.Target, called[f.Target], f.Sentence)
			}
		}
	}
	for _, p := range all {
		at, found := called[p.name]
		switch f := last[p.name]; {
		case p.leaks && !found:
			t.Errorf("%s leaks and is not called: %s (needed: %s)", p.name, f.Sentence, f.Needed)
		case p.leaks && f.State != "active":
			t.Errorf("%s leaks, was called after %v, and is %s at the end: %s", p.name, at, f.State, f.Sentence)
		case !p.leaks && found:
			t.Errorf("%s is harmless and was called after %v; at the end %s: %s", p.name, at, f.State, f.Sentence)
		default:
			t.Logf("%s: %s: %s", p.name, f.Verdict, f.Sentence)
		}
	}
}

// recorded is how often a line is recorded.
const recorded = 2 * time.Second

// record writes a line of names, one of which leak, and then a line every two seconds: bytes in KiB, counts as they are.
func record(ctx context.Context, t *testing.T, to io.Writer, all []program) {
	var names, leaks []string
	for _, p := range all {
		names, leaks = append(names, p.name), append(leaks, fmt.Sprint(p.leaks))
	}
	fmt.Fprintf(to, "%s\n%s\n", strings.Join(names, ","), strings.Join(leaks, ","))
	for {
		var line []string
		for _, p := range all {
			v, err := p.read(ctx)
			if err != nil {
				if ctx.Err() == nil {
					t.Errorf("%s: %v", p.name, err)
				}
				return
			}
			if p.kind == "memory" {
				v /= 1 << 10
			}
			line = append(line, fmt.Sprintf("%.0f", v))
		}
		fmt.Fprintln(to, strings.Join(line, ","))
		select {
		case <-ctx.Done():
			return
		case <-time.After(recorded):
		}
	}
}

// read returns what a program needs now.
func (p *program) read(ctx context.Context) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/metrics", http.NoBody)
	if err != nil {
		return 0, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, p.resource+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(v), 64)
		}
	}
	return 0, fmt.Errorf("no %s in %q", p.resource, text)
}

func findings(ctx context.Context, t *testing.T, url string) []finding {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/api/v1/findings", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var body struct{ Data []finding }
	if err := json.NewDecoder(res.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	return body.Data
}
