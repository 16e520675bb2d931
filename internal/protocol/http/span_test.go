package http

import (
	"maps"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/expr"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/protocol"
)

func TestTraceparentNamesTheSpanOfTheResult(t *testing.T) {
	overEach(t, testTraceparentNamesTheSpanOfTheResult)
}

func testTraceparentNamesTheSpanOfTheResult(t *testing.T) {
	var got string
	base := serve(t, func(_ http.ResponseWriter, q *http.Request) { got = q.Header.Get("Traceparent") })
	r := newRig(t, base)
	for _, sampled := range []bool{false, true} {
		r.trace = load.Result{Trace: load.TraceID{0: 0xab, 15: 1}, Span: load.SpanID{0: 0xcd, 7: 2}, Sampled: sampled}
		if call := r.do(r.step(`{url: /}`), 5*time.Second); call.Err != nil {
			t.Fatal(call.Err)
		}
		flag := map[bool]string{false: "00", true: "01"}[sampled]
		want := "00-ab000000000000000000000000000001-cd00000000000002-" + flag
		if got != want {
			t.Errorf("traceparent = %q, want %q", got, want)
		}
	}
}

func TestSpansFollowTheConventions(t *testing.T) { overEach(t, testSpansFollowTheConventions) }

func testSpansFollowTheConventions(t *testing.T) {
	base := serve(t, func(w http.ResponseWriter, q *http.Request) {
		switch q.URL.Path {
		case "/moved":
			http.Redirect(w, q, "/items/9?page=2", http.StatusFound)
		case "/broken":
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	r := newRig(t, base)
	r.scope.Set(r.symbols.Declare("id", expr.String), expr.Str("7"))
	port := base[len("http://127.0.0.1:"):]
	common := map[string]string{
		"server.address": "127.0.0.1", "server.port": port, "network.protocol.version": versionOf(t),
	}
	for _, c := range []struct {
		yaml, name string
		want       map[string]string
	}{
		{`{url: "/items/${id}"}`, "GET /items/${id}", map[string]string{
			"http.request.method": "GET", "url.template": "/items/${id}", "url.full": base + "/items/7", "http.response.status_code": "200",
		}},
		{`{url: "/items/1?token=s3cret&page=${id}", method: POST}`, "POST /items/1", map[string]string{
			"http.request.method": "POST", "url.template": "/items/1", "http.response.status_code": "200",
			"url.full": base + "/items/1?token=REDACTED&page=REDACTED",
		}},
		{`{url: /moved, redirects: 1}`, "GET /moved", map[string]string{
			"http.request.method": "GET", "url.template": "/moved", "http.response.status_code": "200",
			"url.full": base + "/items/9?page=REDACTED",
		}},
		{`{url: /broken}`, "GET /broken", map[string]string{
			"http.request.method": "GET", "url.template": "/broken", "http.response.status_code": "503",
			"url.full": base + "/broken", "error.type": "503",
		}},
	} {
		s := r.step(c.yaml)
		call := r.do(s, 5*time.Second)
		if call.Result.Code >= 400 {
			call.Result.Cause = load.Status
		}
		var span protocol.Span
		s.(protocol.SpanMapper).Span(&call.Result, call.Address, &span)
		got := map[string]string{}
		for _, a := range span.Attributes {
			if got[a.Key] = a.Text; a.Numeric {
				got[a.Key] = strconv.FormatInt(a.Number, 10)
			}
		}
		maps.Copy(c.want, common)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: attributes (-want +got):\n%s", c.yaml, diff)
		}
		if span.Name != c.name {
			t.Errorf("%s: name = %q, want %q", c.yaml, span.Name, c.name)
		}
	}
}
