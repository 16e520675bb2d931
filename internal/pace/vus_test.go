package pace

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A step is a change of the number of VUs.
type step struct {
	At  time.Duration
	VUs int
}

// steps follows a closed plan from change to change.
func steps(p Plan, until time.Duration) []step {
	out := []step{{0, p.At(0).VUs}}
	for t := p.At(0).Until; t < until; t = p.At(t).Until {
		if l := p.At(t); l.VUs != out[len(out)-1].VUs {
			out = append(out, step{t, l.VUs})
		}
	}
	return out
}

// Computed by hand after k6's rule: VU number i of a ramp over n VUs and d comes, or goes, at i·d/n.
func TestVUs(t *testing.T) {
	const s = time.Second
	for _, tt := range []struct {
		name, workload string
		until          time.Duration
		want           []step
	}{
		{
			"constant VUs without duration",
			"{executor: constant-vus, vus: 10}", 1000 * time.Hour,
			[]step{{0, 10}},
		},
		{
			"constant VUs are 1 by default, and end",
			"{executor: constant-vus, duration: 5s}", Forever,
			[]step{{0, 1}, {5 * s, 0}},
		},
		{
			"a ramp up",
			"{executor: ramping-vus, start_vus: 0, stages: [{duration: 4s, target: 2}]}", Forever,
			[]step{{0, 0}, {2 * s, 1}, {4 * s, 0}}, // the second comes with the end
		},
		{
			"a ramp up that holds",
			"{executor: ramping-vus, stages: [{duration: 4s, target: 5}, {duration: 1s, target: 5}]}", Forever,
			[]step{{0, 1}, {1 * s, 2}, {2 * s, 3}, {3 * s, 4}, {4 * s, 5}, {5 * s, 0}},
		},
		{
			"a ramp down",
			"{executor: ramping-vus, start_vus: 3, stages: [{duration: 3s, target: 1}, {duration: 1s, target: 1}]}", Forever,
			[]step{{0, 3}, {1500 * time.Millisecond, 2}, {3 * s, 1}, {4 * s, 0}},
		},
		{
			"steps that are no whole nanoseconds are rounded up",
			"{executor: ramping-vus, start_vus: 0, stages: [{duration: 1s, target: 3}, {duration: 1s, target: 3}]}", Forever,
			[]step{{0, 0}, {333333334, 1}, {666666667, 2}, {1 * s, 3}, {2 * s, 0}},
		},
		{
			"an instant jump",
			"{executor: ramping-vus, start_vus: 2, stages: [{duration: 1s, target: 2}, {duration: 0s, target: 100}, {duration: 1s, target: 100}, {duration: 0s, target: 0}, {duration: 1s, target: 0}]}", 3 * s,
			[]step{{0, 2}, {1 * s, 100}, {2 * s, 0}},
		},
		{
			"a lap continues from the last target, start_vus is used once",
			"{executor: ramping-vus, start_vus: 0, stages: [{duration: 2s, target: 2}, {duration: 2s, target: 4}], repeat: {from: 0, times: 1}}", Forever,
			[]step{{0, 0}, {1 * s, 1}, {2 * s, 2}, {3 * s, 3}, {4 * s, 4}, {5 * s, 3}, {6 * s, 2}, {7 * s, 3}, {8 * s, 0}},
		},
		{
			"a lap from a later stage",
			"{executor: ramping-vus, start_vus: 9, stages: [{duration: 10s, target: 9}, {duration: 0s, target: 1}, {duration: 1s, target: 2}, {duration: 1s, target: 1}], repeat: {from: 2}}", 16 * s,
			[]step{{0, 9}, {10 * s, 1}, {11 * s, 2}, {12 * s, 1}, {13 * s, 2}, {14 * s, 1}, {15 * s, 2}},
		},
		{
			"stairs at once",
			"{executor: ramping-vus, stairs: {from: 2, step: 3, levels: 3, hold: 10s}}", Forever,
			[]step{{0, 2}, {10 * s, 5}, {20 * s, 8}, {30 * s, 0}},
		},
		{
			"stairs with ways between",
			"{executor: ramping-vus, start_vus: 7, stairs: {from: 0, step: 2, levels: 2, hold: 10s, climb: 4s}}", Forever,
			[]step{{0, 0}, {12 * s, 1}, {14 * s, 2}, {24 * s, 0}},
		},
		{
			"a spike",
			"{executor: ramping-vus, spike: {base: 1, peak: 5, before: 10s, surge: 4s, hold: 60s, drop: 2s, recover: 8s}}", Forever,
			[]step{{0, 1}, {11 * s, 2}, {12 * s, 3}, {13 * s, 4}, {14 * s, 5}, {74500 * time.Millisecond, 4}, {75 * s, 3}, {75500 * time.Millisecond, 2}, {76 * s, 1}, {84 * s, 0}},
		},
		{
			"a spike at once, again and again",
			"{executor: ramping-vus, spike: {base: 1, peak: 5, hold: 60s, recover: 9m}, repeat: {}}", 20 * time.Minute,
			[]step{{0, 5}, {60 * s, 1}, {10 * time.Minute, 5}, {11 * time.Minute, 1}},
		},
		{
			"a ramp that holds",
			"{executor: ramping-vus, start_vus: 0, ramp_and_hold: {target: 2, ramp: 4s, hold: 20s, ramp_down: 2s}}", Forever,
			[]step{{0, 0}, {2 * s, 1}, {4 * s, 2}, {25 * s, 1}, {26 * s, 0}},
		},
		{
			"shared iterations", "{executor: shared-iterations, vus: 3, iterations: 10, max_duration: 5s}", Forever,
			[]step{{0, 3}, {5 * s, 0}},
		},
		{
			"iterations of each", "{executor: per-vu-iterations}", Forever,
			[]step{{0, 1}, {10 * time.Minute, 0}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := New(config(t, tt.workload), "shop")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, steps(p, tt.until)); diff != "" {
				t.Errorf("VUs of %s (-want +got):\n%s", tt.workload, diff)
			}
		})
	}
}

func TestShare(t *testing.T) {
	for _, tt := range []struct {
		total, of int
		want      []int
	}{
		{10, 1, []int{10}},
		{10, 3, []int{4, 3, 3}},
		{2, 4, []int{1, 1, 0, 0}},
		{0, 2, []int{0, 0}},
	} {
		var got []int
		for i := range tt.of {
			got = append(got, Share(tt.total, i, tt.of))
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("Share(%d, …, %d) (-want +got):\n%s", tt.total, tt.of, diff)
		}
	}
}
