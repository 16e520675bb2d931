package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	dto "github.com/prometheus/client_model/go"

	"github.com/perfd/perfd/test/daemon"
	"github.com/perfd/perfd/test/proc"
)

// A collector is the receiver of an OpenTelemetry Collector that writes spans to a file.
type collector struct {
	grpc, http string
	file       string
}

func startCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{file: filepath.Join(t.TempDir(), "spans.jsonl")}
	p, err := proc.Start(proc.Spec{Path: pinned(t, "collector"), Args: []string{"-spans", c.file}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	m, err := p.WaitFor(within(t, time.Minute), regexp.MustCompile(`listening grpc=(\S+) http=(\S+)`))
	if err != nil {
		t.Fatal(err)
	}
	c.grpc, c.http = m[1], m[2]
	return c
}

type span struct {
	Trace      string         `json:"trace_id"`
	ID         string         `json:"span_id"`
	Parent     string         `json:"parent_span_id"`
	Name       string         `json:"name"`
	Kind       string         `json:"kind"`
	Status     string         `json:"status"`
	Attributes map[string]any `json:"attributes"`
	Resource   map[string]any `json:"resource"`
}

func (c *collector) spans(t *testing.T) (all []span) {
	t.Helper()
	text, err := os.ReadFile(c.file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break // is being written
		}
		var s span
		if err := json.Unmarshal(line, &s); err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

// exemplars lists those of all histograms as the OpenMetrics text has them, with their trace ids.
func exemplars(ctx context.Context, t *testing.T, d *daemon.Daemon) (classic []string, native int) {
	t.Helper()
	m, err := d.Scrape(ctx)
	if err != nil {
		t.Fatal(err)
	}
	trace := func(x *dto.Exemplar) {
		for _, l := range x.GetLabel() {
			if l.GetName() == "trace_id" {
				classic = append(classic, l.GetValue())
			}
		}
	}
	for _, f := range m {
		for _, s := range f.Metric {
			for _, b := range s.GetHistogram().GetBucket() {
				trace(b.Exemplar)
			}
			for _, x := range s.GetHistogram().GetExemplars() {
				native++
				trace(x)
			}
		}
	}
	return classic, native
}

// Spans reach a real OpenTelemetry receiver by both transports, parents with
// their children; the target gets their traceparent; and each exemplar on /metrics names a trace that the receiver has.
func TestSpansAndExemplarsLeadToTraces(t *testing.T) {
	for _, protocol := range []string{"grpc", "http/protobuf"} {
		t.Run(protocol, func(t *testing.T) {
			c := startCollector(t)
			endpoint := map[string]string{"grpc": c.grpc, "http/protobuf": c.http}[protocol]
			propagated := make(chan string, 100000) // traceparent of each request
			g := newTarget(t, func(w http.ResponseWriter, r *http.Request) {
				propagated <- r.Header.Get("Traceparent")
				if r.URL.Path == "/fails" {
					w.WriteHeader(http.StatusServiceUnavailable)
				}
			}, nil)
			d := start(t, strings.Replace(steady(g.URL, 100), "- {name: get, http: {url: /get}}",
				"- {name: get, http: {url: \"/get?key=${vu}\"}}\n      - {name: fails, http: {url: /fails}}", 1)+
				fmt.Sprintf("\ntracing: {endpoint: %q, protocol: %s, sampling_ratio: 0.5, delay: 500ms}\n", "http://"+endpoint, protocol))
			until(t, d, time.Minute, atLeast(800, "perfd_trace_spans_total"))
			post(t, d, "/api/v1/scenarios/steady/stop")
			resting(t, d)
			until(t, d, time.Minute, func(m daemon.Metrics) string {
				if n := m.Value("perfd_trace_spans_queued"); n > 0 {
					return fmt.Sprintf("%v spans are queued", n)
				}
				return ""
			})
			names, native := exemplars(within(t, 10*time.Second), t, d)
			stop(t, d)

			spans := c.spans(t)
			roots, ids, traces := map[string]string{}, map[string]bool{}, map[string]bool{}
			late := 0
			for _, s := range spans {
				ids[s.Trace+s.ID], traces[s.Trace] = true, true
				if s.Parent == "" && !strings.HasPrefix(s.Name, "run ") {
					roots[s.Trace] = s.ID
				}
				if s.Attributes["perfd.sampled"] == "late" {
					late++
				}
			}
			children, statuses := map[string]int{}, map[string]int{}
			for _, s := range spans {
				if s.Attributes["user_agent.synthetic.type"] != "test" || s.Attributes["perfd.scenario"] != "steady" || s.Resource["service.name"] != "perfd" {
					t.Fatalf("span %+v does not say what it is of", s)
				}
				if s.Parent == "" {
					continue
				}
				if s.Parent != roots[s.Trace] {
					t.Fatalf("span %s of trace %s has the parent %s, want the iteration's %s", s.ID, s.Trace, s.Parent, roots[s.Trace])
				}
				if s.Kind != "CLIENT" || s.Attributes["http.request.method"] != "GET" {
					t.Fatalf("span %+v is not a client's", s)
				}
				if s.Name == "GET /get" && s.Attributes["url.full"] != g.URL+"/get?key=REDACTED" {
					t.Fatalf("url.full = %v", s.Attributes["url.full"])
				}
				children[s.Trace]++
				statuses[s.Name+" "+s.Status]++
			}
			for trace := range roots {
				if children[trace] != 2 {
					t.Errorf("trace %s has %d requests, want 2", trace, children[trace])
				}
			}
			if len(statuses) != 2 || statuses["GET /get Unset"] == 0 || statuses["GET /fails Error"] == 0 {
				t.Errorf("names and statuses = %v, want good gets and failed fails", statuses)
			}
			if late == 0 {
				t.Error("no failed iteration was kept late")
			}
			// Every span that a sampled traceparent named is there.
			close(propagated)
			sampled, missing := 0, 0
			for parent := range propagated {
				p := strings.Split(parent, "-")
				if len(p) != 4 {
					t.Fatalf("traceparent %q", parent)
				}
				if p[3] != "01" {
					continue
				}
				sampled++
				if !ids[p[1]+p[2]] {
					missing++
				}
			}
			if sampled == 0 || missing > 0 {
				t.Errorf("%d of %d spans that a sampled traceparent named are missing", missing, sampled)
			}
			found := 0
			for _, name := range names {
				if traces[name] {
					found++
				}
			}
			if len(names) < 10 || native == 0 || found != len(names) {
				t.Errorf("the receiver has %d of the %d traces that exemplars name (%d of them on native histograms), want all", found, len(names), native)
			}
			t.Logf("%d spans in %d traces, %d of them late; %d of %d exemplars found", len(spans), len(traces), late, found, len(names))
		})
	}
}

// The demo shop goes on with the traces that perfd begins.
func TestTheShopsSpansJoinPerfds(t *testing.T) {
	c := startCollector(t)
	d, err := daemon.StartDemo(within(t, time.Minute), perfd, t.TempDir(),
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://"+c.grpc, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "OTEL_TRACES_SAMPLER=always_on", "OTEL_BSP_SCHEDULE_DELAY=300")
	if err != nil {
		t.Fatal(err)
	}
	watch(t, d)
	until(t, d, time.Minute, atLeast(100, "perfd_trace_spans_total"))
	stop(t, d)
	own, joined := map[string]bool{}, 0
	spans := c.spans(t)
	for _, s := range spans {
		if s.Resource["service.name"] == "perfd" && s.Kind == "CLIENT" {
			own[s.Trace+s.ID] = true
		}
	}
	servers := 0
	for _, s := range spans {
		if s.Resource["service.name"] == "shop" {
			servers++
			if s.Kind != "SERVER" {
				t.Errorf("a span of the shop is a %s's", s.Kind)
			}
			if own[s.Trace+s.Parent] {
				joined++
			}
		}
	}
	if servers < 30 || joined != servers {
		t.Errorf("%d of the shop's %d spans have a span of perfd for their parent, want all of at least 30", joined, servers)
	}
	t.Logf("%d server spans joined", joined)
}

// The spans of requests on a stream reach a real receiver with what was sent and came since the request before.
func TestSpansOfAStreamSayWhatCame(t *testing.T) {
	c := startCollector(t)
	g := newTarget(t, func(w http.ResponseWriter, r *http.Request) {
		s, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer s.CloseNow()
		for {
			kind, p, err := s.Read(r.Context())
			if err != nil {
				return
			}
			for range 3 {
				if s.Write(r.Context(), kind, p) != nil {
					return
				}
			}
		}
	}, nil)
	d := start(t, `
targets: [{name: echo, url: "`+g.URL+`"}]
scenarios:
  - name: talk
    target: echo
    schedule: {manual: true, duration: 2m}
    workload: {executor: per-vu-iterations, vus: 2, iterations: 5}
    flow:
      - {name: open, websocket: {url: /live}}
      - {name: say, websocket: {send: {json: {n: 1}}}}
      - {name: hear, websocket: {receive: any}, expect: stream.received > 0}
      - {name: leave, websocket: {close: 1000}}
tracing: {endpoint: "http://`+c.grpc+`", protocol: grpc, sampling_ratio: 1, delay: 500ms}
`)
	post(t, d, "/api/v1/scenarios/talk/start")
	until(t, d, time.Minute, atLeast(50, "perfd_trace_spans_total"))
	stop(t, d)
	count := map[string]int{}
	var sent, received float64
	for _, s := range c.spans(t) {
		if s.Attributes["network.protocol.name"] != "websocket" {
			continue
		}
		count[s.Name]++
		if at := s.Attributes["url.template"]; at != "/live" || s.Parent == "" || s.Kind == "" {
			t.Errorf("span %+v", s)
		}
		n, _ := s.Attributes["perfd.messages.sent"].(float64)
		m, _ := s.Attributes["perfd.messages.received"].(float64)
		sent, received = sent+n, received+m
	}
	for name, want := range map[string]int{"websocket open": 10, "websocket send": 10, "websocket receive": 10, "websocket close": 10} {
		if count[name] != want {
			t.Errorf("%d spans %q, want %d", count[name], name, want)
		}
	}
	if sent != 10 || received != 30 {
		t.Errorf("by the spans %v messages were sent and %v came, want 10 and 30", sent, received)
	}
}
