package objective

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/hist"
	"github.com/perfd/perfd/internal/load"
)

const ms = time.Millisecond

// interval is what a scenario of two steps did: login had 100 requests, list 200.
func interval() []*load.Window {
	login := &load.Window{
		Step: "login", Requests: 100, Limits: []time.Duration{100 * ms, 500 * ms}, Good: []uint64{50, 80},
		Codes:  []load.CodeCount{{Code: 200, Count: 84}, {Code: 404, Count: 4}, {Code: 503, Count: 3}},
		Checks: []load.CheckCount{{Name: "has a token", Evaluated: 84, Failed: 2}, {Name: "is short", Evaluated: 84, Failed: 1}},
	}
	login.Failures[load.Status] = 7
	login.Failures[load.Timeout] = 4
	login.Failures[load.Internal] = 1
	login.Failures[load.Canceled] = 4
	list := &load.Window{
		Step: "list", Requests: 200, Limits: []time.Duration{300 * ms, 500 * ms}, Good: []uint64{180, 195},
		Codes: []load.CodeCount{{Code: 200, Count: 200}}, Checks: []load.CheckCount{{Name: "has a token", Evaluated: 200, Failed: 10}},
	}
	for _, w := range []*load.Window{login, list} {
		w.ResponseTime = new(hist.Histogram)
		for range w.Requests - w.Failed() - w.Failures[load.Canceled] {
			w.ResponseTime.Record(int64(50 * ms))
		}
	}
	own := &load.Window{Requests: 300, Iterations: &load.Iterations{Started: 99, Completed: 90, Stopped: 5, Interrupted: 4}}
	own.Iterations.Dropped[load.NoFreeVU] = 10
	for r := load.NoFreeVU + 1; r < load.NumReasons; r++ {
		own.Iterations.Dropped[r] = 1000
	}
	return []*load.Window{login, list, own}
}

func TestCount(t *testing.T) {
	for _, c := range []struct {
		that        string
		step        string
		perIter     int
		events, bad uint64
	}{
		{"p95 < 500ms", "login", 1, 96 + 10, 16 + 10},
		{"p95 < 100ms", "login", 0, 96, 46},
		{"p95 < 200ms", "login", 0, 0, 0},
		{"p95 < 500ms", "", 2, 96 + 200 + 20, 16 + 5 + 20},
		{"error_ratio < 1%", "login", 1, 96 + 10, 12 + 10},
		{"error_ratio < 1%", "", 2, 296 + 20, 12 + 20},
		{"availability > 99%", "login", 1, 95 + 10, 4 + 3 + 10},
		{"check_ratio > 99%", "", 2, 368, 13},
		{"check_ratio > 99%", "login", 2, 168, 3},
		{`check_ratio("has a token") > 99%`, "", 2, 284, 12},
		{"rate > 1/s", "login", 1, 96, 0},
		{"rate > 1/s", "", 2, 95, 0},
		{"error_ratio < 1%", "not there", 0, 0, 0},
	} {
		o, problem, _ := parse(c.that)
		if problem != "" {
			t.Fatal(problem)
		}
		o.Step, o.PerIteration = c.step, uint64(c.perIter)
		if got := o.Count(interval()); got.Events != c.events || got.Bad != c.bad {
			t.Errorf("%s of %q: %d events, %d bad; want %d, %d", c.that, c.step, got.Events, got.Bad, c.events, c.bad)
		}
	}
}

// An answer of 5xx that also ended early is one bad event, not two.
func TestBadEventsAreAtMostAll(t *testing.T) {
	w := &load.Window{Step: "a", Requests: 3, Codes: []load.CodeCount{{Code: 500, Count: 3}}}
	w.Failures[load.Partial] = 3
	o, _, _ := parse("availability > 99%")
	if got := o.Count([]*load.Window{w}); got.Events != 3 || got.Bad != 3 {
		t.Errorf("%d events, %d bad, want 3 and 3", got.Events, got.Bad)
	}
}

// What a server says of itself by a status of gRPC counts as 5xx does; what it says of the request does not.
func TestStatusesOfGRPC(t *testing.T) {
	o, _, _ := parse("availability > 99%")
	for code, bad := range map[int32]uint64{1: 0, 2: 1, 3: 0, 4: 1, 5: 0, 8: 0, 12: 0, 13: 1, 14: 1, 15: 1, 16: 0, 404: 0, 503: 1} {
		w := &load.Window{Step: "a", Requests: 1, Codes: []load.CodeCount{{Code: code, Count: 1}}}
		w.Failures[load.Status] = 1
		if got := o.Count([]*load.Window{w}); got.Events != 1 || got.Bad != bad {
			t.Errorf("code %d: %d events, %d bad, want 1 and %d", code, got.Events, got.Bad, bad)
		}
	}
}

func TestLimits(t *testing.T) {
	var all []Objective
	for _, x := range []struct{ step, that string }{
		{"", "p95 < 500ms"}, {"", "error_ratio < 1%"}, {"login", "p50 < 100ms"}, {"login", "p99 < 500ms"}, {"list", "p95 < 300ms"},
	} {
		o, _, _ := parse(x.that)
		o.Step = x.step
		all = append(all, o)
	}
	size := Objective{Step: "login", Metric: true, Kind: Latency, Limit: 20, Unit: "items"}
	all = append(all, size)
	if diff := cmp.Diff([]time.Duration{size.Threshold()}, Limits(all, "login", true)); diff != "" {
		t.Errorf("limits of a metric (-want +got):\n%s", diff)
	}
	for step, want := range map[string][]time.Duration{
		"login": {100 * ms, 500 * ms}, "list": {300 * ms, 500 * ms}, "other": {500 * ms},
	} {
		if diff := cmp.Diff(want, Limits(all, step, false)); diff != "" {
			t.Errorf("limits of %s (-want +got):\n%s", step, diff)
		}
	}
}

func TestSays(t *testing.T) {
	o := Objective{Scenario: "s", Name: "n", That: "p95 < 1s", Kind: Latency, Quantile: 0.95, Limit: 1, Window: time.Minute, Severity: Warning}
	same, other := o, o
	same.That, same.Window, same.Severity = "p(95) < 1000ms", time.Hour, Critical
	other.Limit = 2
	if !o.SameEvidence(same) || o.SameEvidence(other) {
		t.Errorf("SameEvidence = %v of the same and %v of another limit", o.SameEvidence(same), o.SameEvidence(other))
	}
}
