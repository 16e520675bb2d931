package flow

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
)

// spelled writes results as people read them: step, cause and, where there are any, retries.
func spelled(p *Program, results []load.Result) (list []string) {
	for _, r := range results {
		text := p.Steps[r.Step].Label + " " + cmp.Or(r.Cause.String(), "none")
		if r.Retries > 0 {
			text += fmt.Sprintf(" after %d", r.Retries)
		}
		list = append(list, text)
	}
	return list
}

// TestUnusualFlows compares flows that hardly anybody writes with what was worked out by hand.
func TestUnusualFlows(t *testing.T) {
	for _, c := range []struct {
		name, yaml    string
		n             int // iterations; 0 for one
		sent, results []string
		failed        []string
		took          time.Duration // of all of them; 0 for whatever
		outcome       load.Outcome  // of the last
	}{
		{
			name: "groups that are left by stop_iteration: only where a request failed", yaml: `
flow:
  - group: g
    steps:
      - {name: a, fake: {send: a, fail: status}}
      - group: h
        steps: [{name: b, fake: {send: b}}, {stop_iteration: true}]
  - {name: c, fake: {send: c}}`,
			sent: []string{"a", "b"}, results: []string{"g/a status", "g/h/b none", "g status"}, failed: []string{"g/a: status: <nil>"},
		},
		{
			name: "groups that are left by stop_iteration without any failure", yaml: `
flow:
  - {name: a, fake: {send: a, fail: status}}
  - group: g
    steps: [{name: b, fake: {send: b}}, {chance: 1, steps: [{stop_iteration: true}]}]`,
			n: 2, sent: []string{"a", "b", "a", "b"}, results: []string{"a status", "g/b none", "a status", "g/b none"},
			failed: []string{"a: status: <nil>", "a: status: <nil>"},
		},
		{
			name: "an empty list, a list that its own loop changes, and a name within itself", yaml: `
flow:
  - set: {none: [], all: [1, 2]}
  - repeat: {each: none, as: x, at_most: 3}
    steps: [{name: a, fake: {send: "a${x}"}}]
  - repeat: {each: all, as: x, index: i, at_most: 9}
    steps:
      - set: {all: [7, 8, 9]}
      - repeat: {count: i, at_most: 9, index: i}
        steps: [{name: b, fake: {send: "b${x}.${i}"}}]
      - {name: c, fake: {send: "c${i}"}}
  - {name: d, fake: {send: "d${len(all)}"}}`,
			n: 2, sent: []string{"b1.1", "c1", "b2.1", "b2.2", "c2", "d3", "b1.1", "c1", "b2.1", "b2.2", "c2", "d3"},
		},
		{
			name: "a fail behind failures that are none", yaml: `
flow:
  - {name: a, fake: {send: a, fail: status}, on_failure: continue}
  - group: g
    steps:
      - {name: b, fake: {send: b}, on_failure: continue}
      - {fail: "after ${iteration}"}
  - {name: c, fake: {send: c}}`,
			sent: []string{"a", "b"}, results: []string{"a status", "g/b none", "g expect"},
			failed: []string{"a: status: <nil>", "c: expect: after 1"}, outcome: load.Stopped,
		},
		{
			name: "once_per_vu that fails twice", yaml: `
flow:
  - once_per_vu:
      - {name: a, fake: {send: "a${iteration}"}}
      - {when: iteration < 3, steps: [{fail: not yet}]}
      - set: {token: "t${iteration}"}
  - {name: b, fake: {send: "b${token}"}}`,
			n: 5, sent: []string{"a1", "a2", "a3", "bt3", "bt3", "bt3"}, failed: []string{"b: expect: not yet", "b: expect: not yet"},
		},
		{
			name: "once_per_vu that never comes to its end", yaml: `
flow:
  - once_per_vu: [{name: a, fake: {send: a}}, {stop_iteration: true}]
  - {name: b, fake: {send: b}}`,
			n: 3, sent: []string{"a", "a", "a"},
		},
		{
			name: "once_per_vu within a loop and a branch that is not always taken", yaml: `
flow:
  - {name: a, fake: {send: "a${iteration}"}}
  - when: iteration > 1
    steps:
      - repeat: 3
        steps: [{once_per_vu: [{name: b, fake: {send: b}}]}, {name: c, fake: {send: c}}]`,
			n: 3, sent: []string{"a1", "a2", "b", "c", "c", "c", "a3", "c", "c", "c"},
		},
		{
			name: "chances of 0 and 1 under weights of nothing, first and last", yaml: `
flow:
  - choose:
      - {weight: 0, steps: [{name: a, fake: {send: a}}]}
      - weight: 0.000000001
        steps:
          - {chance: 1, steps: [{name: b, fake: {send: b}}], else: [{fail: b}]}
          - {chance: 0.0, steps: [{fail: c}], else: [{chance: 100%, steps: [{name: d, fake: {send: d}}]}]}
      - {weight: 0, steps: [{name: e, fake: {send: e}}]}`,
			n: 4, sent: []string{"b", "d", "b", "d", "b", "d", "b", "d"},
		},
		{
			// 10 ms, 3 s of thinking; two passes of 1 s each.
			name: "times that are over before the pass is", yaml: `
flow:
  - repeat: {during: 1s}
    steps: [{name: a, fake: {send: a}}, {think: 3s}]
  - repeat: {count: 2, pace: 1s}
    steps: [{repeat: {during: 5ms}, steps: [{name: b, fake: {send: b}}]}]
  - repeat: {count: 0, pace: 1h}
    steps: [{name: c, fake: {send: c}}]`,
			n: 2, sent: []string{"a", "b", "b", "a", "b", "b"}, took: 2 * (5*time.Second + 10*time.Millisecond),
		},
		{
			name: "retries within loops within groups, each of them its own", yaml: `
flow:
  - group: g
    steps:
      - repeat: 2
        steps: [{name: a, fake: {send: a, fail: timeout}, on_failure: {retry: {attempts: 3, back_off: 1ms}}}]
  - {name: b, fake: {send: b}, on_failure: retry}`,
			sent: []string{"a", "a", "a", "a", "a", "a", "b"}, results: []string{"g/a timeout after 2", "g/a timeout after 2", "g timeout", "b none"},
			failed: []string{"g/a: timeout: no answer", "g/a: timeout: no answer"},
		},
		{
			name: "a loop of nothing that is asked again and again", yaml: `
flow:
  - set: {n: 0}
  - repeat: {while: n < 1000, at_most: 100000}
    steps: [{repeat: {while: n % 7 != 0, at_most: 1}, steps: [{set: {n: "${n + 1}"}}]}, {set: {n: "${n + 1}"}}]
  - {name: a, fake: {send: "${n}"}}`,
			sent: []string{"1001"}, took: 10 * time.Millisecond,
		},
		{
			name: "a count that is none", yaml: `
flow:
  - set: {n: -1}
  - {name: a, fake: {send: a}}
  - {repeat: {count: n, at_most: 5}, steps: [{name: b, fake: {send: b}}]}
  - {name: c, fake: {send: c}}`,
			sent: []string{"a"}, failed: []string{"b: extract: repeat: n: is -1, not a whole number from 0"}, outcome: load.Stopped,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			run := newPerformer()
			p := must(t, c.yaml)
			v := p.NewVU(0, run.rt)
			for range cmp.Or(c.n, 1) {
				run.iterate(v, run.now)
			}
			if d := gocmp.Diff(c.sent, run.sent); d != "" {
				t.Errorf("sent (-want +got):\n%s", d)
			}
			if d := gocmp.Diff(c.failed, run.failed); d != "" {
				t.Errorf("failures (-want +got):\n%s", d)
			}
			if got := spelled(p, run.results); c.results != nil && !slices.Equal(got, c.results) {
				t.Errorf("results %q, want %q", got, c.results)
			}
			if c.took != 0 && run.now != c.took {
				t.Errorf("took %v, want %v", run.now, c.took)
			}
			if o, _ := v.Outcome(false); o != c.outcome {
				t.Errorf("outcome = %v, want %v", o, c.outcome)
			}
		})
	}
}

