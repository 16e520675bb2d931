package flow

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/feeder"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
)

// A Sink takes the result of each request. It must not keep the pointer.
type Sink interface {
	Record(vu int, r *load.Result)
}

// A Limiter deals out the tokens of a target's request rate.
type Limiter interface {
	// Take takes a token and returns how long the caller must wait before it sends. Where it has none to give,
	// the caller asks again after the wait, and says that it is its turn.
	Take(now time.Duration, turn bool) (wait time.Duration, ok bool)
	// Admitted returns how long an iteration waits for the token that was taken for it when it was admitted.
	Admitted(now time.Duration) (wait time.Duration)
}

// A Runtime is what the VUs of one run share. Its exported fields must not be
// changed once a VU uses it.
type Runtime struct {
	Sink Sink
	// Env returns a target's environment, which all VUs share. It is asked once for each target.
	Env func(target string) *protocol.Env
	// Limiter returns a target's limiter, nil for none; nil limits nothing.
	Limiter func(target string) Limiter
	// Admitted says that the caller of Begin has taken the token of the iteration's first request, from the limiter
	// of the first step's target.
	Admitted bool
	// Now returns the time since the engine's zero.
	Now func() time.Duration
	// Seed seeds the random sources of all VUs, each with its number.
	Seed uint64
	// Shard is the number of this instance among Shards, from 0. A VU's number
	// among those of all shards is its ID × Shards + Shard.
	Shard, Shards int
	// Given are the variables that setup set.
	Given Given
	// Pair makes the iterations those of another run with the same Seed; nil for a run by itself. Where turns are
	// arrivals, Arrival tells them apart: it returns the same of a due time in both runs. It is nil in closed models,
	// where the n-th iteration of the one run is made like the n-th of the other.
	Pair    *Pair
	Arrival func(due time.Duration) uint64
	// Left takes what an iteration created and leaves to be removed; nil forgets it.
	Left func(Remnant)
	// Traces takes the trace of each iteration that ended; nil for none.
	Traces Tracer
	// Messages takes what happens on streams; nil forgets it.
	Messages protocol.MessageSink
	// Metrics takes the values of the program's metrics, nil forgets them.
	Metrics MetricSink
	// Failed is called with each failed request and the reason; nil for nobody.
	Failed func(step string, target string, r *load.Result, why error)

	mu      sync.Mutex
	dealers map[*feeder.Feeder]*feeder.Dealer
	common  map[*Program]*common
	spent   atomic.Bool   // a feeder has no more rows: no iteration begins
	begun   atomic.Uint64 // iterations of a closed model with a Pair

	calls  sync.Pool // of *protocol.Call, lent to a VU for one Go
	labels sync.Pool // of *[]byte, lent for one value of a metric with labels
	traces sync.Pool // of *load.Trace, lent to a VU for an iteration
}

// A Tracer takes the traces of iterations. Its methods are called concurrently.
type Tracer interface {
	// Sampled decides, when an iteration begins, whether its requests ask the target to trace them too.
	Sampled(load.TraceID) bool
	// Trace takes the trace of an iteration that ended. The caller uses it again after the call.
	Trace(*load.Trace)
}

// A VU performs iterations of a Program, one at a time. Only Interrupt may be
// called concurrently with another method.
type VU struct {
	p  *Program
	rt *Runtime

	scope expr.Scope
	rand  rand.Rand     // over the scope's source
	users []protocol.VU // one for each target; never appended to, because sessions point to them
	pc    int
	end   int           // of the code that it performs: the program's, or a branch's
	due   time.Duration // of the next request
	wait  time.Duration // for the next request's token, which is taken
	token bool          // the next request's token is taken
	turn  bool          // it waits for its turn to ask for it
	first bool          // it was taken when the iteration was admitted

	lasting *lasting // nil before the first

	inner   *state     // of the program's constructs; nil where it has none
	branch  bool       // of another VU
	quit    bool       // stop_iteration was reached
	failure load.Cause // of the first request that failed since the innermost group began
	noRow   error      // why the iteration that begins has no row
	paired  uint64     // what the iteration, or branch, is to a Pair
	takes   uint32     // rows that it has taken

	outcome load.Outcome
	traceID load.TraceID
	sampled bool
	trace   *load.Trace // of the iteration under way; nil without a tracer
	stopped atomic.Bool
	common  *common
}

