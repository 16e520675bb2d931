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

// traced puts a server span around an endpoint, by the semantic conventions for HTTP.
func (s *Shop) traced(pattern string, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if s.tracer == nil {
			next(w, r)
			return
		}
		ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := s.tracer.Start(ctx, pattern, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
			attribute.String("http.request.method", r.Method), attribute.String("http.route", r.Pattern), attribute.String("url.path", r.URL.Path),
		))
		defer span.End()
		seen := &statusWriter{ResponseWriter: w, code: http.StatusOK}
		next(seen, r.WithContext(ctx))
		span.SetAttributes(attribute.Int("http.response.status_code", seen.code))
		if seen.code >= 500 {
			span.SetStatus(codes.Error, "")
		}
	}
}

// A statusWriter remembers the status.
type statusWriter struct {
	http.ResponseWriter
	code int
}

func (w *statusWriter) WriteHeader(code int) {
	w.code = code
	w.ResponseWriter.WriteHeader(code)
}

// Unwrap lets http.ResponseController find the writer.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
