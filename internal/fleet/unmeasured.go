package fleet

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/flow"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

// An unmeasured counts what a scenario does beside its flow: setup, teardown and
// cleanup. Its counts outlast runs.
type unmeasured struct {
	mu            sync.Mutex
	steps         []*unmeasuredStep
	of            map[*flow.Program]int // where the steps of a program begin
	cleans        bool
	pending, lost uint64
}

type unmeasuredStep struct {
	part, label string
	requests    uint64
	failures    [load.NumCauses]uint64
}

func newUnmeasured(p *flow.Program) *unmeasured {
	u := &unmeasured{of: map[*flow.Program]int{}, cleans: p.CleanUps != nil}
	parts := p.Parts()
	for _, part := range []string{flow.SetUp, flow.TearDown, flow.CleanUp} {
		for _, program := range parts[part] {
			u.of[program] = len(u.steps)
			for _, step := range program.Steps {
				u.steps = append(u.steps, &unmeasuredStep{part: part, label: step.Label})
			}
		}
	}
	return u
}

// add counts a result of a program.
func (u *unmeasured) add(p *flow.Program, r *load.Result) {
	if p.Steps[r.Step].Group {
		return // its steps are counted
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.steps[u.of[p]+r.Step]
	s.requests += 1 + uint64(r.Retries)
	if r.Cause != load.None {
		s.failures[r.Cause]++
	}
}

func (u *unmeasured) collect(send analysis.Send, scenario string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, s := range u.steps {
		send(metric.UnmeasuredRequests, float64(s.requests), scenario, s.part, s.label)
		for cause, n := range s.failures {
			if n > 0 {
				send(metric.UnmeasuredFailures, float64(n), scenario, s.part, s.label, load.Cause(cause).String())
			}
		}
	}
	if u.cleans {
		send(metric.CleanUpsPending, float64(u.pending), scenario)
		send(metric.CleanUpsLost, float64(u.lost), scenario)
	}
}

// The bounds of what is done beside the flow.
const (
	setUpAttempts = 3                // of a run that has an end
	longestWait   = time.Minute      // between two attempts
	tearDownIn    = 30 * time.Second // after the load of a run and its cleanup
	mostRemnants  = 10_000           // that wait beyond what cleanup keeps
)

// An asideSink counts the results of one program.
type asideSink struct {
	run     *run
	program *flow.Program
}

func (s asideSink) Record(_ int, r *load.Result) { s.run.s.unmeasured.add(s.program, r) }

// aside returns a VU that performs a program beside the flow.
func (r *run) aside(p *flow.Program) *flow.VU { return p.NewVU(0, r.asideRuntime(p)) }

// asideRuntime returns what VUs share that perform a program beside the flow.
func (r *run) asideRuntime(p *flow.Program) *flow.Runtime {
	return &flow.Runtime{
		Sink: asideSink{r, p}, Env: r.env, Limiter: r.limiter, Now: r.engine.Now,
		Seed: r.vus.Seed, Shard: r.vus.Shard, Shards: r.vus.Shards, Given: r.vus.Given, Failed: r.failed,
	}
}

// errPaused is why teardown is not performed.
var errPaused = errors.New("all load is paused")

// errStep is why a program was not performed to its end.
var errStep = errors.New("a step failed: the scenario's failures say which")

// perform performs a program once. After an error the VU is of no further use.
func perform(ctx context.Context, v *flow.VU, of *flow.Remnant) error {
	switch v.Perform(ctx, of) {
	case load.Completed:
		return nil
	case load.Interrupted:
		return context.Cause(ctx)
	}
	return errStep
}

// lookForPause is how often what is done beside the flow looks whether the pause has ended.
const lookForPause = 200 * time.Millisecond

// awaitLoad waits while all load is paused, and reports whether ctx goes on. What is done beside the flow sends
// requests too, and none begins during a pause.
func (r *run) awaitLoad(ctx context.Context) bool {
	for r.s.paused() {
		select {
		case <-time.After(lookForPause):
		case <-ctx.Done():
			return false
		}
	}
	return ctx.Err() == nil
}

// prepare performs setup until it succeeds. A run that has an end is over after some attempts, one without makes
// another each minute. Then load begins with the variables that setup set.
func (r *run) prepare(ctx context.Context) {
	p := r.s.cfg.Program.SetUp
	if p == nil {
		return
	}
	r.unstarted.Store(true)
	wait := time.Second
	for attempt := 1; ; attempt++ {
		if !r.awaitLoad(ctx) || !r.s.awaitCredentials(ctx) {
			return
		}
		v := r.aside(p)
		err := perform(ctx, v, nil)
		v.Close()
		if err == nil {
			r.vus.Given = v.Given()
			r.unstarted.Store(false)
			return
		}
		if ctx.Err() != nil {
			return
		}
		r.s.log.Warn("setup failed: no load is made", "attempt", attempt, "err", err)
		if r.ends && attempt == setUpAttempts {
			r.cancel()
			return
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		wait = min(2*wait, longestWait)
	}
}

// conclude removes what iterations left, and performs teardown where setup succeeded or there is none.
func (r *run) conclude() {
	p := r.s.cfg.Program.TearDown
	if r.cleaner == nil && p == nil {
		return
	}
	if r.cleaner != nil {
		ctx, cancel := context.WithTimeout(r.killed, r.s.cfg.Program.CleanUpWithin)
		r.cleaner.finish(ctx)
		cancel()
	}
	if p == nil || r.unstarted.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(r.killed, tearDownIn)
	defer cancel()
	v := r.aside(p)
	defer v.Close()
	err := errPaused
	if r.awaitLoad(ctx) {
		err = perform(ctx, v, nil)
	}
	if err != nil {
		r.s.log.Warn("teardown failed", "err", err)
	}
}

// A cleaner removes what iterations of a run created, beside its load.
type cleaner struct {
	run    *run
	ctx    context.Context // of the removals under way
	cancel context.CancelFunc
	done   sync.WaitGroup // of the goroutines that remove

	mu       sync.Mutex
	remnants []flow.Remnant // the oldest first
	removing int            // goroutines
	all      bool           // what is kept is removed too
	removers map[*flow.Program]*removers
}

// removers are the VUs of a program that removes.
type removers struct {
	rt   *flow.Runtime
	made int
	idle []*flow.VU
}

func newCleaner(r *run) *cleaner {
	c := &cleaner{run: r, removers: map[*flow.Program]*removers{}}
	c.ctx, c.cancel = context.WithCancel(r.killed)
	return c
}

// left takes what an iteration left. It does not block.
func (c *cleaner) left(x flow.Remnant) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.remnants) >= x.Keep+mostRemnants {
		c.run.s.unmeasured.leave(0, 1)
		return
	}
	c.remnants = append(c.remnants, x)
	c.run.s.unmeasured.leave(1, 0)
	c.begin()
}

