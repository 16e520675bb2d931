package otlp

import (
	"errors"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/output"
	"github.com/perfd/perfd/internal/protocol"
)

// httpLike names a span by its method and shows its address.
type httpLike struct{}

func (httpLike) Span(_ *load.Result, address []byte, span *protocol.Span) {
	span.Name = "GET /{id}"
	span.AddText("url.full", string(address))
}

func TestSpansOfAnIteration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := &fakeClient{}
		var exported []output.Exported
		e := start(t, Options{Version: "1.2", Instance: "host-1", client: client, Exported: func(x output.Exported) { exported = append(exported, x) }})
		s := shop()
		s.Release = "r7"
		s.Steps[0].Span = httpLike{}

		const ms = int64(time.Millisecond)
		id := load.TraceID{1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 9}
		var tr load.Trace
		tr.Reset(load.Iteration{Due: 10 * ms, Start: 12 * ms, Trace: id, Sampled: true})
		tr.Add(&load.Result{Step: 0, Due: 10 * ms, Sent: 13 * ms, Done: 23 * ms, Code: 200, Span: load.SpanID{1}, Phases: [load.NumPhases]int64{0, 2 * ms, 0, 5 * ms, 3 * ms}}, []byte("/42\xff"), nil)
		tr.Add(&load.Result{Step: 1, Due: 23 * ms, Sent: 23 * ms, Done: 33 * ms, Code: 500, Cause: load.Status, Span: load.SpanID{2}}, nil, errors.New("500 Internal Server Error"))
		tr.Add(&load.Result{Step: 1, Due: 33 * ms, Sent: 33 * ms, Done: 43 * ms, Cause: load.Reset, Span: load.SpanID{3}}, nil, errors.New("reset by \xe2\x82")) // cut
		tr.Add(&load.Result{Step: 1, Due: 43 * ms, Sent: 43 * ms, Done: 44 * ms, Cause: load.Canceled, Span: load.SpanID{4}}, nil, errors.New("canceled"))
		tr.End, tr.Outcome = 44*ms, load.Stopped
		e.tracer(s).Trace(&tr)
		time.Sleep(6 * time.Second)
		synctest.Wait()

		spans := client.spans()
		if len(spans) != 5 {
			t.Fatalf("got %d spans", len(spans))
		}
		for i, s := range spans {
			if unknown := s.ProtoReflect().GetUnknown(); len(unknown) > 0 {
				t.Errorf("span %d has fields that no collector knows: %x", i, unknown)
			}
		}
		root := load.SpanID{1, 2, 3, 4, 5, 6, 7, 8 ^ 9}
		at := func(n int64) uint64 { return uint64(zero.UnixNano() + n*ms) }
		for i, want := range []struct {
			name       string
			kind       tracepb.Span_SpanKind
			id, parent load.SpanID
			start, end uint64
			status     tracepb.Status_StatusCode
			message    string
			attributes map[string]any
		}{
			{"shop", tracepb.Span_SPAN_KIND_INTERNAL, root, load.SpanID{}, at(12), at(44), tracepb.Status_STATUS_CODE_ERROR, "", map[string]any{"perfd.outcome": "stopped", "perfd.lateness": 0.002}},
			{"GET /{id}", tracepb.Span_SPAN_KIND_CLIENT, load.SpanID{1}, root, at(13), at(23), tracepb.Status_STATUS_CODE_UNSET, "", map[string]any{
				"url.full": "/42\uFFFD", "perfd.step": "browse", "perfd.target": "web", "perfd.lateness": 0.003,
				"perfd.phase.connect": 0.002, "perfd.phase.first_byte": 0.005, "perfd.phase.transfer": 0.003,
			}},
			{"buy", tracepb.Span_SPAN_KIND_CLIENT, load.SpanID{2}, root, at(23), at(33), tracepb.Status_STATUS_CODE_ERROR, "", map[string]any{"perfd.step": "buy", "perfd.target": "web", "perfd.cause": "status"}},
			{"buy", tracepb.Span_SPAN_KIND_CLIENT, load.SpanID{3}, root, at(33), at(43), tracepb.Status_STATUS_CODE_ERROR, "reset by \uFFFD", map[string]any{"perfd.step": "buy", "perfd.target": "web", "perfd.cause": "reset"}},
			{"buy", tracepb.Span_SPAN_KIND_CLIENT, load.SpanID{4}, root, at(43), at(44), tracepb.Status_STATUS_CODE_UNSET, "", map[string]any{"perfd.step": "buy", "perfd.target": "web", "perfd.cause": "canceled"}},
		} {
			maps.Copy(want.attributes, map[string]any{
				"user_agent.synthetic.type": "test", "perfd.scenario": "shop", "perfd.run": "run-1", "perfd.test": "nightly", "perfd.release": "r7", "perfd.sampled": "head",
			})
			got := spans[i]
			var parent load.SpanID
			copy(parent[:], got.ParentSpanId)
			if load.TraceID(got.TraceId) != id || load.SpanID(got.SpanId) != want.id || parent != want.parent || len(got.ParentSpanId) != map[bool]int{true: 0, false: 8}[i == 0] {
				t.Errorf("span %d: ids %x %x %x", i, got.TraceId, got.SpanId, got.ParentSpanId)
			}
			if got.Name != want.name || got.Kind != want.kind || got.StartTimeUnixNano != want.start || got.EndTimeUnixNano != want.end {
				t.Errorf("span %d: %v", i, got)
			}
			if got.GetStatus().GetCode() != want.status || got.GetStatus().GetMessage() != want.message {
				t.Errorf("span %d: status %v", i, got.Status)
			}
			if diff := cmp.Diff(want.attributes, attributes(got)); diff != "" {
				t.Errorf("span %d: attributes (-want +got):\n%s", i, diff)
			}
			if got.Flags != 0x101 {
				t.Errorf("span %d: flags %#x", i, got.Flags)
			}
		}
		if diff := cmp.Diff(map[string]any{"service.name": "perfd", "service.version": "1.2", "service.instance.id": "host-1"}, plain(client.last.Resource.Attributes)); diff != "" {
			t.Errorf("resource (-want +got):\n%s", diff)
		}
		if scope := client.last.ScopeSpans[0].Scope; scope.Name != "github.com/perfd/perfd" || scope.Version != "1.2" {
			t.Errorf("scope: %v", scope)
		}

		wall := func(n int64) time.Time { return zero.Add(time.Duration(n * ms)) }
		millis := func(n int64) time.Duration { return time.Duration(n * ms) }
		if diff := cmp.Diff([]output.Exported{
			{Scenario: "shop", Step: "browse", Cause: load.None, Duration: millis(10), ResponseTime: millis(13), Trace: id, Span: load.SpanID{1}, At: wall(23), Sampled: true},
			{Scenario: "shop", Step: "buy", Cause: load.Status, Duration: millis(10), ResponseTime: millis(10), Trace: id, Span: load.SpanID{2}, At: wall(33), Sampled: true},
			{Scenario: "shop", Step: "buy", Cause: load.Reset, Duration: millis(10), ResponseTime: millis(10), Trace: id, Span: load.SpanID{3}, At: wall(43), Sampled: true},
			{Scenario: "shop", Step: "buy", Cause: load.Canceled, Duration: millis(1), ResponseTime: millis(1), Trace: id, Span: load.SpanID{4}, At: wall(44), Sampled: true},
			{Scenario: "shop", Step: "", Cause: load.Status, Duration: millis(32), ResponseTime: millis(34), Trace: id, Span: root, At: wall(44), Sampled: true},
		}, exported); diff != "" {
			t.Errorf("exported (-want +got):\n%s", diff)
		}
	})
}

