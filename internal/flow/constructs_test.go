package flow

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/load"
)

func TestConstructs(t *testing.T) {
	for _, c := range []struct {
		name, yaml string
		sent       []string
		outcome    load.Outcome
		failed     []string
	}{
		{
			name: "when and else", yaml: `
flow:
  - set: {vip: true, stock: 3}
  - when: vip && stock > 2
    steps: [{name: a, fake: {send: a}}]
    else: [{name: b, fake: {send: b}}]
  - when: stock > 3
    steps: [{name: c, fake: {send: c}}]
    else: [{name: d, fake: {send: d}}]
  - when: stock > 3
    steps: [{name: e, fake: {send: e}}]
  - {name: f, fake: {send: f}}`,
			sent: []string{"a", "d", "f"},
		},
		{
			name: "chances that are certain", yaml: `
flow:
  - {chance: 100%, steps: [{name: a, fake: {send: a}}], else: [{name: b, fake: {send: b}}]}
  - {chance: 0, steps: [{name: c, fake: {send: c}}], else: [{name: d, fake: {send: d}}]}`,
			sent: []string{"a", "d"},
		},
		{
			name: "choices that are certain", yaml: `
flow:
  - choose:
      - {weight: 0, steps: [{name: a, fake: {send: a}}]}
      - {steps: [{name: b, fake: {send: b}}]}
      - {weight: 0, steps: [{name: c, fake: {send: c}}]}
  - {name: d, fake: {send: d}}`,
			sent: []string{"b", "d"},
		},
		{
			name: "values keep their types", yaml: `
flow:
  - set: {n: 2, text: "2", list: [1, {a: "${n}"}], sum: "${n + 1}", said: "n is ${n}"}
  - {name: a, fake: {send: "${n + 1} ${text + 1} ${list[1].a + 1} ${sum + 1} ${said}"}}`,
			sent: []string{"3 21 3 4 n is 2"},
		},
		{
			name: "loops by number, within each other", yaml: `
flow:
  - repeat: 2
    steps:
      - repeat: {count: 1 + 1, at_most: 9, index: i}
        steps: [{name: a, fake: {send: "a${i}"}}]
      - {name: b, fake: {send: b}}`,
			sent: []string{"a1", "a2", "b", "a1", "a2", "b"},
		},
		{
			name: "for each of a list, which an answer gave", yaml: `
flow:
  - {name: list, fake: {send: '[{"id":7},{"id":8},{"id":9}]'}, extract: {all: json}}
  - repeat: {each: all, as: item, index: n, at_most: 2}
    steps: [{name: a, fake: {send: "${n}:${item.id}"}}]`,
			sent: []string{`[{"id":7},{"id":8},{"id":9}]`, "1:7", "2:8"},
		},
		{
			name: "while, and no pass at all", yaml: `
flow:
  - set: {n: 0}
  - repeat: {while: n < 3, at_most: 100}
    steps:
      - set: {n: "${n + 1}"}
      - {name: a, fake: {send: "${n}"}}
  - repeat: {while: n < 0, at_most: 100}
    steps: [{name: b, fake: {send: b}}]
  - {repeat: 0, steps: [{name: c, fake: {send: c}}]}
  - repeat: {while: n < 100, at_most: 2}
    steps: [{name: d, fake: {send: d}}]`,
			sent: []string{"1", "2", "3", "d", "d"},
		},
		{
			name: "during a time: no pass begins after it", yaml: `
flow:
  - repeat: {during: 25ms}
    steps: [{name: a, fake: {send: a}}]`,
			sent: []string{"a", "a", "a"},
		},
		{
			name: "a loop stops in the middle, and so does all", yaml: `
flow:
  - repeat: {count: 5, index: i}
    steps:
      - {name: a, fake: {send: "${i}"}}
      - {when: i == 2, steps: [{stop_iteration: true}]}
  - {name: b, fake: {send: b}}`,
			sent: []string{"1", "2"},
		},
		{
			name: "a flow that fails says why", yaml: `
flow:
  - {name: a, fake: {send: a}}
  - set: {left: 0}
  - {when: left == 0, steps: [{fail: "sold out, ${left} left"}]}
  - {name: b, fake: {send: b}}`,
			sent: []string{"a"}, outcome: load.Stopped, failed: []string{"b: expect: sold out, 0 left"},
		},
		{
			name: "a condition over what is not there", yaml: `
flow:
  - {name: list, fake: {send: '{"user":{}}'}, extract: {answer: json}}
  - {when: answer.user.vip == true, steps: [{name: a, fake: {send: a}}]}
  - {when: answer.user.age > 3, steps: [{name: b, fake: {send: b}}]}
  - {name: c, fake: {send: c}}`,
			sent: []string{`{"user":{}}`}, outcome: load.Stopped,
			failed: []string{"b: extract: when: answer.user.age > 3: answer.user.age is missing"},
		},
		{
			name: "passes over what is no list", yaml: `
flow:
  - {name: list, fake: {send: '{"all":3}'}, extract: {answer: json}}
  - {repeat: {each: answer.all, as: x, at_most: 5}, steps: [{name: a, fake: {send: a}}]}`,
			sent: []string{`{"all":3}`}, outcome: load.Stopped,
			failed: []string{"a: extract: repeat: answer.all: is a number, not a list"},
		},
		{
			name: "a failed step within constructs stops all", yaml: `
flow:
  - group: g
    steps:
      - repeat: 3
        steps: [{name: a, fake: {send: a, fail: timeout}, on_failure: stop_iteration}]
  - {name: b, fake: {send: b}}`,
			sent: []string{"a"}, outcome: load.Stopped, failed: []string{"g/a: timeout: no answer"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			run := newPerformer()
			v := must(t, c.yaml).NewVU(0, run.rt)
			for range 2 { // the second iteration begins as the first did
				run.sent, run.failed = run.sent[:0], nil
				run.iterate(v, run.now)
				if d := cmp.Diff(c.sent, run.sent); d != "" {
					t.Errorf("sent (-want +got):\n%s", d)
				}
				if d := cmp.Diff(c.failed, run.failed); d != "" {
					t.Errorf("failures (-want +got):\n%s", d)
				}
				if o, _ := v.Outcome(false); o != c.outcome {
					t.Errorf("outcome = %v, want %v", o, c.outcome)
				}
			}
		})
	}
}

