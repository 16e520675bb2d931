// Package otlp exports iterations as OpenTelemetry spans.
//
// Load goroutines only copy the traces that are to be exported into a bounded
// queue; spans are made of them, and sent, by the exporter's own goroutine. A
// collector that is slow or gone costs spans, which are counted, and never load.
//
// A share of the iterations is chosen when they begin, and their targets learn it
// from the trace context. Of the others, the slowest request of each step and the first failure
// of each step and cause in every window of 10 s are exported afterwards, marked
// late, since the target's half of them is missing.
package otlp

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/perfd/perfd/internal/output"
	"github.com/perfd/perfd/internal/wire"
)

const (
	drainTime     = 5 * time.Second // for what is queued when Run's ctx ends
	errorInterval = time.Minute     // between two messages about failed exports
)

// Options are what an Exporter is made of.
type Options struct {
	Config            Config
	Dir               string // where relative paths of Config.TLS start
	Version, Instance string // of perfd
	Environ           func(string) string
	Now               func() time.Time
	Log               *slog.Logger
	TLSFaults         *wire.TLSFaults // takes what is wrong with certificates that changed; nil for nobody
	Guard             wire.Guard      // the configuration's allow-list
	Network           wire.Network    // that the collector is reached by
	// Strike strikes secrets out of the texts of spans; nil leaves them.
	Strike func(string) string
	// Exported is called by the exporter's goroutine when a trace was exported: for each request
	// and then for the iteration. Nil for nobody.
	Exported func(output.Exported)

	client otlptrace.Client // instead of that which Config asks for
}

// Stats counts spans since the exporter was made: exported, dropped and queued
// ones are all there were.
type Stats struct {
	Exported uint64
	Dropped  [NumReasons]uint64
	Queued   int
	Failed   uint64 // exports, not spans
}

// An Exporter sends spans to a collector. Its methods are safe for concurrent use.
type Exporter struct {
	client   otlptrace.Client
	idle     func() // closes idle connections
	now      func() time.Time
	log      *slog.Logger
	json     bool // the client writes JSON
	encoder  encoder
	report   func(output.Exported) // nil for nobody
	resource *resourcepb.Resource
	scope    *commonpb.InstrumentationScope
	bound    uint64        // of the ids that are sampled, in 63 bits
	timeout  time.Duration // of one export
	delay    time.Duration // longest in the queue, while exports succeed

	keepSlowest, keepFailures bool

	queue    *queue
	exported atomic.Uint64
	dropped  [NumReasons]atomic.Uint64
	failed   atomic.Uint64

	open    context.Context // until Close
	stop    context.CancelFunc
	uploads context.Context // of all exports: outlives Run's ctx by the time that draining may take
	cancel  context.CancelFunc

	mu      sync.Mutex
	windows []*Tracer     // whose open window has candidates
	running chan struct{} // closed when Run returns; nil while it was not called
	closed  bool

	// The last message about failed exports, and how many spans failed since. Both belong to Run's goroutine.
	logged     time.Time
	unreported uint64
}

