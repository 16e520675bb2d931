package app

import (
	"context"
	"os"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/prometheus/common/version"

	"github.com/perfd/perfd/internal/config"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/output/otlp"
	"github.com/perfd/perfd/internal/record"
)

// exporterStop bounds how long a reload waits for the spans of an exporter that it replaces.
const exporterStop = 2 * time.Second

// tracing is the exporter of spans and what it was made of.
type tracing struct {
	*otlp.Exporter
	of     *otlp.Config
	cancel context.CancelFunc
	done   chan struct{}
}

// newTracing starts what a document and OpenTelemetry's environment say of tracing, nil where they say nothing.
func (a *App) newTracing(doc *config.Document) (*tracing, error) {
	if !otlp.Enabled(doc.Tracing, os.Getenv) {
		return nil, nil //nolint:nilnil // no tracing is what was asked for
	}
	o := otlp.Options{Dir: doc.Dir, Version: version.Version, Log: a.log, Exported: a.exported}
	if doc.Tracing != nil {
		o.Config = *doc.Tracing
	}
	o.Instance, _ = os.Hostname()
	e, err := otlp.New(o)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	t := &tracing{Exporter: e, of: doc.Tracing, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(t.done)
		e.Run(ctx)
	}()
	return t, nil
}

func (t *tracing) stop(ctx context.Context) error {
	err := t.Close(ctx)
	t.cancel()
	<-t.done
	return err
}

// stopTracing sends the spans that wait.
func (a *App) stopTracing(ctx context.Context) error {
	if t := a.tracing.Swap(nil); t != nil {
		return t.stop(ctx)
	}
	return nil
}

// reloadTracing changes to what a document says; runs under way go on with the new exporter.
func (a *App) reloadTracing(doc *config.Document) error {
	old := a.tracing.Load()
	if old != nil && reflect.DeepEqual(old.of, doc.Tracing) || old == nil && !otlp.Enabled(doc.Tracing, os.Getenv) {
		return nil
	}
	t, err := a.newTracing(doc)
	if err != nil {
		return err
	}
	a.tracing.Store(t)
	for _, s := range a.current().scenarios {
		if r := s.current(); r != nil {
			r.retrace()
		}
	}
	if old != nil {
		ctx, cancel := context.WithTimeout(context.Background(), exporterStop)
		defer cancel()
		if err := old.stop(ctx); err != nil {
			a.log.Warn("close tracing", "err", err)
		}
	}
	return nil
}

// exported makes an exemplar of a span that the collector has.
func (a *App) exported(x otlp.Exported) {
	a.recorder.Exemplar(record.Exemplar{
		Scenario: x.Scenario, Step: x.Step, Cause: x.Cause, Duration: x.Duration, ResponseTime: x.ResponseTime,
		Trace: x.Trace, Span: x.Span, At: x.At, Sampled: x.Sampled,
	})
}

// runTracer hands the trails of a run to the exporter there is.
type runTracer struct{ atomic.Pointer[otlp.Tracer] }

// Sampled decides whether the target shall trace an iteration too.
func (t *runTracer) Sampled(id load.TraceID) bool {
	now := t.Load()
	return now != nil && now.Sampled(id)
}

// Trace takes an iteration that ended.
func (t *runTracer) Trace(trail *load.Trace) {
	if now := t.Load(); now != nil {
		now.Trace(trail)
	}
}

// retrace makes the run's tracer one of the exporter there is, under the run's identity.
func (r *run) retrace() {
	t := r.s.app.tracing.Load()
	if t == nil {
		r.tracer.Store(nil)
		return
	}
	named := r.identity.Load()
	sc := otlp.Scenario{Name: r.s.name, Run: named.id, Release: named.release, Test: string(r.s.cfg.Test), Zero: r.engine.Zero()}
	for _, step := range r.s.cfg.Program.Steps {
		sc.Steps = append(sc.Steps, otlp.Step{Label: step.Label, Target: step.Target, Protocol: step.Protocol, Span: step.Span})
	}
	r.tracer.Store(t.Scenario(sc))
}