func TestChancesAndWeights(t *testing.T) {
	p := must(t, `
flow:
  - {chance: 30%, steps: [{name: a, fake: {send: a}}]}
  - choose:
      - {weight: 7, steps: [{name: b, fake: {send: b}}]}
      - {weight: 2.5, steps: [{name: c, fake: {send: c}}]}
      - {weight: 0.5, steps: [{name: d, fake: {send: d}}]}`)
	run := newPerformer()
	v := p.NewVU(3, run.rt)
	const n = 20_000
	for range n {
		run.iterate(v, run.now)
	}
	counts := map[string]float64{}
	for _, s := range run.sent {
		counts[s]++
	}
	for what, p := range map[string]float64{"a": .3, "b": .7, "c": .25, "d": .05} {
		// Five standard deviations of a binomial distribution: missed once in 1.7 million runs, and the seed is fixed.
		if off := math.Abs(counts[what] - n*p); off > 5*math.Sqrt(n*p*(1-p)) {
			t.Errorf("%s was performed %v times of %d, want %v", what, counts[what], n, n*p)
		}
	}
	if p.Expected != 1.3 || p.Requests != 1 {
		t.Errorf("%v requests are expected and %d certain, want 1.3 and 1", p.Expected, p.Requests)
	}
}

func TestRequestsOfAnIteration(t *testing.T) {
	p := must(t, `
flow:
  - {name: a, fake: {}}
  - repeat: 3
    steps:
      - {name: b, fake: {}}
      - {chance: 50%, steps: [{name: c, fake: {}}, {think: 2s}]}
  - set: {n: 1}
  - {when: n > 0, steps: [{name: d, fake: {}}]}
  - {parallel: {count: 4}, steps: [{name: e, fake: {}}]}
  - {once_per_vu: [{name: f, fake: {}}]}
  - {group: g, steps: [{name: h, fake: {}}]}`)
	type counts struct {
		certain  int
		expected float64
	}
	got := map[string]counts{}
	for _, s := range p.Steps {
		if !s.Group {
			got[s.Label] = counts{s.PerIteration, s.Expected}
		}
	}
	want := map[string]counts{"a": {1, 1}, "b": {3, 3}, "c": {0, 1.5}, "d": {0, 1}, "e": {4, 4}, "f": {0, 0}, "g/h": {1, 1}}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(counts{})); d != "" {
		t.Errorf("requests of steps (-want +got):\n%s", d)
	}
	if p.Requests != 9 || p.Expected != 11.5 || p.Think != 3*time.Second {
		t.Errorf("%d certain, %v expected requests, %v of thinking; want 9, 11.5 and 3s", p.Requests, p.Expected, p.Think)
	}
	var outline []string
	for _, l := range p.Outline {
		outline = append(outline, fmt.Sprintf("%s%s %v", strings.Repeat("  ", l.Depth), l.Text, l.Expected))
	}
	if d := cmp.Diff([]string{
		"a 1", "repeat 3 times 4.5", "  b 3", "  with a chance of 50% 1.5", "    c 1.5", "when n > 0 1", "  d 1",
		"at once, 20 at most: 4 times 4", "  e 4", "once for each virtual user 0", "  f 0", "group g 1", "  g/h 1",
	}, outline); d != "" {
		t.Errorf("outline (-want +got):\n%s", d)
	}
}

