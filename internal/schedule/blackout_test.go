package schedule

import (
	"testing"
	"time"
)

func TestBlackouts(t *testing.T) {
	type answer struct{ name, until string } // until empty: no blackout
	for _, tt := range []struct {
		name, blackouts, zone string
		want                  map[string]answer
		next                  map[string]string
	}{
		{
			"on a weekday", "[{name: release, time_zone: Europe/Berlin, weekdays: [tue], from: '20:00', to: '23:00'}]", "Europe/Berlin",
			map[string]answer{
				"2026-03-31 19:59 +02:00": {},
				"2026-03-31 20:00 +02:00": {"release", "2026-03-31 23:00 +02:00"},
				"2026-03-31 22:59 +02:00": {"release", "2026-03-31 23:00 +02:00"},
				"2026-03-31 23:00 +02:00": {},
				"2026-04-01 21:00 +02:00": {},
				"2026-03-31 18:30 +00:00": {"release", "2026-03-31 23:00 +02:00"},
			},
			map[string]string{
				"2026-03-31 20:00 +02:00": "2026-04-07 20:00 +02:00",
				"2026-03-31 19:59 +02:00": "2026-03-31 20:00 +02:00",
				"2026-10-21 00:00 +02:00": "2026-10-27 20:00 +01:00",
			},
		},
		{
			"over midnight, begun on its weekday", "[{name: night, weekdays: [fri], from: '22:00', to: '02:00'}]", "UTC",
			map[string]answer{
				"2026-04-03 22:00 +00:00": {"night", "2026-04-04 02:00 +00:00"},
				"2026-04-04 01:59 +00:00": {"night", "2026-04-04 02:00 +00:00"},
				"2026-04-04 22:00 +00:00": {},
				"2026-04-03 01:00 +00:00": {},
			},
			nil,
		},
		{
			"whole days next to each other are one", "[{name: weekend, weekdays: [sat, sun]}]", "UTC",
			map[string]answer{
				"2026-04-04 00:00 +00:00": {"weekend", "2026-04-06 00:00 +00:00"},
				"2026-04-05 23:59 +00:00": {"weekend", "2026-04-06 00:00 +00:00"},
				"2026-04-06 00:00 +00:00": {},
			},
			nil,
		},
		{
			"every day", "[{name: backup, from: '03:00', to: '03:30'}]", "UTC",
			map[string]answer{"2026-04-04 03:10 +00:00": {"backup", "2026-04-04 03:30 +00:00"}},
			map[string]string{"2026-04-04 03:10 +00:00": "2026-04-05 03:00 +00:00"},
		},
		{
			"on dates", "[{name: christmas, dates: ['2026-12-24', '2027-12-24'], from: '12:00'}]", "UTC",
			map[string]answer{
				"2026-12-24 12:00 +00:00": {"christmas", "2026-12-25 00:00 +00:00"},
				"2026-12-24 11:59 +00:00": {},
				"2026-12-31 12:00 +00:00": {},
			},
			map[string]string{
				"2026-01-01 00:00 +00:00": "2026-12-24 12:00 +00:00",
				"2026-12-25 00:00 +00:00": "2027-12-24 12:00 +00:00",
				"2028-01-01 00:00 +00:00": "never",
			},
		},
		{
			"two that overlap end with the later", "[{name: a, from: '01:00', to: '03:00'}, {name: b, from: '02:00', to: '04:00'}]", "UTC",
			map[string]answer{
				"2026-04-04 01:30 +00:00": {"a", "2026-04-04 04:00 +00:00"},
				"2026-04-04 03:30 +00:00": {"b", "2026-04-04 04:00 +00:00"},
			},
			nil,
		},
		{
			"begun in a gap of the clock, it begins at the gap's end", "[{name: a, time_zone: Europe/Berlin, from: '02:30', to: '04:00'}]", "Europe/Berlin",
			map[string]answer{
				"2026-03-29 01:59 +01:00": {},
				"2026-03-29 03:00 +02:00": {"a", "2026-03-29 04:00 +02:00"},
			},
			map[string]string{"2026-03-29 00:00 +01:00": "2026-03-29 03:00 +02:00"},
		},
		{
			"wholly in a gap of the clock, it does not come", "[{name: a, time_zone: Europe/Berlin, from: '02:10', to: '02:50'}]", "Europe/Berlin",
			map[string]answer{"2026-03-29 03:00 +02:00": {}},
			map[string]string{"2026-03-28 12:00 +01:00": "2026-03-30 02:10 +02:00"},
		},
		{
			"both passes of a repeated hour are covered", "[{name: a, time_zone: Europe/Berlin, from: '02:15', to: '02:45'}]", "Europe/Berlin",
			map[string]answer{
				"2026-10-25 02:14 +02:00": {},
				"2026-10-25 02:20 +02:00": {"a", "2026-10-25 02:45 +01:00"},
				"2026-10-25 02:20 +01:00": {"a", "2026-10-25 02:45 +01:00"},
				"2026-10-25 02:45 +01:00": {},
			},
			nil,
		},
		{
			"none", "[]", "UTC",
			map[string]answer{"2026-04-04 03:10 +00:00": {}},
			map[string]string{"2026-04-04 03:10 +00:00": "never"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := compileBlackouts(t, tt.blackouts)
			loc, err := time.LoadLocation(tt.zone)
			if err != nil {
				t.Fatal(err)
			}
			for when, want := range tt.want {
				var got answer
				if name, until, in := b.In(at(t, when)); in {
					got = answer{name, shown(until, loc)}
				}
				if got != want {
					t.Errorf("In(%s) = %+v, want %+v", when, got, want)
				}
			}
			for after, want := range tt.next {
				begin, ok := b.Next(at(t, after))
				if got := shown(begin, loc); got != want || ok != (want != "never") {
					t.Errorf("Next(%s) = %s, %t, want %s", after, got, ok, want)
				}
			}
		})
	}
}

func TestNoBlackoutsAllowLoadAlways(t *testing.T) {
	var b *Blackouts
	if _, _, in := b.In(time.Now()); in {
		t.Error("In of nil = true, want false")
	}
	if _, ok := b.Next(time.Now()); ok {
		t.Error("Next of nil = true, want false")
	}
}
