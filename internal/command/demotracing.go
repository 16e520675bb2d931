package command

import (
	"context"
	"fmt"
	"os"
	"strings"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/perfd/perfd/internal/output/otlp"
)

// traceDemo returns a tracer whose spans go where OpenTelemetry's environment says, as those of an
// instrumented service of that name would: it goes on with the traces that perfd chose, and begins
// none. The tracer is nil where the environment names no collector.
func traceDemo(ctx context.Context, service string) (tracer trace.Tracer, stop func(context.Context) error, err error) {
	if !otlp.Enabled(nil, os.Getenv) {
		return nil, func(context.Context) error { return nil }, nil
	}
	client := otlptracegrpc.NewClient()
	protocol := os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL")
	if protocol == "http/protobuf" || protocol == "" && strings.HasSuffix(os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT"), ":4318") {
		client = otlptracehttp.NewClient()
	}
	exporter, err := otlptrace.New(ctx, client)
	if err != nil {
		return nil, nil, fmt.Errorf("trace the demo's %s: %w", service, err)
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.NeverSample())),
		sdktrace.WithResource(resource.NewSchemaless(semconv.ServiceName(service))),
	)
	return provider.Tracer("github.com/perfd/perfd/internal/demo"), provider.Shutdown, nil
}
