package flow

import (
	"fmt"
	"slices"
	"strings"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/load"
)

// Metrics are the metrics of a scenario's own, by name, with the type of each.
type Metrics = block.Entries[block.Text]

// addKey is the key of values for metrics.
const addKey = "add"

var metricTypes = []string{load.MetricCounter, load.MetricRate, load.MetricGauge, load.MetricTrend}

// maxMetrics bounds the metrics of one scenario.
const maxMetrics = 50

// A MetricSink takes the values of metrics. Add is called concurrently.
type MetricSink interface {
	// Add takes a value of the metric that is a step of the program: what a counter grows by, whether a rate's event is
	// one (1) or not (0), what a gauge is now, the seconds of a trend.
	Add(vu, step int, value float64)
}

// An Add gives metrics values.
type Add struct {
	Add block.Entries[block.Text] `yaml:"add" block:"required" doc:"Values for the scenario's metrics, as expressions over variables: {orders: 1, vip: user.vip == true}."`
}

func (*Add) inside() []*Config { return nil }

// An addition is a value for a metric.
type addition struct {
	index int // of the metric
	step  int // in Program.Steps, once all are there
	kind  string
	name  string
	vars  *expr.Expression // of an entry of the flow
	value *expr.Extraction // of a request
}

func (a *Add) compile(k *compiler, _ *block.Node, in place) {
	for _, x := range a.Add {
		add := k.addition(x)
		if add == nil {
			continue
		}
		add.vars = expr.ParseExpression(x.Value, in.symbols, k.o.Errors, typesOf[add.kind]...)
		k.emit(op{code: opAdd, add: add})
	}
}

// typesOf are the types of values that metrics take, by type of metric.
var typesOf = map[string][]expr.Type{
	load.MetricCounter: {expr.Number}, load.MetricRate: {expr.Bool},
	load.MetricGauge: {expr.Number, expr.Duration}, load.MetricTrend: {expr.Duration, expr.Number},
}

// ofAnswer compiles the values that a request has for metrics.
func (k *compiler) ofAnswer(r *Request, s *expr.Symbols) (list []*addition, keep expr.Keep) {
	for _, x := range r.Add {
		add := k.addition(x)
		if add == nil {
			continue
		}
		if add.value = expr.ParseExtraction(x.Value, s, k.o.Errors); add.value == nil {
			continue
		}
		if kind := add.value.Type(); kind != expr.Any && !slices.Contains(typesOf[add.kind], kind) {
			k.o.Errors.Add(x.Value.Pos, x.Value.Path, "a %s takes %s, %q is %s", add.kind, typesOf[add.kind][0], x.Value.S, kind).Hint = hintOfValue(add.kind)
			continue
		}
		keep.Merge(add.value.Keep())
		list = append(list, add)
	}
	return list, keep
}

func hintOfValue(kind string) string {
	if kind == load.MetricRate {
		return "write a condition: status == 200"
	}
	return "write number(x) for text that is a number"
}

// addition returns that of an entry without its expression, nil if there is no such metric.
func (k *compiler) addition(x block.Entry[block.Text]) *addition {
	if k.part != "" {
		k.o.Errors.Add(x.Name.Pos, x.Name.Path, "metrics are of iterations, and %s is none", k.part)
		return nil
	}
	var names []string
	for i, m := range k.o.Metrics {
		if m.Name.S == x.Name.S {
			k.added[i] = true
			kind := m.Value.S
			if !slices.Contains(metricTypes, kind) {
				return nil // was reported at its declaration
			}
			return &addition{index: i, kind: kind, name: m.Name.S}
		}
		names = append(names, m.Name.S)
	}
	if k.alone { // the metrics are those of the scenarios that use the flow
		return &addition{kind: load.MetricGauge, name: x.Name.S}
	}
	e := k.o.Errors.Add(x.Name.Pos, x.Name.Path, "unknown metric %q", x.Name.S)
	if e.Hint = block.Nearest(x.Name.S, names); len(names) == 0 {
		e.Hint = "declare it in the scenario: metrics: {" + x.Name.S + ": counter}, or rate, gauge or trend"
	}
	return nil
}

