package record

import (
	"maps"
	"slices"

	dto "github.com/prometheus/client_model/go"

	"github.com/perfd/perfd/internal/metric"
)

// Gather folds and returns the families of all scenarios, sorted by name. They
// are updated in place by the next Gather, which waits until done is called:
// one scrape at a time, and nothing of it may be kept after done.
//
// It is a prometheus.TransactionalGatherer's Gather.
func (r *Recorder) Gather() (_ []*dto.MetricFamily, done func(), _ error) {
	r.Fold(r.options.Now())
	r.scrape.Lock()
	gathered := false
	defer func() {
		if !gathered { // a panic must not lock out all further scrapes
			r.scrape.Unlock()
		}
	}()
	families := r.refresh()
	gathered = true
	return families, r.scrape.Unlock, nil
}

// refresh returns the families, brought up to the cumulative state.
func (r *Recorder) refresh() []*dto.MetricFamily {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.changed || r.newCodes() {
		r.messages = r.arrange()
		r.changed = false
	}
	r.update()
	return r.messages.families
}

// newCodes reports whether a step has answer codes without series.
func (r *Recorder) newCodes() bool {
	for _, sc := range r.scenarios {
		for _, st := range sc.steps {
			if !st.series.hasCodes(st) {
				return true
			}
		}
	}
	return false
}

// arrange lists the messages of all series in their families, making those that are missing.
func (r *Recorder) arrange() messages {
	classic := !r.options.NoClassic
	f := familySet{byDesc: make(map[*metric.Desc]*dto.MetricFamily)}
	for _, name := range slices.Sorted(maps.Keys(r.scenarios)) {
		sc := r.scenarios[name]
		if sc.series == nil {
			sc.series = newScenarioSeries(sc, classic)
		}
		sc.series.addTo(&f)
		addIdentity(&f, sc)
		for _, name := range slices.Sorted(maps.Keys(sc.steps)) {
			st := sc.steps[name]
			if st.series == nil {
				st.series = newStepSeries(st, sc.series.label, r.bounds, classic)
			}
			st.series.addCodes(st)
			st.series.addTo(&f)
			if st.group {
				continue
			}
			labels := []*dto.LabelPair{sc.series.label, st.series.label, label("target", st.target), label("protocol", st.protocol)}
			for _, name := range slices.Sorted(maps.Keys(st.tags)) {
				labels = append(labels, label(name, st.tags[name]))
			}
			f.add(metric.StepInfo, newGauge(1, labels...))
		}
		for _, name := range slices.Sorted(maps.Keys(sc.checks)) {
			c := sc.checks[name]
			if c.series == nil {
				c.series = newCheckSeries(c, sc.series.label)
			}
			f.add(metric.Checks, c.series.evaluated)
			f.add(metric.CheckFailures, c.series.failed)
		}
	}
	m := messages{overflow: r.messages.overflow}
	for i := range m.overflow {
		if m.overflow[i] == nil {
			m.overflow[i] = newCounter(r.created, label("label", cappedNames[i]))
		}
	}
	f.add(metric.LabelOverflow, m.overflow[:]...)
	m.families = f.sorted()
	return m
}

// addIdentity adds the info metrics of a scenario, as its newest sink describes it.
func addIdentity(f *familySet, sc *scenario) {
	newest := sc.sinks[len(sc.sinks)-1].info
	labels := []*dto.LabelPair{
		sc.series.label,
		label("test", newest.Test),
		label("executor", newest.Executor),
		label("model", newest.Model),
	}
	for name, value := range newest.Labels {
		labels = append(labels, label(name, value))
	}
	f.add(metric.ScenarioInfo, newGauge(1, labels...))

	targets := make(map[string]bool)
	for _, s := range newest.Steps {
		targets[s.Target] = true
	}
	for _, t := range slices.Sorted(maps.Keys(targets)) {
		f.add(metric.ScenarioTargetInfo, newGauge(1, sc.series.label, label("target", t)))
	}
}

// update brings all messages up to the cumulative state.
func (r *Recorder) update() {
	for _, sc := range r.scenarios {
		sc.series.update(sc)
		for _, st := range sc.steps {
			st.series.update(st)
		}
		for _, c := range sc.checks {
			c.series.update(c)
		}
	}
	r.attachExemplars()
	for i, n := range r.overflow {
		set(r.messages.overflow[i], float64(n))
	}
}
