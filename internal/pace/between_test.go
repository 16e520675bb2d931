package pace

import (
	"math"
	"testing"
	"time"
)

// The integral and the peak of a time agree with those computed by hand, whether or not levels are sampled.
func TestBetween(t *testing.T) {
	for _, tt := range []struct {
		workload   string
		from, to   time.Duration
		area, peak float64
		within     float64 // relative
	}{
		{"{executor: constant-arrival-rate, rate: 10/s, max_vus: 1}", 0, time.Hour, 36000, 10, 0},
		{"{executor: constant-arrival-rate, rate: 10/s, duration: 1m, max_vus: 1}", 30 * time.Second, time.Hour, 300, 10, 0},
		{"{executor: ramping-arrival-rate, max_vus: 1, stages: [{duration: 10s, target: 100/s}, {duration: 10s, target: 0/s}]}", 0, 20 * time.Second, 1000, 100, 1e-6},
		{"{executor: ramping-arrival-rate, max_vus: 1, stages: [{duration: 10s, target: 100/s}]}", 2 * time.Second, 4 * time.Second, 60, 40, 1e-6},
		{"{executor: constant-vus, vus: 7}", time.Minute, 2 * time.Minute, 420, 7, 0},
		{"{executor: ramping-vus, start_vus: 0, stages: [{duration: 10s, target: 10}, {duration: 10s, target: 0}]}", 0, 20 * time.Second, 45 + 55, 10, 1e-6}, // 0 to 9, then 10 to 1
		{"{executor: ramping-vus, sine: {low: 0, high: 1000, period: 1m}}", 0, 24 * time.Hour, 500 * 86400, 1000, 2e-2},
	} {
		p, err := New(config(t, tt.workload), "shop")
		if err != nil {
			t.Fatal(err)
		}
		area, peak := Between(p, tt.from, tt.to)
		if math.Abs(area-tt.area) > max(tt.within, 1e-9)*tt.area || math.Abs(peak-tt.peak) > max(tt.within, 1e-9)*tt.peak {
			t.Errorf("%s from %v to %v: %v and at most %v, want %v and %v", tt.workload, tt.from, tt.to, area, peak, tt.area, tt.peak)
		}
	}
	p := openPlan(t, "{executor: constant-arrival-rate, rate: 10/s, max_vus: 1}")
	if area, peak := Between(p, time.Hour, time.Hour); area != 0 || peak != 0 {
		t.Errorf("no time has %v and %v", area, peak)
	}
}
