package judge

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/hist"
	"github.com/perfd/perfd/internal/history"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// A counter is an analysis that says of each run how many windows it has seen,
// and changes its mind about the run's part when told to.
type counter struct {
	windows int
	live    bool
	verdict load.Verdict
	part    load.Finding // of the last run
}

var counterKind = analysis.Kind{
	Name: "counter", Doc: "How many windows were there?",
	Findings: []analysis.FindingKind{{
		Kind: "count", Word: "count", Headline: "Windows were counted", Gravity: 10, Weight: analysis.Decisive, Late: time.Hour, OfRuns: true,
	}},
}

func (c *counter) Configure(*analysis.Description) {}
func (c *counter) Window(*load.Window)             { c.windows++ }
func (c *counter) Sample(load.Sample)              {}
func (c *counter) Event(load.Event)                {}
func (c *counter) Live()                           { c.live = true }
func (c *counter) Collect(analysis.Send)           {}

func (c *counter) Judge(time.Time) []load.Finding {
	if c.part.ID == "" {
		return nil
	}
	c.part.Verdict = c.verdict
	return []load.Finding{c.part}
}

func (c *counter) Run(e load.Event, _ time.Time) []load.Finding {
	c.part = load.Finding{ID: "count-1", Kind: "count", Run: e.Run, Verdict: c.verdict, Value: load.Number(c.windows)}
	return []load.Finding{c.part}
}

// A bench is a judge with one counter, in a bubble.
type bench struct {
	*Judge
	counter counter
	judged  []load.Finding
	results []string
	stop    func()
}

func newBench(t *testing.T, dir string) *bench {
	t.Helper()
	h, err := history.Open(history.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{counter: counter{verdict: load.Pass}}
	kind := counterKind
	kind.New = func() analysis.Analysis { return &b.counter }
	b.Judge = New(&analysis.Description{}, Options{
		Kinds: analysis.Kinds{kind}, History: h, Log: quiet,
		Judged: func(r Run, f load.Finding) { b.judged, b.results = append(b.judged, f), append(b.results, r.Result) },
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.Run(ctx)
	}()
	b.stop = func() {
		cancel()
		<-done
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}
	synctest.Wait()
	return b
}

func (b *bench) end(run string, at time.Time) {
	b.Ended(Run{
		Event: load.Event{At: at, Kind: load.RunEnded, Scenario: "shop", Run: run},
		Began: at.Add(-time.Minute), HandedOver: time.Now(),
	})
}

func (b *bench) window(end time.Time) {
	none := &hist.Histogram{}
	b.Window(&load.Window{
		Scenario: "shop", Start: end.Add(-10 * time.Second), End: end, Duration: none, ResponseTime: none,
		Iterations: &load.Iterations{Duration: none, Lateness: none},
	})
}

func (b *bench) run(t *testing.T) load.Finding {
	t.Helper()
	for _, f := range b.Findings() {
		if f.Kind == load.KindRun {
			return f
		}
	}
	t.Fatal("no run on the board")
	return load.Finding{}
}

func TestARunWaitsForItsLastWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, t.TempDir())
		defer b.stop()
		at := time.Now()
		b.window(at.Add(-5 * time.Second))
		b.end("r1", at)
		synctest.Wait()
		if len(b.judged) != 0 {
			t.Fatalf("the run was judged before the window that holds its end: %+v", b.judged)
		}
		b.window(at.Add(5 * time.Second))
		synctest.Wait()
		if len(b.judged) != 1 || b.judged[0].Verdict != load.Pass || b.judged[0].Parts[0].Value != 2 {
			t.Fatalf("judged %+v, want one pass that knows of both windows", b.judged)
		}
		b.end("r2", at.Add(time.Minute)) // no window ever holds its end
		time.Sleep(windowsWait + windowsWait/2)
		synctest.Wait()
		if d := cmp.Diff([]string{"pass", "pass"}, b.results); d != "" {
			t.Errorf("results (-want +got):\n%s", d)
		}
		counts := map[string]float64{}
		b.CollectRuns(func(d *metric.Desc, v float64, labels ...string) { counts[labels[1]] += v }, "shop")
		if counts["pass"] != 2 || len(counts) != len(results) {
			t.Errorf("runs counted: %v, want 2 passes and every result at least at 0", counts)
		}
	})
}

func TestALateVerdictChangesWhatIsSaidOfARun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, t.TempDir())
		defer b.stop()
		at := time.Now()
		b.end("r1", at)
		b.window(at)
		synctest.Wait()
		if f := b.run(t); f.Verdict != load.Pass {
			t.Fatalf("the run is %v, want pass", f.Verdict)
		}
		b.counter.verdict = load.Fail
		time.Sleep(30 * time.Minute)
		b.window(time.Now())
		synctest.Wait()
		if f := b.run(t); f.Verdict != load.Fail {
			t.Errorf("half an hour later the run is %v, want fail", f.Verdict)
		}
		b.counter.verdict = load.Pass
		time.Sleep(time.Hour)
		b.window(time.Now())
		synctest.Wait()
		if f := b.run(t); f.Verdict != load.Fail {
			t.Errorf("after the time for late verdicts the run is %v, want what it was", f.Verdict)
		}
	})
}

func TestTheLastRunIsJudgedBeforeTheJudgeEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		b := newBench(t, dir)
		b.window(time.Now())
		b.end("r1", time.Now().Add(time.Minute))
		b.stop()
		if len(b.judged) != 1 {
			t.Errorf("%d runs judged at the end, want the one that waited", len(b.judged))
		}
		again := newBench(t, dir)
		defer again.stop()
		if again.counter.windows != 1 || !again.counter.live {
			t.Errorf("the next process recalls %d windows and live is %v, want the one and true", again.counter.windows, again.counter.live)
		}
		if f := again.run(t); f.Run != "r1" {
			t.Errorf("the next process knows of run %q, want r1", f.Run)
		}
	})
}

func TestTooManyWindowsAreCountedAndEventsAreKept(t *testing.T) {
	b := newInbox()
	for range mostWaiting + 3 {
		b.put(&load.Window{})
	}
	b.put(load.Event{})
	items, open := b.take(t.Context())
	if len(items) != mostWaiting+1 || !open || b.lost.Load() != 3 {
		t.Errorf("%d items, %d lost, open %v; want %d, 3, true", len(items), b.lost.Load(), open, mostWaiting+1)
	}
}
