package record

import (
	"encoding/hex"
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

// exemplars are those of one series. They are made once and shown until others take their places.
type exemplars struct {
	classic []shown // by bucket; the last has no bound
	native  []*dto.Exemplar
	whole   []bool // whether the traces of native are
}

// A shown is an exemplar and whether its trace is whole.
type shown struct {
	*dto.Exemplar
	whole bool
}

// attachExemplars shows what was taken since the last Gather. The caller holds mu.
func (r *Recorder) attachExemplars() {
	for i := range r.exemplars {
		x := &r.exemplars[i]
		sc := r.scenarios[x.Scenario]
		if sc == nil || x.Cause == load.Canceled {
			continue
		}
		if x.Step == "" {
			if x.Cause == load.None {
				sc.duration.exemplar(x, x.Duration, iterationBounds)
			}
			continue
		}
		st := sc.steps[x.Step]
		switch {
		case st == nil:
		case x.Cause == load.None:
			st.duration.exemplar(x, x.Duration, r.bounds)
			st.response.exemplar(x, x.ResponseTime, r.bounds)
		default:
			st.failure.exemplar(x, x.Duration, r.bounds)
		}
	}
	r.exemplars = r.exemplars[:0]
}

// exemplar shows an exemplar in its classic bucket, and among those of the native histogram.
func (d *distribution) exemplar(x *Exemplar, took time.Duration, b *bounds) {
	if d.count == 0 {
		return // it is of a past that the series does not have
	}
	fresh := &dto.Exemplar{
		Label: []*dto.LabelPair{
			label("trace_id", hex.EncodeToString(x.Trace[:])), label("span_id", hex.EncodeToString(x.Span[:])),
		},
		Value: new(took.Seconds()), Timestamp: timestamppb.New(x.At),
	}
	if d.exemplars == nil {
		d.exemplars = &exemplars{classic: make([]shown, b.buckets())}
	}
	e := d.exemplars
	if old := &e.classic[b.bucket(int64(took))]; old.Exemplar == nil || x.Sampled || !old.whole || x.At.Sub(old.Timestamp.AsTime()) > exemplarAge {
		*old = shown{fresh, x.Sampled}
	}
	if n := len(e.native); n == nativeExemplars {
		// The oldest goes; a series of late ones does not push out those whose traces are whole.
		gone := 0
		if !x.Sampled {
			for gone = 0; gone < n && e.whole[gone] && x.At.Sub(e.native[gone].Timestamp.AsTime()) <= exemplarAge; gone++ {
			}
			if gone == n {
				return
			}
		}
		e.native = append(e.native[:gone], e.native[gone+1:]...)
		e.whole = append(e.whole[:gone], e.whole[gone+1:]...)
	}
	e.native = append(e.native, fresh)
	e.whole = append(e.whole, x.Sampled)
}
