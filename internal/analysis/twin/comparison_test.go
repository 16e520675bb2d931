package twin

import (
	"math"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/analysis/analysistest"
	"github.com/perfd/perfd/internal/hist"
	"github.com/perfd/perfd/internal/load"
)

// scatter are ten values with the mean 0 and the standard deviation 1 that do not resemble their neighbours.
var scatter = []float64{0.3, -1.2, 0.9, 1.5, -0.7, -1.1, 0.5, -0.9, 1.3, -0.6}

// pairs returns windows of ten seconds whose own side is above the baseline by each of the differences, in all levels.
func pairs(differences ...float64) (list []value) {
	for i, d := range differences {
		v := value{end: analysistest.Zero.Add(time.Duration(i+1) * windowLength).UnixNano(), length: 10, asked: [2]uint32{100, 100}}
		for l := range levels {
			v.level[own][l] = float32(d)
		}
		list = append(list, v)
	}
	return list
}

func around(mean, deviation float64, times int) (x []float64) {
	for range times {
		for _, z := range scatter {
			x = append(x, mean+deviation*z)
		}
	}
	return x
}

// One window of forty in which one side stalled does not make the sides different.
func TestAStallIsOneValue(t *testing.T) {
	t.Parallel()
	x := around(0, 0.01, 4)
	x[17] = math.Log(100)
	if r := compare(2, pairs(x...), nil, thresholds.FewestFine, 0.05); !r.known || math.Abs(r.change) > 0.01 || !r.inside {
		t.Errorf("%+v, want about no change, within the margin", r)
	}
}

// The environment is worse where both sides are, each beyond the margin.
func TestTheEnvironmentIsBothSides(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		own, baseline float32
		want          int
	}{{0.3, 0.3, 1}, {0.3, 0, 0}, {0, 0.3, 0}, {0, 0, 0}, {-0.3, -0.3, 0}} {
		list := pairs(around(0, 0.01, 30)...)
		for i := range list {
			z := -0.01 * scatter[i%10]
			for l := range levels {
				list[i].level[baseline][l] = float32(z)
				if i >= len(list)-90 {
					list[i].level[own][l] += c.own
					list[i].level[baseline][l] += c.baseline
				}
			}
		}
		r := (&comparison{fine: list}).environment(0, time.Unix(0, list[len(list)-1].end), 0.05)
		if r.beyond != c.want || c.want == 1 && math.Abs(r.change-math.Expm1(0.3)) > 0.02 {
			t.Errorf("own side by %v, baseline by %v: %+v, want %d", c.own, c.baseline, r, c.want)
		}
	}
}

// What perfd disturbed does not count, cancelled requests neither.
func TestTheTallyOfAWindow(t *testing.T) {
	t.Parallel()
	w := &load.Window{
		Requests: 100, Duration: new(hist.Histogram),
		Touched: []load.TouchedCount{{Cause: load.None, Count: 5}, {Cause: load.Status, Count: 2}, {Cause: load.Canceled, Count: 1}},
	}
	w.Failures[load.Status], w.Failures[load.Canceled] = 10, 4
	if got := tallyOf(w); got.asked != 89 || got.failed != 8 {
		t.Errorf("%d asked and %d failed, want 89 and 8", got.asked, got.failed)
	}
}

// A run whose difference is beyond the margin at 95 %, and by chance once in a hundred, is not called: it is compared in
// many statistics.
func TestARunIsCalledByItsLevel(t *testing.T) {
	t.Parallel()
	for deviation, want := range map[float64]load.Verdict{0.27: load.Inconclusive, 0.1: load.Fail} {
		a := newAnalysis()
		c := a.scenarios[0].whole()
		c.fine = pairs(around(0.25, deviation, 1)...)
		end := time.Unix(0, c.fine[9].end)
		if r := compare(0, c.fine, nil, thresholds.FewestOfRun, 0.05); r.beyond != 1 {
			t.Fatalf("deviation %v: not beyond the margin: %+v", deviation, r)
		}
		f := a.Run(load.Event{Kind: load.RunEnded, Scenario: "shop", Run: "r1", At: end}, end)
		if f[0].Verdict != want {
			t.Errorf("deviation %v: %s, want %s: %s", deviation, f[0].Verdict, want, f[0].Sentence)
		}
	}
}

// What another instance of perfd measured is not compared with what this one does.
func TestAnotherObserver(t *testing.T) {
	t.Parallel()
	e, a := newEnv(51), newAnalysis()
	for range 60 {
		e.next(a)
	}
	for _, c := range []struct {
		observer string
		want     bool
	}{{"o", true}, {"p", false}} {
		a.Event(load.Event{Kind: load.RunBegan, Scenario: "shop", Run: "of " + c.observer, At: e.now, Observer: c.observer})
		if got := len(a.scenarios[0].whole().fine) > 0; got != c.want {
			t.Errorf("after a run of observer %s there are pairs: %v, want %v", c.observer, got, c.want)
		}
	}
}
