package output

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

// A journal is what happened to the fake outputs of a test, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
}

func (j *journal) take() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	lines := j.lines
	j.lines = nil
	return lines
}

// fakeConfig is the configuration of a fake output, which takes everything.
type fakeConfig struct {
	journal *journal
	name    string
	off     bool
	fails   error
	narrow  bool          // opens an output that takes nothing
	hangs   chan struct{} // that its Close waits for, whatever its time; nil for nothing
}

func (*fakeConfig) Check(*block.Node, string, *block.Errors) {}
func (c *fakeConfig) Enabled() bool                          { return !c.off }

func (c *fakeConfig) Open(env *Env, old Output) (Output, error) {
	if c.fails != nil {
		return nil, c.fails
	}
	if c.narrow {
		return narrow{c.journal}, nil
	}
	f := &fake{c: c}
	if old != nil {
		f.old = old.(*fake)
	}
	c.journal.add("open %s in %s", c.name, env.Dir)
	return f, nil
}

type narrow struct{ *journal }

func (n narrow) Start()                                        { n.add("start narrow") }
func (n narrow) Collect(metric.Send, chan<- prometheus.Metric) {}
func (n narrow) Close(context.Context) error                   { n.add("close narrow"); return nil }

type fake struct {
	c    *fakeConfig
	old  *fake
	sink sink
	runs []string
}

func (f *fake) Start() {
	if f.old != nil {
		f.c.journal.add("%s ends %s", f.c.name, f.old.c.name)
		f.old = nil
	}
	f.c.journal.add("start %s", f.c.name)
}

func (f *fake) Collect(send metric.Send, _ chan<- prometheus.Metric) { send(metric.Paused, 1) }

func (f *fake) Close(context.Context) error {
	if f.c.hangs != nil {
		<-f.c.hangs
	}
	f.c.journal.add("close %s", f.c.name)
	return nil
}

func (f *fake) WriteWindow(ctx context.Context, w *load.Window) error {
	return f.sink.WriteWindow(ctx, w)
}
func (f *fake) Tracer(r *Run) Tracer { return &fakeTracer{f, r.ID} }
func (f *fake) RunEnded(r RunSpan)   { f.runs = append(f.runs, r.Run) }

type fakeTracer struct {
	to *fake
	id string
}

func (t *fakeTracer) Sampled(load.TraceID) bool { return t.to.c.name == "a2" }
func (t *fakeTracer) Trace(*load.Trace)         { t.to.runs = append(t.to.runs, "trace of "+t.id) }

func kindOf(name string, takes Streams) Kind { return Kind{Name: name, Takes: takes} }

// configured is a fake output named by kind and version, whose fingerprint is the version.
func (j *journal) configured(kind, version string, takes Streams) Configured {
	return Configured{Kind: kindOf(kind, takes), Config: &fakeConfig{journal: j, name: kind + version}, Fingerprint: version}
}

