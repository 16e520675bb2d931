package regression

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/analysis/analysistest"
	conf "github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/load"
)

var _ analysis.Analysis = (*Analysis)(nil)

// A rig feeds an analysis one scenario on the shop, as the daemon does.
type rig struct {
	t    testing.TB
	a    *Analysis
	load analysistest.Load
	slow map[string]float64 // factor on the latencies of a step
	run  int
}

// newRig returns a rig whose latencies are log-normal with a deviation of a half,
// at five requests per second and step, in an always-on run of v1.0.0.
func newRig(t testing.TB, seed uint64) *rig {
	r := &rig{t: t, a: New(), slow: map[string]float64{}, load: analysistest.Load{
		Scenario: "shop-soak", Target: "shop", Steps: []string{"login", "list", "checkout"},
		Rate: 5, Median: 46 * time.Millisecond, Sigma: 0.5, Rand: rand.New(rand.NewPCG(seed, 1)), Now: analysistest.Zero,
	}}
	r.a.configure([]Scenario{{Name: "shop-soak", Target: "shop", Steps: r.load.Steps, Test: "endurance"}})
	r.load.Circumstances.Release = "v1.0.0"
	r.begin("a")
	return r
}

func (r *rig) begin(observer string) {
	r.run++
	r.load.Circumstances.Run = fmt.Sprint("r", r.run)
	r.a.Event(r.event(load.RunBegan, observer))
}

func (r *rig) end() load.Event {
	e := r.event(load.RunEnded, "a")
	e.Result = "pass"
	r.a.Event(e)
	return e
}

func (r *rig) event(kind load.EventKind, observer string) load.Event {
	return load.Event{
		At: r.load.Now, Kind: kind, Scenario: "shop-soak", Run: r.load.Circumstances.Run, Target: "shop", Targets: []string{"shop"},
		Release: r.load.Circumstances.Release, Observer: observer,
	}
}

// release cuts the run, as a release does.
func (r *rig) release(name string) load.Event {
	e := r.end()
	previous := r.load.Circumstances.Release
	r.load.Circumstances.Release = name
	r.a.Event(load.Event{At: r.load.Now, Kind: load.ReleaseChanged, Target: "shop", Release: name, Previous: previous, Settled: r.load.Now.Add(30 * time.Second)})
	r.begin("a")
	return e
}

// next feeds the windows of ten seconds or so.
func (r *rig) next() {
	for _, w := range r.step() {
		r.a.Window(w)
	}
}

// step makes the windows of the next interval; steps that are slow are drawn on their own.
func (r *rig) step() []*load.Window {
	if len(r.slow) == 0 {
		return r.load.Next()
	}
	now, all, median := r.load.Now, r.load.Steps, r.load.Median
	var out []*load.Window
	var own *load.Window
	for _, step := range all {
		r.load.Now, r.load.Steps, r.load.Median = now, []string{step}, median
		if f := r.slow[step]; f > 0 {
			r.load.Median = time.Duration(f * float64(median))
		}
		ws := r.load.Next()
		out = append(out, ws[0])
		if own == nil {
			own = ws[1]
			continue
		}
		own.Requests += ws[1].Requests
		own.Failures[load.Status] += ws[1].Failures[load.Status]
		own.Duration.Merge(ws[1].Duration)
	}
	r.load.Steps, r.load.Median = all, median
	return append(out, own)
}

func (r *rig) feed(d time.Duration) {
	for end := r.load.Now.Add(d); r.load.Now.Before(end); {
		r.next()
	}
}

// until feeds until a finding fails, and returns how long that took.
func (r *rig) until(most time.Duration) (time.Duration, []load.Finding) {
	start := r.load.Now
	for r.load.Now.Sub(start) < most {
		r.next()
		if f := r.failing(); len(f) > 0 {
			return r.load.Now.Sub(start), f
		}
	}
	return most, nil
}

func (r *rig) judge() []load.Finding { return r.a.Judge(r.load.Now) }

func (r *rig) failing() []load.Finding {
	var out []load.Finding
	for _, f := range r.judge() {
		if f.Verdict == load.Fail {
			out = append(out, f)
		}
	}
	return out
}

