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
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfd/perfd/internal/queue"
)

// Options of a Writer.
type Options struct {
	Endpoints []Config
	Queue     QueueConfig
	FS        queue.FS
	Dir       string // that paths of the configuration start from
	// Scenarios gathers families that may change in place after done; Daemon all others.
	Scenarios prometheus.TransactionalGatherer
	Daemon    prometheus.Gatherer
	UserAgent string
	Now       func() time.Time // nil is time.Now
	Log       *slog.Logger
}

// A Writer takes snapshots and sends them.
type Writer struct {
	o         Options
	queue     *queue.Queue
	encoder   *encoder
	endpoints []*endpoint
	totals    totals

	cancel   context.CancelFunc // ends the ticks
	ticking  sync.WaitGroup
	cut      context.CancelFunc // ends the endpoints
	sending  sync.WaitGroup
	syncing  sync.WaitGroup
	stopSync context.CancelFunc
}

type totals struct {
	snapshots, faults, damaged atomic.Uint64
	skipped                    [numSkips]atomic.Uint64
	last                       atomic.Int64 // timestamp of the last snapshot, ms
}

// Why a snapshot was not taken.
type skip int

const (
	skipClock  skip = iota // the clock went back
	skipGather             // the metrics could not be gathered
	skipQueue              // neither disk nor memory took it
	numSkips
)

var skipNames = [numSkips]string{"clock", "gather", "queue"}

// New opens the queue and its endpoints; nothing is taken or sent before Start.
func New(o Options) (*Writer, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	w := &Writer{o: o, encoder: newEncoder()}
	quiet := newQuiet(o.Now)
	w.queue = queue.Open(queue.Options{
		FS: o.FS, MaxBytes: int64(o.Queue.MaxBytes), FsyncInterval: o.Queue.FsyncInterval.D(), Log: o.Log,
		Fault: func(err error) {
			w.totals.faults.Add(1)
			if quiet("fault") {
				o.Log.Error("the disk of the remote-write queue fails", "err", err)
			}
		},
		Damaged: func(segment uint64, offset, bytes int64) {
			w.totals.damaged.Add(uint64(bytes))
			o.Log.Error("a part of the remote-write queue is damaged and lost", "segment", segment, "offset", offset, "bytes", bytes)
		},
	})
	w.encoder.seed(w.queue.Last)
	w.totals.last.Store(w.encoder.last)
	var names []string
	for _, c := range o.Endpoints {
		name := c.position()
		names = append(names, name)
		e, err := newEndpoint(c, &w.o, w.queue.Reader(name), o.Queue.MaxAge.D())
		if err != nil {
			return nil, errors.Join(err, w.queue.Close())
		}
		w.endpoints = append(w.endpoints, e)
	}
	w.queue.Forget(names)
	return w, nil
}

// newQuiet returns a function that says yes to each kind of message once a minute.
func newQuiet(now func() time.Time) func(kind string) bool {
	var mu sync.Mutex
	next := map[string]time.Time{}
	return func(kind string) bool {
		mu.Lock()
		defer mu.Unlock()
		at := now()
		if at.Before(next[kind]) {
			return false
		}
		next[kind] = at.Add(complaintInterval)
		return true
	}
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

// Same reports whether the writer does what another configuration asks for.
func (w *Writer) Same(endpoints []Config, q QueueConfig) bool {
	return w.o.Queue == q && reflect.DeepEqual(w.o.Endpoints, endpoints)
}

// Start takes snapshots and sends them until Close.
func (w *Writer) Start() {
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
	w.take(at.UnixMilli(), true)
}

func (w *Writer) take(at int64, gather bool) {
	e := w.encoder
	if at <= e.last {
		w.skip(skipClock, fmt.Errorf("the clock shows %v, and %v was the last", time.UnixMilli(at), time.UnixMilli(e.last)))
		return
	}
	e.begin(at)
	if gather {
		if err := w.gather(); err != nil {
			w.skip(skipGather, err)
			return
		}
	}
	if err := w.queue.Append(snapshotRecord, e.appendTo); err != nil {
		e.failed()
		w.skip(skipQueue, err)
		return
	}
	e.done()
	w.totals.snapshots.Add(1)
	w.totals.last.Store(at)
}

func (w *Writer) skip(why skip, err error) {
	w.totals.skipped[why].Add(1)
	w.o.Log.Error("a snapshot for remote write is left out", "reason", skipNames[why], "err", err)
}

func (w *Writer) gather() error {
	daemon, err := w.o.Daemon.Gather()
	if err != nil {
		return err
	}
	w.encoder.add(daemon)
	scenarios, done, err := w.o.Scenarios.Gather()
	defer done()
	if err != nil {
		return err
	}
	w.encoder.add(scenarios)
	return nil
}

// Close ends the writer. With final it first takes a last snapshot and, 1 ms
// later, ends all series, and lets the endpoints send until ctx ends: what they
// do not send stays in the queue.
func (w *Writer) Close(ctx context.Context, final bool) error {
	if w.cancel == nil { // never started
		return w.close()
	}
	w.cancel()
	w.ticking.Wait()
	if final && len(w.endpoints) > 0 {
		at := max(w.o.Now().UnixMilli(), w.encoder.last+1)
		w.take(at, true)
		w.take(at+1, false)
		w.drain(ctx)
	}
	w.cut()
	w.sending.Wait()
	w.stopSync()
	w.syncing.Wait()
	return w.close()
}

func (w *Writer) close() error {
	var errs []error
	for _, e := range w.endpoints {
		errs = append(errs, e.reader.Close())
		e.client.CloseIdleConnections()
	}
	return errors.Join(append(errs, w.queue.Close())...)
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
