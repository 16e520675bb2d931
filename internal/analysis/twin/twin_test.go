package twin

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/analysis/analysistest"
	"github.com/perfd/perfd/internal/hist"
	"github.com/perfd/perfd/internal/load"
)

var (
	_ analysis.Analysis = (*Analysis)(nil)
	_ analysis.Twinned  = (*Analysis)(nil)
)

// An env is a scenario with a twin in an environment that both sides share: a random walk that stays within ±30 %, and
// for each side a noise of its own, which is a first-order autoregression.
type env struct {
	r      *rand.Rand
	rate   float64 // requests a second
	sigma  float64 // of the logarithm of one latency
	walk   float64 // standard deviation of a step of the common walk, a window
	common float64
	own    float64 // standard deviation of the noise of each side's own
	rho    float64 // of that noise, from window to window
	noise  [2]float64
	errors [2]float64
	factor [2]float64 // of the latencies of each side
	tail   [2]float64 // of those of the slowest tenth
	now    time.Time
	rel    [2]string
}

func newEnv(seed uint64) *env {
	r := rand.New(rand.NewPCG(analysistest.Seed()+seed, 77))
	return &env{
		r: r, rate: 8 + 12*r.Float64(), sigma: 0.3 + 0.4*r.Float64(), walk: 0.01 + 0.02*r.Float64(), own: 0.02 * r.Float64(), rho: 0.5 * r.Float64(),
		factor: [2]float64{1, 1}, tail: [2]float64{1, 1}, now: analysistest.Zero, rel: [2]string{"v1", "v1"},
	}
}

const windowLength = 10 * time.Second

// next feeds the windows of both sides. Steps are of equal parts of the load.
func (e *env) next(a *Analysis, steps ...string) {
	e.common += e.walk * e.r.NormFloat64()
	if limit := math.Log(1.3); math.Abs(e.common) > limit {
		e.common = math.Copysign(2*limit, e.common) - e.common
	}
	begin := e.now
	e.now = begin.Add(windowLength)
	for side, name := range []string{"shop", analysis.BaselineName("shop", "stable")} {
		e.noise[side] = e.rho*e.noise[side] + math.Sqrt(1-e.rho*e.rho)*e.own*e.r.NormFloat64()
		level := 0.05 * e.factor[side] * math.Exp(e.common+e.noise[side])
		window := func(step string, n int) *load.Window {
			w := &load.Window{
				Scenario: name, Step: step, Start: begin, End: e.now, Duration: new(hist.Histogram), ResponseTime: new(hist.Histogram),
				Circumstances: load.Circumstances{Run: "r1", Release: e.rel[side]},
			}
			for range n {
				w.Requests++
				if e.r.Float64() < e.errors[side] {
					w.Failures[load.Status]++
					continue
				}
				d := level * math.Exp(e.sigma*e.r.NormFloat64())
				if e.r.Float64() < 0.1 {
					d *= 2 * e.tail[side]
				}
				w.Duration.Record(int64(d * 1e9))
			}
			return w
		}
		feed := a.Window
		if side == baseline {
			feed = a.Baseline
		}
		n := int(e.rate * windowLength.Seconds())
		whole := &load.Window{Scenario: name, Start: begin, End: e.now, Duration: new(hist.Histogram), Circumstances: load.Circumstances{Run: "r1", Release: e.rel[side]}, Iterations: &load.Iterations{}}
		if len(steps) == 0 {
			whole = window("", n)
		}
		for _, step := range steps {
			w := window(step, n/len(steps))
			whole.Requests += w.Requests
			whole.Failures[load.Status] += w.Failures[load.Status]
			whole.Duration.Merge(w.Duration)
			feed(w)
		}
		feed(whole)
	}
}

