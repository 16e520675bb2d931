package web

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"
)

//go:embed assets
var files embed.FS

// assets serves the files that pages load.
func assets(w http.ResponseWriter, r *http.Request) {
	http.ServeFileFS(w, r, files, strings.TrimPrefix(r.URL.Path, "/"))
}

var pages = template.Must(template.New("").Funcs(template.FuncMap{
	"seconds": seconds, "rate": rate, "percent": percent, "ago": ago, "since": since, "at": at, "load": asked, "stateclass": stateClass,
}).ParseFS(files, "assets/*.html"))

// pagePolicy lets a page load nothing but this daemon's own files.
const pagePolicy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func (s *server) landing(w http.ResponseWriter, _ *http.Request) {
	s.page(w, "landing.html", map[string]any{"Status": s.Daemon.Status(), "Scenarios": s.Daemon.Scenarios(), "Now": time.Now()})
}

func (s *server) scenarioPage(w http.ResponseWriter, r *http.Request) {
	d, ok := s.Daemon.Scenario(r.PathValue("name"))
	if !ok {
		http.NotFound(w, r)
		return
	}
	if r.FormValue("debug") == "" {
		d.Config = ""
	}
	s.page(w, "scenario.html", map[string]any{"Status": s.Daemon.Status(), "S": d, "Now": time.Now()})
}

func (s *server) page(w http.ResponseWriter, name string, data any) {
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, name, data); err != nil {
		s.Log.Error("render page", "page", name, "err", err)
		http.Error(w, "the page could not be rendered", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", pagePolicy)
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(b.Bytes()) // a client that left is no fault
}

// seconds writes a latency with three significant digits and its unit.
func seconds(v float64) string {
	switch {
	case v == 0:
		return "–"
	case v < 0.001:
		return fmt.Sprintf("%.0f µs", v*1e6)
	case v < 0.01:
		return fmt.Sprintf("%.2f ms", v*1e3)
	case v < 0.1:
		return fmt.Sprintf("%.1f ms", v*1e3)
	case v < 1:
		return fmt.Sprintf("%.0f ms", v*1e3)
	}
	return fmt.Sprintf("%.2f s", v)
}

func rate(v float64) string {
	if v >= 100 {
		return fmt.Sprintf("%.0f/s", v)
	}
	return fmt.Sprintf("%.1f/s", v)
}

func percent(v float64) string {
	if v == 0 {
		return "0 %"
	}
	return fmt.Sprintf("%.2f %%", v*100)
}

// asked says what a scenario's workload asks for now.
func asked(s Scenario) string {
	if s.Model == "closed" {
		return fmt.Sprintf("%d VUs", s.PlannedVUs)
	}
	return rate(s.PlannedRate)
}

func stateClass(s Scenario) string {
	switch {
	case !s.Valid:
		return "warn"
	case s.State == "running" && s.ErrorRatio >= 0.01:
		return "bad"
	case s.State == "running":
		return "good"
	case s.State == "paused" || s.State == "blackout":
		return "warn"
	}
	return "idle"
}

// at writes an instant for people, nothing for none.
func at(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.Local().Format("Mon 15:04:05")
}

// ago writes how long ago an instant was, or how long ahead it lies.
func ago(t, now time.Time) string {
	if t.IsZero() {
		return "–"
	}
	d := now.Sub(t).Round(time.Second)
	if d < 0 {
		return "in " + short(-d)
	}
	return short(d) + " ago"
}

// since writes how long something has lasted.
func since(t, now time.Time) string { return short(now.Sub(t)) }

func short(d time.Duration) string {
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
