package record

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/load"
)

// logNormal returns results of n log-normal latencies around 20 ms.
func logNormal(n int, seed uint64) []load.Result {
	r := rand.New(rand.NewPCG(seed, 1))
	results := make([]load.Result, n)
	for i := range results {
		d := int64(20e6 * math.Exp(0.5*r.NormFloat64()))
		results[i] = load.Result{
			Due: 0, Sent: 50e3, Done: 50e3 + d, Code: 200,
			SentBytes: 120, ReceivedBytes: 900,
			Phases: [load.NumPhases]int64{load.PhaseFirstByte: d - 1e5, load.PhaseTransfer: 1e5},
		}
	}
	return results
}

func openSteps(t testing.TB, r *Recorder, scenarios, steps int) []*Sink {
	t.Helper()
	sinks := make([]*Sink, scenarios)
	for i := range sinks {
		s := Scenario{Name: fmt.Sprintf("scenario-%03d", i), Test: "load", Executor: "constant-arrival-rate", Model: "open"}
		for j := range steps {
			s.Steps = append(s.Steps, Series{Step: fmt.Sprintf("sign-in/step-%03d", j), Target: "shop", Protocol: "http", Checks: []string{"has a token"}})
		}
		var err error
		if sinks[i], err = r.Open(s); err != nil {
			t.Fatal(err)
		}
	}
	return sinks
}

func BenchmarkRecord(b *testing.B) {
	results := logNormal(1<<12, 1)
	r := New(Options{})
	sink := openSteps(b, r, 1, 1)[0]
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		sink.Record(i, &results[i&(1<<12-1)])
		i++
	}
}

// Each goroutine records for one virtual user of its own.
func BenchmarkRecordParallel(b *testing.B) {
	results := logNormal(1<<12, 1)
	r := New(Options{})
	sink := openSteps(b, r, 1, 1)[0]
	b.ReportAllocs()
	var users atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		vu := int(users.Add(1))
		for i := 0; pb.Next(); i++ {
			sink.Record(vu, &results[i&(1<<12-1)])
		}
	})
}

// thousand returns a recorder of 1,000 scenario-step pairs with 1,000 results each.
func thousand(b *testing.B) (*Recorder, []*Sink) {
	r := New(Options{})
	sinks := openSteps(b, r, 100, 10)
	for range 1000 {
		each(sinks, 10, logNormal(1000, 2))
	}
	r.Fold(time.Now())
	return r, sinks
}

// each records the next of 1,000 results for each of 1,000 pairs.
func each(sinks []*Sink, steps int, results []load.Result) {
	for i := range len(sinks) * steps {
		res := &results[i%len(results)]
		res.Step = i % steps
		sinks[i/steps].Record(i, res)
	}
}

// BenchmarkFold folds ten seconds' worth of one request a second for each of 1,000 pairs.
func BenchmarkFold(b *testing.B) {
	r, sinks := thousand(b)
	results := logNormal(1000, 3)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		for range 10 {
			each(sinks, 10, results)
		}
		b.StartTimer()
		r.Fold(time.Now())
	}
}

// scrape gathers everything and keeps nothing.
func scrape(r *Recorder) (series int) {
	for range r.Gather() {
		series++
	}
	return series
}

// BenchmarkGather gathers 1,000 pairs of which each has changed.
func BenchmarkGather(b *testing.B) {
	r, sinks := thousand(b)
	results := logNormal(1000, 3)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		each(sinks, 10, results)
		r.Fold(time.Now())
		b.StartTimer()
		scrape(r)
	}
}
