package history

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/hist"
	"github.com/perfd/perfd/internal/load"
)

func (h *History) tiersThere() (there []string) {
	for _, t := range tiers {
		if h.Sizes()[t.name] > 0 {
			there = append(there, t.name)
		}
	}
	return there
}

// hasty makes a simulation of months quick: no power is lost in it.
func hasty(h *History) *History {
	h.fsync = func(*os.File) error { return nil }
	return h
}

func TestThinningLosesAndRepeatsNothing(t *testing.T) {
	t.Parallel()
	h := hasty(opened(t, Options{}))
	const ticks = 9 * 24 * 360
	stride := 3
	if testing.Short() || raced {
		stride = 30 // there is a window every five minutes
	}
	n := 0
	for n = stride; n <= ticks; n += stride {
		w := step("a", "list", n)
		w.Start = w.End.Add(-time.Duration(stride) * tick)
		w.Requests = uint64(n*(n+1)-(n-stride)*(n-stride+1)) / 2
		w.Codes[0].Count = w.Requests
		must(t, h.Append([]*load.Window{w}, []load.Sample{reading(n)}))
		if n%3600 == 0 {
			must(t, h.Maintain(w.End))
		}
	}
	n -= stride
	must(t, h.Maintain(zero.Add(ticks*tick)))
	if got, want := h.tiersThere(), []string{"10s", "1m", "10m"}; !slices.Equal(got, want) {
		t.Errorf("the tiers %v are there, want %v", got, want)
	}
	got := replayed(t, h)
	if last := requests(t, got.windows, "a", "list", 1); last != n {
		t.Errorf("windows end with tick %d, want %d", last, n)
	}
	readings, longest := 0, map[time.Duration]bool{}
	for _, s := range got.samples {
		readings += s.Count
	}
	for _, w := range got.windows {
		longest[w.End.Sub(w.Start)] = true
		if age, length := zero.Add(ticks*tick).Sub(w.End), w.End.Sub(w.Start); age < 6*time.Hour && length > time.Duration(stride)*tick || age < 7*24*time.Hour && length > max(time.Minute, time.Duration(stride)*tick) {
			t.Fatalf("a window of an age of %v is %v long", age, length)
		}
	}
	if readings != n/stride || !longest[10*time.Minute] {
		t.Errorf("%d readings and windows of %v, want %d and 10m among them", readings, longest, n/stride)
	}
}

func TestFoldsKeepCircumstancesApart(t *testing.T) {
	h := opened(t, Options{})
	change := map[int]func(*load.Window){ // from a tick on
		1: func(*load.Window) {},
		2: func(w *load.Window) { w.Flags.Invalid = 1 },
		3: func(*load.Window) {},
		4: func(w *load.Window) { w.Release = "v2" },
		5: func(w *load.Window) { w.Release, w.Run = "v2", "run-2" },
	}
	for n := 1; n <= 12; n++ {
		if n == 8 {
			continue // a gap
		}
		for _, w := range interval("a", n) {
			change[min(n, 5)](w)
			w.Planned, w.Busy = 1, float64(n)
			must(t, h.Append([]*load.Window{w}, nil))
		}
	}
	must(t, h.Maintain(zero.Add(24*time.Hour)))
	var got []string
	for _, w := range replayed(t, h).windows {
		if w.Step == "" {
			got = append(got, fmt.Sprintf("%d-%d %d %s %s planned %v busy %v", w.Start.Sub(zero)/tick, w.End.Sub(zero)/tick, w.Flags.Invalid, w.Release, w.Run, w.Planned, w.Busy))
		}
	}
	want := []string{
		"0-1 0 v1 run-1 planned 1 busy 1",
		"1-2 1 v1 run-1 planned 1 busy 2",
		"2-3 0 v1 run-1 planned 1 busy 3",
		"3-4 0 v2 run-1 planned 1 busy 4",
		"4-6 0 v2 run-2 planned 2 busy 5.5",
		"6-7 0 v2 run-2 planned 1 busy 7", // the minute ends with tick 6
		"8-12 0 v2 run-2 planned 4 busy 10.5",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("folded windows differ (-want +got):\n%s", diff)
	}
}