func TestAGroupIsMeasuredAsAWhole(t *testing.T) {
	p := must(t, `
flow:
  - group: checkout
    steps:
      - {name: cart, fake: {send: a}}
      - think: 1s
      - {group: pay, steps: [{name: bank, fake: {send: b, takes: 30ms, fail: status}}]}
  - {name: after, fake: {send: c}}`)
	run := newPerformer()
	run.iterate(p.NewVU(0, run.rt), 0)
	type result struct {
		step       string
		due, lasts time.Duration
		cause      load.Cause
	}
	var got []result
	for _, r := range run.results {
		got = append(got, result{p.Steps[r.Step].Label, time.Duration(r.Due), time.Duration(r.Duration()), r.Cause})
	}
	ms := time.Millisecond
	if d := cmp.Diff([]result{
		{"checkout/cart", 0, 10 * ms, load.None},
		{"checkout/pay/bank", 1010 * ms, 30 * ms, load.Status},
		{"checkout/pay", 1010 * ms, 30 * ms, load.Status},
		{"checkout", 0, 40 * ms, load.Status},
		{"after", 1040 * ms, 10 * ms, load.None},
	}, got, cmp.AllowUnexported(result{})); d != "" {
		t.Errorf("results (-want +got):\n%s", d)
	}
	if first := p.Steps[0]; first.Group {
		t.Errorf("the first step of the program is the group %s", first.Label)
	}
}

func TestOncePerVU(t *testing.T) {
	p := must(t, `
data: {users: {file: users.csv}}
flow:
  - once_per_vu:
      - {name: login, fake: {send: '{"token": "${users.email}"}'}, extract: {token: json.token}}
  - {name: a, fake: {send: "${token} ${users.email}"}}`)
	run := newPerformer()
	v, other := p.NewVU(0, run.rt), p.NewVU(1, run.rt)
	for _, v := range []*VU{v, v, other, v} {
		run.iterate(v, run.now)
	}
	if d := cmp.Diff([]string{
		`{"token": "a@x"}`, "a@x a@x", "a@x b@x", `{"token": "c@x"}`, "c@x c@x", "a@x a@x",
	}, run.sent); d != "" {
		t.Errorf("sent (-want +got):\n%s", d)
	}
}

func TestOnceTriesAgainAfterAFailure(t *testing.T) {
	p := must(t, `
flow:
  - once_per_vu: [{name: login, fake: {send: "${iteration}"}, expect: body == "2", on_failure: stop_iteration}]
  - {name: a, fake: {send: a}}`)
	run := newPerformer()
	v := p.NewVU(0, run.rt)
	for range 3 {
		run.iterate(v, run.now)
	}
	if d := cmp.Diff([]string{"1", "2", "a", "a"}, run.sent); d != "" {
		t.Errorf("sent (-want +got):\n%s", d)
	}
}

func TestPace(t *testing.T) {
	for _, c := range []struct {
		name, yaml string
		wakes      []time.Duration
	}{
		{"the rest is waited for", "flow: [{name: a, fake: {}}, {pace: 1s}]", []time.Duration{time.Second}},
		{"after a failure too", "flow: [{pace: 1s}, {name: a, fake: {fail: timeout}, on_failure: stop_iteration}]", []time.Duration{time.Second}},
		{"nothing where it took longer", "flow: [{name: a, fake: {takes: 2s}}, {pace: 1s}]", nil},
		{"of a loop", "flow: [{repeat: {count: 3, pace: 1s}, steps: [{name: a, fake: {}}]}]", []time.Duration{time.Second, 2 * time.Second, 3 * time.Second}},
	} {
		t.Run(c.name, func(t *testing.T) {
			run := newPerformer()
			wakes := run.iterate(must(t, c.yaml).NewVU(0, run.rt), 0)
			if d := cmp.Diff(c.wakes, wakes); d != "" {
				t.Errorf("wakes (-want +got):\n%s", d)
			}
		})
	}
}

