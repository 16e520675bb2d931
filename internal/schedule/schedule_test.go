package schedule

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/pace"
)

const stamp = "2006-01-02 15:04:05"

func TestActiveAndNext(t *testing.T) {
	type answer struct{ active, zero, next string } // fire and zero of the active run, zero of the next
	for _, tt := range []struct {
		name, schedule, blackouts string
		workload                  Workload
		want                      map[string]answer
	}{
		{
			name: "cron", schedule: "{cron: '0 3 * * *', duration: 1h}",
			want: map[string]answer{
				"2026-04-01 02:59 +00:00": {"", "", "2026-04-01 03:00:00"},
				"2026-04-01 03:00 +00:00": {"2026-04-01 03:00:00", "2026-04-01 03:00:00", "2026-04-02 03:00:00"},
				"2026-04-01 03:59 +00:00": {"2026-04-01 03:00:00", "2026-04-01 03:00:00", "2026-04-02 03:00:00"},
				"2026-04-01 04:00 +00:00": {"", "", "2026-04-02 03:00:00"},
			},
		},
		{
			name: "a finite workload ends the run before the schedule's duration", schedule: "{cron: '0 3 * * *', duration: 1h}",
			workload: Workload{End: pace.End{Time: 10 * time.Minute}},
			want: map[string]answer{
				"2026-04-01 03:09 +00:00": {"2026-04-01 03:00:00", "2026-04-01 03:00:00", "2026-04-02 03:00:00"},
				"2026-04-01 03:10 +00:00": {"", "", "2026-04-02 03:00:00"},
			},
		},
		{
			name: "every, by multiples of its time since the anchor", schedule: "{every: 8h, anchor: '2026-04-01 02:00', duration: 1h}",
			want: map[string]answer{
				"2026-04-01 02:30 +00:00": {"2026-04-01 02:00:00", "2026-04-01 02:00:00", "2026-04-01 10:00:00"},
				"2026-03-31 18:30 +00:00": {"2026-03-31 18:00:00", "2026-03-31 18:00:00", "2026-04-01 02:00:00"}, // before the anchor too
				"2026-04-01 09:59 +00:00": {"", "", "2026-04-01 10:00:00"},
			},
		},
		{
			name: "every, by default since Monday 1970-01-05 in the time zone", schedule: "{every: 7d, time_zone: America/New_York, duration: 1h}",
			want: map[string]answer{
				"2026-01-05 05:30 +00:00": {"2026-01-05 05:00:00", "2026-01-05 05:00:00", "2026-01-12 05:00:00"},
			},
		},
		{
			name: "always is cut by multiples of cut since the anchor", schedule: "{always: true, cut: 12h}",
			workload: Workload{Cycle: time.Hour},
			want: map[string]answer{
				"2026-04-01 13:00 +00:00": {"2026-04-01 12:00:00", "1970-01-05 00:00:00", ""},
			},
		},
		{
			name:     "always has its zero a whole number of cycles from the anchor, in a past that no restart moves",
			schedule: "{always: true, anchor: '2026-04-01 00:10'}", workload: Workload{Cycle: time.Hour},
			want: map[string]answer{
				"2026-04-02 13:00 +00:00": {"2026-04-02 00:10:00", "1970-01-04 23:10:00", ""}, // the last full cycle up to 1970-01-05
				"2027-04-02 13:00 +00:00": {"2027-04-02 00:10:00", "1970-01-04 23:10:00", ""},
			},
		},
		{
			name: "always in a blackout", schedule: "{always: true}", blackouts: "[{name: a, from: '20:00', to: '23:00'}]",
			want: map[string]answer{
				"2026-04-01 19:59 +00:00": {"2026-04-01 00:00:00", "1970-01-05 00:00:00", "2026-04-01 23:00:00"},
				"2026-04-01 20:00 +00:00": {"", "", "2026-04-01 23:00:00"},
			},
		},
		{
			name: "a run that is due in a blackout is missed, one that it meets is over", schedule: "{every: 2h, duration: 90m}",
			blackouts: "[{name: a, from: '20:00', to: '21:00'}, {name: b, from: '23:00', to: '23:30'}]",
			want: map[string]answer{
				"2026-04-01 19:00 +00:00": {"2026-04-01 18:00:00", "2026-04-01 18:00:00", "2026-04-01 22:00:00"},
				"2026-04-01 21:10 +00:00": {"", "", "2026-04-01 22:00:00"},
				"2026-04-01 22:59 +00:00": {"2026-04-01 22:00:00", "2026-04-01 22:00:00", "2026-04-02 00:00:00"},
				"2026-04-01 23:15 +00:00": {"", "", "2026-04-02 00:00:00"},
				"2026-04-01 23:30 +00:00": {"", "", "2026-04-02 00:00:00"},
			},
		},
		{
			name: "manual runs are not the clock's", schedule: "{manual: true, duration: 1h}",
			want: map[string]answer{"2026-04-01 13:00 +00:00": {}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := Options{Scenario: "shop", Workload: tt.workload}
			if tt.blackouts != "" {
				o.Blackouts = compileBlackouts(t, tt.blackouts)
			}
			s := compile(t, tt.schedule, o)
			for when, want := range tt.want {
				var got answer
				if r, ok := s.Active(at(t, when)); ok {
					got.active, got.zero = r.Fire.UTC().Format(stamp), r.Zero.UTC().Format(stamp)
				}
				if next := s.Next(at(t, when)); !next.IsZero() {
					got.next = next.UTC().Format(stamp)
				}
				if diff := cmp.Diff(want, got, cmp.AllowUnexported(answer{})); diff != "" {
					t.Errorf("at %s (-want +got):\n%s", when, diff)
				}
			}
		})
	}
}

