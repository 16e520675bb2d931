package app

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"testing"
	"time"
)

func TestWhenTheGarbageOfABurstIsCollected(t *testing.T) {
	const mb = 1 << 20
	type look struct {
		cycles, used, alive uint64
		collects            bool
	}
	for name, looks := range map[string][]look{
		"a burst, and twice": {{6, 48 * mb, 40 * mb, false}, {6, 82 * mb, 40 * mb, true}, {7, 30 * mb, 29 * mb, true}, {8, 21 * mb, 21 * mb, false}, {8, 22 * mb, 21 * mb, false}},
		"Go collects itself": {{6, 82 * mb, 40 * mb, false}, {7, 82 * mb, 40 * mb, false}, {9, 82 * mb, 40 * mb, false}},
		"Go collects after":  {{6, 82 * mb, 40 * mb, false}, {6, 82 * mb, 40 * mb, true}, {9, 50 * mb, 29 * mb, false}, {9, 50 * mb, 29 * mb, true}},
		"little garbage":     {{6, 10 * mb, 5 * mb, false}, {6, 20 * mb, 5 * mb, false}},
		"a large heap":       {{6, 440 * mb, 400 * mb, false}, {6, 500 * mb, 400 * mb, false}},
	} {
		var c burstCollector
		for i, l := range looks {
			if got := c.collects(l.cycles, l.used, l.alive); got != l.collects {
				t.Errorf("%s: look %d collects: %t, want %t", name, i, got, l.collects)
			}
		}
	}
}

func TestTheGarbageOfABurstIsCollected(t *testing.T) {
	t.Setenv("GOGC", "")
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	used := func() uint64 {
		objects := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(objects)
		return objects[0].Value.Uint64()
	}
	runtime.GC()
	before := used()
	for range 128 {
		runtime.KeepAlive(make([]byte, 1<<20))
	}
	if got := used(); got < before+100<<20 {
		t.Fatalf("the burst left %d bytes, want 128 MiB", got-before)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { collectBursts(ctx, time.Millisecond) })
	for end := time.Now().Add(30 * time.Second); used() > before+64<<20; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the garbage of a burst stays")
		}
	}
	cancel()
	running.Wait()
}
