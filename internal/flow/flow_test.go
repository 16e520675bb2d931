package flow

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/feeder"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
)

// fake is a protocol whose requests take 10 ms of a fake clock and answer what they were sent.
type fake struct {
	Send  block.Text     `yaml:"send" doc:"Text to send."`
	Fail  string         `yaml:"fail" doc:"timeout fails before an answer, status answers 500."`
	Takes block.Duration `yaml:"takes" doc:"How long it takes."`
}

func (f *fake) Compile(c *protocol.Compiler) protocol.Step {
	if f.Takes == 0 {
		f.Takes = block.Duration(10 * time.Millisecond)
	}
	return &fakeStep{fake: f, send: expr.ParseTemplate(f.Send, c.Symbols, c.Errors)}
}

type fakeStep struct {
	*fake
	send *expr.Template
}

// wire is the fake's network: the clock, what was sent, and the sessions where
// there are any.
type wire struct {
	now            time.Duration
	sent           []string
	sessions       bool
	opened, closed int
}

func (w *wire) Close() error { return nil }

func (w *wire) open(*protocol.VU) (protocol.Session, error) {
	w.opened++
	return &fakeSession{w}, nil
}

type fakeSession struct{ w *wire }

func (s *fakeSession) Interrupt() {}
func (s *fakeSession) Close()     { s.w.closed++ }

type fakeAnswer struct {
	code int
	body []byte
}

func (a *fakeAnswer) Code() int                    { return a.code }
func (a *fakeAnswer) Body() []byte                 { return a.body }
func (a *fakeAnswer) Header(string) (string, bool) { return "", false }
func (a *fakeAnswer) Duration() time.Duration      { return 10 * time.Millisecond }
func (a *fakeAnswer) Size() int64                  { return int64(len(a.body)) }
func (a *fakeAnswer) Sum() uint64                  { return 0 }

func (s *fakeStep) Do(c *protocol.Call) {
	a := protocol.Scratch[fakeAnswer](c)
	shared, _ := c.VU.Env.Shared(protocol.Key{}, nil)
	w := shared.(*wire)
	if w.sessions {
		if _, err := c.VU.Session(protocol.Key{Kind: "fake"}, w.open); err != nil {
			panic(err)
		}
	}
	r := &c.Result
	r.Sent = int64(w.now)
	w.now += s.Takes.D()
	r.Done = int64(w.now)
	var err error
	if a.body, err = s.send.Append(a.body[:0], c.Scope); err != nil {
		r.Cause, c.Err = load.Input, err
		return
	}
	if w.sent != nil {
		w.sent = append(w.sent, string(a.body))
	}
	if s.Fail == "panic" {
		panic("a fault")
	}
	if s.Fail == "timeout" {
		r.Cause, c.Err = load.Timeout, errors.New("no answer")
		return
	}
	c.Response = a
	a.code = 200
	if s.Fail == "status" {
		a.code = 500
	}
	r.Code = int32(a.code)
}

func (s *fakeStep) Judge(c *protocol.Call) load.Cause {
	if c.Result.Code >= 400 {
		return load.Status
	}
	return load.None
}

var fakeKind = protocol.Kind{Name: "fake", Step: func() protocol.Config { return &fake{} }}

// document is what the tests' YAML holds.
type document struct {
	Metrics Metrics                      `yaml:"metrics" doc:"Metrics."`
	Flows   NamedFlows                   `yaml:"flows"`
	Data    block.Entries[feeder.Config] `yaml:"data"`
	Flow    Config                       `yaml:"flow"`
}

