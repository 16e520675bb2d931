package app

import (
	"context"
	"os"
	"reflect"
	"time"

	"github.com/prometheus/common/version"

	"github.com/perfd/perfd/internal/config"
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
	a.fleet.Retrace()
	if old != nil {
		ctx, cancel := context.WithTimeout(context.Background(), exporterStop)
		defer cancel()
		if err := old.stop(ctx); err != nil {
			a.log.Warn("close tracing", "err", err)
		}
	}
	return nil
}

// exporter is the exporter of spans there is, nil for none.
func (a *App) exporter() *otlp.Exporter {
	if t := a.tracing.Load(); t != nil {
		return t.Exporter
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
