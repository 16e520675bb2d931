package record

import (
	"slices"
	"strconv"

	dto "github.com/prometheus/client_model/go"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

// Label pairs of closed sets, shared by all series.
var (
	causeLabels  = labelsOf("cause", load.NumCauses)
	reasonLabels = labelsOf("reason", load.NumReasons)
	phaseLabels  = labelsOf("phase", load.NumPhases)
	closeLabels  = labelsOf("reason", load.NumCloseReasons)
)

func labelsOf[T interface {
	~uint8
	String() string
}](name string, n T) (pairs []*dto.LabelPair) {
	for v := range n {
		pairs = append(pairs, label(name, v.String()))
	}
	return pairs
}

// scenarioSeries are the messages of one scenario.
type scenarioSeries struct {
	label                                     *dto.LabelPair
	started, iterations, stopped, interrupted *dto.Metric
	dropped                                   [load.NumReasons]*dto.Metric
	opened                                    *dto.Metric
	closed                                    [load.NumCloseReasons]*dto.Metric
	duration, lateness                        histogram
}

func newScenarioSeries(s *scenario, classic bool) *scenarioSeries {
	name := label("scenario", s.name)
	m := &scenarioSeries{
		label:       name,
		started:     newCounter(s.created, name),
		iterations:  newCounter(s.created, name),
		stopped:     newCounter(s.created, name),
		interrupted: newCounter(s.created, name),
		opened:      newCounter(s.created, name),
		duration:    newHistogram(s.created, iterationBounds, classic, name),
		lateness:    newHistogram(s.created, latenessBounds, classic, name),
	}
	for i := range m.dropped {
		m.dropped[i] = newCounter(s.created, name, reasonLabels[i])
	}
	for i := range m.closed {
		m.closed[i] = newCounter(s.created, name, closeLabels[i])
	}
	return m
}

func (m *scenarioSeries) addTo(f *familySet) {
	f.add(metric.IterationsStarted, m.started)
	f.add(metric.Iterations, m.iterations)
	f.add(metric.IterationsStopped, m.stopped)
	f.add(metric.IterationsInterrupted, m.interrupted)
	f.add(metric.IterationsDropped, m.dropped[:]...)
	f.add(metric.IterationDuration, m.duration.metric)
	f.add(metric.IterationLateness, m.lateness.metric)
	f.add(metric.ConnectionsOpened, m.opened)
	f.add(metric.ConnectionsClosed, m.closed[:]...)
}

func (m *scenarioSeries) update(s *scenario) {
	set(m.started, float64(s.started))
	set(m.iterations, float64(s.ended[load.Completed]+s.ended[load.Stopped]+s.ended[load.Interrupted]))
	set(m.stopped, float64(s.ended[load.Stopped]))
	set(m.interrupted, float64(s.ended[load.Interrupted]))
	set(m.opened, float64(s.opened))
	for i, c := range m.dropped {
		set(c, float64(s.dropped[i]))
	}
	for i, c := range m.closed {
		set(c, float64(s.closed[i]))
	}
	m.duration.update(&s.duration)
	m.lateness.update(&s.lateness)
}

// stepSeries are the messages of one step.
type stepSeries struct {
	scenario, label             *dto.LabelPair
	group                       bool // of groups: label is group, and there are no requests
	requests                    *dto.Metric
	retries                     *dto.Metric                 // nil where requests are attempted once
	failures                    [load.NumCauses]*dto.Metric // none for load.None
	codes                       []codeSeries
	otherCodes                  *dto.Metric // nil before there are any
	phases                      [load.NumPhases]*dto.Metric
	waited, overRange           *dto.Metric
	sent, received              *dto.Metric
	duration, response, failure histogram
}

type codeSeries struct {
	code   int32
	metric *dto.Metric
}

func newStepSeries(s *step, scenario *dto.LabelPair, b *bounds, classic bool) *stepSeries {
	name := label("step", s.name)
	if s.group {
		name = label("group", s.name)
	}
	m := &stepSeries{
		scenario:  scenario,
		group:     s.group,
		label:     name,
		requests:  newCounter(s.created, scenario, name),
		waited:    newCounter(s.created, scenario, name),
		overRange: newCounter(s.created, scenario, name),
		sent:      newCounter(s.created, scenario, name),
		received:  newCounter(s.created, scenario, name),
		duration:  newHistogram(s.created, b, classic, scenario, name),
		response:  newHistogram(s.created, b, classic, scenario, name),
		failure:   newHistogram(s.created, b, classic, scenario, name),
	}
	for i := load.None + 1; i < load.NumCauses; i++ {
		m.failures[i] = newCounter(s.created, scenario, name, causeLabels[i])
	}
	for i := range m.phases {
		m.phases[i] = newCounter(s.created, scenario, name, phaseLabels[i])
	}
	if s.retried {
		m.retries = newCounter(s.created, scenario, name)
	}
	return m
}

// hasCodes reports whether every code of s has its series.
func (m *stepSeries) hasCodes(s *step) bool {
	return len(m.codes) == len(s.codes) && (m.otherCodes != nil || s.otherCodes == 0)
}

// addCodes adds the series of codes that came since it was last called.
func (m *stepSeries) addCodes(s *step) {
	for i, c := range s.codes {
		if i == len(m.codes) || m.codes[i].code != c.Code {
			value := strconv.Itoa(int(c.Code))
			m.codes = slices.Insert(m.codes, i, codeSeries{c.Code, newCounter(s.created, m.scenario, m.label, label("code", value))})
		}
	}
	if s.otherCodes > 0 && m.otherCodes == nil {
		m.otherCodes = newCounter(s.created, m.scenario, m.label, label("code", metric.Overflow))
	}
}

func (m *stepSeries) addTo(f *familySet) {
	if m.group {
		f.add(metric.Groups, m.requests)
		f.add(metric.GroupFailures, m.failures[load.None+1:]...)
		f.add(metric.GroupDuration, m.duration.metric)
		return
	}
	if m.retries != nil {
		f.add(metric.RequestRetries, m.retries)
	}
	f.add(metric.Requests, m.requests)
	f.add(metric.RequestFailures, m.failures[load.None+1:]...)
	for _, c := range m.codes {
		f.add(metric.Responses, c.metric)
	}
	if m.otherCodes != nil {
		f.add(metric.Responses, m.otherCodes)
	}
	f.add(metric.RequestPhases, m.phases[:]...)
	f.add(metric.RateLimitWait, m.waited)
	f.add(metric.OverRange, m.overRange)
	f.add(metric.SentBytes, m.sent)
	f.add(metric.ReceivedBytes, m.received)
	f.add(metric.RequestDuration, m.duration.metric)
	f.add(metric.ResponseTime, m.response.metric)
	f.add(metric.RequestFailureDuration, m.failure.metric)
}

func (m *stepSeries) update(s *step) {
	set(m.requests, float64(s.requests))
	if m.retries != nil {
		set(m.retries, float64(s.retries))
	}
	for i := load.None + 1; i < load.NumCauses; i++ {
		set(m.failures[i], float64(s.failures[i]))
	}
	for i, c := range m.codes {
		set(c.metric, float64(s.codes[i].Count))
	}
	if m.otherCodes != nil {
		set(m.otherCodes, float64(s.otherCodes))
	}
	for i, c := range m.phases {
		set(c, s.phases[i].float())
	}
	set(m.waited, s.waited.float())
	set(m.overRange, float64(s.overRange))
	set(m.sent, float64(s.sent))
	set(m.received, float64(s.received))
	m.duration.update(&s.duration)
	m.response.update(&s.response)
	m.failure.update(&s.failure)
}

// checkSeries are the messages of one check.
type checkSeries struct{ evaluated, failed *dto.Metric }

func newCheckSeries(c *check, scenario *dto.LabelPair) *checkSeries {
	name := label("check", c.name)
	return &checkSeries{newCounter(c.created, scenario, name), newCounter(c.created, scenario, name)}
}

func (m *checkSeries) update(c *check) {
	set(m.evaluated, float64(c.evaluated))
	set(m.failed, float64(c.failed))
}
