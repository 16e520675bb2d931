package otlp

import (
	"slices"
	"sync"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/output"
)

// A Reason says why spans were not exported.
type Reason uint8

// The reasons.
const (
	QueueFull    Reason = iota // more spans than queue_size waited
	ExportFailed               // the collector was not reached, refused, or took a part only
	Shutdown                   // the exporter was closed before they were delivered
	TooManySteps               // the iteration had more requests than a trace holds
	NumReasons
)

var reasonNames = [NumReasons]string{"queue_full", "export_failed", "shutdown", "too_many_steps"}

// String returns the label value of r.
func (r Reason) String() string {
	if r < NumReasons {
		return reasonNames[r]
	}
	return "unknown"
}

// An item is what is exported as a whole: the trace of an iteration, or a run,
// which is one span.
type item struct {
	tracer *Tracer
	trace  *load.Trace // nobody else's
	late   bool        // not chosen at the head
	run    *output.RunSpan
}

// spans is how many spans the item becomes.
func (i *item) spans() int {
	if i.trace == nil {
		return 1
	}
	return 1 + len(i.trace.Requests)
}

// A queue holds items until they are exported or given up. It is bounded by
// their spans, those under way included.
type queue struct {
	size, batch int           // spans
	ready       chan struct{} // holds a token when a batch is complete

	mu      sync.Mutex
	items   []item
	waiting int // spans of items
	taken   int // spans under way
	closed  bool
}

func newQueue(size, batch int) *queue {
	return &queue{size: size, batch: min(size, batch), ready: make(chan struct{}, 1)}
}

// put adds an item, or returns why it cannot.
func (q *queue) put(i item) (why Reason, ok bool) {
	n := i.spans()
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return Shutdown, false
	case q.waiting+q.taken+n > q.size:
		return QueueFull, false
	}
	q.items = append(q.items, i)
	q.waiting += n
	if q.waiting >= q.batch {
		select {
		case q.ready <- struct{}{}:
		default:
		}
	}
	return 0, true
}

// take takes the items of a batch out: as many as fit, at least one. There are
// none when nothing waits or, where a whole batch is asked for, less than that.
// Spans that were taken fill the queue until done gives their room back.
func (q *queue) take(whole bool) (batch []item, spans int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if whole && q.waiting < q.batch {
		return nil, 0
	}
	took := 0
	for took < len(q.items) {
		n := q.items[took].spans()
		if took > 0 && spans+n > q.batch {
			break
		}
		spans += n
		took++
	}
	batch = slices.Clone(q.items[:took])
	rest := copy(q.items, q.items[took:])
	clear(q.items[rest:])
	q.items = q.items[:rest]
	q.waiting -= spans
	q.taken += spans
	return batch, spans
}

// done gives back the room of spans that were taken.
func (q *queue) done(spans int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.taken -= spans
}

// close ends the taking of items and returns how many spans were left.
func (q *queue) close() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	left := q.waiting
	q.closed, q.items, q.waiting = true, nil, 0
	return left
}

// queued is how many spans are neither exported nor given up.
func (q *queue) queued() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting + q.taken
}
