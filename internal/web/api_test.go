package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/load"
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
		body, asked, allow string
	}{
		{name: "status", method: "GET", path: "/api/v1/status", code: 200, body: `"version":"1.2.3"`},
		{name: "status takes no POST", method: "POST", path: "/api/v1/status", code: 405, kind: "method_not_allowed", allow: "GET, HEAD"},
		{name: "scenarios", method: "GET", path: "/api/v1/scenarios", code: 200, body: `"name":"shop-soak"`},
		{name: "scenarios are not deleted", method: "DELETE", path: "/api/v1/scenarios", code: 405, kind: "method_not_allowed", allow: "GET, HEAD"},
		{name: "a scenario", method: "GET", path: "/api/v1/scenarios/shop-soak", code: 200, body: `"cause":"timeout"`},
		{name: "a scenario without failures", method: "GET", path: "/api/v1/scenarios/shop-stress", code: 200, body: `"failures":[]`},
		{name: "no such scenario", method: "GET", path: "/api/v1/scenarios/x", code: 404, kind: "not_found", body: "no such scenario: x"},
		{name: "start", method: "POST", path: "/api/v1/scenarios/shop-soak/start", code: 200, asked: "start shop-soak"},
		{name: "stop", method: "POST", path: "/api/v1/scenarios/shop-soak/stop", code: 200, asked: "stop shop-soak"},
		{name: "suites", path: "/api/v1/suites", code: 200, body: `"why":"a run is \u003cunder way\u003e already"`},
		{name: "start a suite", method: "POST", path: "/api/v1/suites/evening/start", code: 200, asked: "start suite evening"},
		{name: "stop a suite", method: "POST", path: "/api/v1/suites/evening/stop", code: 200, asked: "stop suite evening"},
		{name: "start a suite without leave", method: "POST", path: "/api/v1/suites/evening/start", lifecycleOff: true, code: 403, kind: "forbidden", body: "--web.enable-lifecycle"},
		{name: "start no suite", method: "POST", path: "/api/v1/suites/x/start", code: 404, kind: "not_found", body: "no such suite: x"},
		{name: "start by GET", method: "GET", path: "/api/v1/scenarios/shop-soak/start", code: 405, kind: "method_not_allowed", allow: "POST"},
		{name: "start without leave", method: "POST", path: "/api/v1/scenarios/shop-soak/start", lifecycleOff: true, code: 403, kind: "forbidden", body: "--web.enable-lifecycle"},
		{name: "stop without leave", method: "POST", path: "/api/v1/scenarios/shop-soak/stop", lifecycleOff: true, code: 403, kind: "forbidden"},
		{name: "start of nothing", method: "POST", path: "/api/v1/scenarios/x/start", code: 404, kind: "not_found", body: "no such scenario: x"},
		{name: "a start that cannot be", method: "POST", path: "/api/v1/scenarios/shop-soak/start", err: errors.New("under way"), code: 409, kind: "conflict", body: "under way", asked: "start shop-soak"},
		{name: "failures", method: "GET", path: "/api/v1/failures", code: 200, body: `"scenario":"shop-soak"`},
		{name: "failures of nothing", method: "GET", path: "/api/v1/failures?scenario=x", code: 404, kind: "not_found"},
		{name: "no failures at all", method: "GET", path: "/api/v1/failures?limit=0", code: 400, kind: "bad_data", body: "limit: must be a number"},
		{name: "findings", method: "GET", path: "/api/v1/findings", code: 200, body: `"id":"regression-1"`},
		{name: "findings take no POST", method: "POST", path: "/api/v1/findings", code: 405, kind: "method_not_allowed", allow: "GET, HEAD"},
		{name: "a wrong state", method: "GET", path: "/api/v1/findings?state=open", code: 400, kind: "bad_data", body: "state: must be one of active, recovered, accepted, final, status, all, got \\\"open\\\""},
		{name: "a wrong kind among right ones", method: "GET", path: "/api/v1/findings?kind=leak&kind=leek", code: 400, kind: "bad_data", body: "kind: must be one of unreachable, failing, objective, twin, regression, limit, leak, change, drift, check, clean_up, efficiency, run"},
		{name: "a wrong verdict", method: "GET", path: "/api/v1/findings?verdict=maybe", code: 400, kind: "bad_data", body: "verdict: must be one of pass, fail, inconclusive"},
		{name: "no findings at all", method: "GET", path: "/api/v1/findings?limit=0", code: 400, kind: "bad_data", body: "limit: must be a number"},
		{name: "a finding", method: "GET", path: "/api/v1/findings/run-1", code: 200, body: `"parts":[{"id":"objective-1"`},
		{name: "no such finding", method: "GET", path: "/api/v1/findings/x", code: 404, kind: "not_found", body: "no such finding: x"},
		{name: "accept", method: "POST", path: "/api/v1/findings/change-1/accept", code: 200, asked: "accept change-1"},
		{name: "accept by GET", method: "GET", path: "/api/v1/findings/change-1/accept", code: 405, kind: "method_not_allowed", allow: "POST"},
		{name: "accept without leave", method: "POST", path: "/api/v1/findings/change-1/accept", lifecycleOff: true, code: 403, kind: "forbidden", body: "--web.enable-lifecycle"},
		{name: "accept nothing", method: "POST", path: "/api/v1/findings/x/accept", code: 404, kind: "not_found", body: "no such finding: x"},
		{name: "accept what cannot be", method: "POST", path: "/api/v1/findings/run-1/accept", err: fmt.Errorf("%w: it is a run", ErrNotAcceptable), code: 409, kind: "conflict", body: "cannot be accepted: it is a run", asked: "accept run-1"},
		{name: "accept on a full disk", method: "POST", path: "/api/v1/findings/change-1/accept", err: errors.New("disk full"), code: 500, kind: "internal", body: "disk full", asked: "accept change-1"},
		{name: "releases are not listed", method: "GET", path: "/api/v1/releases", code: 405, kind: "method_not_allowed", allow: "POST"},
		{name: "a release without leave", method: "POST", path: "/api/v1/releases", lifecycleOff: true, code: 403, kind: "forbidden", body: "--web.enable-lifecycle"},
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
			if asked := strings.Join(f.asked, ","); asked != c.asked {
				t.Errorf("the daemon was asked for %q, want %q", asked, c.asked)
			}
		})
	}
}

