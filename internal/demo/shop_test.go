package demo

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func call(s http.Handler, method, path, body string) (int, string) {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	return w.Code, w.Body.String()
}

// exposed checks a sample on /metrics.
func exposed(t *testing.T, s *Shop, series string, want float64) {
	t.Helper()
	_, text := call(s, "GET", "/metrics", "")
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			var got float64
			if _, err := fmt.Sscan(value, &got); err != nil || got != want {
				t.Errorf("/metrics says %s %v, want %v", series, got, want)
			}
			return
		}
	}
	t.Errorf("/metrics has no %s", series)
}

func TestEndpoints(t *testing.T) {
	s := New(Knobs{Release: "v7"}, 1)
	for _, c := range []struct {
		method, path, body string
		code               int
		want               string
	}{
		{"POST", "/auth/login", `{"email":"a@x","password":"p"}`, 200, `"token":"`},
		{"POST", "/auth/login", `{"email":"a@x"}`, 401, "required"},
		{"POST", "/auth/login", `{`, 400, "error"},
		{"GET", "/products?limit=2", "", 200, `"total":500`},
		{"GET", "/products?limit=1000", "", 200, `"id":100`},
		{"GET", "/products/7", "", 200, `"id":7`},
		{"GET", "/products/501", "", 404, "no such product"},
		{"GET", "/products/seven", "", 404, "no such product"},
		{"POST", "/cart/items", `{"productId":7,"quantity":2}`, 401, "token"},
		{"POST", "/cart/items", strings.Repeat(" ", 1<<20+1), 400, "too large"},
		{"GET", "/search?q=LAMP&limit=3", "", 200, "lamp"},
		{"GET", "/search?q=submarine", "", 200, `"results":[]`},
		{"POST", "/reports/generate", "", 202, "queued"},
		{"POST", "/orders", "", 401, "token"},
		{"GET", "/api/intensive-operation-2", "", 200, "result"},
		{"GET", "/api/intensive-operation-3", "", 404, ""},
		{"DELETE", "/products", "", 405, ""},
		{"GET", "/version", "", 200, `"release":"v7"`},
		{"GET", "/version", "", 200, `"git_sha":"`},
		{"GET", "/healthz", "", 200, "true"},
		{"GET", "/metrics", "", 200, "go_gc_heap_live_bytes"},
		{"GET", "/metrics", "", 200, "go_build_info"},
		{"POST", "/knobs", `{"release":"v8"}`, 200, `"release":"v8"`},
		{"GET", "/knobs", "", 200, `"release":"v8"`},
	} {
		if code, body := call(s, c.method, c.path, c.body); code != c.code || !strings.Contains(body, c.want) {
			t.Errorf("%s %s = %d %s, want %d with %q", c.method, c.path, code, body, c.code, c.want)
		}
	}
	if n := s.Requests(); n != 15 {
		t.Errorf("the shop counts %d requests, want 15: knobs, metrics and health are not among them", n)
	}
	if problems, err := testutil.GatherAndLint(s.registry, "shop_requests_total", "shop_request_failures_total", "shop_responses_total", "shop_leaked_bytes_total", "shop_release_info"); err != nil || len(problems) > 0 {
		t.Errorf("lint of the shop's metrics: %v %v", problems, err)
	}
}

func TestPagesOfOtherSitesTurnNoKnobs(t *testing.T) {
	s := New(Knobs{Release: "v1"}, 1)
	r := httptest.NewRequest("POST", "/knobs", strings.NewReader(`{"hang":true}`))
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Code != http.StatusForbidden || s.Knobs().Hang {
		t.Errorf("POST /knobs for another site = %d, hang %t, want %d and no hang", w.Code, s.Knobs().Hang, http.StatusForbidden)
	}
}

func TestEachUserOfTheConfigurationSignsIn(t *testing.T) {
	f, err := Config.Open("users.csv")
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil || len(rows) != 201 {
		t.Fatalf("users.csv has %d rows (%v), want a heading and 200 users", len(rows), err)
	}
	s, tokens := New(Knobs{}, 1), map[string]bool{}
	for _, row := range rows[1:] {
		text, _ := json.Marshal(map[string]string{"email": row[0], "password": row[1]})
		code, body := call(s, "POST", "/auth/login", string(text))
		var got struct{ Token string }
		if err := json.Unmarshal([]byte(body), &got); err != nil || code != 200 {
			t.Fatalf("login of %s = %d %s", row[0], code, body)
		}
		tokens[got.Token] = true
	}
	if len(tokens) != 200 {
		t.Errorf("200 users have %d tokens", len(tokens))
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(Default(), 1)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	defer http.DefaultClient.CloseIdleConnections()
	url := "http://" + l.Addr().String()
	resp, err := http.Get(url + "/knobs")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	var k Knobs
	if err := json.Unmarshal(body, &k); err != nil || k.Release != Default().Release {
		t.Errorf("knobs = %s (%v), want the default ones", body, err)
	}
	if err := s.Set(Knobs{Hang: true}); err != nil {
		t.Fatal(err)
	}
	asked := make(chan error, 1)
	go func() {
		resp, err := http.Post(url+"/cart/items", "application/json", strings.NewReader(`{"productId":1,"quantity":1}`))
		if err == nil {
			resp.Body.Close()
		}
		asked <- err
	}()
	for s.Requests() == 0 { // until the hang holds the request
		if _, err := http.Head(url + "/healthz"); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-served; err != nil {
		t.Errorf("Serve = %v, want nil", err)
	}
	<-asked
	if n := testutil.ToFloat64(s.inFlight); n != 0 {
		t.Errorf("%v requests are under way after Serve", n)
	}
}

func TestServeTellsThatItsListenerBroke(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := New(Knobs{}, 1).Serve(t.Context(), l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve of a closed listener = %v, want %v", err, net.ErrClosed)
	}
}
