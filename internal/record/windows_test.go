package record

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/load"
)

// kept keeps the windows of a recorder.
type kept struct {
	mu      sync.Mutex
	windows []*load.Window
}

func (k *kept) take(w *load.Window) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.windows = append(k.windows, w)
}

// names returns what was kept as "scenario/step from–to" and forgets it.
func (k *kept) names() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var names []string
	for _, w := range k.windows {
		names = append(names, fmt.Sprintf("%s/%s %s–%s", w.Scenario, w.Step, w.Start.Format(time.TimeOnly), w.End.Format(time.TimeOnly)))
	}
	k.windows = nil
	return names
}

func TestWindowsHoldWhatHappened(t *testing.T) {
	c, k := newClock(), &kept{}
	o := c.options()
	o.Windows = k.take
	flags := load.Flags{WarmUp: true, Invalid: 5}
	asked := 0
	o.Circumstances = func(own *load.Window) (load.Circumstances, func(string) string) {
		if asked++; own.Scenario != "shop" || own.Step != "" || own.Iterations == nil || own.End.Sub(own.Start) != 10*time.Second {
			t.Errorf("Circumstances of %q %q, %v to %v, want the shop's own window of ten seconds", own.Scenario, own.Step, own.Start, own.End)
		}
		return load.Circumstances{Flags: flags, Run: "r1", Busy: 3}, func(target string) string { return target + "-v2" }
	}
	r := New(o)
	sink := open(t, r, shop(200*time.Millisecond, 30*time.Millisecond))
	for vu, res := range []load.Result{
		{Due: 0, Sent: 10e6, Done: 30e6, Code: 200, SentBytes: 1, ReceivedBytes: 2, Checks: 1},
		{Due: 0, Sent: 10e6, Done: 30e6 + 1, Code: 200, SentBytes: 1, ReceivedBytes: 2, Waited: 3, Checks: 1, ChecksFailed: 1},
		{Due: 0, Sent: 0, Done: 300e6, Code: 404, Cause: load.Status, Phases: [load.NumPhases]int64{load.PhaseFirstByte: 7}},
		{Step: 1, Due: 0, Sent: 0, Done: 1e9, Code: 200, Checks: 3, ChecksFailed: 3},
		{Step: 1, Due: 0, Sent: 0, Done: 2e9, Cause: load.Canceled},
	} {
		sink.Record(vu, &res)
		c.advance(time.Second)
		r.Fold(c.Now())
	}
	sink.Started(1)
	sink.Iteration(&load.Iteration{Due: 0, Start: 4e6, End: 1e9})
	sink.Drop(load.VUCap, 3)
	c.advance(5 * time.Second)
	r.Fold(c.Now())

	if len(k.windows) != 3 {
		t.Fatalf("%d windows, want 3: %v", len(k.windows), k.names())
	}
	if asked != 1 {
		t.Errorf("asked %d times for the circumstances of one interval, want once", asked)
	}
	if spent := k.windows[2].Iterations.Spent; spent != 996*time.Millisecond {
		t.Errorf("iterations spent %v, want 996ms", spent)
	}
	login, list, all := k.windows[1], k.windows[0], k.windows[2]
	type summary struct {
		Name       string
		Requests   uint64
		Failed     uint64
		Codes      []load.CodeCount
		Good       []uint64
		Durations  uint64
		Sum        time.Duration
		Bytes      [2]int64
		Waited     time.Duration
		FirstByte  time.Duration
		Checks     []load.CheckCount
		Iterations bool
	}
	summarise := func(w *load.Window) summary {
		return summary{
			Name: w.Step, Requests: w.Requests, Failed: w.Failed(), Codes: w.Codes, Good: w.Good,
			Durations: w.Duration.Count(), Sum: w.ResponseTime.Sum(), Bytes: [2]int64{w.SentBytes, w.ReceivedBytes},
			Waited: w.Waited, FirstByte: w.Phases[load.PhaseFirstByte], Checks: w.Checks, Iterations: w.Iterations != nil,
		}
	}
	for _, c := range []struct {
		window *load.Window
		want   summary
	}{
		{login, summary{
			Name: "login", Requests: 3, Failed: 1, Codes: []load.CodeCount{{Code: 200, Count: 2}, {Code: 404, Count: 1}},
			Good: []uint64{1, 2}, Durations: 2, Sum: 60e6 + 1, Bytes: [2]int64{2, 4}, Waited: 3, FirstByte: 7,
			Checks: []load.CheckCount{{Name: "has a token", Evaluated: 2, Failed: 1}},
		}},
		{list, summary{
			Name: "list", Requests: 2, Codes: []load.CodeCount{{Code: 200, Count: 1}},
			Good: []uint64{}, Durations: 1, Sum: 1e9,
			Checks: []load.CheckCount{{Name: "not empty", Evaluated: 1, Failed: 1}, {Name: "has a token", Evaluated: 1, Failed: 1}},
		}},
		{all, summary{
			Requests: 5, Failed: 1, Codes: []load.CodeCount{{Code: 200, Count: 3}, {Code: 404, Count: 1}},
			Durations: 3, Sum: 1060e6 + 1, Bytes: [2]int64{2, 4}, Waited: 3, FirstByte: 7, Iterations: true,
			Checks: []load.CheckCount{{Name: "not empty", Evaluated: 1, Failed: 1}, {Name: "has a token", Evaluated: 3, Failed: 2}},
		}},
	} {
		if diff := cmp.Diff(c.want, summarise(c.window)); diff != "" {
			t.Errorf("window of %q differs (-want +got):\n%s", c.want.Name, diff)
		}
		want := load.Circumstances{Flags: flags, Run: "r1", Busy: 3}
		if c.window.Target != "" {
			want.Release = c.window.Target + "-v2"
		}
		if c.window.Circumstances != want {
			t.Errorf("window of %q has circumstances %+v, want %+v", c.want.Name, c.window.Circumstances, want)
		}
		if c.window.Start != newClock().now || c.window.End != newClock().now.Add(10*time.Second) {
			t.Errorf("window of %q spans %v to %v, want the first ten seconds", c.want.Name, c.window.Start, c.window.End)
		}
	}
	if diff := cmp.Diff([]time.Duration{30 * time.Millisecond, 200 * time.Millisecond}, login.Limits); diff != "" {
		t.Errorf("limits differ (-want +got):\n%s", diff)
	}
	it := all.Iterations
	if it.Started != 1 || it.Completed != 1 || it.Dropped[load.VUCap] != 3 || it.Lateness.Count() != 1 || it.Duration.Sum() != 996*time.Millisecond {
		t.Errorf("iterations = %+v, want one started and completed after 996ms, three dropped", it)
	}
}

