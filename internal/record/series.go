package record

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

// A Scenario is what a recorder must know of a scenario to record it.
type Scenario struct {
	Name                  string
	Test, Executor, Model string
	Labels                map[string]string // its own, on perfd_scenario_info
	Steps                 []Series          // by load.Result.Step
}

// A Series is one step. Series of the same scenario and step are equal: they
// go on counting when a scenario is opened again.
type Series struct {
	Step, Target, Protocol string
	Limits                 []time.Duration   // of objectives; each becomes a bucket's bound
	Checks                 []string          // by bit of load.Result.Checks; at most 64
	Tags                   map[string]string // of the step, on perfd_step_info
	Group                  bool              // is no step: its results are groups of steps as a whole, and no requests
	Metric                 *load.Metric      // is none of both, but a metric of the scenario's own; nil for a step or group
	Retries                bool              // requests of the step may be attempted again
	Messages               bool              // the step opens streams, whose messages are counted
}

// maxChecks is how many bits load.Result.Checks has.
const maxChecks = 64

// The labels with caps of their own.
type capped uint8

const (
	cappedScenario capped = iota
	cappedStep
	cappedCheck
	cappedCode
	numCapped
)

func (c capped) String() string { return [numCapped]string{"scenario", "step", "check", "code"}[c] }