// A common is what all VUs of a program have in common, so that none has memory of its own for it.
type common struct {
	envs     []*protocol.Env  // by target
	limiters []Limiter        // by target; nil where there is none at all
	dealers  []*feeder.Dealer // by feed
}

// commonOf returns what all VUs of a program have in common.
func (rt *Runtime) commonOf(p *Program) *common {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if c := rt.common[p]; c != nil {
		return c
	}
	c := &common{}
	for i, target := range p.targets {
		c.envs = append(c.envs, rt.Env(target))
		if rt.Limiter != nil {
			if l := rt.Limiter(target); l != nil {
				if c.limiters == nil {
					c.limiters = make([]Limiter, len(p.targets))
				}
				c.limiters[i] = l
			}
		}
	}
	for _, f := range p.feeds {
		c.dealers = append(c.dealers, rt.dealer(f.from))
	}
	if rt.common == nil {
		rt.common = map[*Program]*common{}
	}
	rt.common[p] = c
	return c
}

// newVU returns a VU with its states.
func (p *Program) newVU(rt *Runtime) *VU {
	v := &VU{p: p, rt: rt, end: len(p.code), users: make([]protocol.VU, len(p.targets))}
	if p.constructs {
		v.inner = &state{}
		v.inner.loops, v.inner.groups, v.inner.once = make([]loopState, p.loops), make([]groupState, len(p.groupSteps)), make([]bool, p.onces)
	}
	return v
}

// NewVU returns virtual user number id of the program. It opens nothing.
func (p *Program) NewVU(id int, rt *Runtime) *VU {
	v := p.newVU(rt)
	v.common = rt.commonOf(p)
	for i, env := range v.common.envs {
		v.users[i].ID, v.users[i].Env = id, env
	}
	v.scope.VU = v.global()
	v.scope.Rand = &v.users[0].Rand
	v.scope.Rand.Seed(rt.seed(), uint64(v.global()))
	v.rand = *rand.New(v.scope.Rand)
	return v
}

// seed returns the first word of the seeds of random sources.
func (rt *Runtime) seed() uint64 {
	h := fnv.New64a()
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], rt.Seed)
	h.Write(b[:])
	return h.Sum64()
}

// global returns the VU's number among those of all shards.
func (v *VU) global() int { return v.users[0].ID*max(1, v.rt.Shards) + v.rt.Shard }

// Begin starts an iteration that was due at the given time. It returns false where
// the flow has nothing left to do, because the rows of a feeder have come to their
// end; no iteration starts then.
func (v *VU) Begin(due time.Duration) bool {
	if v.rt.spent.Load() {
		return false
	}
	v.pc, v.end, v.due, v.wait = 0, len(v.p.code), due, 0
	v.token, v.turn, v.first = false, false, v.rt.Admitted
	v.outcome, v.failure, v.quit = load.Completed, load.None, false
	if s := v.inner; s != nil {
		s.begun, s.idle, s.paced, s.open = due, 0, false, s.open[:0]
	}
	v.scope.Reset(v.p.kept)
	for i := range v.users {
		v.users[i].Begin()
	}
	if v.rt.Pair != nil {
		v.pair(due)
	}
	for _, g := range v.rt.Given {
		v.scope.Set(g.slot, g.value)
	}
	if !v.dealEach() {
		return false
	}
	// Trace IDs must be unique, so that they come from the process's random source: the VU's own source begins
	// anew with each VU of the same number. Ratio samplers do not read the one bit that is not random.
	binary.BigEndian.PutUint64(v.traceID[:8], rand.Uint64())
	binary.BigEndian.PutUint64(v.traceID[8:], rand.Uint64()|1) // a trace id of zeros is invalid
	v.scope.Iteration++
	if v.rt.Traces != nil {
		v.beginTrace(due)
	}
	return true
}

func (v *VU) beginTrace(due time.Duration) {
	if v.trace == nil {
		if v.trace, _ = v.rt.traces.Get().(*load.Trace); v.trace == nil {
			v.trace = new(load.Trace)
		}
	}
	v.sampled = v.rt.Traces.Sampled(v.traceID)
	v.trace.Reset(load.Iteration{
		VU: v.users[0].ID, Due: int64(due), Start: int64(due), Trace: v.traceID, Sampled: v.sampled,
	})
}

