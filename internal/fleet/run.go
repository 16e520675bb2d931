package fleet

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/common/version"

	"github.com/perfd/perfd/internal/engine"
	"github.com/perfd/perfd/internal/flow"
	"github.com/perfd/perfd/internal/judge"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/output"
	"github.com/perfd/perfd/internal/pace"
	"github.com/perfd/perfd/internal/protocol"
	"github.com/perfd/perfd/internal/record"
	"github.com/perfd/perfd/internal/schedule"
)

// A run is one execution of a scenario: its engine and what its VUs share.
type run struct {
	s        *Scenario
	identity atomic.Pointer[identity]
	joined   time.Time // when this process began it or took it up after a restart
	engine   *engine.Engine
	plan     pace.Plan
	zero     int64 // the engine's zero, on the timeline
	cancel   context.CancelFunc
	done     chan struct{}             // closed when the engine has ended
	ended    atomic.Pointer[time.Time] // when load ended, or was asked to; nil before

	stats  atomic.Pointer[engine.Stats]    // of the last tick
	before engine.Stats                    // the tick's own: of the tick before
	why    atomic.Pointer[schedule.Reason] // it was asked to end
	late   atomic.Uint64                   // iterations that started late, since the run began
	seen   uint64                          // the tick's own: late of the tick before

	tracer *output.RunTracer

	vus       *flow.Runtime // of the flow's VUs
	cleaner   *cleaner      // nil where iterations leave nothing
	unstarted atomic.Bool   // its setup has not succeeded: no load is made
	ends      bool          // by itself or by the schedule

	killed  context.Context // ends when the run may take no longer
	killNow context.CancelFunc

	mu     sync.Mutex
	shared map[sharedKey]io.Closer
}

// An identity is what a cut of the run changes.
type identity struct {
	id      string
	header  string    // what its requests say of it
	began   time.Time // by the schedule
	trace   load.TraceID
	since   time.Time // in this process
	release string    // of the scenario's target when it began
	resumed bool      // an earlier process began it
	broken  bool      // too much of it had no load
}

// measured is the begin of what is known of the run: an always-on run that is
// joined for the first time has no past, whatever its schedule says.
func (i *identity) measured() time.Time {
	if i.resumed {
		return i.began
	}
	return i.since.Round(0)
}

// newIdentity returns the identity of a run of a scenario that begins, or is resumed, at this instant.
func newIdentity(scenario string, sr schedule.Run, release string) *identity {
	i := &identity{id: sr.ID, header: scenario + "/" + sr.ID, began: sr.Fire, since: time.Now(), release: release, resumed: sr.Resumed, broken: sr.Broken}
	binary.BigEndian.PutUint64(i.trace[:8], rand.Uint64())
	binary.BigEndian.PutUint64(i.trace[8:], rand.Uint64()|1)
	return i
}

// TraceID is the run's trace as logs write it.
func (i *identity) TraceID() string { return hex.EncodeToString(i.trace[:]) }

// sharedKey names what the VUs of a run share on one target.
type sharedKey struct {
	target string
	key    protocol.Key
}

// newRun makes a run of the schedule that follows a plan, and starts nothing.
func (s *Scenario) newRun(sr schedule.Run, plan pace.Plan) (*run, error) {
	r := &run{s: s, plan: plan, joined: time.Now(), done: make(chan struct{}), shared: map[sharedKey]io.Closer{}}
	r.ends = !sr.End.IsZero() || !s.cfg.Workload.End().Never()
	r.killed, r.killNow = context.WithCancel(context.Background())
	r.identity.Store(newIdentity(s.name, sr, s.release()))
	w := &s.cfg.Workload
	most := w.MostVUs()
	sink := &resultSink{run: r, sink: s.sink, targets: s.stepTargets}
	rt := &flow.Runtime{
		Sink:     sink,
		Messages: sink,
		Metrics:  s.sink,
		Env:      r.env,
		Limiter:  r.limiter,
		Admitted: w.Open(),
		Now:      func() time.Duration { return r.engine.Now() },
		Seed:     uint64(w.Seed),
		Shard:    s.o.Shard, Shards: s.o.Shards,
		Failed: r.failed,
	}
	r.vus = rt
	if s.cfg.Program.CleanUps != nil {
		r.cleaner = newCleaner(r)
		rt.Left = r.cleaner.left
	}
	r.tracer = s.o.Outputs.Tracer(output.Run{Scenario: s.name}) // renamed once the engine has a zero
	if s.o.Outputs.Traces() {
		rt.Traces = r.tracer
	}
	waiter, err := s.o.NewWaiter()
	if err != nil {
		return nil, err
	}
	r.engine, err = engine.New(engine.Options{
		Plan:             r.plan,
		NewVU:            func(id int) (engine.VU, error) { return s.cfg.Program.NewVU(id, rt), nil },
		Sink:             iterationSink{s.sink, r},
		Start:            sr.Zero,
		MaxVUs:           most,
		PreAllocated:     w.FirstVUs(),
		GracefulStop:     w.GracefulStop.D(),
		GracefulRampDown: w.GracefulRampDown(),
		StartOver:        w.StartOver,
		MaxLateness:      w.MaxLateness(),
		Shard:            s.o.Shard, Shards: s.o.Shards,
		Admit:  r.admit,
		Waiter: waiter,
		Log:    s.log,
	})
	if err != nil {
		return nil, errors.Join(err, waiter.Close())
	}
	r.zero = s.timeline.Since(r.engine.Zero())
	r.stats.Store(&engine.Stats{})
	r.tracer.Rename(r.traced())
	return r, nil
}