func compile(t testing.TB, text string) (*Program, error) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"users.csv":  "email,password\na@x,1\nb@x,2\nc@x,3\n",
		"users.json": `[{"email":"a@x"},{"email":"b@x"}]`,
		"some.json":  `[{"id":1,"in":{"a":1}},{"mail":"b@x","in":null}]`,
		"list.json":  `[1]`, "bad.json": `{`, "empty.csv": "a,b\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var errs block.Errors
	var d document
	root := block.Parse("f", []byte(text), &errs)
	if root != nil {
		block.Decode(root, &d, &errs)
		CheckMetrics(d.Metrics, root, &errs)
	}
	o := Options{
		Scenario: "s", Target: block.Text{S: "shop"}, Flows: d.Flows, Metrics: d.Metrics, Kinds: []protocol.Kind{fakeKind}, Dir: dir, Errors: &errs,
		Data: map[string]*feeder.Feeder{},
		Targets: map[string]*Target{
			"shop": {Defaults: func(string) any { return nil }}, "bank": {Defaults: func(string) any { return nil }},
		},
	}
	for _, e := range d.Data {
		o.Data[e.Name.S] = feeder.Open(e.Name.S, &e.Value, dir, &errs)
	}
	p := Compile(&d.Flow, o)
	for i := range d.Flows {
		Check(d.Flows[i].Name.S, &d.Flows[i].Value, o)
	}
	return p, errs.Err()
}

// performer runs a program on a fake clock.
type performer struct {
	*wire
	rt      *Runtime
	results []load.Result
	failed  []string
}

func newPerformer() *performer {
	p := &performer{wire: &wire{sent: []string{}}}
	env := &protocol.Env{Shared: func(protocol.Key, func() (io.Closer, error)) (io.Closer, error) { return p.wire, nil }}
	p.rt = &Runtime{
		Sink: p, Env: func(string) *protocol.Env { return env }, Now: func() time.Duration { return p.now },
		Failed: func(step, _ string, r *load.Result, why error) {
			p.failed = append(p.failed, fmt.Sprintf("%s: %v: %v", step, r.Cause, why))
		},
	}
	return p
}

func (p *performer) Record(_ int, r *load.Result) { p.results = append(p.results, *r) }

// iterate performs one iteration that was due at a time and returns when each pause ended.
func (p *performer) iterate(v *VU, due time.Duration) (wakes []time.Duration) {
	v.Begin(due)
	for {
		wake, done := v.Go()
		if done {
			return wakes
		}
		wakes = append(wakes, wake)
		p.now = max(p.now, wake)
	}
}

