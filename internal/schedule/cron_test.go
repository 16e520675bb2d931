package schedule

import (
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The transitions are those of the IANA database: Berlin sprang forward on
// 2026-03-29 02:00 and fell back on 2026-10-25 03:00, New York on 2026-03-08 02:00
// and 2026-11-01 02:00, Lord Howe by half an hour on 2026-10-04 02:00 (forward)
// and 2026-04-05 02:00 (back).
func TestCronFires(t *testing.T) {
	for _, tt := range []struct {
		name, cron, zone, after string
		want                    []string
	}{
		{
			"five fields in UTC", "30 2 * * *", "UTC", "2026-03-28 02:30 +00:00",
			[]string{"2026-03-29 02:30 +00:00", "2026-03-30 02:30 +00:00"},
		},
		{
			"a descriptor", "@daily", "Europe/Berlin", "2026-03-28 12:00 +01:00",
			[]string{"2026-03-29 00:00 +01:00", "2026-03-30 00:00 +02:00"},
		},
		{
			"names of days", "0 9 * * mon-fri", "Europe/Berlin", "2026-03-27 09:00 +01:00",
			[]string{"2026-03-30 09:00 +02:00", "2026-03-31 09:00 +02:00"},
		},
		{
			"Berlin, a time in the gap comes at its end", "30 2 * * *", "Europe/Berlin", "2026-03-28 02:30 +01:00",
			[]string{"2026-03-29 03:00 +02:00", "2026-03-30 02:30 +02:00"},
		},
		{
			"Berlin, all times in the gap come once", "*/15 * * * *", "Europe/Berlin", "2026-03-29 01:30 +01:00",
			[]string{"2026-03-29 01:45 +01:00", "2026-03-29 03:00 +02:00", "2026-03-29 03:15 +02:00"},
		},
		{
			"Berlin, a repeated time comes the first time only", "30 2 * * *", "Europe/Berlin", "2026-10-24 02:30 +02:00",
			[]string{"2026-10-25 02:30 +02:00", "2026-10-26 02:30 +01:00"},
		},
		{
			"Berlin, a repeated hour of a wildcard comes twice", "*/30 * * * *", "Europe/Berlin", "2026-10-25 01:45 +02:00",
			[]string{"2026-10-25 02:00 +02:00", "2026-10-25 02:30 +02:00", "2026-10-25 02:00 +01:00", "2026-10-25 02:30 +01:00", "2026-10-25 03:00 +01:00"},
		},
		{
			"Berlin, asked during the second of the repeated hours", "*/30 * * * *", "Europe/Berlin", "2026-10-25 02:10 +01:00",
			[]string{"2026-10-25 02:30 +01:00", "2026-10-25 03:00 +01:00", "2026-10-25 03:30 +01:00"},
		},
		{
			"Berlin, hourly goes on in both repeated hours", "@hourly", "Europe/Berlin", "2026-10-25 01:30 +02:00",
			[]string{"2026-10-25 02:00 +02:00", "2026-10-25 02:00 +01:00", "2026-10-25 03:00 +01:00", "2026-10-25 04:00 +01:00"},
		},
		{
			"Berlin, hourly in spring is an hour apart", "30 * * * *", "Europe/Berlin", "2026-03-29 00:30 +01:00",
			[]string{"2026-03-29 01:30 +01:00", "2026-03-29 03:30 +02:00", "2026-03-29 04:30 +02:00"},
		},
		{
			"Berlin, each minute of the repeated hours", "* * * * *", "Europe/Berlin", "2026-10-25 02:58 +02:00",
			[]string{"2026-10-25 02:59 +02:00", "2026-10-25 02:00 +01:00", "2026-10-25 02:01 +01:00"},
		},
		{
			"Berlin, all hours by a range are a wildcard", "15 0-23 * * *", "Europe/Berlin", "2026-10-25 01:45 +02:00",
			[]string{"2026-10-25 02:15 +02:00", "2026-10-25 02:15 +01:00", "2026-10-25 03:15 +01:00"},
		},
		{
			"Berlin, every other hour loses none", "10 */2 * * *", "Europe/Berlin", "2026-03-29 00:10 +01:00",
			[]string{"2026-03-29 03:00 +02:00", "2026-03-29 04:10 +02:00"},
		},
		{
			"Berlin, minutes of a fixed hour run once in autumn", "*/30 2 * * *", "Europe/Berlin", "2026-10-25 01:45 +02:00",
			[]string{"2026-10-25 02:00 +02:00", "2026-10-25 02:30 +02:00", "2026-10-26 02:00 +01:00"},
		},
		{
			"Berlin, minutes of a fixed hour run once in spring", "*/15 2 * * *", "Europe/Berlin", "2026-03-28 12:00 +01:00",
			[]string{"2026-03-29 03:00 +02:00", "2026-03-30 02:00 +02:00"},
		},
		{
			"Berlin, a day of the week on the day of the change", "0 * * * sun", "Europe/Berlin", "2026-10-24 23:30 +02:00",
			[]string{"2026-10-25 00:00 +02:00", "2026-10-25 01:00 +02:00", "2026-10-25 02:00 +02:00", "2026-10-25 02:00 +01:00"},
		},
		{
			"New York, a time in the gap", "15 2 * * *", "America/New_York", "2026-03-07 12:00 -05:00",
			[]string{"2026-03-08 03:00 -04:00", "2026-03-09 02:15 -04:00"},
		},
		{
			"New York, a repeated time", "0 1 * * *", "America/New_York", "2026-10-31 12:00 -04:00",
			[]string{"2026-11-01 01:00 -04:00", "2026-11-02 01:00 -05:00"},
		},
		{
			"Lord Howe, a gap of half an hour", "*/10 * * * *", "Australia/Lord_Howe", "2026-10-04 01:40 +10:30",
			[]string{"2026-10-04 01:50 +10:30", "2026-10-04 02:30 +11:00", "2026-10-04 02:40 +11:00"},
		},
		{
			"Lord Howe, half an hour repeated", "*/20 * * * *", "Australia/Lord_Howe", "2026-04-05 01:00 +11:00",
			[]string{"2026-04-05 01:20 +11:00", "2026-04-05 01:40 +11:00", "2026-04-05 01:40 +10:30", "2026-04-05 02:00 +10:30"},
		},
		{
			"a leap day", "0 12 29 2 *", "Europe/Berlin", "2026-01-01 00:00 +01:00",
			[]string{"2028-02-29 12:00 +01:00", "2032-02-29 12:00 +01:00"},
		},
		{
			"a month's last possible day", "0 0 31 * *", "UTC", "2026-03-31 00:00 +00:00",
			[]string{"2026-05-31 00:00 +00:00", "2026-07-31 00:00 +00:00"},
		},
		{
			"a day that does not exist", "0 0 31 2 *", "UTC", "2026-01-01 00:00 +00:00",
			[]string{"never", "never"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			loc, err := time.LoadLocation(tt.zone)
			if err != nil {
				t.Fatal(err)
			}
			spec, err := parseCron(tt.cron, loc)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			next := at(t, tt.after)
			for range tt.want {
				if next = spec.next(next); next.IsZero() {
					next = time.Time{}
				}
				got = append(got, shown(next, loc))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("fires of %q in %s after %s (-want +got):\n%s", tt.cron, tt.zone, tt.after, diff)
			}
		})
	}
}

func TestInstantsOfAReading(t *testing.T) {
	for _, tt := range []struct{ zone, wall, first, last string }{
		{"Europe/Berlin", "2026-06-01 12:00", "2026-06-01 12:00 +02:00", "2026-06-01 12:00 +02:00"},
		{"Europe/Berlin", "2026-03-29 02:00", "2026-03-29 03:00 +02:00", "2026-03-29 03:00 +02:00"},
		{"Europe/Berlin", "2026-03-29 02:59", "2026-03-29 03:00 +02:00", "2026-03-29 03:00 +02:00"},
		{"Europe/Berlin", "2026-10-25 02:00", "2026-10-25 02:00 +02:00", "2026-10-25 02:00 +01:00"},
		{"Europe/Berlin", "2026-10-25 03:00", "2026-10-25 03:00 +01:00", "2026-10-25 03:00 +01:00"},
		{"America/New_York", "2026-03-08 02:30", "2026-03-08 03:00 -04:00", "2026-03-08 03:00 -04:00"},
		{"America/New_York", "2026-11-01 01:59", "2026-11-01 01:59 -04:00", "2026-11-01 01:59 -05:00"},
		{"Australia/Lord_Howe", "2026-10-04 02:15", "2026-10-04 02:30 +11:00", "2026-10-04 02:30 +11:00"},
		{"Australia/Lord_Howe", "2026-04-05 01:45", "2026-04-05 01:45 +11:00", "2026-04-05 01:45 +10:30"},
		{"America/Sao_Paulo", "2018-11-04 00:00", "2018-11-04 01:00 -02:00", "2018-11-04 01:00 -02:00"}, // no midnight that day
		{"UTC", "2026-03-29 02:30", "2026-03-29 02:30 +00:00", "2026-03-29 02:30 +00:00"},
	} {
		loc, err := time.LoadLocation(tt.zone)
		if err != nil {
			t.Fatal(err)
		}
		wall, err := time.Parse("2006-01-02 15:04", tt.wall)
		if err != nil {
			t.Fatal(err)
		}
		first, last := instants(wall, loc)
		if got := shown(first, loc); got != tt.first {
			t.Errorf("first instant of %s in %s = %s, want %s", tt.wall, tt.zone, got, tt.first)
		}
		if got := shown(last, loc); got != tt.last {
			t.Errorf("last instant of %s in %s = %s, want %s", tt.wall, tt.zone, got, tt.last)
		}
	}
}

// Every fire is after the one before, wherever the search starts.
func TestCronFiresInOrder(t *testing.T) {
	loc, err := time.LoadLocation("Australia/Lord_Howe")
	if err != nil {
		t.Fatal(err)
	}
	spec, err := parseCron("*/7 * * * *", loc)
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{"2026-04-04 20:00 +11:00", "2026-10-03 20:00 +10:30"} {
		start := at(t, from)
		all := map[string]bool{}
		for f := spec.next(start); f.Before(start.Add(12 * time.Hour)); f = spec.next(f) {
			all[f.String()] = true
		}
		for minute := range 11 * 60 {
			asked := start.Add(time.Duration(minute) * time.Minute)
			f := spec.next(asked)
			if !f.After(asked) || !all[f.String()] {
				t.Fatalf("next(%v) = %v, want a later one of the fires from %v on", asked, f, start)
			}
		}
	}
}

// Where the clock is set forward over several times of a fixed hour, one runs and the others are counted.
func TestTimesThatTheClockPassedOverAreCounted(t *testing.T) {
	for _, c := range []struct {
		cron, zone, fire string
		want             int
	}{
		{"30 2 * * *", "Europe/Berlin", "2026-03-29 03:00 +02:00", 0},
		{"*/15 2 * * *", "Europe/Berlin", "2026-03-29 03:00 +02:00", 3},
		{"0,30 2,3 * * *", "Europe/Berlin", "2026-03-29 03:00 +02:00", 2},
		{"0 2,3 * * *", "Europe/Berlin", "2026-03-29 03:00 +02:00", 1},
		{"*/15 2 * * *", "Europe/Berlin", "2026-03-30 02:00 +02:00", 0},
		{"*/15 * * * *", "Europe/Berlin", "2026-03-29 03:00 +02:00", 0},
		{"*/20 */2 * * *", "Europe/Berlin", "2026-03-29 03:00 +02:00", 2},
		{"30 2 * * *", "Europe/Berlin", "2026-10-25 02:30 +02:00", 0},
		{"*/10 2 * * *", "Australia/Lord_Howe", "2026-10-04 02:30 +11:00", 3},
	} {
		loc, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		spec, err := parseCron(c.cron, loc)
		if err != nil {
			t.Fatal(err)
		}
		if got := spec.merged(at(t, c.fire)); got != c.want {
			t.Errorf("%q at %s in %s stands for %d more, want %d", c.cron, c.fire, c.zone, got, c.want)
		}
	}
}

func TestMissedRunsOfAGapAreInTheCount(t *testing.T) {
	for _, c := range []struct {
		cron   string
		missed uint64
	}{{"*/15 2 * * *", 3}, {"30 2 * * *", 0}, {"*/15 * * * *", 0}, {"0,20,40 2 * * *", 2}} {
		s, err := New(Config{Cron: c.cron, TimeZone: "Europe/Berlin"}, Options{Scenario: "shop"})
		if err != nil {
			t.Fatal(err)
		}
		m := machine{schedule: s, log: slog.New(slog.DiscardHandler)}
		now := at(t, "2026-03-29 01:50 +01:00")
		m.restore(memory{Due: now}, time.Time{}, now)
		m.collect(at(t, "2026-03-29 03:00 +02:00"))
		if m.waiting == nil {
			t.Errorf("%q: no run at the end of the gap", c.cron)
		}
		if m.mem.Missed != c.missed {
			t.Errorf("%q: %d runs are missed, want %d", c.cron, m.mem.Missed, c.missed)
		}
	}
}
