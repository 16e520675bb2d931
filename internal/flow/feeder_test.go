package flow

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/feeder"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
)

// iterateWhile performs iterations until none begins, at most n.
func (p *performer) iterateWhile(v *VU, n int) (begun int) {
	for ; begun < n && v.Begin(p.now); begun++ {
		for {
			wake, done := v.Go()
			if done {
				break
			}
			p.now = max(p.now, wake)
		}
	}
	return begun
}

func TestRowsThatHaveAnEnd(t *testing.T) {
	for _, c := range []struct {
		name, keys    string
		shard, shards int
		want          []string
	}{
		{"unique", "order: unique", 0, 1, []string{"a@x", "b@x", "c@x"}},
		{"unique, the first of two shards", "order: unique", 0, 2, []string{"a@x", "c@x"}},
		{"unique, the second of two shards", "order: unique", 1, 2, []string{"b@x"}},
		{"unique, a shard without rows", "order: unique", 4, 5, []string{}},
		{"sequential", "at_end: stop", 0, 1, []string{"a@x", "b@x", "c@x"}},
	} {
		p := must(t, `
data: {users: {file: users.csv, `+c.keys+`}}
flow:
  - {name: a, fake: {send: "${users.email} ${iteration}"}}`)
		run := newPerformer()
		run.rt.Shard, run.rt.Shards = c.shard, c.shards
		v := p.NewVU(0, run.rt)
		if n := run.iterateWhile(v, 10); n != len(c.want) {
			t.Errorf("%s: %d iterations began, want %d", c.name, n, len(c.want))
		}
		if v.Begin(run.now) {
			t.Errorf("%s: an iteration begins after the end", c.name)
		}
		for i := range c.want {
			c.want[i] += fmt.Sprint(" ", i+1)
		}
		if d := cmp.Diff(c.want, run.sent); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, d)
		}
		if other := p.NewVU(1, run.rt); other.Begin(run.now) {
			t.Errorf("%s: an iteration of another user begins after the end", c.name)
		}
		// Another run deals all of them again.
		again := newPerformer()
		again.rt.Shard, again.rt.Shards = c.shard, c.shards
		if n := again.iterateWhile(p.NewVU(0, again.rt), 10); n != len(c.want) {
			t.Errorf("%s: %d iterations of the second run began, want %d", c.name, n, len(c.want))
		}
	}
}

func TestARunDealsItsOwnRows(t *testing.T) {
	p := must(t, `
data: {users: {file: users.csv, order: shuffled}}
flow:
  - {name: a, fake: {send: "${users.email}"}}`)
	sent := func(seed uint64) string {
		run := newPerformer()
		run.rt.Seed = seed
		first, second := p.NewVU(0, run.rt), p.NewVU(1, run.rt)
		for range 6 {
			run.iterate(first, run.now)
			run.iterate(second, run.now)
		}
		return strings.Join(run.sent, " ")
	}
	if first, again := sent(1), sent(1); first != again {
		t.Error("the same seed deals other rows")
	}
	different := map[string]bool{}
	for seed := range uint64(20) {
		different[sent(seed)] = true
	}
	if len(different) < 15 {
		t.Errorf("20 seeds deal rows in %d orders", len(different))
	}
}

