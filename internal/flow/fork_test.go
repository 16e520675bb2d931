package flow

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
)

// nap is a protocol whose requests take real time, of a bubble, and end early where they are interrupted.
type nap struct {
	Send  block.Text     `yaml:"send" doc:"Text to send."`
	Takes block.Duration `yaml:"takes" doc:"How long it takes."`
	Fail  bool           `yaml:"fail" doc:"Whether it fails."`
}

func (n *nap) Compile(c *protocol.Compiler) protocol.Step {
	return &napStep{n, expr.ParseTemplate(n.Send, c.Symbols, c.Errors)}
}

type napStep struct {
	*nap
	send *expr.Template
}

// bed is a session of naps: one goes on at a time.
type bed struct {
	world *world
	stop  chan struct{}
	once  sync.Once
	busy  bool
}

func (b *bed) Interrupt() { b.once.Do(func() { close(b.stop) }) }
func (b *bed) Close()     { b.world.count(&b.world.closed) }

// A world is what naps do to it.
type world struct {
	mu             sync.Mutex
	zero           time.Time
	said           []string
	now, most      int
	opened, closed int
	results        []load.Result
}

func (w *world) Close() error { return nil }
func (w *world) count(n *int) { w.mu.Lock(); *n++; w.mu.Unlock() }

func (w *world) Record(_ int, r *load.Result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.results = append(w.results, *r)
}

func (s *napStep) Do(c *protocol.Call) {
	shared, _ := c.VU.Env.Shared(protocol.Key{}, nil)
	w := shared.(*world)
	held, _ := c.VU.Session(protocol.Key{Kind: "nap"}, func(*protocol.VU) (protocol.Session, error) {
		w.count(&w.opened)
		return &bed{world: w, stop: make(chan struct{})}, nil
	})
	b := held.(*bed)
	if b.busy {
		panic("two requests at once on one session")
	}
	b.busy = true
	defer func() { b.busy = false }()
	a := protocol.Scratch[fakeAnswer](c)
	a.code = 200
	if a.body, c.Err = s.send.Append(a.body[:0], c.Scope); c.Err != nil {
		c.Result.Cause = load.Input
		return
	}
	w.mu.Lock()
	w.now++
	w.most = max(w.most, w.now)
	w.said = append(w.said, string(a.body))
	w.mu.Unlock()
	select {
	case <-time.After(s.Takes.D()):
		c.Response = a
		if s.Fail {
			c.Result.Cause = load.Timeout
		}
	case <-b.stop:
		c.Result.Cause = load.Canceled
	}
	w.mu.Lock()
	w.now--
	w.mu.Unlock()
	c.Result.Done = int64(time.Since(w.zero))
}

// perform performs n iterations of a flow of naps in a bubble.
func perform(t *testing.T, yaml string, n int, during func(*VU)) (*world, *VU) {
	t.Helper()
	kinds := []protocol.Kind{{Name: "nap", Step: func() protocol.Config { return &nap{} }}}
	var errs block.Errors
	var d document
	block.Decode(block.Parse("f", []byte(yaml), &errs), &d, &errs)
	p := Compile(&d.Flow, Options{
		Target: block.Text{S: "shop"}, Kinds: kinds, Errors: &errs,
		Targets: map[string]*Target{"shop": {Defaults: func(string) any { return nil }}},
	})
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	w := &world{zero: time.Now()}
	env := &protocol.Env{Shared: func(protocol.Key, func() (io.Closer, error)) (io.Closer, error) { return w, nil }}
	v := p.NewVU(4, &Runtime{
		Sink: w, Env: func(string) *protocol.Env { return env }, Now: func() time.Duration { return time.Since(w.zero) },
		Traces: idle{},
	})
	if during != nil {
		go during(v)
	}
	for range n {
		v.Begin(time.Since(w.zero))
		for {
			wake, done := v.Go()
			if done {
				break
			}
			time.Sleep(wake - time.Since(w.zero))
		}
	}
	return w, v
}

func TestBranchesRunAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, v := perform(t, `
flow:
  - {name: a, nap: {send: '{"x":1}', takes: 1s}, extract: {x: json.x}}
  - parallel:
      - - {name: b, nap: {send: '{"y":"b${x}"}', takes: 3s}, extract: {y: json.y}}
      - - {name: c, nap: {send: 'c', takes: 1s}}
        - think: 1s
        - {name: d, nap: {send: '{"z":"d"}', takes: 1s}, extract: {z: json.z}}
      - {name: e, nap: {send: e, takes: 2s}}
  - {name: f, nap: {send: "${x}${y}${z}", takes: 1s}}`, 2, nil)
		if took := time.Since(w.zero); took != 10*time.Second {
			t.Errorf("two iterations took %v, want 10s", took)
		}
		if last := w.said[len(w.said)-1]; last != "1b1d" {
			t.Errorf("the step after the branches read %q of what they set, want 1b1d", last)
		}
		if w.most != 3 || w.opened != 4 {
			t.Errorf("%d requests at once on %d sessions, want 3 on 4: branches keep theirs", w.most, w.opened)
		}
		v.Close()
		if w.closed != 4 {
			t.Errorf("%d of 4 sessions were closed", w.closed)
		}
		due := map[int]time.Duration{}
		for _, r := range w.results[:6] {
			due[r.Step] = time.Duration(r.Due)
		}
		if d := cmp.Diff(map[int]time.Duration{0: 0, 1: time.Second, 2: time.Second, 3: 3 * time.Second, 4: time.Second, 5: 4 * time.Second}, due); d != "" {
			t.Errorf("due (-want +got):\n%s", d)
		}
	})
}

func TestPassesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := perform(t, `
flow:
  - set: {all: [3, 1, 2, 5, 4]}
  - group: bulk
    steps:
      - parallel: {each: all, as: id, index: i, at_most: 10}
        limit: 2
        steps:
          - {name: a, nap: {send: '{"got":"${i}:${id}"}', takes: 1s}, extract: {got: json.got}}
          - {name: b, nap: {send: "${got} ${random_int(1, 1000000)}", takes: 1s}}`, 2, nil)
		if took := time.Since(w.zero); took != 12*time.Second || w.most != 2 || w.opened != 2 {
			t.Errorf("five passes, twice, took %v, %d at once on %d sessions, want 12s, 2 on 2", took, w.most, w.opened)
		}
		var second []string
		for _, s := range w.said[:10] {
			if !strings.HasPrefix(s, "{") {
				second = append(second, strings.Fields(s)[0])
			}
		}
		slices.Sort(second)
		if d := cmp.Diff([]string{"1:3", "2:1", "3:2", "4:5", "5:4"}, second); d != "" {
			t.Errorf("each pass reads its own variables (-want +got):\n%s", d)
		}
		for _, r := range w.results {
			if r.Step == 2 && r.Duration() != int64(6*time.Second) {
				t.Errorf("the group took %v, want 6s", time.Duration(r.Duration()))
			}
		}
	})
}

// TestDrawsOfPassesDoNotDependOnWhoPerformsThem performs the same flow with one and with many branches.
func TestDrawsOfPassesDoNotDependOnWhoPerformsThem(t *testing.T) {
	draws := func(limit int) (all []string) {
		synctest.Test(t, func(t *testing.T) {
			w, _ := perform(t, fmt.Sprintf(`
flow:
  - parallel: {count: 12, index: i}
    limit: %d
    steps: [{name: a, nap: {send: "${i} ${random_int(1, 1000000)}", takes: 1s}}]`, limit), 3, nil)
			all = w.said
		})
		slices.Sort(all)
		return all
	}
	if d := cmp.Diff(draws(1), draws(5)); d != "" {
		t.Errorf("draws with one branch and with five (-one +five):\n%s", d)
	}
}

func TestAFailedBranchStopsTheIteration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, v := perform(t, `
flow:
  - parallel:
      - {name: a, nap: {send: a, takes: 1s, fail: true}, on_failure: stop_iteration}
      - [{name: b, nap: {send: b, takes: 2s}}, {name: c, nap: {send: c, takes: 1s}}]
  - {name: d, nap: {send: d, takes: 1s}}`, 1, nil)
		if outcome, _ := v.Outcome(false); outcome != load.Stopped || slices.Contains(w.said, "d") || !slices.Contains(w.said, "c") {
			t.Errorf("outcome %v after %v, want stopped after a, b and c", outcome, w.said)
		}
	})
}

func TestAnInterruptReachesBranches(t *testing.T) {
	for _, yaml := range []string{
		"flow: [{parallel: {count: 6}, limit: 3, steps: [{name: a, nap: {takes: 1h}}]}]",
		"flow: [{parallel: {count: 6}, limit: 3, steps: [{name: a, nap: {takes: 1s}}, {think: 1h}, {name: b, nap: {takes: 1s}}]}]",
		"flow: [{parallel: {count: 2}, steps: [{parallel: {count: 2}, steps: [{name: a, nap: {takes: 1h}}]}]}]",
	} {
		synctest.Test(t, func(t *testing.T) {
			_, v := perform(t, yaml, 1, func(v *VU) {
				time.Sleep(10 * time.Second)
				v.Interrupt()
			})
			if outcome, _ := v.Outcome(false); outcome != load.Interrupted {
				t.Errorf("outcome = %v, want interrupted", outcome)
			}
		})
	}
}