// An iteration that only waits for the rest of its pace when a run ends has done all its work.
func TestAnIterationThatWaitsForItsPaceIsComplete(t *testing.T) {
	for _, c := range []struct {
		yaml string
		want load.Outcome
	}{
		{"flow: [{name: a, fake: {}}, {pace: 1s}]", load.Completed},
		{"flow: [{pace: 1s}, {name: a, fake: {fail: timeout}, on_failure: stop_iteration}]", load.Stopped},
		{"flow: [{pace: 1s}, {name: a, fake: {}}, {think: 1s}, {name: b, fake: {}}]", load.Interrupted},
		{"flow: [{name: a, fake: {}}, {think: 1s}]", load.Interrupted},
	} {
		run := newPerformer()
		v := must(t, c.yaml).NewVU(0, run.rt)
		if !v.Begin(0) {
			t.Fatal("no iteration begins")
		}
		if wake, done := v.Go(); done || wake == 0 {
			t.Fatalf("%s does not wait", c.yaml)
		}
		v.Interrupt()
		if got, _ := v.Outcome(true); got != c.want {
			t.Errorf("%s: the iteration that is cut off is %v, want %v", c.yaml, got, c.want)
		}
	}
}

func TestRetriesAreOneRequest(t *testing.T) {
	p := must(t, `
flow:
  - set: {n: 0}
  - {name: a, fake: {send: x, fail: status}, on_failure: {retry: {attempts: 4, back_off: 1s, max_wait: 1500ms, then: stop_iteration}}}
  - {name: b, fake: {}}`)
	run := newPerformer()
	v := p.NewVU(0, run.rt)
	wakes := run.iterate(v, 0)
	if len(run.sent) != 4 || len(run.results) != 1 || len(wakes) != 3 || len(run.failed) != 1 {
		t.Fatalf("%d attempts, %d results, %d waits, %d failures; want 4, 1, 3, 1", len(run.sent), len(run.results), len(wakes), len(run.failed))
	}
	r := run.results[0]
	if r.Retries != 3 || r.Sent != 0 || r.Due != 0 || time.Duration(r.Done) != run.now || r.Cause != load.Status {
		t.Errorf("%d retries, due %d, sent %d, done %d, cause %v; want 3, 0, 0, %d, status", r.Retries, r.Due, r.Sent, r.Done, r.Cause, run.now)
	}
	from := 10 * time.Millisecond
	for i, longest := range []time.Duration{time.Second, 1500 * time.Millisecond, 1500 * time.Millisecond} {
		if wait := wakes[i] - from; wait <= 0 || wait > longest {
			t.Errorf("the wait before attempt %d is %v, want at most %v", i+2, wait, longest)
		}
		from = wakes[i] + 10*time.Millisecond
	}
	if o, _ := v.Outcome(false); o != load.Stopped {
		t.Errorf("outcome = %v, want stopped", o)
	}
}

func TestARetryThatSucceeds(t *testing.T) {
	p := must(t, `
flow:
  - {name: a, fake: {send: "${random_int(1, 3)}"}, expect: body == "1", on_failure: retry}
  - {name: b, fake: {send: b}}`)
	run := newPerformer()
	v := p.NewVU(0, run.rt)
	const n = 2000
	retries, failed := map[uint32]int{}, 0
	for range n {
		run.results = run.results[:0]
		run.iterate(v, run.now)
		if len(run.results) != 2 {
			t.Fatalf("%d results, want 2", len(run.results))
		}
		retries[run.results[0].Retries]++
		if run.results[0].Cause != load.None {
			failed++
		}
	}
	// One of three draws is a 1, and there are three attempts: 8/27 fail.
	if want := n * 8 / 27; math.Abs(float64(failed-want)) > 100 || retries[0] == 0 || retries[1] == 0 || retries[2] == 0 || len(retries) != 3 {
		t.Errorf("%d of %d requests failed after retries %v, want about %d", failed, n, retries, want)
	}
}

func TestARequestThatWaitsForItsRetryIsCancelledByTheEnd(t *testing.T) {
	run := newPerformer()
	v := must(t, "flow: [{name: a, fake: {send: x, fail: timeout}, on_failure: retry}]").NewVU(0, run.rt)
	v.Begin(0)
	if _, done := v.Go(); done {
		t.Fatal("the first failure ended the iteration")
	}
	v.Interrupt()
	v.Close()
	if len(run.results) != 1 || run.results[0].Cause != load.Canceled || run.results[0].Retries != 0 {
		t.Errorf("results %+v, want one that is cancelled", run.results)
	}
}

