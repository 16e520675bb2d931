package web

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestMaintenanceIsPushed(t *testing.T) {
	for _, c := range []struct {
		name, method, path, body string
		off                      bool
		err                      error
		code                     int
		why, asked               string
	}{
		{name: "for a time", body: `{"name": "database", "targets": ["shop"], "for": "2h"}`, code: 200, why: `"id":"W1"`, asked: "maintain database [shop] for 2h0m0s"},
		{name: "until an instant", body: `{"name": "database", "until": "2000-01-01T03:00:00Z"}`, code: 200, asked: "maintain database [] for 3h0m0s"},
		{name: "later", body: `{"name": "database", "from": "2000-01-01T01:00:00Z", "for": "2h"}`, code: 200, asked: "maintain database [] for 3h0m0s"},
		{name: "without end", body: `{"name": "database"}`, code: 400, why: "until: is required"},
		{name: "two ends", body: `{"name": "database", "until": "2000-01-01T03:00:00Z", "for": "1h"}`, code: 400, why: "until says already"},
		{name: "no duration", body: `{"name": "database", "for": "long"}`, code: 400, why: "for: must be a duration such as 2h, got long"},
		{name: "an unknown key", body: `{"name": "database", "end": "2h"}`, code: 400, why: `unknown field \"end\"`},
		{name: "an unknown target", body: `{"name": "database", "targets": ["shpo"], "for": "2h"}`, err: ErrUnknownTarget, code: 404, why: "no such target", asked: "maintain database [shpo] for 2h0m0s"},
		{name: "wrong", body: `{"for": "2h"}`, err: errors.New("name: is required"), code: 400, why: "name: is required", asked: "maintain  [] for 2h0m0s"},
		{name: "too many", body: `{"name": "x", "for": "2h"}`, err: ErrFull, code: 409, asked: "maintain x [] for 2h0m0s"},
		{name: "full disk", body: `{"name": "x", "for": "2h"}`, err: ErrNotKept, code: 500, asked: "maintain x [] for 2h0m0s"},
		{name: "without leave", body: `{"name": "x", "for": "2h"}`, off: true, code: 403, why: "--web.enable-lifecycle"},
		{name: "ended", method: "DELETE", path: "/W1", code: 200, asked: "end W1"},
		{name: "ended without leave", method: "DELETE", path: "/W1", off: true, code: 403},
		{name: "nothing to end", method: "DELETE", path: "/W2", code: 404, why: "no such maintenance window"},
		{name: "listed", method: "GET", off: true, code: 200, why: `"now":[{"name":"database","targets":["shop"],"until":"2000-01-01T04:00:00Z"}]`},
		{name: "put", method: "PUT", code: 405, why: "PUT is not allowed here"},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := shop(time.Now())
			f.now, f.err = time.Now(), c.err
			f.status.Maintenance = []Maintenance{{Name: "database", Targets: []string{"shop"}, Until: time.Now().Add(4 * time.Hour)}}
			method := c.method
			if method == "" {
				method = "POST"
			}
			r := httptest.NewRequest(method, "/api/v1/maintenance"+c.path, strings.NewReader(c.body))
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			handler(f, !c.off).ServeHTTP(w, r)
			if asked := strings.Join(f.asked, ","); w.Code != c.code || !strings.Contains(w.Body.String(), c.why) || asked != c.asked {
				t.Errorf("%s = %d %s, asked for %q, want %d with %s, asked for %q", c.name, w.Code, w.Body, asked, c.code, c.why, c.asked)
			}
		})
	}
}

func TestARehearsalStandsOnEveryPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := shop(time.Now())
		f.status.Scaled = "scaled: time 1/60, load 0.02"
		for path, want := range map[string]string{
			"/": "<b>A rehearsal</b>, scaled: time 1/60, load 0.02: ", "/scenarios/shop-soak": "<b>A rehearsal</b>, scaled: time 1/60, load 0.02: ",
			"/api/v1/status": `"scaled":"scaled: time 1/60, load 0.02"`,
		} {
			w := httptest.NewRecorder()
			handler(f, true).ServeHTTP(w, httptest.NewRequest("GET", path, nil))
			if !strings.Contains(w.Body.String(), want) {
				t.Errorf("%s does not say %s:\n%s", path, want, w.Body)
			}
		}
	})
}

func TestMaintenanceStandsOnEveryPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := shop(time.Now())
		f.status.Maintenance = []Maintenance{{Name: "<database>", Targets: []string{"shop", "search"}, Until: time.Now().Add(4 * time.Hour)}}
		for _, path := range []string{"/", "/scenarios/shop-soak"} {
			w := httptest.NewRecorder()
			handler(f, true).ServeHTTP(w, httptest.NewRequest("GET", path, nil))
			const want = `<b>Maintenance</b>: <bdi>&lt;database&gt;</bdi> on shop, search, until <time datetime="2000-01-01T04:00:00Z">04:00:00</time>. Load goes on and is not judged.`
			if !strings.Contains(w.Body.String(), want) {
				t.Errorf("%s does not say %s:\n%s", path, want, w.Body)
			}
		}
	})
}