func TestAFoldIsTheSumOfItsParts(t *testing.T) {
	h := opened(t, Options{})
	var parts []*load.Window
	for n := 1; n <= 6; n++ {
		w := step("a", "", n)
		w.Target, w.Protocol = "", ""
		w.Failures[load.Timeout] = uint64(n)
		w.Codes = []load.CodeCount{{Code: int32(200 + n%2), Count: 5}}
		w.Limits, w.Good = []time.Duration{time.Second}, []uint64{uint64(n)}
		w.Phases[load.PhaseTLS], w.Waited, w.SentBytes, w.ReceivedBytes = time.Second, time.Minute, 3, int64(n)
		w.Checks = []load.CheckCount{{Name: fmt.Sprint("c", n%2), Evaluated: 4, Failed: 1}}
		w.Iterations = &load.Iterations{Started: 1, Completed: 2, Stopped: 3, Interrupted: 4, Spent: time.Second, Duration: w.Duration, Lateness: w.ResponseTime}
		w.Iterations.Dropped[load.Late] = 7
		parts = append(parts, w)
		must(t, h.Append([]*load.Window{w}, nil))
	}
	want := *parts[0]
	want.End = parts[5].End
	want.Requests = 21
	want.Failures[load.Timeout] = 21
	want.Codes = []load.CodeCount{{Code: 200, Count: 15}, {Code: 201, Count: 15}}
	want.Good = []uint64{21}
	want.Phases[load.PhaseTLS], want.Waited, want.SentBytes, want.ReceivedBytes = 6*time.Second, 6*time.Minute, 18, 21
	want.Checks = []load.CheckCount{{Name: "c1", Evaluated: 12, Failed: 3}, {Name: "c0", Evaluated: 12, Failed: 3}}
	want.Duration, want.ResponseTime = total(parts, duration), total(parts, responseTime)
	want.Iterations = &load.Iterations{Started: 6, Completed: 12, Stopped: 18, Interrupted: 24, Spent: 6 * time.Second, Duration: want.Duration, Lateness: want.ResponseTime}
	want.Iterations.Dropped[load.Late] = 42
	before := *parts[0].Duration
	must(t, h.Maintain(zero.Add(24*time.Hour)))
	if diff := cmp.Diff([]*load.Window{&want}, replayed(t, h).windows, same); diff != "" {
		t.Errorf("the fold differs (-want +got):\n%s", diff)
	}
	if !before.Equal(parts[0].Duration) {
		t.Error("folding changed a window that is shared")
	}
}

func TestSamplesAreFolded(t *testing.T) {
	h := opened(t, Options{})
	for n := 1; n <= 6; n++ {
		s := reading(n)
		if n == 3 {
			s.Count, s.Min, s.Mean, s.Max, s.Last = 3, 10, 20, 5000, 30
		}
		must(t, h.Append(nil, []load.Sample{s}))
	}
	must(t, h.Maintain(zero.Add(24*time.Hour)))
	mean := (1001.0 + 1002 + 3*20 + 1004 + 1005 + 1006) / 8
	want := []load.Sample{{
		Target: "shop", Resource: "heap", Kind: load.ResourceMemory,
		Start: reading(1).Start, End: reading(6).End, Count: 8, Min: 10, Mean: mean, Max: 5000, Last: 1006,
	}}
	if diff := cmp.Diff(want, replayed(t, h).samples); diff != "" {
		t.Errorf("samples differ (-want +got):\n%s", diff)
	}
}

func TestWhatComesLateIsKeptOnce(t *testing.T) {
	h := opened(t, Options{})
	for _, n := range []int{1, 2, 4, 5, 6, 200} {
		must(t, h.Append(interval("a", n), nil))
	}
	must(t, h.Maintain(zero.Add(24*time.Hour)))
	must(t, h.Append(interval("a", 3), nil))
	must(t, h.Append(interval("a", 100), nil)) // in the gap of a folded stretch
	must(t, h.Maintain(zero.Add(24*time.Hour)))
	if got := h.tiersThere(); !slices.Equal(got, []string{"1m"}) {
		t.Errorf("the tiers %v are there, want 1m: what is late goes where its time is", got)
	}
	must(t, h.Maintain(zero.Add(10*24*time.Hour)))
	if got := h.tiersThere(); !slices.Equal(got, []string{"10m"}) {
		t.Errorf("the tiers %v are there, want 10m", got)
	}
	var sum uint64
	for _, w := range replayed(t, h).windows {
		if w.Step == "list" {
			sum += w.Requests
		}
	}
	if want := uint64(1 + 2 + 3 + 4 + 5 + 6 + 100 + 200); sum != want {
		t.Errorf("%d requests, want %d", sum, want)
	}
}

