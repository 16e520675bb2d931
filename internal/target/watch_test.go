package target

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A network answers requests in memory.
type network func(*http.Request) (status int, body string, err error)

// RoundTrip makes an answer of JSON, or of text where it does not begin like JSON.
func (n network) RoundTrip(req *http.Request) (*http.Response, error) {
	status, body, err := n(req)
	if err != nil {
		return nil, err
	}
	kind := text004
	if strings.HasPrefix(body, "{") {
		kind = "application/json"
	}
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {kind}, "X-Release": {"v9"}},
		Body: io.NopCloser(strings.NewReader(body)), Request: req,
	}, nil
}

// A recording holds the calls of a watch, with the time since its begin.
type recording struct {
	mu    sync.Mutex
	zero  time.Time
	lines []string
}

func (d *recording) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, fmt.Sprintf("%v ", time.Since(d.zero))+fmt.Sprintf(format, args...))
}

func (d *recording) sample(s load.Sample) {
	d.note("%s/%s/%s %s %q %v %v", s.Target, s.Resource, s.Kind, s.Start.Sub(d.zero), s.Member, s.Last,
		s.Start.Equal(s.End) && s.Count == 1 && s.Min == s.Last && s.Mean == s.Last && s.Max == s.Last)
}

func (d *recording) changed(c Change) {
	d.note("%s→%s at %v settled %v", c.Previous, c.Release, c.At.Sub(d.zero), c.Settled.Sub(d.zero))
}

func (d *recording) check(t *testing.T, want ...string) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if diff := cmp.Diff(want, d.lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	d.lines = nil
}

func config(t *testing.T, text string) *Config {
	t.Helper()
	c := new(Config)
	if wrong := decode(t, "name: shop\nurl: http://shop\n"+text, c); wrong != "" {
		t.Fatal(wrong)
	}
	return c
}

// start runs a watch until the test ends.
func start(t *testing.T, o Options) *Watch {
	t.Helper()
	w := NewWatch(o)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { w.Run(ctx); close(ended) }()
	t.Cleanup(func() { cancel(); <-ended })
	return w
}

// collected lists what a watch exposes, without the prefix perfd_target_ and without the faults that did not happen.
func collected(w *Watch) []string {
	var list []string
	w.Collect(func(d *metric.Desc, v float64, values ...string) {
		if len(values) != len(d.Labels) {
			list = append(list, fmt.Sprintf("%s has %d labels, got %q", d.Name, len(d.Labels), values))
			return
		}
		if d == metric.TargetReadFailures && v == 0 {
			return
		}
		list = append(list, fmt.Sprintf("%s%q %v", strings.TrimPrefix(d.Name, "perfd_target_"), values[1:], v))
	})
	return list
}

const three = `
release: {url: /version, json: v, every: 30s}
resources:
  - {name: heap, kind: memory, scrape: /metrics, metric: heap, every: 15s}
  - {name: pods, kind: goroutines, prometheus: "http://prom/x", query: "a+b", every: 20s}
`

func TestReadsAreSpreadAndRepeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &recording{zero: time.Now()}
		start(t, Options{Config: config(t, three), UserAgent: "perfd/1.2.3", Transport: network(func(r *http.Request) (int, string, error) {
			d.note("%s %s %s", r.URL, r.Header.Get("User-Agent"), r.Header.Get("X-Perfd"))
			return 200, "", nil
		})})
		time.Sleep(46 * time.Second)
		const by = " perfd/1.2.3 watch"
		d.check(
			t,
			"0s http://shop/version"+by,
			"5s http://shop/metrics"+by,
			"13.333333333s http://prom/x/api/v1/query?query=a%2Bb"+by,
			"20s http://shop/metrics"+by,
			"30s http://shop/version"+by,
			"33.333333333s http://prom/x/api/v1/query?query=a%2Bb"+by,
			"35s http://shop/metrics"+by,
		)
	})
}