func TestIntervalsAreAsLongAsTheConfigurationSays(t *testing.T) {
	for _, c := range []struct {
		block any
		want  time.Duration
	}{
		{Kind.Block(), time.Minute},
		{&Config{Margin: DefaultMargin, Interval: conf.Duration(20 * time.Second)}, 20 * time.Second},
		{nil, time.Minute},
	} {
		r := newRig(t, 1)
		r.load.Rate = 20
		r.a.Configure(&analysis.Description{Scenarios: []analysis.Scenario{{
			Name: "shop-soak", Target: "shop", Steps: r.load.Steps, Blocks: map[string]any{Kind.Name: c.block},
		}}})
		r.feed(4 * time.Minute)
		for _, b := range r.a.scenarios["shop-soak"].own().current().blocks {
			if got := time.Duration(b.end - b.start); got != c.want {
				t.Errorf("%+v: an interval takes %v, want %v", c.block, got, c.want)
			}
		}
	}
}

// tries returns how often a simulation is repeated.
func tries(full, short int) int {
	if testing.Short() || race {
		return short
	}
	return full
}

// one returns the only finding, of a kind and verdict.
func one(t *testing.T, fs []load.Finding, kind load.Kind, v load.Verdict) load.Finding {
	t.Helper()
	if len(fs) != 1 || fs[0].Kind != kind || fs[0].Verdict != v {
		t.Fatalf("findings %s, want one %s that is %s", texts(fs), kind, v)
	}
	return fs[0]
}

func texts(fs []load.Finding) string {
	var b strings.Builder
	for _, f := range fs {
		fmt.Fprintf(&b, "\n\t%s %s %q: %s | doubts %q, needed %q", f.Kind, f.Verdict, f.Step, f.Sentence, f.Doubts, f.Needed)
	}
	return b.String()
}

// slower makes all steps of the shop slower by a factor.
func (r *rig) slower(by float64) { r.load.Median = time.Duration(by * float64(r.load.Median)) }

// regressed returns a rig on v1.1.0, which is 15 % slower than v1.0.0, and what it says.
func regressed(t *testing.T, seed uint64) (*rig, load.Finding) {
	t.Helper()
	r := newRig(t, seed)
	r.feed(time.Hour)
	r.release("v1.1.0")
	r.slower(1.15)
	_, f := r.until(time.Hour)
	return r, one(t, f, load.KindRegression, load.Fail)
}

func TestASlowerReleaseIsOneFindingOfTheScenario(t *testing.T) {
	r, f := regressed(t, 1)
	if f.Step != "" || f.Scenario != "shop-soak" || f.Target != "shop" || f.Release != "v1.1.0" || f.Baseline != "v1.0.0" || f.Unit != "ratio" || f.Limit != DefaultMargin {
		t.Errorf("finding %+v, want one of the scenario as a whole on v1.1.0", f)
	}
	if f.Value < 0.08 || f.Value > 0.22 || f.Lower <= 0 || f.Lower >= f.Value || f.Upper <= f.Value {
		t.Errorf("change %v in %v to %v, want about 0.15, proven", f.Value, f.Lower, f.Upper)
	}
	for _, want := range []string{" of shop-soak is 1", " % slower since v1.1.0 than in v1.0.0: ", " ms to ", " ms (95 % interval +", " intervals of 1m at 1"} {
		if !strings.Contains(f.Sentence, want) {
			t.Errorf("sentence %q lacks %q", f.Sentence, want)
		}
	}
	// It stays one finding, under its ID, as evidence grows.
	for range 6 {
		r.feed(20 * time.Minute)
		if g := one(t, r.judge(), load.KindRegression, load.Fail); g.ID != f.ID || g.Since != f.Since {
			t.Fatalf("finding %q since %v, want %q since %v", g.ID, g.Since, f.ID, f.Since)
		}
	}
	f = r.judge()[0]
	named := 0
	for _, e := range f.Evidence {
		for _, step := range r.load.Steps {
			if strings.HasSuffix(e.Name, " of "+step) {
				named++
			}
		}
	}
	if named != 3 {
		t.Errorf("evidence %+v names %d steps, want 3", f.Evidence, named)
	}
}

func TestASlowerStepIsItsOwnFinding(t *testing.T) {
	r := newRig(t, 2)
	r.feed(time.Hour)
	r.release("v1.1.0")
	r.slow["login"] = 1.25
	_, fs := r.until(time.Hour)
	if f := one(t, fs, load.KindRegression, load.Fail); f.Step != "login" || !strings.Contains(f.Sentence, "shop-soak/login") {
		t.Errorf("finding of step %q: %s, want login's", f.Step, f.Sentence)
	}
	r.feed(2 * time.Hour)
	if f := one(t, r.judge(), load.KindRegression, load.Fail); f.Step != "login" {
		t.Errorf("later of step %q, want login's", f.Step)
	}
}