// Jitter is the same after every restart and on every machine, differs from run
// to run and from scenario to scenario, and keeps the runs' order and length.
func TestJitter(t *testing.T) {
	s := compile(t, "{every: 1h, jitter: 30m, duration: 10m}", Options{Scenario: "shop"})
	again := compile(t, "{every: 1h, jitter: 30m, duration: 10m}", Options{Scenario: "shop"})
	other := compile(t, "{every: 1h, jitter: 30m, duration: 10m}", Options{Scenario: "cart"})
	seen := map[time.Duration]bool{}
	same := 0
	const runs = 1000
	var sum time.Duration
	from := at(t, "2026-04-01 00:00 +00:00")
	for range runs {
		r, _ := s.following(from)
		if got := again.Next(from); !got.Equal(r.Zero) {
			t.Fatalf("Next(%v) = %v, once more %v", from, r.Zero, got)
		}
		if other.run(r.Fire).Zero.Equal(r.Zero) {
			same++
		}
		late := r.Zero.Sub(r.Fire)
		if late < 0 || late >= 30*time.Minute {
			t.Fatalf("jitter of %v = %v, want 0 to 30m", r.Fire, late)
		}
		if r.End.Sub(r.Zero) != 10*time.Minute || !r.Zero.After(from) {
			t.Fatalf("run %+v after %v, want 10m from its zero", r, from)
		}
		seen[late] = true
		sum += late
		from = r.Zero
	}
	if mean := sum / runs; mean < 14*time.Minute || mean > 16*time.Minute {
		t.Errorf("mean jitter = %v, want about 15m", mean)
	}
	if len(seen) < runs*9/10 || same > 10 {
		t.Errorf("%d different jitters in %d runs, %d the same in another scenario", len(seen), runs, same)
	}
	if want := from.Sub(at(t, "2026-04-01 00:00 +00:00")); want < (runs-1)*time.Hour || want > (runs+1)*time.Hour {
		t.Errorf("%d runs took %v, want one an hour", runs, want)
	}
}

func TestRunsHaveNamesOfTheirOwn(t *testing.T) {
	s := compile(t, "{cron: '*/5 * * * *', time_zone: Europe/Berlin, duration: 1m}", Options{Scenario: "shop"})
	seen := map[string]bool{}
	from := at(t, "2026-10-25 00:00 +02:00")
	for range 100 {
		r, _ := s.following(from)
		if seen[r.ID] {
			t.Errorf("two runs are called %s", r.ID)
		}
		seen[r.ID] = true
		from = r.Zero
	}
	if r, _ := s.following(at(t, "2026-04-01 03:01 +02:00")); r.ID != "20260401T010500Z" {
		t.Errorf("ID of the run at 03:05 +02:00 = %s, want 20260401T010500Z", r.ID)
	}
}

func TestRestartDefaults(t *testing.T) {
	for _, tt := range []struct {
		schedule, test string
		want           bool
	}{
		{"{always: true}", "endurance", true},
		{"{always: true}", "stress", true},
		{"{every: 1h}", "load", true},
		{"{every: 1h}", "endurance", true},
		{"{every: 1h}", "stress", false},
		{"{every: 1h}", "spike", false},
		{"{every: 1h}", "volume", false},
		{"{every: 1h, on_restart: resume}", "spike", true},
		{"{every: 1h, on_restart: skip}", "load", false},
	} {
		if got := must[Config](t, tt.schedule).resumes(Options{Test: tt.test}); got != tt.want {
			t.Errorf("resumes of %s, %s test = %t, want %t", tt.schedule, tt.test, got, tt.want)
		}
	}
}

// The clock cannot tell how many iterations a run has left (SEMANTICS section 5).
func TestCountedWorkloadsAreNotResumed(t *testing.T) {
	for _, schedule := range []string{"{every: 1h}", "{manual: true}", "{every: 1h, on_restart: resume}"} {
		for _, end := range []pace.End{{Total: 10}, {PerVU: 10, Time: time.Hour}} {
			o := Options{Test: "load", Workload: Workload{End: end}}
			if must[Config](t, schedule).resumes(o) {
				t.Errorf("%s resumes a workload that ends %s", schedule, end)
			}
		}
	}
}
