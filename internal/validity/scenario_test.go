package validity

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/load"
)

const s = time.Second

func TestOnlyOurOwnDropsDisturb(t *testing.T) {
	for _, c := range []struct {
		why  load.Reason
		want []Reason
	}{
		{load.NoFreeVU, nil},
		{load.VUCap, []Reason{VUCap}},
		{load.Late, []Reason{LateDrops}},
		{load.RateCap, []Reason{RateCap}},
		{load.Backoff, nil},
		{load.Paused, nil},
		{load.Shutdown, nil},
	} {
		v := NewScenario(Config{})
		var dropped [load.NumReasons]uint64
		dropped[c.why] = 1
		now := time.Now()
		v.Dropped(&dropped, now.Add(-s), now)
		if diff := cmp.Diff(c.want, v.Reasons(now)); diff != "" {
			t.Errorf("reasons after a drop as %s (-want +got):\n%s", c.why, diff)
		}
	}
}

func TestSecondsAreCountedOnce(t *testing.T) {
	v := NewScenario(Config{})
	zero := time.Now()
	at := func(d time.Duration) time.Time { return zero.Add(d) }
	if got := v.Seconds(); got != [NumReasons]float64{} {
		t.Errorf("Seconds = %v at first, want zeros", got)
	}
	v.Late(at(0), at(1*s))
	v.Late(at(1*s), at(2*s))
	v.Late(at(1*s), at(3*s)) // a second of it again
	v.Late(at(1*s), at(2*s)) // all of it again
	v.Late(at(9*s), at(10*s))
	v.Disturbed(PacerGap, at(0), at(3*s))
	var want [NumReasons]float64
	want[Lateness], want[PacerGap] = 4, 3
	if got := v.Seconds(); got != want {
		t.Errorf("Seconds = %v, want %v", got, want)
	}
}

func TestMeasurementStaysInvalidForAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := NewScenario(Config{})
		now := time.Now()
		v.Disturbed(PacerGap, now.Add(-3*s), now)
		v.Disturbed(Clock, now, now.Add(s))
		for _, c := range []struct {
			after time.Duration
			want  []Reason
		}{
			{0, []Reason{PacerGap, Clock}},
			{time.Minute - 1, []Reason{PacerGap, Clock}},
			{time.Minute, []Reason{Clock}},
			{time.Minute + s, nil},
		} {
			time.Sleep(time.Until(now.Add(c.after)))
			if diff := cmp.Diff(c.want, v.Reasons(time.Now())); diff != "" {
				t.Errorf("reasons after %v (-want +got):\n%s", c.after, diff)
			}
		}
	})
}

func TestWindow(t *testing.T) {
	zero := time.Now().Truncate(time.Minute)
	at := func(d time.Duration) time.Time { return zero.Add(d) }
	type found struct {
		r        Reason
		from, to time.Duration
	}
	for _, c := range []struct {
		name  string
		found []found
		want  string // one letter a window of ten seconds, from zero on
	}{
		{"nothing", nil, "......"},
		{"within a window", []found{{PacerGap, 12 * s, 15 * s}}, ".p...."},
		{"over an edge", []found{{PacerGap, 18 * s, 21 * s}}, ".pp..."},
		{"up to an edge", []found{{PacerGap, 18 * s, 20 * s}}, ".p...."},
		{"often", []found{{PacerGap, 3 * s, 4 * s}, {PacerGap, 33 * s, 34 * s}, {PacerGap, 34 * s, 41 * s}}, "p..pp."},
		{"several reasons", []found{{Lateness, 3 * s, 4 * s}, {PacerGap, 23 * s, 24 * s}}, "l.p..."},
	} {
		v := NewScenario(Config{})
		for _, f := range c.found {
			v.Disturbed(f.r, at(f.from), at(f.to))
		}
		if got := windows(v, zero); got != c.want {
			t.Errorf("%s: windows = %s, want %s", c.name, got, c.want)
		}
	}
}

// windows writes six windows of ten seconds, one letter each.
func windows(v *Scenario, zero time.Time) (out string) {
	letters := map[uint32]string{0: ".", 1 << PacerGap: "p", 1 << Lateness: "l", 1 << Clock: "c"}
	for i := range 6 {
		start := zero.Add(time.Duration(i) * 10 * s)
		out += letters[v.Window(start.Round(0), start.Add(10*s).Round(0))]
	}
	return out
}

func TestWindowsOnBothSidesOfAStep(t *testing.T) {
	zero := time.Now().Truncate(time.Minute).Round(0) // without a monotonic reading, as after a step
	for _, c := range []struct {
		name     string
		from, to time.Duration
		want     string
	}{
		{"forward", 5 * s, 47 * s, "ccccc."},
		{"back", 45 * s, 6 * s, "c...c."},
	} {
		v := NewScenario(Config{})
		v.Disturbed(Clock, zero.Add(c.from), zero.Add(c.to))
		if got := windows(v, zero); got != c.want {
			t.Errorf("%s: windows = %s, want %s", c.name, got, c.want)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	v := NewScenario(Config{})
	now := time.Now()
	for i := range 10 * keptSpans {
		now = now.Add(10 * s)
		v.Disturbed(PacerGap, now, now.Add(time.Duration(i)))
	}
	if got := len(v.found[PacerGap].spans); got != keptSpans {
		t.Errorf("%d spans are kept, want %d", got, keptSpans)
	}
	if v.Window(now, now.Add(s)) == 0 {
		t.Error("the latest is forgotten")
	}
}

func TestConfig(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"{}", "100ms"},
		{"{max_lateness: 20ms}", "20ms"},
		{"{max_lateness: 0s}", "x.yaml:1:16: max_lateness: must be more than 0, got 0s"},
		{"{max_latness: 1s}", "x.yaml:1:2: max_latness: unknown key \"max_latness\"\n\thint: did you mean \"max_lateness\"?"},
	} {
		var errs block.Errors
		var config Config
		block.Decode(block.Parse("x.yaml", []byte(c.text), &errs), &config, &errs)
		got := fmt.Sprint(NewScenario(config).Limit())
		if err := errs.Err(); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("validity: %s = %s\nwant %s", c.text, got, c.want)
		}
	}
}

func TestReasonsFitTheFlags(t *testing.T) {
	if NumReasons > 32 {
		t.Errorf("%d reasons do not fit load.Flags.Invalid", NumReasons)
	}
	for r := range NumReasons {
		if r.String() == "" || r.String() == "unknown" {
			t.Errorf("reason %d has no name", r)
		}
	}
}
