package grpc

import (
	"strconv"

	"google.golang.org/grpc/codes"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
)

var _ protocol.SpanMapper = (*step)(nil)

// Span follows OpenTelemetry's semantic conventions for client spans of gRPC.
// The address is the path of the method, which a step on a stream may not name.
func (s *step) Span(r *load.Result, address []byte, span *protocol.Span) {
	service, method := s.service, s.method
	if at := protocol.CutStream(address, span); s.method == "" {
		service, method = splitMethod(string(at))
	}
	if span.Name = service + "/" + method; method == "" {
		span.Name = "grpc" // of a stream that was not open
	}
	span.AddText("rpc.system", "grpc")
	if method != "" {
		span.AddText("rpc.service", service)
		span.AddText("rpc.method", method)
	}
	span.AddServer(s.to.origin.Host, s.to.origin.Port)
	if r.Code != 0 || r.Coded {
		span.AddNumber("rpc.grpc.status_code", int64(r.Code))
	}
	code := ""
	if r.Code != 0 {
		code = codeName(codes.Code(uint32(r.Code))) //nolint:gosec // it was one
	}
	span.AddError(r, code)
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