func TestWindowsAreAlignedToTheWallClock(t *testing.T) {
	c, k := newClock(), &kept{}
	o := c.options()
	o.Windows = k.take
	c.advance(3 * time.Second)
	r := New(o)
	sink := open(t, r, Scenario{Name: "s", Steps: []Series{{Step: "a"}}})
	for _, step := range []struct {
		name    string
		advance time.Duration
		want    []string
	}{
		{"a window under way is kept", 6 * time.Second, nil},
		{"it ends on the clock", time.Second, []string{"s/a 12:00:00–12:00:10", "s/ 12:00:00–12:00:10"}},
		{"a late fold ends it where it should have ended", 13 * time.Second, []string{"s/a 12:00:10–12:00:20", "s/ 12:00:10–12:00:20"}},
		{"after a stall one window spans it", 42 * time.Second, []string{"s/a 12:00:20–12:01:00", "s/ 12:00:20–12:01:00"}},
		{"a clock that goes back a little changes nothing", -7 * time.Second, nil},
		{"a clock that goes back far begins a new window", -30 * time.Minute, []string{"s/a 12:01:00–12:01:10", "s/ 12:01:00–12:01:10"}},
		{"and goes on from there", 5 * time.Second, []string{"s/a 11:30:50–11:31:00", "s/ 11:30:50–11:31:00"}},
	} {
		c.advance(step.advance)
		r.Fold(c.Now())
		if diff := cmp.Diff(step.want, k.names()); diff != "" {
			t.Errorf("%s: windows differ (-want +got):\n%s", step.name, diff)
		}
	}
	c.advance(4 * time.Second)
	sink.Close()
	r.Flush()
	if diff := cmp.Diff([]string{"s/a 11:31:00–11:31:07", "s/ 11:31:00–11:31:07"}, k.names()); diff != "" {
		t.Errorf("after Close windows differ (-want +got):\n%s", diff)
	}
}

func TestRunFoldsOnTheSecondAndFlushesAtItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(3300 * time.Millisecond)
		k := &kept{}
		r := New(Options{Windows: k.take})
		sink := open(t, r, Scenario{Name: "s", Steps: []Series{{Step: "a"}}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); r.Run(ctx) }()

		res := answered(time.Millisecond)
		sink.Record(0, &res)
		time.Sleep(700 * time.Millisecond)
		synctest.Wait()
		if recent, _ := r.Recent("s"); recent.Requests == 0 {
			t.Errorf("Recent() after a full second = %+v, want the request in it", recent)
		}
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if diff := cmp.Diff([]string{"s/a 00:00:00–00:00:10", "s/ 00:00:00–00:00:10"}, k.names()); diff != "" {
			t.Errorf("windows differ (-want +got):\n%s", diff)
		}
		time.Sleep(2 * time.Second)
		cancel()
		<-done
		if diff := cmp.Diff([]string{"s/a 00:00:10–00:00:12", "s/ 00:00:10–00:00:12"}, k.names()); diff != "" {
			t.Errorf("windows at the end differ (-want +got):\n%s", diff)
		}
	})
}

