package history

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/hist"
	"github.com/perfd/perfd/internal/load"
)

func drawHistogram(t *rapid.T, label string) *hist.Histogram {
	h := new(hist.Histogram)
	for _, v := range rapid.SliceOfN(rapid.Int64Range(0, int64(2*time.Hour)), 0, 20).Draw(t, label) {
		h.Record(v)
	}
	return h
}

var (
	text  = rapid.SampledFrom([]string{"", "list", "sign-in/login", "ü ∞", "\x00\xff"})
	count = rapid.OneOf(rapid.Uint64Range(0, 3), rapid.Uint64())
)

func drawSpan(t *rapid.T) (start, end time.Time) {
	end = zero.Add(time.Duration(rapid.Int64Range(-1e18, 1e18).Draw(t, "end")))
	return end.Add(-time.Duration(rapid.Int64Range(0, 1e13).Draw(t, "length"))), end
}

func drawWindow(t *rapid.T) *load.Window {
	w := &load.Window{
		Step: text.Draw(t, "step"), Target: text.Draw(t, "target"), Protocol: text.Draw(t, "protocol"),
		Circumstances: load.Circumstances{
			Run: text.Draw(t, "run"), Release: text.Draw(t, "release"),
			Planned: rapid.Float64().Draw(t, "planned"), Busy: rapid.Float64Range(0, 9).Draw(t, "busy"),
			Flags: load.Flags{
				WarmUp: rapid.Bool().Draw(t, "warm-up"), Paused: rapid.Bool().Draw(t, "paused"), Disturbed: rapid.Bool().Draw(t, "disturbed"),
				BackedOff: rapid.Bool().Draw(t, "backed off"), Settling: rapid.Bool().Draw(t, "settling"), Invalid: rapid.Uint32().Draw(t, "invalid"),
			},
		},
		Requests: count.Draw(t, "requests"),
		Duration: drawHistogram(t, "duration"),
		Waited:   time.Duration(rapid.Int64().Draw(t, "waited")), SentBytes: rapid.Int64().Draw(t, "sent"), ReceivedBytes: rapid.Int64().Draw(t, "received"),
	}
	if w.ResponseTime = w.Duration; rapid.Bool().Draw(t, "late") {
		w.ResponseTime = drawHistogram(t, "response time")
	}
	for i := range w.Failures {
		w.Failures[i] = count.Draw(t, "failures")
	}
	for i := range w.Phases {
		w.Phases[i] = time.Duration(rapid.Int64().Draw(t, "phase"))
	}
	for range rapid.IntRange(0, 3).Draw(t, "lists") {
		w.Codes = append(w.Codes, load.CodeCount{Code: rapid.Int32().Draw(t, "code"), Count: count.Draw(t, "codes")})
		w.Limits = append(w.Limits, time.Duration(rapid.Int64().Draw(t, "limit")))
		w.Good = append(w.Good, count.Draw(t, "good"))
		w.Checks = append(w.Checks, load.CheckCount{Name: text.Draw(t, "check"), Evaluated: count.Draw(t, "evaluated"), Failed: count.Draw(t, "failed")})
	}
	if w.Step == "" {
		w.Iterations = &load.Iterations{
			Started: count.Draw(t, "started"), Completed: count.Draw(t, "completed"), Stopped: count.Draw(t, "stopped"), Interrupted: count.Draw(t, "interrupted"),
			Spent: time.Duration(rapid.Int64().Draw(t, "spent")), Duration: drawHistogram(t, "iterations"), Lateness: drawHistogram(t, "lateness"),
		}
		for i := range w.Iterations.Dropped {
			w.Iterations.Dropped[i] = count.Draw(t, "dropped")
		}
	}
	return w
}

func drawSample(t *rapid.T) load.Sample {
	s := load.Sample{
		Target: text.Draw(t, "target"), Resource: text.Draw(t, "resource"), Kind: text.Draw(t, "kind"), Member: text.Draw(t, "member"),
		Count: rapid.IntRange(0, 99).Draw(t, "count"),
		Last:  rapid.Float64().Draw(t, "last"),
	}
	s.Start, s.End = drawSpan(t)
	if s.Min, s.Mean, s.Max = s.Last, s.Last, s.Last; rapid.Bool().Draw(t, "folded") {
		s.Min, s.Mean, s.Max = math.Inf(-1), rapid.Float64().Draw(t, "mean"), math.NaN()
	}
	return s
}

