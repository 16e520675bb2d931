package flow

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/load"
)

// taken takes the values of metrics.
type taken []string

func (g *taken) Add(_, step int, labels []byte, value float64) {
	of := ""
	if labels != nil {
		of = "{" + strings.ReplaceAll(string(labels), string([]byte{load.LabelSeparator}), ",") + "}"
	}
	*g = append(*g, fmt.Sprint(step, of, "=", value))
}

func declared(pairs ...string) (m Metrics) {
	for i := 0; i < len(pairs); i += 2 {
		m = append(m, block.Entry[Metric]{Name: block.Text{S: pairs[i], Path: "metrics"}, Value: Metric{Type: block.Text{S: pairs[i+1], Path: "metrics." + pairs[i]}}})
	}
	return m
}

// What add says arrives once for each time: of answers, of requests without one, and of entries of the flow.
func TestValuesOfMetrics(t *testing.T) {
	p := must(t, `
metrics: {ok: rate, took: trend, items: counter, load: gauge, seen: gauge}
flow:
  - {name: a, fake: {send: '{"ms":250,"n":2}'}, extract: {n: json.n}, add: {ok: status == 200, took: json.ms / 1000, seen: json.none}}
  - repeat: 2
    steps: [{add: {items: n + 1, load: n * 2, ok: n > 3, took: 2s}}]
  - {name: b, fake: {send: x, fail: timeout}, add: {ok: status == 200, took: duration}}`)
	run := newPerformer()
	var got taken
	run.rt.Metrics = &got
	run.iterate(p.NewVU(0, run.rt), 0)
	// Steps 0 and 1 are requests. The iteration ends where a value is missing.
	if d := cmp.Diff([]string{"2=1", "3=0.25"}, []string(got)); d != "" {
		t.Errorf("values with one missing (-want +got):\n%s", d)
	}
	if len(run.failed) != 1 || !strings.Contains(run.failed[0], "a: extract: add: seen: json.none: not in the answer") {
		t.Errorf("failures = %q, want that of seen", run.failed)
	}

	p = must(t, `
metrics: {ok: rate, took: trend, items: counter, load: gauge}
flow:
  - {name: a, fake: {send: '{"ms":250,"n":2}'}, extract: {n: json.n}, add: {ok: status == 200, took: json.ms / 1000}}
  - repeat: 2
    steps: [{add: {items: n + 1, load: n * 2, ok: n > 3, took: 2s}}]
  - {name: b, fake: {send: x, fail: timeout}, add: {ok: status == 200, took: duration}}
  - when: n < 0
    steps: [{add: {items: 1}}]`)
	got = nil
	run = newPerformer()
	run.rt.Metrics = &got
	run.iterate(p.NewVU(0, run.rt), 0)
	want := []string{"2=1", "3=0.25", "4=3", "5=4", "2=0", "3=2", "4=3", "5=4", "2=0", "3=2", "2=0"}
	if d := cmp.Diff(want, []string(got)); d != "" {
		t.Errorf("values (-want +got):\n%s", d)
	}
	run = newPerformer()
	run.iterate(p.NewVU(0, run.rt), 0) // nobody takes them
	if p.Requests != 2 || len(p.Unset) != 0 {
		t.Errorf("%d requests and %v unset, want 2 and none", p.Requests, p.Unset)
	}
}

func TestMistakesOfMetrics(t *testing.T) {
	for _, c := range []struct{ flow, want string }{
		{`[{name: a, fake: {send: x}, add: {oks: status == 200}}]`, `did you mean "ok"?`},
		{`[{name: a, fake: {send: x}, add: {ok: status}}]`, `must be a boolean, "status" is a number`},
		{`[{name: a, fake: {send: x}, add: {n: status == 200}}]`, `must be a number, "status == 200" is a boolean`},
		{`[{name: a, fake: {send: x}}, {add: {n: "'x'"}}]`, `must be a number`},
		{`[{name: a, fake: {send: x}}, {add: {n: status}}]`, `unknown name "status"`},
		{`[{name: n, fake: {send: x}}]`, `a step named "n" exists already`},
	} {
		_, err := compile(t, "metrics: {ok: rate, n: counter}\nflow: "+c.flow)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.flow, err, c.want)
		}
	}
	p := must(t, "metrics: {ok: rate, n: counter}\nflow: [{name: a, fake: {send: x}, add: {ok: status == 200}}]")
	if len(p.Unset) != 1 || p.Unset[0].S != "n" {
		t.Errorf("unset are %v, want n", p.Unset)
	}
	for _, c := range []struct{ name, kind, want string }{
		{"order-time", "trend", "write order_time"},
		{"1st", "rate", "made of letters"},
		{"orders_total", "counter", "write orders"},
		{"perfd_x", "gauge", "write x"},
		{"x", "histogram", "write trend"},
		{"x", "Counter", `did you mean "counter"?`},
	} {
		var errs block.Errors
		CheckMetrics(declared(c.name, c.kind), &block.Node{}, &errs)
		if errs.Len() != 1 || !strings.Contains(errs.Err().Error(), c.want) {
			t.Errorf("metric %s of type %s: %v, want %q", c.name, c.kind, errs.Err(), c.want)
		}
	}
}