// endTrace passes the trace of an iteration that ended to the tracer. The
// iteration's end is that of its last request or think time, so that the clock is
// not read again.
func (v *VU) endTrace() {
	if v.trace == nil {
		return
	}
	v.trace.End, v.trace.Outcome = max(v.trace.Start, int64(v.due)), v.outcome
	v.rt.Traces.Trace(v.trace)
	v.rt.traces.Put(v.trace)
	v.trace = nil
}

// Outcome returns how the last iteration ended, and its trace ID. One that was cut off is
// interrupted, unless only the rest of its pace was waited for.
func (v *VU) Outcome(cutOff bool) (load.Outcome, load.TraceID) {
	if cutOff && (v.inner == nil || !v.inner.paced) {
		return load.Interrupted, v.traceID
	}
	return v.outcome, v.traceID
}

// Interrupt makes Go return soon. After it the VU is usable only for Close.
func (v *VU) Interrupt() {
	v.stopped.Store(true)
	for i := range v.users {
		v.users[i].Interrupt()
	}
	if v.inner != nil {
		if b := v.inner.branches.Load(); b != nil {
			b.interrupt()
		}
	}
}

// Close closes the sessions of the VU. A request that waits for another attempt is cancelled.
func (v *VU) Close() {
	v.leave()
	if v.inner != nil {
		v.abandon()
		if b := v.inner.branches.Load(); b != nil {
			b.close()
		}
	}
	for i := range v.users {
		v.users[i].Close()
	}
}

// leave records a request that nobody goes on with any more.
func (v *VU) leave() {
	if v.lasting == nil || !v.lasting.on {
		return
	}
	v.lasting.on = false
	r := v.lasting.result
	r.Done, r.Cause = max(int64(v.rt.Now()), r.Sent), load.Canceled
	v.rt.Sink.Record(v.users[0].ID, &r)
}

// abandon records a request that waits for another attempt, which nobody makes any more.
func (v *VU) abandon() {
	a := v.inner.attempts
	if a.made == 0 {
		return
	}
	v.inner.attempts = attempts{}
	v.rt.Sink.Record(v.users[0].ID, &load.Result{
		Step: v.p.code[v.pc].n, Due: int64(v.due), Sent: a.sent, Done: max(int64(v.rt.Now()), a.sent), Cause: load.Canceled,
		SentBytes: a.bytes, ReceivedBytes: a.receive, Retries: a.made - 1, Trace: v.traceID, Sampled: v.sampled,
	})
}

// Go performs the iteration until the VU thinks, waits for a token or is done. It
// returns the time at which it is to be called again. It blocks in requests only.
func (v *VU) Go() (wake time.Duration, done bool) {
	var call *protocol.Call
	defer func() {
		if p := recover(); p != nil {
			v.panicked(p, call)
			wake, done, call = 0, true, nil
		}
		if call != nil {
			call.VU, call.Scope, call.Keep, call.Response, call.Err, call.Address = nil, nil, nil, nil, nil, nil
			call.Messages = nil
			v.rt.calls.Put(call)
		}
		if !done {
			v.Rest()
		} else if !v.branch {
			v.endTrace()
		}
	}()
	if v.noRow != nil {
		v.withoutRow(v.noRow)
		return 0, true
	}
	for v.pc < v.end {
		if v.stopped.Load() {
			v.interrupted()
			return 0, true
		}
		op := &v.p.code[v.pc]
		if op.code != opRequest {
			v.pc++
			if wake := v.perform(op); wake > 0 {
				return wake, false
			}
			continue
		}
		if wait := v.take(op.step); wait > 0 {
			return v.rt.Now() + wait, false
		}
		if call == nil {
			if call, _ = v.rt.calls.Get().(*protocol.Call); call == nil {
				call = new(protocol.Call)
			}
			call.Scope = &v.scope
		}
		v.pc++
		if again := v.request(op.step, call); again > 0 {
			v.pc--
			return again, false
		}
	}
	if v.p.Pace > 0 && !v.branch && v.outcome != load.Interrupted && !v.inner.paced {
		v.inner.paced = true
		if wake := v.inner.begun + v.p.Pace; wake > v.rt.Now() {
			return wake, false
		}
	}
	return 0, true
}

// Rest has the VU's sessions attended until it goes on. A pause in mid-iteration is one; the caller of Go knows of a
// pause between iterations.
func (v *VU) Rest() {
	for i := range v.users {
		v.users[i].Rest()
	}
}

