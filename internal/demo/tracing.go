package demo

import (
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Trace makes the shop go on with the traces of its requests, in spans of a
// tracer. It must be called before requests arrive.
func (s *Shop) Trace(t trace.Tracer) { s.tracer = t }

// traced puts a server span of a tracer, if there is one by then, around an endpoint, by the semantic conventions for HTTP.
func traced(tracer func() trace.Tracer, pattern string, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		tracer := tracer()
		if tracer == nil {
			next(w, r)
			return
		}
		ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := tracer.Start(ctx, pattern, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
			attribute.String("http.request.method", r.Method), attribute.String("http.route", r.Pattern), attribute.String("url.path", r.URL.Path),
		))
		defer span.End()
		seen := &statusWriter{ResponseWriter: w}
		next(seen, r.WithContext(ctx))
		if seen.code == 0 { // the client left
			return
		}
		span.SetAttributes(attribute.Int("http.response.status_code", seen.code))
		if seen.code >= 500 {
			span.SetStatus(codes.Error, "")
		}
	}
}
