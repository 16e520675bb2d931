package web

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func mustPlace(t *testing.T, external, prefix string) Place {
	t.Helper()
	p, err := NewPlace(external, prefix)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func placedAt(t *testing.T, external, prefix string) http.Handler {
	t.Helper()
	f := shop(time.Now())
	return Handler(Options{
		Daemon: f, Verdicts: f, Kinds: kinds, Lifecycle: true, Profiles: true, Place: mustPlace(t, external, prefix), Log: slog.New(slog.DiscardHandler),
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("perfd_paused 0\n")) }),
	})
}

func TestPlaceMeansWhatItDoesForPrometheus(t *testing.T) {
	for _, c := range []struct {
		external, prefix      string
		routes, links, origin string
	}{
		{"", "", "", "", ""},
		{"", "/", "", "", ""},
		{"", "/perfd", "/perfd", "/perfd", ""},
		{"", "perfd/", "/perfd", "/perfd", ""},
		{"https://example.com", "", "", "", "https://example.com"},
		{"https://example.com/", "", "", "", "https://example.com"},
		{"https://example.com/perfd", "", "/perfd", "/perfd", "https://example.com"},
		{"https://example.com/a/b/", "", "/a/b", "/a/b", "https://example.com"},
		{"https://example.com/perfd/", "/", "", "/perfd", "https://example.com"},
		{"https://Example.com:443/perfd/", "/inner", "/inner", "/perfd", "https://example.com"},
		{"http://[::1]:9797/a/b", "/", "", "/a/b", "http://[::1]:9797"},
		{"/perfd/", "", "/perfd", "/perfd", ""},
	} {
		p := mustPlace(t, c.external, c.prefix)
		if p.routes != c.routes || p.links != c.links || p.origin != c.origin {
			t.Errorf("NewPlace(%q, %q) has routes %q, links %q, origin %q, want %q, %q, %q", c.external, c.prefix, p.routes, p.links, p.origin, c.routes, c.links, c.origin)
		}
	}
	for _, c := range []struct{ external, prefix, why string }{
		{"perfd.example.com/perfd", "", "--web.external-url: must begin with http://"},
		{"ftp://example.com/", "", "must begin with http://"},
		{"localhost:9797", "", "must begin with http://"},
		{`"https://example.com/"`, "", "quotes"},
		{"http://:80/", "", "must be"},
		{"https://:443/", "", "must be"},
		{"http://:9797/", "", "must be"},
		{"https://example.com/?a=b", "", "without user, query and fragment"},
		{"https://example.com/#a", "", "without user, query and fragment"},
		{"https://me:secret@example.com/", "", "without user, query and fragment"},
		{"https://example.com/a/../b", "", "must consist of"},
		{"https://example.com/a%20b", "", "must consist of"},
		{"", "/a b", "--web.route-prefix: the path must consist of"},
		{"", "/a//b", "must consist of"},
		{"", "/..", "must consist of"},
		{"", "/{name}", "must consist of"},
	} {
		if _, err := NewPlace(c.external, c.prefix); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("NewPlace(%q, %q): %v, want %q in it", c.external, c.prefix, err, c.why)
		}
	}
}

var linked = regexp.MustCompile(`(?:href|src)="([^"]*)"`)

// Every link of every page leads, through the proxy, to something that is there.
func TestLinksLeadSomewhere(t *testing.T) {
	for _, c := range []struct{ external, prefix, routes, links string }{
		{"", "", "", ""},
		{"", "/perfd", "/perfd", "/perfd"},
		{"https://example.com/a/b/", "", "/a/b", "/a/b"},
		{"https://example.com/a/b/", "/", "", "/a/b"},
		{"https://example.com/perfd", "/inner/x", "/inner/x", "/perfd"},
	} {
		h := placedAt(t, c.external, c.prefix)
		ask := func(method, path string) *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
			return w
		}
		proxied := func(link string) *httptest.ResponseRecorder {
			rest, under := strings.CutPrefix(link, c.links+"/")
			if !under {
				t.Errorf("%+v: the link %q leads out of the place", c, link)
				return nil
			}
			path, _, _ := strings.Cut(rest, "#")
			return ask("GET", c.routes+"/"+path)
		}
		seen := map[string]bool{}
		for _, page := range []string{"/", "/scenarios/shop-soak", "/scenarios/absent"} {
			for _, m := range linked.FindAllStringSubmatch(ask("GET", c.routes+page).Body.String(), -1) {
				if strings.HasPrefix(m[1], "http") || seen[m[1]] {
					continue
				}
				seen[m[1]] = true
				if w := proxied(m[1]); w != nil && w.Code != http.StatusOK {
					t.Errorf("%+v: %s links to %s, which answers %d", c, page, m[1], w.Code)
				}
			}
		}
		if len(seen) < 10 {
			t.Errorf("%+v: pages have %d links", c, len(seen))
		}
		for _, path := range []string{"/-/healthy", "/-/ready", "/metrics", "/api/v1/status", "/api/v1/scenarios/shop-soak", "/debug/pprof/cmdline"} {
			if w := ask("GET", c.routes+path); w.Code != http.StatusOK {
				t.Errorf("%+v: GET %s = %d", c, c.routes+path, w.Code)
			}
			if w := ask("GET", path); c.routes != "" && w.Code != http.StatusNotFound {
				t.Errorf("%+v: GET %s = %d, want 404 outside of the prefix", c, path, w.Code)
			}
		}
		if w := ask("POST", c.routes+"/-/pause"); w.Code != http.StatusOK {
			t.Errorf("%+v: POST %s/-/pause = %d %s", c, c.routes, w.Code, w.Body)
		}
		if w := ask("GET", c.routes+"/api/v1/nothing"); w.Code != http.StatusNotFound || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%+v: an endpoint that is not there = %d %s", c, w.Code, w.Header())
		}
	}
}