// stop ends the iteration early, as one that failed.
func (v *VU) stop() {
	v.outcome = load.Stopped
	if s := v.inner; s != nil {
		for len(s.open) > 0 {
			v.endGroup(s.open[len(s.open)-1])
		}
	}
	v.pc = v.end
}

// interrupted ends the iteration because perfd itself stops it.
func (v *VU) interrupted() {
	v.leave()
	if v.inner != nil {
		v.abandon()
	}
	v.outcome = load.Interrupted
	v.pc = v.end
}

// fault ends the iteration because of what no request is to blame for.
func (v *VU) fault(cause load.Cause, why error) {
	if v.failure == load.None {
		v.failure = cause
	}
	if v.rt.Failed != nil {
		step := v.p.near(v.pc - 1)
		v.rt.Failed(v.p.Steps[step].Label, v.p.targets[v.p.steps[step].target], &load.Result{
			Step: step, Due: int64(v.due), Sent: int64(v.due), Done: int64(v.due), Cause: cause, Trace: v.traceID, Sampled: v.sampled,
		}, why)
	}
	v.stop()
}

// panicked turns a fault of perfd into a failure of the request under way. The
// state of the call and of the sessions is unknown: the call is not used again,
// and the sessions of the request's target are closed.
func (v *VU) panicked(p any, call *protocol.Call) {
	v.outcome = load.Stopped
	if v.inner != nil {
		v.inner.attempts = attempts{} // this was the last
	}
	r := load.Result{
		Due: int64(v.due), Sent: int64(v.due), Done: int64(v.rt.Now()), Cause: load.Internal,
		Trace: v.traceID, Sampled: v.sampled,
	}
	step := &v.p.steps[0] // a panic between requests counts for the first step
	if o := &v.p.code[min(max(v.pc-1, 0), len(v.p.code)-1)]; call != nil && o.code == opRequest {
		step = o.step
	}
	r.Step = step.index
	r.Sent = min(r.Sent, r.Done)
	v.rt.Sink.Record(v.users[step.target].ID, &r)
	if v.rt.Failed != nil {
		v.rt.Failed(v.p.Steps[step.index].Label, v.p.targets[step.target], &r, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
	}
	v.users[step.target].Close()
}

// take takes the token of the next request unless it is taken, and returns how long to wait, for it or for another
// attempt. The wait of an iteration that was admitted is lateness, as any other time that perfd begins one late by.
func (v *VU) take(s *step) (wait time.Duration) {
	if v.token || v.common.limiters == nil || v.lasting != nil && v.lasting.on {
		return 0
	}
	if v.first {
		v.first = false
		if first := v.p.steps[0].target; s.target == first {
			v.token = true
			if l := v.common.limiters[first]; l != nil {
				wait = l.Admitted(v.rt.Now())
			}
			return wait
		}
		// The token was of another target: a branch of the flow begins elsewhere.
	}
	l := v.common.limiters[s.target]
	if l == nil {
		return 0
	}
	wait, v.token = l.Take(v.rt.Now(), v.turn)
	v.wait += wait
	v.turn = !v.token
	return wait
}

// A lasting is a request that its protocol goes on with later.
type lasting struct {
	on       bool // it is under way
	result   load.Result
	deadline time.Duration
}

// An attempts is what is known of a request that is attempted again.
type attempts struct {
	made           uint32
	sent           int64 // of the first
	bytes, receive int64
}

// request performs a step. Where it failed and is to be attempted again, it returns when; else it decides where the
// iteration goes on.
func (v *VU) request(s *step, call *protocol.Call) (again time.Duration) {
	user := &v.users[s.target]
	call.VU, call.Keep, call.Response, call.Err, call.Address = user, &s.keep, nil, nil, nil
	call.Messages, call.Again = v.rt.Messages, 0
	if l := v.lasting; l != nil && l.on {
		call.Result, call.Deadline, l.on = l.result, l.deadline, false
	} else {
		now := v.rt.Now()
		call.Result = load.Result{
			Step: s.index, Due: int64(v.due), Sent: int64(now), Done: int64(now), Waited: int64(v.wait), Trace: v.traceID, Sampled: v.sampled,
		}
		binary.LittleEndian.PutUint64(call.Result.Span[:], rand.Uint64()|1)
		call.Deadline = now + s.timeout
	}
	s.do.Do(call)
	r := &call.Result
	if call.Again > 0 {
		if v.lasting == nil {
			v.lasting = new(lasting)
		}
		*v.lasting = lasting{true, *r, call.Deadline}
		return call.Again
	}
	v.judge(s, call)
	if v.stopped.Load() && r.Cause != load.None {
		r.Cause = load.Canceled
	}
	v.token, v.first = false, false
	if v.trace != nil {
		v.addTrace(call)
	}
	if s.retry != nil {
		if again = v.retry(s, r); again > 0 {
			return again
		}
	}
	v.due, v.wait = time.Duration(r.Done), 0
	if len(s.adds) > 0 {
		if err := v.addAnswer(s, r, call.Response); err != nil && r.Cause == load.None {
			r.Cause, call.Err = load.Extract, err
		}
	}
	v.rt.Sink.Record(user.ID, r)
	switch r.Cause {
	case load.None:
		return 0
	case load.Canceled:
		v.interrupted()
		return 0
	}
	if v.failure == load.None {
		v.failure = r.Cause
	}
	if v.rt.Failed != nil {
		v.rt.Failed(v.p.Steps[s.index].Label, v.p.targets[s.target], r, call.Err)
	}
	if s.stop || len(s.extracts) > 0 { // later steps need the values
		v.stop()
	}
	return 0
}

// retry makes a result that of all attempts, and returns when there is to be another one, 0 for no more.
func (v *VU) retry(s *step, r *load.Result) (again time.Duration) {
	a := &v.inner.attempts
	if a.made > 0 {
		r.Sent = a.sent
	}
	a.sent = r.Sent
	a.bytes, a.receive = a.bytes+r.SentBytes, a.receive+r.ReceivedBytes
	r.SentBytes, r.ReceivedBytes, r.Retries = a.bytes, a.receive, a.made
	a.made++
	if r.Cause == load.None || r.Cause == load.Canceled || int(a.made) >= s.retry.Attempts {
		*a = attempts{}
		return 0
	}
	// Full jitter: virtual users that failed together do not come back together.
	jitter := v.rand.Int64N
	if v.rt.Pair != nil {
		jitter = rand.Int64N // what only one of two runs draws would shift its further choices
	}
	longest := s.retry.MaxWait.D()
	if shift := a.made - 1; shift < 32 {
		longest = min(longest, s.retry.BackOff.D()<<shift)
	}
	return time.Duration(r.Done) + max(1, time.Duration(jitter(int64(longest)+1)))
}

// addTrace adds an attempt of a request to the iteration's trace, which branches share.
func (v *VU) addTrace(call *protocol.Call) {
	if v.branch {
		tracing := v.inner.branches.Load().tracing
		tracing.Lock()
		defer tracing.Unlock()
	}
	if len(v.trace.Requests) == 0 {
		v.trace.Start = call.Result.Sent // an iteration starts with its first request
	}
	v.trace.Add(&call.Result, call.Address, call.Err)
}

// judge decides whether an answered request failed, extracts the step's values
// and evaluates its checks.
func (v *VU) judge(s *step, call *protocol.Call) {
	r := &call.Result
	if r.Cause != load.None {
		return
	}
	v.scope.Answered()
	if s.expect != nil {
		if ok, err := s.expect.Eval(&v.scope, call.Response); !ok {
			r.Cause, call.Err = load.Expect, err
			if err == nil {
				call.Err = &unmet{s.expect}
			}
		}
	} else if s.judge != nil {
		r.Cause = s.judge.Judge(call)
	}
	if r.Cause == load.None {
		call.Err = v.extract(s, call)
	}
	missing := len(s.extracts) > 0 && r.Cause != load.None
	for i, c := range s.checks {
		r.Checks |= 1 << i
		if missing && c.extracted {
			r.ChecksFailed |= 1 << i
		} else if ok, _ := c.holds.Eval(&v.scope, call.Response); !ok {
			r.ChecksFailed |= 1 << i
		}
	}
	v.scope.Answered() // what was read of the answer must not outlive it
}

// extract sets the variables that the step takes from an answer.
func (v *VU) extract(s *step, call *protocol.Call) error {
	for _, x := range s.extracts {
		value, err := x.from.Eval(&v.scope, call.Response)
		if err != nil {
			call.Result.Cause = load.Extract
			return err
		}
		v.scope.Set(x.slot, value)
	}
	return nil
}

// unmet is the error of an expectation that an answer did not meet.
type unmet struct{ expect *expr.Condition }

func (u *unmet) Error() string { return "not " + u.expect.String() }