// kill interrupts every iteration under way and what is done after the load.
func (r *run) kill() {
	r.engine.Kill()
	r.killNow()
}

// stops notes that nothing is planned from an instant on; the first call counts.
func (r *run) stops(at time.Time) {
	at = at.Round(0)
	r.ended.CompareAndSwap(nil, &at)
}

// failed keeps a failed request for people to read.
func (r *run) failed(step, _ string, res *load.Result, why error) {
	f := Failure{
		At: time.Now(), Step: step, Cause: res.Cause, Code: res.Code, Duration: time.Duration(res.Duration()),
		Run: r.identity.Load().id, Trace: res.Trace,
	}
	if why != nil {
		f.Text = why.Error()
	}
	r.s.failures.add(f)
}

// start performs the run in the background; ended is called when it is over.
func (r *run) start(paused bool, ended func(engine.Outcome)) {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	if paused {
		r.engine.Pause()
	}
	go func() {
		defer close(r.done)
		r.s.awaitLevel(ctx)
		r.prepare(ctx)
		outcome := r.engine.Run(ctx)
		cancel()
		r.conclude()
		r.killNow()
		r.closeShared()
		ended(outcome)
	}()
}

// env is the way out of the process of VUs on one target.
func (r *run) env(name string) *protocol.Env {
	t := r.s.targets[name]
	return &protocol.Env{
		Dialer: t.dialer,
		Redirect: func(host string, port uint16, addrs []netip.Addr, turn bool) (time.Duration, bool) {
			return r.s.claimOn(t.redirectLimiter(host, port, addrs)).Take(r.sinceStart(r.engine.Now()), turn)
		},
		Shared: func(k protocol.Key, open func() (io.Closer, error)) (io.Closer, error) {
			return r.share(sharedKey{name, k}, open)
		},
		Shards:      r.s.o.Shards,
		Now:         r.engine.Now,
		Zero:        r.engine.Zero(),
		UserAgent:   "perfd/" + version.Version,
		Identity:    func() string { return r.identity.Load().header },
		Connections: r.s.sink.Connections(),
		Log:         r.s.log,
		TLSFaults:   r.s.o.TLSFaults,
		Credentials: r.s.credentials,
	}
}

// share returns what the VUs of a target share under a key, opening it on first use.
func (r *run) share(k sharedKey, open func() (io.Closer, error)) (io.Closer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c, ok := r.shared[k]; ok {
		return c, nil
	}
	c, err := open()
	if err != nil {
		return nil, err
	}
	r.shared[k] = c
	return c, nil
}

func (r *run) closeShared() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, c := range r.shared {
		if err := c.Close(); err != nil {
			r.s.log.Warn("close what virtual users shared", "target", k.target, "kind", k.key.Kind, "err", err)
		}
	}
}

func (r *run) limiter(name string) flow.Limiter {
	return clockedLimiter{r.s.claims[name], r.sinceStart(0)}
}

// sinceStart turns a time of the engine into one of the limiters.
func (r *run) sinceStart(now time.Duration) time.Duration {
	return r.engine.Zero().Sub(r.s.zero) + now
}

