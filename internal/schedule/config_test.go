package schedule

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/pace"
)

func TestWrongSchedules(t *testing.T) {
	for _, tt := range []struct{ schedule, want string }{
		{"{duration: 1h}", "perfd.yaml:1:1: one of always, cron, every, after and manual is required\n\thint: write always: true"},
		{"{always: true, every: 1h}", "perfd.yaml:1:23: every: only one of always, cron, every, after and manual may be given, found always and every"},
		{"{always: false}", "perfd.yaml:1:10: always: must be true\n\thint: leave it out, and say with cron, every, after, always or manual when the scenario runs"},
		{"{cron: ''}", "perfd.yaml:1:8: cron: must not be empty"},
		{"{every: 0s}", "perfd.yaml:1:9: every: must be more than 0"},
		{"{every: 10ms}", "perfd.yaml:1:9: every: must be at least 1s, got 10ms"},
		{"{always: true, duration: 1h}", "perfd.yaml:1:16: duration: belongs to cron and every and after and manual, this schedule is always"},
		{"{cron: '0 1 * * *', cut: 1h}", "perfd.yaml:1:21: cut: belongs to always, this schedule is cron"},
		{"{cron: '0 1 * * *', anchor: '2026-01-01'}", "perfd.yaml:1:21: anchor: belongs to always and every, this schedule is cron"},
		{"{manual: true, jitter: 1s}", "perfd.yaml:1:16: jitter: belongs to cron and every, this schedule is manual"},
		{"{cron: '0 0 1 * * *'}", "perfd.yaml:1:8: cron: must be a cron expression of five fields, or one of @hourly, @daily, @weekly, @monthly, @yearly, got \"0 0 1 * * *\"\n\thint: there is no field for seconds"},
		{"{cron: '61 * * * *'}", "perfd.yaml:1:8: cron: must be a cron expression"},
		{"{cron: '@every 5m'}", "perfd.yaml:1:8: cron: must be a cron expression of five fields, or one of @hourly, @daily, @weekly, @monthly, @yearly, got \"@every 5m\"\n\thint: write every: 5m"},
		{"{cron: '@reboot'}", "perfd.yaml:1:8: cron: must be a cron expression"},
		{"{cron: 'CRON_TZ=Europe/Berlin 0 1 * * *'}", "perfd.yaml:1:8: cron: must not name a time zone, got \"CRON_TZ=Europe/Berlin 0 1 * * *\"\n\thint: write the time zone as time_zone"},
		{"{cron: 'TZ='}", "perfd.yaml:1:8: cron: must not name a time zone"},
		{"{cron: '0 0 31 2 *'}", "perfd.yaml:1:8: cron: never comes, got \"0 0 31 2 *\"\n\thint: is there such a day in such a month?"},
		{"{cron: '*/5 * * * *', jitter: 5m}", "perfd.yaml:1:31: jitter: must be shorter than the time between two runs (5m), got 5m"},
		{"{every: 5m, jitter: 5m}", "perfd.yaml:1:21: jitter: must be shorter than every (5m), got 5m"},
		{"{every: 5m, duration: 0s}", "perfd.yaml:1:23: duration: must be more than 0"},
		{"{always: true, cut: 0s}", "perfd.yaml:1:21: cut: must be more than 0"},
		{"{always: true, cut: 1s}", "perfd.yaml:1:21: cut: must be at least 1m, got 1s"},
		{"{cron: '@daily', time_zone: Europe/Berln}", "perfd.yaml:1:29: time_zone: unknown time zone \"Europe/Berln\"\n\thint: write a name of the IANA database"},
		{"{cron: '@daily', time_zone: Local}", "perfd.yaml:1:29: time_zone: unknown time zone \"Local\""},
		{"{always: true, anchor: noon}", "perfd.yaml:1:24: anchor: must be an instant such as 2026-03-30, 2026-03-30 06:00 or 2026-03-30T06:00:00Z, got \"noon\""},
		{"{always: true, anchor: '1960-01-01'}", "perfd.yaml:1:24: anchor: must not be before 1970, got \"1960-01-01\""},
		{"{after: ''}", "perfd.yaml:1:9: after: must name a scenario"},
		{"{after: other, jitter: 1s}", "perfd.yaml:1:16: jitter: belongs to cron and every, this schedule is after"},
		{"{every: 1h, delay: 1s}", "perfd.yaml:1:13: delay: belongs to after, this schedule is every"},
		{"{every: 1h, overlap: kill}", "perfd.yaml:1:22: overlap: must be skip"},
		{"{every: 1h, missed: always}", "perfd.yaml:1:21: missed: must be skip"},
		{"{every: 1h, on_restart: restart}", "perfd.yaml:1:25: on_restart: must be resume"},
	} {
		_, err := decode[Config](t, tt.schedule)
		wantMistake(t, tt.schedule, err, tt.want)
	}
}

