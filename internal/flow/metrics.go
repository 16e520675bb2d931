package flow

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/load"
)

// Metrics are the metrics of a scenario's own, by name.
type Metrics = block.Entries[Metric]

// A Metric declares one metric.
type Metric struct {
	Type    block.Text           `yaml:"type" block:"required" doc:"counter, rate, gauge or trend."`
	Unit    block.Text           `yaml:"unit" doc:"What values are counted in, such as bytes or items. A trend without one is of durations."`
	Help    block.Text           `yaml:"help" doc:"What the metric says, on perfd_custom_info."`
	Buckets []block.Text         `yaml:"buckets" doc:"Upper bounds of the classic buckets of a trend, in its unit: [10, 100, 1000], or durations. The native histogram needs none."`
	Labels  block.Entries[Label] `yaml:"labels" doc:"Labels of the metric by name, each with a list of its values, or with a bound on how many there are: {plan: [free, pro], region: {at_most: 20}}."`
}

// A Label is a label of a metric: its values, or how many there may be.
type Label struct {
	Values []block.Text
	AtMost int
}

var metricTypes = []string{load.MetricCounter, load.MetricRate, load.MetricGauge, load.MetricTrend}

// Bounds on what a scenario's own metrics may be.
const (
	maxMetrics      = 50   // of a scenario
	maxMetricSeries = 200  // of a metric
	maxAllSeries    = 1000 // of all metrics of a scenario
	maxMetricLabels = 8
	maxBuckets      = 50
	maxHelp         = 200 // bytes
	maxLabelValue   = 100 // bytes
)

// DecodeBlock decodes a type, or a mapping.
func (m *Metric) DecodeBlock(n *block.Node, errs *block.Errors) {
	if n.Kind == block.Map {
		type plain Metric
		block.Decode(n, (*plain)(m), errs)
		return
	}
	block.Decode(n, &m.Type, errs)
}

// JSONSchema describes both forms.
func (Metric) JSONSchema() map[string]any {
	type plain Metric
	return map[string]any{"anyOf": []any{map[string]any{"enum": metricTypes}, block.Schema(plain{})}}
}

// DecodeBlock decodes a list of values, or a bound.
func (l *Label) DecodeBlock(n *block.Node, errs *block.Errors) {
	switch n.Kind {
	case block.List:
		block.Decode(n, &l.Values, errs)
	case block.Map:
		var bound struct {
			AtMost int `yaml:"at_most" block:"required"`
		}
		before := errs.Len()
		block.Decode(n, &bound, errs)
		if l.AtMost = bound.AtMost; errs.Len() == before && (l.AtMost < 1 || l.AtMost > maxMetricSeries) {
			at := n.Get("at_most")
			errs.Add(at.Pos, at.Path, "must be between 1 and %d, got %s", maxMetricSeries, at.Found())
		}
	default:
		hint := "write [" + n.Scalar + "], with all of its values, or {at_most: 20}"
		if n.Typed() == block.Int {
			hint = "write {at_most: " + n.Scalar + "}"
		}
		errs.Add(n.Pos, n.Path, "must be a list of values or a bound on how many there are, got %s", n.Found()).Hint = hint
	}
}

// JSONSchema describes both forms.
func (Label) JSONSchema() map[string]any {
	return map[string]any{"anyOf": []any{
		map[string]any{"type": "array", "minItems": 1, "items": block.Schema(block.Text{})},
		map[string]any{
			"type": "object", "additionalProperties": false, "required": []string{"at_most"},
			"properties": map[string]any{"at_most": map[string]any{"type": "integer", "minimum": 1, "maximum": maxMetricSeries}},
		},
	}}
}

// describe returns the metric that is declared, nil where its type is none.
func (m *Metric) describe() *load.Metric {
	if !slices.Contains(metricTypes, m.Type.S) {
		return nil
	}
	d := &load.Metric{Type: m.Type.S, Unit: m.Unit.S, Help: m.Help.S}
	if d.Type == load.MetricTrend {
		d.Unit = m.UnitOfTrend()
	}
	for _, b := range m.Buckets {
		if v, ok := bucket(d, b.S); ok {
			d.Buckets = append(d.Buckets, v)
		}
	}
	for _, l := range m.Labels {
		label := load.MetricLabel{Name: l.Name.S, AtMost: max(1, l.Value.AtMost, len(l.Value.Values))}
		for _, v := range l.Value.Values {
			label.Values = append(label.Values, v.S)
		}
		d.Labels = append(d.Labels, label)
	}
	return d
}

// UnitOfTrend is what the values of the metric are in, if it is a trend.
func (m *Metric) UnitOfTrend() string {
	if m.Unit.S == "" {
		return load.UnitSeconds
	}
	return m.Unit.S
}