// TestUnusualParallels does so for steps at once.
func TestUnusualParallels(t *testing.T) {
	for _, c := range []struct {
		name, yaml string
		said       []string // in alphabetical order
		took       time.Duration
		outcome    load.Outcome
	}{
		{
			// A pass is as long as the longer branch: 5 s.
			"retries within branches within a loop within a group", `
flow:
  - group: g
    steps:
      - repeat: {count: 2, index: i}
        steps:
          - parallel:
              - {name: a, nap: {send: "a${i}", takes: 1s, fail: true}, on_failure: {retry: {attempts: 3, back_off: 1ms}}}
              - [{name: b, nap: {send: "b${i}", takes: 5s}}]
  - {name: c, nap: {send: c, takes: 1s}}`,
			[]string{"a1", "a1", "a1", "a2", "a2", "a2", "b1", "b2", "c"},
			11 * time.Second, load.Completed,
		},
		{
			"nothing at once", `
flow:
  - set: {none: []}
  - {parallel: {each: none, as: x, at_most: 5}, steps: [{name: a, nap: {send: a, takes: 1s}}]}
  - {parallel: {count: 0}, steps: [{name: b, nap: {send: b, takes: 1s}}]}
  - {name: c, nap: {send: c, takes: 1s}}`,
			[]string{"c"},
			time.Second, load.Completed,
		},
		{
			"a pass that fails, one at a time", `
flow:
  - parallel: {count: 4, index: i}
    limit: 1
    steps:
      - {name: a, nap: {send: "a${i}", takes: 1s}}
      - {when: i == 2, steps: [{fail: enough}]}
  - {name: b, nap: {send: b, takes: 1s}}`,
			[]string{"a1", "a2"},
			2 * time.Second, load.Stopped,
		},
		{
			"parallels within parallels, of which one stops the iteration", `
flow:
  - parallel:
      - - parallel: {count: 2, index: i}
          steps:
            - parallel:
                - {name: a, nap: {send: "a${i}", takes: 1s}}
                - [{name: b, nap: {send: "b${i}", takes: 2s}}, {when: i == 2, steps: [{stop_iteration: true}]}]
            - {name: c, nap: {send: "c${i}", takes: 4s}}
        - {name: d, nap: {send: d, takes: 1s}}
      - {name: e, nap: {send: e, takes: 7s}}
  - {name: f, nap: {send: f, takes: 1s}}`,
			[]string{"a1", "a2", "b1", "b2", "c1", "e"},
			7 * time.Second, load.Completed,
		},
		{
			"what branches set, in their order and not in that of their ends", `
flow:
  - parallel:
      - [{name: a, nap: {send: '{"x": 1}', takes: 3s}, extract: {x: json.x}}]
      - [{name: b, nap: {send: '{"x": 2}', takes: 1s}, extract: {x: json.x}}]
  - repeat: {count: x, at_most: 5, index: i}
    steps:
      - parallel: {count: i, at_most: 5, index: i}
        steps: [{set: {i: "${10 * i}"}}, {name: c, nap: {send: "c${i}", takes: 1s}}]`,
			[]string{"c10", "c10", "c20", `{"x": 1}`, `{"x": 2}`},
			5 * time.Second, load.Completed,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, v := perform(t, c.yaml, 1, nil)
				slices.Sort(w.said)
				if d := gocmp.Diff(c.said, w.said); d != "" {
					t.Errorf("sent (-want +got):\n%s", d)
				}
				// Waits before further attempts are of at most some milliseconds.
				if took := time.Since(w.zero).Truncate(100 * time.Millisecond); took != c.took {
					t.Errorf("took %v, want %v", took, c.took)
				}
				if o, _ := v.Outcome(false); o != c.outcome {
					t.Errorf("outcome = %v, want %v", o, c.outcome)
				}
				groups := slices.DeleteFunc(spelled(v.p, w.results), func(s string) bool { return !strings.HasPrefix(s, "g ") })
				if want := []string{"g timeout"}; strings.Contains(c.yaml, "group") && !slices.Equal(groups, want) {
					t.Errorf("groups %q, want %q", groups, want)
				}
				v.Close()
			})
		})
	}
}