// TestSlowReadsDoNotOverlap has a target that does not answer at all: each read
// is given up after ten seconds, and the next comes when it is due.
func TestSlowReadsDoNotOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &recording{zero: time.Now()}
		under := 0
		w := start(t, Options{
			Config: config(t, "release: {url: /version, json: v, every: 4s}"), Log: logTo(d),
			Transport: network(func(r *http.Request) (int, string, error) {
				if under++; under > 1 {
					t.Errorf("%d reads at once", under)
				}
				d.note("begin")
				<-r.Context().Done()
				d.note("end")
				under--
				return 0, "", r.Context().Err()
			}),
		})
		time.Sleep(23 * time.Second)
		d.check(
			t, "0s begin", "10s end",
			`10s WARN the target could not be read target=shop what=release url=/version fault=timeout err="no answer within 10s"`,
			"10s begin", "20s end", "20s begin",
		)
		if got, want := collected(w), []string{`release_changes_total[] 0`, `read_failures_total["release" "timeout"] 2`}; !slices.Equal(got, want) {
			t.Errorf("exposed %q, want %q", got, want)
		}
	})
}

// logTo writes log lines into a recording, without their time.
func logTo(d *recording) *slog.Logger {
	var line bytes.Buffer
	h := slog.NewTextHandler(&line, nil)
	return slog.New(&lineHandler{Handler: h, line: &line, d: d})
}

type lineHandler struct {
	slog.Handler
	line *bytes.Buffer
	d    *recording
}

var lineHead = regexp.MustCompile(`^time=\S+ level=(\S+) msg="([^"]*)"`)

func (h *lineHandler) Handle(ctx context.Context, r slog.Record) error {
	h.line.Reset()
	err := h.Handler.Handle(ctx, r)
	h.d.note("%s", lineHead.ReplaceAllString(strings.TrimSpace(h.line.String()), "$1 $2"))
	return err
}

func (h *lineHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &lineHandler{h.Handler.WithAttrs(attrs), h.line, h.d}
}

func TestAFaultIsSaidOnceAndSoIsItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &recording{zero: time.Now()}
		at := func() time.Duration { return time.Since(d.zero) }
		w := start(t, Options{
			Config: config(t, "release: {url: /version, json: v, every: 10s}"), Log: logTo(d),
			Transport: network(func(*http.Request) (int, string, error) {
				switch {
				case at() < 90*time.Second:
					return 0, "", errors.New("connection refused")
				case at() < 110*time.Second:
					return 503, "deploying\n", nil
				case at() < 200*time.Second:
					return 200, `{"v": "v1"}`, nil
				case at() < 230*time.Second:
					return 200, `{"v": {}}`, nil
				}
				return 200, `{"v": "v1"}`, nil
			}),
		})
		time.Sleep(5 * time.Minute)
		const bad, well = "WARN the target could not be read target=shop what=release url=/version ", "INFO the target can be read again target=shop what=release url=/version failures="
		d.check(
			t,
			`0s `+bad+`fault=unanswered err="connection refused"`,
			`1m30s `+bad+`fault=status err="status 503: deploying"`,
			`1m50s `+well+"11",
			`3m20s `+bad+`fault=unreadable err="the answer's JSON has no text at v: {}"`,
			`3m50s `+well+"3",
		)
		want := []string{
			`release_info["v1"] 1`, `release_settled[] 1`, `release_changes_total[] 0`,
			`read_failures_total["release" "unanswered"] 9`, `read_failures_total["release" "status"] 2`, `read_failures_total["release" "unreadable"] 3`,
		}
		if diff := cmp.Diff(want, collected(w)); diff != "" {
			t.Errorf("exposed (-want +got):\n%s", diff)
		}
	})
}

// TestAFlappingReadIsSaidOnceAMinute has a read that fails every other time for
// five minutes, in one way or in two, and then for good.
func TestAFlappingReadIsSaidOnceAMinute(t *testing.T) {
	for _, c := range []struct {
		name          string
		other         int // status of the answers between the failures
		broken, whole int // lines about them
	}{
		{"between well and broken", 200, 6, 5},
		{"between two faults", 500, 6, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := &recording{zero: time.Now()}
			n := 0
			start(t, Options{
				Config: config(t, "release: {url: /version, json: v, every: 10s}"), Log: logTo(d),
				Transport: network(func(*http.Request) (int, string, error) {
					if n++; n%2 == 0 && time.Since(d.zero) < 5*time.Minute {
						return c.other, `{"v": "v1"}`, nil
					}
					return 0, "", &net.DNSError{Err: "no such host", Name: "shop", IsNotFound: true}
				}),
			})
			time.Sleep(20 * time.Minute)
			broken, whole := 0, 0
			d.mu.Lock()
			defer d.mu.Unlock()
			for _, line := range d.lines {
				if strings.Contains(line, "fault=dns") {
					broken++
				} else if strings.Contains(line, "again") {
					whole++
				}
			}
			if broken != c.broken || whole != c.whole {
				t.Errorf("%s: %d lines say that it is broken and %d that it is not, want %d and %d:\n%s", c.name, broken, whole, c.broken, c.whole, strings.Join(d.lines, "\n"))
			}
		})
	}
}

