package pace

import (
	"testing"
	"time"
)

func TestStartOver(t *testing.T) {
	for _, c := range []struct {
		text string
		n    int
		want time.Duration
	}{
		{"{executor: constant-vus, vus: 100}", 100, 0},
		{"{executor: constant-vus, vus: 10000}", 10000, 10 * time.Second},
		{"{executor: constant-vus, vus: 10000, start_over: 0s}", 10000, 0},
		{"{executor: constant-vus, vus: 5, start_over: 30s}", 5, 30 * time.Second},
		{"{executor: shared-iterations, vus: 500, iterations: 500}", 500, 500 * time.Millisecond},
		{"{executor: per-vu-iterations, vus: 500, start_over: 5s}", 500, 5 * time.Second},
		{"{executor: ramping-vus, stages: [{duration: 0s, target: 2000}, {duration: 1h, target: 2000}]}", 1999, 1999 * time.Millisecond},
		{"{executor: externally-controlled, vus: 1, max_vus: 2000}", 1999, 1999 * time.Millisecond},
		{"{executor: constant-arrival-rate, rate: 10/s, max_vus: 2000}", 2000, 0},
	} {
		if got := config(t, c.text).StartOver(c.n); got != c.want {
			t.Errorf("%s: %d begin over %v, want %v", c.text, c.n, got, c.want)
		}
	}
}
