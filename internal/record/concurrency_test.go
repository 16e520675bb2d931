package record

import (
	"sync"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/load"
)

// Every result is counted once, whatever folds, scrapes and reloads go on beside.
func TestNothingIsLostBetweenFoldsScrapesAndReloads(t *testing.T) {
	const writers, each = 8, 20_000
	k := &kept{}
	r := New(Options{Windows: k.take, Window: 20 * time.Millisecond})
	sink := open(t, r, shop())

	var recording, beside sync.WaitGroup
	stop := make(chan struct{})
	until := func(do func()) {
		beside.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					do()
				}
			}
		})
	}
	limit := time.Millisecond
	until(func() { r.Fold(time.Now()) })
	until(func() { values(t, r, "perfd_requests_total") })
	until(func() { r.Recent("shop") })
	until(func() {
		limit = limit%time.Second + 7*time.Millisecond
		s, err := r.Open(shop(limit))
		if err != nil {
			t.Error(err)
			return
		}
		s.Close()
	})
	for w := range writers {
		recording.Go(func() {
			res := load.Result{Step: w % 2, Done: 10e6, Code: 200, Checks: 1, SentBytes: 3}
			for i := range each {
				if w == 0 && i%4 == 0 {
					res.Cause = load.Reset
				} else {
					res.Cause = load.None
				}
				sink.Record(w, &res)
				sink.Started(w)
				sink.Iteration(&load.Iteration{VU: w, End: 10e6})
				sink.Drop(load.Late, 1)
			}
		})
	}
	recording.Wait()
	close(stop)
	beside.Wait()
	r.Flush()

	const all = writers * each
	total := func(family string) (n float64) {
		for _, v := range values(t, r, family) {
			n += v
		}
		return n
	}
	for family, want := range map[string]float64{
		"perfd_requests_total":             all,
		"perfd_request_failures_total":     each / 4,
		"perfd_responses_total":            all,
		"perfd_checks_total":               all,
		"perfd_sent_bytes_total":           3 * all,
		"perfd_iterations_started_total":   all,
		"perfd_iterations_total":           all,
		"perfd_iterations_dropped_total":   all,
		"perfd_connections_opened_total":   0,
		"perfd_durations_over_range_total": 0,
	} {
		if got := total(family); got != want {
			t.Errorf("%s = %v, want %v", family, got, want)
		}
	}
	var answered uint64
	for _, m := range gathered(t, r, "perfd_request_duration_seconds") {
		answered += m.Histogram.GetSampleCount()
		if b := m.Histogram.Bucket; b[len(b)-1].GetCumulativeCount() != m.Histogram.GetSampleCount() {
			t.Errorf("classic buckets end at %d, want the count, %d", b[len(b)-1].GetCumulativeCount(), m.Histogram.GetSampleCount())
		}
	}
	if want := uint64(all - each/4); answered != want {
		t.Errorf("durations counted = %d, want %d", answered, want)
	}
	var inSteps, inScenario, started uint64
	for _, w := range k.windows {
		if w.Step != "" {
			inSteps += w.Requests
			continue
		}
		inScenario += w.Requests
		started += w.Iterations.Started
	}
	if inSteps != all || inScenario != all || started != all {
		t.Errorf("windows hold %d requests of steps, %d of the scenario and %d iterations, want %d of each", inSteps, inScenario, started, all)
	}
}

func TestRecordingAllocatesNothing(t *testing.T) {
	r := New(Options{Shards: 4})
	sink := open(t, r, shop())
	results := logNormal(1000, 4)
	record := func() {
		for i := range results {
			sink.Record(i, &results[i])
			sink.Started(i)
			sink.Iteration(&load.Iteration{VU: i, Start: 1e5, End: results[i].Done})
		}
	}
	// Folds swap sets of counts between shards: each needs its memory once.
	for range 2 * len(sink.shards) {
		record()
		r.Fold(time.Now())
	}
	if n := testing.AllocsPerRun(20, record); n != 0 {
		t.Errorf("recording 1,000 results and iterations allocates %v times, want 0", n)
	}
}
