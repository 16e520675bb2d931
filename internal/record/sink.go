package record

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/perfd/perfd/internal/load"
)

// A Sink takes what happens in one scenario. Record, Started, Iteration and
// Drop may be called by any number of goroutines, and keep nothing.
type Sink struct {
	recorder *Recorder
	scenario *scenario
	info     Scenario
	steps    []sinkStep // by load.Result.Step
	cells    int        // of a shard: one for each step, and one for each series of metrics with labels

	shards []shard // a power of two of them
	shift  int     // leaves the bits of a hash that choose a shard

	_           [64]byte // what is written below must not disturb who reads above
	dropped     [load.NumReasons]atomic.Uint64
	excused     atomic.Uint64
	connections load.Connections

	// Owned by the recorder, under its mu.
	spare         cells // empty; a fold swaps it for a shard's
	foldedDrops   [load.NumReasons]uint64
	foldedExcused uint64
	foldedOpened  uint64
	foldedIgnored uint64
	foldedStalls  uint64
	foldedChanges uint64
	foldedClosed  [load.NumCloseReasons]uint64
	closed        bool
}

// A sinkStep is where the counts of one of a sink's steps go. Steps beyond the
// cap on labels share a state, so two of them may have the same.
type sinkStep struct {
	state    *step
	checks   []*check                    // by bit of load.Result.Checks
	variants *variants                   // nil but of a metric with labels
	timings  [load.NumMessageTimings]int // of its messages, by place; 0 for none, since the step itself comes before them
}

// A shard is one lock and the counts it guards, alone on its cache lines.
type shard struct {
	mu sync.Mutex
	cells
	_ [128 - 64]byte
}

// shard returns the shard of the virtual user with number vu. Numbers are
// hashed because one instance of many has every n-th of them only.
func (s *Sink) shard(vu int) *shard {
	const golden = 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio
	return &s.shards[uint64(vu)*golden>>s.shift]
}

// Record counts a result of the virtual user with number vu.
func (s *Sink) Record(vu int, r *load.Result) {
	sh := s.shard(vu)
	sh.mu.Lock()
	c := sh.steps[r.Step]
	if c == nil {
		c = sh.take(r.Step)
	}
	c.record(r, s.recorder.options.Caps.Codes)
	sh.mu.Unlock()
}

// Add counts a value of a metric of the scenario's own, which the virtual user with number vu has: of a trend in its
// unit. Labels are the values of the metric's labels in their order, with load.LabelSeparator between them. Where they
// are none that the declaration allows, the value is in no series but in objectives. What perfd itself disturbed counts
// as well: a value is no measurement of perfd's.
func (s *Sink) Add(vu, step int, labels []byte, value float64) {
	m, to := s.info.Steps[step].Metric, &s.steps[step]
	kind, place := m.Type, step
	if v := to.variants; v != nil {
		if i, ok := v.find(labels); ok {
			place = v.first + i
		} else {
			v.leftOut.Add(1)
		}
	}
	r := load.Result{Step: step}
	switch kind {
	case load.MetricTrend:
		scale := load.ScaleOf(m.Unit)
		value = min(value, scale.Value(maxTrend))
		r.Done = scale.Units(value)
	case load.MetricRate:
		if value == 0 {
			r.Cause = load.Check
		}
	}
	var at int64
	if kind == load.MetricGauge {
		at = s.recorder.settings.Add(1)
	}
	sh := s.shard(vu)
	sh.mu.Lock()
	c := sh.steps[place]
	if c == nil {
		c = sh.take(place)
	}
	c.record(&r, 0)
	switch kind {
	case load.MetricCounter, load.MetricTrend:
		c.value += value
	case load.MetricGauge:
		if at > c.at {
			c.value, c.at = value, at
		}
	}
	sh.mu.Unlock()
}

// Message counts what happened on a stream of the virtual user with number vu.
func (s *Sink) Message(vu int, m *load.Message) {
	timings := &s.steps[m.Step].timings
	sh := s.shard(vu)
	sh.mu.Lock()
	c := sh.steps[m.Step]
	if c == nil {
		c = sh.take(m.Step)
	}
	c.recordMessage(m, s.recorder.options.Caps.Codes)
	for i, ns := range m.Timed {
		place := timings[i]
		if ns == 0 || place == 0 {
			continue
		}
		r := load.Result{Step: place, Done: ns, Touched: m.Touched}
		c := sh.steps[place]
		if c == nil {
			c = sh.take(place)
		}
		c.record(&r, 0)
	}
	sh.mu.Unlock()
}

// maxTrend bounds what a trend takes, in the units of its histogram, far above what that tells apart.
const maxTrend = 1e15

