// Package output says what an output is, and runs those of a configuration.
// Each output is one folder below this one and one line in
// internal/kind/builtin; its configuration struct, defaults and validation live
// beside its code.
//
// What leaves the process does so through an output, but for what /metrics
// (package exposition) answers. An output takes windows, snapshots of all
// metrics, traces, or several of these.
package output

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/wire"
)

// A Kind is one output as the configuration knows it.
type Kind struct {
	Name string // in messages, logs and metrics
	Doc  string // what the output does, in one line
	// Config returns a new, defaulted configuration, to be decoded into.
	Config func() Config
	Takes  Streams
	// Metrics are the descriptors of what Collect sends beyond the catalogue of package metric.
	Metrics []*metric.Desc
}

// Streams are kinds of what an output takes, as a set of bits.
type Streams uint8

// The streams.
const (
	Windows   Streams = 1 << iota // its outputs implement WindowWriter
	Snapshots                     // its outputs gather all metrics themselves, and are stopped last
	Traces                        // its outputs implement TraceWriter
)

// A Config is the decoded configuration of one output: a pointer to a struct
// each of whose fields with a yaml tag is a block at the top of the document.
type Config interface {
	// Check reports what the blocks cannot know by themselves. root is the
	// document, paths start from dir.
	Check(root *block.Node, dir string, errs *block.Errors)
	// Enabled reports whether the configuration, or the environment, asks for the output.
	Enabled() bool
	// Open builds the output and does everything that can fail. It starts
	// nothing and does not touch old, which may still run: that is the output of
	// an earlier configuration of the same kind, nil where there is none.
	Open(env *Env, old Output) (Output, error)
}

// An Output is built by Config.Open and then either started and closed, or only
// closed.
type Output interface {
	// Start begins the output's work. It takes over from the output that Open
	// was given as old, and ends that one: old is not closed by anybody else.
	Start()
	// Collect sends the output's metrics as they are at this moment.
	Collect(send metric.Send, ch chan<- prometheus.Metric)
	// Close delivers what there is to deliver until ctx ends, and frees
	// everything. An output that was never started leaves alone what it would
	// have taken over.
	Close(ctx context.Context) error
}

// Lingering is implemented by an Output whose Close may return, because its time is
// up, before the output has let go of its files. Released is closed when it has.
type Lingering interface{ Released() <-chan struct{} }

// A WindowWriter is an Output that takes windows. WriteWindow is called by one
// goroutine at a time, in the order of time, between Start and Close; it may
// block until ctx ends, which costs this output's own windows only. The window
// is shared and read-only.
type WindowWriter interface {
	WriteWindow(ctx context.Context, w *load.Window) error
}

// A TraceWriter is an Output that takes traces. It must take them before Start
// too.
type TraceWriter interface {
	// Tracer returns the tracer of a run.
	Tracer(r *Run) Tracer
	// RunEnded takes a run as a whole.
	RunEnded(r RunSpan)
}

// A Tracer takes the traces of one run. Its methods are called by many
// goroutines and must not wait.
type Tracer interface {
	// Sampled decides whether the target shall trace an iteration too.
	Sampled(id load.TraceID) bool
	// Trace takes an iteration that ended; the trace is valid until it returns.
	Trace(t *load.Trace)
}

// Env is what the daemon gives its outputs. It is the same over reloads, but for Dir and Guard.
type Env struct {
	Dir         string // that paths of the configuration start from
	StoragePath string // an output that keeps files has a folder of its own below it

	// Scenarios gathers the series of scenarios, Daemon all others.
	Scenarios metric.Source
	Daemon    prometheus.Gatherer

	Version   string // of perfd
	Instance  string // the host's name
	UserAgent string
	Log       *slog.Logger
	// Strike strikes secrets out of what an output says of requests; nil leaves it.
	Strike func(string) string
	// TLSFaults takes what is wrong with certificates that changed; nil for nobody.
	TLSFaults *wire.TLSFaults
	// Disk is called before what reads or changes files, which fails with its error; nil is nobody.
	Disk func() error
	// Guard is the allow-list of the configuration, and Network what outputs reach other machines by.
	Guard   wire.Guard
	Network wire.Network
	// Exported takes each span that a collector has, which becomes an exemplar; nil for nobody.
	Exported func(Exported)
}

// A Run is what the traces of one run have in common.
type Run struct {
	Scenario string
	ID       string
	Release  string // of the target, empty where unknown
	Test     string
	Zero     time.Time // the engine's zero
	Steps    []Step    // by load.Result.Step
}

// Wall returns the wall clock at a time of the engine, in nanoseconds.
func (r *Run) Wall(ns int64) time.Time { return r.Zero.Add(time.Duration(ns)) }

// A Step is what the requests of one step have in common.
type Step struct {
	Label, Target, Protocol string
	Span                    protocol.SpanMapper // nil where the protocol has no conventions
}

// A RunSpan is a run as one span, in a trace of its own.
type RunSpan struct {
	Scenario, Run, Test string
	Release             string // of the target when the run began, empty where unknown
	Trace               load.TraceID
	Start, End          time.Time
	Result              string // of the run's verdict: pass, fail, error and so on
}

// An Exported is a span that a collector has taken.
type Exported struct {
	Scenario, Step         string     // Step is empty for an iteration
	Cause                  load.Cause // of an iteration: that of its first request that failed
	Duration, ResponseTime time.Duration
	Trace                  load.TraceID
	Span                   load.SpanID
	At                     time.Time // its end
	Sampled                bool      // chosen when the iteration began
}
