package flow

import (
	"fmt"
	"slices"
	"strings"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/load"
)

// addKey is the key of values for metrics.
const addKey = "add"

// A MetricSink takes the values of metrics. Add is called concurrently.
type MetricSink interface {
	// Add takes a value of the metric that is a step of the program: what a counter grows by, whether a rate's event is
	// one (1) or not (0), what a gauge is now, the number of a trend, of a duration its seconds. Labels are the values of
	// the metric's labels in their order, with load.LabelSeparator between them; Add keeps nothing of them.
	Add(vu, step int, labels []byte, value float64)
}

// An Add gives metrics values.
type Add struct {
	Add block.Entries[Addend] `yaml:"add" block:"required" doc:"Values for the scenario's metrics, as expressions over variables: {orders: 1, vip: user.vip == true}, or {orders: {value: 1, labels: {plan: user.plan}}}."`
}

func (*Add) inside() []*Config { return nil }

// An Addend is a value for a metric, with labels where the metric has some.
type Addend struct {
	Value  block.Text                `yaml:"value" block:"required" doc:"The value, as an expression."`
	Labels block.Entries[block.Text] `yaml:"labels" doc:"A value for each label of the metric, as expressions: {plan: user.plan}."`
}

// DecodeBlock decodes an expression, or a mapping.
func (g *Addend) DecodeBlock(n *block.Node, errs *block.Errors) {
	if n.Kind == block.Map {
		type plain Addend
		block.Decode(n, (*plain)(g), errs)
		return
	}
	block.Decode(n, &g.Value, errs)
}

// JSONSchema describes both forms.
func (Addend) JSONSchema() map[string]any {
	type plain Addend
	return map[string]any{"anyOf": []any{block.Schema(block.Text{}), block.Schema(plain{})}}
}

// An addition is a value for a metric.
type addition struct {
	index  int // of the metric
	step   int // in Program.Steps, once all are there
	kind   string
	name   string
	types  []expr.Type // of values that the metric takes
	value  source
	labels []source // in the order of the metric's
}

// A source is an expression over variables, of an entry of the flow, or over an answer, of a request.
type source struct {
	vars   *expr.Expression
	answer *expr.Extraction
}

// read returns the value. There is an answer where there must be one.
func (s *source) read(v *VU, r expr.Response) (expr.Value, error) {
	if s.vars != nil {
		return s.vars.Value(&v.scope)
	}
	return s.answer.Eval(&v.scope, r)
}

func (a *Add) compile(k *compiler, _ *block.Node, in place) {
	read := func(t block.Text, types []expr.Type) (source, bool) {
		x := expr.ParseExpression(t, in.symbols, k.o.Errors, types...)
		return source{vars: x}, x != nil
	}
	for _, x := range a.Add {
		if add := k.addition(x, in.symbols, read); add != nil {
			k.emit(op{code: opAdd, add: add})
		}
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
		add := k.addition(x, s, func(t block.Text, types []expr.Type) (source, bool) {
			from := expr.ParseExtraction(t, s, k.o.Errors)
			if from == nil {
				return source{}, false
			}
			if kind := from.Type(); types != nil && kind != expr.Any && !slices.Contains(types, kind) {
				k.o.Errors.Add(t.Pos, t.Path, "must be %s, %q is %s", types[0], t.S, kind).Hint = hintOfValue(types[0], kind)
				return source{}, false
			}
			keep.Merge(from.Keep())
			return source{answer: from}, true
		})
		if add != nil {
			list = append(list, add)
		}
	}
	return list, keep
}

func hintOfValue(want, got expr.Type) string {
	switch {
	case want == expr.Bool:
		return "write a condition: status == 200"
	case got == expr.Duration:
		return "a trend without unit is of durations"
	}
	return "write number(x) for text that is a number"
}

