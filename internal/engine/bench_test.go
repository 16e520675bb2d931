package engine

import (
	"context"
	"iter"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/pace"
)

// A counter is a sink that only counts.
type counter struct {
	_       [64]byte
	ended   atomic.Int64
	_       [56]byte
	dropped atomic.Int64
}

func (c *counter) Started(int)                  {}
func (c *counter) Iteration(*load.Iteration)    { c.ended.Add(1) }
func (c *counter) Drop(_ load.Reason, n uint64) { c.dropped.Add(int64(n)) }

// An idler is a VU whose iterations take no time, or pause once.
type idler struct {
	e     *Engine
	think time.Duration
	woken bool
}

func (v *idler) Begin(time.Duration) bool { v.woken = v.think == 0; return true }

func (v *idler) Go() (time.Duration, bool) {
	if v.woken {
		return 0, true
	}
	v.woken = true
	return v.e.Now() + v.think, false
}

func (v *idler) Interrupt() {}
func (v *idler) Close()     {}

// A flood is an open plan whose n arrivals are all due as soon as there is a VU for them.
type flood struct {
	n int
	e **Engine
}

func (p flood) At(time.Duration) pace.Level      { return pace.Level{Rate: 1, Until: pace.Forever} }
func (flood) End() pace.End                      { return pace.End{} }
func (p flood) Count(_, _ time.Duration) float64 { return float64(p.n) }

func (p flood) Arrivals(time.Duration, int, int) iter.Seq[time.Duration] {
	return func(yield func(time.Duration) bool) {
		e := *p.e
		free := &e.source.(*openSource).free
		for range p.n {
			for len(e.slots.all) == cap(e.slots.all) && free.head.Load() == nil {
				runtime.Gosched()
			}
			if !yield(e.Now()) {
				return
			}
		}
		e.Kill()
	}
}

func benchmark(b *testing.B, plan func(n int) pace.Plan, think time.Duration) {
	w, err := NewWaiter()
	if err != nil {
		b.Fatal(err)
	}
	var e *Engine
	sink := &counter{}
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	p := plan(b.N)
	if f, ok := p.(flood); ok {
		f.e = &e
		p = f
	}
	e, err = New(Options{
		Plan: p, Sink: sink, Start: time.Now(), Waiter: w, MaxVUs: 64, PreAllocated: 64, MaxLateness: time.Hour,
		NewVU: func(int) (VU, error) { return &idler{e: e, think: think}, nil },
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	e.Run(ctx)
	b.StopTimer()
	b.ReportMetric(float64(sink.ended.Load())/b.Elapsed().Seconds(), "turns/s")
	b.ReportMetric(float64(sink.dropped.Load()), "dropped")
}

func BenchmarkTurns(b *testing.B) {
	closed := func(vus int) func(n int) pace.Plan {
		return func(n int) pace.Plan { return bounded{steps{{0, vus}}, uint64(n), 0} }
	}
	b.Run("closed/1 VU", func(b *testing.B) { benchmark(b, closed(1), 0) })
	b.Run("closed/16 VUs", func(b *testing.B) { benchmark(b, closed(16), 0) })
	b.Run("closed, thinking/1000 VUs", func(b *testing.B) { benchmark(b, closed(1000), time.Microsecond) })
	b.Run("open", func(b *testing.B) { benchmark(b, func(n int) pace.Plan { return flood{n: n} }, 0) })
}

// BenchmarkThinking reports what the engine itself keeps for a VU that thinks.
func BenchmarkThinking(b *testing.B) {
	const vus = 50_000
	for b.Loop() {
		var e *Engine
		before := memory()
		e, err := New(Options{
			Plan: steps{{0, vus}}, Sink: &counter{}, Start: time.Now(),
			NewVU: func(int) (VU, error) { return &idler{e: e, think: time.Hour}, nil },
		})
		if err != nil {
			b.Fatal(err)
		}
		done := make(chan struct{})
		go func() { e.Run(b.Context()); close(done) }()
		for e.Stats().Thinking < vus {
			time.Sleep(10 * ms)
		}
		const vu = 24 // an idler
		b.ReportMetric(float64(memory()-before)/vus-vu, "B/VU")
		b.ReportMetric(float64(runtime.NumGoroutine()), "goroutines")
		e.Kill()
		<-done
	}
}

// memory is the size of the heap after a collection, in bytes.
func memory() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
