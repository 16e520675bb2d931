package web

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// routeAPI adds /api/v1. Every answer is Prometheus's envelope, also to a path
// that does not exist and to a method that a path does not take.
func (s *server) routeAPI(mux *http.ServeMux) {
	expensive := s.answers.share
	routes := []route{
		{reads, "/api/v1/status", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.Daemon.Status()) }},
		{reads, "/api/v1/scenarios", expensive(func(w http.ResponseWriter, _ *http.Request) { answer(w, list(s.Daemon.Scenarios())) })},
		{reads, "/api/v1/scenarios/{name}", expensive(s.scenario)},
		{reads, "/api/v1/failures", expensive(s.failures)},
		{append(reads, writes...), "/api/v1/maintenance", s.maintenance},
		{deletes, "/api/v1/maintenance/{id}", s.changing(s.Lifecycle, refuse, s.endMaintenance)},
		{writes, "/api/v1/scenarios/{name}/start", s.changing(s.Lifecycle, refuse, byName(s.Daemon.Start))},
		{writes, "/api/v1/scenarios/{name}/stop", s.changing(s.Lifecycle, refuse, byName(s.Daemon.Stop))},
		{writes, "/api/v1/scenarios/{name}/scale", s.changing(s.Lifecycle, refuse, s.scale)},
		{reads, "/api/v1/suites", func(w http.ResponseWriter, _ *http.Request) { answer(w, list(s.Daemon.Suites())) }},
		{writes, "/api/v1/suites/{name}/start", s.changing(s.Lifecycle, refuse, byName(s.Daemon.StartSuite))},
		{writes, "/api/v1/suites/{name}/stop", s.changing(s.Lifecycle, refuse, byName(s.Daemon.StopSuite))},
	}
	if s.Verdicts != nil {
		routes = append(routes,
			route{reads, "/api/v1/findings", expensive(s.findings)},
			route{reads, "/api/v1/findings/{id}", s.finding},
			route{writes, "/api/v1/findings/{id}/accept", s.changing(s.Lifecycle, refuse, s.accept)},
			route{writes, "/api/v1/releases", s.changing(s.Lifecycle, refuse, s.release)},
		)
	}
	for _, r := range routes {
		for _, m := range r.methods {
			mux.HandleFunc(m+" "+r.path, r.serve)
		}
		mux.HandleFunc(r.path, func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Allow", strings.Join(r.methods, ", "))
			refuse(w, http.StatusMethodNotAllowed, q.Method+" is not allowed here")
		})
	}
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, "no such endpoint: "+r.URL.Path)
	})
}

type route struct {
	methods []string
	path    string
	serve   http.HandlerFunc
}

var (
	reads   = []string{http.MethodGet, http.MethodHead}
	writes  = []string{http.MethodPost}
	deletes = []string{http.MethodDelete}
)

func (s *server) scenario(w http.ResponseWriter, r *http.Request) {
	d, ok := s.Daemon.Scenario(r.PathValue("name"))
	if !ok {
		refuse(w, http.StatusNotFound, ErrUnknown.Error()+": "+r.PathValue("name"))
		return
	}
	d.Steps, d.Failures = list(d.Steps), list(d.Failures)
	answer(w, d)
}

// failuresShown is how many failures are answered where the query does not say.
const failuresShown = 100

// failures answers with the last failures of all scenarios, or of ?scenario=,
// newest first, at most ?limit= of them.
func (s *server) failures(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	limit := failuresShown
	if v := q.Get("limit"); v != "" {
		var err error
		if limit, err = strconv.Atoi(v); err != nil || limit < 1 {
			refuse(w, http.StatusBadRequest, "limit: must be a number of at least 1, got "+v)
			return
		}
	}
	var names []string
	if q.Has("scenario") {
		names = unique(q["scenario"])
	} else {
		for _, sc := range s.Daemon.Scenarios() {
			names = append(names, sc.Name)
		}
	}
	out := []failureOf{}
	for _, name := range names {
		d, ok := s.Daemon.Scenario(name)
		if !ok {
			if !q.Has("scenario") {
				continue // a reload took it away since the list was made
			}
			refuse(w, http.StatusNotFound, ErrUnknown.Error()+": "+name)
			return
		}
		for _, f := range d.Failures {
			out = append(out, failureOf{name, f})
		}
	}
	slices.SortStableFunc(out, func(a, b failureOf) int { return b.Time.Compare(a.Time) })
	answer(w, out[:min(limit, len(out))])
}

// unique returns the names without those that come again.
func unique(names []string) []string {
	seen := map[string]bool{}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		was := seen[name]
		seen[name] = true
		return was
	})
}

// failureOf is a failure where it is listed with those of other scenarios.
type failureOf struct {
	Scenario string `json:"scenario"`
	Failure
}

func byName(f func(string) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch err := f(r.PathValue("name")); {
		case errors.Is(err, ErrUnknownSuite):
			refuse(w, http.StatusNotFound, ErrUnknownSuite.Error()+": "+r.PathValue("name"))
		case errors.Is(err, ErrUnknown):
			refuse(w, http.StatusNotFound, ErrUnknown.Error()+": "+r.PathValue("name"))
		case err != nil:
			refuse(w, http.StatusConflict, err.Error())
		default:
			answer(w, nil)
		}
	}
}

// list makes nothing an empty list rather than null.
func list[T any](v []T) []T {
	if v == nil {
		return []T{}
	}
	return v
}

// answer writes the envelope of a success.
func answer(w http.ResponseWriter, data any) {
	envelope(w, http.StatusOK, map[string]any{"status": "success", "data": data})
}

// refuse writes the envelope of an error.
func refuse(w http.ResponseWriter, code int, why string) {
	envelope(w, code, map[string]any{"status": "error", "errorType": errorTypes[code], "error": why})
}

var errorTypes = map[int]string{
	http.StatusBadRequest:       "bad_data",
	http.StatusForbidden:        "forbidden",
	http.StatusNotFound:         "not_found",
	http.StatusMethodNotAllowed: "method_not_allowed",
	http.StatusConflict:         "conflict",

	http.StatusInternalServerError: "internal",
}

func envelope(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // a client that left is no fault
}
