package validity

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/load"
)

const (
	s  = time.Second
	ms = time.Millisecond
)

func TestOnlyOurOwnDropsDisturb(t *testing.T) {
	for _, c := range []struct {
		why  load.Reason
		want load.Disturbance
	}{
		{load.NoFreeVU, load.Undisturbed},
		{load.VUCap, load.ByVUCap},
		{load.Late, load.ByLateDrops},
		{load.RateCap, load.ByRateCap},
		{load.Backoff, load.Undisturbed},
		{load.Paused, load.Undisturbed},
		{load.Shutdown, load.Undisturbed},
	} {
		v := NewScenario(NewTimeline(), usual)
		var dropped [load.NumReasons]uint64
		dropped[c.why] = 1
		now := time.Now()
		v.Dropped(&dropped, now.Add(-s), now)
		var want [load.NumDisturbances]float64
		if c.want != load.Undisturbed {
			want[c.want] = 1
		}
		if got := v.Seconds(); got != want {
			t.Errorf("seconds after a drop as %s = %v, want %v", c.why, got, want)
		}
	}
}

func TestSecondsAreCountedOnce(t *testing.T) {
	v := NewScenario(NewTimeline(), usual)
	zero := time.Now()
	at := func(d time.Duration) time.Time { return zero.Add(d) }
	if got := v.Seconds(); got != [load.NumDisturbances]float64{} {
		t.Errorf("Seconds = %v at first, want zeros", got)
	}
	v.Late(at(0), at(1*s))
	v.Late(at(1*s), at(2*s))
	v.Late(at(1*s), at(3*s)) // a second of it again
	v.Late(at(1*s), at(2*s)) // all of it again
	v.Late(at(9*s), at(10*s))
	gap := Disturbance{By: load.ByGap, From: at(0), To: at(3 * s), Late: 3 * s}
	if !v.Disturbed(gap) {
		t.Error("a gap of 3 s is no disturbance")
	}
	gap.From, gap.To, gap.Late = at(5*s), at(5*s+110*ms), 100*ms
	if v.Disturbed(gap) {
		t.Error("a gap of no more than the limit is a disturbance")
	}
	var want [load.NumDisturbances]float64
	want[load.ByLateness], want[load.ByGap] = 4, 3
	if got := v.Seconds(); got != want {
		t.Errorf("Seconds = %v, want %v", got, want)
	}
}

// own is a scenario's own window of ten seconds, the i-th since zero, of requests of
// which some were touched and iterations of two requests of which some did not start.
func own(zero time.Time, i int, requests uint64, dropped uint64, touched ...load.TouchedCount) *load.Window {
	w := &load.Window{
		Start: zero.Add(time.Duration(i) * 10 * s), End: zero.Add(time.Duration(i+1) * 10 * s),
		Requests: requests, Touched: touched, Iterations: &load.Iterations{},
	}
	w.Iterations.Dropped[load.Late] = dropped
	w.Iterations.Dropped[load.NoFreeVU] = 1000
	return w
}