func must(t testing.TB, text string) *Program {
	t.Helper()
	p, err := compile(t, text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTimesOfAnIteration(t *testing.T) {
	p := must(t, `
flow:
  - {name: a, fake: {send: x}}
  - think: 1s
  - {name: b, fake: {send: y, takes: 30ms}}
  - {name: c, fake: {send: z}}`)
	run := newPerformer()
	run.now = 5 * time.Millisecond // the first request starts 5 ms late
	v := p.NewVU(0, run.rt)
	wakes := run.iterate(v, 0)
	ms := time.Millisecond
	if d := cmp.Diff([]time.Duration{1015 * ms}, wakes); d != "" {
		t.Errorf("wakes (-want +got):\n%s", d)
	}
	type times struct{ due, sent, done time.Duration }
	var got []times
	for _, r := range run.results {
		got = append(got, times{time.Duration(r.Due), time.Duration(r.Sent), time.Duration(r.Done)})
	}
	want := []times{{0, 5 * ms, 15 * ms}, {1015 * ms, 1015 * ms, 1045 * ms}, {1045 * ms, 1045 * ms, 1055 * ms}}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(times{})); d != "" {
		t.Errorf("due, sent, done (-want +got):\n%s", d)
	}
	if p.Requests != 3 || p.Think != time.Second {
		t.Errorf("%d requests and %v of thinking, want 3 and 1s", p.Requests, p.Think)
	}
}

func TestFlows(t *testing.T) {
	for _, c := range []struct {
		name, yaml string
		sent       []string
		causes     []load.Cause
		outcome    load.Outcome
	}{
		{
			"values flow from step to step and keep their type", `
flow:
  - {name: a, fake: {send: '{"id": 7, "list": [1]}'}, extract: {id: json.id, all: json}}
  - {name: b, fake: {send: "${id + 1} ${all.list[0]}"}}`,
			[]string{`{"id": 7, "list": [1]}`, "8 1"},
			[]load.Cause{load.None, load.None},
			load.Completed,
		},
		{
			"a used flow gets its params and gives its extractions", `
flows:
  sign-in:
    params: [user]
    steps:
      - {name: login, fake: {send: '{"token": "${user.email}"}'}, extract: {token: json.token}}
data: {users: {file: users.csv}}
flow:
  - {use: sign-in, with: {user: "${users}"}}
  - {name: b, fake: {send: "${token}"}}`,
			[]string{`{"token": "a@x"}`, "a@x"},
			[]load.Cause{load.None, load.None},
			load.Completed,
		},
		{
			"a failure lets the iteration go on", `
flow:
  - {name: a, fake: {send: x, fail: status}}
  - {name: b, fake: {send: y, fail: timeout}}
  - {name: c, fake: {send: z}}`,
			[]string{"x", "y", "z"},
			[]load.Cause{load.Status, load.Timeout, load.None},
			load.Completed,
		},
		{
			"unless on_failure stops it", `
flow:
  - {name: a, fake: {send: x, fail: timeout}, on_failure: stop_iteration}
  - {name: b, fake: {send: y}}`,
			[]string{"x"},
			[]load.Cause{load.Timeout},
			load.Stopped,
		},
		{
			"expect decides in place of the protocol", `
flow:
  - {name: a, fake: {send: x, fail: status}, expect: status == 500}
  - {name: b, fake: {send: x}, expect: status == 500}`,
			[]string{"x", "x"},
			[]load.Cause{load.None, load.Expect},
			load.Completed,
		},
		{
			"a failed extraction stops the iteration", `
flow:
  - {name: a, fake: {send: "{}"}, extract: {id: json.id}}
  - {name: b, fake: {send: "${id}"}}`,
			[]string{"{}"},
			[]load.Cause{load.Extract},
			load.Stopped,
		},
		{
			"so does a failed request whose values are missing", `
flow:
  - {name: a, fake: {send: '{"id": 1}', fail: status}, extract: {id: json.id}}
  - {name: b, fake: {send: "${id}"}}`,
			[]string{`{"id": 1}`},
			[]load.Cause{load.Status},
			load.Stopped,
		},
		{
			"a row without a member fails the steps that read it, and no other", `
data: {users: {file: some.json}}
flow:
  - {name: a, fake: {send: "x${users.mail}"}}
  - {name: b, fake: {send: "${users.in.a}"}}
  - {name: c, fake: {send: "${users.in.b}"}}
  - {name: d, fake: {send: "${users.mail ?? 'nobody'}"}}`,
			[]string{"1", "nobody"},
			[]load.Cause{load.Input, load.None, load.Input, load.None},
			load.Completed,
		},
		{
			"a param that is given what is missing ends the iteration", `
data: {users: {file: some.json}}
flows: {f: {params: [m], steps: [{name: a, fake: {send: "${m}"}, on_failure: stop_iteration}, {name: b, fake: {send: y}}]}}
flow: [{name: z, fake: {send: z}}, {use: f, with: {m: "to ${users.mail}"}}]`,
			[]string{"z"},
			[]load.Cause{load.None},
			load.Stopped,
		},
		{
			"so does a member of an answer's object", `
flow:
  - {name: a, fake: {send: '{"p": {"id": 1}}'}, extract: {p: json.p}}
  - {name: b, fake: {send: "${p.id}"}}
  - {name: c, fake: {send: "/${p.name}"}}`,
			[]string{`{"p": {"id": 1}}`, "1"},
			[]load.Cause{load.None, load.None, load.Input},
			load.Completed,
		},
		{
			"a number that is given to a param is a number", `
flows: {f: {params: [n], steps: [{name: a, fake: {send: "${n + 1}"}}]}}
flow: [{use: f, with: {n: 3}}]`,
			[]string{"4"},
			[]load.Cause{load.None},
			load.Completed,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			run := newPerformer()
			v := must(t, c.yaml).NewVU(0, run.rt)
			run.iterate(v, 0)
			var causes []load.Cause
			for _, r := range run.results {
				causes = append(causes, r.Cause)
			}
			if d := cmp.Diff(c.sent, run.sent); d != "" {
				t.Errorf("sent (-want +got):\n%s", d)
			}
			if d := cmp.Diff(c.causes, causes); d != "" {
				t.Errorf("causes (-want +got):\n%s", d)
			}
			if o, trace := v.Outcome(false); o != c.outcome || trace == (load.TraceID{}) {
				t.Errorf("outcome = %v, trace %v, want %v and a trace", o, trace, c.outcome)
			}
		})
	}
}

