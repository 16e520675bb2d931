package web

import (
	"fmt"
	"html/template"
	"math"
	"time"

	"github.com/perfd/perfd/internal/amount"
)

// value writes a percentile in a unit, as seconds where there is none, and nothing where there is no value.
func value(v float64, unit string) string {
	switch {
	case unit == "":
		return seconds(v)
	case v <= 0:
		return amount.None
	}
	return amount.Of(v, unit)
}

// seconds writes a latency, nothing where there is none.
func seconds(v float64) string {
	if v <= 0 {
		return amount.None
	}
	return amount.Seconds(v)
}

// rate writes how often a second, nothing where it does not happen.
func rate(v float64) string {
	if v == 0 {
		return amount.None
	}
	return amount.Of(v, "per_second")
}

// failed writes the share of failed requests, nothing where there were no requests.
func failed(ratio, requests float64) string {
	if requests == 0 && ratio == 0 {
		return amount.None
	}
	return amount.Share(ratio)
}

// asked says what a scenario's workload asks for now, after a rate: of how much, by how many.
func asked(s Scenario) string {
	switch {
	case s.State != "running" && s.PlannedRate == 0 && s.PlannedVUs == 0:
		return ""
	case s.Model == "closed":
		return fmt.Sprintf("by %d VUs", s.PlannedVUs)
	}
	return "of " + amount.Of(s.PlannedRate, "per_second")
}

// share is how much of the rate asked for was achieved, in percent; −1 where no rate is.
func share(s Scenario) int {
	if s.Model == "closed" || s.PlannedRate <= 0 {
		return -1
	}
	return int(math.Round(100 * min(s.AchievedRate/s.PlannedRate, 1)))
}

// A spread draws percentiles on a logarithmic scale from 1 ms to 10 s, in
// percent of its width.
type spread struct{ From, To, Width, Middle float64 }

func spreadOf(l Latency) *spread {
	if l.P50 <= 0 || l.Unit != "" {
		return nil
	}
	s := &spread{From: position(l.P50), Middle: position(l.P95), To: position(l.P99)}
	s.Width = tenth(max(s.To-s.From, 1))
	return s
}

func position(seconds float64) float64 {
	const decades = 4
	x := (math.Log10(seconds) + 3) / decades * 100
	return tenth(min(max(x, 0), 99))
}

func tenth(x float64) float64 { return math.Round(10*x) / 10 }

// when writes an instant for people: the time of day, with the date if that is another one.
func when(t, now time.Time) template.HTML {
	if t.IsZero() {
		return amount.None
	}
	t, now = t.Local(), now.Local()
	layout := "15:04:05"
	if t.Format(time.DateOnly) != now.Format(time.DateOnly) {
		layout = "2 Jan 15:04"
		if t.Year() != now.Year() {
			layout = "2 Jan 2006 15:04"
		}
	}
	// Formats of a time hold nothing that HTML could misread.
	return template.HTML(fmt.Sprintf("<time datetime=%q>%s</time>", t.Format(time.RFC3339), t.Format(layout)))
}

// ago writes how long ago an instant was, or how long ahead it lies.
func ago(t, now time.Time) string {
	if t.IsZero() {
		return amount.None
	}
	if d := now.Sub(t); d >= 0 {
		return amount.Span(d) + " ago"
	}
	return "in " + amount.Span(t.Sub(now))
}

// since writes how long something has lasted.
func since(t, now time.Time) string {
	if t.IsZero() {
		return amount.None
	}
	return amount.Span(now.Sub(t))
}
