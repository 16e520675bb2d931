package demo

import (
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestKnobsTellTheTruth(t *testing.T) {
	slow := Latency{Median: 50 * milliseconds, Sigma: 0.5}
	fast := Latency{Median: 5 * milliseconds, Sigma: 0.2}
	k := Knobs{
		Latency:    map[string]Latency{"": slow, "GET /search": fast},
		ErrorRatio: map[string]float64{"": 0.1, "GET /search": 0.02},
		Slowdown:   2,
	}
	for _, c := range []struct {
		endpoint, path string
		latency        Latency
		ratio          float64
	}{
		{"GET /products/{id}", "/products/1", slow, 0.1},
		{"GET /search", "/search?q=cup", fast, 0.02},
	} {
		t.Run(c.endpoint, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := New(k, 1)
				const n = 4000
				failed, quantiles := 0, map[float64]int{0.1: 0, 0.5: 0, 0.9: 0, 0.99: 0}
				for range n {
					begin := time.Now()
					if code, _ := call(s, "GET", c.path, ""); code == 500 {
						failed++
					}
					for q := range quantiles {
						if time.Since(begin) <= 2*c.latency.Quantile(q) {
							quantiles[q]++
						}
					}
				}
				binomial(t, "failed", failed, n, c.ratio)
				for q, below := range quantiles {
					binomial(t, "took at most twice the quantile", below, n, q)
				}
				exposed(t, s, `shop_requests_total{endpoint="`+c.endpoint+`"}`, n)
				exposed(t, s, `shop_request_failures_total{endpoint="`+c.endpoint+`"}`, float64(failed))
				if s.Requests() != n {
					t.Errorf("the shop counts %d requests, want %d", s.Requests(), n)
				}
			})
		})
	}
}

// binomial complains about a count further than four standard deviations from its mean.
func binomial(t *testing.T, what string, got, n int, p float64) {
	t.Helper()
	if mean := p * float64(n); math.Abs(float64(got)-mean) > 4*math.Sqrt(mean*(1-p)) {
		t.Errorf("%d of %d requests %s, want about %.0f", got, n, what, mean)
	}
}

func TestSameSeedSameChances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := Knobs{Latency: map[string]Latency{"": {10 * milliseconds, 1}}, ErrorRatio: map[string]float64{"": 0.5}}
		draws := func(seed uint64) (out []fate) {
			s := New(k, seed)
			for range 20 {
				out = append(out, s.draw("GET /products"))
			}
			return out
		}
		opt := cmp.AllowUnexported(fate{})
		if diff := cmp.Diff(draws(1), draws(1), opt); diff != "" {
			t.Errorf("two shops of one seed differ:\n%s", diff)
		}
		if cmp.Equal(draws(1), draws(2), opt) {
			t.Error("two seeds give the same chances")
		}
	})
}

func TestRolloutComesWhenItIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Knobs{
			Release: "v1", Latency: map[string]Latency{"": {Median: 10 * milliseconds}},
			Rollouts: []Rollout{
				{After: Duration(time.Minute), Release: "v2", Slowdown: 3},
				{After: Duration(2 * time.Minute), Release: "v3", Slowdown: 0.5},
			},
		}, 1)
		begin := time.Now()
		for _, c := range []struct {
			at      time.Duration
			release string
			took    time.Duration
			next    string // of the rollouts to come
		}{
			{0, "v1", 10 * time.Millisecond, "59.99s"},
			{59 * time.Second, "v1", 10 * time.Millisecond, "990ms"},
			{time.Minute, "v2", 30 * time.Millisecond, "59.97s"},
			{90 * time.Second, "v2", 30 * time.Millisecond, "29.97s"},
			{2 * time.Minute, "v3", 5 * time.Millisecond, ""},
			{time.Hour, "v3", 5 * time.Millisecond, ""},
		} {
			time.Sleep(time.Until(begin.Add(c.at)))
			asked := time.Now()
			call(s, "GET", "/products/1", "")
			if took := time.Since(asked); took != c.took {
				t.Errorf("a request after %v took %v, want %v", c.at, took, c.took)
			}
			k := s.Knobs()
			next := ""
			if len(k.Rollouts) > 0 {
				next = time.Duration(k.Rollouts[0].After).String()
			}
			if k.Release != c.release || next != c.next {
				t.Errorf("after %v the knobs say %s, next in %q, want %s, next in %q", c.at, k.Release, next, c.release, c.next)
			}
			exposed(t, s, `shop_release_info{release="`+c.release+`"}`, 1)
		}
	})
}

func TestTurningOneKnobLeavesTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Knobs{
			Release: "v1", Slowdown: 2, Latency: map[string]Latency{"": {Median: milliseconds}},
			Rollouts: []Rollout{{After: Duration(time.Hour), Release: "v2"}},
		}, 1)
		time.Sleep(10 * time.Minute)
		code, _ := call(s, "POST", "/knobs", `{"latency":{"GET /search":{"median":"7ms","sigma":0.1}},"stall_every":"1m","stall_for":"2s"}`)
		want := Knobs{
			Release: "v1", Slowdown: 2, Latency: map[string]Latency{"": {Median: milliseconds}, "GET /search": {7 * milliseconds, 0.1}},
			Rollouts:   []Rollout{{After: Duration(50 * time.Minute), Release: "v2"}},
			StallEvery: Duration(time.Minute), StallFor: Duration(2 * time.Second),
		}
		if diff := cmp.Diff(want, s.Knobs()); code != 200 || diff != "" {
			t.Errorf("POST /knobs = %d, knobs differ:\n%s", code, diff)
		}
	})
}

func TestWrongKnobsAreRefused(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`{"nonsense":1}`, `unknown field`},
		{`{"latency":{"GET /nothing":{"median":"1s"}}}`, `no endpoint \"GET /nothing\"; there are POST /auth/login,`},
		{`{"latency":{"":{"median":"-1s"}}}`, "the median must be from 0 to 1h0m0s, got -1s"},
		{`{"latency":{"":{"median":"1s","sigma":9}}}`, "sigma must be from 0 to 4, got 9"},
		{`{"latency":{"":{"median":5}}}`, "number"},
		{`{"error_ratio":{"":1.5}}`, "must be from 0 to 1, got 1.5"},
		{`{"error_ratio":{"GET /nothing":0.5}}`, "no endpoint"},
		{`{"leak_bytes_per_request":-1}`, "leak_bytes_per_request: must be from 0 to 67108864, got -1"},
		{`{"leak_bytes_per_request":100000000000}`, "leak_bytes_per_request: must be"},
		{`{"slowdown":-1}`, "slowdown: must be from 0 to 1000, got -1"},
		{`{"rollouts":[{"after":"1m"}]}`, "rollouts[0]: release is required"},
		{`{"rollouts":[{"after":"2m","release":"a"},{"after":"1m","release":"b"}]}`, "rollouts[1]: must come after"},
		{`{"delay":"-1s"}`, "delay: must be from 0 to 1h0m0s, got -1s"},
		{`{"token_lifetime":"-1s"}`, "token_lifetime: must not be negative, got -1s"},
		{`{"stock":-1}`, "stock: must be from 0 to 1000000000, got -1"},
		{`{"restock_every":"-1m"}`, "restock_every: must not be negative, got -1m"},
		{`{"stall_for":"1s"}`, "stall_for: must be shorter than stall_every, got 1s every 0s"},
	} {
		s := New(Knobs{Release: "v1"}, 1)
		code, body := call(s, "POST", "/knobs", c.text)
		if code != 400 || !strings.Contains(body, c.want) {
			t.Errorf("POST /knobs %s = %d %s, want 400 with %q", c.text, code, body, c.want)
		}
		if diff := cmp.Diff(Knobs{Release: "v1"}, s.Knobs()); diff != "" {
			t.Errorf("POST /knobs %s was refused and still turned:\n%s", c.text, diff)
		}
	}
}

func TestDefaultKnobsAreValid(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
}
