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

// encode appends the item's spans: an iteration's, and then those of its requests.
func (i *item) encode(e *encoder) {
	if i.trace == nil {
		encodeRun(e, i.run)
		return
	}
	e.follow(i.tracer, i.late)
	i.iteration(e)
	for n := range i.trace.Requests {
		i.request(e, n)
	}
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

func (i *item) iteration(e *encoder) {
	trace, s := i.trace, &i.tracer.run
	e.begin(trace.Trace, rootSpan(trace.Trace), i.flags(), tracepb.Span_SPAN_KIND_INTERNAL, s.Wall(trace.Start), s.Wall(trace.End))
	e.name(e.scenario)
	e.raw(e.common)
	e.attribute("perfd.outcome", outcome(trace.Outcome))
	e.seconds("perfd.lateness", trace.Start-trace.Due)
	if trace.Left > 0 {
		e.number("perfd.requests_left_out", int64(trace.Left))
	}
	if trace.Outcome == load.Stopped || i.cause() != load.None {
		e.failed("")
	}
	e.end()
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

func (i *item) request(e *encoder, n int) {
	r, s := &i.trace.Requests[n], &i.tracer.run
	e.begin(i.trace.Trace, r.Span, i.flags(), tracepb.Span_SPAN_KIND_CLIENT, s.Wall(r.Sent), s.Wall(r.Done))
	e.parent(rootSpan(i.trace.Trace))
	step := i.step(n)
	e.own.Name, e.own.Attributes = step.Label, e.own.Attributes[:0]
	if step.Span != nil {
		i.describe(step.Span, n, &e.own)
	}
	e.name(e.text(e.own.Name))
	for k := range e.own.Attributes {
		if a := &e.own.Attributes[k]; a.Numeric {
			e.number(valid(a.Key), a.Number)
		} else {
			e.attribute(valid(a.Key), e.text(a.Text))
		}
	}
	e.raw(e.common)
	e.raw(e.step(int(r.Step), &step))
	if r.Cause != load.None { // canceled too, which is no failure but must not pass for an answer
		e.attribute("perfd.cause", r.Cause.String())
	}
	for p, ns := range r.Phases {
		if ns > 0 {
			e.seconds(phaseKeys[p], ns)
		}
	}
	if n == 0 {
		e.seconds("perfd.lateness", r.Sent-r.Due)
	}
	if failed(r.Cause) {
		message := r.Error
		if r.Cause == load.Status { // which the answer's code says already
			message = ""
		}
		e.failed(e.text(message))
	}
	e.end()
}

// phaseKeys are the attributes of the phases.
var phaseKeys = func() (keys [load.NumPhases]string) {
	for p := range keys {
		keys[p] = "perfd.phase." + load.Phase(p).String()
	}
	return keys
}()

// describe lets the step's protocol give the span its name and attributes. A
// fault there must not end the exporter, and the daemon with it.
func (i *item) describe(by protocol.SpanMapper, n int, span *protocol.Span) {
	defer func() {
		if p := recover(); p != nil {
			span.AddText("perfd.fault", fmt.Sprint(p))
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

// identity appends the attributes that every span has.
func identity(e *encoder, scenario, run, test string) {
	e.attribute("user_agent.synthetic.type", "test")
	e.attribute("perfd.scenario", e.text(scenario))
	e.attribute("perfd.run", e.text(run))
	e.attribute("perfd.test", e.text(test))
}

// encodeRun appends the span of a run as a whole.
func encodeRun(e *encoder, r *output.RunSpan) {
	e.begin(r.Trace, rootSpan(r.Trace), flagLocal|flagSampled, tracepb.Span_SPAN_KIND_INTERNAL, r.Start, r.End)
	e.name(e.text("run " + r.Scenario))
	identity(e, r.Scenario, r.Run, r.Test)
	e.attribute("perfd.result", e.text(r.Result))
	if r.Release != "" {
		e.attribute("perfd.release", e.text(r.Release))
	}
	if r.Result == "fail" || r.Result == "error" {
		e.failed("")
	}
	e.end()
}

func unix(t time.Time) uint64 { return uint64(max(0, t.UnixNano())) }

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
		out.Attributes = append(out.Attributes, &commonpb.KeyValue{Key: valid(name), Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: valid(values[i])}}})
	}
	return out
}