// addition returns that of an entry, whose expressions are read by a function; nil where something is wrong with it.
func (k *compiler) addition(x block.Entry[Addend], s *expr.Symbols, read func(block.Text, []expr.Type) (source, bool)) *addition {
	if k.part != "" {
		k.o.Errors.Add(x.Name.Pos, x.Name.Path, "metrics are of iterations, and %s is none", k.part)
		return nil
	}
	var names []string
	for i := range k.o.Metrics {
		m := &k.o.Metrics[i]
		if m.Name.S != x.Name.S {
			names = append(names, m.Name.S)
			continue
		}
		k.added[i] = true
		d := m.Value.describe()
		if d == nil {
			return nil // was reported at its declaration
		}
		add := &addition{index: i, kind: d.Type, name: m.Name.S, types: typesOf[d.Type]}
		if d.Numbers() {
			add.types = typesOf[load.MetricCounter]
		}
		var ok bool
		add.value, ok = read(x.Value.Value, add.types)
		labels, fits := k.labelsOf(d, x, s, read)
		if add.labels = labels; !ok || !fits {
			return nil
		}
		return add
	}
	if k.alone { // the metrics are those of the scenarios that use the flow
		read(x.Value.Value, nil)
		for _, l := range x.Value.Labels {
			read(l.Value, nil)
		}
		return nil
	}
	e := k.o.Errors.Add(x.Name.Pos, x.Name.Path, "unknown metric %q", x.Name.S)
	if e.Hint = block.Nearest(x.Name.S, names); len(names) == 0 {
		e.Hint = "declare it in the scenario: metrics: {" + x.Name.S + ": counter}, or rate, gauge or trend"
	}
	return nil
}

// labelsOf compiles the labels of an entry in the order of the metric's, and reports whether they are all right.
func (k *compiler) labelsOf(d *load.Metric, x block.Entry[Addend], s *expr.Symbols, read func(block.Text, []expr.Type) (source, bool)) (list []source, ok bool) {
	errs := k.o.Errors
	before := errs.Len()
	var known []string
	for _, l := range d.Labels {
		known = append(known, l.Name)
	}
	for _, given := range x.Value.Labels {
		if slices.Contains(known, given.Name.S) {
			continue
		}
		e := errs.Add(given.Name.Pos, given.Name.Path, "%s has no label %q", x.Name, given.Name.S)
		if e.Hint = block.Nearest(given.Name.S, known); len(known) == 0 {
			e.Hint = "declare it with its values: metrics: {" + x.Name.S + ": {type: " + d.Type + ", labels: {" + given.Name.S + ": […]}}}"
		}
	}
	missing := false
	for _, l := range d.Labels {
		i := slices.IndexFunc(x.Value.Labels, func(given block.Entry[block.Text]) bool { return given.Name.S == l.Name })
		if i < 0 {
			if !missing {
				errs.Add(x.Name.Pos, x.Name.Path, "%s needs a value for its label %q", x.Name, l.Name).Hint =
					"write {value: " + x.Value.Value.String() + ", labels: {" + strings.Join(known, ": …, ") + ": …}}"
			}
			missing = true
			continue
		}
		t := x.Value.Labels[i].Value
		if slices.Contains(l.Values, t.S) && identifier.MatchString(t.S) && !s.Has(t.S) {
			errs.Add(t.Pos, t.Path, "is an expression, and there is no variable %q", t.S).Hint = `write '"` + t.S + `"' for the text itself`
			continue
		}
		from, fits := read(t, nil)
		if fits {
			list = append(list, from)
		}
	}
	return list, errs.Len() == before && len(list) == len(d.Labels)
}

// add gives a metric a value that an entry of the flow has.
func (v *VU) add(a *addition) {
	value, err := a.value.read(v, nil)
	if err == nil {
		err = v.measure(a, value, nil)
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
			got, err := a.value.read(v, response)
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
		if err := v.measure(a, value, response); err != nil {
			return fmt.Errorf("add: %s: %w", a.name, err)
		}
	}
	v.scope.Answered()
	return nil
}

// measure gives a metric a value. Labels that have none are left empty, and the sink leaves the value out.
func (v *VU) measure(a *addition, value expr.Value, response expr.Response) error {
	number, ok := value.Measure()
	switch {
	case !ok || !slices.Contains(a.types, value.Type()):
		return fmt.Errorf("a %s takes %s, got %s", a.kind, a.types[0], value.Type())
	case number < 0 && a.kind != load.MetricGauge:
		return fmt.Errorf("a %s takes nothing below 0, got %s", a.kind, value)
	}
	sink := v.rt.Metrics
	if sink == nil {
		return nil
	}
	if len(a.labels) == 0 {
		sink.Add(v.users[0].ID, a.step, nil, number)
		return nil
	}
	buffer, _ := v.rt.labels.Get().(*[]byte)
	if buffer == nil {
		buffer = &[]byte{} // not nil: labels that are all empty are labels
	}
	defer v.rt.labels.Put(buffer)
	key := (*buffer)[:0]
	for i := range a.labels {
		if i > 0 {
			key = append(key, load.LabelSeparator)
		}
		from := &a.labels[i]
		if from.answer != nil && response == nil {
			continue // a request that was not answered
		}
		if label, err := from.read(v, response); err == nil {
			key = label.Append(key)
		}
	}
	*buffer = key
	sink.Add(v.users[0].ID, a.step, key, number)
	return nil
}