// partsOf compiles a setup and a flow of naps.
func partsOf(t *testing.T, yaml string) (*Program, *world, *Runtime) {
	t.Helper()
	var errs block.Errors
	var d struct {
		SetUp Config `yaml:"setup"`
		Flow  Config `yaml:"flow"`
	}
	block.Decode(block.Parse("f", []byte(yaml), &errs), &d, &errs)
	p := Compile(&d.Flow, Options{
		Target: block.Text{S: "shop"}, Kinds: []protocol.Kind{{Name: "nap", Step: func() protocol.Config { return &nap{} }}}, Errors: &errs, SetUp: &d.SetUp,
		Targets: map[string]*Target{"shop": {Defaults: func(string) any { return nil }}},
	})
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	w := &world{zero: time.Now()}
	env := &protocol.Env{Shared: func(protocol.Key, func() (io.Closer, error)) (io.Closer, error) { return w, nil }}
	return p, w, &Runtime{Sink: w, Env: func(string) *protocol.Env { return env }, Now: func() time.Duration { return time.Since(w.zero) }}
}

// A setup that one of its branches stops is complete: what it set until then is there.
func TestSetUpIsStoppedByABranch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w, rt := partsOf(t, `
setup:
  - {name: a, nap: {send: '{"x":1}', takes: 1s}, extract: {x: json.x}}
  - parallel:
      - [{name: b, nap: {send: b, takes: 1s}}, {stop_iteration: true}]
      - {name: c, nap: {send: c, takes: 2s}}
  - {name: d, nap: {send: d, takes: 1s}}
flow: [{name: e, nap: {send: "e${x}", takes: 1s}}]`)
		v := p.SetUp.NewVU(0, rt)
		if o := v.Perform(t.Context(), nil); o != load.Completed {
			t.Errorf("outcome = %v, want completed", o)
		}
		rt.Given = v.Given()
		v.Close()
		user := p.NewVU(0, rt)
		user.Perform(t.Context(), nil)
		user.Close()
		slices.Sort(w.said)
		if d := gocmp.Diff([]string{"b", "c", "e1", `{"x":1}`}, w.said); d != "" {
			t.Errorf("sent (-want +got):\n%s", d)
		}
	})
}