func TestWrongBlackouts(t *testing.T) {
	for _, tt := range []struct{ blackouts, want string }{
		{"[{from: '20:00', to: '21:00'}]", "perfd.yaml:1:2: [0].name: is required"},
		{"[{name: a}]", "perfd.yaml:1:2: [0]: covers all of every day\n\thint: say when it is"},
		{"[{name: a, from: '20:00', to: '20:00'}]", "perfd.yaml:1:31: [0].to: must differ from from, both are 20:00"},
		{"[{name: a, from: '25:00'}]", "perfd.yaml:1:18: [0].from: must be a time of day such as 20:00, got \"25:00\""},
		{"[{name: a, from: '24:00', to: '02:00'}]", "perfd.yaml:1:18: [0].from: must be before the end of the day"},
		{"[{name: a, weekdays: [tuesday]}]", "perfd.yaml:1:23: [0].weekdays[0]: must be a day of the week, got \"tuesday\"\n\thint: known are sun, mon"},
		{"[{name: a, dates: ['24.12.2026']}]", "perfd.yaml:1:20: [0].dates[0]: must be a date such as 2026-12-24, got \"24.12.2026\""},
		{"[{name: a, weekdays: [tue], time_zone: Mars}]", "perfd.yaml:1:40: [0].time_zone: unknown time zone \"Mars\""},
	} {
		_, err := decode[[]Blackout](t, tt.blackouts)
		wantMistake(t, tt.blackouts, err, tt.want)
	}
}

func wantMistake(t *testing.T, text string, err error, want string) {
	t.Helper()
	if err == nil {
		t.Errorf("decode %s succeeded, want %s", text, want)
		return
	}
	if got := err.Error(); !strings.HasPrefix(got, want) || strings.Count(got, "perfd.yaml:") > 1 {
		t.Errorf("decode %s (-want +got):\n%s", text, cmp.Diff(want, got))
	}
}

func TestScheduleAndWorkloadMustFit(t *testing.T) {
	endless, hour := Workload{}, Workload{End: pace.End{Time: time.Hour}}
	counted := Workload{End: pace.End{Total: 100, Time: 2 * time.Hour}}
	for _, tt := range []struct {
		schedule string
		workload Workload
		want     string
	}{
		{"{always: true}", endless, ""},
		{"{always: true}", hour, "perfd.yaml:1:1: always needs a workload that does not end, this one ends after 1h"},
		{"{cron: '@daily'}", hour, ""},
		{"{cron: '@daily'}", endless, "perfd.yaml:1:1: duration: is required: the workload does not end by itself\n\thint: write duration: 1h"},
		{"{every: 1h}", endless, "perfd.yaml:1:1: duration: is required"},
		{"{every: 1h}", hour, ""},
		{"{every: 30m}", hour, "perfd.yaml:1:9: every: must not be shorter than a run, which lasts 1h, got 30m"},
		{"{every: 30m, overlap: replace}", hour, ""},
		{"{every: 30m, duration: 10m}", hour, ""},
		{"{manual: true}", endless, ""},
		{"{always: true}", counted, "perfd.yaml:1:1: always needs a workload that does not end, this one ends after 100 iterations or 2h, whichever is first"},
		{"{cron: '@daily'}", counted, ""},
		{"{cron: '@daily'}", Workload{End: pace.End{PerVU: 5}}, ""},
		{"{every: 1h}", counted, ""}, // which may be over within the hour
		{"{every: 1h, on_restart: skip}", counted, ""},
		{"{every: 1h, on_restart: resume}", counted, "perfd.yaml:1:25: on_restart: resume needs a workload that only the clock ends, this one ends after 100 iterations or 2h, whichever is first\n\thint: leave it out"},
	} {
		var errs block.Errors
		n := block.Parse("perfd.yaml", []byte(tt.schedule), &errs)
		var c Config
		block.Decode(n, &c, &errs)
		c.Check(n, tt.workload, &errs)
		if tt.want != "" {
			wantMistake(t, tt.schedule, errs.Err(), tt.want)
		} else if err := errs.Err(); err != nil {
			t.Errorf("Check(%s, %+v) = %v, want no mistake", tt.schedule, tt.workload, err)
		}
	}
}

func TestDescribe(t *testing.T) {
	for schedule, want := range map[string]string{
		"{always: true}": "always, cut every 24h",
		"{always: true, cut: 1h, anchor: 2026-01-01, time_zone: Europe/Berlin}":                                     "always, cut every 1h (Europe/Berlin), anchored at 2026-01-01",
		"{cron: '0 3 * * *', time_zone: Europe/Berlin, duration: 1h, jitter: 5m, overlap: queue, missed: run_once}": "cron 0 3 * * * (Europe/Berlin), runs last 1h, up to 5m later, overlap queue, missed run_once",
		"{every: 90m}":   "every 1h30m",
		"{manual: true}": "started by hand",
	} {
		if got := must[Config](t, schedule).Describe(); got != want {
			t.Errorf("Describe(%s) = %q, want %q", schedule, got, want)
		}
	}
	if got, want := (Config{}).Describe(), "always, cut every 24h"; got != want {
		t.Errorf("Describe of the zero Config = %q, want %q", got, want)
	}
}

func TestSchemaDescribesEveryKey(t *testing.T) {
	for _, v := range []any{Config{}, Blackout{}} {
		for key, p := range block.Schema(v)["properties"].(map[string]any) {
			if p.(map[string]any)["description"] == nil {
				t.Errorf("the schema of %T does not describe %s", v, key)
			}
		}
	}
}