func TestChecksAreCountedAndNeverDecide(t *testing.T) {
	p := must(t, `
flow:
  - name: a
    fake: {send: '{"token": "t"}'}
    extract: {token: json.token}
    checks: {holds: token == "t", holds not: status == 201, has no answer: json.x < 3}
  - name: b
    fake: {send: "{}"}
    extract: {other: json.other}
    checks: {of the extracted: other != "", of the answer: status == 200}`)
	run := newPerformer()
	run.iterate(p.NewVU(0, run.rt), 0)
	a, b := run.results[0], run.results[1]
	if a.Cause != load.None || a.Checks != 0b111 || a.ChecksFailed != 0b110 {
		t.Errorf("cause %v, checks %b, failed %b; want none, 111, 110", a.Cause, a.Checks, a.ChecksFailed)
	}
	if b.Cause != load.Extract || b.Checks != 0b11 || b.ChecksFailed != 0b01 {
		t.Errorf("cause %v, checks %b, failed %b; want extract, 11, 1", b.Cause, b.Checks, b.ChecksFailed)
	}
	if want := []string{"b: extract: json.other: not in the answer"}; cmp.Diff(want, run.failed) != "" {
		t.Errorf("failures %q, want %q", run.failed, want)
	}
}

func TestFeedersDealRows(t *testing.T) {
	for _, c := range []struct {
		order         string
		shard, shards int
		vu            int
		want          []string
	}{
		{"sequential", 0, 1, 0, []string{"a@x", "b@x", "c@x", "a@x"}},
		{"sequential", 1, 2, 0, []string{"b@x", "a@x", "c@x", "b@x"}},
		{"per_vu", 0, 1, 4, []string{"b@x", "b@x", "b@x", "b@x"}},
	} {
		p := must(t, `
data: {users: {file: users.csv, order: `+c.order+`}}
flow:
  - {name: a, fake: {send: "${users.email}"}}`)
		run := newPerformer()
		run.rt.Shard, run.rt.Shards = c.shard, c.shards
		v := p.NewVU(c.vu, run.rt)
		for range c.want {
			run.iterate(v, run.now)
		}
		if d := cmp.Diff(c.want, run.sent); d != "" {
			t.Errorf("%s, shard %d of %d (-want +got):\n%s", c.order, c.shard, c.shards, d)
		}
	}
}

// limiter makes every token wait.
type limiter struct{ taken int }

func (l *limiter) Take(_ time.Duration, turn bool) (time.Duration, bool) {
	if !turn {
		return 20 * time.Millisecond, false
	}
	l.taken++
	return 30 * time.Millisecond, true
}

func (l *limiter) Admitted(time.Duration) time.Duration { return 40 * time.Millisecond }

func TestLaterStepsWaitForTokens(t *testing.T) {
	p := must(t, `
flow:
  - {name: a, fake: {send: x}}
  - {name: b, fake: {send: y}}`)
	for _, admitted := range []bool{true, false} {
		l := &limiter{}
		run := newPerformer()
		run.rt.Admitted = admitted
		run.rt.Limiter = func(string) Limiter { return l }
		run.iterate(p.NewVU(0, run.rt), 0)
		waited := []time.Duration{time.Duration(run.results[0].Waited), time.Duration(run.results[1].Waited)}
		want, tokens := []time.Duration{50 * time.Millisecond, 50 * time.Millisecond}, 2
		if admitted {
			want[0], tokens = 0, 1
		}
		if d := cmp.Diff(want, waited); d != "" || l.taken != tokens {
			t.Errorf("admitted %v: %d tokens taken, want %d; waited (-want +got):\n%s", admitted, l.taken, tokens, d)
		}
		if r := run.results[0]; admitted && r.Sent-r.Due != int64(40*time.Millisecond) {
			t.Errorf("an admitted iteration began %v late, want the wait for the token that it was given", time.Duration(r.Sent-r.Due))
		}
		if r := run.results[1]; r.Done-r.Due != int64(60*time.Millisecond) {
			t.Errorf("response time of the second request = %v, want the wait and the request, 60ms", time.Duration(r.Done-r.Due))
		}
	}
}

