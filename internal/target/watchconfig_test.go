package target

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/block"
)

func TestWatchConfig(t *testing.T) {
	var c Config
	if got := decode(t, `
name: shop
url: https://shop.staging.example.com
release: {url: /version, json: git_sha, settle: 10m}
resources:
  - {name: heap, kind: memory, scrape: /metrics, metric: go_gc_heap_live_bytes, labels: {area: old}, limit: 2GiB, warn_at: 90%}
  - {name: threads, kind: threads, scrape: "https://shop.staging.example.com/metrics", metric: go_threads, every: 1m, limit: 500}
  - {name: pods, kind: memory, prometheus: "http://prometheus:9090", query: 'container_memory_working_set_bytes{pod=~"shop-.*"}', member: pod}
`, &c); got != "" {
		t.Fatal(got)
	}
	if r := c.Release; r.URL.S != "/version" || r.JSON.S != "git_sha" || r.Every.D() != 30*time.Second || r.Settle.D() != 10*time.Minute || r.Push {
		t.Errorf("release = %+v", *r)
	}
	if len(c.Resources) != 3 {
		t.Fatalf("%d resources, want 3", len(c.Resources))
	}
	heap, threads, pods := c.Resources[0], c.Resources[1], c.Resources[2]
	if diff := cmp.Diff(map[string]string{"area": "old"}, heap.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if heap.Limit.Value != 2<<30 || heap.WarnAt != 0.9 || heap.Every.D() != 15*time.Second || heap.Metric.S != "go_gc_heap_live_bytes" || heap.Kind != "memory" {
		t.Errorf("heap = %+v", heap)
	}
	if threads.Limit.Value != 500 || threads.WarnAt != 0.85 || threads.Every.D() != time.Minute {
		t.Errorf("threads = %+v", threads)
	}
	if pods.Limit.Value != 0 || pods.Member.S != "pod" || pods.Query.S != `container_memory_working_set_bytes{pod=~"shop-.*"}` {
		t.Errorf("pods = %+v", pods)
	}
	if len(c.Blocks) != 0 {
		t.Errorf("blocks of protocols = %v, want none", c.Blocks)
	}
}

func TestReleaseConfigs(t *testing.T) {
	for _, text := range []string{
		"{url: /version, json: build.version}",
		"{url: /, header: X-Release}",
		"{url: /metrics, metric: shop_release_info, label: release}",
		"{url: 'https://admin.staging.example.com:8443/v?full=1', json: git_sha, every: 1s, settle: 0s}",
		"{push: true, settle: 1h}",
	} {
		var c ReleaseConfig
		if got := decode(t, text, &c); got != "" {
			t.Errorf("%s: %s", text, got)
		}
	}
}

func TestReleaseConfigMistakes(t *testing.T) {
	const source = "\n\thint: write {url: /version, json: git_sha}, or {push: true} where whoever deploys tells it"
	const address = "must be a path such as /version or an address such as https://shop.staging.example.com/version, got "
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "{}", "x.yaml:1:1: says not where the release comes from" + source},
		{"no push either", "{push: false}", "x.yaml:1:1: says not where the release comes from" + source},
		{
			"no place in the answer", "{url: /version}",
			"x.yaml:1:7: says not where in the answer the release is\n\thint: add json: PATH, header: NAME, or metric: NAME and label: NAME",
		},
		{
			"two places", "{url: /version, json: a, header: X-Release}",
			"x.yaml:1:34: header: is a second place for the release beside json\n\thint: choose one of json, header and metric",
		},
		{"no url", "{json: a}", "x.yaml:1:1: url: is required"},
		{"a metric without its label", "{url: /metrics, metric: a}", "x.yaml:1:25: metric: needs the label that holds the release\n\thint: add label: NAME"},
		{"a label without its metric", "{url: /metrics, json: a, label: b}", "x.yaml:1:33: label: needs the metric that it is a label of\n\thint: add metric: NAME"},
		{
			"push and a source", "{url: /version, json: a, push: true}",
			"x.yaml:1:32: push: means that nothing is read, but there is something to read\n\thint: leave push out: releases may be told in any case",
		},
		{"an unknown key", "{url: /version, jsn: a, header: X}", "x.yaml:1:17: jsn: unknown key \"jsn\"\n\thint: did you mean \"json\"?"},
		{"empty", "{url: /version, json: ''}", "x.yaml:1:23: json: must not be empty"},
		{"no path", "{url: version, json: a}", "x.yaml:1:7: url: " + address + `"version"`},
		{"no scheme", "{url: '//h/version', json: a}", "x.yaml:1:7: url: " + address + `"//h/version"`},
		{"another scheme", "{url: 'ftp://h/v', json: a}", `x.yaml:1:7: url: must be an address such as https://shop.staging.example.com/version, got "ftp://h/v"`},
		{"credentials", "{url: 'http://u:p@h/v', json: a}", "x.yaml:1:7: url: must not hold a user or password"},
		{"a fragment", "{url: '/v#x', json: a}", `x.yaml:1:7: url: must not hold a fragment, got "/v#x"`},
		{"no header's name", "{url: /v, header: 'X Release'}", `x.yaml:1:19: header: is no name of a header field, got "X Release"`},
		{
			"a selector", "{url: /v, metric: 'a{b=\"c\"}', label: d}",
			"x.yaml:1:19: metric: must be a metric's name alone, got \"a{b=\\\"c\\\"}\"\n\thint: labels choose among its series: labels: {NAME: VALUE}",
		},
		{"no name of a field", "{url: /v, json: a, headers: {'X Key': k}}", `x.yaml:1:30: headers.X Key: "X Key" is not a header's name`},
		{"a field of perfd's own", "{url: /v, json: a, headers: {accept: text/html, X-PERFD: x}}", "x.yaml:1:30: headers.accept: accept is written by perfd itself\nx.yaml:1:49: headers.X-PERFD: X-PERFD is written by perfd itself"},
		{"a line end", `{url: /v, json: a, headers: {X-Key: "a\r\nX-Other: b"}}`, "x.yaml:1:37: headers.X-Key: must not hold line ends"},
		{"too often", "{url: /v, json: a, every: 10ms}", "x.yaml:1:27: every: must be from 1s to 1h, got 10ms"},
		{"settles too long", "{push: true, settle: 2d}", "x.yaml:1:22: settle: must be from 0s to 24h, got 48h"},
	} {
		var d ReleaseConfig
		if got := decode(t, c.text, &d); got != c.want {
			t.Errorf("%s: %s\ngot  %s\nwant %s", c.name, c.text, got, c.want)
		}
	}
}

