package flow

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/load"
)

// branches are what a VU needs for its parallels: the VUs that perform them, which
// keep their sessions from one to the next.
type branches struct {
	tracing *sync.Mutex   // guards the iteration's trace, which all branches within one another share
	stop    chan struct{} // closed by Interrupt
	mu      sync.Mutex    // guards all that follows
	stopped bool
	all     []*VU
}

func newBranches(tracing *sync.Mutex) *branches {
	return &branches{tracing: tracing, stop: make(chan struct{})}
}

// fork performs the branches of a parallel at once and returns when all have ended. No goroutine outlives it.
func (v *VU) fork(o *op) {
	f := o.fork
	n, items := len(f.branches), []expr.Value(nil)
	if f.count != nil || f.each != nil {
		var err error
		if n, items, err = passes(&v.scope, f.count, f.each, f.atMost); err != nil {
			v.fault(load.Extract, fmt.Errorf("parallel: %w", err))
			return
		}
	}
	v.pc = o.to
	if n == 0 {
		return
	}
	lanes := v.lanes(min(n, f.limit))
	seed := v.rand.Uint64()
	first := v.first
	v.first = false
	var next atomic.Int64
	var halt atomic.Bool // a branch stopped the iteration: no other begins
	var join sync.WaitGroup
	ends := make([]ended, n)
	work := func(lane *VU) {
		for i := int(next.Add(1)) - 1; i < n && !halt.Load(); i = int(next.Add(1)) - 1 {
			b := f.branches[min(i, len(f.branches)-1)]
			lane.enter(v, b, seed, i)
			lane.first = first && i == 0
			if f.item >= 0 {
				lane.scope.Set(f.item, items[i])
			}
			if f.pass >= 0 {
				lane.scope.Set(f.pass, expr.Num(float64(i+1)))
			}
			lane.complete()
			ends[i].of(lane, b.sets)
			if lane.outcome != load.Completed || lane.quit {
				halt.Store(true)
			}
		}
	}
	for _, lane := range lanes[1:] {
		join.Go(func() { work(lane) })
	}
	work(lanes[0])
	join.Wait()
	v.join(f, ends)
}

// ended is how a branch ended.
type ended struct {
	began   bool
	due     time.Duration
	idle    time.Duration
	failure load.Cause
	outcome load.Outcome
	quit    bool
	values  []expr.Value // of the slots that the branch sets
}

func (e *ended) of(lane *VU, sets []int) {
	*e = ended{true, lane.due, lane.inner.idle, lane.failure, lane.outcome, lane.quit, nil}
	for _, slot := range sets {
		e.values = append(e.values, lane.scope.Get(slot))
	}
}

// join takes over how the branches ended, in their order: the variables that they set, and when the last one ended.
func (v *VU) join(f *fork, ends []ended) {
	stopped, interrupted := false, false
	last := &ended{due: v.due, idle: v.inner.idle}
	for i := range ends {
		e := &ends[i]
		if !e.began {
			continue
		}
		if e.due > last.due {
			last = e
		}
		if v.failure == load.None {
			v.failure = e.failure
		}
		stopped = stopped || e.outcome == load.Stopped
		interrupted = interrupted || e.outcome == load.Interrupted
		v.quit = v.quit || e.quit
		for j, slot := range f.branches[min(i, len(f.branches)-1)].sets {
			if len(e.values) > j {
				v.scope.Set(slot, e.values[j])
			}
		}
	}
	v.due, v.inner.idle = last.due, last.idle
	switch {
	case interrupted:
		v.interrupted()
	case stopped:
		v.stop()
	case v.quit:
		v.leaveGroups()
		v.pc = v.end
	}
}

// lanes returns n VUs for branches, making those that are missing.
func (v *VU) lanes(n int) []*VU {
	b := v.inner.branches.Load()
	if b == nil {
		b = newBranches(new(sync.Mutex))
		v.inner.branches.Store(b)
		if v.stopped.Load() { // Interrupt may have come before there was what to interrupt
			b.interrupt()
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.all) < n {
		lane := v.p.newVU(v.rt)
		lane.branch = true
		lane.inner.branches.Store(newBranches(b.tracing))
		for i := range lane.users {
			v.users[i].Branch(&lane.users[i])
		}
		lane.scope.VU = v.scope.VU
		lane.scope.Rand = &lane.users[0].Rand
		lane.rand = *rand.New(lane.scope.Rand)
		lane.common = v.common
		if b.stopped {
			lane.Interrupt()
		}
		b.all = append(b.all, lane)
	}
	return b.all[:n]
}

// enter makes a lane ready for pass i of a branch of v, whose variables it begins with.
func (v *VU) enter(of *VU, b branch, seed uint64, i int) {
	if v.scope.Iteration != of.scope.Iteration {
		v.scope.Iteration = of.scope.Iteration
		for j := range v.users {
			v.users[j].Begin()
		}
	}
	v.pc, v.end = b.from, b.to
	v.due, v.inner.idle, v.wait = of.due, of.inner.idle, 0
	v.token, v.turn = false, false
	v.outcome, v.failure, v.quit = load.Completed, load.None, false
	v.inner.open, v.inner.attempts = v.inner.open[:0], attempts{}
	v.scope.Take(&of.scope)
	v.scope.Rand.Seed(seed, uint64(i))
	v.paired, v.takes = seed+uint64(i)*golden, 0
	v.traceID, v.sampled, v.trace = of.traceID, of.sampled, of.trace
}

// complete performs a branch to its end.
func (v *VU) complete() {
	for {
		wake, done := v.Go()
		if done {
			v.Rest()
			return
		}
		timer := time.NewTimer(wake - v.rt.Now())
		select {
		case <-timer.C:
		case <-v.inner.branches.Load().stop:
			timer.Stop()
		}
	}
}

// interrupt interrupts all branches.
func (b *branches) interrupt() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped {
		return
	}
	b.stopped = true
	close(b.stop)
	for _, lane := range b.all {
		lane.Interrupt()
	}
}

// close closes the sessions of all branches.
func (b *branches) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, lane := range b.all {
		lane.Close()
	}
}