func TestInterruptedVUsAreCanceled(t *testing.T) {
	p := must(t, `
flow:
  - think: 1s
  - {name: a, fake: {send: x}}`)
	run := newPerformer()
	v := p.NewVU(0, run.rt)
	v.Begin(0)
	v.Go()
	v.Interrupt()
	if _, done := v.Go(); !done {
		t.Error("an interrupted VU goes on")
	}
	if o, _ := v.Outcome(false); o != load.Interrupted || len(run.results) != 0 {
		t.Errorf("outcome %v with %d results, want %v with none", o, len(run.results), load.Interrupted)
	}
	v.Close()
}

func TestAFaultIsAFailureOfItsRequest(t *testing.T) {
	p := must(t, `
flow:
  - {name: a, fake: {send: x}}
  - {name: b, fake: {send: y, fail: panic}}
  - {name: c, fake: {send: z}}`)
	run := newPerformer()
	run.sessions = true
	v := p.NewVU(0, run.rt)
	for range 2 {
		run.iterate(v, run.now)
	}
	if n := len(run.results); n != 4 || run.results[1].Cause != load.Internal || run.results[1].Step != 1 {
		t.Fatalf("results %v, want two iterations of a good first and a second of cause internal", run.results)
	}
	if o, _ := v.Outcome(false); o != load.Stopped || !strings.HasPrefix(run.failed[0], "b: internal: panic: a fault") {
		t.Errorf("outcome %v, failures %q; want %v and one that names the panic", o, run.failed, load.Stopped)
	}
	if run.opened != 2 || run.closed != 2 {
		t.Errorf("%d sessions opened and %d closed, want one an iteration, which the fault closes", run.opened, run.closed)
	}
}

func TestTracesOfVUsWithOneNumberDiffer(t *testing.T) {
	p := must(t, "flow: [{name: a, fake: {}}]")
	seen := map[load.TraceID]bool{}
	for range 3 {
		v := p.NewVU(1, newPerformer().rt)
		v.Begin(0)
		_, trace := v.Outcome(false)
		seen[trace] = true
	}
	if len(seen) != 3 {
		t.Errorf("%d traces of three VUs made one after another, want 3", len(seen))
	}
}

// traces is a tracer that keeps copies of all traces, and samples all or none.
type traces struct {
	all  bool
	took []*load.Trace
}

func (s *traces) Sampled(load.TraceID) bool { return s.all }
func (s *traces) Trace(t *load.Trace)       { s.took = append(s.took, t.Clone()) }

func TestATraceHoldsAnIteration(t *testing.T) {
	p := must(t, `
flow:
  - {name: a, fake: {send: x}}
  - think: 1s
  - {name: b, fake: {send: y, fail: status}}
  - {name: c, fake: {send: z}, extract: {id: json.missing}}
  - {name: never, fake: {send: z}}`)
	run := newPerformer()
	tracer := &traces{all: true}
	run.rt.Traces = tracer
	v := p.NewVU(7, run.rt)
	run.now = 5 * time.Millisecond
	run.iterate(v, 0)
	if len(tracer.took) != 1 {
		t.Fatalf("%d traces, want 1", len(tracer.took))
	}
	got := tracer.took[0]
	want := load.Iteration{VU: 7, Start: int64(5 * time.Millisecond), End: int64(run.now), Outcome: load.Stopped, Trace: v.traceID, Sampled: true}
	if d := cmp.Diff(want, got.Iteration); d != "" {
		t.Errorf("iteration (-want +got):\n%s", d)
	}
	var results []load.Result
	var words []string
	for _, r := range got.Requests {
		results, words = append(results, r.Result), append(words, r.Error)
		if !r.Sampled || r.Trace != v.traceID {
			t.Errorf("step %d: sampled %v in trace %x, want the iteration's", r.Step, r.Sampled, r.Trace)
		}
	}
	if d := cmp.Diff(run.results, results); d != "" {
		t.Errorf("the trace differs from what was recorded (-recorded +traced):\n%s", d)
	}
	if words[0] != "" || words[2] == "" {
		t.Errorf("errors = %q, want words for the failed extraction only", words)
	}

	tracer.all = false
	run.iterate(v, run.now)
	if got := tracer.took[1]; got.Sampled || got.Trace == want.Trace || len(got.Requests) != 3 {
		t.Errorf("second trace = %+v, want another trace that is not sampled", got)
	}
}

