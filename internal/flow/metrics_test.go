package flow

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/block"
)

// taken takes the values of metrics.
type taken []string

func (g *taken) Add(_, step int, value float64) { *g = append(*g, fmt.Sprint(step, "=", value)) }

func declared(pairs ...string) (m Metrics) {
	for i := 0; i < len(pairs); i += 2 {
		m = append(m, block.Entry[block.Text]{Name: block.Text{S: pairs[i], Path: "metrics"}, Value: block.Text{S: pairs[i+1], Path: "metrics." + pairs[i]}})
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
		{`[{name: a, fake: {send: x}, add: {ok: status}}]`, `a rate takes a boolean, "status" is a number`},
		{`[{name: a, fake: {send: x}, add: {n: status == 200}}]`, `a counter takes a number, "status == 200" is a boolean`},
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
