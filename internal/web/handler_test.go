package web

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestRoutes(t *testing.T) {
	for _, c := range []struct {
		name, method, path string
		lifecycleOff       bool
		err                error
		code               int
		body, asked, allow string
	}{
		{name: "metrics", method: "GET", path: "/metrics", code: 200, body: "perfd_paused 0"},
		{name: "metrics take no POST", method: "POST", path: "/metrics", code: 405, allow: "GET, HEAD"},
		{name: "healthy", method: "GET", path: "/-/healthy", code: 200, body: "healthy"},
		{name: "healthy by HEAD", method: "HEAD", path: "/-/healthy", code: 200},
		{name: "healthy by POST", method: "POST", path: "/-/healthy", code: 405, allow: "GET, HEAD"},
		{name: "ready", method: "GET", path: "/-/ready", code: 200, body: "is ready"},
		{name: "reload", method: "POST", path: "/-/reload", code: 200, body: "Reloaded.", asked: "reload"},
		{name: "reload by PUT", method: "PUT", path: "/-/reload", code: 200, asked: "reload"},
		{name: "reload by GET", method: "GET", path: "/-/reload", code: 405, allow: "POST, PUT"},
		{name: "a refused reload says why", method: "POST", path: "/-/reload", err: errors.New("f:1:1: bad"), code: 500, body: "f:1:1: bad\n", asked: "reload"},
		{name: "reload without leave", method: "POST", path: "/-/reload", lifecycleOff: true, code: 403, body: "--web.enable-lifecycle"},
		{name: "pause needs no leave", method: "POST", path: "/-/pause", lifecycleOff: true, code: 200, body: "Paused.", asked: "pause 0s"},
		{name: "pause by PUT", method: "PUT", path: "/-/pause", code: 200, asked: "pause 0s"},
		{name: "pause for a time", method: "POST", path: "/-/pause?for=2h", code: 200, asked: "pause 2h0m0s"},
		{name: "pause for nonsense", method: "POST", path: "/-/pause?for=soon", code: 400, body: "must be a duration"},
		{name: "pause for less than nothing", method: "POST", path: "/-/pause?for=-1h", code: 400, body: "must be a duration"},
		{name: "pause by GET", method: "GET", path: "/-/pause", code: 405, allow: "POST, PUT"},
		{name: "a pause that fails", method: "POST", path: "/-/pause", err: errors.New("disk full"), code: 500, body: "disk full", asked: "pause 0s"},
		{name: "resume needs leave", method: "POST", path: "/-/resume", lifecycleOff: true, code: 403, body: "--web.enable-lifecycle"},
		{name: "resume", method: "POST", path: "/-/resume", code: 200, body: "Resumed.", asked: "resume"},
		{name: "style", method: "GET", path: "/assets/style.css", code: 200, body: "--bg"},
		{name: "no such asset", method: "GET", path: "/assets/nothing.css", code: 404},
		{name: "templates are no assets", method: "GET", path: "/assets/..%2ftemplates%2fframe.html", code: 400},
		{name: "profiles that nobody asked for", method: "GET", path: "/debug/pprof/", code: 404},
		{name: "a profile that nobody asked for", method: "GET", path: "/debug/pprof/profile?seconds=1", code: 404},
		{name: "the command line", method: "GET", path: "/debug/pprof/cmdline", code: 404},
		{name: "no such page", method: "GET", path: "/nothing", code: 404},
		{name: "a page takes no POST", method: "POST", path: "/", code: 405, allow: "GET, HEAD"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := shop(time.Now())
			f.err = c.err
			w := httptest.NewRecorder()
			handler(f, !c.lifecycleOff).ServeHTTP(w, httptest.NewRequest(c.method, c.path, nil))
			if w.Code != c.code || !strings.Contains(w.Body.String(), c.body) || w.Header().Get("Allow") != c.allow {
				t.Errorf("%s %s = %d %s, Allow %q, want %d with %q, Allow %q", c.method, c.path, w.Code, w.Body, w.Header().Get("Allow"), c.code, c.body, c.allow)
			}
			if got := strings.Join(f.asked, ","); got != c.asked {
				t.Errorf("the daemon was asked for %q, want %q", got, c.asked)
			}
			if w.Header().Get("X-Content-Type-Options") != "nosniff" {
				t.Error("the browser may guess what the answer is")
			}
		})
	}
}

