package engine

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/pace"
)

const (
	ms = time.Millisecond
	s  = time.Second
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// every is an open plan with an arrival each gap.
type every struct{ gap, end time.Duration }

func (p every) At(t time.Duration) pace.Level {
	if t >= p.end {
		return pace.Level{Until: pace.Forever}
	}
	return pace.Level{Rate: float64(time.Second) / float64(p.gap), Until: p.end}
}

func (p every) End() pace.End { return pace.End{Time: p.end} }

func (p every) Count(from, to time.Duration) float64 { return float64(to-from) / float64(p.gap) }

func (p every) Arrivals(from time.Duration, shard, of int) iter.Seq[time.Duration] {
	return func(yield func(time.Duration) bool) {
		k := (from + p.gap - 1) / p.gap
		for ; k*p.gap < p.end; k++ {
			if int(k)%of == shard && !yield(k*p.gap) {
				return
			}
		}
	}
}

// steps is a closed plan whose number of VUs changes at given times. The last step is its end.
type steps []step

type step struct {
	at  time.Duration
	vus int
}

func (p steps) At(t time.Duration) pace.Level {
	if t < 0 {
		return pace.Level{}
	}
	l := pace.Level{Until: pace.Forever}
	for _, s := range p {
		if s.at > t {
			l.Until = s.at
			break
		}
		l.VUs = s.vus
		l.Stage++
	}
	return l
}

func (p steps) End() pace.End { return pace.End{} }

// bounded is a closed plan with bounds on iterations.
type bounded struct {
	steps
	total, perVU uint64
}

func (p bounded) End() pace.End { return pace.End{Total: p.total, PerVU: p.perVU} }

// An act is a part of an iteration of a fake VU: a request that takes the time ask,
// then a pause of the time think.
type act struct{ ask, think time.Duration }

// A fake is a VU that performs acts and checks that the engine keeps the contract of VU.
type fake struct {
	t    testing.TB
	run  *run
	acts []act

	at     int
	begun  bool
	wake   time.Duration
	using  atomic.Bool // by Begin, Go or Close
	cancel context.CancelCauseFunc
	ctx    context.Context
	closed atomic.Bool
}

func (f *fake) use() func() {
	if !f.using.CompareAndSwap(false, true) {
		f.t.Error("two goroutines use one VU at once")
	}
	if f.closed.Load() {
		f.t.Error("a VU is used after Close")
	}
	return func() { f.using.Store(false) }
}

func (f *fake) Begin(due time.Duration) bool {
	defer f.use()()
	if f.run.left != nil && f.run.left.Add(-1) < 0 {
		return false
	}
	if f.begun {
		f.t.Error("Begin in mid-iteration")
	}
	if now := f.run.engine.Now(); due > now {
		f.t.Errorf("Begin(%v) at %v, before it is due", due, now)
	}
	f.begun, f.at = true, 0
	return true
}

func (f *fake) Go() (time.Duration, bool) {
	defer f.use()()
	now := f.run.engine.Now()
	if !f.begun {
		f.t.Error("Go without Begin")
	}
	if f.at > 0 && now < f.wake {
		f.t.Errorf("woken at %v, before %v", now, f.wake)
	}
	for f.at < len(f.acts) && f.ctx.Err() == nil {
		a := f.acts[f.at]
		f.at++
		if a.ask > 0 {
			t := time.NewTimer(a.ask)
			select {
			case <-t.C:
			case <-f.ctx.Done():
				t.Stop()
			}
		}
		if a.think > 0 && f.ctx.Err() == nil {
			f.wake = f.run.engine.Now() + a.think
			return f.wake, false
		}
	}
	f.begun = false
	return 0, true
}

func (f *fake) Interrupt() {
	if f.closed.Load() {
		f.t.Error("Interrupt after Close")
	}
	f.cancel(errors.New("interrupted"))
}

func (f *fake) Close() {
	defer f.use()()
	f.cancel(nil)
	f.closed.Store(true)
	f.run.open.Add(-1)
}

// A run is an engine with fake VUs, and a sink that records what it reports.
type run struct {
	t      testing.TB
	engine *Engine
	open   atomic.Int64 // VUs that were made and not closed
	made   atomic.Int64
	acts   func(id int) []act
	left   *atomic.Int64 // iterations that there is something to do for; nil for all

	mu         sync.Mutex
	started    int
	iterations []load.Iteration
	dropped    [load.NumReasons]uint64
}

// newRun builds an engine for a plan; change may alter its options.
func newRun(t testing.TB, plan pace.Plan, acts []act, change func(*Options)) *run {
	t.Helper()
	r := &run{t: t, acts: func(int) []act { return acts }}
	o := Options{
		Plan: plan, NewVU: r.newVU, Sink: r, Start: time.Now(), MaxVUs: 100,
		GracefulStop: 30 * s, GracefulRampDown: 30 * s,
	}
	if change != nil {
		change(&o)
	}
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	r.engine = e
	return r
}

func (r *run) newVU(id int) (VU, error) {
	r.open.Add(1)
	r.made.Add(1)
	ctx, cancel := context.WithCancelCause(context.Background())
	return &fake{t: r.t, run: r, acts: r.acts(id), ctx: ctx, cancel: cancel}, nil
}

func (r *run) Started(int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.started++
}

func (r *run) Iteration(it *load.Iteration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.iterations = append(r.iterations, *it)
}

func (r *run) Drop(why load.Reason, n uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dropped[why] += n
}

// do runs the engine to its end and checks what holds after every run.
func (r *run) do(ctx context.Context) Outcome {
	r.t.Helper()
	outcome := r.engine.Run(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := r.open.Load(); n != 0 {
		r.t.Errorf("%d VUs are open after Run", n)
	}
	if r.started != len(r.iterations) {
		r.t.Errorf("%d iterations started, %d ended", r.started, len(r.iterations))
	}
	st := r.engine.Stats()
	if st.VUs != 0 || st.Busy != 0 || st.Thinking != 0 || st.Started != uint64(r.started) || st.Dropped != r.dropped {
		r.t.Errorf("Stats after Run = %+v, want no VUs, %d started, dropped %v", st, r.started, r.dropped)
	}
	for _, it := range r.iterations {
		if it.Due > it.Start || it.Start > it.End {
			r.t.Errorf("times of an iteration are out of order: %+v", it)
		}
	}
	slices.SortFunc(r.iterations, func(a, b load.Iteration) int {
		return cmp.Or(cmp.Compare(a.Due, b.Due), cmp.Compare(a.VU, b.VU))
	})
	return outcome
}

// A span is an iteration without its identity.
type span struct {
	due, end time.Duration
	outcome  load.Outcome
}

func (r *run) spans() []span {
	var out []span
	for _, it := range r.iterations {
		out = append(out, span{time.Duration(it.Due), time.Duration(it.End), it.Outcome})
	}
	slices.SortFunc(out, func(a, b span) int { return cmp.Or(cmp.Compare(a.due, b.due), cmp.Compare(a.end, b.end)) })
	return out
}

// starts are the times at which iterations started.
func (r *run) starts() []time.Duration {
	var out []time.Duration
	for _, it := range r.iterations {
		out = append(out, time.Duration(it.Start))
	}
	slices.Sort(out)
	return out
}

// from lists n times with a gap between them.
func from(first, gap time.Duration, n int) []time.Duration {
	var out []time.Duration
	for i := range n {
		out = append(out, first+time.Duration(i)*gap)
	}
	return out
}

func drops(counts map[load.Reason]uint64) (d [load.NumReasons]uint64) {
	for why, n := range counts {
		d[why] = n
	}
	return d
}