// New returns an exporter. It connects to nothing that could make it wait.
func New(o Options) (*Exporter, error) {
	if o.Environ == nil {
		o.Environ = os.Getenv
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = discard
	}
	c, env := &o.Config, environment{o.Environ, o.Log}
	ratio := or(c.SamplingRatio, env.ratio)
	e := &Exporter{
		client: o.client, idle: func() {}, now: o.Now, log: o.Log, encoder: encoder{strike: o.Strike}, report: o.Exported,
		resource:     resource(o.Version, o.Instance, env),
		scope:        &commonpb.InstrumentationScope{Name: scopeName, Version: valid(o.Version)},
		bound:        uint64(ratio * (1 << 63)),
		timeout:      firstOf(c.Timeout.D, env.timeout, defaultTimeout),
		delay:        firstOf(c.Delay.D, func() time.Duration { return time.Duration(env.count("OTEL_BSP_SCHEDULE_DELAY")) * time.Millisecond }, defaultDelay),
		keepSlowest:  c.KeepSlowest == nil || *c.KeepSlowest,
		keepFailures: c.KeepFailures == nil || *c.KeepFailures,
		queue: newQueue(
			firstOf(func() int { return c.QueueSize }, func() int { return env.count("OTEL_BSP_MAX_QUEUE_SIZE") }, defaultQueueSize),
			firstOf(func() int { return c.BatchSize }, func() int { return env.count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE") }, defaultBatchSize)),
	}
	if e.client == nil {
		at, err := resolve(c, env)
		if err != nil {
			return nil, err
		}
		e.log, e.json = e.log.With(at.shown()...), at.protocol == protocolJSON
		if e.client, e.idle, err = newClient(&o, &at, env, e.timeout); err != nil {
			return nil, err
		}
	}
	if err := e.client.Start(context.Background()); err != nil {
		return nil, err
	}
	e.open, e.stop = context.WithCancel(context.Background())
	e.uploads, e.cancel = context.WithCancel(context.Background())
	return e, nil
}

func or(v *float64, otherwise func() float64) float64 {
	if v != nil {
		return *v
	}
	return otherwise()
}

// firstOf returns the first that is not zero.
func firstOf[T int | time.Duration](configured, environment func() T, otherwise T) T {
	if v := configured(); v != 0 {
		return v
	}
	if v := environment(); v != 0 {
		return v
	}
	return otherwise
}

// RunEnded queues the span of a run.
func (e *Exporter) RunEnded(r output.RunSpan) { e.put(item{run: &r}) }

// Stats returns the counts at this moment.
func (e *Exporter) Stats() Stats {
	s := Stats{Exported: e.exported.Load(), Queued: e.queue.queued(), Failed: e.failed.Load()}
	for i := range s.Dropped {
		s.Dropped[i] = e.dropped[i].Load()
	}
	return s
}

// put queues an item, or counts its spans as dropped.
func (e *Exporter) put(i item) {
	if i.trace != nil && i.trace.Left > 0 {
		e.dropped[TooManySteps].Add(uint64(i.trace.Left))
	}
	if why, ok := e.queue.put(i); !ok {
		e.dropped[why].Add(uint64(i.spans()))
	}
}

// list notes a tracer whose open window has candidates. Nothing else holds a
// tracer whose run has ended.
func (e *Exporter) list(t *Tracer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.windows = append(e.windows, t)
}

func (e *Exporter) closeWindows() {
	e.mu.Lock()
	windows := e.windows
	e.windows = nil
	e.mu.Unlock()
	for _, t := range windows {
		t.closeWindow()
	}
}

// Run exports until ctx ends or the exporter is closed, and then what is queued,
// for a few seconds. It is called once.
func (e *Exporter) Run(ctx context.Context) {
	e.mu.Lock()
	if e.closed || e.running != nil {
		e.mu.Unlock()
		return
	}
	running := make(chan struct{})
	e.running = running
	e.mu.Unlock()
	defer close(running)

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(e.open, stop)()
	// This ends an export that was under way when ctx ended, too.
	defer context.AfterFunc(ctx, func() { time.AfterFunc(drainTime, e.cancel) })()

	var watch sync.WaitGroup
	watch.Go(func() { e.watchWindows(ctx) })
	tick := time.NewTicker(e.delay)
	defer tick.Stop()
	for {
		select {
		case <-e.queue.ready:
			for e.export(true) > 0 {
			}
		case <-tick.C:
			e.flush()
		case <-ctx.Done():
			watch.Wait()
			e.flush()
			e.dropped[Shutdown].Add(uint64(e.queue.close()))
			return
		}
	}
}

// watchWindows closes windows at their bounds, and the last when ctx ends.
func (e *Exporter) watchWindows(ctx context.Context) {
	defer e.closeWindows()
	for {
		now := e.now()
		timer := time.NewTimer(now.Truncate(window).Add(window).Sub(now))
		select {
		case <-timer.C:
			e.closeWindows()
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// flush exports what is queued now, and not what comes in meanwhile.
func (e *Exporter) flush() {
	for left := e.queue.queued(); left > 0; {
		n := e.export(false)
		if n == 0 {
			return
		}
		left -= n
	}
}

// export sends one batch and returns how many spans it had: none when there is
// no batch, or no whole one where that is asked for, and when time is up.
func (e *Exporter) export(whole bool) int {
	if e.uploads.Err() != nil {
		return 0
	}
	batch, n := e.queue.take(whole)
	if n == 0 {
		return 0
	}
	defer e.queue.done(n)
	e.encoder.reset()
	for i := range batch {
		batch[i].encode(&e.encoder)
	}
	spans := &tracepb.ScopeSpans{Scope: e.scope, SchemaUrl: schemaURL}
	if err := e.encoder.into(spans, e.json); err != nil {
		e.exportFailed(n, err)
		return n
	}
	ctx, cancel := context.WithTimeout(e.uploads, e.timeout)
	err := e.client.UploadTraces(ctx, []*tracepb.ResourceSpans{{
		Resource: e.resource, SchemaUrl: schemaURL, ScopeSpans: []*tracepb.ScopeSpans{spans},
	}})
	cancel()
	if err != nil {
		e.exportFailed(n, err)
		return n
	}
	e.exported.Add(uint64(n))
	if e.report != nil {
		for i := range batch {
			batch[i].report(e.report)
		}
	}
	return n
}

// exportFailed counts the spans of an export that failed, and logs them once per errorInterval.
func (e *Exporter) exportFailed(spans int, err error) {
	why := ExportFailed
	if e.uploads.Err() != nil {
		why = Shutdown
	}
	e.failed.Add(1)
	e.dropped[why].Add(uint64(spans))
	e.unreported += uint64(spans)
	if now := e.now(); e.logged.IsZero() || now.Sub(e.logged) >= errorInterval {
		e.log.Warn("spans were not exported", "spans", e.unreported, "error", output.Bare(err))
		e.logged, e.unreported = now, 0
	}
}

// Close ends Run, which exports what is queued until ctx ends, and the
// connections. Where Run has not begun Close exports it. What was not delivered
// is counted as dropped.
func (e *Exporter) Close(ctx context.Context) error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil
	}
	e.closed = true
	running := e.running
	e.mu.Unlock()

	e.stop()
	if running != nil {
		select {
		case <-running:
		case <-ctx.Done():
			e.cancel()
			<-running
		}
	} else {
		stop := context.AfterFunc(ctx, e.cancel)
		e.closeWindows()
		e.flush()
		stop()
	}
	e.cancel()
	e.closeWindows()
	e.dropped[Shutdown].Add(uint64(e.queue.close()))
	err := e.client.Stop(ctx)
	e.idle()
	return err
}
