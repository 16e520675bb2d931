package otlp

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/metric"
	"github.com/perfd/perfd/internal/output"
)

// Kind is the output of traces.
var Kind = output.Kind{
	Name:   "tracing",
	Doc:    "Sends spans of runs, iterations and requests to an OpenTelemetry collector.",
	Config: func() output.Config { return &Blocks{} },
	Takes:  output.Traces,
}

// Blocks is what the output owns of the document.
type Blocks struct {
	Tracing *Config `yaml:"tracing" doc:"Where spans of iterations and requests are sent to (OTLP)."`
}

// Enabled reports whether the configuration or OpenTelemetry's environment asks
// for spans.
func (b *Blocks) Enabled() bool { return Enabled(b.Tracing, os.Getenv) }

// Check reads the certificates and the environment's endpoint.
func (b *Blocks) Check(root *block.Node, dir string, errs *block.Errors) {
	at := b.checkEnvironment(errs)
	if b.Tracing != nil {
		output.CheckProxy(b.Tracing.ProxyURL, root.Get("tracing").Get("proxy_url"), at.protocol == protocolGRPC, errs)
	}
	if b.Tracing != nil {
		b.Tracing.TLS.Check(root.Get("tracing").Get("tls"), dir, errs)
	}
}

// Open builds the exporter and starts nothing.
func (b *Blocks) Open(env *output.Env, old output.Output) (output.Output, error) {
	o := Options{
		Dir: env.Dir, Version: env.Version, Instance: env.Instance, Log: env.Log, Strike: env.Strike, TLSFaults: env.TLSFaults,
		Guard: env.Guard, Network: env.Network, Exported: env.Exported,
	}
	if b.Tracing != nil {
		o.Config = *b.Tracing
	}
	e, err := New(o)
	if err != nil {
		return nil, err
	}
	r := &run{Exporter: e, log: env.Log}
	if old != nil {
		r.old = old.(*run)
	}
	return r, nil
}

// replaceWait bounds how long Start waits until the exporter that it replaces
// has sent what waits there.
const replaceWait = 2 * time.Second

// A run is an exporter and the goroutine that exports.
type run struct {
	*Exporter
	log    *slog.Logger
	old    *run // that Start takes over from
	cancel context.CancelFunc
	done   chan struct{} // closed when the goroutine has ended
}

// Start exports until Close.
func (r *run) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel, r.done = cancel, make(chan struct{})
	go func() {
		defer close(r.done)
		r.Run(ctx)
	}()
	old := r.old
	if old == nil {
		return
	}
	r.old = nil
	ctx, cancel = context.WithTimeout(context.Background(), replaceWait)
	defer cancel()
	if err := old.Close(ctx); err != nil {
		r.log.Warn("close tracing", "err", err)
	}
}

// Close sends the spans that wait, until ctx ends.
func (r *run) Close(ctx context.Context) error {
	err := r.Exporter.Close(ctx)
	if r.cancel != nil {
		r.cancel()
		<-r.done
	}
	return err
}

// Collect sends the counts of spans.
func (r *run) Collect(send metric.Send, _ chan<- prometheus.Metric) {
	s := r.Stats()
	send(metric.TraceSpans, float64(s.Exported))
	send(metric.TraceSpansQueued, float64(s.Queued))
	send(metric.TraceExportsFailed, float64(s.Failed))
	for reason := range NumReasons {
		send(metric.TraceSpansDropped, float64(s.Dropped[reason]), reason.String())
	}
}
