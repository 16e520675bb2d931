package record

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

// Gather folds and returns the series of all scenarios as they are then, by family in the
// order of names. A message is made for each in turn and is valid until the next: what all
// messages of many series would take is far more than what they are made from.
//
// The next fold, and with it the next scrape, waits until the iteration ends, so that all
// values are of one instant. Its body must not wait for a client and not call the recorder.
func (r *Recorder) Gather() metric.Series {
	return func(yield func(*dto.MetricFamily, *dto.Metric) bool) {
		r.Fold(r.options.Now())
		r.folding.Lock()
		defer r.folding.Unlock()
		r.arrange()
		for i := range families {
			if !r.gather(&families[i], yield) {
				return
			}
		}
	}
}

// arrange brings the lists of what there is up to date and shows the exemplars that came.
func (r *Recorder) arrange() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.changed {
		r.inOrder = inOrder(r.scenarios)
		for _, sc := range r.inOrder {
			sc.stepsInOrder, sc.checksInOrder = inOrder(sc.steps), inOrder(sc.checks)
			for _, st := range sc.stepsInOrder {
				st.variantsInOrder = inOrder(st.variants)
			}
		}
		r.changed = false
	}
	r.attachExemplars()
}

// inOrder returns what a map holds, in the order of names.
func inOrder[T any](m map[string]T) []T {
	list := make([]T, 0, len(m))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		list = append(list, m[name])
	}
	return list
}

// gather yields the series of one family and reports whether there may be more. The caller holds folding.
func (r *Recorder) gather(f *family, yield func(*dto.MetricFamily, *dto.Metric) bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := &r.message
	m.begin(f.message, yield)
	if f.ofRecorder != nil {
		m.created = r.created
		f.ofRecorder(m, r)
		return m.more
	}
	for _, sc := range r.inOrder {
		m.of(sc.created, sc.label)
		switch {
		case f.ofScenario != nil:
			f.ofScenario(m, sc)
		case f.ofStep != nil:
			for _, st := range sc.stepsInOrder {
				if st.metric == nil && st.group == f.ofGroups {
					m.of(st.created, sc.label, st.label)
					f.ofStep(m, st)
				}
			}
		case f.ofMetric != nil:
			for _, st := range sc.stepsInOrder {
				if st.metric != nil {
					f.gatherMetric(m, sc, st)
				}
			}
		default:
			for _, c := range sc.checksInOrder {
				m.of(c.created, sc.label, c.label)
				f.ofCheck(m, c)
			}
		}
		if !m.more {
			return false
		}
	}
	return true
}

// A family is what one metric has of the recorder, of each scenario, or of each of their
// steps, groups or checks.
type family struct {
	message    *dto.MetricFamily // without metrics
	ofRecorder func(*message, *Recorder)
	ofScenario func(*message, *scenario)
	ofStep     func(*message, *step)
	ofGroups   bool // of the steps that are groups only; otherwise of the others only
	ofMetric   func(*message, *step, *totals)
	which      func(*load.Metric) bool // of the metrics for which it holds only
	whole      bool                    // of a metric with labels once, not of each of its series
	ofCheck    func(*message, *check)
}

// gatherMetric yields what a metric of the scenario's own has: of one with labels, what each of its series has.
func (f *family) gatherMetric(m *message, sc *scenario, st *step) {
	switch {
	case !f.which(st.metric):
	case f.whole || len(st.metric.Labels) == 0:
		m.of(st.created, sc.label, st.label)
		f.ofMetric(m, st, &st.totals)
	default:
		for _, x := range st.variantsInOrder {
			m.of(x.created, sc.label, st.label)
			m.own = append(m.own, x.labels...)
			f.ofMetric(m, st, &x.totals)
		}
	}
}

func ofMetric(d *metric.Desc, kind string, f func(*message, *totals)) family {
	return family{message: d.Family(), which: func(m *load.Metric) bool { return m.Type == kind && m.Step == "" }, ofMetric: func(m *message, _ *step, t *totals) { f(m, t) }}
}

// ofTrend is of the trends of durations, or of those of other numbers.
func ofTrend(d *metric.Desc, numbers bool) family {
	return family{
		message: d.Family(), which: func(m *load.Metric) bool { return m.Type == load.MetricTrend && m.Step == "" && m.Numbers() == numbers },
		ofMetric: func(m *message, s *step, t *totals) {
			b := m.bounds
			if s.cells != nil {
				b = s.cells.bounds
			}
			if numbers {
				m.values(&t.duration, b, t.value)
				return
			}
			m.histogram(&t.duration, b)
		},
	}
}

