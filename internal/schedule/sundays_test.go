package schedule

import (
	"strings"
	"testing"
	"time"
)

// What crontab(5) says of Sunday: 0 and 7 are the same, 7 may end a range.
func TestSundayIsZeroAndSeven(t *testing.T) {
	monday := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct{ days, want string }{
		{"7", "Sun Sun"},
		{"0", "Sun Sun"},
		{"sun", "Sun Sun"},
		{"SUN", "Sun Sun"},
		{"5-7", "Fri Sat Sun Fri"},
		{"fri-sun", "Fri Sat Sun Fri"},
		{"Sat-7", "Sat Sun Sat"},
		{"6,7", "Sat Sun Sat"},
		{"7,3", "Wed Sun Wed"},
		{"1-7/2", "Wed Fri Sun Mon"},
		{"0-7", "Tue Wed Thu Fri Sat Sun Mon"},
		{"7-7", "Sun Sun"},
		{"0-2", "Tue Sun Mon"},
		{"mon-fri", "Tue Wed Thu Fri Mon"},
	} {
		spec, err := parseCron("0 2 * * "+c.days, time.UTC)
		if err != nil {
			t.Errorf("%s: %v", c.days, err)
			continue
		}
		got := ""
		at := monday
		for len(got) < len(c.want) {
			at = spec.next(at)
			if got != "" {
				got += " "
			}
			got += at.Weekday().String()[:3]
		}
		if got != c.want {
			t.Errorf("%s fires on %s, want %s", c.days, got, c.want)
		}
	}
	// With a day of the month, either of the two fires.
	spec, err := parseCron("0 2 4 * 7", time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	if first := spec.next(monday); first.Day() != 4 || spec.next(first).Weekday() != time.Sunday {
		t.Errorf("the 4th or Sunday: %v, %v", first, spec.next(first))
	}
	for text, want := range map[string]string{
		"0 2 * * 8":    "end of range (8) above maximum (6): 8",
		"0 2 * * 7-8":  "end of range (8) above maximum (6): 7-8",
		"0 2 * * 7-5":  "end of range",
		"0 25 * * *":   "end of range (25) above maximum (23): 25",
		"61 2 * * *":   "end of range (61) above maximum (59): 61",
		"0 2 * foo *":  "foo",
		"0 2 * * */0":  "step of range should be a positive number: */0",
		"0 2 * * 7/2":  "beginning of range (7) beyond end of range (6): 7/2",
		"0 2 * * mon7": "mon7",
	} {
		if _, err := parseCron(text, time.UTC); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