func TestTheFirstReleaseIsComparedWithNothing(t *testing.T) {
	r := newRig(t, 3)
	if fs := r.judge(); len(fs) != 0 {
		t.Errorf("before anything: %s", texts(fs))
	}
	r.feed(30 * time.Minute)
	f := one(t, r.judge(), load.KindRegression, load.Inconclusive)
	if !strings.Contains(f.Sentence, "v1.0.0 is the first release") || f.Needed == "" {
		t.Errorf("%s, needed %q: want that there is nothing to compare with", f.Sentence, f.Needed)
	}
	if e := r.end(); r.a.Run(e, e.At) != nil {
		t.Errorf("its run says %s, want nothing", texts(r.a.Run(e, e.At)))
	}
}

func TestARunSaysHowItsReleaseCompares(t *testing.T) {
	r, f := regressed(t, 4)
	e := r.release("v1.2.0")
	r.feed(5 * time.Minute)
	if g := one(t, r.a.Run(e, r.load.Now), load.KindRegression, load.Fail); g.Run != e.Run || g.ID != f.ID {
		t.Errorf("run %q of finding %q, want %q of %q", g.Run, g.ID, e.Run, f.ID)
	}
	if r.a.Run(load.Event{Scenario: "unknown"}, r.load.Now) != nil {
		t.Error("a run of an unknown scenario says something")
	}
	q := newRig(t, 4)
	q.feed(2 * time.Hour)
	q.release("v1.1.0")
	q.feed(5 * time.Minute)
	early := one(t, q.judge(), load.KindRegression, load.Inconclusive)
	if !strings.Contains(early.Needed, "more intervals, about ") {
		t.Errorf("needed %q, want how long until the first look", early.Needed)
	}
	q.feed(5 * time.Hour)
	e = q.end()
	if g := one(t, q.a.Run(e, q.load.Now), load.KindRegression, load.Pass); !strings.Contains(g.Sentence, "no worse than v1.0.0") {
		t.Errorf("%s, want no worse", g.Sentence)
	}
}

// A run that has an end is not cut by a release: what is worse since one that came within it is said of it, too.
func TestARunSaysWhatCameWithinIt(t *testing.T) {
	r := newRig(t, 4)
	r.feed(time.Hour)
	e := r.event(load.RunEnded, "a") // of the release with which it began
	r.load.Circumstances.Release = "v1.1.0"
	r.a.Event(load.Event{At: r.load.Now, Kind: load.ReleaseChanged, Target: "shop", Release: "v1.1.0", Previous: "v1.0.0", Settled: r.load.Now.Add(30 * time.Second)})
	r.slower(1.15)
	_, fs := r.until(time.Hour)
	f := one(t, fs, load.KindRegression, load.Fail)
	e.At = r.load.Now
	r.a.Event(e)
	if g := one(t, r.a.Run(e, r.load.Now), load.KindRegression, load.Fail); g.Run != e.Run || g.ID != f.ID || g.Release != "v1.1.0" {
		t.Errorf("run %q of %+v, want %q of %q", g.Run, g, e.Run, f.ID)
	}
	e.Run = "another"
	if fs := r.a.Run(e, r.load.Now); len(fs) != 0 {
		t.Errorf("a run that ended before the release says %s", texts(fs))
	}
}

// What is found of a metric of the scenario's own is about no step.
func TestAMetricIsNoStep(t *testing.T) {
	r := newRig(t, 2)
	r.a.configure([]Scenario{{Name: "shop-soak", Target: "shop", Steps: r.load.Steps, Metrics: []string{"login"}, Test: "endurance"}})
	r.feed(time.Hour)
	r.release("v1.1.0")
	r.slow["login"] = 1.25
	_, fs := r.until(time.Hour)
	f := one(t, fs, load.KindRegression, load.Fail)
	if f.Step != "" || f.Metric != "login" || !strings.Contains(f.Sentence, " of login of shop-soak is ") || strings.Contains(f.Sentence, "shop-soak/") {
		t.Errorf("finding of step %q, metric %q: %s", f.Step, f.Metric, f.Sentence)
	}
	if len(r.a.Explain(&f)) == 0 {
		t.Error("nothing explains it")
	}
}