func TestRedirectsStayInThePlace(t *testing.T) {
	for _, c := range []struct{ external, prefix, path, want string }{
		{"", "/perfd", "/", "/perfd/"},
		{"", "/perfd", "/perfd", "/perfd/"},
		{"", "/perfd", "/perfd/scenarios//shop-soak", "/perfd/scenarios/shop-soak"},
		{"https://example.com/a/b", "", "/", "/a/b/"},
		{"https://example.com/a/b", "", "/a/b", "/a/b/"},
		{"https://example.com/a/b", "/inner", "/", "/inner/"},
		{"https://example.com/a/b", "/inner", "/inner", "/a/b/"},
		{"https://example.com/a/b", "/inner", "/inner/debug/pprof", "/a/b/debug/pprof/"},
		{"https://example.com/a/b", "/", "/debug/pprof", "/a/b/debug/pprof/"},
		{"https://example.com/a/b", "/", "/scenarios/../metrics", "/a/b/metrics"},
		{"", "", "/debug/pprof", "/debug/pprof/"},
	} {
		w := httptest.NewRecorder()
		placedAt(t, c.external, c.prefix).ServeHTTP(w, httptest.NewRequest("GET", c.path, nil))
		if got := w.Header().Get("Location"); w.Code/100 != 3 || got != c.want {
			t.Errorf("GET %s at %q, %q = %d to %q, want %q", c.path, c.external, c.prefix, w.Code, got, c.want)
		}
	}
	for _, path := range []string{"/perfdx", "/perfdx/metrics", "/x/perfd/metrics", "//perfd.example.com/"} {
		w := httptest.NewRecorder()
		placedAt(t, "", "/perfd").ServeHTTP(w, httptest.NewRequest("GET", "http://127.0.0.1"+path, nil))
		if w.Code != http.StatusNotFound {
			t.Errorf("GET %s = %d to %q, want 404", path, w.Code, w.Header().Get("Location"))
		}
	}
	w := httptest.NewRecorder()
	placedAt(t, "", "/perfd").ServeHTTP(w, httptest.NewRequest("POST", "/", nil))
	if w.Code != http.StatusNotFound {
		t.Errorf("POST / outside of the prefix = %d, want 404", w.Code)
	}
}

// A page behind a proxy that ends TLS is of this daemon where the external URL says so.
func TestTheExternalOriginMayChangeSomething(t *testing.T) {
	for _, c := range []struct {
		external, origin, host string
		allowed                bool
	}{
		{"https://perfd.example.com/p/", "https://perfd.example.com", "perfd.example.com", true},
		{"https://perfd.example.com/p/", "https://perfd.example.com", "10.1.2.3:9797", true},
		{"https://perfd.example.com:443/", "https://perfd.example.com", "perfd.example.com", true},
		{"https://perfd.example.com/p/", "http://perfd.example.com", "perfd.example.com", false},
		{"https://perfd.example.com/p/", "https://evil.example.com", "perfd.example.com", false},
		{"https://perfd.example.com/p/", "http://evil.example.com", "evil.example.com", false},
		{"/p/", "https://perfd.example.com", "perfd.example.com", false},
		{"", "https://perfd.example.com", "perfd.example.com", false},
	} {
		r := httptest.NewRequest("POST", "/-/reload", nil)
		r.Host = c.host
		r.Header.Set("Origin", c.origin)
		w := httptest.NewRecorder()
		placedAt(t, c.external, "/").ServeHTTP(w, r)
		if got := w.Code == http.StatusOK; got != c.allowed {
			t.Errorf("a POST of %s to %s at %q = %d, allowed should be %v", c.origin, c.host, c.external, w.Code, c.allowed)
		}
	}
}

// Probes need no password under the prefix, and nothing else does without one.
func TestProbesUnderThePrefixNeedNoPassword(t *testing.T) {
	config := filepath.Join(t.TempDir(), "web.yaml")
	writeFile(t, config, []byte(basicAuth))
	for _, prefix := range []string{"/", "/perfd", "/a/b/"} {
		p := mustPlace(t, "", prefix)
		s, err := Listen([]string{"127.0.0.1:0"}, config, placedAt(t, "", prefix), p, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		for path, code := range map[string]int{
			p.routes + "/-/healthy": 200, p.routes + "/-/ready": 200, p.routes + "/metrics": 401, p.routes + "/": 401, p.routes + "/x/-/healthy": 401,
			p.routes + "/-/healthy/": 401, "/x/-/healthy": 401, "/x" + p.routes + "/-/ready": 401,
		} {
			resp, err := client.Get("http://" + s.Addrs()[0].String() + path)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != code {
				t.Errorf("%s at %q without a password = %d, want %d", path, prefix, resp.StatusCode, code)
			}
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// Every link of the templates is written from the root of the place.
func TestTemplatesLinkFromTheRoot(t *testing.T) {
	names, err := files.ReadDir("templates")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, name := range names {
		text, err := files.ReadFile("templates/" + name.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range linked.FindAllStringSubmatch(string(text), -1) {
			if n++; !strings.HasPrefix(m[1], "{{root}}/") && !slices.Contains([]string{"#", "{"}, m[1][:1]) {
				t.Errorf("%s links to %q", name.Name(), m[1])
			}
		}
	}
	if n == 0 {
		t.Error("no template links to anything")
	}
}