func TestWhatIsAppendedComesBack(t *testing.T) {
	top := t.TempDir()
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		h, err := Open(Options{Dir: filepath.Join(top, fmt.Sprint(round)), Fault: func(err error) { rt.Errorf("Fault(%v)", err) }})
		if err != nil {
			rt.Fatal(err)
		}
		defer h.Close()
		scenario := text.Draw(rt, "scenario")
		start, end := drawSpan(rt)
		var want []*load.Window
		for range rapid.IntRange(0, 4).Draw(rt, "windows") {
			w := drawWindow(rt)
			w.Scenario, w.Start, w.End = scenario, start, end
			want = append(want, w)
		}
		slices.SortStableFunc(want, stepsFirst)
		samples := rapid.SliceOfN(rapid.Custom(drawSample), 0, 4).Draw(rt, "samples")
		if err := h.Append(want, samples); err != nil {
			rt.Fatal(err)
		}
		var got heard
		if err := h.Replay(context.Background(), time.Time{}, time.Time{}, &got); err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(want, got.windows, same); diff != "" {
			rt.Errorf("windows differ (-appended +replayed):\n%s", diff)
		}
		slices.SortStableFunc(samples, func(a, b load.Sample) int { return a.End.Compare(b.End) })
		if diff := cmp.Diff(samples, got.samples, same); diff != "" {
			rt.Errorf("samples differ (-appended +replayed):\n%s", diff)
		}
	})
}

func TestAScenariosOwnHistogramsCostNothing(t *testing.T) {
	// The scenario's own windows add its steps up, so they say nothing that is not there.
	d := shapes(4, 1000, 20*time.Millisecond)
	a, b := step("shop", "list", 1), step("shop", "pay", 1)
	a.Duration, a.ResponseTime, b.Duration, b.ResponseTime = d[0], d[1], d[2], d[3]
	e := newEncoder()
	steps := len(e.windows(nil, []*load.Window{a, b}))
	all := len(e.windows(nil, []*load.Window{a, b, own(a, b)}))
	if all > steps+100 {
		t.Errorf("two steps take %d bytes, with the scenario's own window %d", steps, all)
	}
}

func TestAReplayIsInOrder(t *testing.T) {
	h := opened(t, Options{})
	must(t, h.Event(load.Event{At: zero.Add(tick), Kind: load.RunEnded, Scenario: "a"}))
	must(t, h.Event(load.Event{At: zero.Add(tick), Kind: load.RunBegan, Scenario: "a"}))
	must(t, h.Event(load.Event{At: zero.Add(5 * time.Second), Kind: load.ReleaseChanged, Target: "shop"}))
	s := reading(1)
	s.Start, s.End = zero.Add(tick), zero.Add(tick)
	must(t, h.Append(slices.Concat(interval("b", 2), interval("a", 2)), []load.Sample{s, reading(1)}))
	must(t, h.Append(slices.Concat(interval("b", 1), interval("a", 1)), nil)) // late
	want := []string{
		"5s event release_changed", "7s sample heap",
		"10s window a/list", "10s window a/pay", "10s window a/", "10s window b/list", "10s window b/pay", "10s window b/",
		"10s sample heap", "10s event run_ended", "10s event run_began",
		"20s window a/list", "20s window a/pay", "20s window a/", "20s window b/list", "20s window b/pay", "20s window b/",
	}
	if diff := cmp.Diff(want, replayed(t, h).order); diff != "" {
		t.Errorf("order differs (-want +got):\n%s", diff)
	}
}

func TestAQueryRestricts(t *testing.T) {
	h := opened(t, Options{})
	other := reading(1)
	other.Target = "bank"
	must(t, h.Append(slices.Concat(interval("a", 1), interval("b", 1), interval("a", 2), interval("b", 2)), []load.Sample{reading(1), other, reading(2)}))
	for _, e := range []load.Event{
		{Kind: load.RunBegan, Scenario: "a", Target: "shop"},
		{Kind: load.RunBegan, Scenario: "b", Target: "shop", Targets: []string{"shop", "bank"}},
		{Kind: load.ReleaseChanged, Target: "bank"},
		{Kind: load.FindingTaken, Finding: "leak-1"},
	} {
		e.At = zero.Add(tick)
		must(t, h.Event(e))
	}
	count := func(q Query) [3]int {
		t.Helper()
		var got heard
		must(t, h.ReplayQuery(context.Background(), q, &got))
		return [3]int{len(got.windows), len(got.samples), len(got.events)}
	}
	for _, c := range []struct {
		name string
		q    Query
		want [3]int // windows, samples, events
	}{
		{"everything", Query{}, [3]int{12, 3, 4}},
		{"a scenario", Query{Scenarios: []string{"a"}}, [3]int{6, 3, 3}},
		{"a target", Query{Scenarios: []string{}, Targets: []string{"bank"}}, [3]int{0, 1, 3}},
		{"after", Query{From: zero.Add(tick)}, [3]int{6, 1, 4}},
		{"until", Query{To: zero.Add(tick)}, [3]int{6, 2, 4}},
		{"between", Query{From: zero.Add(tick + 1), To: zero.Add(2*tick - 1)}, [3]int{0, 1, 0}},
	} {
		if got := count(c.q); got != c.want {
			t.Errorf("%s: %v windows, samples and events, want %v", c.name, got, c.want)
		}
	}
}