// TestARollingDeploy has a balancer that shows the new release every other time
// for four minutes.
func TestARollingDeploy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &recording{zero: time.Now()}
		reads := 0
		w := start(t, Options{
			Config: config(t, "release: {url: /version, json: v}"), Changed: d.changed,
			Transport: network(func(r *http.Request) (int, string, error) {
				if !r.Close {
					t.Error("the release is read on a connection that stays: a balancer shows one instance on it")
				}
				reads++
				switch at := time.Since(d.zero); {
				case at < 10*time.Minute, at < 14*time.Minute && reads%2 == 0:
					return 200, `{"v": "v1"}`, nil
				}
				return 200, `{"v": "v2"}`, nil
			}),
		})
		window := func(minute time.Duration) string {
			end := d.zero.Add(minute * time.Minute)
			release, settling := w.During(end.Add(-10*time.Second), end)
			return fmt.Sprint(release, " ", settling)
		}
		var got []string
		for minute := time.Duration(2); minute <= 20; minute += 3 {
			time.Sleep(time.Until(d.zero.Add(minute*time.Minute + time.Second)))
			got = append(got, window(minute))
		}
		want := []string{"v1 false", "v1 false", "v1 false", "v2 true", "v2 true", "v2 true", "v2 false"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("windows that end at 2m, 5m, … (-want +got):\n%s", diff)
		}
		d.check(t, "10m0s v1→v2 at 10m0s settled 15m0s")
		if s := w.State(); s.Release != "v2" || s.Previous != "v1" || !s.Settled || !s.Known || s.Since.Sub(d.zero) != 10*time.Minute {
			t.Errorf("state = %+v", s)
		}
	})
}

func TestPushAheadOfADeployment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &recording{zero: time.Now()}
		w := start(t, Options{
			Config: config(t, "release: {url: /version, json: v, settle: 2m}"), Changed: d.changed,
			Transport: network(func(*http.Request) (int, string, error) {
				if time.Since(d.zero) < 8*time.Minute {
					return 200, `{"v": "v1"}`, nil
				}
				return 200, `{"v": "v2"}`, nil
			}),
		})
		time.Sleep(5*time.Minute + time.Second)
		if err := w.Push("v2", time.Now().Add(-10*time.Second)); err != nil {
			t.Fatal(err)
		}
		if err := w.Push("v2", time.Time{}); err != nil {
			t.Errorf("push of the same: %v", err)
		}
		time.Sleep(4*time.Minute + 50*time.Second) // 9m51s
		if want := []string{`release_info["v2"] 1`, `release_settled[] 0`, `release_changes_total[] 1`}; !slices.Equal(collected(w), want) {
			t.Errorf("exposed %q, want %q", collected(w), want)
		}
		time.Sleep(10 * time.Second)
		if s := w.State(); !s.Settled || s.Release != "v2" {
			t.Errorf("state after two minutes of v2 = %+v", s)
		}
		d.check(t, "5m1s v1→v2 at 4m51s settled 6m51s")

		if err := w.Push("v1", d.zero); err == nil {
			t.Error("a push that is older than what is known was taken")
		}
		if err := w.Push("v3\n", time.Time{}); err == nil {
			t.Error("a release with a line feed was taken")
		}
		if err := w.Push("v3", time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		d.check(t, "10m1s v2→v3 at 10m1s settled 12m1s")
	})
}

func TestPushWithoutConfiguration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &recording{zero: time.Now()}
		w := start(t, Options{Config: config(t, ""), Changed: d.changed})
		if got := collected(w); got != nil {
			t.Errorf("exposed %q before anything was known", got)
		}
		if s := w.State(); s.Known || s.Settled {
			t.Errorf("state before anything was known = %+v", s)
		}
		for _, v := range []string{"v1", "v2"} {
			if err := w.Push(v, time.Time{}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		d.check(t, "1m0s v1→v2 at 1m0s settled 6m0s")
		if want := []string{`release_info["v2"] 1`, `release_settled[] 0`, `release_changes_total[] 1`}; !slices.Equal(collected(w), want) {
			t.Errorf("exposed %q, want %q", collected(w), want)
		}
	})
}