func TestMistakesOfConstructs(t *testing.T) {
	const a = "{name: a, fake: {}}"
	for _, c := range []struct{ name, yaml, want string }{
		{"no steps", "flow: [{when: true}, " + a + "]", "flow[0].steps: is required"},
		{"an unknown key", "flow: [{when: true, step: [" + a + "]}]", `did you mean "steps"?`},
		{"two constructs", "flow: [{when: true, repeat: 3, steps: [" + a + "]}]", "a step does one thing, got when and repeat"},
		{"a construct with a request", "flow: [{chance: 30%, name: a, fake: {}}]", `unknown key "name"`},
		{"a condition that is a number", "flow: [{when: 1 + 1, steps: [" + a + "]}]", `must be a boolean, "1 + 1" is a number`},
		{"a condition in ${}", "flow: [{set: {x: true}}, {when: \"${x}\", steps: [" + a + "]}]", "hint: write x"},
		{"a condition over the answer", "flow: [{when: status == 200, steps: [" + a + "]}]", `unknown name "status"`},
		{"a chance over 1", "flow: [{chance: 130%, steps: [" + a + "]}]", "must be between 0 % and 100 %"},
		{"no weight", "flow: [{choose: [{weight: 0, steps: [" + a + "]}]}]", "one of the weights must be more than 0"},
		{"a negative weight", "flow: [{choose: [{weight: -1, steps: [" + a + "]}, {steps: [{name: b, fake: {}}]}]}]", "must not be negative"},
		{"nothing to choose", "flow: [{choose: []}, " + a + "]", "must have at least one entry"},
		{"a loop without a bound", "flow: [{repeat: {while: true}, steps: [" + a + "]}]", "has no bound"},
		{"each without a bound", "flow: [{set: {l: [1]}}, {repeat: {each: l, as: x}, steps: [" + a + "]}]", "write repeat: {each: …, at_most: 100}"},
		{"a count without a bound", "flow: [{repeat: \"random_int(1, 3)\", steps: [" + a + "]}]", "has no bound"},
		{"each without a name", "flow: [{set: {l: [1]}}, {repeat: {each: l, at_most: 3}, steps: [" + a + "]}]", "write as: item"},
		{"two kinds of loop", "flow: [{repeat: {count: 3, during: 1s}, steps: [" + a + "]}]", "exactly one of count, while, each and during, got 2"},
		{"part of a pass", "flow: [{repeat: 2.5, steps: [" + a + "]}]", `must be a whole number of passes, got "2.5"`},
		{"passes back in time", "flow: [{repeat: -1, steps: [" + a + "]}]", `must be a whole number of passes, got "-1"`},
		{"too many passes", "flow: [{repeat: 9999999, steps: [" + a + "]}]", "must be at most 1000000 passes"},
		{"a time without anything that takes time", "flow: [{repeat: {during: 5s}, steps: [{set: {x: 1}}]}, " + a + "]", "repeats for 5s what takes no time"},
		{"pace in a construct", "flow: [{repeat: 3, steps: [{pace: 1s}, " + a + "]}]", "write repeat: {…, pace: 1s}"},
		{"two paces", "flow: [{pace: 1s}, {pace: 2s}, " + a + "]", "an iteration has one pace"},
		{"no pace", "flow: [{pace: 0s}, " + a + "]", "must be more than 0"},
		{"parallel without steps", "flow: [{parallel: {count: 3}}, " + a + "]", "needs steps to perform at once"},
		{"parallel while", "flow: [{parallel: {while: true, at_most: 3}, steps: [" + a + "]}]", "is a matter of passes one after another"},
		{"parallel with both forms", "flow: [{parallel: [[" + a + "]], steps: [{name: b, fake: {}}]}]", "here the lists are the branches"},
		{"a limit of none", "flow: [{parallel: [[" + a + "]], limit: 0}]", "must be between 1 and 1000"},
		{"once within parallel", "flow: [{parallel: [[{once_per_vu: [" + a + "]}]]}]", "cannot stand within parallel"},
		{"a pass's variable read after it", "flow: [{repeat: {count: 3, index: i}, steps: [" + a + "]}, {name: b, fake: {send: \"${i}\"}}]", `unknown name "i"`},
		{"a parallel pass's variable read after it", "flow: [{parallel: {count: 3}, steps: [{name: a, fake: {}, extract: {x: json}}]}, {name: b, fake: {send: \"${x}\"}}]", `unknown name "x"`},
		{"a group and a step of one name", "flow: [" + a + ", {group: a, steps: [{name: b, fake: {}}]}]", `a step named "a" exists already`},
		{"a stop that does not", "flow: [{stop_iteration: false}, " + a + "]", "must be true"},
		{"one attempt", "flow: [{name: a, fake: {}, on_failure: {retry: {attempts: 1}}}]", "must be between 2 and 100"},
		{"retry and then what", "flow: [{name: a, fake: {}, on_failure: {retry: {then: stop}}}]", `must be continue or stop_iteration, got "stop"`},
		{"set nothing", "flow: [{set: {x: }}, " + a + "]", "has no value"},
		{"set a function", "flow: [{set: {len: 3}}, " + a + "]", `"len" cannot be a variable`},
		{"steps that are no list", "flow: [{repeat: 3, steps: " + a + "}]", `begin each step with "- "`},
		{"a construct without a value", "flow: [{use: }, " + a + "]", "flow[0].use: has no value"},
		{"a choice without a value", "flow: [{choose: }, " + a + "]", "flow[0].choose: has no value"},
		{"cleanup that keeps too much", "flow: [" + a + ", {cleanup: [{name: b, fake: {}}], keep: 1000000}]", "must be between 0 and 100000"},
		{"cleanup of too many at once", "flow: [" + a + ", {cleanup: [{name: b, fake: {}}], limit: 0}]", "must be between 1 and 1000"},
		{"cleanup that takes too long", "flow: [" + a + ", {cleanup: [{name: b, fake: {}}], within: 2h}]", "must be between 1s and 1h"},
		{"cleanup within cleanup", "flow: [" + a + ", {cleanup: [{name: b, fake: {}}, {cleanup: [{name: c, fake: {}}]}]}]", "cannot stand within cleanup"},
		{"pace within cleanup", "flow: [" + a + ", {cleanup: [{name: b, fake: {}}, {pace: 1s}]}]", "pace is of iterations, and cleanup is none"},
		{"objectives of what is not measured", "flow: [" + a + ", {cleanup: [{name: b, fake: {}, objectives: [{name: o, that: p(95) < 1s}]}]}]", "cleanup is not measured"},
		{"a tag that is perfd's own", "flow: [{name: a, fake: {}, tags: {step: x}}]", `label "step" is perfd's own`},
		{"a tag that is no label", "flow: [{name: a, fake: {}, tags: {a-b: x}}]", `got "a-b"`},
		{"a tag without end", "flow: [{name: a, fake: {}, tags: {user: \"${vu}\"}}]", "a tag is the same for all requests"},
		{"for no time", "flow: [{repeat: {during: 0s}, steps: [" + a + "]}]", "must be more than 0"},
		{"weights without end", "flow: [{choose: [{weight: 1e308, steps: [" + a + "]}, {weight: 1e308, steps: [{name: b, fake: {}}]}]}]", "the weights are too large"},
		{"one name for item and pass", "flow: [{set: {l: [1]}}, {repeat: {each: l, as: x, index: x, at_most: 3}, steps: [" + a + "]}]", "is the name of the item, too"},
		{"an item that nobody can read", "flow: [{set: {l: [1]}}, {repeat: {each: l, as: the item, at_most: 3}, steps: [" + a + "]}]", `got "the item"`},
		{"a pass's variable set", "flow: [{repeat: {count: 3, index: i}, steps: [{set: {i: 7}}, " + a + "]}]", `"i" is a variable of the loop`},
		{"an outer pass's variable extracted", "flow: [{repeat: {count: 3, index: i}, steps: [{group: g, steps: [{name: a, fake: {}, extract: {i: json}}]}]}]", `"i" is a variable of the loop`},
		{"a group that is tried again", "flow: [{group: g, on_failure: retry, steps: [" + a + "]}]", "a request is tried again, not several"},
		{"a group with a pace", "flow: [{group: g, steps: [" + a + ", {pace: 1s}]}]", "pace is of a whole iteration"},
		{"once that is performed once", "flow: [" + a + ", {cleanup: [{once_per_vu: [{name: b, fake: {}}]}]}]", "cannot stand within cleanup"},
		{"only constructs", "flow: [{when: true, steps: [{set: {x: 1}}]}]", "makes no request"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := compile(t, c.yaml)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q in it", err, c.want)
			}
		})
	}
}

