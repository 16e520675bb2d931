package web

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"time"
)

//go:embed assets templates
var files embed.FS

// asset serves a file that pages load.
func asset(w http.ResponseWriter, r *http.Request) {
	http.ServeFileFS(w, r, files, "assets/"+r.PathValue("file"))
}

var pages = template.Must(template.New("").Funcs(template.FuncMap{
	"seconds": seconds, "rate": rate, "failed": failed, "asked": asked, "share": share, "spread": spreadOf,
	"ago": ago, "since": since, "when": when, "mood": mood,
	"alarming": func(ratio float64) bool { return ratio >= alarming },
}).ParseFS(files, "templates/*.html"))

// pagePolicy lets a page load nothing but this daemon's own files.
const pagePolicy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// A page is what every template is given.
type page struct {
	Title  string
	Now    time.Time
	Status Status

	// The landing page.
	Overview  overview
	Scenarios []Scenario

	// A scenario's page.
	Scenario Detail
	Debug    bool // the configuration is open from the start

	Missing string // what was asked for and is not there
}

func (s *server) landing(w http.ResponseWriter, _ *http.Request) {
	scenarios, status := s.Daemon.Scenarios(), s.Daemon.Status()
	s.render(w, http.StatusOK, "landing.html", page{Title: "perfd", Status: status, Scenarios: scenarios, Overview: overviewOf(status, scenarios)})
}

func (s *server) scenarioPage(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	d, ok := s.Daemon.Scenario(name)
	if !ok {
		s.render(w, http.StatusNotFound, "missing.html", page{Title: "perfd: no such scenario", Status: s.Daemon.Status(), Missing: name})
		return
	}
	s.render(w, http.StatusOK, "scenario.html", page{Title: d.Name + " · perfd", Status: s.Daemon.Status(), Scenario: d, Debug: r.URL.Query().Has("debug")})
}

func (s *server) render(w http.ResponseWriter, code int, name string, p page) {
	p.Now = time.Now()
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, name, p); err != nil {
		s.Log.Error("render page", "page", name, "err", err)
		http.Error(w, "the page could not be rendered", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", pagePolicy)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	w.Write(b.Bytes())
}