func TestRestore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &recording{zero: time.Now()}
		w := NewWatch(Options{
			Config: config(t, "release: {url: /version, json: v}"), Changed: d.changed,
			Transport: network(func(*http.Request) (int, string, error) { return 200, `{"v": "v1"}`, nil }),
		})
		w.Restore("v1", d.zero.Add(time.Minute))
		w.Restore("v0", d.zero)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		w.Run(ctx)
		d.check(t)
		for _, c := range []struct {
			at       time.Duration
			settling bool
		}{{0, true}, {50 * time.Second, true}, {time.Minute, false}, {2 * time.Minute, false}} {
			start := d.zero.Add(c.at)
			if release, settling := w.During(start, start.Add(10*time.Second)); release != "v1" || settling != c.settling {
				t.Errorf("window from %v: %s, settling %v, want v1, %v", c.at, release, settling, c.settling)
			}
		}
	})
}

func TestResourcesOfOnePageAreReadAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &recording{zero: time.Now()}
		w := start(t, Options{
			Config: config(t, `
resources:
  - {name: heap, kind: memory, scrape: /metrics, metric: heap_bytes, labels: {area: old, gone: ""}, every: 1m}
  - {name: routines, kind: goroutines, scrape: "http://shop/metrics", metric: goroutines, member: pod, every: 30s}
`), Sample: d.sample,
			Transport: network(func(r *http.Request) (int, string, error) {
				d.note("%s", r.URL.Path)
				return 200, "heap_bytes{area=\"old\"} 5e6\nheap_bytes{area=\"new\"} 7\nheap_bytes{area=\"old\",gone=\"x\"} 7\n" +
					"goroutines{pod=\"b\"} 2\ngoroutines{pod=\"a\"} 1\ngoroutines{pod=\"c\"} NaN\ngoroutines{pod=\"d\"} +Inf\n", nil
			}),
		})
		time.Sleep(31 * time.Second)
		d.check(
			t,
			"0s /metrics", `0s shop/heap/memory 0s "" 5e+06 true`, `0s shop/routines/goroutines 0s "a" 1 true`, `0s shop/routines/goroutines 0s "b" 2 true`,
			"30s /metrics", `30s shop/heap/memory 30s "" 5e+06 true`, `30s shop/routines/goroutines 30s "a" 1 true`, `30s shop/routines/goroutines 30s "b" 2 true`,
		)
		want := []string{`resource_bytes["heap" ""] 5e+06`, `resource_items["routines" "a"] 1`, `resource_items["routines" "b"] 2`}
		if diff := cmp.Diff(want, collected(w)); diff != "" {
			t.Errorf("exposed (-want +got):\n%s", diff)
		}
	})
}

// One resource that cannot be read does not prevent the others from being read.
func TestOneUnreadableResource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &recording{zero: time.Now()}
		w := start(t, Options{
			Config: config(t, `
resources:
  - {name: one, kind: threads, scrape: /metrics, metric: a}
  - {name: two, kind: threads, scrape: /metrics, metric: a, member: pod}
  - {name: none, kind: threads, scrape: /metrics, metric: b}
  - {name: fine, kind: threads, scrape: /metrics, metric: c}
`), Sample: d.sample, Log: logTo(d),
			Transport: network(func(*http.Request) (int, string, error) {
				return 200, "a{pod=\"x\",i=\"1\"} 1\na{pod=\"x\",i=\"2\"} 2\nc 3\n", nil
			}),
		})
		time.Sleep(time.Second)
		d.check(
			t, `0s shop/fine/threads 0s "" 3 true`,
			`0s WARN the target could not be read target=shop what=resources url=/metrics fault=unreadable err="`+
				`resource one: 2 series found where one is wanted: choose one with labels: {NAME: VALUE}, or tell them apart with member: LABEL; `+
				`resource two: several series with pod=\"x\": choose one with labels: {NAME: VALUE}, or set member to a label that differs between them; `+
				`resource none: no series found"`,
		)
		if want := []string{`read_failures_total["resources" "unreadable"] 1`, `resource_items["fine" ""] 3`}; !slices.Equal(collected(w), want) {
			t.Errorf("exposed %q, want %q", collected(w), want)
		}
	})
}

func TestMembersComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zero := time.Now()
		var samples atomic.Int32
		w := start(t, Options{
			Config: config(t, `resources: [{name: pods, kind: memory, scrape: /metrics, metric: a, member: pod, every: 30s}]`),
			Sample: func(load.Sample) { samples.Add(1) },
			Transport: network(func(*http.Request) (int, string, error) {
				var page strings.Builder
				if time.Since(zero) >= time.Minute {
					return 200, "a{pod=\"new\"} 5\n", nil
				}
				for i := range 103 {
					fmt.Fprintf(&page, "a{pod=\"p%03d\"} 1\n", i)
				}
				return 200, page.String(), nil
			}),
		})
		pods := func() map[string]string {
			found := map[string]string{}
			for _, line := range collected(w) {
				if rest, ok := strings.CutPrefix(line, `resource_bytes["pods" "`); ok {
					pod, value, _ := strings.Cut(rest, `"] `)
					found[pod] = value
				}
			}
			return found
		}
		time.Sleep(time.Second)
		if got := pods(); len(got) != 101 || got["p099"] != "1" || got["other"] != "3" || samples.Load() != 100 {
			t.Errorf("%d pods and %d samples, p099 is %q and other %q, want 101, 100, 1, 3", len(got), samples.Load(), got["p099"], got["other"])
		}
		time.Sleep(time.Minute)
		if got := pods(); len(got) != 101 || got["other"] != "5" {
			t.Errorf("%d pods, other is %q, want the newcomer alone in other", len(got), got["other"])
		}
		time.Sleep(4*time.Minute + 28*time.Second) // 5m29s: the others were last seen at 30s
		if got := pods(); len(got) != 101 {
			t.Errorf("%d pods within five minutes of their last sight, want 101", len(got))
		}
		time.Sleep(2 * time.Second)
		if diff := cmp.Diff(map[string]string{"new": "5"}, pods()); diff != "" {
			t.Errorf("after five minutes (-want +got):\n%s", diff)
		}
	})
}

func TestAMemberMayBeCalledOther(t *testing.T) {
	r := newResource("shop", &ResourceConfig{Kind: load.ResourceMemory})
	list := []reading{{"other", 7}}
	for i := range mostMembers {
		list = append(list, reading{fmt.Sprint(i), 1})
	}
	r.take(list, day)
	seen := map[string]float64{}
	r.collect(day, func(_ *metric.Desc, v float64, labels ...string) {
		if _, twice := seen[labels[2]]; twice {
			t.Errorf("member %s twice", labels[2])
		}
		seen[labels[2]] = v
	})
	if seen["other"] != 8 || len(seen) != mostMembers {
		t.Errorf("other = %v among %d members, want 8 among %d", seen["other"], len(seen), mostMembers)
	}
}

