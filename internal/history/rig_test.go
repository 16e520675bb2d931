package history

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/perfd/perfd/internal/hist"
	"github.com/perfd/perfd/internal/load"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(appenderDir); dir != "" {
		appendForEver(dir)
	}
	goleak.VerifyTestMain(m)
}

// zero is an instant that all tiers begin a stretch at.
var zero = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)

const tick = 10 * time.Second

// opened opens a history whose faults fail the test, unless it takes them.
func opened(t testing.TB, o Options) *History {
	t.Helper()
	if o.Fault == nil {
		o.Fault = func(err error) { t.Errorf("Fault(%v)", err) }
	}
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	h, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	return h
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// step returns the window of a step that ends n ticks after zero, with n requests of n ms.
func step(scenario, name string, n int) *load.Window {
	w := &load.Window{
		Scenario: scenario, Step: name, Target: "shop", Protocol: "http",
		Start: zero.Add(time.Duration(n-1) * tick), End: zero.Add(time.Duration(n) * tick),
		Circumstances: load.Circumstances{Run: "run-1", Release: "v1"},
		Requests:      uint64(n),
		Duration:      new(hist.Histogram), ResponseTime: new(hist.Histogram),
		Codes: []load.CodeCount{{Code: 200, Count: uint64(n)}},
	}
	for range n % 7 {
		w.Duration.Record(int64(n) * 1e6)
		w.ResponseTime.Record(int64(n)*1e6 + 3e5)
	}
	return w
}

// own returns the scenario's own window of those of its steps.
func own(steps ...*load.Window) *load.Window {
	w := *steps[0]
	w.Step, w.Target, w.Protocol = "", "", ""
	w.Requests = 0
	w.Duration, w.ResponseTime = total(steps, duration), total(steps, responseTime)
	for _, s := range steps {
		w.Requests += s.Requests
	}
	w.Iterations = &load.Iterations{Started: w.Requests, Duration: new(hist.Histogram), Lateness: new(hist.Histogram)}
	return &w
}

// interval returns all windows of a scenario with two steps that end n ticks after zero.
func interval(scenario string, n int) []*load.Window {
	a, b := step(scenario, "list", n), step(scenario, "pay", n)
	return []*load.Window{a, b, own(a, b)}
}

func reading(n int) load.Sample {
	at := zero.Add(time.Duration(n)*tick - 3*time.Second)
	level := float64(1000 + n)
	return load.Sample{Target: "shop", Resource: "heap", Kind: load.ResourceMemory, Start: at, End: at, Count: 1, Min: level, Mean: level, Max: level, Last: level}
}

// heard is a sink that keeps everything, in order.
type heard struct {
	windows []*load.Window
	samples []load.Sample
	events  []load.Event
	order   []string // what came, with its instant
	ends    []time.Time
}

func (h *heard) Window(w *load.Window) {
	h.windows = append(h.windows, w)
	h.note(w.End, "window "+w.Scenario+"/"+w.Step)
}

func (h *heard) Sample(s load.Sample) {
	h.samples = append(h.samples, s)
	h.note(s.End, "sample "+s.Resource)
}

func (h *heard) Event(e load.Event) {
	h.events = append(h.events, e)
	h.note(e.At, "event "+string(e.Kind))
}

func (h *heard) note(at time.Time, what string) {
	h.ends = append(h.ends, at)
	h.order = append(h.order, fmt.Sprintf("%v %s", at.Sub(zero), what))
}

// replayed returns everything there is.
func replayed(t testing.TB, h *History) *heard {
	t.Helper()
	var got heard
	must(t, h.Replay(context.Background(), time.Time{}, time.Time{}, &got))
	if !slices.IsSortedFunc(got.ends, time.Time.Compare) {
		t.Errorf("a replay is not in order of time: %v", got.order)
	}
	return &got
}

var same = cmp.Options{
	cmpopts.EquateEmpty(), cmpopts.EquateNaNs(),
	cmp.Comparer(func(a, b *hist.Histogram) bool {
		if a == nil || b == nil {
			return a == b
		}
		return a.Equal(b) && a.HDR().Equals(b.HDR())
	}),
}

// requests adds up what the windows of a step counted, and fails where they do
// not follow each other without a gap from the first tick on, or are not the sum
// of what step made.
func requests(t testing.TB, windows []*load.Window, scenario, name string, first int) (last int) {
	t.Helper()
	at := first - 1
	for _, w := range windows {
		if w.Scenario != scenario || w.Step != name {
			continue
		}
		from, to := int(w.Start.Sub(zero)/tick), int(w.End.Sub(zero)/tick)
		if from != at || to <= from {
			t.Fatalf("%s/%s: a window holds the ticks %d to %d, want it to begin at %d", scenario, name, from, to, at)
		}
		if sum := uint64(to*(to+1)-from*(from+1)) / 2; w.Requests != sum || w.Codes[0].Count != sum {
			t.Fatalf("%s/%s: the window of the ticks %d to %d has %d requests, want %d", scenario, name, from, to, w.Requests, sum)
		}
		at = to
	}
	return at
}

// shapes returns n different histograms of log-normal latencies.
func shapes(n, count int, median time.Duration) []*hist.Histogram {
	r := rand.New(rand.NewPCG(1, 2))
	list := make([]*hist.Histogram, n)
	for i := range list {
		list[i] = new(hist.Histogram)
		for range count {
			list[i].Record(int64(float64(median) * math.Exp(0.5*r.NormFloat64())))
		}
	}
	return list
}

func files(t testing.TB, dir, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	must(t, err)
	return names
}

func bytesOf(t testing.TB, dir string) (n int64) {
	t.Helper()
	for _, name := range files(t, dir, "*") {
		stat, err := os.Stat(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		must(t, err)
		n += stat.Size()
	}
	return n
}