// A request that waits for another attempt when all is stopped is cancelled, by its own name, wherever it stands.
func TestARequestThatWaitsForItsRetryIsCancelledWhereverItStands(t *testing.T) {
	const waits = "{name: a, nap: {send: a, takes: 1s, fail: true}, on_failure: {retry: {attempts: 2, back_off: 10h, max_wait: 10h}}}"
	for _, yaml := range []string{
		"setup: [" + waits + "]\nflow: [{name: b, nap: {takes: 1s}}]",
		"setup: [{parallel: [" + waits + "]}]\nflow: [{name: b, nap: {takes: 1s}}]",
		"setup: [{name: b, nap: {takes: 1s}}, {parallel: [[" + waits + "], {name: c, nap: {takes: 5h}}]}, {name: d, nap: {takes: 1s}}]\nflow: [{name: b, nap: {takes: 1s}}]",
	} {
		synctest.Test(t, func(t *testing.T) {
			p, w, rt := partsOf(t, yaml)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			v := p.SetUp.NewVU(0, rt)
			if o := v.Perform(ctx, nil); o != load.Interrupted {
				t.Errorf("outcome = %v, want interrupted", o)
			}
			v.Close()
			got := spelled(p.SetUp, w.results)
			if slices.Sort(got); !slices.Contains(got, "setup/a canceled") || slices.Contains(got, "setup/a timeout") || len(got) != strings.Count(yaml[:strings.Index(yaml, "flow")], "name:")-strings.Count(yaml, "name: d") {
				t.Errorf("results %q of %s", got, yaml)
			}
		})
	}
}

// What a failed iteration created is removed, too; what it would have created afterwards is not there.
func TestCleanUpAfterAFailure(t *testing.T) {
	p := must(t, `
flow:
  - {name: create, fake: {send: '{"id": "${iteration}"}'}, extract: {id: json.id}}
  - cleanup: [{name: remove, fake: {send: "remove ${id}"}}, {name: see, fake: {send: "see ${id}"}}]
  - {name: use, fake: {send: use, fail: status}, on_failure: stop_iteration}
  - set: {id: 0}
  - cleanup: [{name: never, fake: {send: never}}]`)
	run := newPerformer()
	var left []Remnant
	run.rt.Left = func(r Remnant) { left = append(left, r) }
	v := p.NewVU(0, run.rt)
	for range 3 {
		run.iterate(v, run.now)
	}
	run.sent = run.sent[:0]
	for i := range left {
		if o := left[i].Program.NewVU(0, run.rt).Perform(t.Context(), &left[i]); o != load.Completed {
			t.Errorf("outcome = %v, want completed", o)
		}
	}
	if d := gocmp.Diff([]string{"remove 1", "see 1", "remove 2", "see 2", "remove 3", "see 3"}, run.sent); d != "" {
		t.Errorf("sent (-want +got):\n%s", d)
	}
}

// A request that breaks perfd in its second attempt leaves nothing to the attempts of the next iteration.
func TestAFaultInARetryIsItsEnd(t *testing.T) {
	p := must(t, "flow: [{name: a, fake: {send: x, fail: timeout}, on_failure: {retry: {attempts: 3, back_off: 1ms}}}]")
	run := newPerformer()
	v := p.NewVU(0, run.rt)
	v.Begin(0)
	if _, done := v.Go(); done {
		t.Fatal("the first failure ended the iteration")
	}
	step := p.steps[0].do.(*fakeStep)
	step.Fail = "panic"
	if _, done := v.Go(); !done {
		t.Fatal("the fault did not end the iteration")
	}
	step.Fail = "timeout"
	run.sent = run.sent[:0]
	run.iterate(v, run.now)
	v.Close()
	if got := spelled(p, run.results); len(run.sent) != 3 || !slices.Equal(got, []string{"a internal", "a timeout after 2"}) {
		t.Errorf("%d attempts, results %q", len(run.sent), got)
	}
}