// TestARowThatCannotBeReadIsAFailure changes a file that is too large for memory.
func TestARowThatCannotBeReadIsAFailure(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "large.txt")
	if err := os.WriteFile(path, []byte(strings.Repeat(strings.Repeat("x", 1023)+"\n", 33<<10)), 0o600); err != nil {
		t.Fatal(err)
	}
	var errs block.Errors
	f := feeder.Open("large", &feeder.Config{File: block.Text{S: "large.txt"}}, dir, &errs)
	var c Config
	block.Decode(block.Parse("f", []byte(`[{name: a, fake: {send: "x"}}, {name: b, fake: {send: "${len(large.value)}"}}]`), &errs), &c, &errs)
	p := Compile(&c, Options{
		Target: block.Text{S: "shop"}, Kinds: []protocol.Kind{fakeKind}, Errors: &errs, Data: map[string]*feeder.Feeder{"large": f},
		Targets: map[string]*Target{"shop": {Defaults: func(string) any { return nil }}},
	})
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	run := newPerformer()
	v := p.NewVU(0, run.rt)
	run.iterate(v, run.now)
	if d := cmp.Diff([]string{"x", "1023"}, run.sent); d != "" {
		t.Fatalf("sent (-want +got):\n%s", d)
	}
	time.Sleep(20 * time.Millisecond) // file systems count times in ticks of up to 10 ms
	if err := os.Truncate(path, 5000); err != nil {
		t.Fatal(err)
	}
	run.results = nil
	run.iterate(v, run.now)
	if o, _ := v.Outcome(false); o != load.Stopped {
		t.Errorf("the iteration ended %v, want %v", o, load.Stopped)
	}
	if len(run.results) != 1 || run.results[0].Step != 0 || run.results[0].Cause != load.Input || run.results[0].Duration() != 0 {
		t.Errorf("results %+v, want a failure of the first step for want of its input", run.results)
	}
	if want := []string{"a: input: large.txt: the file was changed while it is in use; a reload reads it again"}; cmp.Diff(want, run.failed) != "" {
		t.Errorf("failures %q, want %q", run.failed, want)
	}
	if len(run.sent) != 2 {
		t.Errorf("sent %q without a row", run.sent[2:])
	}
}

func TestRowsAtSteps(t *testing.T) {
	for _, c := range []struct {
		name, flow string
		want       []string
	}{
		{"only at a step", "[{next: users}, {name: a, fake: {send: \"${users.email}\"}}]", []string{"a@x", "b@x", "c@x"}},
		{
			"several in an iteration", "[{next: users}, {name: a, fake: {send: \"${users.email}\"}}, {next: users}, {name: b, fake: {send: \"${users.email}\"}}]",
			[]string{"a@x", "b@x", "c@x", "a@x", "b@x", "c@x"},
		},
		{
			"after the iteration's own", "[{name: a, fake: {send: \"${users.email}\"}}, {next: users}, {name: b, fake: {send: \"${users.email}\"}}]",
			[]string{"a@x", "b@x", "c@x", "a@x", "b@x", "c@x"},
		},
		{
			"in a flow that is used", "[{use: pick}, {use: pick, name: again}, {name: b, fake: {send: \"${users.email}\"}}]",
			[]string{"a@x", "b@x", "b@x", "c@x", "a@x", "a@x", "b@x", "c@x", "c@x"},
		},
		{"one that nobody reads", "[{next: users}, {name: a, fake: {send: x}}]", []string{"x", "x", "x"}},
	} {
		p := must(t, `
data: {users: {file: users.csv}, other: {file: users.json}}
flows: {pick: {steps: [{next: users}, {name: a, fake: {send: "${users.email}"}}]}}
flow: `+c.flow)
		run := newPerformer()
		v := p.NewVU(0, run.rt)
		for range 3 {
			run.iterate(v, run.now)
		}
		if d := cmp.Diff(c.want, run.sent); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, d)
		}
	}
}

func TestRowsThatEndAtAStep(t *testing.T) {
	p := must(t, `
data: {users: {file: users.csv, order: unique}}
flow:
  - {name: a, fake: {send: x}}
  - next: users
  - {name: b, fake: {send: "${users.email}"}}
  - next: users
  - {name: c, fake: {send: "${users.email}"}}`)
	run := newPerformer()
	v := p.NewVU(0, run.rt)
	if n := run.iterateWhile(v, 10); n != 2 {
		t.Errorf("%d iterations began, want 2", n)
	}
	if o, _ := v.Outcome(false); o != load.Interrupted {
		t.Errorf("the last ended %v, want %v", o, load.Interrupted)
	}
	if d := cmp.Diff([]string{"x", "a@x", "b@x", "x", "c@x"}, run.sent); d != "" || len(run.failed) > 0 {
		t.Errorf("failures %q, sent (-want +got):\n%s", run.failed, d)
	}
}