func TestCountersOfRatesBecomeRates(t *testing.T) {
	for _, c := range []struct {
		name, kind, metric string
		counts             []float64 // ten seconds apart
		want               []float64
	}{
		{"cpu", load.ResourceCPU, "process_cpu_seconds_total", []float64{100, 105, 120}, []float64{0.5, 1.5}},
		{"a process that begins anew", load.ResourceCPU, "process_cpu_seconds_total", []float64{100, 110, 3, 8}, []float64{1, 0.5}},
		{"network", load.ResourceNetwork, "node_network_receive_bytes_total", []float64{0, 1000}, []float64{100}},
		{"a gauge of cpu", load.ResourceCPU, "process_cpu_usage", []float64{0.5, 0.7}, []float64{0.5, 0.7}},
		{"a counter that is counted", load.ResourceConnections, "connections_total", []float64{5, 7}, []float64{5, 7}},
	} {
		r := newResource("shop", &ResourceConfig{Kind: c.kind, Metric: block.Text{S: c.metric}, Name: block.Text{S: "x"}})
		var got []float64
		for i, v := range c.counts {
			for _, s := range r.take([]reading{{"", v}}, day.Add(time.Duration(i)*10*time.Second)) {
				got = append(got, s.Mean)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestEachUnitHasItsMetric(t *testing.T) {
	for kind, want := range map[string]*metric.Desc{
		load.ResourceMemory: metric.TargetResourceBytes, load.ResourceDisk: metric.TargetResourceBytes,
		load.ResourceCPU: metric.TargetResourceCores, load.ResourceNetwork: metric.TargetResourceBytesPerSecond,
		load.ResourceThreads: metric.TargetResourceCount,
	} {
		r := newResource("shop", &ResourceConfig{Kind: kind})
		r.take([]reading{{"", 1}}, day)
		r.collect(day, func(d *metric.Desc, _ float64, _ ...string) {
			if d != want {
				t.Errorf("%s is exposed as %s, want %s", kind, d.Name, want.Name)
			}
		})
	}
}

func TestReadingsAreBounded(t *testing.T) {
	r := newResource("shop", &ResourceConfig{Member: block.Text{S: "pod"}})
	pod := func(name string) series { return series{label: func(string) string { return name }} }
	for _, c := range []struct {
		name, pod, want string
		series          int
	}{
		{"as many as may be", "", "<nil>", mostReadings},
		{"one more", "", "more than 10000 series found", mostReadings + 1},
		{"a name without end", strings.Repeat("x", longestMember+1), "label pod has a value of 201 bytes, more than 200", 1},
		{"a name that is no text", "\xff", "<nil>", 1},
	} {
		g := readings{r: r}
		for i := range c.series {
			if c.pod == "" {
				g.add(pod(fmt.Sprint(i)))
			} else {
				g.add(pod(c.pod))
			}
		}
		list, err := g.finish()
		if fmt.Sprint(err) != c.want || err == nil && len(list) != c.series {
			t.Errorf("%s: %d readings, error %v, want %s", c.name, len(list), err, c.want)
		}
		if err == nil && !utf8.ValidString(list[0].member) {
			t.Errorf("%s: member %q", c.name, list[0].member)
		}
	}
}

func TestFindRelease(t *testing.T) {
	json := "{url: /v, json: build.version}"
	label := "{url: /metrics, metric: shop_info, label: release}"
	for _, c := range []struct{ name, config, body, want, wrong string }{
		{"text", json, `{"build": {"version": " v1 "}}`, "v1", ""},
		{"a number", json, `{"build": {"version": 1.10}}`, "1.10", ""},
		{"a byte order mark", json, "\ufeff" + `{"build": {"version": "v2"}}`, "v2", ""},
		{"nothing there", json, `{"build": {}}`, "", "the answer's JSON has nothing at build.version"},
		{"null", json, `{"build": {"version": null}}`, "", "the answer's JSON has nothing at build.version"},
		{"a list", json, `{"build": {"version": [1]}}`, "", "the answer's JSON has no text at build.version: [1]"},
		{"no JSON", json, "<html>", "", "the answer is no JSON: <html>"},
		{"empty", json, `{"build": {"version": ""}}`, "", ""},
		{"a header", "{url: /v, header: x-release}", "", "v9", ""},
		{"no such header", "{url: /v, header: x-version}", "", "", "the answer's header has no x-version"},
		{"a label", label, "shop_info{release=\"v1\",x=\"1\"} 1\nshop_info{release=\"v1\",x=\"2\"} 1\n", "v1", ""},
		{"a label of what does not run", label, "shop_info{release=\"v1\"} 0\nshop_info{release=\"v2\"} 1\n", "v2", ""},
		{"two labels", label, "shop_info{release=\"v1\"} 1\nshop_info{release=\"v2\"} 1\n", "", `shop_info names two releases, "v1" and "v2"`},
		{"no label", label, "shop_info 1\n", "", "no series of shop_info has the label release"},
	} {
		var r ReleaseConfig
		if wrong := decode(t, c.config, &r); wrong != "" {
			t.Fatal(wrong)
		}
		got, err := r.find(&answer{header: http.Header{"X-Release": {" v9"}, "Content-Type": {text004}}, body: []byte(c.body)})
		wrong := ""
		if err != nil {
			wrong = err.Error()
		}
		if wrong != c.wrong || err == nil && got != c.want {
			t.Errorf("%s: %q, %q, want %q, %q", c.name, got, wrong, c.want, c.wrong)
		}
	}
}