// A crash after a fold was put in place and before its parts were removed leaves both.
func TestPartsOfAFoldCountNoMore(t *testing.T) {
	dir := t.TempDir()
	h := opened(t, Options{Dir: dir})
	for n := 1; n <= 120; n++ {
		must(t, h.Append(interval("a", n), nil))
	}
	must(t, h.Close())
	parts := map[string][]byte{}
	for _, path := range files(t, dir, "10s-*.seg") {
		text, err := os.ReadFile(path)
		must(t, err)
		parts[path] = text
	}
	h = opened(t, Options{Dir: dir})
	must(t, h.Maintain(zero.Add(24*time.Hour)))
	must(t, h.Close())
	for path, text := range parts {
		must(t, os.WriteFile(path, text, 0o644))
	}
	unfinished := filepath.Join(dir, "1m-20260105T0000-20260105T0100.seg"+partSuffix)
	must(t, os.WriteFile(unfinished, []byte("half"), 0o644))

	r, err := OpenReadOnly(dir)
	must(t, err)
	if last := requests(t, replayed(t, r).windows, "a", "pay", 1); last != 120 {
		t.Errorf("a reader finds windows to tick %d, want 120", last)
	}
	h = opened(t, Options{Dir: dir})
	if left := append(files(t, dir, "10s-*"), files(t, dir, "*"+partSuffix)...); len(left) > 0 {
		t.Errorf("Open left %v", left)
	}
	if last := requests(t, replayed(t, h).windows, "a", "list", 1); last != 120 {
		t.Errorf("windows end with tick %d, want 120", last)
	}
}

func TestReadersAreNotDisturbedByThinning(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := opened(t, Options{Dir: dir})
	const ticks = 3000
	for n := 1; n <= ticks; n++ {
		must(t, h.Append([]*load.Window{step("a", "list", n)}, nil))
	}
	r, err := OpenReadOnly(dir)
	must(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for hour := 6; hour < 60; hour++ {
			if err := h.Maintain(zero.Add(time.Duration(hour) * 4 * time.Hour)); err != nil {
				t.Errorf("Maintain = %v", err)
			}
		}
	})
	for range 20 {
		var got heard
		if err := r.Replay(context.Background(), time.Time{}, time.Time{}, &got); err != nil {
			t.Errorf("Replay = %v", err)
		}
		if last := requests(t, got.windows, "a", "list", 1); last != ticks {
			t.Errorf("windows end with tick %d, want %d", last, ticks)
		}
	}
	wg.Wait()
}

func TestADiskThatIsFullDoesNotStopTheBounds(t *testing.T) {
	t.Parallel()
	faults := 0
	h := hasty(opened(t, Options{MaxBytes: 100 << 10, Fault: func(error) { faults++ }}))
	write := h.write
	for n := 1; n <= 3000; n++ {
		must(t, h.Append(interval("a", n), nil))
	}
	h.write = func(f *os.File, p []byte, at int64) (int, error) {
		if strings.HasSuffix(f.Name(), partSuffix) {
			return 0, syscall.ENOSPC
		}
		return write(f, p, at)
	}
	if err := h.Maintain(zero.Add(3000 * tick)); err == nil || faults == 0 {
		t.Errorf("Maintain = %v after %d faults, want an error", err, faults)
	}
	if got := h.Sizes()["10s"]; got > 100<<10 || got == 0 {
		t.Errorf("the tier 10s has %d bytes, want some within the bound of %d", got, 100<<10)
	}
	if left := files(t, h.o.Dir, "*"+partSuffix); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
	last := replayed(t, h).windows
	if end := last[len(last)-1].End; !end.Equal(zero.Add(3000 * tick)) {
		t.Errorf("the last window ends at %v, want the newest", end)
	}
}