func TestALaterReleaseMendsIt(t *testing.T) {
	r, f := regressed(t, 5)
	r.feed(time.Hour)
	r.release("v1.2.0")
	r.feed(5 * time.Minute)
	if g := one(t, r.judge(), load.KindRegression, load.Fail); !strings.Contains(g.Sentence, "v1.2.0 is not compared yet") {
		t.Errorf("%s, want that v1.2.0 is not compared yet", g.Sentence)
	}
	r.feed(time.Hour)
	if g := one(t, r.judge(), load.KindRegression, load.Fail); g.ID != f.ID || g.Release != "v1.1.0" || !strings.Contains(g.Sentence, "v1.2.0 did not mend it") {
		t.Errorf("%s, want that v1.2.0 did not mend it", g.Sentence)
	}
	r.release("v1.3.0")
	r.slower(1 / 1.15)
	r.feed(15 * time.Minute)
	one(t, r.judge(), load.KindRegression, load.Fail) // not proven yet
	r.feed(4 * time.Hour)
	if fs := r.failing(); len(fs) != 0 {
		t.Fatalf("mended, and still %s", texts(fs))
	}
	// The baseline is v1.3.0 now.
	r.release("v1.4.0")
	r.slower(1.2)
	_, fs := r.until(time.Hour)
	if g := one(t, fs, load.KindRegression, load.Fail); g.Baseline != "v1.3.0" || g.Release != "v1.4.0" {
		t.Errorf("%s, want v1.4.0 against v1.3.0", g.Sentence)
	}
}

// Steps whose regression is their scenario's are mended with it: none is news when the scenario recovers.
func TestStepsAreMendedWithTheirScenario(t *testing.T) {
	for seed := range uint64(tries(20, 5)) {
		r := newRig(t, 70+seed)
		r.feed(time.Hour)
		r.release("v1.1.0")
		r.slower(1.5)
		r.feed(time.Hour)
		known := map[string]bool{}
		for _, f := range r.failing() {
			known[f.ID] = true
		}
		r.release("v1.2.0")
		r.slower(1 / 1.5)
		mending := false
		for range 6 * 120 {
			r.next()
			for _, g := range r.failing() {
				if !known[g.ID] {
					t.Fatalf("seed %d: mended, and found: %s", seed, g.Sentence)
				}
				if strings.Contains(g.Sentence, " is -") {
					t.Fatalf("seed %d: faster and slower at once: %s", seed, g.Sentence)
				}
				mending = mending || strings.Contains(g.Sentence, "it is not proven yet that v1.2.0 mends it")
			}
		}
		if fs := r.failing(); len(fs) != 0 || !mending {
			t.Errorf("seed %d: after two hours %s; said that it may be mended: %t", seed, texts(fs), mending)
		}
	}
}

// Steps that were found before their scenario was are findings of their own, and no longer than it when they no longer
// look worse; of a later release they are what their own proof says.
func TestStepsFoundFirstAreMendedWithTheirScenario(t *testing.T) {
	mended := 0
	for seed := range uint64(tries(20, 5)) {
		r := newRig(t, 470+seed)
		r.feed(time.Hour)
		r.release("v1.1.0")
		r.slower(1.5)
		r.feed(time.Hour)
		s := r.a.scenarios["shop-soak"]
		s.extents[load.KindRegression] = apart
		r.release("v1.2.0")
		r.slower(1 / 1.5)
		for range 6 * 120 {
			if r.next(); s.own().confirmed != nil {
				continue
			}
			for _, g := range r.failing() {
				if float64(g.Value) < DefaultMargin {
					t.Fatalf("seed %d: the scenario is mended, and still %s", seed, g.Sentence)
				}
			}
			mended++
		}
		r.release("v1.3.0")
		r.slow["login"] = 1.5
		_, fs := r.until(time.Hour)
		if f := one(t, fs, load.KindRegression, load.Fail); f.Step != "login" || f.Release != "v1.3.0" {
			t.Errorf("seed %d: %s, want that login is slower since v1.3.0", seed, f.Sentence)
		}
	}
	if mended == 0 {
		t.Error("no scenario was mended")
	}
}