func TestRecentShowsTheLastMinute(t *testing.T) {
	c := newClock()
	r := New(c.options())
	sink := open(t, r, shop())
	if _, ok := r.Recent("no such scenario"); ok {
		t.Error("Recent(no such scenario) = ok, want not")
	}
	for second := range 120 {
		for i := range 10 {
			res := answered(time.Duration(second+1) * time.Millisecond)
			if i == 0 {
				res.Cause = load.Timeout
			}
			res.Step = i % 2
			sink.Record(i, &res)
		}
		cancelled := load.Result{Done: 1, Cause: load.Canceled}
		sink.Record(0, &cancelled)
		sink.Started(0)
		c.advance(time.Second)
		r.Fold(c.Now())
	}
	got, _ := r.Recent("shop")
	want := Recent{
		Span: time.Minute, Count: 660, Requests: 11, Iterations: 1, ErrorRatio: 0.1,
		Duration: Percentiles{P50: 90 * time.Millisecond, P95: 117 * time.Millisecond, P99: 120 * time.Millisecond},
	}
	want.ResponseTime = want.Duration
	within := func(name string, got, want time.Duration) {
		if got < want*99/100 || got > want*101/100 {
			t.Errorf("%s = %v, want %v", name, got, want)
		}
	}
	within("span", got.Span, want.Span)
	within("p50", got.Duration.P50, want.Duration.P50)
	within("p95", got.Duration.P95, want.Duration.P95)
	within("p99", got.ResponseTime.P99, want.ResponseTime.P99)
	got.Duration, got.ResponseTime = want.Duration, want.ResponseTime
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Recent() differs (-want +got):\n%s", diff)
	}
}

// While everything fails, each fold hands out what it counted, and the first one after it.
func TestPartsInWhichEverythingFails(t *testing.T) {
	ok, refused := load.Result{Done: 1e6, Code: 200}, load.Result{Done: 1e6, Cause: load.Refused}
	stalled := refused
	stalled.Cause, stalled.Touched = load.Timeout, load.ByGap
	canceled := load.Result{Done: 1e6, Cause: load.Canceled}
	for _, c := range []struct {
		name  string
		folds [][]load.Result
		want  []string
	}{
		{"nothing fails", [][]load.Result{{ok}, {ok, ok}, {}}, nil},
		{"some fail", [][]load.Result{{ok, refused}, {refused, ok}}, nil},
		{"all fail for two seconds, of which the last was another", [][]load.Result{{ok, refused}, {refused, refused}, {}, {refused}, {ok, refused}, {ok}}, []string{
			"1s-2s: 2 requests, 2 refused, 0 timeouts, 0 touched", "3s-4s: 1 requests, 1 refused, 0 timeouts, 0 touched", "4s-5s: 2 requests, 1 refused, 0 timeouts, 0 touched",
		}},
		{"all fail, perfd may have caused it", [][]load.Result{{stalled, refused}}, []string{"0s-1s: 2 requests, 1 refused, 1 timeouts, 1 touched"}},
		{"canceled", [][]load.Result{{canceled}, {}}, []string{"0s-1s: 1 requests, 0 refused, 0 timeouts, 0 touched"}},
	} {
		var got []string
		zero := time.Date(2026, 1, 5, 14, 3, 10, 0, time.UTC)
		r := New(Options{Now: func() time.Time { return zero }, Failing: func(w *load.Window) {
			var touched uint64
			for _, t := range w.Touched {
				touched += t.Count
			}
			got = append(got, fmt.Sprintf("%v-%v: %d requests, %d refused, %d timeouts, %d touched",
				w.Start.Sub(zero), w.End.Sub(zero), w.Requests, w.Failures[load.Refused], w.Failures[load.Timeout], touched))
		}})
		sink := openSteps(t, r, 1, 2)[0]
		for i, fold := range c.folds {
			for j := range fold {
				fold[j].Step = j % 2
				sink.Record(j, &fold[j])
			}
			r.Fold(zero.Add(time.Duration(i+1) * time.Second))
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, d)
		}
	}
}
