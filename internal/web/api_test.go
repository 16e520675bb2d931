package web

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// ask returns the answer of the API to a request, and its code and headers.
func ask(t *testing.T, f *fake, lifecycle bool, method, path string) (envelope struct {
	Status    string          `json:"status"`
	Data      json.RawMessage `json:"data"`
	ErrorType string          `json:"errorType"`
	Error     string          `json:"error"`
}, w *httptest.ResponseRecorder,
) {
	t.Helper()
	w = httptest.NewRecorder()
	handler(f, lifecycle).ServeHTTP(w, httptest.NewRequest(method, path, nil))
	if err := json.Unmarshal(w.Body.Bytes(), &envelope); err != nil {
		t.Fatalf("%s %s = %s: %v", method, path, w.Body, err)
	}
	return envelope, w
}

func TestAPI(t *testing.T) {
	for _, c := range []struct {
		name, method, path string
		lifecycleOff       bool
		err                error
		code               int
		kind               string // of the error; "" is a success
		body, told, allow  string
	}{
		{name: "status", method: "GET", path: "/api/v1/status", code: 200, body: `"version":"1.2.3"`},
		{name: "status takes no POST", method: "POST", path: "/api/v1/status", code: 405, kind: "method_not_allowed", allow: "GET, HEAD"},
		{name: "scenarios", method: "GET", path: "/api/v1/scenarios", code: 200, body: `"name":"shop-soak"`},
		{name: "scenarios are not deleted", method: "DELETE", path: "/api/v1/scenarios", code: 405, kind: "method_not_allowed", allow: "GET, HEAD"},
		{name: "a scenario", method: "GET", path: "/api/v1/scenarios/shop-soak", code: 200, body: `"cause":"timeout"`},
		{name: "a scenario without failures", method: "GET", path: "/api/v1/scenarios/shop-stress", code: 200, body: `"failures":[]`},
		{name: "no such scenario", method: "GET", path: "/api/v1/scenarios/x", code: 404, kind: "not_found", body: "no such scenario: x"},
		{name: "start", method: "POST", path: "/api/v1/scenarios/shop-soak/start", code: 200, told: "start shop-soak"},
		{name: "stop", method: "POST", path: "/api/v1/scenarios/shop-soak/stop", code: 200, told: "stop shop-soak"},
		{name: "start by GET", method: "GET", path: "/api/v1/scenarios/shop-soak/start", code: 405, kind: "method_not_allowed", allow: "POST"},
		{name: "start without leave", method: "POST", path: "/api/v1/scenarios/shop-soak/start", lifecycleOff: true, code: 403, kind: "forbidden", body: "--web.enable-lifecycle"},
		{name: "stop without leave", method: "POST", path: "/api/v1/scenarios/shop-soak/stop", lifecycleOff: true, code: 403, kind: "forbidden"},
		{name: "start of nothing", method: "POST", path: "/api/v1/scenarios/x/start", code: 404, kind: "not_found", body: "no such scenario: x"},
		{name: "a start that cannot be", method: "POST", path: "/api/v1/scenarios/shop-soak/start", err: errors.New("under way"), code: 409, kind: "conflict", body: "under way", told: "start shop-soak"},
		{name: "failures", method: "GET", path: "/api/v1/failures", code: 200, body: `"scenario":"shop-soak"`},
		{name: "failures of nothing", method: "GET", path: "/api/v1/failures?scenario=x", code: 404, kind: "not_found"},
		{name: "no failures at all", method: "GET", path: "/api/v1/failures?limit=0", code: 400, kind: "bad_data", body: "limit: must be a number"},
		{name: "no such endpoint", method: "GET", path: "/api/v1/nothing", code: 404, kind: "not_found", body: "/api/v1/nothing"},
		{name: "no such version", method: "POST", path: "/api/v9/status", code: 404, kind: "not_found"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := shop(time.Now())
			f.err = c.err
			got, w := ask(t, f, !c.lifecycleOff, c.method, c.path)
			status := "success"
			if c.kind != "" {
				status = "error"
			}
			if w.Code != c.code || got.Status != status || got.ErrorType != c.kind || (got.Error != "") != (c.kind != "") {
				t.Errorf("%s %s = %d %+v, want %d, status %s, error type %q", c.method, c.path, w.Code, got, c.code, status, c.kind)
			}
			if !strings.Contains(w.Body.String(), c.body) || w.Header().Get("Allow") != c.allow {
				t.Errorf("%s %s = %s, Allow %q, want %q, Allow %q", c.method, c.path, w.Body, w.Header().Get("Allow"), c.body, c.allow)
			}
			if told := strings.Join(f.told, ","); told != c.told {
				t.Errorf("the daemon was told %q, want %q", told, c.told)
			}
		})
	}
}

func TestEmptyListsAreLists(t *testing.T) {
	for _, path := range []string{"/api/v1/scenarios", "/api/v1/failures"} {
		if got, _ := ask(t, &fake{}, true, "GET", path); string(got.Data) != "[]" {
			t.Errorf("%s of a daemon without scenarios = %s, want []", path, got.Data)
		}
	}
}

func TestFailuresAreNewestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := shop(time.Now())
		f.scenarios[1].Failures = []Failure{{Time: time.Now().Add(-time.Minute), Step: "search", Cause: "reset"}}
		for _, c := range []struct {
			query string
			want  []string
		}{
			{"", []string{"shop-soak timeout", "shop-search reset", "shop-soak expect"}},
			{"?limit=2", []string{"shop-soak timeout", "shop-search reset"}},
			{"?scenario=shop-soak", []string{"shop-soak timeout", "shop-soak expect"}},
			{"?scenario=shop-search&scenario=shop-stress", []string{"shop-search reset"}},
		} {
			answer, _ := ask(t, f, true, "GET", "/api/v1/failures"+c.query)
			var failures []failureOf
			if err := json.Unmarshal(answer.Data, &failures); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, x := range failures {
				got = append(got, x.Scenario+" "+x.Cause)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("failures%s differ:\n%s", c.query, diff)
			}
		}
	})
}