// A regression that was mended says nothing of one that the same release brings when it comes back.
func TestAReleaseThatComesBackIsProvenAnew(t *testing.T) {
	at := analysistest.Zero
	p := newPair("")
	p.mended.release, p.mended.at = "v1.1.0", at.Add(time.Hour)
	for want, st := range map[bool]*confirmed{true: {release: "v1.1.0", at: at}, false: {release: "v1.1.0", at: at.Add(2 * time.Hour)}} {
		if p.outlived(st) != want || p.outlived(&confirmed{release: "v1.2.0", at: st.at}) {
			t.Errorf("a regression by v1.1.0 from %v on is mended with the scenario's: %t, want %t", st.at, !want, want)
		}
	}
}

func TestRollingBackMendsIt(t *testing.T) {
	r, _ := regressed(t, 6)
	r.release("v1.0.0")
	r.slower(1 / 1.15)
	r.feed(4 * time.Hour)
	if fs := r.failing(); len(fs) != 0 {
		t.Fatalf("rolled back, and still %s", texts(fs))
	}
}

func TestTheSameReleaseCanMend(t *testing.T) {
	r, f := regressed(t, 7)
	r.feed(time.Hour)
	r.slower(1 / 1.15)
	r.feed(4 * time.Hour)
	if fs := r.failing(); len(fs) != 0 {
		t.Fatalf("mended, and still %s", texts(fs))
	}
	r.load.Window = 10 * time.Minute
	r.feed(36 * time.Hour) // what begins on the first day may be the day's course
	r.slower(1.3)
	r.feed(12 * time.Hour)
	if g := one(t, r.failing(), load.KindChange, load.Fail); g.ID == f.ID {
		t.Errorf("worse again within the release: %s", g.Sentence)
	}
}

func TestAnAcceptedLevelIsTheBaseline(t *testing.T) {
	for _, early := range []bool{false, true} {
		_, f := regressed(t, 28)
		r := newRig(t, 28)
		r.feed(time.Hour)
		r.release("v1.1.0")
		r.slower(1.15)
		if early { // as history says it, if a coarser one finds it later
			r.feed(5 * time.Minute)
			r.a.Event(load.Event{At: r.load.Now, Kind: load.FindingTaken, Finding: f.ID})
		}
		r.feed(30 * time.Minute)
		if !early {
			one(t, r.failing(), load.KindRegression, load.Fail)
			r.a.Event(load.Event{At: r.load.Now, Kind: load.FindingTaken, Finding: f.ID})
		}
		g := one(t, r.judge(), load.KindRegression, load.Inconclusive)
		if !strings.Contains(g.Sentence, "v1.1.0") || !strings.Contains(g.Sentence, "accepted") {
			t.Errorf("%s, want that the level of v1.1.0 was accepted", g.Sentence)
		}
		r.feed(2 * time.Hour)
		if fs := r.failing(); len(fs) != 0 {
			t.Errorf("accepted, and still %s", texts(fs))
		}
		r.release("v1.2.0")
		r.feed(2 * time.Hour)
		if fs := r.judge(); len(fs) != 1 || fs[0].Verdict == load.Fail || fs[0].Baseline != "v1.1.0" {
			t.Errorf("%s, want v1.2.0 compared with v1.1.0 and no worse", texts(fs))
		}
	}
}

func TestAnAcceptedStepLeavesTheOthers(t *testing.T) {
	r := newRig(t, 9)
	r.feed(time.Hour)
	r.release("v1.1.0")
	r.slow["login"], r.slow["list"] = 1.3, 1.3
	r.feed(30 * time.Minute)
	fs := r.failing()
	if len(fs) != 2 || fs[0].Step != "login" || fs[1].Step != "list" {
		t.Fatalf("findings %s, want login and list", texts(fs))
	}
	r.a.Event(load.Event{At: r.load.Now, Kind: load.FindingTaken, Finding: fs[0].ID})
	r.feed(time.Hour)
	if f := one(t, r.failing(), load.KindRegression, load.Fail); f.Step != "list" {
		t.Errorf("finding of %q, want list's", f.Step)
	}
}

