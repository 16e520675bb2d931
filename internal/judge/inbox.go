package judge

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perfd/perfd/internal/load"
)

const (
	// mostWaiting bounds the windows and samples that wait to be judged.
	mostWaiting = 1 << 16
	// mostAtAll bounds everything that waits: verdicts and runs are missed less than windows.
	mostAtAll = mostWaiting + mostWaiting/4
)

// An inbox holds what waits for the judging goroutine. Handing over never
// blocks: windows, parts and samples over mostWaiting are dropped and counted, events
// and runs over mostAtAll.
type inbox struct {
	mu    sync.Mutex
	items []any // *load.Window, part, load.Sample, load.Event, Run
	wake  chan struct{}
	lost  atomic.Uint64
}

func newInbox() inbox { return inbox{wake: make(chan struct{}, 1)} }

func (b *inbox) put(item any) {
	b.mu.Lock()
	most := mostAtAll
	switch item.(type) {
	case *load.Window, part, load.Sample:
		most = mostWaiting
	}
	if len(b.items) >= most {
		b.lost.Add(1)
		b.mu.Unlock()
		return
	}
	b.items = append(b.items, item)
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take waits for something and returns all there is; open is false for the last
// of it, after ctx has ended.
func (b *inbox) take(ctx context.Context) (items []any, open bool) {
	open = true
	select {
	case <-b.wake:
	case <-ctx.Done():
		open = false
	case <-time.After(windowsWait / 4): // a run may wait for windows that never come
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	items, b.items = b.items, nil
	return items, open
}
