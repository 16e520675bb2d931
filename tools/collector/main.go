// Command collector runs the OTLP receiver of the OpenTelemetry Collector on
// its own and writes every span it decodes to a file, one JSON object a line,
// so that an end-to-end test can compare what a sender meant with what a real
// receiver understood.
//
// Once every listener is up it prints one line to standard output,
//
//	listening grpc=HOST:PORT http=HOST:PORT
//
// with the ports the system chose; the value of a listener that is turned off
// is empty. A span's line is in the file before its sender gets the answer.
// SIGTERM or SIGINT shuts the receiver down and ends the program with code 0, or
// with code 1 when the receiver does not shut down in time.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// The receiver tells the address of a listener only in these log messages, in
// the field endpointField.
const (
	startedGRPC   = "Starting GRPC server"
	startedHTTP   = "Starting HTTP server"
	endpointField = "endpoint"
)

// shutdownTimeout is how long the receiver may take to shut down.
const shutdownTimeout = 10 * time.Second

// host is the part of a collector the receiver sees: no extensions, and a
// place to report that a listener has failed.
type host struct {
	failed chan error
}

// GetExtensions returns no extensions.
func (host) GetExtensions() map[component.ID]component.Component { return nil }

// Report keeps the first fatal error of the receiver.
func (h host) Report(event *componentstatus.Event) {
	if event.Status() != componentstatus.StatusFatalError {
		return
	}
	select {
	case h.failed <- event.Err():
	default:
	}
}

func main() {
	grpcAddr := flag.String("grpc", "127.0.0.1:0", "address OTLP/gRPC listens on; empty turns it off")
	httpAddr := flag.String("http", "127.0.0.1:0", "address OTLP/HTTP listens on; empty turns it off")
	spans := flag.String("spans", "", "file the spans are appended to, one JSON object a line")
	flag.Parse()

	if err := run(*grpcAddr, *httpAddr, *spans); err != nil {
		fmt.Fprintln(os.Stderr, "collector:", err)
		os.Exit(1)
	}
}

// run receives spans until a signal or a failure of a listener ends it.
func run(grpcAddr, httpAddr, spans string) (err error) {
	if spans == "" {
		return errors.New("-spans is required")
	}
	if grpcAddr == "" && httpAddr == "" {
		return errors.New("-grpc and -http are both empty: nothing to listen on")
	}
	signalled, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	file, err := os.OpenFile(spans, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	next, err := consumer.NewTraces((&spanFile{file: file}).consume)
	if err != nil {
		return err
	}

	core, logs := observer.New(zapcore.InfoLevel)
	settings := receiver.Settings{
		ID: component.NewID(otlpreceiver.NewFactory().Type()),
		TelemetrySettings: component.TelemetrySettings{
			Logger:         zap.New(core),
			TracerProvider: tracenoop.NewTracerProvider(),
			MeterProvider:  metricnoop.NewMeterProvider(),
			Resource:       pcommon.NewResource(),
		},
	}
	ctx := context.Background()
	traces, err := otlpreceiver.NewFactory().CreateTraces(ctx, settings, receiverConfig(grpcAddr, httpAddr), next)
	if err != nil {
		return err
	}
	h := host{failed: make(chan error, 1)}
	if err := traces.Start(ctx, h); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, shutdown(traces)) }()

	grpcBound, err := boundAddr(logs, startedGRPC, grpcAddr)
	if err != nil {
		return err
	}
	httpBound, err := boundAddr(logs, startedHTTP, httpAddr)
	if err != nil {
		return err
	}
	fmt.Printf("listening grpc=%s http=%s\n", grpcBound, httpBound)

	select {
	case <-signalled.Done():
		stop() // a second signal ends the program at once
		return nil
	case err := <-h.failed:
		return err
	}
}

// shutdown stops traces. It gives up after shutdownTimeout, because the receiver
// waits for a gRPC connection whose client has not said anything yet.
func shutdown(traces receiver.Traces) error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- traces.Shutdown(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("the receiver has not shut down within %v", shutdownTimeout)
	}
}

// receiverConfig is the receiver's default configuration with the given
// addresses; a protocol whose address is empty is left off.
func receiverConfig(grpcAddr, httpAddr string) *otlpreceiver.Config {
	config := otlpreceiver.NewFactory().CreateDefaultConfig().(*otlpreceiver.Config)
	if grpcAddr != "" {
		config.Protocols.GRPC.GetOrInsertDefault().NetAddr.Endpoint = grpcAddr
	}
	if httpAddr != "" {
		config.Protocols.HTTP.GetOrInsertDefault().ServerConfig.NetAddr.Endpoint = httpAddr
	}
	return config
}

// boundAddr finds the address, with its real port, that the listener asked for
// as wanted has logged with message. It is empty when wanted is empty.
func boundAddr(logs *observer.ObservedLogs, message, wanted string) (string, error) {
	if wanted == "" {
		return "", nil
	}
	for _, entry := range logs.FilterMessage(message).All() {
		if addr, ok := entry.ContextMap()[endpointField].(string); ok {
			return addr, nil
		}
	}
	return "", fmt.Errorf("the receiver has not logged %q with the address of %s", message, wanted)
}