func TestAnotherObserverIsNoRegression(t *testing.T) {
	r := newRig(t, 10)
	r.feed(time.Hour)
	r.end()
	r.load.Circumstances.Release = "v1.1.0"
	r.begin("b")
	r.slower(1.5)
	r.feed(2 * time.Hour)
	f := one(t, r.judge(), load.KindRegression, load.Inconclusive)
	if !strings.Contains(f.Sentence, "the observer changed") || len(f.Doubts) != 1 {
		t.Errorf("%s, doubts %q: want that the observer changed", f.Sentence, f.Doubts)
	}
	// What it measured is a baseline for its own.
	e := r.end()
	if g := one(t, r.a.Run(e, e.At), load.KindRegression, load.Inconclusive); g.ID != f.ID {
		t.Errorf("its run says %q, want %q", g.Sentence, f.Sentence)
	}
	r.load.Circumstances.Release = "v1.2.0"
	r.begin("b")
	r.slower(1.2)
	_, fs := r.until(time.Hour)
	if f := one(t, fs, load.KindRegression, load.Fail); f.Baseline != "v1.1.0" {
		t.Errorf("%s, want v1.2.0 against v1.1.0", f.Sentence)
	}
}

func TestWhatDoesNotCountDoesNotCount(t *testing.T) {
	r := newRig(t, 11)
	r.feed(time.Hour)
	r.release("v1.1.0")
	r.feed(30 * time.Second)
	for i, flags := range []load.Flags{{WarmUp: true}, {Paused: true}, {Disturbed: true}, {BackedOff: true}, {Settling: true}, {Invalid: 1}} {
		r.load.Circumstances.Flags = flags
		r.slower(3)
		r.feed(20 * time.Minute)
		r.slower(1.0 / 3)
		r.load.Circumstances.Flags = load.Flags{}
		r.feed(time.Duration(5+i) * time.Minute)
		if fs := r.failing(); len(fs) != 0 {
			t.Fatalf("windows with %+v count: %s", flags, texts(fs))
		}
	}
}

func TestOnlyEqualLoadsAreCompared(t *testing.T) {
	r := newRig(t, 12)
	r.feed(time.Hour)
	r.release("v1.1.0")
	r.load.Rate = 10
	r.slower(1.3)
	r.feed(2 * time.Hour)
	f := one(t, r.judge(), load.KindRegression, load.Inconclusive)
	if len(f.Doubts) != 1 || !strings.Contains(f.Doubts[0], "load") {
		t.Errorf("%s, doubts %q: want that the load was never equal", f.Sentence, f.Doubts)
	}
}

func TestFailuresAndRates(t *testing.T) {
	r := newRig(t, 13)
	r.feed(time.Hour)
	r.release("v1.1.0")
	r.load.ErrorRatio = 0.01
	r.feed(time.Hour)
	f := one(t, r.failing(), load.KindRegression, load.Fail)
	if f.Statistic != errorRatio || !strings.Contains(f.Sentence, "error ratio of shop-soak is ") || f.Value < 0.005 || f.Value > 0.015 || f.Limit != load.Number(thresholds.Errors) {
		t.Errorf("%+v, want an error ratio of 1 %%", f)
	}

	q := newRig(t, 14)
	q.load.Circumstances.Planned = 50 // iterations in ten seconds
	q.feed(time.Hour)
	q.release("v1.1.0")
	q.load.Rate = 4
	q.feed(time.Hour)
	f = one(t, q.failing(), load.KindRegression, load.Fail)
	if f.Statistic != rate || !strings.Contains(f.Sentence, "rate of shop-soak is ") || !strings.Contains(f.Sentence, " lower since v1.1.0") || f.Upper >= 0 || f.Limit != -DefaultMargin {
		t.Errorf("%+v, want a rate that is 20 %% lower", f)
	}
}

// runs feeds runs of ten minutes each hour, each with its own luck of deviation sd.
func (r *rig) runs(n int, sd float64) (e load.Event) {
	median := r.load.Median
	for range n {
		r.begin("a")
		r.slower(1 + sd*r.load.Rand.NormFloat64())
		r.feed(10 * time.Minute)
		r.load.Median = median
		e = r.end()
		r.load.Now = r.load.Now.Add(50 * time.Minute)
	}
	return e
}

