package otlp

import (
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/output"
	"github.com/perfd/perfd/internal/protocol"
)

// The numbers of fields in opentelemetry/proto/trace/v1/trace.proto and
// opentelemetry/proto/common/v1/common.proto.
const (
	scopeSpansSpans = 2

	spanTraceID      = 1
	spanID           = 2
	spanParentSpanID = 4
	spanName         = 5
	spanKind         = 6
	spanStart        = 7
	spanEnd          = 8
	spanAttributes   = 9
	spanStatus       = 15
	spanFlags        = 16

	statusMessage = 2
	statusCode    = 3

	keyValueKey   = 1
	keyValueValue = 2

	anyValueString = 1
	anyValueInt    = 3
	anyValueDouble = 4
)

// An encoder writes spans as a collector reads them. Messages of the protobuf
// library would cost four times as much: a span has twenty attributes of three
// objects each. Everything but the spans is still encoded by the library.
//
// Texts must have passed through text: one byte that is not UTF-8, in an error
// that was cut or an address as the target sent it, would keep a collector from
// reading a whole batch; and addresses and errors may hold secrets.
//
// It belongs to one goroutine.
type encoder struct {
	strike func(string) string // strikes secrets out of a text; nil leaves them
	known  map[string]string   // what became of texts: most of a batch's are the same

	out []byte        // the batch: field spans of ScopeSpans
	msg []byte        // the span under way
	own protocol.Span // what the step's protocol says of it

	// What spans of the tracer's iterations have in common, late or not.
	tracer   *Tracer
	late     bool
	scenario string
	common   []byte
	steps    [][]byte // by step, empty for those that were not asked for
}

// reset begins a batch. What is struck out may have changed since the last one.
func (e *encoder) reset() {
	e.out, e.tracer = e.out[:0], nil
	clear(e.known)
}

// into has a message hold the batch. It must not be used after the next reset. JSON
// is written of what the library has decoded only.
func (e *encoder) into(spans *tracepb.ScopeSpans, json bool) error {
	if json {
		return proto.UnmarshalOptions{Merge: true}.Unmarshal(e.out, spans)
	}
	spans.ProtoReflect().SetUnknown(e.out) // fields that the library appends as they are
	return nil
}

// text returns a text as it may be sent.
func (e *encoder) text(s string) string {
	if e.strike == nil || s == "" {
		return valid(s)
	}
	struck, ok := e.known[s]
	if !ok {
		if e.known == nil {
			e.known = map[string]string{}
		}
		struck = e.strike(valid(s))
		e.known[s] = struck
	}
	return struck
}

// follow makes what the spans of a tracer's iterations have in common.
func (e *encoder) follow(t *Tracer, late bool) {
	if e.tracer == t && e.late == late {
		return
	}
	if e.tracer != t {
		e.steps = append(e.steps[:0], make([][]byte, len(t.run.Steps))...)
	}
	e.tracer, e.late, e.scenario = t, late, e.text(t.run.Scenario)
	e.msg = e.msg[:0]
	identity(e, t.run.Scenario, t.run.ID, t.run.Test)
	if t.run.Release != "" {
		e.attribute("perfd.release", e.text(t.run.Release))
	}
	e.attribute("perfd.sampled", map[bool]string{false: "head", true: "late"}[late])
	e.common = append(e.common[:0], e.msg...)
}

// step returns what the spans of a step's requests have in common.
func (e *encoder) step(n int, s *output.Step) []byte {
	if uint(n) < uint(len(e.steps)) && e.steps[n] != nil {
		return e.steps[n]
	}
	var own encoder
	own.attribute("perfd.step", e.text(s.Label))
	own.attribute("perfd.target", e.text(s.Target))
	if uint(n) < uint(len(e.steps)) {
		e.steps[n] = own.msg
	}
	return own.msg
}

// begin begins a span.
func (e *encoder) begin(trace load.TraceID, id load.SpanID, flags uint32, kind tracepb.Span_SpanKind, start, end time.Time) {
	b := e.msg[:0]
	b = protowire.AppendBytes(protowire.AppendTag(b, spanTraceID, protowire.BytesType), trace[:])
	b = protowire.AppendBytes(protowire.AppendTag(b, spanID, protowire.BytesType), id[:])
	b = protowire.AppendVarint(protowire.AppendTag(b, spanKind, protowire.VarintType), uint64(kind))
	b = protowire.AppendFixed64(protowire.AppendTag(b, spanStart, protowire.Fixed64Type), unix(start))
	b = protowire.AppendFixed64(protowire.AppendTag(b, spanEnd, protowire.Fixed64Type), unix(end))
	e.msg = protowire.AppendFixed32(protowire.AppendTag(b, spanFlags, protowire.Fixed32Type), flags)
}

// end ends the span.
func (e *encoder) end() {
	e.out = protowire.AppendBytes(protowire.AppendTag(e.out, scopeSpansSpans, protowire.BytesType), e.msg)
}

func (e *encoder) parent(id load.SpanID) {
	e.msg = protowire.AppendBytes(protowire.AppendTag(e.msg, spanParentSpanID, protowire.BytesType), id[:])
}

func (e *encoder) name(name string) {
	e.msg = protowire.AppendString(protowire.AppendTag(e.msg, spanName, protowire.BytesType), name)
}

// raw appends attributes that are encoded already.
func (e *encoder) raw(attributes []byte) { e.msg = append(e.msg, attributes...) }

// failed says that what the span is of has failed, and why, empty for no words.
func (e *encoder) failed(message string) {
	code := 1 + protowire.SizeVarint(uint64(tracepb.Status_STATUS_CODE_ERROR))
	size := code
	if message != "" {
		size += 1 + protowire.SizeBytes(len(message))
	}
	b := protowire.AppendVarint(protowire.AppendTag(e.msg, spanStatus, protowire.BytesType), uint64(size))
	if message != "" {
		b = protowire.AppendString(protowire.AppendTag(b, statusMessage, protowire.BytesType), message)
	}
	e.msg = protowire.AppendVarint(protowire.AppendTag(b, statusCode, protowire.VarintType), uint64(tracepb.Status_STATUS_CODE_ERROR))
}

// attribute appends an attribute that is a text.
func (e *encoder) attribute(key, value string) {
	b := e.key(key, 1+protowire.SizeBytes(len(value)))
	e.msg = protowire.AppendString(protowire.AppendTag(b, anyValueString, protowire.BytesType), value)
}

// number appends an attribute that is a whole number.
func (e *encoder) number(key string, value int64) {
	n := uint64(value)
	b := e.key(key, 1+protowire.SizeVarint(n))
	e.msg = protowire.AppendVarint(protowire.AppendTag(b, anyValueInt, protowire.VarintType), n)
}

// seconds appends an attribute that is a duration.
func (e *encoder) seconds(key string, ns int64) {
	b := e.key(key, 1+8)
	e.msg = protowire.AppendFixed64(protowire.AppendTag(b, anyValueDouble, protowire.Fixed64Type), math.Float64bits(time.Duration(ns).Seconds()))
}

// key appends an attribute up to its value, which is so many bytes long.
func (e *encoder) key(key string, value int) []byte {
	size := 1 + protowire.SizeBytes(len(key)) + 1 + protowire.SizeBytes(value)
	b := protowire.AppendVarint(protowire.AppendTag(e.msg, spanAttributes, protowire.BytesType), uint64(size))
	b = protowire.AppendString(protowire.AppendTag(b, keyValueKey, protowire.BytesType), key)
	return protowire.AppendVarint(protowire.AppendTag(b, keyValueValue, protowire.BytesType), uint64(value))
}