// bucket reads an upper bound of a trend's bucket.
func bucket(d *load.Metric, text string) (v float64, ok bool) {
	if !d.Numbers() {
		span, err := block.ParseDuration(text)
		return span.Seconds(), err == nil && span > 0
	}
	if size, err := block.ParseSize(text); err == nil && d.Unit == load.UnitBytes {
		return float64(size), size > 0
	}
	v, err := strconv.ParseFloat(text, 64)
	return v, err == nil && v > 0 && !math.IsInf(v, 0)
}

// CheckMetrics checks the declarations of a scenario's metrics.
func CheckMetrics(m Metrics, at *block.Node, errs *block.Errors) {
	if len(m) > maxMetrics {
		errs.Add(at.Pos, at.Path, "a scenario may have at most %d metrics, got %d", maxMetrics, len(m))
	}
	all := 0
	for i := range m {
		checkMetricName(m[i].Name, errs)
		d := &m[i].Value
		if kind := d.Type; !slices.Contains(metricTypes, kind.S) {
			if kind.Path == "" {
				continue // decoding said so
			}
			e := errs.Add(kind.Pos, kind.Path, "must be counter, rate, gauge or trend, got %q", kind.S)
			if e.Hint = block.Nearest(strings.ToLower(kind.S), metricTypes); kind.S == "histogram" || kind.S == "summary" || kind.S == "timer" {
				e.Hint = "write trend"
			}
			continue
		}
		d.check(errs)
		series := d.describe().Series()
		if series > maxMetricSeries {
			at := d.Labels[0].Name
			e := errs.Add(at.Pos, at.Path, "%s has up to %d series, one for each combination of values of its labels, and at most %d are allowed", m[i].Name, series, maxMetricSeries)
			e.Hint = "have fewer labels or values"
		}
		series = min(series, maxMetricSeries)
		if all += series; all > maxAllSeries && all-series <= maxAllSeries {
			e := errs.Add(m[i].Name.Pos, m[i].Name.Path, "the metrics of a scenario may have %d series in all, and this one makes it %d", maxAllSeries, all)
			e.Hint = "have fewer labels or values"
		}
	}
}

func checkMetricName(at block.Text, errs *block.Errors) {
	_, timing := load.MessageTimingNamed(at.S)
	switch name := at.S; {
	case timing:
		errs.Add(at.Pos, at.Path, "%s is what perfd times of messages", name).Hint = "give the metric another name"
	case !identifier.MatchString(name) || strings.HasPrefix(name, "__"):
		e := errs.Add(at.Pos, at.Path, "a metric's name is made of letters, digits and _, and does not begin with a digit or __, got %q", name)
		e.Hint = "write " + strings.Trim(strings.Map(func(r rune) rune {
			if r < 128 && identifier.MatchString("_"+string(r)) {
				return r
			}
			return '_'
		}, name), "_")
	case strings.HasSuffix(name, "_total") || strings.HasPrefix(name, "perfd_"):
		errs.Add(at.Pos, at.Path, "the name stands in the label metric of perfd_custom_…, without perfd_ and _total, got %q", name).Hint =
			"write " + strings.TrimSuffix(strings.TrimPrefix(name, "perfd_"), "_total")
	}
}

