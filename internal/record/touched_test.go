package record

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/load"
)

// What perfd itself disturbed is in the cumulative state and in every count of a
// window, and apart from its durations there.
func TestTouchedResultsAreCountedAside(t *testing.T) {
	c, k := newClock(), &kept{}
	o := c.options()
	o.Windows = k.take
	r := New(o)
	sink := open(t, r, shop(200*time.Millisecond))
	touched := func(by load.Disturbance, cause load.Cause, d time.Duration) load.Result {
		res := answered(d)
		res.Cause, res.Touched, res.Checks, res.ChecksFailed = cause, by, 1, 1
		return res
	}
	results := []load.Result{
		answered(100 * time.Millisecond),
		touched(load.ByGap, load.None, 150*time.Millisecond),
		touched(load.ByGap, load.None, 2*time.Hour), // over range
		touched(load.ByLateness, load.None, 10*time.Millisecond),
		touched(load.ByGap, load.Refused, time.Millisecond),
		touched(load.ByGap, load.Canceled, time.Millisecond),
	}
	for round := range 2 { // a cell is used again
		for vu, res := range results {
			sink.Record(vu, &res)
		}
		list := touched(load.ByClock, load.Timeout, time.Second)
		list.Step = 1
		sink.Record(0, &list)
		sink.Drop(load.NoFreeVU, 3)
		sink.Excuse(2)
		c.advance(10 * time.Second)
		r.Fold(c.Now())
		if len(k.windows) != 3 {
			t.Fatalf("round %d: %d windows, want 3", round, len(k.windows))
		}
		login, own := k.windows[1], k.windows[2]
		k.windows = nil
		want := []load.TouchedCount{{By: load.ByGap, Count: 2}, {By: load.ByGap, Cause: load.Refused, Count: 1}, {By: load.ByLateness, Count: 1}}
		if diff := cmp.Diff(want, login.Touched); diff != "" {
			t.Errorf("round %d: touched of login (-want +got):\n%s", round, diff)
		}
		if diff := cmp.Diff(append(want, load.TouchedCount{By: load.ByClock, Cause: load.Timeout, Count: 1}), own.Touched); diff != "" {
			t.Errorf("round %d: touched of the shop (-want +got):\n%s", round, diff)
		}
		if login.Requests != 6 || login.Failures[load.Refused] != 1 || login.Codes[0].Count != 6 || login.Checks[0].Failed != 5 {
			t.Errorf("round %d: %+v, want all results in the counts", round, login)
		}
		if n, m, good := login.Duration.Count(), login.ResponseTime.Count(), login.Good[0]; n != 1 || m != 1 || good != 1 {
			t.Errorf("round %d: %d durations, %d response times, %d good, want those of the one that nothing disturbed", round, n, m, good)
		}
		if it := own.Iterations; it.Dropped[load.NoFreeVU] != 3 || it.Excused != 2 {
			t.Errorf("round %d: %d dropped, %d excused, want 3 and 2", round, it.Dropped[load.NoFreeVU], it.Excused)
		}
	}
	const login = "scenario=shop,step=login"
	for family, want := range map[string]uint64{"perfd_request_duration_seconds": 8, "perfd_response_time_seconds": 8, "perfd_request_failure_duration_seconds": 2} {
		h := gathered(t, r, family)[login].GetHistogram()
		if got := h.GetSampleCount(); got != want {
			t.Errorf("%s has %d samples, want %d: the exposition holds what was touched", family, got, want)
		}
	}
	if got := values(t, r, "perfd_durations_over_range_total")[login]; got != 2 {
		t.Errorf("%v durations over range, want 2", got)
	}
}

func BenchmarkRecordTouched(b *testing.B) {
	results := logNormal(1<<12, 1)
	for i := range results {
		results[i].Touched = load.ByGap
	}
	sink := openSteps(b, New(Options{}), 1, 1)[0]
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		sink.Record(i, &results[i&(1<<12-1)])
		i++
	}
}