func newAnalysis(steps ...string) *Analysis {
	a := New()
	a.Configure(&analysis.Description{Scenarios: []analysis.Scenario{{
		Name: "shop", Target: "shop", Steps: steps, Twin: &analysis.Twin{Name: analysis.BaselineName("shop", "stable"), Target: "stable", Margin: 0.05},
	}}})
	a.Event(load.Event{Kind: load.RunBegan, Scenario: "shop", Run: "r1", At: analysistest.Zero, Observer: "o"})
	return a
}

// state judges at the end of what was fed.
func (e *env) state(a *Analysis) (state, load.Finding) {
	f := a.Judge(e.now)[0]
	return a.scenarios[0].state, f
}

// seeds is how many simulations there are of each kind.
func seeds() uint64 {
	if testing.Short() {
		return 2
	}
	return 20
}

func TestASlowerReleaseIsToldFromItsTwin(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		after time.Duration // that the release comes; 0 is from the beginning
		named bool          // somebody says which release runs
	}{
		{"from the beginning", 0, true}, {"with a release", 37 * time.Minute, true}, {"without a word of a release", 51 * time.Minute, false},
	} {
		called, slowest := 0, time.Duration(0)
		for seed := range seeds() {
			e, a := newEnv(1000+seed), newAnalysis()
			slow := func() {
				e.factor[own] = 1.1
				if c.named {
					e.rel[own] = "v2"
				}
			}
			for begin := e.now; ; {
				if c.after == 0 || e.now.Sub(begin) >= c.after {
					slow()
				}
				e.next(a)
				took := e.now.Sub(begin) - c.after
				is, f := e.state(a)
				if is == release && took <= 0 {
					t.Errorf("%s, seed %d: called before the release: %s", c.name, seed, f.Sentence)
				}
				if is == release {
					called++
					slowest = max(slowest, took)
					if f.Verdict != load.Fail || c.named && (f.Release != "v2" || f.Baseline != "v1" || !strings.Contains(f.Sentence, "v2")) {
						t.Errorf("%s, seed %d: %+v", c.name, seed, f)
					}
					if seed == 0 {
						t.Log(f.Sentence)
					}
					break
				}
				if took >= 15*time.Minute {
					t.Logf("%s, seed %d: not called: rate %.1f sigma %.2f own %.3f rho %.2f: %s", c.name, seed, e.rate, e.sigma, e.own, e.rho, f.Sentence)
					break
				}
			}
		}
		t.Logf("%s: %d of %d called within 15 minutes, the last after %v", c.name, called, seeds(), slowest)
		if uint64(called) != seeds() {
			t.Errorf("%s: %d of %d releases that are 10 %% slower are called within 15 minutes, want all", c.name, called, seeds())
		}
	}
}

func TestEqualTwinsAndTheirEnvironmentAreNotCalled(t *testing.T) {
	t.Parallel()
	span := 2 * time.Hour
	if testing.Short() {
		span = time.Hour
	}
	for _, c := range []struct {
		name  string
		event func(e *env, since time.Duration)
	}{
		{"equal twins", func(*env, time.Duration) {}},
		{"an environment that gets slower at once", func(e *env, since time.Duration) {
			if since >= time.Hour {
				e.factor = [2]float64{1.4, 1.4}
			}
		}},
		{"an environment that gets slower and slower", func(e *env, since time.Duration) {
			f := 1 + since.Hours()/10
			e.factor = [2]float64{f, f}
		}},
		{"noises of their own that last", func(e *env, _ time.Duration) { e.own, e.rho = 0.02, 0.9 }},
	} {
		calls, other := 0, 0
		for seed := range seeds() {
			e, a := newEnv(2000+seed), newAnalysis()
			was, env := unknown, false
			for begin := e.now; e.now.Sub(begin) < span; {
				c.event(e, e.now.Sub(begin))
				e.next(a)
				is, f := e.state(a)
				if is != was && is == release {
					calls++
					t.Logf("%s, seed %d, after %v: %s", c.name, seed, e.now.Sub(begin), f.Sentence)
				}
				if is != was && is == noise {
					other++
				}
				env = env || is == environment
				was = is
			}
			if seed == 0 {
				t.Logf("%s: at the end %s; environment said: %v", c.name, was, env)
			}
		}
		t.Logf("%s: %d calls of the release and %d of the baseline in %d times %v", c.name, calls, other, seeds(), span)
		if calls+other > 0 {
			t.Errorf("%s: %d calls, want none", c.name, calls+other)
		}
	}
}

