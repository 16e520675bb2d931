package output

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
	"github.com/perfd/perfd/internal/wire"
)

// A Configured is a kind with its configuration in one document.
type Configured struct {
	Kind   Kind
	Config Config
	Guard  wire.Guard // the document's allow-list
	// Fingerprint is equal in two documents where the output's blocks and the allow-list are unchanged.
	Fingerprint string
}

// drainWait bounds how long an output that a change of the configuration replaces
// or ends may take to deliver what it holds.
const drainWait = 2 * time.Second

// A Set is the running outputs. Prepare builds what another configuration asks
// for while they go on; Commit changes to it and cannot fail. The methods of a
// Set are safe for concurrent use, but for Prepare, Commit, Abort and Stop,
// which belong to one goroutine at a time.
type Set struct {
	env     Env
	losses  map[string]*losses // by the output's name; kept over reloads
	pending *Change
	// ending are the outputs, by name, that the configuration has no longer, and that no later output of
	// their name waits for. They deliver what they hold, or have done so.
	ending map[string]*running

	// mu is held by Write and Commit, so that no window is put into a feed that has ended.
	mu   sync.RWMutex
	live atomic.Pointer[generation]
}

// A generation is the outputs between two commits. It is immutable.
type generation struct {
	running []*running
	traces  []TraceWriter
}

// A running output is started, or is about to be.
type running struct {
	Configured
	dir    string
	output Output
	feed   *feed // nil for an output that takes no windows

	started chan struct{} // closed when the output was started
	ended   chan struct{} // closed when it was closed; of an output in Set.ending
}

// NewSet returns a Set without outputs.
func NewSet(env Env) *Set {
	if env.Log == nil {
		env.Log = slog.New(slog.DiscardHandler)
	}
	s := &Set{env: env, losses: map[string]*losses{}, ending: map[string]*running{}}
	s.live.Store(&generation{})
	return s
}

// A Change is a prepared configuration of a Set. It is committed or aborted.
type Change struct {
	set  *Set
	next *generation
	// fresh are the outputs of next that do not run yet, ended those that run and are not in next.
	fresh, ended []*running
}

// Prepare builds the outputs that a configuration asks for, but for those that
// run and are unchanged. Paths of the configuration start from dir. An error
// leaves everything as it was. A change that is prepared and not committed is
// aborted by the next Prepare and by Stop.
func (s *Set) Prepare(list []Configured, dir string) (*Change, error) {
	if s.pending != nil {
		s.pending.Abort()
	}
	old := s.live.Load()
	c := &Change{set: s, next: &generation{}}
	kept := map[*running]bool{}
	for _, want := range list {
		if !want.Config.Enabled() {
			continue
		}
		was := old.named(want.Kind.Name)
		if was != nil && was.Fingerprint == want.Fingerprint && was.dir == dir {
			kept[was] = true
			c.next.running = append(c.next.running, was)
			continue
		}
		fresh, err := s.open(want, dir, was)
		if err != nil {
			c.Abort()
			return nil, err
		}
		kept[was] = true // its successor ends it
		c.fresh = append(c.fresh, fresh)
		c.next.running = append(c.next.running, fresh)
	}
	for _, r := range c.next.running {
		if t, ok := r.output.(TraceWriter); ok && r.Kind.Takes&Traces != 0 {
			c.next.traces = append(c.next.traces, t)
		}
	}
	for _, r := range old.running {
		if !kept[r] {
			c.ended = append(c.ended, r)
		}
	}
	s.pending = c
	return c, nil
}

// open builds one output.
func (s *Set) open(want Configured, dir string, was *running) (*running, error) {
	env := s.env
	env.Dir, env.Guard = dir, want.Guard
	var old Output
	if was != nil {
		old = was.output
	}
	o, err := want.Config.Open(&env, old)
	if err != nil {
		return nil, fmt.Errorf("output %s: %w", want.Kind.Name, err)
	}
	r := &running{Configured: want, dir: dir, output: o, started: make(chan struct{}), ended: make(chan struct{})}
	if err := r.fits(); err != nil {
		return nil, errors.Join(err, o.Close(context.Background()))
	}
	if want.Kind.Takes&Windows != 0 {
		if s.losses[want.Kind.Name] == nil {
			s.losses[want.Kind.Name] = &losses{}
		}
		r.feed = newFeed(want.Kind.Name, env.Log, s.losses[want.Kind.Name])
	}
	return r, nil
}

// fits checks that the output takes what its kind says.
func (r *running) fits() error {
	_, windows := r.output.(WindowWriter)
	_, traces := r.output.(TraceWriter)
	if r.Kind.Takes&Windows != 0 && !windows || r.Kind.Takes&Traces != 0 && !traces {
		return fmt.Errorf("output %s: %T does not take what its kind says", r.Kind.Name, r.output)
	}
	return nil
}

func (g *generation) named(name string) *running {
	for _, r := range g.running {
		if r.Kind.Name == name {
			return r
		}
	}
	return nil
}

// Abort frees what was prepared; what runs goes on. It does nothing to a change
// that was committed or aborted.
func (c *Change) Abort() {
	for _, r := range c.fresh {
		if err := r.output.Close(context.Background()); err != nil {
			c.set.env.Log.Warn("close an output that was not started", "output", r.Kind.Name, "err", err)
		}
		if r.feed != nil {
			r.feed.cancel()
		}
	}
	c.done()
}

// done makes further calls do nothing.
func (c *Change) done() {
	c.fresh, c.ended, c.next = nil, nil, nil
	if c.set.pending == c {
		c.set.pending = nil
	}
}

