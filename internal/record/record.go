// Package record turns results into windows and cumulative metrics.
//
// Results arrive in shards, one lock each, chosen by the number of the virtual
// user, so that in practice no lock is contended; recording allocates nothing.
// A fold swaps each shard's counts for empty ones and adds them to the
// cumulative state, which /metrics shows, and to the open window, which goes to
// outputs and analyses when it ends:
//
//	Sink.Record ─► shard ─┐                 ┌─► totals ─► Gather ─► /metrics, remote write
//	Sink.Record ─► shard ─┴─► Fold (1/s) ───┴─► window ─► Options.Windows, each 10 s
//
// Memory depends on what is configured, never on how long perfd has run.
package record

import (
	"cmp"
	"context"
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perfd/perfd/internal/load"
)

// foldInterval is how often Run folds.
const foldInterval = time.Second

// Options of a Recorder. The zero value is usable.
type Options struct {
	// Now is the wall clock; nil is time.Now.
	Now func() time.Time
	// Window is the length of windows, aligned to the wall clock; 0 is 10 s.
	Window time.Duration
	// NoClassic leaves classic buckets out of histograms; native ones remain.
	NoClassic bool
	// Shards is how many locks results spread over, rounded up to a power of
	// two; 0 is the number of processors, at most 4: a lock is held for 20 ns.
	Shards int
	// Caps bound the values of labels.
	Caps Caps
	// Circumstances returns what is known of a scenario while a window was open. It
	// is asked once for all windows of the interval, with the scenario's own (a
	// step's, where the step ended alone), and returns besides them the release of
	// each target. nil means that all is well and nothing is known.
	Circumstances func(own *load.Window) (c load.Circumstances, release func(target string) string)
	// Failing takes, at each fold, what a scenario counted since the one before where every
	// request failed, and the first such part after it where not: a part of the scenario's
	// own window under way, with requests, failures and what was touched, and nothing
	// else. It must not block. nil is nobody.
	Failing func(part *load.Window)
	// Windows takes each window that ended: those of a scenario's steps, then the
	// scenario's own. It must not block. It may keep the window, not change it.
	Windows func(*load.Window)
}

// Caps bound how many values a label may have before further ones count under
// metric.Overflow. A zero is the default.
type Caps struct {
	Scenarios int // 1000
	Steps     int // per scenario, 200
	Checks    int // per scenario, 200
	Codes     int // per step, 32
}

// A Recorder holds the counts of all scenarios. Its methods are safe for
// concurrent use.
type Recorder struct {
	options Options

	folding sync.Mutex // one Fold or Gather at a time; held while windows are handed out, so that they leave in order
	mu      sync.Mutex // guards everything below; taken after folding, never before

	created   time.Time
	scenarios map[string]*scenario
	sinks     []*Sink
	bounds    *bounds // of request durations: defaults and all limits there ever were
	cells     *cellPool
	overflow  [numCapped]uint64

	windowStart, windowEnd time.Time
	folded                 time.Time      // the last fold
	ended                  []*load.Window // windows that wait to be handed out, without flags

	settings atomic.Int64 // numbers the values of gauges

	exemplars []Exemplar // that wait for a Gather

	changed bool        // the set of series changed since the last Gather
	inOrder []*scenario // of names, as of the last Gather
	message message
}

// New returns a Recorder without scenarios. It starts nothing.
func New(o Options) *Recorder {
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Window = cmp.Or(o.Window, 10*time.Second)
	o.Shards = 1 << bits.Len(uint(cmp.Or(o.Shards, min(runtime.GOMAXPROCS(0), 4))-1))
	o.Caps = Caps{
		Scenarios: cmp.Or(o.Caps.Scenarios, 1000),
		Steps:     cmp.Or(o.Caps.Steps, 200),
		Checks:    cmp.Or(o.Caps.Checks, 200),
		Codes:     cmp.Or(o.Caps.Codes, 32),
	}
	r := &Recorder{
		options:   o,
		created:   o.Now(),
		scenarios: make(map[string]*scenario),
		bounds:    newBounds(requestBounds...),
	}
	r.message.init(!o.NoClassic)
	r.message.bounds = r.bounds
	r.cells = &cellPool{bounds: r.bounds}
	r.folded = r.created
	r.openWindows(r.created)
	return r
}

// Run folds at each full second of the wall clock until ctx ends, then hands
// out the windows under way.
func (r *Recorder) Run(ctx context.Context) {
	for {
		now := r.options.Now().Round(0)
		select {
		case <-ctx.Done():
			r.Flush()
			return
		case <-time.After(now.Truncate(foldInterval).Add(foldInterval).Sub(now)):
			r.Fold(r.options.Now())
		}
	}
}
