// Package remotewrite sends perfd's metrics to Prometheus and whatever else
// speaks its remote-write protocol, 1.0 and 2.0, through outages and crashes.
//
//	Gather each interval ─► snapshot ─► queue on disk ─► one reader an endpoint ─► encode, filter, batch ─► POST
//
// A snapshot is acknowledged when the queue has it. Each endpoint sends from its
// own position, which is written before each request, so that after a crash the
// request under way is made again with the same samples. A request never spans
// two snapshots: a receiver that has it already takes it again in silence, since
// each sample is the newest of its series and has the same value.
package remotewrite

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfd/perfd/internal/metric"
	"github.com/perfd/perfd/internal/queue"
	"github.com/perfd/perfd/internal/wire"
)

// Options of a Writer.
type Options struct {
	Endpoints []Config
	Queue     QueueConfig
	FS        queue.FS
	Dir       string // that paths of the configuration start from
	// Scenarios gathers the series of scenarios, Daemon all others.
	Scenarios metric.Source
	Daemon    prometheus.Gatherer
	UserAgent string
	Now       func() time.Time // nil is time.Now
	Log       *slog.Logger
	Guard     wire.Guard   // the configuration's allow-list
	Network   wire.Network // that receivers are reached by
	// TLSFaults takes what is wrong with certificates that changed; nil for nobody.
	TLSFaults *wire.TLSFaults
	// Old is the writer of an earlier configuration, which may be running: the new
	// one goes on with its store and ends it in Start. Nil where there is none.
	Old *Writer
}

// A Writer takes snapshots and sends them.
type Writer struct {
	o         Options
	*store    // which is the old writer's until it has ended
	endpoints []*endpoint
	started   bool          // Start was called
	begun     chan struct{} // closed when the writer has the store and runs
	released  chan struct{} // closed when Close has let go of the store

	// Of the goroutine that begins, and of Close after it.
	cancel   context.CancelFunc // ends the ticks
	ticking  sync.WaitGroup
	cut      context.CancelFunc // ends the endpoints
	sending  sync.WaitGroup
	syncing  sync.WaitGroup
	stopSync context.CancelFunc
}

// New builds a writer; nothing is taken or sent before Start.
func New(o Options) (*Writer, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	w := &Writer{o: o, begun: make(chan struct{}), released: make(chan struct{})}
	for _, c := range o.Endpoints {
		e, err := newEndpoint(c, &w.o)
		if err != nil {
			w.closeIdle()
			return nil, err
		}
		if o.Old != nil {
			e.countOn(o.Old.endpoints)
		}
		w.endpoints = append(w.endpoints, e)
	}
	if o.Old != nil {
		w.store = o.Old.store
	} else {
		w.store = newStore(&o)
	}
	return w, nil
}

// position names the file that keeps the endpoint's position: another url or
// name is another endpoint.
func (c *Config) position() string {
	h := fnv.New64a()
	h.Write([]byte(c.Name + "\x00" + c.URL.S))
	plain := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '_'
	}, c.Name)
	return fmt.Sprintf("%.40s-%016x", plain, h.Sum64())
}

// Start takes snapshots and sends them until Close. Where there is an old writer
// it is ended first; what it had queued is sent by this one. All of that waits for
// the disk, for which Start does not: a disk that hangs keeps snapshots, and no reload.
func (w *Writer) Start() {
	w.started = true
	go w.begin()
}

// begin is the rest of Start.
func (w *Writer) begin() {
	defer close(w.begun)
	w.takeOver()
	w.load()
	w.attach()
	background := func(group *sync.WaitGroup, run ...func(context.Context)) context.CancelFunc {
		ctx, cancel := context.WithCancel(context.Background())
		for _, f := range run {
			group.Go(func() { f(ctx) })
		}
		return cancel
	}
	var senders []func(context.Context)
	for _, e := range w.endpoints {
		senders = append(senders, e.run)
	}
	w.stopSync = background(&w.syncing, w.queue.Run)
	w.cut = background(&w.sending, senders...)
	w.cancel = background(&w.ticking, w.tick)
}