func TestATraceIsBounded(t *testing.T) {
	var trace load.Trace
	trace.Reset(load.Iteration{})
	for i := range 100 {
		trace.Add(&load.Result{Step: i}, []byte(fmt.Sprint("/items/", i)), nil)
	}
	if len(trace.Requests) != 64 || trace.Left != 36 {
		t.Errorf("%d requests and %d left out, want 64 and 36", len(trace.Requests), trace.Left)
	}
	kept := trace.Clone()
	trace.Reset(load.Iteration{})
	trace.Add(&load.Result{}, []byte("/other"), nil)
	if got := string(kept.Address(63)); got != "/items/63" {
		t.Errorf("address of a copy = %q, want /items/63", got)
	}
}

// A trace is used again for other iterations, which see nothing of the one before.
func TestATraceForgets(t *testing.T) {
	var trace load.Trace
	trace.Reset(load.Iteration{VU: 1, Outcome: load.Stopped})
	for i := range 70 {
		trace.Add(&load.Result{Step: i, Cause: load.Timeout, Code: 500}, []byte("/first"), errors.New("too late"))
	}
	trace.Reset(load.Iteration{VU: 2})
	for i := range 2 {
		trace.Add(&load.Result{Step: i, Code: 200}, []byte(fmt.Sprint("/", i)), nil)
	}
	var fresh load.Trace
	fresh.Reset(load.Iteration{VU: 2})
	for i := range 2 {
		fresh.Add(&load.Result{Step: i, Code: 200}, []byte(fmt.Sprint("/", i)), nil)
	}
	if d := cmp.Diff(fresh.Clone(), trace.Clone(), cmp.AllowUnexported(load.Trace{}, load.TraceRequest{})); d != "" {
		t.Errorf("a trace that was used before (-new +used):\n%s", d)
	}
}

// BenchmarkTrace is what an iteration of one request pays for its trace until it ends.
func BenchmarkTrace(b *testing.B) {
	b.ReportAllocs()
	var trace load.Trace
	r, address := load.Result{Due: 1, Sent: 2, Done: 3}, []byte("http://shop.example/products/17")
	for b.Loop() {
		trace.Reset(load.Iteration{VU: 1, Due: 1})
		trace.Add(&r, address, nil)
	}
}

func TestThinkTimes(t *testing.T) {
	for _, c := range []struct {
		yaml      string
		low, high time.Duration
		mean      float64 // ms, tested within 3 %
	}{
		{`fixed: 1s`, time.Second, time.Second, 1000},
		{`uniform: [1s, 3s]`, time.Second, 3 * time.Second, 2000},
		{`normal: {mean: 1s, sd: 100ms}`, 500 * time.Millisecond, 1400 * time.Millisecond, 1000},
		{`exponential: {mean: 1s}`, 0, 10 * time.Second, 1000},
		{`exponential: {mean: 1s, max: 1s}`, 0, time.Second, 632}, // 1 − 1/e of the mean
	} {
		var errs block.Errors
		var th Think
		block.Decode(block.Parse("f", []byte(c.yaml), &errs), &th, &errs)
		if errs.Len() > 0 {
			t.Fatal(errs.Err())
		}
		r := rand.New(rand.NewPCG(1, 2))
		sum := 0.0
		const n = 20_000
		for range n {
			d := th.draw(r)
			if d < c.low || d > c.high {
				t.Fatalf("%s draws %v, want between %v and %v", c.yaml, d, c.low, c.high)
			}
			sum += float64(d) / 1e6
		}
		if mean := sum / n; mean < 0.97*c.mean || mean > 1.03*c.mean {
			t.Errorf("%s has a mean of %.1f ms over %d draws, want %v ms within 3 %%", c.yaml, mean, n, c.mean)
		}
	}
}