func prepare(t *testing.T, s *Set, list ...Configured) *Change {
	t.Helper()
	c, err := s.Prepare(list, "dir")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (s *Set) fake(name string) *fake { return s.live.Load().named(name).output.(*fake) }

func windows(s *Set, names ...string) {
	for _, n := range names {
		s.Write(&load.Window{Step: n})
	}
}

func expect(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, slices.Clip(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

const everything = Windows | Traces

func TestAChangeReplacesWhatChanged(t *testing.T) {
	j := &journal{}
	s := NewSet(Env{})
	c := prepare(t, s, j.configured("a", "1", everything), j.configured("b", "1", everything))
	expect(t, "before the commit", j.take(), "open a1 in dir", "open b1 in dir")
	windows(s, "early") // nobody runs
	c.Commit()
	expect(t, "the first commit", j.take(), "start a1", "start b1")
	a1, b1 := s.fake("a"), s.fake("b")
	windows(s, "1", "2")

	prepare(t, s, j.configured("a", "2", everything), j.configured("b", "1", everything)).Commit()
	expect(t, "a change of a", j.take(), "open a2 in dir", "a2 ends a1", "start a2")
	if s.fake("b") != b1 {
		t.Error("the unchanged output is another one")
	}
	windows(s, "3")
	expect(t, "what the replaced output took", a1.sink.took, "1", "2")
	a2 := s.fake("a")

	prepare(t, s, j.configured("b", "1", everything)).Commit()
	<-s.ending["a"].ended
	expect(t, "a without configuration", j.take(), "close a2")
	expect(t, "what the ended output took", a2.sink.took, "3")

	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect(t, "the stop", j.take(), "close b1")
	expect(t, "what the unchanged output took", b1.sink.took, "1", "2", "3")
	windows(s, "late") // nobody runs
}

// A preparation that fails leaves everything as it was, whichever output failed.
func TestAFailedPreparationChangesNothing(t *testing.T) {
	for _, failing := range []int{0, 1, 2} {
		j := &journal{}
		s := NewSet(Env{})
		prepare(t, s, j.configured("a", "1", everything), j.configured("b", "1", everything), j.configured("c", "1", everything)).Commit()
		j.take()
		a1 := s.fake("a")
		tracer := s.Tracer(Run{ID: "r1"})
		windows(s, "1")
		list := []Configured{j.configured("a", "2", everything), j.configured("b", "2", everything), j.configured("c", "2", everything)}
		list[failing].Config.(*fakeConfig).fails = errors.New("no certificate")
		c, err := s.Prepare(list, "dir")
		if want := "output " + list[failing].Kind.Name + ": no certificate"; c != nil || err == nil || err.Error() != want {
			t.Fatalf("Prepare = %v, %v, want %s", c, err, want)
		}
		var want []string
		for _, l := range list[:failing] {
			want = append(want, "open "+l.Config.(*fakeConfig).name+" in dir")
		}
		for _, l := range list[:failing] {
			want = append(want, "close "+l.Config.(*fakeConfig).name)
		}
		expect(t, "a failed preparation", j.take(), want...)
		windows(s, "2")
		tracer.Trace(&load.Trace{})
		if s.fake("a") != a1 {
			t.Error("the output is another one after a preparation that failed")
		}
		if err := s.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		expect(t, "what the output took", a1.sink.took, "1", "2")
		expect(t, "what the output traced", a1.runs, "trace of r1")
	}
}

func TestAnAbortedChangeIsFreed(t *testing.T) {
	j := &journal{}
	s := NewSet(Env{})
	prepare(t, s, j.configured("a", "1", everything)).Commit()
	j.take()
	c := prepare(t, s, j.configured("a", "2", everything))
	c.Abort()
	c.Abort()
	c.Commit() // too late
	expect(t, "an aborted change", j.take(), "open a2 in dir", "close a2")

	prepare(t, s, j.configured("a", "2", everything)) // and forgotten
	prepare(t, s, j.configured("a", "3", everything)) // and forgotten too
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect(t, "changes that nobody commits", j.take(), "open a2 in dir", "close a2", "open a3 in dir", "close a3", "close a1")
}

func TestAnOutputMustTakeWhatItsKindSays(t *testing.T) {
	for _, takes := range []Streams{Windows, Traces} {
		j := &journal{}
		one := j.configured("a", "1", takes)
		one.Config.(*fakeConfig).narrow = true
		c, err := NewSet(Env{}).Prepare([]Configured{one}, "dir")
		if c != nil || err == nil || !strings.Contains(err.Error(), "does not take what its kind says") {
			t.Errorf("Prepare = %v, %v, want an error", c, err)
		}
		expect(t, "an output of another kind", j.take(), "close narrow")
	}
}

func TestOutputsThatAreOffAreNotOpened(t *testing.T) {
	j := &journal{}
	s := NewSet(Env{})
	one := j.configured("a", "1", everything)
	one.Config.(*fakeConfig).off = true
	prepare(t, s, one).Commit()
	expect(t, "an output that is off", j.take())
	if s.Traces() {
		t.Error("traces are taken by nobody")
	}
}

// A run is traced by the outputs that run, under the name it has.
func TestTracersFollowReloads(t *testing.T) {
	j := &journal{}
	s := NewSet(Env{})
	tracer := s.Tracer(Run{ID: "r1"})
	if tracer.Sampled(load.TraceID{}) {
		t.Error("an iteration is sampled by nobody")
	}
	tracer.Trace(&load.Trace{})
	prepare(t, s, j.configured("a", "1", everything)).Commit()
	if !s.Traces() {
		t.Error("Traces() = false with an output that takes them")
	}
	a1 := s.fake("a")
	tracer.Trace(&load.Trace{})
	tracer.Rename(Run{ID: "r2"})
	tracer.Trace(&load.Trace{})
	prepare(t, s, j.configured("a", "2", everything)).Commit()
	tracer.Trace(&load.Trace{})
	s.RunEnded(RunSpan{Run: "r2"})
	if !tracer.Sampled(load.TraceID{}) {
		t.Error("the new output's choice is not asked for")
	}
	expect(t, "the old output", a1.runs, "trace of r1", "trace of r2")
	expect(t, "the new output", s.fake("a").runs, "trace of r2", "r2")
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Nobody waits for an output that the configuration has no longer, but those of its name that come
// later, and a stop, as long as it has time.
func TestAnOutputThatHangsWhileItEndsKeepsNoChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		s := NewSet(Env{})
		hanging := func(version string) (Configured, chan struct{}) {
			c, goOn := j.configured("a", version, everything), make(chan struct{})
			c.Config.(*fakeConfig).hangs = goOn
			return c, goOn
		}
		began := time.Now()
		change := func(list ...Configured) *Set {
			prepare(t, s, list...).Commit()
			synctest.Wait()
			return s
		}
		one, goOn := hanging("1")
		change(one)
		first := s.fake("a")
		windows(s, "1")
		change()
		expect(t, "an output that hangs while it ends", j.take(), "open a1 in dir", "start a1")
		second := change(j.configured("a", "2", everything)).fake("a")
		windows(s, "2")
		third := change(j.configured("a", "3", everything)).fake("a")
		windows(s, "3")
		change()
		fourth := change(j.configured("a", "4", everything)).fake("a")
		windows(s, "4")
		expect(t, "outputs that wait for it", j.take(), "open a2 in dir", "open a3 in dir", "open a4 in dir")
		if took := time.Since(began); took != 0 {
			t.Errorf("the changes waited %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_ = s.Stop(ctx)
		if took := time.Since(began); took != time.Second {
			t.Errorf("the stop took %v, want its second", took)
		}
		close(goOn)
		synctest.Wait()
		expect(t, "all after it has ended", j.take(), "close a1", "start a2", "a3 ends a2", "start a3", "close a3", "start a4", "close a4")
		for i, f := range []*fake{first, second, third, fourth} {
			expect(t, "what it took", f.sink.took[:1], fmt.Sprint(i+1))
		}
	})
}

// The last snapshot has what the others counted.
func TestOutputsOfSnapshotsStopLast(t *testing.T) {
	j := &journal{}
	s := NewSet(Env{})
	prepare(t, s, j.configured("a", "1", Snapshots), j.configured("b", "1", Traces), j.configured("c", "1", Windows)).Commit()
	j.take()
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect(t, "the order", j.take(), "close b1", "close c1", "close a1")
}

func TestLostWindowsAreCountedOverReloads(t *testing.T) {
	j := &journal{}
	s := NewSet(Env{})
	for _, version := range []string{"1", "2"} {
		prepare(t, s, j.configured("a", version, Windows)).Commit()
		f := s.fake("a")
		f.sink.err = errors.New("disk is full")
		windows(s, "1", "2")
	}
	prepare(t, s, j.configured("a", "3", Windows)).Commit()
	defer s.Stop(t.Context())
	got := map[string]float64{}
	s.Collect(func(d *metric.Desc, v float64, labels ...string) { got[d.Name+" "+strings.Join(labels, " ")] = v }, nil)
	want := map[string]float64{
		"perfd_paused ": 1, "perfd_output_windows_lost_total a queue_full": 0, "perfd_output_windows_lost_total a error": 4,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Collect differs (-want +got):\n%s", diff)
	}
}
