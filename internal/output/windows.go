package output

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

const (
	queueLength   = 4096        // windows that wait for one output
	errorInterval = time.Minute // between two messages about one output
)

// A feed is the bounded queue between the recorder and one output that takes
// windows: a slow output neither blocks the recorder nor holds up the others.
type feed struct {
	name   string
	log    *slog.Logger
	queue  chan *load.Window
	ctx    context.Context // of writes; ended by cancel
	cancel context.CancelFunc
	done   chan struct{} // closed when all that was queued is written or given up

	lost *losses
}

// losses counts the windows that the outputs of one kind did not take.
type losses struct{ full, failed atomic.Uint64 }

func (l *losses) collect(send metric.Send, name string) {
	send(metric.OutputWindowsLost, float64(l.full.Load()), name, "queue_full")
	send(metric.OutputWindowsLost, float64(l.failed.Load()), name, "error")
}

// newFeed returns a feed that queues windows for an output; run writes them.
func newFeed(name string, log *slog.Logger, lost *losses) *feed {
	f := &feed{
		name: name, log: log.With("output", name), lost: lost,
		queue: make(chan *load.Window, queueLength), done: make(chan struct{}),
	}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	return f
}

// put queues a window, or drops and counts it where the queue is full. It never
// blocks, and must not be called after end.
func (f *feed) put(w *load.Window) {
	select {
	case f.queue <- w:
	default:
		f.lost.full.Add(1)
	}
}

// run writes to an output what is queued, until end.
func (f *feed) run(to WindowWriter) {
	defer close(f.done)
	var quiet time.Time // no message before
	for w := range f.queue {
		err := f.ctx.Err()
		if err == nil {
			err = to.WriteWindow(f.ctx, w)
		}
		if err == nil {
			continue
		}
		f.lost.failed.Add(1)
		if now := time.Now(); now.After(quiet) {
			f.log.Error("write window", "error", err, "failed", f.lost.failed.Load(), "dropped", f.lost.full.Load())
			quiet = now.Add(errorInterval)
		}
	}
}

// end waits until what is queued is written; when ctx ends it gives up on the
// rest, which is counted. It is called once, after run began.
func (f *feed) end(ctx context.Context) {
	defer f.cancel()
	stop := context.AfterFunc(ctx, f.cancel)
	defer stop()
	close(f.queue)
	<-f.done
}
