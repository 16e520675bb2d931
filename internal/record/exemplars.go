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

// exemplars are those of one series. They are shown until others take their places.
type exemplars struct {
	classic []*shown // by bucket, nil for none; the last has no bound
	native  []*shown
	made    []*dto.Exemplar // of native
	open    bool            // some were not made yet
}

// A shown is an exemplar that is shown, once it is made: between two Gathers
// most lose their places to others before anybody sees them.
type shown struct {
	from  *Exemplar // nil when it is made
	took  time.Duration
	at    time.Time
	whole bool // its trace is
	made  *dto.Exemplar
}

// message returns what is shown.
func (s *shown) message() *dto.Exemplar {
	if s == nil {
		return nil
	}
	if x := s.from; x != nil {
		s.made, s.from = &dto.Exemplar{
			Label: []*dto.LabelPair{
				label("trace_id", hex.EncodeToString(x.Trace[:])), label("span_id", hex.EncodeToString(x.Span[:])),
			},
			Value: new(s.took.Seconds()), Timestamp: timestamppb.New(x.At),
		}, nil
	}
	return s.made
}

// finish makes those that keep their places.
func (e *exemplars) finish() {
	e.open = false
	for _, s := range e.classic {
		s.message()
	}
	e.made = e.made[:0]
	for _, s := range e.native {
		e.made = append(e.made, s.message())
	}
}

// attachExemplars shows what was taken since the last Gather. The caller holds mu.
func (r *Recorder) attachExemplars() {
	var open []*exemplars
	enter := func(d *distribution, x *Exemplar, took time.Duration, b *bounds) {
		d.exemplar(x, took, b)
		if e := d.exemplars; e != nil && !e.open {
			e.open = true
			open = append(open, e)
		}
	}
	for i := range r.exemplars {
		x := &r.exemplars[i]
		sc := r.scenarios[x.Scenario]
		if sc == nil || x.Cause == load.Canceled {
			continue
		}
		if x.Step == "" {
			if x.Cause == load.None {
				enter(&sc.duration, x, x.Duration, iterationBounds)
			}
			continue
		}
		st := sc.steps[x.Step]
		switch {
		case st == nil:
		case x.Cause == load.None:
			enter(&st.duration, x, x.Duration, r.bounds)
			enter(&st.response, x, x.ResponseTime, r.bounds)
		default:
			enter(&st.failure, x, x.Duration, r.bounds)
		}
	}
	for _, e := range open {
		e.finish()
	}
	r.exemplars = r.exemplars[:0]
}

// exemplar shows an exemplar in its classic bucket, and among those of the native histogram.
func (d *distribution) exemplar(x *Exemplar, took time.Duration, b *bounds) {
	if d.count == 0 {
		return // it is of a past that the series does not have
	}
	fresh := &shown{from: x, took: took, at: x.At, whole: x.Sampled}
	if d.exemplars == nil {
		d.exemplars = &exemplars{classic: make([]*shown, b.buckets())}
	}
	e := d.exemplars
	if old := &e.classic[b.bucket(int64(took))]; *old == nil || x.Sampled || !(*old).whole || x.At.Sub((*old).at) > exemplarAge {
		*old = fresh
	}
	if n := len(e.native); n == nativeExemplars {
		// The oldest goes; a series of late ones does not push out those whose traces are whole.
		gone := 0
		if !x.Sampled {
			for gone = 0; gone < n && e.native[gone].whole && x.At.Sub(e.native[gone].at) <= exemplarAge; gone++ {
			}
			if gone == n {
				return
			}
		}
		e.native = append(e.native[:gone], e.native[gone+1:]...)
	}
	e.native = append(e.native, fresh)
}
