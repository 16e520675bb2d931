package web

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"
)

// Options of a handler.
type Options struct {
	Daemon  Daemon
	Metrics http.Handler // GET /metrics
	// Lifecycle allows the endpoints that change something; pause needs no leave.
	Lifecycle bool
	Log       *slog.Logger
}

// Handler returns everything that is served.
func Handler(o Options) http.Handler {
	s := &server{o}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", o.Metrics)
	mux.HandleFunc("GET /-/healthy", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "perfd is healthy.\n") })
	mux.HandleFunc("GET /-/ready", s.ready)
	for _, method := range []string{"POST", "PUT"} {
		mux.HandleFunc(method+" /-/pause", s.changing(true, s.pause))
		mux.HandleFunc(method+" /-/resume", s.changing(o.Lifecycle, s.resume))
		mux.HandleFunc(method+" /-/reload", s.changing(o.Lifecycle, s.reload))
	}
	mux.HandleFunc("POST /api/v1/scenarios/{name}/start", s.changing(o.Lifecycle, s.byName(o.Daemon.Start)))
	mux.HandleFunc("POST /api/v1/scenarios/{name}/stop", s.changing(o.Lifecycle, s.byName(o.Daemon.Stop)))
	mux.HandleFunc("GET /api/v1/status", func(w http.ResponseWriter, _ *http.Request) { answer(w, o.Daemon.Status()) })
	mux.HandleFunc("GET /api/v1/scenarios", func(w http.ResponseWriter, _ *http.Request) { answer(w, list(o.Daemon.Scenarios())) })
	mux.HandleFunc("GET /api/v1/scenarios/{name}", s.scenario)
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, "not_found", "no such endpoint: "+r.URL.Path)
	})
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /assets/", assets)
	mux.HandleFunc("GET /scenarios/{name}", s.scenarioPage)
	mux.HandleFunc("GET /{$}", s.landing)
	return http.MaxBytesHandler(mux, 1<<20)
}

type server struct{ Options }

func (s *server) ready(w http.ResponseWriter, _ *http.Request) {
	if s.Daemon.Ready() {
		text(w, http.StatusOK, "perfd is ready.\n")
		return
	}
	text(w, http.StatusServiceUnavailable, "perfd is not ready.\n")
}

// changing guards an endpoint that changes something: it must be allowed, and a
// browser must not have been sent here by another site.
func (s *server) changing(allowed bool, f http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !allowed {
			refuse(w, http.StatusForbidden, "forbidden", "this endpoint is off; start perfd with --web.enable-lifecycle to allow it")
			return
		}
		if foreign(r) {
			refuse(w, http.StatusForbidden, "forbidden", "requests from pages of other sites are refused")
			return
		}
		f(w, r)
	}
}

// foreign reports whether a browser makes the request for a page of another origin.
func foreign(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "cross-site", "same-site":
		return true
	}
	origin := r.Header.Get("Origin")
	return origin != "" && origin != "http://"+r.Host && origin != "https://"+r.Host
}

func (s *server) pause(w http.ResponseWriter, r *http.Request) {
	var d time.Duration
	if v := r.FormValue("for"); v != "" {
		var err error
		if d, err = time.ParseDuration(v); err != nil || d <= 0 {
			refuse(w, http.StatusBadRequest, "bad_data", "for: must be a duration such as 2h, got "+v)
			return
		}
	}
	s.done(w, s.Daemon.Pause(d), "Paused.\n")
}

func (s *server) resume(w http.ResponseWriter, _ *http.Request) {
	s.done(w, s.Daemon.Resume(), "Resumed.\n")
}

func (s *server) reload(w http.ResponseWriter, _ *http.Request) {
	s.done(w, s.Daemon.Reload(), "Reloaded.\n")
}

func (s *server) byName(f func(string) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := f(r.PathValue("name")); err != nil {
			code, kind := http.StatusConflict, "conflict"
			if errors.Is(err, ErrUnknown) {
				code, kind = http.StatusNotFound, "not_found"
			}
			refuse(w, code, kind, err.Error())
			return
		}
		answer(w, nil)
	}
}

func (s *server) done(w http.ResponseWriter, err error, said string) {
	if err != nil {
		text(w, http.StatusInternalServerError, err.Error()+"\n")
		return
	}
	text(w, http.StatusOK, said)
}

func (s *server) scenario(w http.ResponseWriter, r *http.Request) {
	d, ok := s.Daemon.Scenario(r.PathValue("name"))
	if !ok {
		refuse(w, http.StatusNotFound, "not_found", "no such scenario: "+r.PathValue("name"))
		return
	}
	answer(w, d)
}

// list makes nothing an empty list rather than null.
func list[T any](v []T) []T {
	if v == nil {
		return []T{}
	}
	return v
}

func text(w http.ResponseWriter, code int, s string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(s)) // a client that left is no fault
}

// answer writes Prometheus's envelope of a success.
func answer(w http.ResponseWriter, data any) {
	envelope(w, http.StatusOK, map[string]any{"status": "success", "data": data})
}

// refuse writes Prometheus's envelope of an error.
func refuse(w http.ResponseWriter, code int, kind, why string) {
	envelope(w, code, map[string]any{"status": "error", "errorType": kind, "error": strings.TrimSpace(why)})
}

func envelope(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // likewise
}