func TestScheduledRunsAreComparedByRuns(t *testing.T) {
	alarms, found := 0, 0
	n := tries(30, 5)
	for seed := range uint64(n) {
		r := newRig(t, 200+seed)
		r.end()
		r.runs(8, 0.02)
		r.load.Circumstances.Release = "v1.1.0"
		e := r.runs(4, 0.02)
		fs := r.a.Run(e, r.load.Now)
		if len(fs) > 0 && fs[0].Verdict == load.Fail {
			alarms++
		} else if len(fs) != 1 || !strings.Contains(fs[0].Needed, "more runs") && fs[0].Verdict != load.Pass {
			t.Errorf("run says %s, want what more runs would settle", texts(fs))
		}
		r.load.Circumstances.Release = "v1.2.0"
		r.slower(1.15)
		e = r.runs(4, 0.02)
		if fs := r.a.Run(e, r.load.Now); len(fs) > 0 && fs[0].Verdict == load.Fail && strings.Contains(fs[0].Sentence, " runs") {
			found++
		}
	}
	if alarms > 1 || found < n-1 {
		t.Errorf("of %d series of runs %d alarms, %d found, want 0 and all", n, alarms, found)
	}
}

func TestSlowWavesAreNoRegression(t *testing.T) {
	// Latencies wander by 4 % with a memory of a quarter of an hour: minutes resemble each other.
	alarms := 0
	n := tries(16, 4)
	for seed := range uint64(n) {
		r := newRig(t, 300+seed)
		r.load.Window = 30 * time.Second
		wave := 0.0
		feed := func(d time.Duration) {
			for end := r.load.Now.Add(d); r.load.Now.Before(end); {
				wave = 0.967*wave + 0.04*0.2548*r.load.Rand.NormFloat64()
				median := r.load.Median
				r.slower(1 + wave)
				r.next()
				r.load.Median = median
				if len(r.failing()) > 0 {
					return
				}
			}
		}
		feed(4 * time.Hour)
		r.release("v1.1.0")
		feed(6 * time.Hour)
		if len(r.failing()) > 0 {
			alarms++
		}
	}
	if alarms > n/10 {
		t.Errorf("%d alarms of %d, want %d at most", alarms, n, n/10)
	}
}

func TestHistoryIsJudgedAsThePresentIs(t *testing.T) {
	live, f := regressed(t, 15)
	live.feed(time.Hour)
	want := one(t, live.judge(), load.KindRegression, load.Fail)
	// The same windows, judged once, at the end.
	r := newRig(t, 15)
	r.feed(time.Hour)
	r.release("v1.1.0")
	r.slower(1.15)
	r.feed(live.load.Now.Sub(r.load.Now))
	if got := one(t, r.judge(), load.KindRegression, load.Fail); got.ID != f.ID || got.Sentence != want.Sentence {
		t.Errorf("judged once: %s, want %s", got.Sentence, want.Sentence)
	}
	// Windows of a minute give the same finding.
	q := newRig(t, 15)
	q.load.Window = time.Minute
	q.feed(time.Hour)
	q.release("v1.1.0")
	q.slower(1.15)
	q.feed(time.Hour)
	if got := one(t, q.judge(), load.KindRegression, load.Fail); got.ID != f.ID {
		t.Errorf("from windows of a minute: %q, want %q", got.ID, f.ID)
	}
}

func TestWhatIsKeptIsBounded(t *testing.T) {
	r := newRig(t, 16)
	r.load.Window, r.load.Rate = time.Minute, 2
	for i := range tries(12, 8) {
		r.feed(time.Duration(tries(15, 2)) * time.Hour)
		r.release(fmt.Sprint("v", i))
	}
	s := r.a.scenarios["shop-soak"]
	for _, p := range s.pairs {
		blocks := 0
		for _, st := range p.deployments {
			blocks += len(st.blocks) + len(st.tails) + len(st.runs)
		}
		if len(p.deployments) > keptDeployments+1 || blocks > 4*keptBlocks+keptDeployments*(2*keptBefore+keptRuns) || len(p.points) > keptPoints {
			t.Errorf("%q keeps %d deployments, %d blocks, %d points", p.step, len(p.deployments), blocks, len(p.points))
		}
	}
	if len(s.said) > keptStatements {
		t.Errorf("%d statements", len(s.said))
	}
}

func TestConfigureKeepsWhatStays(t *testing.T) {
	r, f := regressed(t, 17)
	r.a.configure([]Scenario{{Name: "other"}, {Name: "shop-soak", Target: "shop", Steps: append(r.load.Steps, "pay")}})
	if g := one(t, r.judge(), load.KindRegression, load.Fail); g.ID != f.ID {
		t.Errorf("after a reload %q, want %q", g.ID, f.ID)
	}
	r.a.configure(nil)
	if fs := r.judge(); len(fs) != 0 {
		t.Errorf("without scenarios: %s", texts(fs))
	}
}