func TestAReplayStopsWhenItsContextEnds(t *testing.T) {
	h := opened(t, Options{})
	must(t, h.Append(interval("a", 1), nil))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var got heard
	if err := h.Replay(ctx, time.Time{}, time.Time{}, &got); !errors.Is(err, context.Canceled) || len(got.windows) > 0 {
		t.Errorf("Replay = %v after %d windows, want %v and none", err, len(got.windows), context.Canceled)
	}
}

func TestFindingsAndEventsAreKeptAndPruned(t *testing.T) {
	dir := t.TempDir()
	h := opened(t, Options{Dir: dir, MaxAge: 24 * time.Hour})
	f := load.Finding{
		ID: "leak-1", Kind: load.KindLeak, Verdict: load.Fail, State: load.Active, Target: "shop", Updated: zero, Sentence: "heap grows",
		Value: load.Number(math.Inf(1)), Lower: 1, Parts: []load.Finding{{ID: "part", Value: 2}},
	}
	must(t, h.PutFinding(f))
	f.Sentence = "heap grows by 1 MB/h"
	must(t, h.PutFinding(f))
	must(t, h.PutFinding(load.Finding{ID: "gone"}))
	must(t, h.DeleteFindings("gone", "never there"))
	e := load.Event{At: zero, Kind: load.RunBegan, Scenario: "a", Run: "1", Targets: []string{"shop"}}
	must(t, h.Event(e))
	check := func(h *History, when string, findings []load.Finding, events []load.Event) {
		t.Helper()
		gotFindings, err := h.Findings()
		must(t, err)
		gotEvents, err := h.Events(zero.Add(-time.Hour), zero.Add(time.Hour))
		must(t, err)
		if diff := cmp.Diff(findings, gotFindings, same) + cmp.Diff(events, gotEvents, same); diff != "" {
			t.Errorf("%s: differs (-want +got):\n%s", when, diff)
		}
	}
	check(h, "at once", []load.Finding{f}, []load.Event{e})
	must(t, h.Close())
	h = opened(t, Options{Dir: dir, MaxAge: 24 * time.Hour})
	check(h, "opened again", []load.Finding{f}, []load.Event{e})
	must(t, h.Maintain(zero.Add(23*time.Hour)))
	check(h, "before its age", []load.Finding{f}, []load.Event{e})
	must(t, h.Maintain(zero.Add(25*time.Hour)))
	check(h, "after its age", nil, nil)
}

func TestAnotherProcessReadsBesideTheDaemon(t *testing.T) {
	dir := t.TempDir()
	h := opened(t, Options{Dir: dir})
	must(t, h.Append(interval("a", 1), nil))
	must(t, h.Event(load.Event{At: zero, Kind: load.RunBegan}))
	r, err := OpenReadOnly(dir)
	must(t, err)
	if got := replayed(t, r); len(got.windows) != 3 || len(got.events) != 1 {
		t.Errorf("%d windows and %d events, want 3 and 1", len(got.windows), len(got.events))
	}
	must(t, h.Append(interval("a", 2), nil))
	if got := replayed(t, r); len(got.windows) != 6 {
		t.Errorf("%d windows after another append, want 6", len(got.windows))
	}
	if got, want := r.Sizes(), h.Sizes(); !cmp.Equal(got, want) || want["10s"] == 0 {
		t.Errorf("Sizes() = %v, the daemon has %v", got, want)
	}
	for name, err := range map[string]error{
		"Append": r.Append(nil, nil), "Event": r.Event(load.Event{}), "PutFinding": r.PutFinding(load.Finding{ID: "x"}),
		"DeleteFindings": r.DeleteFindings("x"), "Maintain": r.Maintain(zero), "Close": nil,
	} {
		if name != "Close" && !errors.Is(err, errReadOnly) {
			t.Errorf("%s of a history that is read only = %v, want an error", name, err)
		}
	}
	must(t, r.Close())
	if _, err := OpenReadOnly(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("OpenReadOnly of no folder = %v, want %v", err, os.ErrNotExist)
	}
}

