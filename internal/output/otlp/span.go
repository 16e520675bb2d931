package otlp

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/output"
	"github.com/perfd/perfd/internal/protocol"
)

// schemaURL is the version of the semantic conventions whose names are used.
const schemaURL = "https://opentelemetry.io/schemas/1.43.0"

// scopeName names what made the spans.
const scopeName = "github.com/perfd/perfd"

// The flags of a span: the lowest byte is what traceparent said, above it that
// its parent is known not to be of another process.
const (
	flagSampled = 0x01
	flagLocal   = uint32(tracepb.SpanFlags_SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK)
)

// rootSpan returns the span of an iteration, which no request names: it is
// derived from the trace. It is never all zeros, which would be invalid.
func rootSpan(trace load.TraceID) load.SpanID {
	var id load.SpanID
	n := binary.BigEndian.Uint64(trace[:8]) ^ binary.BigEndian.Uint64(trace[8:])
	binary.BigEndian.PutUint64(id[:], max(n, 1))
	return id
}

// make returns the item's spans: an iteration's, and then those of its requests.
func (i *item) make() []*tracepb.Span {
	if i.trace == nil {
		return []*tracepb.Span{i.span}
	}
	out := make([]*tracepb.Span, 0, i.spans())
	out = append(out, i.iteration())
	for n := range i.trace.Requests {
		out = append(out, i.request(n))
	}
	return out
}

// report calls exported for each span of an iteration, which the collector has.
func (i *item) report(exported func(output.Exported)) {
	if i.trace == nil {
		return
	}
	trace, s := i.trace, &i.tracer.run
	for n := range trace.Requests {
		r := &trace.Requests[n]
		exported(output.Exported{
			Scenario: s.Scenario, Step: i.step(n).Label, Cause: r.Cause,
			Duration: time.Duration(r.Duration()), ResponseTime: time.Duration(r.ResponseTime()),
			Trace: trace.Trace, Span: r.Span, At: s.Wall(r.Done), Sampled: !i.late,
		})
	}
	exported(output.Exported{
		Scenario: s.Scenario, Cause: i.cause(),
		Duration: time.Duration(trace.End - trace.Start), ResponseTime: time.Duration(trace.End - trace.Due),
		Trace: trace.Trace, Span: rootSpan(trace.Trace), At: s.Wall(trace.End), Sampled: !i.late,
	})
}

func (i *item) iteration() *tracepb.Span {
	trace, s := i.trace, &i.tracer.run
	id := rootSpan(trace.Trace)
	span := &tracepb.Span{
		TraceId: slices.Clone(trace.Trace[:]), SpanId: id[:], Flags: i.flags(),
		Name: s.Scenario, Kind: tracepb.Span_SPAN_KIND_INTERNAL,
		StartTimeUnixNano: unix(s.Wall(trace.Start)), EndTimeUnixNano: unix(s.Wall(trace.End)),
		Attributes: append(slices.Grow(slices.Clone(i.common()), 3),
			text("perfd.outcome", outcome(trace.Outcome)),
			seconds("perfd.lateness", trace.Start-trace.Due)),
	}
	if trace.Left > 0 {
		span.Attributes = append(span.Attributes, number("perfd.requests_left_out", int64(trace.Left)))
	}
	if trace.Outcome == load.Stopped || i.cause() != load.None {
		span.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR}
	}
	makeValid(span)
	return span
}

func outcome(o load.Outcome) string {
	switch o {
	case load.Completed:
		return "completed"
	case load.Stopped:
		return "stopped"
	case load.Interrupted:
		return "interrupted"
	}
	return "unknown"
}

// cause is why the iteration's first request that failed did, None where none did.
func (i *item) cause() load.Cause {
	for n := range i.trace.Requests {
		if c := i.trace.Requests[n].Cause; failed(c) {
			return c
		}
	}
	return load.None
}

func (i *item) request(n int) *tracepb.Span {
	r, s := &i.trace.Requests[n], &i.tracer.run
	step := i.step(n)
	parent := rootSpan(i.trace.Trace)
	span := &tracepb.Span{
		TraceId: slices.Clone(i.trace.Trace[:]), SpanId: slices.Clone(r.Span[:]), ParentSpanId: parent[:], Flags: i.flags(),
		Name: step.Label, Kind: tracepb.Span_SPAN_KIND_CLIENT,
		StartTimeUnixNano: unix(s.Wall(r.Sent)), EndTimeUnixNano: unix(s.Wall(r.Done)),
	}
	shared := i.common()
	span.Attributes = make([]*commonpb.KeyValue, 0, len(shared)+mostOwn)
	if step.Span != nil {
		i.describe(step.Span, n, span)
	}
	span.Attributes = append(span.Attributes, shared...)
	span.Attributes = append(span.Attributes, text("perfd.step", step.Label), text("perfd.target", step.Target))
	if r.Cause != load.None { // canceled too, which is no failure but must not pass for an answer
		span.Attributes = append(span.Attributes, text("perfd.cause", r.Cause.String()))
	}
	for p, ns := range r.Phases {
		if ns > 0 {
			span.Attributes = append(span.Attributes, seconds("perfd.phase."+load.Phase(p).String(), ns))
		}
	}
	if n == 0 {
		span.Attributes = append(span.Attributes, seconds("perfd.lateness", r.Sent-r.Due))
	}
	if failed(r.Cause) {
		span.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR}
		if r.Cause != load.Status { // which the answer's code says already
			span.Status.Message = r.Error
		}
	}
	makeValid(span)
	return span
}

