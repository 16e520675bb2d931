package otlp

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/output"
)

// dead is a collector that never answers.
func dead(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestBatchesHoldWholeTrails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := &fakeClient{}
		e := start(t, Options{Config: Config{BatchSize: 10}, client: client})
		tracer := e.tracer(shop())
		for range 4 {
			tracer.Trace(iteration(true, 1, 1, 1)) // 4 spans
		}
		synctest.Wait() // a whole batch does not wait
		if got := client.sent(); len(got) != 1 || len(got[0]) != 8 {
			t.Fatalf("at once: %v", got)
		}
		tracer.Trace(iteration(true, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)) // more than a batch
		synctest.Wait()
		time.Sleep(6 * time.Second)
		synctest.Wait()
		for _, r := range client.sent() {
			if len(r) > 10 && len(r) != 13 {
				t.Errorf("a request of %d spans", len(r))
			}
			for id, n := range roots(r) {
				children := 0
				for _, s := range r {
					if load.TraceID(s.TraceId) == id {
						children++
					}
				}
				if n != 1 || children != 4 && children != 13 {
					t.Errorf("a trace of %d spans, %d of them roots", children, n)
				}
			}
		}
		if s := e.Stats(); s.Exported != 4*4+13 || s.Queued != 0 {
			t.Errorf("stats: %+v", s)
		}
	})
}

func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := &fakeClient{}
		e := start(t, Options{client: client})
		synctest.Wait()
		e.tracer(shop()).Trace(iteration(true, 1))
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if got := client.sent(); len(got) != 0 {
			t.Errorf("sent early: %v", got)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := client.sent(); len(got) != 1 {
			t.Errorf("after the delay: %v", got)
		}
	})
}

func TestADeadCollectorCostsSpansOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := &fakeClient{upload: dead}
		var log bytes.Buffer
		e := start(t, Options{
			Config: Config{QueueSize: 20, BatchSize: 10}, client: client, Log: slog.New(slog.NewTextHandler(&log, nil)),
			Exported: func(output.Exported) { t.Error("an export was reported") },
		})
		tracer := e.tracer(shop())
		before := time.Now()
		for range 15 {
			tracer.Trace(iteration(true, 1)) // 2 spans
		}
		if time.Since(before) != 0 {
			t.Error("load waited")
		}
		synctest.Wait()
		if s := e.Stats(); s.Queued != 20 || s.Dropped[QueueFull] != 10 || s.Exported != 0 {
			t.Errorf("while it hangs: %+v", s)
		}
		time.Sleep(11 * time.Second) // the timeout is 10 s
		synctest.Wait()
		if s := e.Stats(); s.Queued != 10 || s.Dropped[ExportFailed] != 10 || s.Failed != 1 {
			t.Errorf("after a timeout: %+v", s)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if s := e.Stats(); s.Queued != 0 || s.Dropped[ExportFailed] != 20 || s.Failed != 2 {
			t.Errorf("after two: %+v", s)
		}
		if got := strings.Count(log.String(), "spans were not exported"); got != 1 {
			t.Errorf("%d messages in a minute: %s", got, log.String())
		}
		time.Sleep(time.Minute)
		tracer.Trace(iteration(true, 1))
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if !strings.Contains(log.String(), "spans=12") {
			t.Errorf("the next message counts what was not said: %s", log.String())
		}
	})
}

func TestPartialSuccessIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := start(t, Options{client: &fakeClient{upload: func(context.Context) error { return errors.New("OTLP partial success: 1 spans rejected") }}})
		e.tracer(shop()).Trace(iteration(true, 1))
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if s := e.Stats(); s.Dropped[ExportFailed] != 2 || s.Exported != 0 {
			t.Errorf("stats: %+v", s)
		}
	})
}

func TestRequestsThatATrailLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := &fakeClient{}
		e := start(t, Options{client: client})
		tr := iteration(true, make([]int64, 70)...)
		if tr.Left != 6 {
			t.Fatalf("left %d", tr.Left)
		}
		e.tracer(shop()).Trace(tr)
		time.Sleep(6 * time.Second)
		synctest.Wait()
		spans := client.spans()
		if s := e.Stats(); s.Dropped[TooManySteps] != 6 || s.Exported != 65 || len(spans) != 65 {
			t.Errorf("stats: %+v", s)
		}
		if got := attributes(spans[0])["perfd.requests_left_out"]; got != int64(6) {
			t.Errorf("the root says %v", got)
		}
	})
}

func TestRunDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := &fakeClient{}
		e := build(t, Options{Config: Config{BatchSize: 10}, client: client})
		ctx, cancel := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { e.Run(ctx) })
		tracer := e.tracer(shop())
		for range 3 {
			tracer.Trace(iteration(true, 1, 1, 1))
		}
		tracer.Trace(iteration(false, 1)) // a candidate of the open window
		synctest.Wait()
		cancel()
		run.Wait()
		if got := len(client.spans()); got != 14 {
			t.Errorf("%d spans", got)
		}
		tracer.Trace(iteration(true, 1))
		if s := e.Stats(); s.Exported != 14 || s.Queued != 0 || s.Dropped[Shutdown] != 2 {
			t.Errorf("stats: %+v", s)
		}
		if err := e.Close(t.Context()); err != nil || !client.stopped {
			t.Errorf("Close: %v, stopped %v", err, client.stopped)
		}
		if err := e.Close(t.Context()); err != nil {
			t.Errorf("a second Close: %v", err)
		}
		e.Run(t.Context()) // returns
	})
}

func TestDrainingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := build(t, Options{Config: Config{BatchSize: 2}, client: &fakeClient{upload: dead}})
		ctx, cancel := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { e.Run(ctx) })
		tracer := e.tracer(shop())
		for range 3 {
			tracer.Trace(iteration(true, 1))
		}
		synctest.Wait()
		began := time.Now()
		cancel()
		run.Wait()
		if took := time.Since(began); took != drainTime {
			t.Errorf("took %v", took)
		}
		if s := e.Stats(); s.Dropped[Shutdown] != 6 || s.Queued != 0 {
			t.Errorf("stats: %+v", s)
		}
	})
}

func TestCloseEndsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := build(t, Options{client: &fakeClient{upload: dead}})
		var run sync.WaitGroup
		run.Go(func() { e.Run(context.Background()) })
		e.tracer(shop()).Trace(iteration(true, 1))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_ = e.Close(ctx)
		run.Wait()
		if took := time.Since(began); took != time.Second {
			t.Errorf("took %v", took)
		}
		if s := e.Stats(); s.Dropped[Shutdown] != 2 || s.Queued != 0 {
			t.Errorf("stats: %+v", s)
		}
	})
}

// A stop right after the start, before the exporter's goroutine ran, loses nothing.
func TestCloseBeforeRun(t *testing.T) {
	client := &fakeClient{}
	e := build(t, Options{client: client})
	tracer := e.tracer(shop())
	tracer.Trace(iteration(true, 1))
	tracer.Trace(iteration(false, 1))
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.Run(t.Context()) // returns
	if s := e.Stats(); s.Exported != 4 || s.Queued != 0 || !client.stopped {
		t.Errorf("stats: %+v", s)
	}
}

// Every span that was handed in is exported, dropped or queued.
func TestManyGoroutines(t *testing.T) {
	client := &fakeClient{}
	e := build(t, Options{Config: Config{QueueSize: 200, BatchSize: 20}, client: client})
	ctx, cancel := context.WithCancel(t.Context())
	var run, vus sync.WaitGroup
	run.Go(func() { e.Run(ctx) })
	tracer := e.tracer(shop())
	const goroutines, each = 8, 300
	for range goroutines {
		vus.Go(func() {
			own := iteration(false, 1, 2)
			for i := range each {
				tr := iteration(i%3 == 0, 1, 2)
				if i%7 == 0 {
					failing(tr, load.Cause(1+i%int(load.NumCauses-1)))
				}
				tracer.Trace(tr)
				tracer.Trace(own)
				tracer.Sampled(tr.Trace)
				_ = e.Stats()
				if i%100 == 0 {
					e.closeWindows()
				}
			}
		})
	}
	vus.Wait()
	cancel()
	run.Wait()
	s := e.Stats()
	sampled := uint64(goroutines * each / 3 * 3)
	if all := s.Exported + s.Dropped[QueueFull]; all < sampled || s.Queued != 0 || s.Exported != uint64(len(client.spans())) {
		t.Errorf("%d sampled spans, %+v", sampled, s)
	}
}

func TestReasonsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for r := range NumReasons {
		seen[r.String()] = true
	}
	for _, name := range []string{"queue_full", "export_failed", "shutdown", "too_many_steps"} {
		if !seen[name] {
			t.Errorf("no reason %s", name)
		}
	}
	if NumReasons.String() != "unknown" {
		t.Error("a reason out of range has a name")
	}
}
