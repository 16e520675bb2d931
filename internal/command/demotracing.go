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

	"github.com/perfd/perfd/internal/demo"
	"github.com/perfd/perfd/internal/output/otlp"
)

// traceShop lets the demo shop send its own spans where OpenTelemetry's
// environment says so, as an instrumented target would: it goes on with the traces
// that perfd chose, and begins none.
func traceShop(ctx context.Context, shop *demo.Shop) (stop func(context.Context) error, err error) {
	if !otlp.Enabled(nil, os.Getenv) {
		return func(context.Context) error { return nil }, nil
	}
	client := otlptracegrpc.NewClient()
	protocol := os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL")
	if protocol == "http/protobuf" || protocol == "" && strings.HasSuffix(os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT"), ":4318") {
		client = otlptracehttp.NewClient()
	}
	exporter, err := otlptrace.New(ctx, client)
	if err != nil {
		return nil, fmt.Errorf("trace the demo shop: %w", err)
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.NeverSample())),
		sdktrace.WithResource(resource.NewSchemaless(semconv.ServiceName("shop"))),
	)
	shop.Trace(provider.Tracer("github.com/perfd/perfd/internal/demo"))
	return provider.Shutdown, nil
}
