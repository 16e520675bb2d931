package app

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// A daemon answers below its prefix, and nowhere else but for the way there.
func TestTheDaemonServesBelowItsPrefix(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ external, prefix, routes, links string }{
		{"", "/", "", ""},
		{"https://example.com/perfd", "", "/perfd", "/perfd"},
		{"https://example.com/a/b/", "", "/a/b", "/a/b"},
		{"https://example.com/a/b/", "/", "", "/a/b"},
	} {
		r := newRig(t, func(o *Options) { o.ExternalURL, o.RoutePrefix = c.external, c.prefix })
		get := func(path string) (int, string) {
			answer, err := http.Get("http://" + r.Addr().String() + path)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			text, err := io.ReadAll(answer.Body)
			if err != nil {
				t.Fatal(err)
			}
			return answer.StatusCode, string(text)
		}
		for path, want := range map[string]string{
			"/-/healthy": "perfd is healthy.", "/-/ready": "perfd is ready.", "/metrics": "perfd_build_info", "/api/v1/status": `"ready":true`,
			"/": `href="` + c.links + `/scenarios/steady"`, "/scenarios/steady": `href="` + c.links + `/assets/style.css"`, "/assets/style.css": "--bg",
		} {
			if code, text := get(c.routes + path); code != http.StatusOK || !strings.Contains(text, want) {
				t.Errorf("%+v: GET %s = %d without %q in\n%s", c, c.routes+path, code, want, text)
			}
		}
		if c.routes == "" {
			continue
		}
		if code, text := get("/"); code != http.StatusOK || !strings.Contains(text, `href="`+c.links+`/scenarios/steady"`) { // redirects are followed
			t.Errorf("%+v: GET / = %d %s", c, code, text)
		}
		if code, _ := get("/metrics"); code != http.StatusNotFound {
			t.Errorf("%+v: GET /metrics = %d, want 404", c, code)
		}
	}
}