// A story is a random flow, as text and as what it means: the oracle performs it by itself.
type story struct {
	rand  *rand.Rand
	names int
}

// An oracle performs a flow as a plain tree of functions.
type oracle struct {
	rand *rand.Rand // draws as the VU's
	said []string
	vars map[string]int
	once map[string]bool // what is done
	over bool
	bad  bool // it ended as failed
}

func (s *story) name() string {
	s.names++
	return fmt.Sprintf("n%d", s.names)
}

// list writes entries at an indentation, and returns what they mean.
func (s *story) list(b *strings.Builder, indent string, depth int, vars []string) func(*oracle) {
	var all []func(*oracle)
	for range 1 + s.rand.IntN(3) {
		all = append(all, s.entry(b, indent, depth, &vars))
	}
	return func(o *oracle) {
		for _, f := range all {
			if o.over {
				return
			}
			f(o)
		}
	}
}

func (s *story) entry(b *strings.Builder, indent string, depth int, vars *[]string) func(*oracle) {
	kind := s.rand.IntN(13)
	if depth == 0 {
		kind %= 3
	}
	deeper := indent + "    "
	switch kind {
	case 1:
		v := s.name()
		n := s.rand.IntN(5)
		fmt.Fprintf(b, "%s- set: {%s: %d}\n", indent, v, n)
		*vars = append(*vars, v)
		return func(o *oracle) { o.vars[v] = n }
	case 2:
		if s.rand.IntN(6) > 0 || depth == 0 {
			break
		}
		fmt.Fprintf(b, "%s- stop_iteration: true\n", indent)
		return func(o *oracle) { o.over = true }
	case 3:
		if len(*vars) == 0 {
			break
		}
		v, n := (*vars)[s.rand.IntN(len(*vars))], s.rand.IntN(5)
		fmt.Fprintf(b, "%s- when: %s > %d\n%s  steps:\n", indent, v, n, indent)
		yes := s.list(b, deeper, depth-1, slices.Clone(*vars))
		fmt.Fprintf(b, "%s  else:\n", indent)
		no := s.list(b, deeper, depth-1, slices.Clone(*vars))
		return func(o *oracle) {
			if o.vars[v] > n {
				yes(o)
			} else {
				no(o)
			}
		}
	case 4:
		fmt.Fprintf(b, "%s- chance: 40%%\n%s  steps:\n", indent, indent)
		yes := s.list(b, deeper, depth-1, slices.Clone(*vars))
		return func(o *oracle) {
			if o.rand.Float64() < 0.4 {
				yes(o)
			}
		}
	case 5:
		n := s.rand.IntN(4)
		i := s.name()
		fmt.Fprintf(b, "%s- repeat: {count: %d, index: %s}\n%s  steps:\n", indent, n, i, indent)
		body := s.list(b, deeper, depth-1, append(slices.Clone(*vars), i))
		return func(o *oracle) {
			for pass := range n {
				if o.vars[i] = pass + 1; !o.over {
					body(o)
				}
			}
		}
	case 6:
		fmt.Fprintf(b, "%s- choose:\n", indent)
		var branches []func(*oracle)
		for w := 1; w <= 2; w++ {
			fmt.Fprintf(b, "%s    - weight: %d\n%s      steps:\n", indent, w, indent)
			branches = append(branches, s.list(b, deeper+"    ", depth-1, slices.Clone(*vars)))
		}
		return func(o *oracle) {
			if o.rand.Float64() < 1.0/3 {
				branches[0](o)
			} else {
				branches[1](o)
			}
		}
	case 7:
		fmt.Fprintf(b, "%s- group: %s\n%s  steps:\n", indent, s.name(), indent)
		return s.list(b, deeper, depth-1, slices.Clone(*vars))
	case 8:
		n := s.name()
		fmt.Fprintf(b, "%s- set: {%s: 0}\n%s- repeat: {while: %s < 3, at_most: 2}\n%s  steps:\n%s- set: {%s: \"${%s + 1}\"}\n", indent, n, indent, n, indent, deeper, n, n)
		body := s.list(b, deeper, depth-1, append(slices.Clone(*vars), n))
		return func(o *oracle) {
			o.vars[n] = 0
			for pass := 0; pass < 2 && o.vars[n] < 3 && !o.over; pass++ {
				o.vars[n]++
				body(o)
			}
		}
	}
	switch kind {
	case 9:
		x, i := s.name(), s.name()
		list := make([]int, s.rand.IntN(4))
		for j := range list {
			list[j] = s.rand.IntN(5)
		}
		fmt.Fprintf(b, "%s- set: {%s_all: %s}\n%s- repeat: {each: %s_all, as: %s, index: %s, at_most: 3}\n%s  steps:\n",
			indent, x, strings.ReplaceAll(fmt.Sprint(list), " ", ", "), indent, x, x, i, indent)
		body := s.list(b, deeper, depth-1, append(slices.Clone(*vars), x, i))
		return func(o *oracle) {
			for j, item := range list {
				if o.vars[x], o.vars[i] = item, j+1; !o.over {
					body(o)
				}
			}
		}
	case 10:
		if s.rand.IntN(4) > 0 {
			break
		}
		fmt.Fprintf(b, "%s- fail: x\n", indent)
		return func(o *oracle) { o.over, o.bad = true, true }
	case 11:
		n := s.name()
		fmt.Fprintf(b, "%s- once_per_vu:\n", indent)
		body := s.list(b, deeper, depth-1, slices.Clone(*vars))
		return func(o *oracle) {
			if !o.once[n] {
				body(o)
				o.once[n] = !o.over
			}
		}
	case 12:
		n, stop := s.name(), s.rand.IntN(4) == 0
		then := Continue
		if stop {
			then = StopIteration
		}
		fmt.Fprintf(b, "%s- {name: %s, fake: {send: %s, fail: status}, on_failure: {retry: {attempts: 2, back_off: 1ms, then: %s}}}\n", indent, n, n, then)
		return func(o *oracle) {
			o.said = append(o.said, n, n)
			o.rand.Int64N(int64(time.Millisecond) + 1)
			o.over, o.bad = stop, stop
		}
	}
	name := s.name()
	text, said := name, func(*oracle) string { return name }
	if len(*vars) > 0 {
		v := (*vars)[s.rand.IntN(len(*vars))]
		text, said = name+" ${"+v+"}", func(o *oracle) string { return fmt.Sprintf("%s %d", name, o.vars[v]) }
	}
	fmt.Fprintf(b, "%s- {name: %s, fake: {send: \"%s\"}}\n", indent, name, text)
	return func(o *oracle) { o.said = append(o.said, said(o)) }
}