// Labels of a metric are evaluated in the order of their declaration, of answers and of variables; one without a value is empty.
func TestLabelsOfMetrics(t *testing.T) {
	p := must(t, `
metrics:
  size: {type: trend, unit: items, labels: {plan: [free, pro], code: {at_most: 3}}}
  ok: {type: rate, labels: {plan: [free, pro]}}
flow:
  - {name: a, fake: {send: '{"plan":"pro","n":7}'}, extract: {plan: json.plan}, add: {size: {value: json.n, labels: {code: status, plan: json.plan}}}}
  - add: {size: {value: "2", labels: {plan: plan, code: "'x'"}}}
  - {name: b, fake: {send: x, fail: timeout}, add: {ok: {value: status == 200, labels: {plan: header("Plan")}}}}`)
	run := newPerformer()
	var got taken
	run.rt.Metrics = &got
	run.iterate(p.NewVU(0, run.rt), 0)
	if d := cmp.Diff([]string{"2{pro,200}=7", "2{pro,x}=2", "3{}=0"}, []string(got)); d != "" {
		t.Errorf("values (-want +got):\n%s", d)
	}
	if d := p.Steps[2].Metric; d.Unit != "items" || d.Series() != 6 || !d.Numbers() {
		t.Errorf("size is %+v, want a trend of items with 6 series", d)
	}
	run.rt.Metrics = nobody{}
	v := p.NewVU(0, run.rt)
	run.iterate(v, 0)
	if n := testing.AllocsPerRun(100, func() { v.add(p.code[1].add) }); n > 0 && !raceDetector {
		t.Errorf("a value with labels allocates %v times, want 0", n)
	}
}

type nobody struct{}

func (nobody) Add(int, int, []byte, float64) {}

func TestMistakesOfDeclarations(t *testing.T) {
	for _, c := range []struct{ metrics, add, want string }{
		{"{n: {type: trend, unit: ms}}", "1", "times are in seconds"},
		{"{n: {type: trend, unit: Items}}", "1", "a word of up to 30 small letters"},
		{"{n: {type: rate, unit: logins}}", "1 > 0", "a rate has no unit"},
		{"{n: {type: counter, buckets: [1]}}", "1", "a counter has no buckets"},
		{"{n: {type: trend, buckets: [1]}}", "1", "write 1s, or give the trend a unit"},
		{"{n: {type: trend, unit: items, buckets: [1, 5, 5]}}", "1", "must be above the one before"},
		{"{n: {type: trend, unit: items, buckets: [10ms]}}", "1", "must be a number above 0"},
		{"{n: {type: trend, unit: items}}", "300ms", `must be a number`},
		{"{n: {type: counter, labels: {plan: free}}}", "1", "write [free], with all of its values, or {at_most: 20}"},
		{"{n: {type: counter, labels: {plan: 20}}}", "1", "write {at_most: 20}"},
		{"{n: {type: counter, labels: {plan: {at_most: 0}}}}", "1", "must be between 1 and 200"},
		{"{n: {type: counter, labels: {plan: [a, a]}}}", "1", "stands there twice"},
		{"{n: {type: counter, labels: {plan: []}}}", "1", "must have at least one value"},
		{"{n: {type: counter, labels: {metric: [a]}}}", "1", `label "metric" is perfd's own`},
		{"{n: {type: counter, labels: {my-plan: [a]}}}", "1", "a label is made of letters"},
		{"{n: {type: counter, labels: {a: {at_most: 20}, b: {at_most: 20}}}}", "1", "up to 400 series"},
		{"{n: {type: counter, labels: {plan: [free]}}}", "1", `n needs a value for its label "plan"`},
		{"{n: {type: counter, labels: {plan: [free]}}}", "{value: 1, labels: {plan: free}}", `write '"free"' for the text itself`},
		{"{n: {type: counter, labels: {plan: [free]}}}", "{value: 1, labels: {pan: 1, plan: 1}}", `did you mean "plan"?`},
		{"{n: counter}", "{value: 1, labels: {plan: 1}}", "declare it with its values: metrics: {n: {type: counter, labels: {plan: […]}}}"},
		{"{n: {kind: counter}}", "1", `unknown key "kind"`},
	} {
		_, err := compile(t, "metrics: "+c.metrics+"\nflow: [{name: a, fake: {send: x}}, {add: {n: "+c.add+"}}]")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("metrics %s with add %s: %v, want %q", c.metrics, c.add, err, c.want)
		}
	}
}