// metrics appends the metrics to the steps, behind all others.
func (k *compiler) metrics() {
	for i, m := range k.o.Metrics {
		if !k.added[i] {
			k.p.Unset = append(k.p.Unset, m.Name)
		}
		if first, twice := k.labels[m.Name.S]; twice {
			k.o.Errors.Add(m.Name.Pos, m.Name.Path, "a step named %q exists already, at %s", m.Name.S, first)
		}
		k.metricSteps = append(k.metricSteps, len(k.p.steps))
		k.p.Steps = append(k.p.Steps, StepDesc{Label: m.Name.S, Target: k.o.Target.S, Protocol: load.GroupProtocol, Group: true, Metric: m.Value.S})
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

// CheckMetrics checks the declarations of a scenario's metrics.
func CheckMetrics(m Metrics, at *block.Node, errs *block.Errors) {
	if len(m) > maxMetrics {
		errs.Add(at.Pos, at.Path, "a scenario may have at most %d metrics, got %d", maxMetrics, len(m))
	}
	for _, x := range m {
		switch name := x.Name.S; {
		case !identifier.MatchString(name) || strings.HasPrefix(name, "__"):
			e := errs.Add(x.Name.Pos, x.Name.Path, "a metric's name is made of letters, digits and _, and does not begin with a digit or __, got %q", name)
			e.Hint = "write " + strings.Trim(strings.Map(func(r rune) rune {
				if r < 128 && identifier.MatchString("_"+string(r)) {
					return r
				}
				return '_'
			}, name), "_")
		case strings.HasSuffix(name, "_total") || strings.HasPrefix(name, "perfd_"):
			errs.Add(x.Name.Pos, x.Name.Path, "the name stands in the label metric of perfd_custom_…, without perfd_ and _total, got %q", name).Hint =
				"write " + strings.TrimSuffix(strings.TrimPrefix(name, "perfd_"), "_total")
		}
		if kind := x.Value; !slices.Contains(metricTypes, kind.S) && kind.Path != "" {
			e := errs.Add(kind.Pos, kind.Path, "must be counter, rate, gauge or trend, got %q", kind.S)
			if e.Hint = block.Nearest(strings.ToLower(kind.S), metricTypes); kind.S == "histogram" || kind.S == "summary" || kind.S == "timer" {
				e.Hint = "write trend"
			}
		}
	}
}

// add gives a metric a value that an entry of the flow has.
func (v *VU) add(a *addition) {
	value, err := a.vars.Value(&v.scope)
	if err == nil {
		err = v.measure(a, value)
	}
	if err != nil {
		v.fault(load.Extract, fmt.Errorf("add: %s: %w", a.name, err))
	}
}

// addAnswer gives metrics the values of an answer. Without one, or where the condition of a rate has no value, a rate
// takes an event that is none, and the others nothing.
func (v *VU) addAnswer(s *step, r *load.Result, response expr.Response) error {
	if r.Cause == load.Canceled {
		return nil
	}
	for _, a := range s.adds {
		value := expr.Boolean(false)
		if response != nil {
			got, err := a.value.Eval(&v.scope, response)
			switch {
			case err == nil:
				value = got
			case a.kind != load.MetricRate && r.Cause == load.None:
				return fmt.Errorf("add: %s: %w", a.name, err)
			case a.kind != load.MetricRate:
				continue
			}
		} else if a.kind != load.MetricRate {
			continue
		}
		if err := v.measure(a, value); err != nil {
			return fmt.Errorf("add: %s: %w", a.name, err)
		}
	}
	v.scope.Answered()
	return nil
}

// measure gives a metric a value.
func (v *VU) measure(a *addition, value expr.Value) error {
	number, ok := value.Measure()
	switch {
	case !ok || !slices.Contains(typesOf[a.kind], value.Type()):
		return fmt.Errorf("a %s takes %s, got %s", a.kind, typesOf[a.kind][0], value.Type())
	case number < 0 && a.kind != load.MetricGauge:
		return fmt.Errorf("a %s takes nothing below 0, got %s", a.kind, value)
	}
	if v.rt.Metrics != nil {
		v.rt.Metrics.Add(v.users[0].ID, a.step, number)
	}
	return nil
}