func TestMistakes(t *testing.T) {
	for _, c := range []struct{ name, yaml, want string }{
		{"no request", `flow: [{name: a}]`, "a step needs a request"},
		{"two requests", "flow: [{name: a, fake: {}, fake2: {}}]", `unknown key "fake2"`},
		{"unknown key", "flow: [{name: a, fake: {}, timout: 1s}]", `did you mean "timeout"?`},
		{"unknown key of the protocol", "flow: [{name: a, fake: {sned: x}}]", `did you mean "send"?`},
		{"no name", "flow: [{fake: {}}]", "name: is required"},
		{"a name twice", "flow: [{name: a, fake: {}}, {name: a, fake: {}}]", `a step named "a" exists already, at f:1:15`},
		{"unknown flow", "flows: {sign-in: {steps: [{name: a, fake: {}}]}}\nflow: [{use: sing-in}]", `did you mean "sign-in"?`},
		{"missing param", "flows: {f: {params: [u], steps: [{name: a, fake: {}}]}}\nflow: [{use: f}]", `needs a value for "u"`},
		{"unknown param", "flows: {f: {steps: [{name: a, fake: {}}]}}\nflow: [{use: f, with: {u: x}}]", `has no param "u"`},
		{"a flow that uses itself", "flows: {f: {steps: [{use: f}]}}\nflow: [{use: f}]", "f → f"},
		{"an unused flow is checked", "flows: {f: {steps: [{name: a, fake: {send: \"${nobody}\"}}]}}\nflow: [{name: a, fake: {}}]", `unknown name "nobody"`},
		{"a variable of a later step", "flow: [{name: a, fake: {send: \"${id}\"}}, {name: b, fake: {}, extract: {id: json.id}}]", `unknown name "id"`},
		{"its own extraction", "flow: [{name: a, fake: {send: \"${id}\"}, extract: {id: json.id}}]", `unknown name "id"`},
		{"a param outside its flow", "flows: {f: {params: [u], steps: [{name: a, fake: {}}]}}\nflow: [{use: f, with: {u: x}}, {name: b, fake: {send: \"${u}\"}}]", `unknown name "u"`},
		{"a variable that hides the answer", "flow: [{name: a, fake: {}, extract: {status: json.x}}]", `"status" cannot be a variable`},
		{"a param that hides a function", "flows: {f: {params: [len], steps: [{name: a, fake: {}}]}}\nflow: [{use: f, with: {len: 1}}]", `"len" cannot be a variable`},
		{"unknown target", "flow: [{name: a, target: bnak, fake: {}}]", `did you mean "bank"?`},
		{"on_failure", "flow: [{name: a, fake: {}, on_failure: stop}]", `must be continue, stop_iteration or retry, got "stop"`},
		{"timeout", "flow: [{name: a, fake: {}, timeout: 0s}]", "must be more than 0"},
		{"think", "flow: [{think: {uniform: [2s, 1s]}}, {name: a, fake: {}}]", "must be two durations, the shorter first"},
		{"two thinks", "flow: [{think: {fixed: 2s, uniform: [1s, 2s]}}, {name: a, fake: {}}]", "exactly one of"},
		{"think with more", "flow: [{think: 1s, name: a}, {name: a, fake: {}}]", `unknown key "name"`},
		{"bare think", "flow: [{think: 1}, {name: a, fake: {}}]", "a duration needs a unit"},
		{"nothing", "flow: []", "at least one step"},
		{"no list", "flow: {name: a}", "must be a list of steps"},
		{"only thinking", "flow: [{think: 1s}]", "makes no request"},
		{"missing file", "data: {u: {file: no.csv}}\nflow: [{name: a, fake: {}}]", "no.csv: no such file"},
		{"broken file", "data: {u: {file: bad.json}}\nflow: [{name: a, fake: {}}]", "bad.json:1: must be a list of objects"},
		{"rows that are no objects", "data: {u: {file: list.json}}\nflow: [{name: a, fake: {}}]", "list.json:1: a row must be an object"},
		{"no rows", "data: {u: {file: empty.csv}}\nflow: [{name: a, fake: {}}]", "empty.csv: has no rows"},
		{"order", "data: {u: {file: users.csv, order: randm}}\nflow: [{name: a, fake: {}}]", `did you mean "random"?`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := compile(t, c.yaml)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q in it", err, c.want)
			}
		})
	}
}