func TestAWindowCountsWhileHalfOfItIsLeft(t *testing.T) {
	zero := time.Now().Round(0)
	for _, c := range []struct {
		name     string
		requests uint64
		dropped  uint64
		touched  []load.TouchedCount
		want     []load.Disturbance
	}{
		{"nothing touched", 100, 0, nil, nil},
		{"half", 100, 0, []load.TouchedCount{{By: load.ByGap, Count: 30}, {By: load.ByLateness, Cause: load.Timeout, Count: 20}}, nil},
		{
			"more than half", 100, 0,
			[]load.TouchedCount{{By: load.ByGap, Count: 31}, {By: load.ByLateness, Cause: load.Timeout, Count: 20}},
			[]load.Disturbance{load.ByGap, load.ByLateness},
		},
		{"all, and the target refused them", 100, 0, []load.TouchedCount{{By: load.ByGap, Cause: load.Refused, Count: 100}}, nil},
		{"half did not start", 100, 50, nil, nil},
		{"more than half did not start", 100, 51, nil, []load.Disturbance{load.ByLateDrops}},
		{"no load", 0, 0, nil, nil},
	} {
		v := NewScenario(NewTimeline(), usual)
		bits, _ := v.Window(own(zero, 0, c.requests, c.dropped, c.touched...), 2)
		if diff := cmp.Diff(c.want, load.Disturbances(bits)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestStalledTimeOfAWindow(t *testing.T) {
	zero := time.Now()
	v := NewScenario(NewTimeline(), usual)
	for _, g := range []struct{ from, to time.Duration }{{8 * s, 11 * s}, {15 * s, 15*s + 500*ms}} {
		v.Disturbed(Disturbance{By: load.ByGap, From: zero.Add(g.from), To: zero.Add(g.to), Late: g.to - g.from})
	}
	for i, want := range []time.Duration{2 * s, 1500 * ms, 0} {
		if _, got := v.Window(own(zero.Round(0), i, 10, 0), 1); got != want {
			t.Errorf("window %d: perfd did not run for %v, want %v", i, got, want)
		}
	}
	// A closed workload whose only request is on its way makes no requests, and perfd saw next to nothing.
	v.Disturbed(Disturbance{By: load.ByGap, From: zero.Add(31 * s), To: zero.Add(39 * s), Late: 8 * s})
	if bits, _ := v.Window(own(zero.Round(0), 3, 0, 0), 1); bits != load.ByGap.Bit() {
		t.Errorf("a window of which 8 s are missing has the bits %b", bits)
	}
	// What was due in a stall that reaches the window's end is dropped after it.
	v.Disturbed(Disturbance{By: load.ByGap, From: zero.Add(41 * s), To: zero.Add(50 * s), Late: 9 * s})
	if bits, _ := v.Window(own(zero.Round(0), 4, 10, 0), 1); bits != load.ByGap.Bit() {
		t.Errorf("a window of which the last 9 s are missing has the bits %b", bits)
	}
	if got := v.Invalid(zero.Add(50 * s)); !slices.Equal(got, []load.Disturbance{load.ByGap}) {
		t.Errorf("after a stall of 9 s among 50: %v", got)
	}
}

func TestAMeasurementIsInvalidWhereARelevantShareOfFiveMinutesIsLost(t *testing.T) {
	zero := time.Now().Round(0)
	for _, c := range []struct {
		name  string
		lost  func(window int) uint64 // of 100 requests
		after int                     // windows
		want  []load.Disturbance
	}{
		{"one window of a measurement that has just begun", func(int) uint64 { return 100 }, 1, nil},
		{"two of them", func(int) uint64 { return 100 }, 2, []load.Disturbance{load.ByGap}},
		{"a fifth of each", func(int) uint64 { return 20 }, 30, []load.Disturbance{load.ByGap}},
		{"less than a fifth of each", func(int) uint64 { return 19 }, 30, nil},
		{"a minute of five", func(i int) uint64 { return uint64(100 * min(max(0, i-23), 1)) }, 30, []load.Disturbance{load.ByGap}},
		{"50 s of five minutes", func(i int) uint64 { return uint64(100 * min(max(0, i-24), 1)) }, 30, nil},
		{"what is longer ago", func(i int) uint64 { return uint64(100 * min(max(0, 20-i), 1)) }, 50, nil},
	} {
		v := NewScenario(NewTimeline(), usual)
		for i := range c.after {
			v.Window(own(zero, i, 100, 0, load.TouchedCount{By: load.ByGap, Count: c.lost(i)}), 1)
		}
		now := zero.Add(time.Duration(c.after) * 10 * s)
		if diff := cmp.Diff(c.want, v.Invalid(now)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		if got := v.Invalid(now.Add(recently)); got != nil {
			t.Errorf("%s: five minutes later it is still invalid: %v", c.name, got)
		}
	}
}

// A whole record that does not add up is not valid however little was touched.
func TestWhatDoesNotAddUpIsInvalid(t *testing.T) {
	zero := time.Now().Round(0)
	v := NewScenario(NewTimeline(), usual)
	for i := range 30 {
		v.Window(own(zero, i, 100, 0), 1)
	}
	if got := load.Disturbances(v.Broken(zero, zero.Add(300*s))); len(got) != 1 || got[0] != load.ByLittlesLaw {
		t.Errorf("bits %v", got)
	}
	if got := v.Invalid(zero.Add(300 * s)); len(got) != 1 || got[0] != load.ByLittlesLaw {
		t.Errorf("Invalid = %v", got)
	}
	if got := v.Seconds()[load.ByLittlesLaw]; got != 300 {
		t.Errorf("%v seconds, want 300", got)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	tl := NewTimeline()
	v := NewScenario(tl, usual)
	now := time.Now()
	for i := range 10 * keptSpans {
		now = now.Add(10 * s)
		d := Disturbance{By: load.ByGap, From: now, To: now.Add(s), Late: s}
		tl.add(d)
		v.Disturbed(d)
		v.Window(own(now.Round(0), 0, 1, 0), 1)
		if len(v.gaps) > keptSpans || len(v.windows) > 30 || cap(*tl.known.Load()) > 2*keptIntervals {
			t.Fatalf("after %d disturbances %d gaps, %d windows and %d intervals are kept", i, len(v.gaps), len(v.windows), cap(*tl.known.Load()))
		}
	}
	if _, stalled := v.Window(own(now.Round(0), 0, 1, 0), 1); stalled != s {
		t.Error("the latest is forgotten")
	}
	if !v.Stalled(tl.Since(now)) {
		t.Error("the timeline forgot the latest")
	}
}

func TestConfig(t *testing.T) {
	for _, c := range []struct {
		text     string
		tightest time.Duration
		want     string
	}{
		{"{}", 0, "100ms"},
		{"{}", 2 * s, "200ms"},
		{"{}", 200 * ms, "20ms"},
		{"{}", 10 * ms, "5ms"},
		{"{}", time.Minute, "1s"},
		{"{max_lateness: 20ms}", 2 * s, "20ms"},
		{"{max_lateness: 0s}", 0, "x.yaml:1:16: max_lateness: must be more than 0, got 0s"},
		{"{max_latness: 1s}", 0, "x.yaml:1:2: max_latness: unknown key \"max_latness\"\n\thint: did you mean \"max_lateness\"?"},
	} {
		var errs block.Errors
		var config Config
		block.Decode(block.Parse("x.yaml", []byte(c.text), &errs), &config, &errs)
		got := fmt.Sprint(config.Limit(c.tightest))
		if err := errs.Err(); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("validity: %s under a limit of %v = %s\nwant %s", c.text, c.tightest, got, c.want)
		}
	}
}

func TestDisturbancesFitTheFlags(t *testing.T) {
	var all uint32
	for d := load.ByGap; d < load.NumDisturbances; d++ {
		if d.Bit() == 0 || all&d.Bit() != 0 || d.String() == "" || d.String() == "unknown" {
			t.Errorf("disturbance %d %q has bit %b beside %b", d, d, d.Bit(), all)
		}
		all |= d.Bit()
	}
	if load.Undisturbed.Bit() != 0 || load.ByGap.Bit() != 1 || load.ByThrottling.Bit() != 4 {
		t.Error("bits on disk changed their meaning")
	}
	if got := len(load.Disturbances(all)); got != int(load.NumDisturbances)-1 {
		t.Errorf("%d disturbances in all bits", got)
	}
}

// touched says by what a request of these times since the timeline's zero is touched, with engine zero 1 s later.
func touched(v *Scenario, cause load.Cause, due, sent, done, waited time.Duration) load.Disturbance {
	const zero = int64(s)
	return v.Touched(&load.Result{
		Due: int64(due) - zero, Sent: int64(sent) - zero, Done: int64(done) - zero, Waited: int64(waited), Cause: cause,
	}, zero)
}

func TestWhatADisturbanceTouches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tl := NewTimeline()
		add := func(by load.Disturbance, from, to, late time.Duration) {
			tl.add(Disturbance{By: by, From: tl.zero.Add(from), To: tl.zero.Add(to), Late: late})
		}
		v := NewScenario(tl, 50*ms)
		if got := touched(v, load.None, 0, 0, 10*s, 0); got != load.Undisturbed {
			t.Errorf("without a disturbance: %q", got)
		}
		// A gap of 200 ms settles until 10.4 s, one of 40 ms is none for this scenario, one of 5 s settles for a second.
		add(load.ByGap, 10*s, 10*s+200*ms, 200*ms)
		add(load.ByGap, 20*s, 20*s+40*ms, 40*ms)
		add(load.ByThrottling, 30*s, 35*s, 5*s)
		add(load.ByClock, 50*s, 51*s, 0)
		add(load.ByGap, 50*s+10*ms, 50*s+70*ms, 60*ms) // ends before the one before it
		for _, c := range []struct {
			name            string
			due, sent, done time.Duration
			want            load.Disturbance
		}{
			{"before", 9800 * ms, 9800 * ms, 9999 * ms, load.Undisturbed},
			{"answered within", 9800 * ms, 9800 * ms, 10100 * ms, load.ByGap},
			{"due within", 10100 * ms, 10200 * ms, 10600 * ms, load.ByGap},
			{"sent within, an hour after it was due", 9*s - time.Hour, 10100 * ms, 11 * s, load.ByGap},
			{"due while it settles", 10399 * ms, 10399 * ms, 10600 * ms, load.ByGap},
			{"after", 10401 * ms, 10401 * ms, 10600 * ms, load.Undisturbed},
			{"around it, a tenth of the time at least", 9 * s, 9 * s, 11 * s, load.ByGap},
			{"around it, less than a tenth of the time", 9 * s, 9 * s, 11*s + 1*ms, load.Undisturbed},
			{"a gap below the limit", 20010 * ms, 20010 * ms, 20020 * ms, load.Undisturbed},
			{"the long one settles for a second", 35999 * ms, 35999 * ms, 36 * s, load.ByThrottling},
			{"and not longer", 36001 * ms, 36001 * ms, 36010 * ms, load.Undisturbed},
			{"around a step of the clock", 40 * s, 40 * s, 52 * s, load.ByClock},
			{"after a short one within a long one", 50500 * ms, 50500 * ms, 50600 * ms, load.ByClock},
			{"after all", 51001 * ms, 51001 * ms, 52 * s, load.Undisturbed},
		} {
			if got := touched(v, load.None, c.due, c.sent, c.done, 0); got != c.want {
				t.Errorf("%s: touched by %q, want %q", c.name, got, c.want)
			}
		}
		loose := NewScenario(tl, 300*ms)
		if got := touched(loose, load.None, 10100*ms, 10200*ms, 10300*ms, 0); got != load.Undisturbed {
			t.Errorf("a gap below the limit of a looser scenario touches by %q", got)
		}
		loose.SetLimit(100 * ms)
		if got := touched(loose, load.None, 10100*ms, 10150*ms, 10300*ms, 0); got != load.ByGap {
			t.Errorf("with a tighter limit it touches by %q", got)
		}
	})
}

func TestWhatARequestTellsItself(t *testing.T) {
	tl := NewTimeline()
	v := NewScenario(tl, 50*ms)
	for _, c := range []struct {
		name                    string
		cause                   load.Cause
		due, sent, done, waited time.Duration
		want                    load.Disturbance
	}{
		{"on time", load.None, 5 * s, 5*s + 50*ms, 6 * s, 0, load.Undisturbed},
		{"late", load.None, 5 * s, 5*s + 51*ms, 6 * s, 0, load.ByLateness},
		{"waited for a token", load.None, 5 * s, 9 * s, 9*s + 1*ms, 3960 * ms, load.Undisturbed},
		{"a fault of perfd", load.Internal, 5 * s, 5 * s, 5 * s, 0, load.ByFault},
		{"a heartbeat was due 50 ms ago", load.None, 5 * s, 5 * s, 10*s + 50*ms, 0, load.Undisturbed},
		{"a heartbeat was due 51 ms ago", load.None, 5 * s, 5 * s, 10*s + 51*ms, 0, load.ByGap},
	} {
		tl.expect(tl.zero.Add(10 * s))
		if got := touched(v, c.cause, c.due, c.sent, c.done, c.waited); got != c.want {
			t.Errorf("%s: touched by %q, want %q", c.name, got, c.want)
		}
	}
	if tl.expect(tl.zero); !v.Stalled(int64(51*ms)) || v.Stalled(int64(50*ms)) {
		t.Error("Stalled differs from Touched")
	}
	if tl.silence(); v.Stalled(int64(time.Hour)) {
		t.Error("a timeline without a monitor is stalled")
	}
}

// The heartbeat keeps pace with the limit that it serves, and a gap below the usual limit is found where one is tighter.
func TestTheHeartbeatFollowsTheTightestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := 12 * ms
		n := &notes{zero: time.Now()}
		m := NewMonitor(MonitorOptions{Timeline: NewTimeline(), Root: t.TempDir(), Disturbed: n.take, Limit: func() time.Duration { return limit }})
		if got := m.Look(); got != 6*ms {
			t.Errorf("looks each %v, want 6ms", got)
		}
		time.Sleep(18 * ms)
		m.Look()
		time.Sleep(19 * ms)
		limit = 2 * ms
		if got := m.Look(); got != quickest {
			t.Errorf("looks each %v, want %v", got, quickest)
		}
		limit = time.Minute
		if got := m.Look(); got != slowest {
			t.Errorf("looks each %v, want %v", got, slowest)
		}
		want := []string{"pacer_gap 18ms–37ms late 13ms"}
		if diff := cmp.Diff(want, n.lines); diff != "" {
			t.Errorf("disturbances (-want +got):\n%s", diff)
		}
	})
}