func TestProfilesAreServedWhereTheyAreAskedFor(t *testing.T) {
	f := shop(time.Now())
	h := Handler(Options{Daemon: f, Kinds: kinds, Metrics: http.NotFoundHandler(), Profiles: true, Log: slog.New(slog.DiscardHandler)})
	for _, c := range []struct{ method, path, body string }{
		{"GET", "/debug/pprof/", "goroutine"},
		{"GET", "/debug/pprof/heap?debug=1", "heap profile"},
		{"POST", "/debug/pprof/symbol", "num_symbols"},
		{"GET", "/", `<a href="/debug/pprof/">`},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(c.method, c.path, nil))
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), c.body) {
			t.Errorf("%s %s = %d, want it with %q", c.method, c.path, w.Code, c.body)
		}
	}
}

func TestNotReady(t *testing.T) {
	w := httptest.NewRecorder()
	handler(&fake{}, true).ServeHTTP(w, httptest.NewRequest("GET", "/-/ready", nil))
	if w.Code != 503 {
		t.Errorf("/-/ready = %d while not ready, want 503", w.Code)
	}
}

func TestBrowsersChangeNothingForOtherSites(t *testing.T) {
	for _, c := range []struct {
		name, host, site, origin string
		tls                      bool
		code                     int
	}{
		{name: "no browser", host: "perfd.example:9797", code: 200},
		{name: "another site", host: "perfd.example:9797", site: "cross-site", origin: "https://evil.example", code: 403},
		{name: "another name of the same site", host: "perfd.example:9797", site: "same-site", origin: "http://wiki.example", code: 403},
		{name: "a browser that sends only the origin", host: "perfd.example:9797", origin: "https://evil.example", code: 403},
		{name: "a page of nowhere", host: "127.0.0.1:9797", origin: "null", code: 403},
		{name: "a name that was made to point here", host: "evil.example:9797", site: "same-origin", origin: "http://evil.example:9797", code: 403},
		{name: "the same from a browser that sends only the origin", host: "evil.example:9797", origin: "http://evil.example:9797", code: 403},
		{name: "its own page by address", host: "127.0.0.1:9797", site: "same-origin", origin: "http://127.0.0.1:9797", code: 200},
		{name: "its own page by IPv6 address", host: "[::1]:9797", origin: "http://[::1]:9797", code: 200},
		{name: "its own page by an IPv6 address without port", host: "[::1]", origin: "http://[::1]", code: 200},
		{name: "its own page on this machine", host: "localhost:9797", site: "same-origin", origin: "http://localhost:9797", code: 200},
		{name: "its own page by TLS, which proves the name", host: "perfd.example", site: "same-origin", origin: "https://perfd.example", tls: true, code: 200},
		{name: "typed by hand", host: "perfd.example:9797", site: "none", code: 200},
	} {
		for _, path := range []string{"/-/pause", "/-/reload", "/-/resume", "/api/v1/scenarios/shop-soak/start", "/api/v1/scenarios/shop-soak/stop", "/api/v1/findings/change-1/accept", "/api/v1/releases"} {
			f := shop(time.Now())
			r := httptest.NewRequest("POST", path, strings.NewReader(`{"target": "shop", "release": "v1"}`))
			r.Header.Set("Content-Type", "application/json")
			r.Host = c.host
			if c.site != "" {
				r.Header.Set("Sec-Fetch-Site", c.site)
			}
			if c.origin != "" {
				r.Header.Set("Origin", c.origin)
			}
			if c.tls {
				r.TLS = &tls.ConnectionState{}
			}
			w := httptest.NewRecorder()
			handler(f, true).ServeHTTP(w, r)
			if asked := len(f.asked) > 0; w.Code != c.code || asked != (c.code == 200) {
				t.Errorf("%s: POST %s = %d, daemon asked %t, want %d", c.name, path, w.Code, asked, c.code)
			}
		}
	}
}