func TestAgeIsBounded(t *testing.T) {
	h := opened(t, Options{MaxAge: 2 * time.Hour})
	must(t, h.Append(interval("a", 1), nil))
	must(t, h.Append(interval("a", 400), nil))
	must(t, h.Maintain(zero.Add(tick*400+time.Hour+30*time.Minute)))
	got := replayed(t, h).windows
	if len(got) != 3 || !got[0].End.Equal(zero.Add(400*tick)) {
		t.Errorf("%d windows are left, want the three that are not too old", len(got))
	}
}

func TestAYearStaysInItsBound(t *testing.T) {
	t.Parallel()
	const steps, most = 50, 8 << 20
	days, pace := 400, 12*time.Hour
	if testing.Short() || raced {
		days, pace = 40, 12*time.Hour
	}
	bound := int64(most * days / 400)
	durations, responses := shapes(2*steps, 3000, 20*time.Millisecond), shapes(2*steps, 3000, 21*time.Millisecond)
	filled := len(durations[0].AppendSparse(nil))
	if filled < 250 {
		t.Fatalf("a histogram takes %d bytes, want about 300 filled slots", filled)
	}
	h := hasty(opened(t, Options{MaxBytes: bound}))
	windows := make([]*load.Window, steps)
	end, last := zero, zero.Add(time.Duration(days)*24*time.Hour)
	dropped := false
	for i := 0; end.Before(last); i++ {
		end = end.Add(pace)
		for j := range windows {
			w := step("a", fmt.Sprint("step ", j), 1)
			w.Start, w.End = end.Add(-10*time.Minute), end
			w.Duration, w.ResponseTime = durations[(i+j)%len(durations)], responses[(i+j)%len(durations)]
			windows[j] = w
		}
		own := own(windows[0])
		own.Duration, own.ResponseTime = new(hist.Histogram), new(hist.Histogram)
		must(t, h.Append(append(slices.Clone(windows), own), nil))
		must(t, h.Maintain(end))
		if i%20 > 0 {
			continue
		}
		if got := bytesOf(t, h.o.Dir); got > bound {
			t.Fatalf("after %v the history has %d bytes, more than %d", end.Sub(zero), got, bound)
		}
		dropped = dropped || len(h.segments) > 0 && h.segments[0].from.After(zero.Add(24*time.Hour))
	}
	if !dropped {
		t.Errorf("the bound of %d was not reached: %v", bound, h.Sizes())
	}
	if got, want := h.tiersThere(), []string{"10s", "1m", "10m"}; !slices.Equal(got, want) {
		t.Errorf("the tiers %v are there, want %v", got, want)
	}
	count := map[int]int{}
	var got heard
	must(t, h.Replay(context.Background(), last.Add(-10*24*time.Hour), last, &got))
	for _, w := range got.windows {
		for _, s := range h.segments {
			if s.covers(w.End) {
				count[s.tier]++
			}
		}
	}
	for i := range tiers {
		if count[i] < steps {
			t.Errorf("%d windows are read from the tier %s, want at least %d", count[i], tiers[i].name, steps)
		}
	}
	t.Logf("%d days at a pace of %v: %v of %d bytes, %d bytes a window", days, pace, h.Sizes(), bound, h.Sizes()["10s"]/int64(count[0]))
}

func TestRunKeepsUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := opened(t, Options{Dir: dir, Now: func() time.Time { return zero.Add(24 * time.Hour) }})
	must(t, h.Append(interval("a", 1), nil))
	must(t, h.PutFinding(load.Finding{ID: "leak-1", Updated: zero}))
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { h.Run(ctx) })
	r, err := OpenReadOnly(dir)
	must(t, err)
	for {
		found, err := r.Findings()
		must(t, err)
		if r.Sizes()["1m"] > 0 && len(found) == 1 {
			break
		}
		time.Sleep(10 * time.Millisecond) // the test's own limit ends it
	}
	cancel()
	wg.Wait()
}