func TestWrongNext(t *testing.T) {
	for text, want := range map[string]string{
		"flow: [{next: user}, {name: a, fake: {}}]":                                   `unknown data "user"`,
		"data: {users: {file: users.csv}}\nflow: [{next: user}, {name: a, fake: {}}]": `did you mean "users"?`,
		"data: {users: {file: users.csv}}\nflow: [{next: users}]":                     "makes no request",
		"data: {users: {file: users.csv}}\nflow: [{next: users, name: a}]":            `unknown key "name"`,
		"data: {users: {file: users.csv}}\nflow: [{next: [users]}]":                   "must be text",
		"data: {users: {file: users.csv}}\nflow: [{nxt: users}]":                      `did you mean "next"?`,
		"data: {users: {file: users.csv}}\nflow: [{next: }, {name: a, fake: {}}]":     "has no value",
	} {
		if _, err := compile(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\nwant in it: %s", text, err, want)
		}
	}
}

// TestRowsWithinConstructs takes rows in loops, at once and once, in a bubble.
func TestRowsWithinConstructs(t *testing.T) {
	ids := make([]string, 200)
	for i := range ids {
		ids[i] = fmt.Sprintf("id%03d", i)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ids.txt"), []byte(strings.Join(ids, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	step := `{next: ids}, {name: a, nap: {send: "${ids.value}", takes: 1s}}`
	for _, c := range []struct {
		name, flow string
		once       bool // all iterations send the first row, instead of each row once
		iterations int
	}{
		{"a loop", `[{repeat: 7, steps: [` + step + `]}]`, false, 29},
		{"passes at once", `[{parallel: {count: 7}, limit: 3, steps: [` + step + `]}]`, false, 29},
		{"branches at once", `[{parallel: [[` + step + `], [` + strings.Replace(step, "name: a", "name: b", 1) + `]]}]`, false, 100},
		{"a branch before", `[{parallel: [[{next: ids}, {think: 1s}]]}, {name: b, nap: {send: "${ids.value}"}}]`, false, 201},
		{"once", `[{once_per_vu: [{next: ids}]}, {name: b, nap: {send: "${ids.value}"}}]`, true, 300},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var errs block.Errors
				f := feeder.Open("ids", &feeder.Config{File: block.Text{S: "ids.txt"}, Order: feeder.Unique}, dir, &errs)
				var flow Config
				block.Decode(block.Parse("f", []byte(c.flow), &errs), &flow, &errs)
				p := Compile(&flow, Options{
					Target: block.Text{S: "shop"}, Errors: &errs, Data: map[string]*feeder.Feeder{"ids": f},
					Kinds:   []protocol.Kind{{Name: "nap", Step: func() protocol.Config { return &nap{} }}},
					Targets: map[string]*Target{"shop": {Defaults: func(string) any { return nil }}},
				})
				if err := errs.Err(); err != nil {
					t.Fatal(err)
				}
				w := &world{zero: time.Now()}
				env := &protocol.Env{Shared: func(protocol.Key, func() (io.Closer, error)) (io.Closer, error) { return w, nil }}
				v := p.NewVU(4, &Runtime{Sink: w, Env: func(string) *protocol.Env { return env }, Now: func() time.Duration { return time.Since(w.zero) }})
				n := 0
				for ; n < 300 && v.Begin(time.Since(w.zero)); n++ {
					for wake, done := v.Go(); !done; wake, done = v.Go() {
						time.Sleep(wake - time.Since(w.zero))
					}
				}
				v.Close()
				// An iteration begins before the end is known, unless the last took the last row exactly.
				if n < c.iterations || n > c.iterations+1 {
					t.Errorf("%d iterations began, want %d", n, c.iterations)
				}
				counts := map[string]int{}
				for _, text := range w.said {
					counts[text]++
				}
				for _, r := range w.results {
					if r.Cause != load.None {
						t.Errorf("a request failed: %v", r.Cause)
					}
				}
				if c.once {
					if counts[ids[0]] != n || len(counts) != 1 {
						t.Errorf("sent %v in %d iterations, want the first row in each", counts, n)
					}
					return
				}
				for _, id := range ids {
					if counts[id] != 1 {
						t.Errorf("%s was sent %d times", id, counts[id])
					}
				}
				if len(counts) != len(ids) {
					t.Errorf("%d texts were sent, want %d", len(counts), len(ids))
				}
			})
		})
	}
}