func BenchmarkTouched(b *testing.B) {
	for _, c := range []struct {
		name string
		gaps int
	}{{"quiet", 0}, {"ten gaps a second", 100}} {
		b.Run(c.name, func(b *testing.B) {
			tl := NewTimeline()
			v := NewScenario(tl, 10*ms)
			for i := range c.gaps {
				from := tl.zero.Add(time.Duration(i) * 100 * ms)
				tl.add(Disturbance{By: load.ByGap, From: from, To: from.Add(15 * ms), Late: 12 * ms})
			}
			r := load.Result{Due: int64(9950 * ms), Sent: int64(9950 * ms), Done: int64(9990 * ms)}
			if c.gaps > 0 {
				r.Due, r.Sent, r.Done = int64(9050*ms), int64(9050*ms), int64(9250*ms) // half a second behind the latest
			}
			b.ReportAllocs()
			for b.Loop() {
				v.Touched(&r, 0)
			}
		})
	}
}

// Time without a credential makes windows invalid where nothing is dropped and nothing sent, as in the closed model.
func TestTimeWithoutACredential(t *testing.T) {
	for _, c := range []struct {
		without time.Duration // of a window of ten seconds, in steps of one
		invalid bool
	}{{0, false}, {3 * time.Second, false}, {6 * time.Second, true}, {10 * time.Second, true}} {
		v := NewScenario(NewTimeline(), 100*time.Millisecond)
		start := time.Now()
		for at := time.Duration(0); at < c.without; at += time.Second {
			v.Withheld(start.Add(at), start.Add(at+time.Second))
		}
		w := &load.Window{Start: start.Round(0), End: start.Add(10 * time.Second).Round(0), Iterations: &load.Iterations{}}
		invalid, stalled := v.Window(w, 1)
		if want := map[bool]uint32{true: load.ByCredential.Bit()}[c.invalid]; invalid != want || stalled != 0 {
			t.Errorf("%s without a credential: invalid %v, stalled for %s", c.without, load.Disturbances(invalid), stalled)
		}
		if got := v.Seconds()[load.ByCredential]; got != c.without.Seconds() {
			t.Errorf("%s without a credential count as %vs", c.without, got)
		}
	}
	v := NewScenario(NewTimeline(), 100*time.Millisecond)
	if by := v.Touched(&load.Result{Cause: load.NoCredential}, 0); by != load.ByCredential || load.NoCredential.Sure() {
		t.Errorf("a request without a credential was touched by %v", by)
	}
}