// TestRandomFlowsMeanWhatTheirTreesMean compares the flat code of random flows with a plain walk over their trees.
func TestRandomFlowsMeanWhatTheirTreesMean(t *testing.T) {
	flows, requests := 150, 0
	if testing.Short() {
		flows = 40
	}
	for seed := range flows {
		s := &story{rand: rand.New(rand.NewPCG(uint64(seed), 7))}
		var b strings.Builder
		b.WriteString("flow:\n  - {name: first, fake: {send: first}}\n")
		means := s.list(&b, "  ", 4, nil)
		run := newPerformer()
		v := must(t, b.String()).NewVU(0, run.rt)
		draws := *v.scope.Rand
		o := &oracle{rand: rand.New(&draws), once: map[string]bool{}}
		for range 5 {
			run.sent = run.sent[:0]
			run.iterate(v, run.now)
			o.said, o.vars, o.over, o.bad = []string{"first"}, map[string]int{}, false, false
			means(o)
			if d := cmp.Diff(o.said, run.sent); d != "" {
				t.Fatalf("flow %d (-want +got):\n%s\n%s", seed, d, b.String())
			}
			want := load.Completed
			if o.bad {
				want = load.Stopped
			}
			if outcome, _ := v.Outcome(false); outcome != want {
				t.Fatalf("flow %d ended as %v, want %v\n%s", seed, outcome, want, b.String())
			}
			requests += len(run.sent)
		}
	}
	t.Logf("%d requests of %d flows", requests, flows)
}

