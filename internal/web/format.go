package web

import (
	"fmt"
	"html/template"
	"math"
	"time"
)

// none stands where there is no number: no data is not zero.
const none = "–"

// seconds writes a latency with three significant digits and its unit.
func seconds(v float64) string {
	switch {
	case v <= 0:
		return none
	case v < 0.9995e-3:
		return fmt.Sprintf("%.0f µs", v*1e6)
	case v < 9.995e-3:
		return fmt.Sprintf("%.2f ms", v*1e3)
	case v < 99.95e-3:
		return fmt.Sprintf("%.1f ms", v*1e3)
	case v < 0.9995:
		return fmt.Sprintf("%.0f ms", v*1e3)
	case v < 99.95:
		return fmt.Sprintf("%.2f s", v)
	}
	return fmt.Sprintf("%.0f s", v)
}

func rate(v float64) string {
	switch {
	case v == 0:
		return none
	case v < 99.95:
		return fmt.Sprintf("%.1f/s", v)
	}
	return fmt.Sprintf("%.0f/s", v)
}

// failed writes the share of failed requests, nothing where there were no requests.
func failed(ratio, requests float64) string {
	switch {
	case requests == 0 && ratio == 0:
		return none
	case ratio == 0:
		return "0 %"
	case ratio < 0.00005:
		return "< 0.01 %"
	}
	return fmt.Sprintf("%.2f %%", ratio*100)
}

// asked says what a scenario's workload asks for now, after a rate: of how much, by how many.
func asked(s Scenario) string {
	switch {
	case s.State != "running" && s.PlannedRate == 0 && s.PlannedVUs == 0:
		return ""
	case s.Model == "closed":
		return fmt.Sprintf("by %d VUs", s.PlannedVUs)
	}
	return fmt.Sprintf("of %.1f/s", s.PlannedRate)
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
	if l.P50 <= 0 {
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
		return none
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
		return none
	}
	if d := now.Sub(t); d >= 0 {
		return short(d) + " ago"
	}
	return "in " + short(t.Sub(now))
}

// since writes how long something has lasted.
func since(t, now time.Time) string {
	if t.IsZero() {
		return none
	}
	return short(now.Sub(t))
}

func short(d time.Duration) string {
	d = max(d, 0).Round(time.Second)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm %02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh %02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd %dh", int(d.Hours())/24, int(d.Hours())%24)
}
