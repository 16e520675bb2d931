package grpc

import (
	"strconv"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc/codes"

	"github.com/perfd/perfd/internal/load"
)

// Span follows OpenTelemetry's semantic conventions for client spans of gRPC.
func (s *step) Span(r *load.Result, _ []byte, span *tracepb.Span) {
	span.Name = s.service + "/" + s.method
	text := func(key, value string) {
		span.Attributes = append(span.Attributes, &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: value}}})
	}
	number := func(key string, value int64) {
		span.Attributes = append(span.Attributes, &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: value}}})
	}
	text("rpc.system", "grpc")
	text("rpc.service", s.service)
	text("rpc.method", s.method)
	text("server.address", s.to.origin.Host)
	number("server.port", int64(s.to.origin.Port))
	if r.Code != 0 || r.Cause == load.None {
		number("rpc.grpc.status_code", int64(r.Code))
	}
	switch {
	case r.Cause == load.None || r.Cause == load.Canceled:
	case r.Code != 0:
		text("error.type", codeName(codes.Code(uint32(r.Code)))) //nolint:gosec // it was one
	default:
		text("error.type", r.Cause.String())
	}
}

// codeNames are the names of the status codes in gRPC's documentation.
var codeNames = [...]string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED",
	"FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
}

func codeName(c codes.Code) string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return strconv.Itoa(int(c))
}