// FuzzFlow compiles whatever is written as a flow, and performs an iteration of what is right.
func FuzzFlow(f *testing.F) {
	for _, seed := range []string{
		"flow: [{name: a, fake: {send: x}}]",
		"flow: [{repeat: {count: 3, index: i}, steps: [{name: a, fake: {send: \"${i}\"}}, {chance: 50%, steps: [{stop_iteration: true}]}]}]",
		"flow: [{parallel: {count: 3}, steps: [{name: a, fake: {}}]}, {group: g, steps: [{set: {x: [1]}}, {choose: [{steps: [{name: b, fake: {fail: status}, on_failure: retry}]}]}]}]",
		"flows: {f: {params: [p], steps: [{name: a, fake: {send: \"${p}\"}}]}}\nflow: [{once_per_vu: [{use: f, with: {p: 1}}]}, {when: 1 > 2, steps: [{fail: x}], else: [{think: 1s}]}, {cleanup: [{name: c, fake: {}}]}, {pace: 1s}]",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "parallel") {
			text = strings.ReplaceAll(text, "parallel", "group") // the fake clock is one goroutine's
		}
		p, err := compile(t, text)
		if err != nil || len(p.Steps) == 0 { // a document without a flow is refused before it is compiled
			return
		}
		run := newPerformer()
		run.sent = nil // nobody reads it, and branches would write it at once
		v := p.NewVU(0, run.rt)
		if !v.Begin(0) {
			return
		}
		end := time.AfterFunc(50*time.Millisecond, v.Interrupt)
		defer end.Stop()
		for range 1000 {
			wake, done := v.Go()
			if v.pc < 0 || v.pc > len(p.code) {
				t.Fatalf("the program counter is %d of %d", v.pc, len(p.code))
			}
			if done {
				return
			}
			run.now = max(run.now, wake)
		}
	})
}
