package otlp

import (
	"testing"
	"testing/synctest"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/perfd/perfd/internal/load"
)

func TestSampledAgreesWithTheSDK(t *testing.T) {
	for _, ratio := range []float64{0, 0.01, 0.5, 1} {
		e := build(t, Options{Config: Config{SamplingRatio: &ratio}, client: &fakeClient{}})
		tracer, theirs := e.tracer(shop()), sdk.TraceIDRatioBased(ratio)
		chosen := 0
		for range 10_000 {
			id := newID()
			got := tracer.Sampled(id)
			if got {
				chosen++
			}
			want := theirs.ShouldSample(sdk.SamplingParameters{TraceID: trace.TraceID(id)}).Decision == sdk.RecordAndSample
			if got != want {
				t.Fatalf("ratio %g: %x: %v, the SDK %v", ratio, id, got, want)
			}
		}
		if share := float64(chosen) / 10_000; share < ratio-0.03 || share > ratio+0.03 {
			t.Errorf("ratio %g: %d of 10000", ratio, chosen)
		}
	}
}

func TestLateOnesOfAWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := &fakeClient{}
		e := start(t, Options{client: client})
		tracer := e.tracer(shop())
		time.Sleep(time.Second)

		var first load.TraceID
		for i, tr := range []*load.Trace{
			iteration(false, 5), iteration(false, 50), iteration(false, 20),
			failing(iteration(false, 1), load.Timeout), failing(iteration(false, 2), load.Timeout), // the first of a cause
			failing(iteration(false, 3), load.Reset),
			failing(iteration(false, 1), load.Canceled), // nothing
			failing(iteration(false, 900), load.Canceled),
		} {
			if i == 3 {
				first = tr.Trace
			}
			tracer.Trace(tr)
			clear(tr.Requests) // it is the caller's again
		}
		if got := client.spans(); len(got) != 0 || e.Stats().Queued != 0 {
			t.Fatalf("the window is open: %v", got)
		}
		time.Sleep(window + 6*time.Second)
		synctest.Wait()
		spans := client.spans()
		if len(spans) != 2*3 {
			t.Fatalf("got %d spans: %v", len(spans), spans)
		}
		if roots(spans)[first] != 1 {
			t.Error("the first timeout is missing")
		}
		longest := uint64(0)
		for _, s := range spans {
			if attributes(s)["perfd.sampled"] != "late" || s.Flags&1 != 0 {
				t.Errorf("not marked as late: %v", s)
			}
			if s.ParentSpanId != nil {
				longest = max(longest, s.EndTimeUnixNano-s.StartTimeUnixNano)
			}
		}
		if longest != uint64(50*time.Millisecond) {
			t.Errorf("slowest: %v", time.Duration(longest))
		}

		// The next window begins anew.
		tracer.Trace(iteration(false, 7))
		time.Sleep(window + 6*time.Second)
		synctest.Wait()
		if got := len(client.spans()); got != 8 {
			t.Errorf("after the next window: %d spans", got)
		}
		if s := e.Stats(); s.Exported != 8 || s.Queued != 0 || s.Dropped != [NumReasons]uint64{} {
			t.Errorf("stats: %+v", s)
		}
	})
}

func TestATrailIsKeptOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := &fakeClient{}
		e := start(t, Options{client: client})
		tr := iteration(false, 10, 20, 30) // slowest of two steps, and two failures
		tr.Requests[1].Step, tr.Requests[1].Cause = 1, load.DNS
		failing(tr, load.Status)
		e.tracer(shop()).Trace(tr)
		time.Sleep(window + 6*time.Second)
		synctest.Wait()
		if got := client.spans(); len(got) != 4 {
			t.Errorf("got %d spans", len(got))
		}
	})
}

func TestNothingIsKeptThatIsNotWanted(t *testing.T) {
	no := false
	for _, c := range []struct {
		config Config
		want   int
	}{
		{Config{KeepFailures: &no, KeepSlowest: &no}, 0},
		{Config{KeepFailures: &no}, 1},
		{Config{KeepSlowest: &no}, 1},
		{Config{}, 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			client := &fakeClient{}
			e := start(t, Options{Config: c.config, client: client})
			tracer := e.tracer(shop())
			tracer.Trace(iteration(false, 50))
			tracer.Trace(failing(iteration(false, 10), load.Timeout))
			time.Sleep(window + 6*time.Second)
			synctest.Wait()
			if got := len(roots(client.spans())); got != c.want {
				t.Errorf("%+v: %d iterations", c.config, got)
			}
		})
	}
}

func TestTraceAllocatesNothing(t *testing.T) {
	tracer, common := commonCase(t)
	if n := testing.AllocsPerRun(1000, func() { tracer.Trace(common) }); n != 0 {
		t.Errorf("%g allocations", n)
	}
	// A storm of one failure is common too.
	storm := failing(iteration(false, 1, 2), load.Refused)
	tracer.Trace(storm)
	if n := testing.AllocsPerRun(1000, func() { tracer.Trace(storm) }); n != 0 {
		t.Errorf("a failure that was seen: %g allocations", n)
	}
}

// commonCase returns an iteration of three requests that is neither sampled nor of interest.
func commonCase(t testing.TB) (*Tracer, *load.Trace) {
	e := build(t, Options{client: &fakeClient{}})
	tracer := e.tracer(shop())
	tracer.Trace(iteration(false, 1000))
	return tracer, iteration(false, 10, 20, 30)
}

func BenchmarkTrace(b *testing.B) {
	tracer, common := commonCase(b)
	b.ReportAllocs()
	for b.Loop() {
		tracer.Trace(common)
	}
}

func BenchmarkTraceParallel(b *testing.B) {
	tracer, common := commonCase(b)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			tracer.Trace(common)
		}
	})
}