// takeOver ends the old writer, whose store this one has.
func (w *Writer) takeOver() {
	old := w.o.Old
	if old == nil {
		return
	}
	w.o.Old = nil
	<-old.begun
	old.end()
	if err := old.detach(); err != nil {
		w.o.Log.Warn("close the positions of remote write", "err", err)
	}
	w.queue.Configure(int64(w.o.Queue.MaxBytes), w.o.Queue.FsyncInterval.D())
}

// attach opens the positions of the endpoints and forgets all others.
func (w *Writer) attach() {
	var names []string
	for _, e := range w.endpoints {
		name := e.c.position()
		names = append(names, name)
		e.reader.Store(w.queue.Reader(name))
	}
	w.queue.Forget(names)
}

// tick takes a snapshot at each multiple of the interval, until ctx ends.
func (w *Writer) tick(ctx context.Context) {
	interval := w.o.Queue.Interval.D()
	for {
		now := w.o.Now().Round(0)
		next := now.Truncate(interval).Add(interval)
		select {
		case <-ctx.Done():
			return
		case <-time.After(next.Sub(now)):
		}
		// A timer may be early by the wall clock; after a stall the instant is the latest that passed.
		if now = w.o.Now().Round(0); now.Before(next) {
			now = next
		}
		w.Snapshot(now.Truncate(interval))
	}
}

// Sent is the timestamp up to which every endpoint has sent or given up everything.
func (w *Writer) Sent() time.Time {
	var sent int64
	for i, e := range w.endpoints {
		if at := e.stats.highest.Load(); i == 0 || at < sent {
			sent = at
		}
	}
	return time.UnixMilli(sent)
}

// Snapshot takes a snapshot now, with a timestamp.
func (w *Writer) Snapshot(at time.Time) {
	w.take(at.UnixMilli(), w.gather)
}

func (w *Writer) gather() error {
	daemon, err := w.o.Daemon.Gather()
	if err != nil {
		return err
	}
	w.encoder.add(daemon)
	for f, m := range w.o.Scenarios.Gather() {
		w.encoder.metric(f, m)
	}
	return nil
}

// Close takes a last snapshot and, 1 ms later, ends all series, and lets the
// endpoints send until ctx ends: what they do not send stays in the queue. A
// writer that was never started only frees what is its own.
func (w *Writer) Close(ctx context.Context) error {
	if !w.started {
		w.closeIdle()
		close(w.released)
		return nil // the store was not opened, or is the old writer's
	}
	select {
	case <-w.begun:
	case <-ctx.Done():
		go func() {
			defer close(w.released)
			<-w.begun
			w.end()
			_, _ = w.detach(), w.queue.Close() // too late for anybody to be told
		}()
		return fmt.Errorf("the queue of remote write is not read yet: %w", ctx.Err())
	}
	defer close(w.released)
	w.cancel()
	w.ticking.Wait()
	if len(w.endpoints) > 0 {
		at := max(w.o.Now().UnixMilli(), w.encoder.last+1)
		w.take(at, w.gather)
		w.take(at+1, func() error { return nil })
		w.drain(ctx)
	}
	w.end()
	return errors.Join(w.detach(), w.queue.Close())
}

// Released is closed when Close has let go of the queue on disk, which it does later than it
// returns where the disk hangs.
func (w *Writer) Released() <-chan struct{} { return w.released }

// end ends all of the writer's goroutines; requests under way are given up and
// made again by whoever reads the queue next.
func (w *Writer) end() {
	w.cancel()
	w.ticking.Wait()
	w.cut()
	w.sending.Wait()
	w.stopSync()
	w.syncing.Wait()
}

// detach closes the positions of the endpoints and their connections.
func (w *Writer) detach() error {
	var errs []error
	for _, e := range w.endpoints {
		errs = append(errs, e.reader.Load().Close())
	}
	w.closeIdle()
	return errors.Join(errs...)
}

func (w *Writer) closeIdle() {
	for _, e := range w.endpoints {
		e.client.CloseIdleConnections()
	}
}

// drainWait bounds how long a stop waits for receivers.
const drainWait = 5 * time.Second

// drain waits until all is sent, or ctx ends, or a receiver lets it wait.
func (w *Writer) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drainWait)
	defer cancel()
	last := time.UnixMilli(w.totals.last.Load())
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if !w.Sent().Before(last) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
