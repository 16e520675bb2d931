package remotewrite

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A receiver that has moved gets the samples; another host gets no credentials with them.
func TestCredentialsOfARedirectedReceiver(t *testing.T) {
	for _, c := range []struct{ name, more, field string }{
		{"basic_auth", "basic_auth: {username: me, password: hush}", "Authorization"},
		{"bearer_token", "bearer_token: hush", "Authorization"},
		{"a header", "headers: {X-Api-Key: hush}", "X-Api-Key"},
		{"a header of a tenant", "headers: {X-Scope-OrgID: hush}", "X-Scope-OrgID"},
	} {
		for _, code := range []int{307, 308} {
			for _, moved := range []bool{false, true} {
				r, turn := counters(2)
				there := newReceiver(t)
				here := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					if req.Header.Get(c.field) == "" {
						t.Errorf("%s: the receiver itself gets no %s", c.name, c.field)
					}
					switch {
					case moved:
						http.Redirect(w, req, there.URL+"/moved", code)
					case req.URL.Path == "/":
						http.Redirect(w, req, "/moved", code)
					default:
						there.serve(w, req)
					}
				}))
				t.Cleanup(here.Close)
				w := newRig(t, t.TempDir(), r, endpointOf(t, here.URL+"/", ", "+c.more))
				stop := w.startEndpoints()
				from := base()
				w.snapshots(from, 2, turn)
				w.finished(from, 2)
				if diff := cmp.Diff(want(from, 2), there.took(counterName(1), 2), both); diff != "" {
					t.Errorf("%s: samples (-want +got):\n%s", c.name, diff)
				}
				w.crash(stop)
				there.mu.Lock()
				for _, header := range there.requests {
					got := header.Get(c.field) != ""
					if got == moved || header.Get("Content-Encoding") != "snappy" {
						t.Errorf("%s, %d: another host %v: header %v", c.name, code, moved, header)
					}
					if text := strings.Join(header.Values("Referer"), ""); text != "" {
						t.Errorf("%s: Referer %q", c.name, text)
					}
				}
				there.mu.Unlock()
			}
		}
	}
}