// Commit changes to the prepared outputs: windows and traces go to them from
// then on, those that are replaced or not wanted deliver what they hold, for a
// bounded time, and the new ones start. Nobody waits for those that are not
// wanted, whose disk or receiver may hang, but a later output of the same name:
// it starts when they have ended, since it may have their files.
func (c *Change) Commit() {
	if c.next == nil {
		return
	}
	s := c.set
	s.mu.Lock()
	old := s.live.Swap(c.next)
	s.mu.Unlock()
	for _, r := range c.fresh {
		was := old.named(r.Kind.Name)
		switch before := s.ending[r.Kind.Name]; {
		case was != nil:
			r.startAfter(was.started, was.feed)
		case before != nil:
			r.startAfter(before.ended, nil)
			delete(s.ending, r.Kind.Name)
		default:
			r.startAfter(nil, nil)
		}
	}
	for _, r := range c.ended {
		s.ending[r.Kind.Name] = r
		go func() {
			defer close(r.ended)
			<-r.started
			s.closeWithin(drainWait, r)
			if l, ok := r.output.(Lingering); ok {
				<-l.Released()
			}
		}()
	}
	c.done()
}

// startAfter starts the output when something has happened, nil for nothing, and the windows of
// the output before it are written, nil for none. Where it did not happen yet nobody waits for it.
func (r *running) startAfter(happened <-chan struct{}, before *feed) {
	start := func() {
		if before != nil {
			ctx, cancel := context.WithTimeout(context.Background(), drainWait)
			defer cancel()
			before.end(ctx)
		}
		r.start()
	}
	if happened == nil {
		start()
		return
	}
	select {
	case <-happened:
		start()
	default:
		go func() {
			<-happened
			start()
		}()
	}
}

func (r *running) start() {
	r.output.Start()
	if r.feed != nil {
		go r.feed.run(r.output.(WindowWriter))
	}
	close(r.started)
}

// close ends an output that was started.
func (s *Set) close(ctx context.Context, r *running) {
	if r.feed != nil {
		r.feed.end(ctx)
	}
	if err := r.output.Close(ctx); err != nil {
		s.env.Log.Warn("close output", "output", r.Kind.Name, "err", err)
	}
}

// closeWithin ends an output that was started, which has so much time to deliver what it holds.
func (s *Set) closeWithin(d time.Duration, r *running) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	s.close(ctx, r)
}

// Stop ends all outputs, which deliver what they hold until ctx ends, and waits so
// long for those that are ending already. Those that take snapshots end last: their
// last one has what the others counted.
func (s *Set) Stop(ctx context.Context) error {
	if s.pending != nil {
		s.pending.Abort()
	}
	s.mu.Lock()
	old := s.live.Swap(&generation{})
	s.mu.Unlock()
	rank := func(r *running) int { return int(r.Kind.Takes & Snapshots) }
	for _, r := range slices.SortedStableFunc(slices.Values(old.running), func(a, b *running) int { return rank(a) - rank(b) }) {
		select {
		case <-r.started:
			s.close(ctx, r)
		case <-ctx.Done():
			s.env.Log.Warn("an output was not started before its end: one of its name still ends", "output", r.Kind.Name)
			go func() {
				<-r.started
				s.closeWithin(drainWait, r)
			}()
		}
	}
	for _, r := range s.ending { // what waits for others of its name is among those above
		select {
		case <-r.ended:
		case <-ctx.Done():
		}
	}
	return nil
}

// Write hands a window to the outputs that take windows. It never blocks.
func (s *Set) Write(w *load.Window) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, r := range s.live.Load().running {
		if r.feed != nil {
			r.feed.put(w)
		}
	}
}

// Collect sends the metrics of the outputs.
func (s *Set) Collect(send metric.Send, ch chan<- prometheus.Metric) {
	for _, r := range s.live.Load().running {
		r.output.Collect(send, ch)
		if r.feed != nil {
			r.feed.lost.collect(send, r.Kind.Name)
		}
	}
}

// Traces reports whether an output takes traces.
func (s *Set) Traces() bool { return len(s.live.Load().traces) > 0 }

// RunEnded hands a run as a whole to the outputs that take traces.
func (s *Set) RunEnded(r RunSpan) {
	for _, t := range s.live.Load().traces {
		t.RunEnded(r)
	}
}

// A RunTracer hands the traces of one run to the outputs that take traces, over
// reloads too. Its methods are safe for many goroutines.
type RunTracer struct {
	set *Set

	mu  sync.Mutex // held while tracers is replaced
	run *Run
	now atomic.Pointer[tracers]
}

// tracers are those of a run in one generation of outputs.
type tracers struct {
	of   *generation
	list []Tracer
}

// Tracer returns the tracer of a run.
func (s *Set) Tracer(r Run) *RunTracer {
	t := &RunTracer{set: s}
	t.Rename(r)
	return t
}

// Rename gives the run another identity.
func (t *RunTracer) Rename(r Run) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.run = &r
	t.make(t.set.live.Load())
}

func (t *RunTracer) make(of *generation) *tracers {
	now := &tracers{of: of}
	for _, w := range of.traces {
		now.list = append(now.list, w.Tracer(t.run))
	}
	t.now.Store(now)
	return now
}

// current returns the tracers of the outputs that run.
func (t *RunTracer) current() []Tracer {
	now, live := t.now.Load(), t.set.live.Load()
	if now.of == live {
		return now.list
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if live = t.set.live.Load(); t.now.Load().of != live {
		return t.make(live).list
	}
	return t.now.Load().list
}

// Sampled reports whether an output wants the target to trace an iteration too.
func (t *RunTracer) Sampled(id load.TraceID) bool {
	for _, one := range t.current() {
		if one.Sampled(id) {
			return true
		}
	}
	return false
}

// Trace hands an iteration that ended to the outputs.
func (t *RunTracer) Trace(trace *load.Trace) {
	for _, one := range t.current() {
		one.Trace(trace)
	}
}