func TestOutcomeAndStatusOfAnIteration(t *testing.T) {
	for _, c := range []struct {
		outcome load.Outcome
		cause   load.Cause
		name    string
		failed  bool
	}{
		{load.Completed, load.None, "completed", false},
		{load.Completed, load.Expect, "completed", true},
		{load.Stopped, load.None, "stopped", true},
		{load.Interrupted, load.Canceled, "interrupted", false},
	} {
		tr := iteration(true, 10)
		tr.Outcome, tr.Requests[0].Cause = c.outcome, c.cause
		i := item{tracer: &Tracer{run: shop()}, trace: tr}
		root := spansOf(t, &i)[0]
		if got := attributes(root)["perfd.outcome"]; got != c.name {
			t.Errorf("%v: outcome %v", c, got)
		}
		if got := root.GetStatus().GetCode() == tracepb.Status_STATUS_CODE_ERROR; got != c.failed {
			t.Errorf("%v: failed %v", c, got)
		}
	}
}

func TestRootSpanIsNeverZero(t *testing.T) {
	same := load.TraceID{1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8}
	if id := rootSpan(same); id == (load.SpanID{}) {
		t.Error("zeros")
	}
}

type faulty struct{}

func (faulty) Span(*load.Result, []byte, *protocol.Span) { panic("a fault of a protocol") }

func TestAFaultOfAProtocolCostsItsAttributesOnly(t *testing.T) {
	i := item{
		tracer: &Tracer{run: output.Run{Scenario: "shop", Steps: []output.Step{{Label: "get", Span: faulty{}}}}},
		trace:  &load.Trace{Requests: []load.TraceRequest{{}}},
	}
	spans := spansOf(t, &i)
	if len(spans) != 2 || spans[1].Name != "get" || attributes(spans[1])["perfd.fault"] != "a fault of a protocol" {
		t.Errorf("spans = %v, want the request's with its label and the fault", spans)
	}
}

func TestSpanOfARun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := &fakeClient{}
		e := start(t, Options{client: client, Exported: func(output.Exported) { t.Error("a run was reported") }})
		id := newID()
		e.RunEnded(output.RunSpan{
			Scenario: "shop", Run: "run-1", Test: "nightly", Trace: id, Start: zero, End: zero.Add(time.Minute), Result: "fail",
		})
		time.Sleep(6 * time.Second)
		synctest.Wait()
		spans := client.spans()
		if len(spans) != 1 {
			t.Fatalf("got %v", spans)
		}
		s := spans[0]
		if s.Name != "run shop" || s.Kind != tracepb.Span_SPAN_KIND_INTERNAL || load.TraceID(s.TraceId) != id || s.ParentSpanId != nil ||
			s.EndTimeUnixNano-s.StartTimeUnixNano != uint64(time.Minute) || s.Status.GetCode() != tracepb.Status_STATUS_CODE_ERROR {
			t.Errorf("got %v", s)
		}
		if diff := cmp.Diff(map[string]any{
			"user_agent.synthetic.type": "test", "perfd.scenario": "shop", "perfd.run": "run-1", "perfd.test": "nightly",
			"perfd.result": "fail",
		}, attributes(s)); diff != "" {
			t.Errorf("attributes (-want +got):\n%s", diff)
		}
	})
}