func TestAReaderThatHoldsTheLedgerDoesNotStopTheDaemon(t *testing.T) {
	dir := t.TempDir()
	h := opened(t, Options{Dir: dir})
	must(t, h.Event(load.Event{At: zero, Kind: load.RunBegan}))
	f, err := os.Open(filepath.Join(dir, ledgerFile))
	must(t, err)
	must(t, syscall.Flock(int(f.Fd()), syscall.LOCK_SH))
	must(t, h.Event(load.Event{At: zero, Kind: load.RunEnded}))
	got, err := h.Events(zero, zero)
	must(t, err)
	if len(got) != 2 || got[1].Kind != load.RunEnded {
		t.Errorf("Events = %v while another process reads, want both", got)
	}
	must(t, f.Close())
	must(t, h.Close())
	r, err := OpenReadOnly(dir)
	must(t, err)
	if got, err := r.Events(zero, zero); err != nil || len(got) != 2 {
		t.Errorf("Events = %v, %v afterwards, want both", got, err)
	}
}

func TestADamagedLedgerIsSetAside(t *testing.T) {
	for name, spoil := range map[string]func([]byte) []byte{
		"noise":      func(b []byte) []byte { return []byte(strings.Repeat("noise", len(b)/5)) },
		"cut short":  func(b []byte) []byte { return b[:9000] },
		"torn pages": func(b []byte) []byte { return append(b[:8192], make([]byte, len(b)-8192)...) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, ledgerFile)
			faults := 0
			o := Options{Dir: dir, Fault: func(error) { faults++ }}
			h := opened(t, o)
			must(t, h.Event(load.Event{At: zero, Kind: load.RunBegan}))
			must(t, h.Close())
			text, err := os.ReadFile(path)
			must(t, err)
			must(t, os.WriteFile(path, spoil(text), 0o644))
			h = opened(t, o)
			e := load.Event{At: zero, Kind: load.RunEnded}
			if h.Event(e) != nil {
				must(t, h.ledger.flush()) // the one that failed waited
			}
			got, err := h.Events(time.Time{}, time.Time{})
			must(t, err)
			if len(got) != 1 || got[0].Kind != load.RunEnded || faults == 0 {
				t.Errorf("Events = %v after %d faults, want what came after the damage", got, faults)
			}
			if _, err := os.Stat(path + ".damaged"); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestADiskThatIsFullCostsOnlyWhatItDidNotTake(t *testing.T) {
	for _, part := range []int{0, 1, 40} {
		t.Run(fmt.Sprintf("after %d bytes", part), func(t *testing.T) {
			var faults []error
			h := opened(t, Options{Fault: func(err error) { faults = append(faults, err) }})
			must(t, h.Append(interval("a", 1), nil))
			write := h.write
			h.write = func(f *os.File, p []byte, at int64) (int, error) {
				n, _ := f.WriteAt(p[:part], at)
				return n, syscall.ENOSPC
			}
			if err := h.Append(interval("a", 2), nil); !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("Append = %v, want %v", err, syscall.ENOSPC)
			}
			if err := h.Append(interval("a", 61), nil); err == nil { // in a new segment
				t.Error("Append = nil, want an error")
			}
			if len(faults) != 2 {
				t.Errorf("Fault was called with %v, want both", faults)
			}
			h.write = write
			must(t, h.Append(interval("a", 3), nil))
			must(t, h.Append(interval("a", 62), nil))
			var ends []int
			for _, w := range replayed(t, h).windows {
				if w.Step == "" {
					ends = append(ends, int(w.End.Sub(zero)/tick))
				}
			}
			if want := []int{1, 3, 62}; !slices.Equal(ends, want) {
				t.Errorf("windows of the ticks %v are there, want %v", ends, want)
			}
		})
	}
}

func TestAFolderThatCannotBeMadeDoesNotStopTheDaemon(t *testing.T) {
	inTheWay := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(inTheWay, nil, 0o644))
	faults := 0
	h, err := Open(Options{Dir: filepath.Join(inTheWay, "history"), Fault: func(error) { faults++ }})
	must(t, err)
	before := faults
	if err := h.Append(interval("a", 1), nil); err == nil || faults == before {
		t.Errorf("Append = %v after %d faults, want an error and one more", err, faults-before)
	}
	if err := h.Event(load.Event{At: zero}); err == nil {
		t.Error("Event = nil, want an error")
	}
	if err := h.Close(); err == nil {
		t.Error("Close = nil, want an error: an event could not be written")
	}
}