// Noise that lasts is seen in what came before, and a change of level in it is not taken for such noise.
func TestHowLongDifferencesLast(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(analysistest.Seed()+1, 91))
	for _, c := range []struct {
		name        string
		rho, step   float64
		n           int
		least, most float64
	}{
		{"independent", 0, 0, 720, 1, 1.6},
		{"independent, about a change of level", 0, 0.3, 720, 1, 1.6},
		{"lasting", 0.9, 0, 720, 10, 40}, // (1+0.9)/(1-0.9) is 19
		{"too few", 0.9, 0, 80, 1, 1},
	} {
		var values []value
		x := 0.0
		for i := range c.n {
			x = c.rho*x + math.Sqrt(1-c.rho*c.rho)*r.NormFloat64()
			v := value{}
			v.level[own][0] = float32(0.02 * x)
			if i > c.n/2 {
				v.level[own][0] += float32(c.step)
			}
			values = append(values, v)
		}
		if got := lasting(0, values); got < c.least || got > c.most {
			t.Errorf("%s: differences last for %.2f values, want %v to %v", c.name, got, c.least, c.most)
		}
	}
}

func TestTheBaselineAloneIsNoise(t *testing.T) {
	t.Parallel()
	e, a := newEnv(5), newAnalysis()
	e.factor[baseline] = 1.2
	for range 120 {
		e.next(a)
	}
	if is, f := e.state(a); is != noise || f.Verdict != load.Pass || !strings.Contains(f.Sentence, "only the baseline of shop is worse") {
		t.Errorf("%s: %s", is, f.Sentence)
	}
}

func TestAStepAndErrorsAreNamed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name            string
		change          func(e *env)
		step, statistic string
	}{
		{"errors", func(e *env) { e.errors = [2]float64{0.03, 0.005} }, "", errorRatio},
		{"the tail", func(e *env) { e.rate, e.tail[own] = 60, 2 }, "", p95},
	} {
		e, a := newEnv(11), newAnalysis()
		c.change(e)
		for range 120 {
			e.next(a)
		}
		is, f := e.state(a)
		t.Log(f.Sentence)
		if is != release || f.Step != c.step || f.Statistic != c.statistic {
			t.Errorf("%s: %s, %+v", c.name, is, f)
		}
	}
	// One slow step of three, or a metric of the scenario's own.
	for _, metrics := range [][]string{nil, {"buy"}} {
		is, f := oneOfThree(metrics)
		t.Log(f.Sentence)
		step, metric, name := "buy", "", "shop/buy "
		if metrics != nil {
			step, metric, name = "", "buy", "buy of shop "
		}
		if is != release || f.Step != step || f.Metric != metric || !strings.Contains(f.Sentence, name) {
			t.Errorf("%s, %+v", is, f)
		}
	}
}

// oneOfThree is what is called where one of three steps, or metrics, is slow.
func oneOfThree(metrics []string) (state, load.Finding) {
	e, a := newEnv(12), newAnalysis("list", "show", "buy")
	a.Configure(&analysis.Description{Scenarios: []analysis.Scenario{{
		Name: "shop", Target: "shop", Steps: []string{"list", "show", "buy"}, Metrics: metrics,
		Twin: &analysis.Twin{Name: analysis.BaselineName("shop", "stable"), Target: "stable", Margin: 0.05},
	}}})
	e.rate = 45
	for range 120 {
		begin := e.now
		e.next(a, "list", "show")
		// The third step is fed here: it is slow on the scenario's own side alone.
		for side, name := range []string{"shop", analysis.BaselineName("shop", "stable")} {
			w := &load.Window{Scenario: name, Step: "buy", Start: begin, End: e.now, Duration: new(hist.Histogram), Circumstances: load.Circumstances{Run: "r1", Release: e.rel[side]}}
			for range 150 {
				w.Requests++
				w.Duration.Record(int64(5e7 * (1 + 0.5*float64(1-side)) * math.Exp(0.3*e.r.NormFloat64())))
			}
			if side == own {
				a.Window(w)
			} else {
				a.Baseline(w)
			}
		}
	}
	return e.state(a)
}