func TestWithoutVerdictsTheirEndpointsAreMissing(t *testing.T) {
	for _, c := range []struct{ method, path string }{
		{"GET", "/api/v1/findings"}, {"GET", "/api/v1/findings/run-1"}, {"POST", "/api/v1/findings/run-1/accept"}, {"POST", "/api/v1/releases"},
	} {
		f := shop(time.Now())
		f.findings = nil
		if _, w := ask(t, f, true, c.method, c.path); w.Code != 404 {
			t.Errorf("%s %s = %d, want 404", c.method, c.path, w.Code)
		}
	}
}

func TestFindingsAreChosen(t *testing.T) {
	for _, c := range []struct{ query, want string }{
		{"", "objective-1 regression-1 leak-1 run-1 change-1 run-2 drift-1"},
		{"?state=active", "objective-1 regression-1 leak-1"},
		{"?state=status", "objective-2 objective-3"},
		{"?state=recovered&state=accepted", "change-1 drift-1"},
		{"?state=all", "objective-1 regression-1 leak-1 objective-2 objective-3 run-1 change-1 run-2 drift-1"},
		{"?state=all&kind=objective&verdict=inconclusive&verdict=pass", "objective-2 objective-3"},
		{"?kind=run&kind=leak", "leak-1 run-1 run-2"},
		{"?target=shop", "regression-1 leak-1"},
		{"?scenario=shop-stress&scenario=shop-search&state=all", "objective-3 drift-1"},
		{"?scenario=gone", ""},
		{"?state=final&verdict=pass", "run-2"},
		{"?limit=2", "objective-1 regression-1"},
	} {
		answer, _ := ask(t, shop(time.Now()), true, "GET", "/api/v1/findings"+c.query)
		var findings []load.Finding
		if err := json.Unmarshal(answer.Data, &findings); err != nil {
			t.Fatalf("findings%s = %+v: %v", c.query, answer, err)
		}
		var got []string
		for _, f := range findings {
			got = append(got, f.ID)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("findings%s = %s, want %s", c.query, got, c.want)
		}
	}
}

func TestAReleaseIsTold(t *testing.T) {
	const right = "application/json"
	for _, c := range []struct {
		name, kind, body string
		err              error
		code             int
		why, asked       string
	}{
		{name: "right", kind: right, body: `{"target": "shop", "release": "v1.2.3"}`, code: 200, asked: "release shop v1.2.3"},
		{name: "with a charset", kind: "application/json; charset=utf-8", body: `{"target": "shop", "release": "v1"}`, code: 200, asked: "release shop v1"},
		{name: "a form", kind: "application/x-www-form-urlencoded", body: "target=shop", code: 400, why: "must be application/json, got \"application/x-www-form-urlencoded\""},
		{name: "without a type", body: `{"target": "shop", "release": "v1"}`, code: 400, why: "must be application/json"},
		{name: "an unknown key", kind: right, body: `{"target": "shop", "version": "v1"}`, code: 400, why: `unknown field "version"`},
		{name: "a wrong type", kind: right, body: `{"target": "shop", "release": 3}`, code: 400, why: "release"},
		{name: "two values", kind: right, body: `{"target": "shop", "release": "v1"} {}`, code: 400, why: "nothing after it"},
		{name: "nothing", kind: right, code: 400, why: "the body: EOF"},
		{name: "null", kind: right, body: "null", code: 400, why: "target: is required"},
		{name: "no target", kind: right, body: `{"release": "v1"}`, code: 400, why: "target: is required"},
		{name: "no release", kind: right, body: `{"target": "shop", "release": ""}`, code: 400, why: "release: is required"},
		{name: "too much", kind: right, body: `{"target": "` + strings.Repeat("x", mostBody) + `"}`, code: 400, why: "too large"},
		{name: "an unknown target", kind: right, body: `{"target": "shpo", "release": "v1"}`, code: 404, why: "no such target: shpo"},
		{name: "a wrong release", kind: right, body: `{"target": "shop", "release": "v 1"}`, err: errors.New("release: has a space"), code: 400, why: "has a space", asked: "release shop v 1"},
	} {
		f := shop(time.Now())
		f.err = c.err
		r := httptest.NewRequest("POST", "/api/v1/releases", strings.NewReader(c.body))
		r.Header.Set("Content-Type", c.kind)
		w := httptest.NewRecorder()
		handler(f, true).ServeHTTP(w, r)
		var got struct{ Error string }
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatalf("%s: %s: %v", c.name, w.Body, err)
		}
		if asked := strings.Join(f.asked, ","); w.Code != c.code || !strings.Contains(got.Error, c.why) || asked != c.asked {
			t.Errorf("%s = %d %q, asked for %q, want %d with %q, asked for %q", c.name, w.Code, got.Error, asked, c.code, c.why, c.asked)
		}
	}
}

func TestEmptyListsAreLists(t *testing.T) {
	for _, path := range []string{"/api/v1/scenarios", "/api/v1/failures", "/api/v1/findings"} {
		if got, _ := ask(t, &fake{findings: []load.Finding{}}, true, "GET", path); string(got.Data) != "[]" {
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
