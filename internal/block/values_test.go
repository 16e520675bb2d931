package block

import (
	"encoding/json"
	"testing"
	"time"
)

func TestValuesPrintAsTheyAreWritten(t *testing.T) {
	for _, c := range []struct {
		value any
		want  string
	}{
		{Duration(5 * time.Minute), `"5m"`},
		{Duration(90 * time.Minute), `"1h30m"`},
		{Duration(0), `"0s"`},
		{Duration(300 * time.Millisecond), `"300ms"`},
		{Rate{50, time.Second}, `"50/s"`},
		{Rate{0.5, time.Minute}, `"0.5/m"`},
		{Rate{}, `"0/s"`},
	} {
		got, err := json.Marshal(c.value)
		if err != nil || string(got) != c.want {
			t.Errorf("Marshal(%#v) = %s, %v, want %s", c.value, got, err, c.want)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for _, c := range []struct {
		text string
		want time.Duration
		ok   bool
	}{
		{"1.5h", 90 * time.Minute, true},
		{"7d", 168 * time.Hour, true},
		{"0.5d", 12 * time.Hour, true},
		{"1d12h30m", 36*time.Hour + 30*time.Minute, true},
		{"106751d", 106751 * 24 * time.Hour, true},
		{"106752d", 0, false},
		{"106751d24h", 0, false},
		{"1d1d", 0, false},
		{"d", 0, false},
		{"", 0, false},
	} {
		got, err := ParseDuration(c.text)
		if (err == nil) != c.ok || c.ok && got != c.want {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", c.text, got, err, c.want)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"allowed_hosts", "allowed_networks", "max_request_rate"}
	for _, c := range []struct{ written, want string }{
		{"allowed_host", `did you mean "allowed_hosts"?`},
		{"alowed_netwroks", `did you mean "allowed_networks"?`},
		{"MaxRequestRate", `did you mean "max_request_rate"?`},
		{"timeout", "known are allowed_hosts, allowed_networks, max_request_rate"},
	} {
		if got := Nearest(c.written, known); got != c.want {
			t.Errorf("Nearest(%q) = %q, want %q", c.written, got, c.want)
		}
	}
	if got := Nearest("a", nil); got != "" {
		t.Errorf("Nearest among none = %q, want nothing", got)
	}
}
