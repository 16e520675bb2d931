package output

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/perfd/perfd/internal/wire"
)

// A way answers requests to some addresses with redirects and notes all of them.
type way struct {
	to   map[string]string // Location by address; others are answered with 200
	code int
	seen []string // address and the names of header fields that a client set
}

func (w *way) RoundTrip(req *http.Request) (*http.Response, error) {
	seen := req.URL.String()
	for _, name := range []string{"Authorization", "X-Api-Key", "Referer", "Content-Type"} {
		if v := req.Header.Get(name); v != "" {
			seen += " " + name
		}
	}
	w.seen = append(w.seen, seen)
	resp := &http.Response{StatusCode: 200, Body: http.NoBody, Header: http.Header{}, Request: req}
	if to, ok := w.to[req.URL.String()]; ok {
		resp.StatusCode = w.code
		resp.Header.Set("Location", to)
	}
	return resp, nil
}

// Credentials stay at the origin that they are for.
func TestCredentialsNeverCrossToAnotherHost(t *testing.T) {
	const all = " Authorization X-Api-Key Content-Type"
	for _, c := range []struct {
		name string
		to   map[string]string
		want string
	}{
		{"within the origin", map[string]string{"http://a.test/w?token=x": "/v2"}, "http://a.test/v2" + all},
		{"its port written out", map[string]string{"http://a.test/w?token=x": "http://A.test:80/v2"}, "http://A.test:80/v2" + all},
		{"another host", map[string]string{"http://a.test/w?token=x": "http://b.test/v2"}, "http://b.test/v2 Content-Type"},
		{"a host below", map[string]string{"http://a.test/w?token=x": "http://b.a.test/v2"}, "http://b.a.test/v2 Content-Type"},
		{"another port", map[string]string{"http://a.test/w?token=x": "http://a.test:8080/v2"}, "http://a.test:8080/v2 Content-Type"},
		{"another scheme", map[string]string{"http://a.test/w?token=x": "https://a.test/v2"}, "https://a.test/v2 Content-Type"},
		{"away and further", map[string]string{"http://a.test/w?token=x": "http://b.test/1", "http://b.test/1": "/2"}, "http://b.test/2 Content-Type"},
		{"away and back", map[string]string{"http://a.test/w?token=x": "http://b.test/1", "http://b.test/1": "http://a.test/2"}, "http://a.test/2" + all},
	} {
		for _, code := range []int{307, 308} {
			home, _ := url.Parse("http://a.test/w")
			w := &way{to: c.to, code: code}
			with := roundTrip(func(req *http.Request) (*http.Response, error) {
				req = req.Clone(req.Context())
				req.Header.Set("Authorization", "Bearer sesame")
				return w.RoundTrip(req)
			})
			client := &http.Client{
				Transport:     &hops{home: home, guard: wire.Guard{Hosts: []string{"*.test"}}, with: with, elsewhere: w},
				CheckRedirect: checkRedirect("content-type"),
			}
			req, _ := http.NewRequest(http.MethodPost, "http://a.test/w?token=x", strings.NewReader("body"))
			req.Header = http.Header{"X-Api-Key": {"k"}, "Content-Type": {"text/plain"}}
			resp, err := client.Do(req)
			if err != nil || resp.StatusCode != 200 {
				t.Fatalf("%s: %v", c.name, err)
			}
			resp.Body.Close()
			if got := w.seen[len(w.seen)-1]; got != c.want {
				t.Errorf("%s, %d: %q, want %q", c.name, code, got, c.want)
			}
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// What would not repeat the request, and what does not end, is an answer.
func TestRedirectsThatAreNotFollowed(t *testing.T) {
	for code, want := range map[int]int{301: 1, 302: 1, 303: 1, 307: mostHops + 1, 308: mostHops + 1} {
		w := &way{to: map[string]string{"http://a.test/": "http://a.test/"}, code: code}
		client := &http.Client{Transport: w, CheckRedirect: checkRedirect()}
		resp, err := client.Post("http://a.test/", "text/plain", strings.NewReader("x"))
		if err != nil || resp.StatusCode != code || len(w.seen) != want {
			t.Errorf("%d: %v, %d requests, want %d", code, err, len(w.seen), want)
		}
		if err == nil {
			resp.Body.Close()
		}
	}
}