// admit decides whether an iteration may start: none may while a credential of its
// steps has no value, not all while the target is in distress, and of an open workload none without a token for its first
// request. Closed workloads wait for the token instead.
func (r *run) admit(now time.Duration) (load.Reason, bool) {
	if r.s.lacking() {
		return load.WithoutCredential, false
	}
	t := r.s.first
	if !t.distress.Admit() {
		return load.Backoff, false
	}
	if r.s.open && !r.s.claims[t.name].Admit(r.sinceStart(now), r.s.cfg.Workload.MaxLateness()) {
		return load.RateCap, false
	}
	return 0, true
}

// tick looks at the run once a second and reports to validity what perfd did to it.
func (r *run) tick(from, to time.Time) {
	st := r.engine.Stats()
	var dropped [load.NumReasons]uint64
	for i := range dropped {
		dropped[i] = st.Dropped[i] - r.before.Dropped[i]
	}
	r.s.valid.Dropped(&dropped, from, to)
	r.withheld(from, to)
	late, started := r.late.Load(), st.Started
	// One in a hundred is the 99th percentile.
	if n := late - r.seen; n > 0 && n*100 >= started-r.before.Started {
		r.s.valid.Late(from, to)
	}
	r.learnRelease()
	r.seen, r.before = late, st
	r.stats.Store(&st)
}

// learnRelease makes the release part of the run's identity where it was not known when the run began.
func (r *run) learnRelease() {
	named := r.identity.Load()
	if named.release != "" {
		return
	}
	knows := *named
	if knows.release = r.s.release(); knows.release != "" && r.identity.CompareAndSwap(named, &knows) {
		r.tracer.Rename(r.traced())
	}
}

// warmingUp reports whether the run's warm-up goes on at an instant. Without one, the
// window in which the run began counts too.
func (r *run) warmingUp(at time.Time) bool {
	lasts := r.s.cfg.Workload.WarmUp.D()
	return lasts > 0 && at.Before(r.joined.Add(lasts))
}

// result says how a run that ended counts; an empty result leaves it to the
// verdict. A run that a restart may resume is not over.
func (r *run) result(o engine.Outcome) (result string, over bool) {
	switch {
	case r.reason() == schedule.Leaving:
		return "", false
	case r.unstarted.Load():
		return judge.Errored, true
	case o == engine.Finished || o == engine.Exhausted || r.reason() == schedule.Over:
		return "", true
	}
	return judge.Interrupted, true
}

// reason is why the run was asked to end, empty for one that was not.
func (r *run) reason() schedule.Reason {
	if why := r.why.Load(); why != nil {
		return *why
	}
	return ""
}

// resultSink takes the results of a flow, each with what perfd itself did to it, to the
// recorder and to the watch over the step's target.
type resultSink struct {
	run     *run
	sink    *record.Sink
	targets []*Target // by step
}

func (s *resultSink) Record(vu int, r *load.Result) {
	r.Touched = s.run.s.valid.Touched(r, s.run.zero)
	if r.Cause == load.Overload && r.Touched == load.Undisturbed {
		r.Touched = s.exhausted(r)
	}
	s.sink.Record(vu, r)
	if t := s.targets[r.Step]; t != nil { // nil for a group, whose requests were observed
		t.distress.Observe(r)
	}
}

// Message takes what happened on a stream of a flow.
func (s *resultSink) Message(vu int, m *load.Message) {
	m.Touched = s.run.s.valid.Touched(&load.Result{Due: m.Began(), Sent: m.Began(), Done: m.At}, s.run.zero)
	s.sink.Message(vu, m)
}

// exhausted returns what the machine had none of for a request that was not sent,
// Undisturbed where another guard or limit kept it.
func (s *resultSink) exhausted(r *load.Result) load.Disturbance {
	x := s.targets[r.Step].dialer.Exhausted()
	switch {
	case x == nil || x.At.Sub(s.run.engine.Zero()) < time.Duration(r.Sent):
		return load.Undisturbed
	case x.Ports:
		return load.ByPorts
	}
	return load.ByDescriptors
}

// iterationSink takes an engine's iterations to the recorder, counts those that started
// late, and excuses the target where perfd's own stall kept the VUs busy.
type iterationSink struct {
	*record.Sink
	r *run
}

func (s iterationSink) Iteration(it *load.Iteration) {
	if it.Start-it.Due > int64(s.r.s.valid.Limit()) {
		s.r.late.Add(1)
	}
	s.Sink.Iteration(it)
}

func (s iterationSink) Drop(why load.Reason, n uint64) {
	if why == load.NoFreeVU && s.r.s.valid.Stalled(s.r.zero+int64(s.r.engine.Now())) {
		s.Excuse(n)
	}
	s.Sink.Drop(why, n)
}
