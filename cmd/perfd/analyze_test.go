package main

import (
	"testing"
	"time"
)

func TestInstants(t *testing.T) {
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		text string
		want time.Time // zero: an error
	}{
		{"2026-03-01T12:30:00Z", time.Date(2026, 3, 1, 12, 30, 0, 0, time.UTC)},
		{"2026-03-01T12:30:00+02:00", time.Date(2026, 3, 1, 10, 30, 0, 0, time.UTC)},
		{"2026-03-01 12:30", time.Date(2026, 3, 1, 12, 30, 0, 0, time.Local)},
		{"24h", now.Add(-24 * time.Hour)},
		{"90m", now.Add(-90 * time.Minute)},
		{"7d", now.AddDate(0, 0, -7)},
		{"1d12h", now.Add(-36 * time.Hour)},
		{"0s", now},
		{"", time.Time{}},
		{"d", time.Time{}},
		{"-1h", time.Time{}},
		{"1d-1h", time.Time{}},
		{"-1d", time.Time{}},
		{"100001d", time.Time{}},
		{"yesterday", time.Time{}},
		{"2026-03-01", time.Time{}},
		{"2026-02-30T12:00:00Z", time.Time{}},
	} {
		i := instant{now: now}
		err := i.Set(c.text)
		if !i.Equal(c.want) || (err != nil) != c.want.IsZero() {
			t.Errorf("%q = %s, %v, want %s", c.text, i.Time, err, c.want)
		}
	}
}