// describe lets the step's protocol give the span its name and attributes. A
// fault there must not end the exporter, and the daemon with it.
func (i *item) describe(by protocol.SpanMapper, n int, span *tracepb.Span) {
	defer func() {
		if p := recover(); p != nil {
			span.Attributes = append(span.Attributes, text("perfd.fault", fmt.Sprint(p)))
		}
	}()
	by.Span(&i.trace.Requests[n].Result, i.trace.Address(n), span)
}

func (i *item) step(n int) output.Step {
	if at := i.trace.Requests[n].Step; uint(at) < uint(len(i.tracer.run.Steps)) {
		return i.tracer.run.Steps[at]
	}
	return output.Step{}
}

func (i *item) flags() uint32 {
	if i.late {
		return flagLocal
	}
	return flagLocal | flagSampled
}

// common returns what is on every span of an iteration, for all of them.
func (i *item) common() []*commonpb.KeyValue {
	if i.late {
		return i.tracer.common[1]
	}
	return i.tracer.common[0]
}

// common makes what is on every span of a run's iterations that were sampled at the head, or late.
func common(r *output.Run, sampled string) []*commonpb.KeyValue {
	out := identity(r.Scenario, r.ID, r.Test)
	if r.Release != "" {
		out = append(out, text("perfd.release", r.Release))
	}
	out = append(out, text("perfd.sampled", sampled))
	for _, a := range out {
		makeValueValid(a.Value)
	}
	return out
}

// mostOwn is how many attributes a span has of its own, but for rare ones.
const mostOwn = 16

// identity returns the attributes that every span has.
func identity(scenario, run, test string) []*commonpb.KeyValue {
	return []*commonpb.KeyValue{
		text("user_agent.synthetic.type", "test"),
		text("perfd.scenario", scenario), text("perfd.run", run), text("perfd.test", test),
	}
}

func unix(t time.Time) uint64 { return uint64(max(0, t.UnixNano())) }

// runSpan makes the span of a run as a whole.
func runSpan(r *output.RunSpan) *tracepb.Span {
	id := rootSpan(r.Trace)
	span := &tracepb.Span{
		TraceId: slices.Clone(r.Trace[:]), SpanId: id[:], Flags: flagLocal | flagSampled,
		Name: "run " + r.Scenario, Kind: tracepb.Span_SPAN_KIND_INTERNAL,
		StartTimeUnixNano: unix(r.Start), EndTimeUnixNano: unix(r.End),
		Attributes: append(identity(r.Scenario, r.Run, r.Test), text("perfd.result", r.Result)),
	}
	if r.Release != "" {
		span.Attributes = append(span.Attributes, text("perfd.release", r.Release))
	}
	if r.Result == "fail" || r.Result == "error" {
		span.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR}
	}
	makeValid(span)
	return span
}

func text(key, value string) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: value}}}
}

func number(key string, value int64) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: value}}}
}

func double(key string, value float64) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_DoubleValue{DoubleValue: value}}}
}

func seconds(key string, ns int64) *commonpb.KeyValue {
	return double(key, time.Duration(ns).Seconds())
}

// makeValid replaces what is not UTF-8: one such byte, in an error that was cut
// or an address as the target sent it, would keep a whole batch from being encoded.
func makeValid(span *tracepb.Span) {
	span.Name = valid(span.Name)
	if span.Status != nil {
		span.Status.Message = valid(span.Status.Message)
	}
	for _, a := range span.Attributes {
		a.Key = valid(a.Key)
		makeValueValid(a.Value)
	}
}

func makeValueValid(v *commonpb.AnyValue) {
	switch v := v.GetValue().(type) {
	case *commonpb.AnyValue_StringValue:
		v.StringValue = valid(v.StringValue)
	case *commonpb.AnyValue_ArrayValue:
		for _, each := range v.ArrayValue.GetValues() {
			makeValueValid(each)
		}
	}
}

func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// resource describes perfd itself. What the environment says wins.
func resource(version, instance string, env environment) *resourcepb.Resource {
	names := []string{"service.name", "service.version", "service.instance.id"}
	values := []string{"perfd", version, instance}
	more, given := env.resource()
	names, values = append(names, more...), append(values, given...)
	out := &resourcepb.Resource{}
	for i, name := range names {
		if values[i] == "" || slices.Contains(names[i+1:], name) {
			continue
		}
		out.Attributes = append(out.Attributes, text(valid(name), valid(values[i])))
	}
	return out
}
