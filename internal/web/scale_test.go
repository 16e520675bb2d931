package web

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A load is set by the API and by the form of the scenario's page, under the same guards.
func TestLoadIsSetFromOutside(t *testing.T) {
	const api, page = "/api/v1/scenarios/shop-reports/scale", "/scenarios/shop-reports/scale"
	form := func(key, value string) string { return url.Values{key: {value}}.Encode() }
	for _, c := range []struct {
		name, path, body string
		off              bool
		origin, user     string
		code             int
		why, asked       string
	}{
		{name: "a rate", path: api, body: `{"rate": "5/s"}`, code: 200, why: `"level":"5/s","max":"50/s"`, asked: "scale shop-reports to 5/s by API, from 192.0.2.1"},
		{name: "users", path: api, body: `{"vus": 0}`, code: 200, asked: "scale shop-reports to 0 VUs by API, from 192.0.2.1"},
		{name: "by a user", path: api, body: `{"vus": 7}`, user: "ann", code: 200, asked: "scale shop-reports to 7 VUs by API, ann from 192.0.2.1"},
		{name: "both", path: api, body: `{"vus": 7, "rate": "5/s"}`, code: 400, why: "want one of vus and rate"},
		{name: "neither", path: api, body: `{}`, code: 400, why: "want one of vus and rate"},
		{name: "no number", path: api, body: `{"vus": "7"}`, code: 400, why: "the body: "},
		{name: "an unknown scenario", path: "/api/v1/scenarios/x/scale", body: `{"vus": 7}`, code: 404, why: "no such scenario"},
		{name: "another executor", path: "/api/v1/scenarios/shop-soak/scale", body: `{"vus": 7}`, code: 409, why: "externally-controlled"},
		{name: "without leave", path: api, body: `{"vus": 7}`, off: true, code: 403, why: "--web.enable-lifecycle"},
		{name: "from another site", path: api, body: `{"vus": 7}`, origin: "https://evil.example", code: 403, why: "pages of other sites"},
		{name: "the form", path: page, body: form("rate", " 5/s "), code: 303, asked: "scale shop-reports to 5/s by page, from 192.0.2.1"},
		{name: "the form of users", path: page, body: form("vus", "12"), code: 303, asked: "scale shop-reports to 12 VUs by page, from 192.0.2.1"},
		{name: "no number in the form", path: page, body: form("vus", "12.5"), code: 400, why: `vus: must be a whole number, got "12.5"`},
		{name: "the form of another site", path: page, body: form("vus", "12"), origin: "https://evil.example", code: 403, why: "pages of other sites"},
		{name: "the form without leave", path: page, body: form("vus", "12"), off: true, code: 403, why: "--web.enable-lifecycle"},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := shop(time.Now())
			r := httptest.NewRequest(http.MethodPost, c.path, strings.NewReader(c.body))
			r.Header.Set("Content-Type", "application/json")
			if c.path == page {
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
			if c.origin != "" {
				r.Header.Set("Origin", c.origin)
			}
			if c.user != "" {
				r.SetBasicAuth(c.user, "secret")
			}
			w := httptest.NewRecorder()
			handler(f, !c.off).ServeHTTP(w, r)
			if asked := strings.Join(f.asked, ","); w.Code != c.code || !strings.Contains(w.Body.String(), c.why) || asked != c.asked {
				t.Errorf("%s = %d %s, asked for %q; want %d with %s, asked for %q", c.name, w.Code, w.Body, asked, c.code, c.why, c.asked)
			}
			if to := w.Header().Get("Location"); (c.code == 303) != (to == "/scenarios/shop-reports") {
				t.Errorf("%s leads to %q", c.name, to)
			}
		})
	}
}

// The page says what the load is set to, and has a form only where it may be set.
func TestTheFormOfALoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, lifecycle := range []bool{true, false} {
			f := shop(time.Now())
			f.status.Lifecycle = lifecycle
			w := httptest.NewRecorder()
			handler(f, lifecycle).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/scenarios/shop-reports", nil))
			page := w.Body.String()
			if !strings.Contains(page, "<dt>Set from outside</dt><dd>2/s, at most 50/s; since ") || !strings.Contains(page, "by <bdi>page, &lt;ann&gt; from 127.0.0.1</bdi>") {
				t.Errorf("the page does not say what the load is set to:\n%s", page)
			}
			if has := strings.Contains(page, `<form method="post" action="/scenarios/shop-reports/scale">`) && strings.Contains(page, `name="rate"`); has != lifecycle {
				t.Errorf("with lifecycle %v a form is there: %v", lifecycle, has)
			}
		}
	})
}