// Started counts an iteration of the virtual user with number vu that starts.
func (s *Sink) Started(vu int) {
	sh := s.shard(vu)
	sh.mu.Lock()
	sh.iterations.started++
	sh.mu.Unlock()
}

// Iteration counts an iteration that ended.
func (s *Sink) Iteration(it *load.Iteration) {
	sh := s.shard(it.VU)
	sh.mu.Lock()
	sh.iterations.record(it)
	sh.mu.Unlock()
}

// Drop counts n arrivals that did not become iterations.
func (s *Sink) Drop(why load.Reason, n uint64) { s.dropped[why].Add(n) }

// Excuse counts n arrivals, dropped for want of a free virtual user, of which perfd
// itself may be the cause.
func (s *Sink) Excuse(n uint64) { s.excused.Add(n) }

// Connections returns where the scenario's virtual users count their connections.
func (s *Sink) Connections() *load.Connections { return &s.connections }

// Close folds what was recorded and ends the sink: series that no other open
// sink has vanish. Nothing may be recorded afterwards. A second call does nothing.
func (s *Sink) Close() {
	r := s.recorder
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	s.fold()
	r.sinks = slices.DeleteFunc(r.sinks, func(t *Sink) bool { return t == s })
	r.release(s, r.options.Now())
}

// fold adds everything recorded since the last fold to the cumulative state and
// the open windows. The caller holds the recorder's mu.
func (s *Sink) fold() {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		full := sh.cells
		sh.cells = s.spare
		sh.mu.Unlock()
		s.drain(full)
		s.spare = full
	}
	s.foldCounters()
}

// rebound folds what was counted in the old bounds and goes on in those that the
// steps have now. The caller holds the recorder's mu and changes the cumulative state to them
// before the next fold.
func (s *Sink) rebound() {
	pools := s.pools()
	for i := range s.shards {
		fresh := newCells(pools)
		sh := &s.shards[i]
		sh.mu.Lock()
		full := sh.cells
		sh.cells = fresh
		sh.mu.Unlock()
		s.drain(full)
	}
	s.spare = newCells(pools)
}

// pools returns where the cells of a shard come from, by their places. The caller holds the recorder's mu.
func (s *Sink) pools() []*cellPool {
	pools := make([]*cellPool, s.cells)
	for i := range s.steps {
		to := &s.steps[i]
		pool := to.state.cells
		if pool == nil {
			pool = s.recorder.cells
		}
		pools[i] = pool
		if v := to.variants; v != nil {
			for j := range v.states {
				pools[v.first+j] = pool
			}
		}
	}
	return pools
}

func (s *Sink) drain(c cells) {
	for i := range s.steps {
		to := &s.steps[i]
		if to.variants != nil {
			to.variants.drain(c, s.recorder)
		}
		cell := c.steps[i]
		if cell == nil {
			continue
		}
		to.state.add(cell)
		for j, n := range cell.checks {
			to.checks[j].add(n)
			to.state.addCheck(to.checks[j].name, n)
		}
		other := cell.codesOverflow
		for _, c := range cell.codes {
			if !to.state.addCode(c, s.recorder.options.Caps.Codes) {
				other += c.Count
			}
		}
		if cell.messages != nil {
			all := &to.state.messages
			before := all.otherCloses
			all.add(cell.messages, s.recorder.options.Caps.Codes)
			s.recorder.overflow[cappedCode] += all.otherCloses - before
		}
		to.state.otherCodes += other
		s.recorder.overflow[cappedCode] += other
		c.release(i)
	}
	s.scenario.addIterations(c.iterations)
	c.iterations.reset()
}

// foldCounters adds what was counted outside of shards.
func (s *Sink) foldCounters() {
	for i := range s.dropped {
		s.scenario.addDrops(load.Reason(i), advance(&s.foldedDrops[i], s.dropped[i].Load()))
	}
	for i := range s.steps {
		if v := s.steps[i].variants; v != nil {
			v.state.leftOut += advance(&v.foldedLeftOut, v.leftOut.Load())
		}
	}
	s.scenario.window.Excused += advance(&s.foldedExcused, s.excused.Load())
	s.scenario.opened += advance(&s.foldedOpened, s.connections.Opened.Load())
	s.scenario.ignored += advance(&s.foldedIgnored, s.connections.Ignored.Load())
	for i := range s.connections.Closed {
		s.scenario.closed[i] += advance(&s.foldedClosed[i], s.connections.Closed[i].Load())
	}
	s.scenario.stalls += advance(&s.foldedStalls, s.connections.Stalls.Load())
	s.scenario.versionChanges += advance(&s.foldedChanges, s.connections.VersionChanges.Load())
}

// advance moves *seen to now and returns how far that was.
func advance(seen *uint64, now uint64) uint64 {
	n := now - *seen
	*seen = now
	return n
}
