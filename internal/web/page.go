package web

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"slices"
	"time"

	"github.com/perfd/perfd/internal/amount"
	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
)

//go:embed assets templates
var files embed.FS

// asset serves a file that pages load.
func asset(w http.ResponseWriter, r *http.Request) {
	http.ServeFileFS(w, r, files, "assets/"+r.PathValue("file"))
}

var pages = template.Must(template.New("").Funcs(template.FuncMap{
	"root": func() string { return "" }, "seconds": seconds, "value": value, "rate": rate, "failed": failed, "asked": asked, "share": share, "spread": spreadOf,
	"ago": ago, "since": since, "when": when, "stateTone": stateTone, "resultTone": resultTone,
	"count":    func(n uint64) string { return amount.Count(float64(n)) },
	"measured": analysis.Measured, "interval": analysis.Interval, "confidence": confidence, "evidence": evidence, "kind": analysis.Kinds(nil).Word, "place": analysis.Place, "tone": tone, "over": over, "at": at,
	"alarming": func(ratio float64) bool { return ratio >= alarming },
}).ParseFS(files, "templates/*.html"))

// pagesOf returns the pages with the words of kinds, whose links lead to a place.
func pagesOf(kinds analysis.Kinds, at Place) *template.Template {
	return template.Must(pages.Clone()).Funcs(template.FuncMap{"kind": kinds.Word, "root": func() string { return at.links }})
}

// pagePolicy lets a page load nothing but this daemon's own files, and send forms nowhere else.
const pagePolicy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// A page is what every template is given.
type page struct {
	Title  string
	Now    time.Time
	Status Status

	// Of the daemon or of one scenario, in the order in which they are listed.
	Judged   bool // verdicts are given at all
	Profiles bool // Go's profiles are served
	Findings []load.Finding
	More     int // findings that are not listed

	// The landing page.
	Overview  overview
	Scenarios []Scenario
	Suites    []Suite
	SLA       map[string]sla // by the scenario's name

	// A scenario's page.
	Scenario   Detail
	Tone       string // the colour of what is known of it
	Objectives []load.Finding
	Runs       []load.Finding
	Debug      bool // the configuration is open from the start

	Missing string // what was asked for and is not there
}

func (s *server) landing(w http.ResponseWriter, _ *http.Request) {
	scenarios, status, findings := s.Daemon.Scenarios(), s.Daemon.Status(), s.known()
	p := page{
		Title: "perfd", Status: status, Scenarios: scenarios, Suites: s.Daemon.Suites(), Overview: overviewOf(status, scenarios, s.Kinds, findings),
		Judged: s.Verdicts != nil, SLA: slaOf(s.Kinds, findings),
	}
	p.list(news(findings))
	s.render(w, http.StatusOK, "landing.html", p)
}

// known is every finding; nothing where nothing is judged.
func (s *server) known() []load.Finding {
	if s.Verdicts == nil {
		return nil
	}
	return s.Verdicts.Findings()
}

// The most that a page lists; the API has all.
const (
	findingsListed = 20
	runsListed     = 10
)

func (p *page) list(findings []load.Finding) {
	n := min(findingsListed, len(findings))
	p.Findings, p.More = findings[:n], len(findings)-n
}

func (s *server) scenarioPage(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	d, ok := s.Daemon.Scenario(name)
	if !ok {
		s.render(w, http.StatusNotFound, "missing.html", page{Title: "perfd: no such scenario", Status: s.Daemon.Status(), Missing: name})
		return
	}
	findings := s.known()
	p := page{
		Title: d.Name + " · perfd", Status: s.Daemon.Status(), Scenario: d, Debug: r.URL.Query().Has("debug"),
		Judged: s.Verdicts != nil, Objectives: s.Kinds.Objectives(findings, name), Runs: runsOf(findings, name),
	}
	p.Runs = p.Runs[:min(runsListed, len(p.Runs))]
	p.list(newsOf(s.Kinds, findings, d))
	p.Tone = scenarioTone(d.Scenario, s.Kinds.Sum(slices.Concat(p.Objectives, p.Findings)))
	s.render(w, http.StatusOK, "scenario.html", p)
}

func (s *server) render(w http.ResponseWriter, code int, name string, p page) {
	p.Now, p.Profiles = time.Now(), s.Profiles
	var b bytes.Buffer
	if err := s.pages.ExecuteTemplate(&b, name, p); err != nil {
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