// A call ends when a better release comes, or the difference has gone.
func TestACallEnds(t *testing.T) {
	t.Parallel()
	e, a := newEnv(21), newAnalysis()
	feed := func(n int) (state, load.Finding) {
		for range n {
			e.next(a)
			e.state(a)
		}
		return e.state(a)
	}
	e.rel[own], e.factor[own] = "v2", 1.3
	if is, f := feed(90); is != release || f.Release != "v2" {
		t.Fatalf("%s: %s", is, f.Sentence)
	}
	e.factor[own] = 1
	if is, f := feed(180); is == release {
		t.Errorf("still called half an hour after it has gone: %s", f.Sentence)
	}
	e.factor[own] = 1.3
	if is, _ := feed(90); is != release {
		t.Errorf("%s when it is back", is)
	}
	e.rel[own], e.factor[own] = "v3", 1
	if is, f := feed(7); is == release || f.Release != "v3" {
		t.Errorf("%s of %s a minute after the next release: %s", is, f.Release, f.Sentence)
	}
	// Nothing is known where the baseline is silent.
	e.now = e.now.Add(time.Hour)
	if f := a.Judge(e.now)[0]; f.Verdict != load.Inconclusive || f.Needed == "" {
		t.Errorf("an hour without windows: %+v", f)
	}
}

// A run is judged once, at its end.
func TestARunIsJudged(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		factor  float64
		windows int
		want    load.Verdict
	}{{1.25, 30, load.Fail}, {1, 180, load.Pass}, {1, 3, load.Inconclusive}} {
		e, a := newEnv(31), newAnalysis()
		e.rate, e.factor[own] = 40, c.factor
		for range c.windows {
			e.next(a)
		}
		f := a.Run(load.Event{Kind: load.RunEnded, Scenario: "shop", Run: "r1", At: e.now}, e.now)
		if len(f) != 1 || f[0].Verdict != c.want || f[0].Sentence == "" {
			t.Errorf("%v over %d windows: %+v", c.factor, c.windows, f)
		}
		t.Log(f[0].Sentence)
	}
}

// Excluded windows, windows without their like and those between runs are not compared.
func TestWhatIsNotCompared(t *testing.T) {
	t.Parallel()
	e, a := newEnv(41), newAnalysis()
	e.factor[own] = 2
	for i := range 120 {
		begin, end := e.now, e.now.Add(windowLength)
		e.now = end
		for side, name := range []string{"shop", analysis.BaselineName("shop", "stable")} {
			w := &load.Window{Scenario: name, Start: begin, End: end, Requests: 100, Duration: new(hist.Histogram), Circumstances: load.Circumstances{Run: "r1"}}
			for range 100 {
				w.Duration.Record(int64(1+side) * 1e7)
			}
			switch i % 4 {
			case 0:
				w.Flags.WarmUp = side == own
			case 1:
				w.Flags.Settling = side == baseline
			case 2:
				w.Run = ""
			case 3:
				w.Start = begin.Add(time.Duration(side) * time.Second)
			}
			if side == own {
				a.Window(w)
			} else {
				a.Baseline(w)
			}
		}
	}
	if n := len(a.scenarios[0].whole().fine); n != 0 {
		t.Errorf("%d pairs are compared, want none", n)
	}
	if n := len(a.scenarios[0].waiting); n > 40 {
		t.Errorf("%d windows wait for the other side's, for ever", n)
	}
}
