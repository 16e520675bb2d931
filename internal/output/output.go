// Package output hands the windows of all scenarios to whoever takes them:
// history, remote write, files. Each output has its own bounded queue, so that
// a slow one neither blocks the recorder nor holds up the others.
package output

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perfd/perfd/internal/load"
)

// An Output takes windows. Write is called by one goroutine at a time, in the
// order of time; it may block until ctx ends, which costs this output's own windows only.
// The window is shared and read-only. Close is called once, after the last Write.
type Output interface {
	Write(ctx context.Context, w *load.Window) error
	Close(ctx context.Context) error
}

// Named is an output and the name that messages and metrics know it by.
type Named struct {
	Name   string
	Output Output
}

const (
	queueLength   = 4096
	errorInterval = time.Minute // between two messages about one output
)

// A FanOut writes each window to all outputs.
type FanOut struct {
	branches []*branch
	cancel   context.CancelFunc // of writes under way
	done     sync.WaitGroup
}

type branch struct {
	Named
	log     *slog.Logger
	queue   chan *load.Window
	dropped atomic.Uint64
	failed  atomic.Uint64
}

// Start returns a FanOut that writes to outputs until it is closed.
func Start(log *slog.Logger, outputs ...Named) *FanOut {
	ctx, cancel := context.WithCancel(context.Background())
	f := &FanOut{cancel: cancel}
	for _, o := range outputs {
		b := &branch{Named: o, log: log.With("output", o.Name), queue: make(chan *load.Window, queueLength)}
		f.branches = append(f.branches, b)
		f.done.Go(func() { b.run(ctx) })
	}
	return f
}

// Write queues a window for all outputs. It never blocks: where a queue is full
// the window is dropped for that output and counted. It must not be called after Close.
func (f *FanOut) Write(w *load.Window) {
	for _, b := range f.branches {
		select {
		case b.queue <- w:
		default:
			b.dropped.Add(1)
		}
	}
}

// Lost is what an output did not take.
type Lost struct {
	Output  string
	Dropped uint64 // windows, because its queue was full
	Failed  uint64 // windows, because it returned an error
}

// Lost returns what each output lost so far.
func (f *FanOut) Lost() []Lost {
	lost := make([]Lost, len(f.branches))
	for i, b := range f.branches {
		lost[i] = Lost{b.Name, b.dropped.Load(), b.failed.Load()}
	}
	return lost
}

// Close writes what is queued and closes the outputs. When ctx ends it gives up
// on what is still queued.
func (f *FanOut) Close(ctx context.Context) error {
	defer f.cancel()
	stop := context.AfterFunc(ctx, f.cancel)
	defer stop()
	for _, b := range f.branches {
		close(b.queue)
	}
	f.done.Wait()
	var errs []error
	for _, b := range f.branches {
		if err := b.Output.Close(ctx); err != nil {
			errs = append(errs, fmt.Errorf("close output %s: %w", b.Name, err))
		}
	}
	return errors.Join(errs...)
}

func (b *branch) run(ctx context.Context) {
	var quiet time.Time // no message before
	for w := range b.queue {
		err := ctx.Err()
		if err == nil {
			err = b.Output.Write(ctx, w)
		}
		if err == nil {
			continue
		}
		b.failed.Add(1)
		if now := time.Now(); now.After(quiet) {
			b.log.Error("write window", "error", err, "failed", b.failed.Load(), "dropped", b.dropped.Load())
			quiet = now.Add(errorInterval)
		}
	}
}
