package fleet

import (
	"sync/atomic"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/output/otlp"
)

// A runTracer hands the iterations of a run to the exporter there is.
type runTracer struct{ atomic.Pointer[otlp.Tracer] }

// Sampled decides whether the target is asked to trace an iteration too.
func (t *runTracer) Sampled(id load.TraceID) bool {
	to := t.Load()
	return to != nil && to.Sampled(id)
}

// Trace takes an iteration that ended.
func (t *runTracer) Trace(trail *load.Trace) {
	if to := t.Load(); to != nil {
		to.Trace(trail)
	}
}

// retrace replaces the run's tracer by one of the exporter there is, under the run's identity.
func (r *run) retrace() {
	t := r.s.o.Tracing()
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
