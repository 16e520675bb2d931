package schedule

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/pace"
)

// A span is what a runner does between two instants: overlaps, blackouts, runs that are made up for.
func TestSpans(t *testing.T) {
	const layout = "02 15:04"
	for _, tt := range []struct {
		name, schedule, blackouts string
		workload                  Workload
		from, to                  string
		lasts                     time.Duration
		want                      []string
	}{
		{
			name: "each fire time of cron, the run under way at the beginning first", schedule: "{cron: '0 */6 * * *', duration: 2h}",
			from: "2026-04-01 01:00 +00:00", to: "2026-04-01 13:00 +00:00",
			want: []string{"01 00:00 to 01 02:00 over", "01 06:00 to 01 08:00 over", "01 12:00 to 01 13:00"},
		},
		{
			name: "a run that is over when the time begins is not listed", schedule: "{every: 6h, duration: 1h}",
			from: "2026-04-01 01:00 +00:00", to: "2026-04-01 06:00 +00:00",
		},
		{
			name: "by hand, from the beginning on", schedule: "{manual: true, duration: 2h}",
			from: "2026-04-01 01:00 +00:00", to: "2026-04-01 03:00 +00:00", want: []string{"01 01:00 to 01 03:00 over"},
		},
		{
			name: "by hand in a blackout", schedule: "{manual: true, duration: 2h}", blackouts: "[{name: night, from: '00:00', to: '05:00'}]",
			from: "2026-04-01 01:00 +00:00", to: "2026-04-02 01:00 +00:00",
		},
		{
			name: "always, but for blackouts", schedule: "{always: true, cut: 1h}", blackouts: "[{name: night, from: '22:00', to: '05:00'}]",
			from: "2026-04-01 01:00 +00:00", to: "2026-04-02 06:00 +00:00",
			want: []string{"01 05:00 to 01 22:00 blackout", "02 05:00 to 02 06:00"},
		},
		{
			name: "a run ends at a blackout, and one is made up for", schedule: "{cron: '0 4,21 * * *', duration: 2h, missed: run_once}", blackouts: "[{name: night, from: '22:00', to: '05:00'}]",
			from: "2026-04-01 12:00 +00:00", to: "2026-04-02 12:00 +00:00",
			want: []string{"01 21:00 to 01 22:00 blackout", "02 05:00 to 02 07:00 over"},
		},
		{
			name: "skip", schedule: "{every: 1h, duration: 90m}",
			from: "2026-04-01 01:00 +00:00", to: "2026-04-01 05:00 +00:00",
			want: []string{"01 00:00 to 01 01:30 over", "01 02:00 to 01 03:30 over", "01 04:00 to 01 05:00"},
		},
		{
			name: "queue", schedule: "{every: 2h, duration: 150m, overlap: queue}",
			from: "2026-04-01 02:00 +00:00", to: "2026-04-01 06:00 +00:00",
			want: []string{"01 00:00 to 01 02:30 over", "01 02:30 to 01 05:00 over", "01 05:00 to 01 06:00"},
		},
		{
			name: "replace", schedule: "{every: 1h, duration: 90m, overlap: replace}",
			from: "2026-04-01 01:30 +00:00", to: "2026-04-01 03:00 +00:00",
			want: []string{"01 01:00 to 01 02:00 replaced", "01 02:00 to 01 03:00"},
		},
		{
			name: "a batch that is done before its time is over", schedule: "{every: 1h}", workload: Workload{End: pace.End{Total: 10, Time: 30 * time.Minute}},
			from: "2026-04-01 01:00 +00:00", to: "2026-04-01 02:30 +00:00", lasts: 10 * time.Minute,
			want: []string{"01 01:00 to 01 01:10 over", "01 02:00 to 01 02:10 over"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := Options{Scenario: "shop", Workload: tt.workload}
			if tt.blackouts != "" {
				o.Blackouts = compileBlackouts(t, tt.blackouts)
			}
			spans, err := compile(t, tt.schedule, o).Spans(at(t, tt.from), at(t, tt.to), tt.lasts)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range spans {
				text := fmt.Sprintf("%s to %s", s.Begin.UTC().Format(layout), s.End.UTC().Format(layout))
				if s.Why != "" {
					text += " " + string(s.Why)
				}
				got = append(got, text)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("spans (-want +got):\n%s", diff)
			}
		})
	}
	s := compile(t, "{every: 1s, duration: 500ms}", Options{Scenario: "shop"})
	if _, err := s.Spans(at(t, "2026-04-01 00:00 +00:00"), at(t, "2026-04-03 00:00 +00:00"), 0); err == nil {
		t.Error("more runs than can be listed are no error")
	}
}

// Occurrences that touch are one, and both ends are cut to the time asked for.
func TestClosures(t *testing.T) {
	b := compileBlackouts(t, "[{name: night, from: '22:00', to: '05:00'}, {name: morning, from: '05:00', to: '06:00'}, {name: noon, from: '12:00', to: '12:30'}]")
	var got []string
	for _, c := range b.Closures(at(t, "2026-04-01 02:00 +00:00"), at(t, "2026-04-01 23:00 +00:00")) {
		got = append(got, c.Name+" "+c.Begin.UTC().Format("15:04")+" "+c.End.UTC().Format("15:04"))
	}
	if diff := cmp.Diff([]string{"night 02:00 06:00", "noon 12:00 12:30", "night 22:00 23:00"}, got); diff != "" {
		t.Errorf("closures (-want +got):\n%s", diff)
	}
	if got := (*Blackouts)(nil).Closures(at(t, "2026-04-01 02:00 +00:00"), at(t, "2026-04-09 02:00 +00:00")); got != nil {
		t.Errorf("no blackouts close %v", got)
	}
}