// begin lends the oldest of what is to be removed a goroutine, if fewer than its limit have one. The caller holds mu.
func (c *cleaner) begin() {
	if c.due() && c.removing < c.remnants[0].Limit {
		c.removing++
		c.done.Go(c.work)
	}
}

// due reports whether the oldest remnant is to be removed. The caller holds mu.
func (c *cleaner) due() bool {
	return len(c.remnants) > 0 && (c.all || len(c.remnants) > c.remnants[0].Keep)
}

// leave counts what waits and what is lost.
func (u *unmeasured) leave(pending int, lost uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.pending += uint64(pending)
	u.lost += lost
}

// next takes the oldest remnant, if it is to be removed and fewer goroutines than its limit remove others.
func (c *cleaner) next() (x flow.Remnant, v *flow.VU, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil || !c.due() || c.removing > c.remnants[0].Limit {
		c.removing--
		return x, nil, false
	}
	x = c.remnants[0]
	c.remnants[0] = flow.Remnant{}
	c.remnants = c.remnants[1:]
	c.run.s.unmeasured.leave(-1, 0)
	by := c.removers[x.Program]
	if by == nil {
		by = &removers{rt: c.run.asideRuntime(x.Program)}
		c.removers[x.Program] = by
	}
	if n := len(by.idle); n > 0 {
		v, by.idle = by.idle[n-1], by.idle[:n-1]
	} else {
		v = x.Program.NewVU(by.made, by.rt)
		by.made++
	}
	c.begin()
	return x, v, true
}

// work removes what is to be removed. The caller has counted it in removing.
func (c *cleaner) work() {
	for {
		c.run.awaitLoad(c.ctx)
		x, v, ok := c.next()
		if !ok {
			return
		}
		if err := perform(c.ctx, v, &x); err != nil {
			c.run.s.unmeasured.leave(0, 1)
		}
		if c.ctx.Err() != nil { // the VU was interrupted
			v.Close()
			continue
		}
		c.mu.Lock()
		by := c.removers[x.Program]
		by.idle = append(by.idle, v)
		c.mu.Unlock()
	}
}

// finish removes all that is left, until ctx ends: the rest is lost. Nothing is left any more when it is called.
func (c *cleaner) finish(ctx context.Context) {
	defer context.AfterFunc(ctx, c.cancel)()
	c.mu.Lock()
	c.all = true
	c.begin()
	c.mu.Unlock()
	c.done.Wait()
	c.cancel()
	c.run.s.unmeasured.leave(-len(c.remnants), uint64(len(c.remnants)))
	for _, by := range c.removers {
		for _, v := range by.idle {
			v.Close()
		}
	}
}