func TestDamageCostsWhatItHits(t *testing.T) {
	var faults []error
	h := opened(t, Options{Fault: func(err error) { faults = append(faults, err) }})
	for n := 1; n <= 3; n++ {
		must(t, h.Append(interval("a", n), nil))
	}
	path := files(t, h.o.Dir, "*.seg")[0]
	text, err := os.ReadFile(path)
	must(t, err)
	text[len(text)/2] ^= 1
	must(t, os.WriteFile(path, append(text, "\xf7pQ\x9d torn"...), 0o644))
	var got heard
	if err := h.Replay(context.Background(), time.Time{}, time.Time{}, &got); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("Replay = %v, want the file's name", err)
	}
	if len(got.windows) != 6 || len(faults) != 1 {
		t.Errorf("%d windows and faults %v, want 6 and one: the torn end may be one that is being written", len(got.windows), faults)
	}
	must(t, h.Close())
	h = opened(t, Options{Dir: h.o.Dir, Fault: func(error) {}})
	must(t, h.Append(interval("a", 4), nil)) // takes the place of the torn end
	got = heard{}
	_ = h.Replay(context.Background(), time.Time{}, time.Time{}, &got)
	if len(got.windows) != 9 {
		t.Errorf("%d windows after another append, want 9", len(got.windows))
	}
}

func TestANewerFormatIsRefused(t *testing.T) {
	check := func(dir, path string, found byte) {
		t.Helper()
		for name, open := range map[string]func() (*History, error){
			"Open":         func() (*History, error) { return Open(Options{Dir: dir}) },
			"OpenReadOnly": func() (*History, error) { return OpenReadOnly(dir) },
		} {
			_, err := open()
			if _, ok := errors.AsType[*NewerError](err); !ok {
				t.Errorf("%s = %v, want a *NewerError", name, err)
				continue
			}
			for _, want := range []string{path, fmt.Sprintf("version %d", found), "up to 1"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%s = %q, want it to say %q", name, err, want)
				}
			}
		}
	}
	h := opened(t, Options{})
	must(t, h.Append(interval("a", 1), nil))
	must(t, h.Event(load.Event{At: zero}))
	must(t, h.Close())
	path := files(t, h.o.Dir, "*.seg")[0]
	text, err := os.ReadFile(path)
	must(t, err)
	text[len(header)-1] = 9
	must(t, os.WriteFile(path, text, 0o644))
	check(h.o.Dir, path, 9)

	must(t, os.Remove(path))
	l := ledger{path: filepath.Join(h.o.Dir, ledgerFile)}
	l.setVersion(t, 7)
	check(h.o.Dir, l.path, 7)
}

func TestConfigIsValidated(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"{max_size: 100MiB, max_age: 30d}", ""},
		{"{}", ""},
		{"{max_size: 1MiB}", "max_size"},
		{"{max_size: 0B}", "max_size"},
		{"{max_age: 1m}", "max_age"},
		{"{max_age: 12}", "max_age"},
	} {
		got := configErrors(t, c.text)
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want it to name %q", c.text, got, c.want)
		}
	}
}

func configErrors(t *testing.T, text string) string {
	t.Helper()
	var c Config
	var errs block.Errors
	n := block.Parse("history.yaml", []byte(text), &errs)
	block.Decode(n, &c, &errs)
	if errs.Len() == 0 {
		return ""
	}
	return errs.Err().Error()
}

// A disk that hangs does not keep who asks for sizes: they are those of when nobody wrote.
func TestSizesWhileTheDiskHangs(t *testing.T) {
	hung, writes := make(chan struct{}), make(chan struct{}, 1)
	hangs := false
	h := opened(t, Options{Dir: t.TempDir(), Disk: func() error {
		if hangs {
			select {
			case writes <- struct{}{}:
			default:
			}
			<-hung
		}
		return nil
	}})
	must(t, h.Append(interval("s", 0), nil))
	before := h.Sizes()
	hangs = true
	done := make(chan error)
	go func() { done <- h.Append(interval("s", 1), nil) }()
	<-writes
	if d := cmp.Diff(before, h.Sizes()); d != "" || before["10s"] == 0 {
		t.Errorf("sizes while a write hangs (-before +now):\n%s", d)
	}
	close(hung)
	must(t, <-done)
	if now := h.Sizes(); now["10s"] <= before["10s"] {
		t.Errorf("sizes after the write: %v, before it %v", now, before)
	}
}