// ofTiming is of what is timed of messages.
func ofTiming(d *metric.Desc, t load.MessageTiming) family {
	return family{
		message: d.Family(), which: func(m *load.Metric) bool { return m.Step != "" && m.Timing == t },
		ofMetric: func(m *message, _ *step, t *totals) { m.histogram(&t.duration, m.bounds) },
	}
}

// ofStream is of the steps that open streams.
func ofStream(d *metric.Desc, f func(*message, *messageCell)) family {
	return ofStep(d, func(m *message, s *step) {
		if s.streams {
			f(m, &s.messages)
		}
	})
}

func ofScenario(d *metric.Desc, f func(*message, *scenario)) family {
	return family{message: d.Family(), ofScenario: f}
}

func ofStep(d *metric.Desc, f func(*message, *step)) family {
	return family{message: d.Family(), ofStep: f}
}

func ofGroup(d *metric.Desc, f func(*message, *step)) family {
	return family{message: d.Family(), ofStep: f, ofGroups: true}
}

func ofCheck(d *metric.Desc, f func(*message, *check)) family {
	return family{message: d.Family(), ofCheck: f}
}

// families are all families, sorted by name.
var families = func() []family {
	list := []family{
		{message: metric.LabelOverflow.Family(), ofRecorder: func(m *message, r *Recorder) {
			for i, n := range r.overflow {
				m.counter(float64(n), overflowLabels[i])
			}
		}},

		ofScenario(metric.ScenarioInfo, identity),
		ofScenario(metric.ScenarioTargetInfo, targets),
		ofScenario(metric.IterationsStarted, func(m *message, s *scenario) { m.counter(float64(s.started)) }),
		ofScenario(metric.Iterations, func(m *message, s *scenario) {
			m.counter(float64(s.ended[load.Completed] + s.ended[load.Stopped] + s.ended[load.Interrupted]))
		}),
		ofScenario(metric.IterationsStopped, func(m *message, s *scenario) { m.counter(float64(s.ended[load.Stopped])) }),
		ofScenario(metric.IterationsInterrupted, func(m *message, s *scenario) { m.counter(float64(s.ended[load.Interrupted])) }),
		ofScenario(metric.IterationsDropped, func(m *message, s *scenario) {
			for i, n := range s.dropped {
				m.counter(float64(n), reasonLabels[i])
			}
		}),
		ofScenario(metric.IterationDuration, func(m *message, s *scenario) { m.histogram(&s.duration, iterationBounds) }),
		ofScenario(metric.IterationLateness, func(m *message, s *scenario) { m.histogram(&s.lateness, latenessBounds) }),
		ofScenario(metric.ConnectionsOpened, func(m *message, s *scenario) { m.counter(float64(s.opened)) }),
		ofScenario(metric.ConnectionsClosed, func(m *message, s *scenario) {
			for i, n := range s.closed {
				m.counter(float64(n), closeLabels[i])
			}
		}),
		ofScenario(metric.DatagramsIgnored, func(m *message, s *scenario) { m.counter(float64(s.ignored)) }),
		ofScenario(metric.FlowControlStalls, func(m *message, s *scenario) { m.counter(float64(s.stalls)) }),
		ofScenario(metric.VersionChanges, func(m *message, s *scenario) { m.counter(float64(s.versionChanges)) }),

		ofStep(metric.StepInfo, func(m *message, s *step) {
			m.gauge(1, append(pairs(s.tags), label("target", s.target), label("protocol", s.protocol))...)
		}),
		ofStep(metric.Requests, func(m *message, s *step) { m.counter(float64(s.requests)) }),
		ofStep(metric.RequestRetries, func(m *message, s *step) {
			if s.retried {
				m.counter(float64(s.retries))
			}
		}),
		ofStep(metric.RequestFailures, failures),
		ofStep(metric.Responses, func(m *message, s *step) {
			for _, c := range s.codes {
				m.counter(float64(c.Count), label("code", strconv.Itoa(int(c.Code))))
			}
			if s.otherCodes > 0 {
				m.counter(float64(s.otherCodes), otherCodes)
			}
		}),
		ofStep(metric.RequestPhases, func(m *message, s *step) {
			for i, d := range s.phases {
				m.counter(d.float(), phaseLabels[i])
			}
		}),
		ofStep(metric.RateLimitWait, func(m *message, s *step) { m.counter(s.waited.float()) }),
		ofStep(metric.OverRange, func(m *message, s *step) { m.counter(float64(s.overRange)) }),
		ofStep(metric.SentBytes, func(m *message, s *step) { m.counter(float64(s.sent)) }),
		ofStep(metric.ReceivedBytes, func(m *message, s *step) { m.counter(float64(s.received)) }),
		ofStep(metric.RequestDuration, func(m *message, s *step) { m.histogram(&s.duration, m.bounds) }),
		ofStep(metric.ResponseTime, func(m *message, s *step) { m.histogram(&s.response, m.bounds) }),
		ofStep(metric.RequestFailureDuration, func(m *message, s *step) { m.histogram(&s.failure, m.bounds) }),

		ofStream(metric.Messages, func(m *message, c *messageCell) {
			for i, n := range c.Count {
				m.counter(float64(n), directionLabels[i])
			}
		}),
		ofStream(metric.MessageBytes, func(m *message, c *messageCell) {
			for i, n := range c.Bytes {
				m.counter(float64(n), directionLabels[i])
			}
		}),
		ofStream(metric.MessagesMissing, func(m *message, c *messageCell) { m.counter(float64(c.Missing)) }),
		ofStream(metric.MessagesReordered, func(m *message, c *messageCell) { m.counter(float64(c.Reordered)) }),
		ofStream(metric.MessagesRepeated, func(m *message, c *messageCell) { m.counter(float64(c.Repeated)) }),
		ofStream(metric.MessagesUnmet, func(m *message, c *messageCell) { m.counter(float64(c.Unmet)) }),
		ofStream(metric.StreamCloses, func(m *message, c *messageCell) {
			for _, x := range c.closes {
				m.counter(float64(x.Count), label("code", strconv.Itoa(int(x.Code))))
			}
			if c.otherCloses > 0 {
				m.counter(float64(c.otherCloses), otherCodes)
			}
		}),
		ofTiming(metric.MessageFirst, load.FirstMessage),
		ofTiming(metric.MessageGap, load.MessageGap),
		ofTiming(metric.MessageRoundTrip, load.RoundTrip),
		ofTiming(metric.MessagePing, load.PingRoundTrip),
		ofTiming(metric.MessageReconnect, load.Reconnect),
		ofTiming(metric.StreamLifetime, load.Lifetime),

		ofGroup(metric.Groups, func(m *message, s *step) { m.counter(float64(s.requests)) }),
		ofGroup(metric.GroupFailures, failures),
		ofGroup(metric.GroupDuration, func(m *message, s *step) { m.histogram(&s.duration, m.bounds) }),

		ofMetric(metric.CustomCounter, load.MetricCounter, func(m *message, t *totals) { m.counter(t.value) }),
		ofMetric(metric.CustomRate, load.MetricRate, func(m *message, t *totals) { m.counter(float64(t.requests)) }),
		ofMetric(metric.CustomRateMisses, load.MetricRate, func(m *message, t *totals) { m.counter(float64(t.failures[load.Check])) }),
		ofMetric(metric.CustomGauge, load.MetricGauge, func(m *message, t *totals) {
			if t.at > 0 {
				m.gauge(t.value)
			}
		}),
		ofTrend(metric.CustomTrend, false),
		ofTrend(metric.CustomNumbers, true),
		{
			message: metric.CustomInfo.Family(), which: func(m *load.Metric) bool { return m.Step == "" }, whole: true,
			ofMetric: func(m *message, s *step, _ *totals) {
				m.gauge(1, label("type", s.metric.Type), label("unit", s.metric.Unit), label("help", s.metric.Help))
			},
		},
		{
			message: metric.CustomLeftOut.Family(), which: func(m *load.Metric) bool { return len(m.Labels) > 0 }, whole: true,
			ofMetric: func(m *message, s *step, _ *totals) { m.counter(float64(s.leftOut)) },
		},

		ofCheck(metric.Checks, func(m *message, c *check) { m.counter(float64(c.evaluated)) }),
		ofCheck(metric.CheckFailures, func(m *message, c *check) { m.counter(float64(c.failed)) }),
	}
	slices.SortFunc(list, func(a, b family) int { return strings.Compare(a.message.GetName(), b.message.GetName()) })
	return list
}()

func failures(m *message, s *step) {
	for i := load.None + 1; i < load.NumCauses; i++ {
		m.counter(float64(s.failures[i]), causeLabels[i])
	}
}

// identity is the info metric of a scenario, as its newest sink describes it.
func identity(m *message, s *scenario) {
	if newest := s.newest(); newest != nil {
		m.gauge(1, append(pairs(newest.Labels), label("test", newest.Test), label("executor", newest.Executor), label("model", newest.Model))...)
	}
}

// targets are those of a scenario's steps.
func targets(m *message, s *scenario) {
	newest := s.newest()
	if newest == nil {
		return
	}
	set := make(map[string]bool)
	for i := range newest.Steps {
		set[newest.Steps[i].Target] = true
	}
	for _, t := range slices.Sorted(maps.Keys(set)) {
		m.gauge(1, label("target", t))
	}
}

// newest is how the newest sink describes the scenario, nil of one that ended while a scrape was under way.
func (s *scenario) newest() *Scenario {
	if len(s.sinks) == 0 {
		return nil
	}
	return &s.sinks[len(s.sinks)-1].info
}
