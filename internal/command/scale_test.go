package command

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestScale(t *testing.T) {
	seven := 7
	for _, c := range []struct {
		name, answer string
		code         int
		o            ScaleOptions
		body, want   string // what is sent, and what is said or the error
	}{
		{"users", `{"status":"success","data":{"level":"7 VUs","max":"50 VUs"}}`, 200, ScaleOptions{VUs: &seven}, `{"vus":7}`, "browse: 7 VUs, at most 50 VUs\n"},
		{"a rate", `{"status":"success","data":{"level":"5/s","max":"9/s"}}`, 200, ScaleOptions{Rate: "5/s"}, `{"rate":"5/s"}`, "browse: 5/s, at most 9/s\n"},
		{"too much", `{"status":"error","errorType":"bad_data","error":"vus: must be between 0 and 5"}`, 400, ScaleOptions{VUs: &seven}, `{"vus":7}`, "browse: 400 Bad Request: vus: must be between 0 and 5"},
		{"no perfd", "<h1>Hello</h1>\n", 404, ScaleOptions{VUs: &seven}, `{"vus":7}`, "browse: 404 Not Found: <h1>Hello</h1>"},
	} {
		var path, body, user string
		daemon := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var sent json.RawMessage
			if err := json.NewDecoder(r.Body).Decode(&sent); err != nil || r.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%s: sent %s, %v", c.name, r.Header, err)
			}
			path, body = r.Method+" "+r.URL.Path, string(sent)
			user, _, _ = r.BasicAuth()
			w.WriteHeader(c.code)
			_, _ = w.Write([]byte(c.answer))
		}))
		c.o.Scenario, c.o.URL = "browse", strings.Replace(daemon.URL, "://", "://ann:secret@", 1)+"/perfd/"
		var out bytes.Buffer
		err := Scale(t.Context(), c.o, &out)
		daemon.Close()
		got := out.String()
		if err != nil {
			got = err.Error()
		}
		if path != "POST /perfd/api/v1/scenarios/browse/scale" || body != c.body || user != "ann" || got != c.want || (err != nil) != (c.code != 200) {
			t.Errorf("%s: %s %s by %s, then %q; want %s and %q", c.name, path, body, user, got, c.body, c.want)
		}
		err = Scale(t.Context(), c.o, &out) // nobody listens by now
		if err == nil || !strings.Contains(err.Error(), "no answer from the daemon at http://ann:xxxxx@127.0.0.1") || strings.Contains(err.Error(), "secret") {
			t.Errorf("without a daemon: %v", err)
		}
	}
	if err := Scale(t.Context(), ScaleOptions{URL: "localhost:9797", Scenario: "browse"}, nil); err == nil || !strings.Contains(err.Error(), "--url: must be an address such as") {
		t.Errorf("a wrong address: %v", err)
	}
}
