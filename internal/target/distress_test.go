package target

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/load"
)

var (
	good    = load.Result{Code: 200}
	timeout = load.Result{Cause: load.Timeout}
)

func observe(d *Distress, r load.Result, n int) {
	for range n {
		d.Observe(&r)
	}
}

func TestDistress(t *testing.T) {
	type span struct{ good, bad int } // results in ten seconds
	times := func(n int, s span) (out []span) {
		for range n {
			out = append(out, s)
		}
		return out
	}
	join := func(parts ...[]span) (out []span) {
		for _, p := range parts {
			out = append(out, p...)
		}
		return out
	}
	full := func(n int) (out []float64) {
		for range n {
			out = append(out, 1)
		}
		return out
	}
	for _, c := range []struct {
		name  string
		b     BackOff
		spans []span
		want  []float64 // share after each span
	}{
		{"good answers change nothing", DefaultBackOff(), times(5, span{100, 0}), full(5)},
		{"fewer than half bad change nothing", DefaultBackOff(), times(20, span{51, 49}), full(20)},
		{
			"half bad for two minutes halve the load every ten seconds, to the floor", DefaultBackOff(),
			times(17, span{50, 50}), append(full(11), 0.5, 0.25, 0.125, 0.1, 0.1, 0.1),
		},
		{"too few results change nothing", DefaultBackOff(), times(20, span{0, 19}), full(20)},
		{
			"one good span begins the two minutes anew", DefaultBackOff(),
			join(times(11, span{0, 100}), times(1, span{100, 0}), times(12, span{0, 100})), append(full(23), 0.5),
		},
		{
			"spans without results change nothing", DefaultBackOff(),
			join(times(6, span{0, 100}), times(3, span{}), times(4, span{0, 100})),
			append(full(11), 0.5, 0.25),
		},
		{
			"recovery doubles the load",
			BackOff{Enabled: true, Floor: 0.1},
			join(times(4, span{0, 100}), times(5, span{100, 0})),
			[]float64{0.5, 0.25, 0.125, 0.1, 0.2, 0.4, 0.8, 1, 1},
		},
		{
			"a smaller share needs fewer results",
			BackOff{Enabled: true, Floor: 0.1},
			[]span{{0, 20}, {0, 10}, {0, 5}, {0, 3}, {2, 0}, {4, 0}, {3, 4}, {7, 0}, {8, 0}},
			[]float64{0.5, 0.25, 0.125, 0.1, 0.2, 0.4, 0.4, 0.4, 0.8},
		},
		{
			"a relapse takes load away at once",
			BackOff{Enabled: true, After: block.Duration(20 * time.Second), Floor: 0.1},
			join(times(3, span{0, 100}), times(1, span{100, 0}), times(3, span{0, 100})),
			[]float64{1, 0.5, 0.25, 0.5, 0.25, 0.125, 0.1},
		},
		{"switched off it changes nothing", BackOff{Floor: 0.1}, times(5, span{0, 100}), full(5)},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := NewDistress(c.b)
			now := time.Now()
			d.Look(now)
			var got []float64
			for _, s := range c.spans {
				observe(d, good, s.good)
				observe(d, timeout, s.bad)
				// Looks within a span judge nothing.
				for range 4 {
					now = now.Add(2500 * time.Millisecond)
					d.Look(now)
				}
				got = append(got, d.Share())
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("shares (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSymptoms(t *testing.T) {
	for _, c := range []struct {
		r                      load.Result
		distressed, unanswered bool
	}{
		{load.Result{Code: 200}, false, false},
		{load.Result{Cause: load.Status, Code: 500}, false, false},
		{load.Result{Cause: load.Status, Code: 429}, true, false},
		{load.Result{Cause: load.Expect, Code: 503}, true, false},
		{load.Result{Code: 503}, true, false}, // expected by the step, and still a sign
		{load.Result{Cause: load.Timeout}, true, true},
		{load.Result{Cause: load.Timeout, Code: 200}, true, false},
		{load.Result{Cause: load.Refused}, true, true},
		{load.Result{Cause: load.Unreachable}, true, true},
		{load.Result{Cause: load.Reset}, true, true},
		{load.Result{Cause: load.Closed}, true, true},
		{load.Result{Cause: load.Overload}, true, true},
		{load.Result{Cause: load.DNS}, false, true},
		{load.Result{Cause: load.TLS}, false, true},
		{load.Result{Cause: load.Partial}, false, false},
		{load.Result{Cause: load.Extract, Code: 200}, false, false},
	} {
		distressed, unanswered := symptoms(&c.r)
		if distressed != c.distressed || unanswered != c.unanswered {
			t.Errorf("symptoms(cause %s, code %d) = %v, %v, want %v, %v", c.r.Cause, c.r.Code, distressed, unanswered, c.distressed, c.unanswered)
		}
	}
}

func TestUp(t *testing.T) {
	d := NewDistress(DefaultBackOff())
	now := time.Now()
	d.Look(now)
	for i, c := range []struct {
		results []load.Result
		want    bool
	}{
		{nil, true},
		{[]load.Result{timeout, {Cause: load.DNS}, {Cause: load.Refused}}, false},
		{nil, false},
		{[]load.Result{{Cause: load.Canceled}}, false},
		{[]load.Result{timeout, {Cause: load.Status, Code: 500}}, true},
		{nil, true},
	} {
		for _, r := range c.results {
			observe(d, r, 1)
		}
		now = now.Add(judgeEvery)
		d.Look(now)
		if got := d.Up(); got != c.want {
			t.Errorf("Up after span %d = %v, want %v", i, got, c.want)
		}
	}
}

func TestAdmitThinsEvenly(t *testing.T) {
	for _, share := range []float64{1, 0.5, 0.25, 0.125, 0.1, 0.3} {
		d := NewDistress(DefaultBackOff())
		d.setShare(share)
		admitted, apart, widest := 0, 0, 0
		const n = 10_000
		for range n {
			apart++
			if d.Admit() {
				admitted++
				widest = max(widest, apart)
				apart = 0
			}
		}
		if want := int(share * n); admitted < want || admitted > want+1 {
			t.Errorf("at a share of %v %d of %d were admitted, want %d", share, admitted, n, want)
		}
		if most := int(1/share + 1); widest > most {
			t.Errorf("at a share of %v two that were admitted are %d apart, want at most %d", share, widest, most)
		}
	}
}

func BenchmarkObserve(b *testing.B) {
	d := NewDistress(DefaultBackOff())
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		r := good
		for p.Next() {
			d.Observe(&r)
		}
	})
}

func TestBackOffConfig(t *testing.T) {
	for _, c := range []struct {
		text string
		want string // the block, or what is wrong
	}{
		{"{}", "{true 2m 0.1}"},
		{"{enabled: false}", "{false 2m 0.1}"},
		{"{after: 30s, floor: 0.5}", "{true 30s 0.5}"},
		{"{floor: 0}", "x.yaml:1:9: floor: must be more than 0 and at most 1, got 0\n\thint: some load must go on, or a recovery is never seen"},
		{"{floor: 1.5}", "x.yaml:1:9: floor: must be more than 0 and at most 1, got 1.5\n\thint: some load must go on, or a recovery is never seen"},
		{"{after: 30}", "x.yaml:1:9: after: a duration needs a unit, got 30\n\thint: write \"30s\", \"30ms\" or \"30m\""},
	} {
		var b BackOff
		got := decode(t, c.text, &b)
		if got == "" {
			got = fmt.Sprint(b)
		}
		if got != c.want {
			t.Errorf("back_off: %s = %s\nwant %s", c.text, got, c.want)
		}
	}
}

// decode decodes YAML and returns what is wrong with it.
func decode(t *testing.T, text string, into any) string {
	t.Helper()
	var errs block.Errors
	n := block.Parse("x.yaml", []byte(text), &errs)
	if n != nil {
		block.Decode(n, into, &errs)
	}
	if err := errs.Err(); err != nil {
		return err.Error()
	}
	return ""
}
