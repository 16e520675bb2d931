package engine

import (
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/load"
)

// latenesses is a sink that keeps how late iterations start.
type latenesses struct {
	counter
	mu  sync.Mutex
	all []int64
}

func (l *latenesses) Iteration(it *load.Iteration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, it.Start-it.Due)
}

// BenchmarkLateness reports how late iterations start at 2,000/s; an op is one arrival.
func BenchmarkLateness(b *testing.B) {
	waiters := []struct {
		name string
		make func() (Waiter, error)
	}{
		{"platform", NewWaiter},
		{"timer", func() (Waiter, error) { return newTimerWaiter(), nil }},
	}
	for _, w := range waiters {
		b.Run(w.name+"/idle", func(b *testing.B) { benchmarkLateness(b, w.make) })
		b.Run(w.name+"/busy sockets", func(b *testing.B) {
			defer busySockets(b, 8)()
			benchmarkLateness(b, w.make)
		})
	}
}

func benchmarkLateness(b *testing.B, waiter func() (Waiter, error)) {
	w, err := waiter()
	if err != nil {
		b.Fatal(err)
	}
	const gap = time.Second / 2000
	var e *Engine
	sink := &latenesses{all: make([]int64, 0, b.N)}
	e, err = New(Options{
		Plan: every{gap, time.Duration(b.N) * gap}, Sink: sink, Start: time.Now(), Waiter: w, MaxVUs: 64, PreAllocated: 64,
		NewVU: func(int) (VU, error) { return &idler{e: e}, nil },
	})
	if err != nil {
		b.Fatal(err)
	}
	e.Run(b.Context())
	slices.Sort(sink.all)
	if n := len(sink.all); n > 0 {
		b.ReportMetric(float64(sink.all[n/2])/1e6, "p50-ms")
		b.ReportMetric(float64(sink.all[n*99/100])/1e6, "p99-ms")
	}
	b.ReportMetric(float64(sink.dropped.Load()), "dropped")
}

// busySockets has pairs of goroutines exchange messages over loopback until its result is called.
func busySockets(b *testing.B, pairs int) (stop func()) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var playing sync.WaitGroup
	var conns []net.Conn
	for range pairs {
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		server, err := l.Accept()
		if err != nil {
			b.Fatal(err)
		}
		conns = append(conns, client, server)
		playing.Go(func() { _, _ = io.Copy(server, server) })
		playing.Go(func() {
			ball := make([]byte, 100)
			for {
				if _, err := client.Write(ball); err != nil {
					return
				}
				if _, err := io.ReadFull(client, ball); err != nil {
					return
				}
			}
		})
	}
	return func() {
		for _, c := range conns {
			c.Close()
		}
		l.Close()
		playing.Wait()
	}
}
