package web

import (
	"html/template"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/analysis"
)

// Options of a handler.
type Options struct {
	Daemon Daemon
	// Verdicts may be nil: then nothing is judged, and its endpoints do not exist.
	Verdicts Verdicts
	Kinds    analysis.Kinds // of findings: their words, headlines and gravity
	Metrics  http.Handler   // GET /metrics
	// Lifecycle allows the endpoints that change something; pause needs no leave.
	Lifecycle bool
	// Profiles serves Go's profiles, which show what the process holds and cost processor time.
	Profiles bool
	Place    Place
	Log      *slog.Logger
}

type server struct {
	Options
	pages   *template.Template
	answers *answers
	origins *http.CrossOriginProtection
}

// Handler returns everything that is served.
func Handler(o Options) http.Handler {
	s := &server{o, pagesOf(o.Kinds, o.Place), newAnswers(), o.Place.origins()}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", o.Metrics)
	mux.HandleFunc("GET /{$}", s.landing)
	mux.HandleFunc("GET /scenarios/{name}", s.scenarioPage)
	mux.HandleFunc("POST /scenarios/{name}/scale", s.changing(s.Lifecycle, text, s.scaleForm))
	mux.HandleFunc("GET /assets/{file}", asset)
	s.routeControl(mux)
	s.routeAPI(mux)

	all := http.NewServeMux()
	all.Handle("/", bounded(http.MaxBytesHandler(mux, mostBody), exchange))
	if o.Profiles {
		routeProfiles(all)
	}
	return plain(o.Place.serve(all))
}

// routeProfiles adds Go's profiles, which take as long as the query says.
func routeProfiles(mux *http.ServeMux) {
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
}

// probes answers probes before anything else asks for a password: who probes whether the
// process lives has none, and learns nothing but that.
func probes(at Place, open, guarded http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := guarded
		if (r.Method == http.MethodGet || r.Method == http.MethodHead) && at.probe(r.URL.Path) {
			h = open
		}
		h.ServeHTTP(w, r)
	})
}

// plain keeps browsers from guessing what an answer is, and from telling other
// sites which scenario somebody looked at.
func plain(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "same-origin")
		h.ServeHTTP(w, r)
	})
}

// routeControl adds what probes and operators call; its answers are plain text,
// as Prometheus's are.
func (s *server) routeControl(mux *http.ServeMux) {
	mux.HandleFunc("GET /-/healthy", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "perfd is healthy.") })
	mux.HandleFunc("GET /-/ready", s.ready)
	for _, method := range []string{"POST ", "PUT "} {
		mux.HandleFunc(method+"/-/pause", s.changing(true, text, s.pause))
		mux.HandleFunc(method+"/-/resume", s.changing(s.Lifecycle, text, s.do(s.Daemon.Resume, "Resumed.")))
		mux.HandleFunc(method+"/-/reload", s.changing(s.Lifecycle, text, s.do(s.Daemon.Reload, "Reloaded.")))
	}
}

func (s *server) ready(w http.ResponseWriter, _ *http.Request) {
	if !s.Daemon.Ready() {
		text(w, http.StatusServiceUnavailable, "perfd is not ready.")
		return
	}
	text(w, http.StatusOK, "perfd is ready.")
}

func (s *server) pause(w http.ResponseWriter, r *http.Request) {
	var d time.Duration // without end
	if v := r.URL.Query().Get("for"); v != "" {
		var err error
		if d, err = time.ParseDuration(v); err != nil || d <= 0 {
			text(w, http.StatusBadRequest, "for: must be a duration such as 2h, got "+v)
			return
		}
	}
	s.do(func() error { return s.Daemon.Pause(d) }, "Paused.")(w, r)
}

// do answers with done once f has succeeded, or with its error.
func (s *server) do(f func() error, done string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if err := f(); err != nil {
			text(w, http.StatusInternalServerError, err.Error())
			return
		}
		text(w, http.StatusOK, done)
	}
}

// changing guards an endpoint that changes something: it must be allowed, and a
// browser must not have been sent here by another site.
func (s *server) changing(allowed bool, refuse func(w http.ResponseWriter, code int, why string), f http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !allowed:
			refuse(w, http.StatusForbidden, "this endpoint is off; start perfd with --web.enable-lifecycle to allow it")
		case s.foreign(r):
			refuse(w, http.StatusForbidden, "requests from pages of other sites are refused; a page of perfd's own must be opened by its address or by TLS")
		default:
			f(w, r)
		}
	}
}

func text(w http.ResponseWriter, code int, s string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	w.Write([]byte(strings.TrimSpace(s) + "\n"))
}
