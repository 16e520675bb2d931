package app

import (
	"context"
	"os"
	"runtime"
	"runtime/metrics"
	"time"
)

const (
	// burstQuiet is how long a heap was not collected that is looked at for what a burst left.
	burstQuiet = 5 * time.Second
	// burstGarbage is how many bytes of garbage are worth a collection.
	burstGarbage = 16 << 20
)

// A burst collector collects the heap after a burst of work: a start of thousands of virtual
// users, say. Go collects when the heap has grown, or after two minutes. Requests leave no
// garbage to make it grow, so that what was needed for a moment, buffers and stacks of
// thousands of requests at once, would stay resident for as long.
//
// A daemon with garbage to collect all the time does so by itself, more often than
// every burstQuiet, and one without is left alone.
type burstCollector struct {
	cycles uint64 // collections so far when it looked last
	again  bool   // the last collection is its own, and what pools held is let go by the next one only
}

// collects reports whether to collect a heap of which so many bytes are in use and were alive
// when it was collected last.
func (c *burstCollector) collects(cycles, used, alive uint64) bool {
	if cycles != c.cycles {
		c.cycles, c.again = cycles, false
		return false
	}
	if c.again {
		c.again = false
		c.cycles++
		return true
	}
	if used < alive+burstGarbage || 2*used < 3*alive {
		return false
	}
	c.again = true
	c.cycles++
	return true
}

// collectBursts collects what bursts leave, until ctx ends. Where the environment says by GOGC when
// the heap is collected, it is not collected otherwise.
func collectBursts(ctx context.Context, every time.Duration) {
	if os.Getenv("GOGC") != "" {
		return
	}
	heap := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}, {Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/heap/live:bytes"}}
	tick := time.NewTicker(every)
	defer tick.Stop()
	var c burstCollector
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		metrics.Read(heap)
		if c.collects(heap[0].Value.Uint64(), heap[1].Value.Uint64(), heap[2].Value.Uint64()) {
			runtime.GC()
		}
	}
}