func TestResourceConfigMistakes(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "{name: a, kind: memory}", "x.yaml:1:1: says not where the level is read\n\thint: write scrape: URL and metric: NAME, or prometheus: URL and query: EXPRESSION"},
		{"no name, no kind", "{scrape: /m, metric: a}", "x.yaml:1:1: kind: is required\nx.yaml:1:1: name: is required"},
		{"a name for a label", "{name: a b, kind: memory, scrape: /m, metric: a}", `x.yaml:1:8: name: a name is made of up to 100 letters, digits, _ and -, got "a b"`},
		{
			"an unknown kind", "{name: a, kind: goroutine, scrape: /m, metric: a, limit: 5}",
			"x.yaml:1:17: kind: must be one of memory, disk, goroutines, threads, descriptors, connections, cpu, network, got \"goroutine\"\n\thint: did you mean \"goroutines\"?",
		},
		{
			"two sources", "{name: a, kind: memory, scrape: /m, metric: a, prometheus: 'http://p', query: b}",
			"x.yaml:1:60: prometheus: is a second source beside scrape\n\thint: choose one of scrape and prometheus",
		},
		{"no metric", "{name: a, kind: memory, scrape: /m}", "x.yaml:1:1: metric: is required with scrape"},
		{"no query", "{name: a, kind: memory, prometheus: 'http://p'}", "x.yaml:1:1: query: is required with prometheus"},
		{"a query of a page", "{name: a, kind: memory, scrape: /m, metric: a, query: b}", "x.yaml:1:55: query: does not go with scrape"},
		{"labels of a query", "{name: a, kind: memory, prometheus: 'http://p', query: b, labels: {c: d}}", "x.yaml:1:67: labels: does not go with prometheus"},
		{"a path of prometheus", "{name: a, kind: memory, prometheus: /p, query: b}", `x.yaml:1:37: prometheus: must be an address such as http://prometheus:9090, got "/p"`},
		{"memory without a unit", "{name: a, kind: memory, scrape: /m, metric: a, limit: 5}", "x.yaml:1:55: limit: a size needs a unit, got 5\n\thint: write \"5B\", \"5kB\" or \"5MiB\""},
		{"a count with a unit", "{name: a, kind: threads, scrape: /m, metric: a, limit: 5MiB}", `x.yaml:1:56: limit: must be a whole number, got "5MiB"`},
		{"no limit at all", "{name: a, kind: threads, scrape: /m, metric: a, limit: 0}", "x.yaml:1:56: limit: must be more than 0, got 0"},
		{"a warning without a limit", "{name: a, kind: threads, scrape: /m, metric: a, warn_at: 80%}", "x.yaml:1:58: warn_at: needs the limit that it is a share of\n\thint: add limit: SIZE or NUMBER"},
		{"a warning at nothing", "{name: a, kind: threads, scrape: /m, metric: a, limit: 5, warn_at: 0}", "x.yaml:1:68: warn_at: must be more than 0% and at most 100%, got 0"},
		{"a warning beyond the limit", "{name: a, kind: threads, scrape: /m, metric: a, limit: 5, warn_at: 101%}", `x.yaml:1:68: warn_at: must be more than 0% and at most 100%, got "101%"`},
		{"a warning at a size", "{name: a, kind: threads, scrape: /m, metric: a, limit: 5, warn_at: 4MiB}", "x.yaml:1:68: warn_at: must be a share such as 0.1% or 0.001, got \"4MiB\"\n\thint: write 5% or 0.05"},
		{"a list of labels", "{name: a, kind: threads, scrape: /m, metric: a, labels: [b]}", "x.yaml:1:57: labels: must be a mapping, got a list"},
		{"a number for a label", "{name: a, kind: threads, scrape: /m, metric: a, labels: {b: 1}}", "x.yaml:1:61: labels.b: must be text, got 1\n\thint: write \"1\""},
	} {
		var d ResourceConfig
		if got := decode(t, c.text, &d); got != c.want {
			t.Errorf("%s: %s\ngot  %s\nwant %s", c.name, c.text, got, c.want)
		}
	}
}