func TestAUsedTwiceFlowNeedsTwoNames(t *testing.T) {
	p := must(t, "flows: {f: {steps: [{name: a, fake: {}}]}}\nflow: [{use: f}, {use: f, name: again}]")
	if got := p.Steps[0].Label + " " + p.Steps[1].Label; got != "f/a again/a" {
		t.Errorf("steps are labelled %s, want f/a again/a", got)
	}
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	if raceDetector {
		t.Skip("under the race detector sync.Pool drops what it is given at random; make check runs this test without it")
	}
	p := must(t, `
flow:
  - {name: a, fake: {send: x}, expect: status == 200, checks: {quick: duration < 1s}}
  - think: 1s
  - {name: b, fake: {send: "y${vu}"}}`)
	run := newPerformer()
	run.sent = nil
	run.rt.Sink = discard{}
	run.rt.Traces = idle{}
	v := p.NewVU(0, run.rt)
	run.iterate(v, 0)
	if n := testing.AllocsPerRun(100, func() {
		v.Begin(run.now)
		for done := false; !done; {
			_, done = v.Go()
		}
	}); n > 0 {
		t.Errorf("an iteration allocates %v times, want 0", n)
	}
}

// What all virtual users of a run have in common takes no memory of each.
func TestAVirtualUserThatThinksIsSmall(t *testing.T) {
	p := must(t, `flow: [{think: 1h}, {name: a, fake: {send: x}}]`)
	run := newPerformer()
	run.rt.Env = func(string) *protocol.Env {
		return &protocol.Env{Identity: func() string { return run.rt.Now().String() }}
	}
	run.rt.Limiter = func(string) Limiter { return &limiter{} }
	const n = 1000
	users := make([]*VU, n)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range users {
		users[i] = p.NewVU(i, run.rt)
		users[i].Begin(0)
		if _, done := users[i].Go(); done {
			t.Fatal("the user does not think")
		}
	}
	runtime.ReadMemStats(&after)
	if per := (after.TotalAlloc - before.TotalAlloc) / n; per > 400 {
		t.Errorf("a virtual user that thinks has %d bytes of its own, want 400 at most", per)
	}
	runtime.KeepAlive(users)
}

// idle is a tracer that keeps nothing.
type idle struct{}

func (idle) Sampled(load.TraceID) bool { return false }
func (idle) Trace(*load.Trace)         {}

type discard struct{}

func (discard) Record(int, *load.Result) {}

// BenchmarkVU reports what a thinking virtual user keeps, in bytes.
func BenchmarkVU(b *testing.B) {
	p := must(b, `
flow:
  - {name: a, fake: {send: '{"id":1}'}, extract: {id: json.id}}
  - think: 1s
  - {name: b, fake: {send: "${id}"}}`)
	run := newPerformer()
	run.sent = nil
	run.rt.Sink = discard{}
	b.ReportAllocs()
	for b.Loop() {
		v := p.NewVU(1, run.rt)
		v.Begin(0)
		v.Go()
	}
}

// BenchmarkIteration is what an iteration of one request costs beside its
// protocol, without a tracer and with one that keeps nothing.
func BenchmarkIteration(b *testing.B) {
	for name, tracer := range map[string]Tracer{"untraced": nil, "traced": idle{}} {
		b.Run(name, func(b *testing.B) {
			p := must(b, `
flow:
  - {name: a, fake: {send: x}}`)
			run := newPerformer()
			run.rt.Sink = discard{}
			run.rt.Traces = tracer
			zero := time.Now()
			run.rt.Now = func() time.Duration { return time.Since(zero) }
			v := p.NewVU(1, run.rt)
			b.ReportAllocs()
			for b.Loop() {
				run.sent = run.sent[:0]
				v.Begin(0)
				v.Go()
			}
		})
	}
}
