package record

import (
	"slices"
	"time"

	"github.com/perfd/perfd/internal/hist"
	"github.com/perfd/perfd/internal/load"
)

// recentSpan is how far back Recent looks.
const recentSpan = time.Minute

// Recent is what a page shows of a scenario's last minute.
type Recent struct {
	Span       time.Duration // what the rates are over; less than a minute for a young scenario
	Count      uint64        // requests over Span
	Requests   float64       // per second
	Iterations float64       // per second
	ErrorRatio float64       // of requests that perfd's own stop did not cancel; 0 where there were none
	// Of requests that did not fail; zero where there were none.
	Duration, ResponseTime Percentiles
}

// Percentiles are computed by hdrhistogram-go.
type Percentiles struct{ P50, P95, P99 time.Duration }

// Recent returns the last minute of a scenario, up to the last fold.
func (r *Recorder) Recent(scenario string) (_ Recent, ok bool) {
	now := r.options.Now()
	r.mu.Lock()
	sc := r.scenarios[scenario]
	if sc == nil {
		r.mu.Unlock()
		return Recent{}, false
	}
	all := recentWindow{
		start:    r.windowStart,
		started:  sc.window.Started,
		duration: new(hist.Histogram),
		response: new(hist.Histogram),
	}
	add := func(w recentWindow) {
		if w.start.Before(all.start) {
			all.start = w.start
		}
		all.requests += w.requests
		all.failed += w.failed
		all.canceled += w.canceled
		all.duration.Merge(w.duration)
		all.response.Merge(w.response)
	}
	for _, w := range sc.recent.windows {
		if w.end.After(now.Add(-recentSpan)) {
			add(w)
			all.started += w.started
		}
	}
	for _, st := range sc.steps {
		if st.group {
			continue // its steps have the requests
		}
		add(recentOf(st.window))
	}
	if all.start.Before(sc.created) {
		all.start = sc.created
	}
	r.mu.Unlock()

	recent := Recent{
		Span:         now.Sub(all.start),
		Count:        all.requests,
		Duration:     percentiles(all.duration),
		ResponseTime: percentiles(all.response),
	}
	if s := recent.Span.Seconds(); s > 0 {
		recent.Requests = float64(all.requests) / s
		recent.Iterations = float64(all.started) / s
	}
	if n := all.requests - all.canceled; n > 0 {
		recent.ErrorRatio = float64(all.failed) / float64(n)
	}
	return recent, true
}

func percentiles(h *hist.Histogram) Percentiles {
	v := h.HDR().ValueAtPercentilesSlice([]float64{50, 95, 99})
	return Percentiles{time.Duration(v[0]), time.Duration(v[1]), time.Duration(v[2])}
}

// A recentWindow is what Recent needs of a window.
type recentWindow struct {
	start, end         time.Time
	requests           uint64
	failed, canceled   uint64
	started            uint64
	duration, response *hist.Histogram
}

func recentOf(w *load.Window) recentWindow {
	return recentWindow{
		start: w.Start, end: w.End,
		requests: w.Requests,
		failed:   w.Failed(),
		canceled: w.Failures[load.Canceled],
		duration: w.Duration,
		response: w.ResponseTime,
	}
}

// recent holds the windows of the last minute, the newest last.
type recent struct{ windows []recentWindow }

func (r *recent) push(w *load.Window) {
	oldest := w.End.Add(-recentSpan)
	r.windows = slices.DeleteFunc(r.windows, func(o recentWindow) bool { return !o.end.After(oldest) })
	last := recentOf(w)
	last.started = w.Iterations.Started
	r.windows = append(r.windows, last)
}
