package regression

import (
	"math"
	"time"

	"github.com/perfd/perfd/internal/hist"
	"github.com/perfd/perfd/internal/load"
)

// An origin is what all windows of one block have in common.
type origin struct {
	release, observer string
	chain             int // which of the scenario's chains of runs without a pause between them
}

// A block is an interval of one step, folded: what comparisons and change points
// are made of. Latencies are logarithms of seconds, NaN where requests are too few.
type block struct {
	start, end       int64 // ns since 1970
	seconds          float32
	p50, p95, p99    float32
	requests, failed uint32
	asked, busy      float32 // planned iterations per second, mean busy VUs; 0 where unknown
}

func (b *block) began() time.Time { return time.Unix(0, b.start).UTC() }

// rate is requests per second.
func (b *block) rate() float64 { return float64(b.requests) / float64(b.seconds) }

// errors is the share of requests that failed.
func (b *block) errors() float64 { return float64(b.failed) / float64(b.requests) }

// How many requests a percentile of a block takes: five beyond it.
const (
	leastRequests = 100 // p95
	leastTail     = 500 // p99
)

// A folder folds windows into blocks.
type folder struct {
	length   time.Duration // least length of a block
	requests uint64        // least requests of a block

	origin        origin
	run           string
	open          *hist.Histogram // nil before the first request
	start, end    time.Time
	span          time.Duration // covered by windows
	count, failed uint64
	planned, busy float64 // iterations; VUs times seconds
}

// longest is how long a block may wait for its requests.
const longest = time.Hour

// add folds a window in and returns the block that it completes, nil for none.
// What is open of another origin, or too long ago, is dropped.
func (f *folder) add(w *load.Window, o origin, run string) *block {
	if f.span > 0 && (o != f.origin || run != f.run || w.Start.Sub(f.end) > max(f.length, longest/4)) {
		f.reset()
	}
	if f.span == 0 {
		f.origin, f.run, f.start = o, run, w.Start
	}
	length := w.End.Sub(w.Start)
	f.end = w.End
	f.span += length
	f.count += w.Requests - w.Failures[load.Canceled]
	f.failed += w.Failed()
	f.planned += w.Planned
	f.busy += w.Busy * length.Seconds()
	if w.Duration.Count() > 0 {
		if f.open == nil {
			f.open = new(hist.Histogram)
		}
		f.open.Merge(w.Duration)
	}
	if f.span < f.length || f.count < f.requests && f.span < longest {
		return nil
	}
	return f.close()
}

// close returns what is open as a block, nil where it has too few requests to say anything.
func (f *folder) close() *block {
	defer f.reset()
	if f.open == nil {
		return nil
	}
	n := f.open.Count()
	if f.span == 0 || f.count < leastRequests || n < leastRequests/2 {
		return nil
	}
	b := &block{
		start: f.start.UnixNano(), end: f.end.UnixNano(), seconds: float32(f.span.Seconds()),
		requests: uint32(min(f.count, math.MaxUint32)), failed: uint32(min(f.failed, math.MaxUint32)),
		asked: float32(f.planned / f.span.Seconds()), busy: float32(f.busy / f.span.Seconds()),
		p50: f.quantile(0.5), p95: f.quantile(0.95), p99: float32(math.NaN()),
	}
	if n >= leastTail {
		b.p99 = f.quantile(0.99)
	}
	return b
}

func (f *folder) quantile(q float64) float32 {
	return float32(math.Log(max(f.open.Quantile(q).Seconds(), 1e-9)))
}

func (f *folder) reset() {
	if f.open != nil {
		f.open.Reset()
	}
	f.span, f.count, f.failed, f.planned, f.busy = 0, 0, 0, 0, 0
}
