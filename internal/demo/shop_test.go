package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func call(s http.Handler, method, path, body string) (int, string) {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	return w.Code, w.Body.String()
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
		{"GET", "/products/7", "", 200, `"id":7`},
		{"GET", "/products/501", "", 404, "no such product"},
		{"POST", "/cart/items", `{"productId":7,"quantity":2}`, 201, `"quantity":2`},
		{"POST", "/cart/items", `{"productId":0,"quantity":2}`, 400, "required"},
		{"GET", "/search?q=LAMP&limit=3", "", 200, "lamp"},
		{"POST", "/reports/generate", "", 202, "queued"},
		{"POST", "/orders", "", 201, "orderId"},
		{"GET", "/api/intensive-operation-2", "", 200, "result"},
		{"GET", "/api/intensive-operation-3", "", 404, ""},
		{"GET", "/version", "", 200, `"release":"v7"`},
		{"GET", "/healthz", "", 200, "true"},
		{"GET", "/metrics", "", 200, `shop_release_info{release="v7"} 1`},
		{"POST", "/knobs", `{"nonsense":1}`, 400, "nonsense"},
		{"POST", "/knobs", `{"release":"v8"}`, 200, `"release":"v8"`},
		{"GET", "/knobs", "", 200, `"release":"v8"`},
	} {
		if code, body := call(s, c.method, c.path, c.body); code != c.code || !strings.Contains(body, c.want) {
			t.Errorf("%s %s = %d %s, want %d with %q", c.method, c.path, code, body, c.code, c.want)
		}
	}
	if n := s.Requests(); n != 12 {
		t.Errorf("the shop counts %d requests, want 12: knobs, metrics and health are not among them", n)
	}
}

func TestKnobsTellTheTruth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := Latency{Median: 50 * time.Millisecond, Sigma: 0.5}
		s := New(Knobs{
			Latency: map[string]Latency{"": l}, ErrorRatio: map[string]float64{"": 0.1}, LeakPerRequest: 100, Slowdown: 2,
		}, 1)
		const n = 4000
		failed, below := 0, 0
		for range n {
			begin := time.Now()
			if code, _ := call(s, "GET", "/products/1", ""); code == 500 {
				failed++
			}
			if time.Since(begin) <= 2*l.Quantile(0.9) {
				below++
			}
		}
		// Four standard deviations of a binomial count.
		if d := math.Abs(float64(failed) - 0.1*n); d > 4*math.Sqrt(n*0.1*0.9) {
			t.Errorf("%d of %d requests failed, want about one in ten", failed, n)
		}
		if d := math.Abs(float64(below) - 0.9*n); d > 4*math.Sqrt(n*0.1*0.9) {
			t.Errorf("%d of %d requests took at most twice the 90th percentile, want about nine in ten", below, n)
		}
		if got := s.bytes.Load(); got != 100*n {
			t.Errorf("%d bytes leaked, want %d", got, 100*n)
		}
	})
}

func TestHangAndStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Knobs{Hang: true}, 1)
		begin := time.Now()
		done := make(chan time.Duration)
		go func() {
			call(s, "GET", "/products/1", "")
			done <- time.Since(begin)
		}()
		time.Sleep(30 * time.Second)
		s.Set(Knobs{})
		if d := <-done; d != 30*time.Second {
			t.Errorf("a request to a hanging shop took %v, want the 30s of the hang", d)
		}
		s.Set(Knobs{StallEvery: time.Minute, StallFor: 10 * time.Second})
		begin = time.Now() // 30 s into the minute
		time.Sleep(35 * time.Second)
		call(s, "GET", "/products/1", "")
		if d := time.Since(begin); d != 40*time.Second {
			t.Errorf("a request 5s into a stall of 10s was answered after %v, want 40s", d)
		}
	})
}

func TestServeEndsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- New(Default(), 1).Serve(ctx, l) }()
	resp, err := http.Get("http://" + l.Addr().String() + "/knobs")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	var k Knobs
	if err := json.NewDecoder(bytes.NewReader(body)).Decode(&k); err != nil || k.Release != Default().Release {
		t.Errorf("knobs = %s (%v), want the default ones", body, err)
	}
	http.DefaultClient.CloseIdleConnections()
	cancel()
	if err := <-served; err != nil {
		t.Errorf("Serve = %v, want nil", err)
	}
}
