package otlp

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/flow"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/output"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ flow.Tracer = (*Tracer)(nil)

// fakeClient is a collector that keeps what it is sent.
type fakeClient struct {
	upload func(ctx context.Context) error // nil: takes everything

	mu       sync.Mutex
	requests [][]*tracepb.Span
	last     *tracepb.ResourceSpans
	stopped  bool
}

func (c *fakeClient) Start(context.Context) error { return nil }

func (c *fakeClient) Stop(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	return nil
}

func (c *fakeClient) UploadTraces(ctx context.Context, rs []*tracepb.ResourceSpans) error {
	if c.upload != nil {
		if err := c.upload(ctx); err != nil {
			return err
		}
	}
	// As a collector reads it.
	raw, err := proto.Marshal(rs[0])
	if err != nil {
		return err
	}
	last := &tracepb.ResourceSpans{}
	if err := proto.Unmarshal(raw, last); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = last
	c.requests = append(c.requests, last.ScopeSpans[0].Spans)
	return nil
}

// spansOf returns the spans of an item.
func spansOf(t *testing.T, i *item) []*tracepb.Span {
	t.Helper()
	var e encoder
	i.encode(&e)
	var out tracepb.ScopeSpans
	if err := e.into(&out, true); err != nil {
		t.Fatal(err)
	}
	return out.Spans
}

// sent returns the spans of each request so far.
func (c *fakeClient) sent() [][]*tracepb.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([][]*tracepb.Span(nil), c.requests...)
}

// spans returns all spans so far.
func (c *fakeClient) spans() []*tracepb.Span {
	var all []*tracepb.Span
	for _, r := range c.sent() {
		all = append(all, r...)
	}
	return all
}

func noEnviron(string) string { return "" }

func environ(pairs ...string) func(string) string {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return func(name string) string { return m[name] }
}

// start makes an exporter and runs it until the test ends.
func start(t testing.TB, o Options) *Exporter {
	t.Helper()
	e := build(t, o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); e.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return e
}

// build makes an exporter that is closed when the test ends.
func build(t testing.TB, o Options) *Exporter {
	t.Helper()
	if o.Environ == nil {
		o.Environ = noEnviron
	}
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close(context.Background()) })
	return e
}

func decode(t testing.TB, text string) (Config, error) {
	t.Helper()
	var errs block.Errors
	var c Config
	if n := block.Parse("perfd.yaml", []byte(text), &errs); n != nil {
		block.Decode(n, &c, &errs)
	}
	return c, errs.Err()
}

func must(t testing.TB, text string) Config {
	t.Helper()
	c, err := decode(t, text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var zero = time.Date(2026, 11, 5, 12, 0, 0, 0, time.UTC)

// shop is a run with two steps.
func shop() output.Run {
	return output.Run{
		Scenario: "shop", ID: "run-1", Test: "nightly", Zero: zero,
		Steps: []output.Step{{Label: "browse", Target: "web", Protocol: "http"}, {Label: "buy", Target: "web", Protocol: "http"}},
	}
}

func newID() (id load.TraceID) {
	binary.BigEndian.PutUint64(id[:8], rand.Uint64())
	binary.BigEndian.PutUint64(id[8:], rand.Uint64()|1)
	return id
}

// iteration returns the trace of one of requests to step 0 that took so many milliseconds each.
func iteration(sampled bool, millis ...int64) *load.Trace {
	var out load.Trace
	id := newID()
	out.Reset(load.Iteration{Due: 0, Start: int64(time.Millisecond), Trace: id, Sampled: sampled})
	at := int64(time.Millisecond)
	for _, ms := range millis {
		r := load.Result{Due: at, Sent: at, Done: at + ms*int64(time.Millisecond), Code: 200, Trace: id, Sampled: sampled}
		binary.BigEndian.PutUint64(r.Span[:], rand.Uint64()|1)
		out.Add(&r, nil, nil)
		at = r.Done
	}
	out.End = at
	return &out
}

// failing makes the last request of an iteration fail.
func failing(t *load.Trace, c load.Cause) *load.Trace {
	t.Requests[len(t.Requests)-1].Cause = c
	t.Requests[len(t.Requests)-1].Error = "why: " + c.String()
	return t
}

// attributes returns a span's attributes as plain values.
func attributes(s *tracepb.Span) map[string]any { return plain(s.Attributes) }

func plain(list []*commonpb.KeyValue) map[string]any {
	out := map[string]any{}
	for _, a := range list {
		switch v := a.Value.Value.(type) {
		case *commonpb.AnyValue_StringValue:
			out[a.Key] = v.StringValue
		case *commonpb.AnyValue_IntValue:
			out[a.Key] = v.IntValue
		case *commonpb.AnyValue_DoubleValue:
			out[a.Key] = v.DoubleValue
		case *commonpb.AnyValue_BoolValue:
			out[a.Key] = v.BoolValue
		}
	}
	return out
}

// roots counts the iterations among spans by trace id.
func roots(spans []*tracepb.Span) map[load.TraceID]int {
	out := map[load.TraceID]int{}
	for _, s := range spans {
		if len(s.ParentSpanId) == 0 {
			out[load.TraceID(s.TraceId)]++
		}
	}
	return out
}
