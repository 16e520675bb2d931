package grpc

import (
	"strconv"

	"google.golang.org/grpc/codes"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
)

// Span follows OpenTelemetry's semantic conventions for client spans of gRPC.
func (s *step) Span(r *load.Result, _ []byte, span *protocol.Span) {
	span.Name = s.service + "/" + s.method
	span.AddText("rpc.system", "grpc")
	span.AddText("rpc.service", s.service)
	span.AddText("rpc.method", s.method)
	span.AddText("server.address", s.to.origin.Host)
	span.AddNumber("server.port", int64(s.to.origin.Port))
	if r.Code != 0 || r.Cause == load.None {
		span.AddNumber("rpc.grpc.status_code", int64(r.Code))
	}
	switch {
	case r.Cause == load.None || r.Cause == load.Canceled:
	case r.Code != 0:
		span.AddText("error.type", codeName(codes.Code(uint32(r.Code)))) //nolint:gosec // it was one
	default:
		span.AddText("error.type", r.Cause.String())
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