var unitName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,29}$`)

// notSeconds are units of time that nothing is exposed in.
var notSeconds = []string{"s", "sec", "second", "ms", "millis", "millisecond", "milliseconds", "us", "microseconds", "ns", "nanoseconds", "m", "minutes", "h", "hours", "time", "duration"}

// check checks what is declared of a metric beside its name and type.
func (m *Metric) check(errs *block.Errors) {
	unit := m.Unit
	switch {
	case unit.Path == "":
	case m.Type.S == load.MetricRate:
		errs.Add(unit.Pos, unit.Path, "a rate has no unit: it is a share of events").Hint = "leave it out"
	case slices.Contains(notSeconds, strings.ToLower(unit.S)):
		errs.Add(unit.Pos, unit.Path, "times are in seconds, got %q", unit.S).Hint = "write seconds, and add durations or seconds: number(json.millis) / 1000"
	case !unitName.MatchString(unit.S):
		errs.Add(unit.Pos, unit.Path, "a unit is a word of up to 30 small letters, digits and _, got %q", unit.S).Hint = "write bytes, items, orders or euros"
	}
	if len(m.Help.S) > maxHelp {
		errs.Add(m.Help.Pos, m.Help.Path, "may have at most %d bytes, got %d", maxHelp, len(m.Help.S))
	}
	m.checkBuckets(errs)
	if len(m.Labels) > maxMetricLabels {
		errs.Add(m.Labels[0].Name.Pos, m.Labels[0].Name.Path, "a metric may have at most %d labels, got %d", maxMetricLabels, len(m.Labels))
	}
	for i := range m.Labels {
		m.Labels[i].Value.check(m.Labels[i].Name, errs)
	}
}

func (m *Metric) checkBuckets(errs *block.Errors) {
	if len(m.Buckets) == 0 {
		return
	}
	first := m.Buckets[0]
	if m.Type.S != load.MetricTrend {
		errs.Add(first.Pos, first.Path, "a %s has no buckets", m.Type).Hint = "a trend has: its values are a histogram"
		return
	}
	if len(m.Buckets) > maxBuckets {
		errs.Add(first.Pos, first.Path, "a trend may have at most %d buckets, got %d", maxBuckets, len(m.Buckets))
	}
	d := m.describe()
	before, scale := int64(0), load.ScaleOf(d.Unit)
	for _, b := range m.Buckets {
		v, ok := bucket(d, b.S)
		units := scale.Units(v)
		switch {
		case !ok && d.Numbers():
			errs.Add(b.Pos, b.Path, "must be a number above 0, got %q", b.S)
		case !ok:
			e := errs.Add(b.Pos, b.Path, "must be a duration above 0, got %q", b.S)
			if _, err := strconv.ParseFloat(b.S, 64); err == nil {
				e.Hint = "write " + b.S + "s, or give the trend a unit for values that are no durations: unit: items"
			}
		case v >= scale.Value(maxUnits):
			errs.Add(b.Pos, b.Path, "must be less than %.2g %s, got %s", scale.Value(maxUnits), d.Unit, b.S)
		case units <= before:
			errs.Add(b.Pos, b.Path, "must be above the one before, got %s", b.S).Hint = "buckets rise: [1, 10, 100]"
		default:
			before = units
		}
	}
}

// maxUnits is what the histogram of a trend reaches to, in its units.
const maxUnits = 3600 * 1e9

// metricLabels are labels that a metric of a scenario's own has already, or that Prometheus sets.
var metricLabels = []string{"scenario", "metric", "type", "unit", "help", "job", "instance", "le", "quantile"}

func (l *Label) check(name block.Text, errs *block.Errors) {
	switch {
	case slices.Contains(metricLabels, name.S):
		errs.Add(name.Pos, name.Path, "label %q is perfd's own", name.S).Hint = "own are " + strings.Join(metricLabels, ", ")
	case !identifier.MatchString(name.S) || strings.HasPrefix(name.S, "__"):
		errs.Add(name.Pos, name.Path, "a label is made of letters, digits and _ and does not begin with a digit or __, got %q", name.S)
	}
	seen := map[string]bool{}
	for _, v := range l.Values {
		switch {
		case v.S == "":
			errs.Add(v.Pos, v.Path, "must not be empty: a label without a value is none")
		case len(v.S) > maxLabelValue || !utf8.ValidString(v.S):
			errs.Add(v.Pos, v.Path, "must be text of at most %d bytes, got %d", maxLabelValue, len(v.S))
		case seen[v.S]:
			errs.Add(v.Pos, v.Path, "stands there twice, %q", v.S)
		}
		seen[v.S] = true
	}
	if l.Values != nil && len(l.Values) == 0 {
		errs.Add(name.Pos, name.Path, "must have at least one value")
	}
}

// metrics appends the metrics to the steps, behind all others.
func (k *compiler) metrics() {
	for i := range k.o.Metrics {
		m := &k.o.Metrics[i]
		if !k.added[i] {
			k.p.Unset = append(k.p.Unset, m.Name)
		}
		if first, twice := k.labels[m.Name.S]; twice {
			k.o.Errors.Add(m.Name.Pos, m.Name.Path, "a step named %q exists already, at %s", m.Name.S, first)
		}
		k.metricSteps = append(k.metricSteps, len(k.p.steps))
		k.p.Steps = append(k.p.Steps, StepDesc{Label: m.Name.S, Target: k.o.Target.S, Protocol: load.GroupProtocol, Group: true, Metric: m.Value.describe()})
		k.p.steps = append(k.p.steps, step{index: len(k.p.steps), target: k.targetIndex(0)})
	}
	for i := range k.p.code {
		if a := k.p.code[i].add; a != nil && a.index < len(k.metricSteps) {
			a.step = k.metricSteps[a.index]
		}
	}
	for i := range k.p.steps {
		for _, a := range k.p.steps[i].adds {
			if a.index < len(k.metricSteps) {
				a.step = k.metricSteps[a.index]
			}
		}
	}
}
