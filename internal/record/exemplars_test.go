package record

import (
	"encoding/hex"
	"math"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"

	"github.com/perfd/perfd/internal/load"
)

// exemplarsOf lists where exemplars are: the first bytes of trace ids, by
// bound, and those of the native histogram.
func exemplarsOf(t *testing.T, r *Recorder, family, step string) (classic map[float64]string, native []string) {
	t.Helper()
	name := func(x *dto.Exemplar) string { return x.Label[0].GetValue()[:2] }
	classic = map[float64]string{}
	for _, f := range all(r) {
		if f.GetName() != family {
			continue
		}
		for _, m := range f.Metric {
			if len(m.Label) > 1 && m.Label[1].GetValue() != step {
				continue
			}
			for _, b := range m.Histogram.Bucket {
				if b.Exemplar != nil {
					classic[b.GetUpperBound()] = name(b.Exemplar)
				}
			}
			for _, x := range m.Histogram.Exemplars {
				native = append(native, name(x))
			}
		}
	}
	return classic, native
}

func TestExemplarsStandInTheirBuckets(t *testing.T) {
	r := New(Options{})
	s, err := r.Open(Scenario{Name: "a", Steps: []Series{{Step: "get", Target: "t", Protocol: "http"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	record := func(d time.Duration, cause load.Cause) {
		s.Record(0, &load.Result{Done: int64(d), Cause: cause})
	}
	record(7*time.Millisecond, load.None)
	record(5*time.Minute, load.None)
	record(7*time.Millisecond, load.Timeout)
	r.Fold(time.Now())

	now := time.Now()
	take := func(id byte, d time.Duration, cause load.Cause, at time.Time, sampled bool) {
		r.Exemplar(Exemplar{
			Scenario: "a", Step: "get", Cause: cause, Duration: d, ResponseTime: d, Trace: load.TraceID{id}, Span: load.SpanID{id}, At: at, Sampled: sampled,
		})
	}
	take(1, 7*time.Millisecond, load.None, now, true)
	take(2, 7*time.Millisecond, load.None, now.Add(time.Second), false) // does not take the place of a whole one
	take(3, 5*time.Minute, load.None, now.Add(2*time.Second), false)
	take(4, 7*time.Millisecond, load.Timeout, now, false)
	take(5, 7*time.Millisecond, load.Canceled, now, true)
	r.Exemplar(Exemplar{Scenario: "gone", Step: "get"})
	for _, family := range []string{"perfd_request_duration_seconds", "perfd_response_time_seconds"} {
		classic, native := exemplarsOf(t, r, family, "get")
		if diff := cmp.Diff(map[float64]string{0.01: "01", math.Inf(1): "03"}, classic); diff != "" {
			t.Errorf("%s: classic (-want +got):\n%s", family, diff)
		}
		if diff := cmp.Diff([]string{"01", "02", "03"}, native); diff != "" {
			t.Errorf("%s: native (-want +got):\n%s", family, diff)
		}
	}
	if classic, _ := exemplarsOf(t, r, "perfd_request_failure_duration_seconds", "get"); classic[0.01] != "04" {
		t.Errorf("failures: %v, want 04 below 10 ms", classic)
	}

	take(6, 7*time.Millisecond, load.None, now.Add(6*time.Minute), false)
	if classic, _ := exemplarsOf(t, r, "perfd_request_duration_seconds", "get"); classic[0.01] != "06" {
		t.Errorf("after five minutes: %v, want 06 below 10 ms", classic)
	}
	for i := range 40 {
		take(byte(0x20+i), 7*time.Millisecond, load.None, now.Add(7*time.Minute), false)
	}
	_, native := exemplarsOf(t, r, "perfd_request_duration_seconds", "get")
	if len(native) != nativeExemplars || native[9] != hex.EncodeToString([]byte{0x20 + 39}) {
		t.Errorf("native exemplars = %v, want the ten newest", native)
	}
}

// Of the exemplars that come between two Gathers only those that are shown are made: it is few of thousands.
func TestExemplarsThatNobodySeesAreNotMade(t *testing.T) {
	r := New(Options{})
	s, err := r.Open(Scenario{Name: "a", Steps: []Series{{Step: "get", Target: "t", Protocol: "http"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.Record(0, &load.Result{Done: int64(7 * time.Millisecond)})
	r.Fold(time.Now())
	for range r.Gather() { // makes room that stays
	}
	const n = 1000
	for range 2 {
		for i := range n {
			r.Exemplar(Exemplar{Scenario: "a", Step: "get", Duration: 7 * time.Millisecond, ResponseTime: 7 * time.Millisecond, Trace: load.TraceID{byte(i)}, At: time.Now(), Sampled: true})
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r.arrange()
		runtime.ReadMemStats(&after)
		if got := after.Mallocs - before.Mallocs; got > 3*n {
			t.Errorf("%d exemplars of two series took %d allocations, want 3 each at most", n, got)
		}
	}
	if _, native := exemplarsOf(t, r, "perfd_request_duration_seconds", "get"); len(native) != nativeExemplars {
		t.Errorf("native exemplars: %v", native)
	}
}