// Open returns a sink for a scenario, whose series exist from now on. Opened
// again under the same name, the scenario keeps its counters; what only the
// older sink has vanishes when that one is closed.
//
// The error says which names cannot be exposed.
func (r *Recorder) Open(info Scenario) (*Sink, error) {
	if err := info.check(); err != nil {
		return nil, fmt.Errorf("record scenario %q: %w", info.Name, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.options.Now()
	sc := r.scenario(info.Name, now)
	s := &Sink{
		recorder: r,
		scenario: sc,
		info:     info,
		steps:    make([]sinkStep, len(info.Steps)),
		shards:   make([]shard, r.options.Shards),
		shift:    64 - bits.TrailingZeros(uint(r.options.Shards)),
	}
	for i, series := range info.Steps {
		s.steps[i] = r.step(sc, series, now)
	}
	s.times(info.Steps)
	cells := len(s.steps)
	for i, series := range info.Steps {
		if m := series.Metric; m != nil && len(m.Labels) > 0 {
			s.steps[i].variants = newVariants(s.steps[i].state, cells, now)
			cells += m.Series()
		}
	}
	s.cells = cells
	r.widen(s, info.Steps)
	pools := s.pools()
	for i := range s.shards {
		s.shards[i].cells = newCells(pools)
	}
	s.spare = newCells(pools)
	sc.sinks = append(sc.sinks, s)
	r.sinks = append(r.sinks, s)
	r.changed = true
	return s, nil
}

// times tells the steps that open streams where the timings of their messages are.
func (s *Sink) times(steps []Series) {
	for i, series := range steps {
		if !series.Messages {
			continue
		}
		for j := range steps {
			if m := steps[j].Metric; m != nil && m.Step == series.Step {
				s.steps[i].timings[m.Timing] = j
			}
		}
	}
}

func (sc *Scenario) check() error {
	var errs []error
	if err := metric.CheckValue(sc.Name); err != nil {
		errs = append(errs, err)
	}
	for name, value := range sc.Labels {
		errs = append(errs, metric.ScenarioInfo.CheckOwnLabel(name, value))
	}
	seen := make(map[string]bool)
	for _, s := range sc.Steps {
		if seen[s.Step] {
			errs = append(errs, fmt.Errorf("step %q: name is used twice", s.Step))
		}
		seen[s.Step] = true
		for _, v := range append([]string{s.Step, s.Target, s.Protocol}, s.Checks...) {
			if err := metric.CheckValue(v); err != nil {
				errs = append(errs, fmt.Errorf("step %q: %w", s.Step, err))
			}
		}
		for name, value := range s.Tags {
			if err := metric.StepInfo.CheckOwnLabel(name, value); err != nil {
				errs = append(errs, fmt.Errorf("step %q: %w", s.Step, err))
			}
		}
		for _, limit := range s.Limits {
			if limit <= 0 {
				errs = append(errs, fmt.Errorf("step %q: limit %v: must be more than 0", s.Step, limit))
			}
		}
		if len(s.Checks) > maxChecks {
			errs = append(errs, fmt.Errorf("step %q: at most %d checks, got %d", s.Step, maxChecks, len(s.Checks)))
		}
	}
	return errors.Join(errs...)
}

// scenario returns the state for a name, creating it.
func (r *Recorder) scenario(name string, now time.Time) *scenario {
	name = r.within(cappedScenario, name, r.scenarios[name] != nil, len(r.scenarios), r.options.Caps.Scenarios)
	sc := r.scenarios[name]
	if sc == nil {
		sc = newScenario(name, now)
		r.scenarios[name] = sc
	}
	return sc
}

func (r *Recorder) step(sc *scenario, series Series, now time.Time) sinkStep {
	name := series.Step
	if series.Metric == nil { // the configuration bounds metrics
		name = r.within(cappedStep, name, sc.steps[name] != nil, len(sc.steps), r.options.Caps.Steps)
	}
	st := sc.steps[name]
	if st == nil || !sameMetric(st.metric, series.Metric) {
		// A metric that is declared in another way begins anew, and what an older sink still counts is shown no more.
		st = &step{
			scenario: sc,
			name:     name,
			created:  now,
		}
		if m := series.Metric; m != nil && m.OwnBounds() {
			st.cells = &cellPool{bounds: boundsOf(m)}
		}
		sc.steps[name] = st
	}
	st.sinks++
	st.group, st.retried, st.streams = series.Group, series.Retries, series.Messages
	st.label = label("step", name)
	st.metric = series.Metric
	switch {
	case st.metric != nil && st.metric.Step != "":
		st.label = label("step", st.metric.Step)
	case st.metric != nil:
		st.label = label("metric", name)
	case st.group:
		st.label = label("group", name)
	}
	st.target, st.protocol, st.tags = series.Target, series.Protocol, series.Tags
	st.limits = distinct(series.Limits)
	st.checks = nil
	to := sinkStep{state: st, checks: make([]*check, len(series.Checks))}
	for i, name := range series.Checks {
		to.checks[i] = r.check(sc, name, now)
		st.checks = append(st.checks, to.checks[i].name)
	}
	if st.window == nil {
		st.window = newWindow(st, r.windowStart)
	}
	return to
}

func (r *Recorder) check(sc *scenario, name string, now time.Time) *check {
	name = r.within(cappedCheck, name, sc.checks[name] != nil, len(sc.checks), r.options.Caps.Checks)
	c := sc.checks[name]
	if c == nil {
		c = &check{name: name, created: now, label: label("check", name)}
		sc.checks[name] = c
	}
	c.sinks++
	return c
}

// within returns value, or metric.Overflow where value is new and its label is at its cap.
func (r *Recorder) within(label capped, value string, known bool, have, most int) string {
	if known || have < most {
		return value
	}
	r.overflow[label]++
	return metric.Overflow
}

// sameMetric reports whether values of one metric go on counting as those of the other.
func sameMetric(a, b *load.Metric) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Type == b.Type && a.Unit == b.Unit && a.Step == b.Step && a.Timing == b.Timing && slices.Equal(a.Buckets, b.Buckets) &&
		slices.EqualFunc(a.Labels, b.Labels, func(a, b load.MetricLabel) bool { return a.Name == b.Name })
}

// widen adds the limits of a sink's steps to the bounds of request durations, and those of trends with bounds of their
// own to these.
func (r *Recorder) widen(s *Sink, steps []Series) {
	type change struct {
		of       *step
		from, to *bounds
	}
	var changes []change
	var limits []time.Duration
	for i, series := range steps {
		st := s.steps[i].state
		if st.cells == nil {
			limits = append(limits, series.Limits...)
			continue
		}
		from := st.cells.bounds
		if to, grown := from.with(series.Limits); grown {
			changes = append(changes, change{st, from, to})
			st.cells = &cellPool{bounds: to}
		}
	}
	wider, grown := r.bounds.with(limits)
	if grown {
		r.cells = &cellPool{bounds: wider}
		for _, sc := range r.scenarios {
			for _, st := range sc.steps {
				if st.cells == nil {
					changes = append(changes, change{st, r.bounds, wider})
				}
			}
		}
	}
	if len(changes) == 0 {
		return
	}
	for _, s := range r.sinks {
		s.rebound()
	}
	for _, c := range changes {
		c.of.rebound(c.from, c.to)
		for _, x := range c.of.variants {
			x.rebound(c.from, c.to)
		}
	}
	r.bounds, r.message.bounds = wider, wider
}

// Limit gives the steps of a sink, in the order of its scenario's, other limits:
// objectives change while a scenario runs on. The windows after those under way
// carry them.
//
// The error says which limit cannot be one.
func (s *Sink) Limit(limits [][]time.Duration) error {
	r := s.recorder
	info := s.info
	info.Steps = slices.Clone(info.Steps)
	same := true
	for i := range info.Steps {
		same = same && slices.Equal(info.Steps[i].Limits, limits[i])
		info.Steps[i].Limits = limits[i]
	}
	if same {
		return nil
	}
	if err := info.check(); err != nil {
		return fmt.Errorf("limits of scenario %q: %w", info.Name, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.closed {
		return nil
	}
	s.info = info
	s.fold()
	r.widen(s, info.Steps)
	for i := range info.Steps {
		s.steps[i].state.limits = distinct(limits[i])
	}
	return nil
}

func distinct(limits []time.Duration) []time.Duration {
	return slices.Compact(slices.Sorted(slices.Values(limits)))
}

// release drops a closed sink's share of the scenario, its steps and their checks.
func (r *Recorder) release(s *Sink, now time.Time) {
	sc := s.scenario
	for _, to := range s.steps {
		for _, c := range to.checks {
			if c.sinks--; c.sinks == 0 {
				delete(sc.checks, c.name)
			}
		}
		if to.variants != nil {
			to.variants.release()
		}
		if to.state.sinks--; to.state.sinks == 0 {
			r.endStep(to.state, r.cut(now))
			if sc.steps[to.state.name] == to.state { // no other took its place
				delete(sc.steps, to.state.name)
			}
		}
	}
	sc.sinks = slices.DeleteFunc(sc.sinks, func(t *Sink) bool { return t == s })
	if len(sc.sinks) == 0 {
		r.endScenario(sc, r.cut(now))
		delete(r.scenarios, sc.name)
	}
	r.changed = true
}