func TestLimitsOfResources(t *testing.T) {
	for _, c := range []struct {
		text  string
		limit float64
		last  time.Duration
	}{
		{"{name: a, kind: cpu, scrape: /m, metric: a, of: 2, limit: 80%}", 1.6, 5 * time.Minute},
		{"{name: a, kind: cpu, scrape: /m, metric: a, limit: 1.5, for: 1m}", 1.5, time.Minute},
		{"{name: a, kind: cpu, scrape: /m, metric: a, limit: 2, for: 0s}", 2, 0},
		{"{name: a, kind: memory, scrape: /m, metric: a, of: 1GiB, limit: 50%}", 512 << 20, 0},
		{"{name: a, kind: disk, scrape: /m, metric: a, limit: 10GiB, for: 10m}", 10 << 30, 10 * time.Minute},
		{"{name: a, kind: network, scrape: /m, metric: a, limit: 5MB}", 5e6, 5 * time.Minute},
		{"{name: a, kind: threads, scrape: /m, metric: a, of: 200, limit: 90%}", 180, 0},
	} {
		var d ResourceConfig
		if got := decode(t, c.text, &d); got != "" {
			t.Errorf("%s: %s", c.text, got)
		}
		if math.Abs(d.Limit.Value-c.limit) > 1e-9*c.limit || d.For.D() != c.last {
			t.Errorf("%s: a limit of %v over %v, want %v over %v", c.text, d.Limit.Value, d.For.D(), c.limit, c.last)
		}
	}
}

func TestTwoResourcesOfOneName(t *testing.T) {
	var c Config
	const want = `x.yaml:6:12: resources[1].name: a resource named "heap" exists already, at x.yaml:5:12`
	if got := decode(t, `
name: shop
url: http://shop
resources:
  - {name: heap, kind: memory, scrape: /metrics, metric: a}
  - {name: heap, kind: memory, scrape: /metrics, metric: b}
`, &c); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestSchemasOfTheWatch(t *testing.T) {
	for name, schema := range map[string]map[string]any{
		"release":   block.Schema(ReleaseConfig{}),
		"resources": block.Schema(ResourceConfig{}),
	} {
		properties := schema["properties"].(map[string]any)
		if len(properties) < 8 {
			t.Errorf("%s: %d keys", name, len(properties))
		}
		for key, p := range properties {
			if p.(map[string]any)["description"] == nil {
				t.Errorf("%s.%s has no description", name, key)
			}
		}
	}
	targets := block.Schema(Config{})["properties"].(map[string]any)
	if targets["release"] == nil || targets["resources"] == nil {
		t.Errorf("schema of targets has no release or no resources: %v", targets)
	}
}

func TestResolve(t *testing.T) {
	for _, c := range []struct{ target, ref, want string }{
		{"https://shop", "/version", "https://shop/version"},
		{"https://shop/v1/", "/version?full=1", "https://shop/v1/version?full=1"},
		{"https://shop/v1", "http://admin:8080/metrics", "http://admin:8080/metrics"},
	} {
		if got := resolve(c.target, c.ref); got != c.want {
			t.Errorf("resolve(%q, %q) = %q, want %q", c.target, c.ref, got, c.want)
		}
	}
}
