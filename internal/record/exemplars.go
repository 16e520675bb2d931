package record

import (
	"encoding/hex"
	"math"
	"sort"
	"time"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/perfd/perfd/internal/load"
)

// An Exemplar is a request, or with an empty Step an iteration, whose span a
// collector has. Only then may it be shown: a link must lead somewhere.
type Exemplar struct {
	Scenario, Step         string
	Cause                  load.Cause
	Duration, ResponseTime time.Duration
	Trace                  load.TraceID
	Span                   load.SpanID
	At                     time.Time
	Sampled                bool // the target's half of the trace is there too
}

const (
	// maxExemplars bounds those that wait for the next Gather.
	maxExemplars = 4096
	// nativeExemplars is how many a native histogram has, client_golang's default.
	nativeExemplars = 10
	// exemplarAge is how long an exemplar whose trace is whole stands before one whose trace is not may take its place.
	exemplarAge = 5 * time.Minute
)

// Exemplar takes an exemplar; the next Gather shows it.
func (r *Recorder) Exemplar(x Exemplar) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.exemplars) < maxExemplars {
		r.exemplars = append(r.exemplars, x)
	}
}

// attachExemplars gives the messages what was taken since the last Gather. The caller holds scrape and mu.
func (r *Recorder) attachExemplars() {
	for i := range r.exemplars {
		x := &r.exemplars[i]
		sc := r.scenarios[x.Scenario]
		if sc == nil || sc.series == nil || x.Cause == load.Canceled {
			continue
		}
		if x.Step == "" {
			if x.Cause == load.None {
				sc.series.duration.exemplar(x, x.Duration)
			}
			continue
		}
		st := sc.steps[x.Step]
		switch {
		case st == nil || st.series == nil:
		case x.Cause == load.None:
			st.series.duration.exemplar(x, x.Duration)
			st.series.response.exemplar(x, x.ResponseTime)
		default:
			st.series.failure.exemplar(x, x.Duration)
		}
	}
	r.exemplars = r.exemplars[:0]
}

// exemplar shows an exemplar in its classic bucket, and among those of the native histogram.
func (m *histogram) exemplar(x *Exemplar, took time.Duration) {
	h := m.metric.Histogram
	if h.GetSampleCount() == 0 {
		return // it is of a past that the series does not have
	}
	fresh := &dto.Exemplar{
		Label: []*dto.LabelPair{
			label("trace_id", hex.EncodeToString(x.Trace[:])), label("span_id", hex.EncodeToString(x.Span[:])),
		},
		Value: new(took.Seconds()), Timestamp: timestamppb.New(x.At),
	}
	if n := len(h.Bucket); n > 0 {
		i := sort.Search(n, func(i int) bool { return h.Bucket[i].GetUpperBound() >= took.Seconds() })
		if i == n { // beyond the last bound
			h.Bucket = append(h.Bucket, &dto.Bucket{UpperBound: new(math.Inf(1)), CumulativeCount: new(h.GetSampleCount())})
		}
		if len(m.whole) < len(h.Bucket) {
			m.whole = append(m.whole, make([]bool, len(h.Bucket)-len(m.whole))...)
		}
		old := h.Bucket[i].Exemplar
		if old == nil || x.Sampled || !m.whole[i] || x.At.Sub(old.Timestamp.AsTime()) > exemplarAge {
			h.Bucket[i].Exemplar, m.whole[i] = fresh, x.Sampled
		}
	}
	if n := len(h.Exemplars); n == nativeExemplars {
		// The oldest goes; a series of late ones does not push out those whose traces are whole.
		gone := 0
		if !x.Sampled {
			for gone = 0; gone < n && m.wholeNative[gone] && x.At.Sub(h.Exemplars[gone].Timestamp.AsTime()) <= exemplarAge; gone++ {
			}
			if gone == n {
				return
			}
		}
		h.Exemplars = append(h.Exemplars[:gone], h.Exemplars[gone+1:]...)
		m.wholeNative = append(m.wholeNative[:gone], m.wholeNative[gone+1:]...)
	}
	h.Exemplars = append(h.Exemplars, fresh)
	m.wholeNative = append(m.wholeNative, x.Sampled)
}
