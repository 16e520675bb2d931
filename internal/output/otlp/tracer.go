package otlp

import (
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/output"
)

// window is how long the slowest request and the first failures are looked for
// before those found are kept.
const window = 10 * time.Second

// A Tracer takes the traces of one run. Its methods are safe for many
// goroutines and never wait for the collector.
type Tracer struct {
	exporter *Exporter
	run      output.Run

	// The open window, by step. Two loads show that nearly all requests are neither slowest
	// nor the first to fail; the others take mu and look again.
	steps []stepWindow

	mu       sync.Mutex
	slowest  []*load.Trace // by step
	failures []*load.Trace
	listed   bool // the exporter knows that the window has candidates
}

type stepWindow struct {
	slowest atomic.Int64  // longest response time, ns
	failed  atomic.Uint32 // bit i: load.Cause i was seen
}

// Does not compile when the causes are more than stepWindow.failed has bits.
var _ [32 - load.NumCauses]struct{}

// Tracer returns the tracer of a run.
func (e *Exporter) Tracer(r *output.Run) output.Tracer { return e.tracer(*r) }

func (e *Exporter) tracer(r output.Run) *Tracer {
	r.Steps = slices.Clone(r.Steps)
	return &Tracer{
		exporter: e, run: r,
		steps: make([]stepWindow, len(r.Steps)), slowest: make([]*load.Trace, len(r.Steps)),
	}
}

// Sampled decides by the trace's id alone, as OpenTelemetry's TraceIDRatioBased
// does: a target that samples by the same ratio chooses the same traces.
func (t *Tracer) Sampled(id load.TraceID) bool {
	return binary.BigEndian.Uint64(id[8:])>>1 < t.exporter.bound
}

// Trace takes the trace of an iteration that ended: it is exported if it is
// sampled, and otherwise if one of its requests proves to be of interest when
// the window closes.
func (t *Tracer) Trace(trace *load.Trace) {
	if trace.Sampled {
		t.exporter.put(item{tracer: t, trace: trace.Clone()})
		return
	}
	for i := range trace.Requests {
		if r := &trace.Requests[i]; t.slow(r) || t.firstFailure(r) {
			t.consider(trace.Clone())
			return
		}
	}
}

func (t *Tracer) slow(r *load.TraceRequest) bool {
	return t.exporter.keepSlowest && r.Cause != load.Canceled && uint(r.Step) < uint(len(t.steps)) &&
		r.ResponseTime() > t.steps[r.Step].slowest.Load()
}

func (t *Tracer) firstFailure(r *load.TraceRequest) bool {
	return t.exporter.keepFailures && failed(r.Cause) && uint(r.Step) < uint(len(t.steps)) &&
		t.steps[r.Step].failed.Load()&(1<<r.Cause) == 0
}

// consider enters a trace into the open window.
func (t *Tracer) consider(trace *load.Trace) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fails := false
	for i := range trace.Requests {
		r := &trace.Requests[i]
		if t.slow(r) {
			t.steps[r.Step].slowest.Store(r.ResponseTime())
			t.slowest[r.Step] = trace
		}
		if t.firstFailure(r) {
			t.steps[r.Step].failed.Or(1 << r.Cause)
			fails = true
		}
	}
	if fails {
		t.failures = append(t.failures, trace)
	}
	if !t.listed {
		t.listed = true
		t.exporter.list(t)
	}
}

// closeWindow queues the traces that the window found, each once, and opens the next.
func (t *Tracer) closeWindow() {
	t.mu.Lock()
	kept := t.failures
	for i, trace := range t.slowest {
		if trace != nil && !slices.Contains(kept, trace) {
			kept = append(kept, trace)
		}
		t.slowest[i] = nil
		t.steps[i].slowest.Store(0)
		t.steps[i].failed.Store(0)
	}
	t.failures, t.listed = nil, false
	t.mu.Unlock()
	for _, trace := range kept {
		t.exporter.put(item{tracer: t, trace: trace, late: true})
	}
}

// failed reports whether a cause is the request's own failing. What perfd
// cancelled has not failed.
func failed(c load.Cause) bool { return c != load.None && c != load.Canceled }
