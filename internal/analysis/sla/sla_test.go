package sla

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/analysis/analysistest"
	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/hist"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
	"github.com/perfd/perfd/internal/objective"
)

const ms = time.Millisecond

// clauseOf compiles an objective of the scenario shop, named as what it says.
func clauseOf(t *testing.T, step, that string) objective.Objective {
	t.Helper()
	var errs block.Errors
	var c objective.Config
	block.Decode(block.Parse("x.yaml", fmt.Appendf(nil, "{name: %q, that: %q}", that, that), &errs), &c, &errs)
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	return c.Compile(objective.Place{Scenario: "shop", Step: step, Target: "web", PerIteration: 1})
}

// A rig is a judge of the scenario shop and its load: 20 requests per second of login.
type rig struct {
	*Judge
	*analysistest.Load
}

func newRig(objectives ...objective.Objective) *rig {
	r := &rig{New(Options{}), &analysistest.Load{
		Scenario: "shop", Target: "web", Steps: []string{"login"}, Rate: 20, Median: 100 * ms, Sigma: 0.3, Limits: []time.Duration{500 * ms},
		Circumstances: load.Circumstances{Run: "r1", Release: "v1"},
	}}
	r.Configure(&analysis.Description{Scenarios: []analysis.Scenario{{Name: "shop", Test: "endurance", Model: "open", Objectives: objectives}}})
	return r
}

// feed feeds the windows of a span, changed by what is given.
func (r *rig) feed(span time.Duration, change ...func([]*load.Window)) {
	n := int(span / (10 * time.Second))
	for range n {
		windows := r.Next()
		for _, c := range change {
			c(windows)
		}
		for _, w := range windows {
			r.Window(w)
		}
	}
}

func (r *rig) one(t *testing.T) load.Finding {
	t.Helper()
	found := r.Judge.Judge(r.Now)
	if len(found) != 1 {
		t.Fatalf("%d findings, want 1", len(found))
	}
	return found[0]
}

// series collects the metrics by name and labels.
func (r *rig) series() map[string]float64 {
	all := map[string]float64{}
	r.Collect(func(d *metric.Desc, v float64, labels ...string) {
		if len(labels) != len(d.Labels) {
			panic(d.Name + ": labels do not fit")
		}
		all[d.Name+"{"+strings.Join(labels, ",")+"}"] = v
	})
	return all
}

// The sentences of objectives on metrics of the scenario's own name the metric, and count its events or values.
func TestWordsOfOwnMetrics(t *testing.T) {
	for _, c := range []struct {
		o    objective.Objective
		want string
	}{
		{objective.Objective{That: "login_success > 99%", Kind: objective.MetricRatio, Limit: 0.99, Unit: objective.Ratio}, "login_success of shop is under 99%: 10 % of 1,000 events did not hold, 1 % may (95 % interval "},
		{objective.Objective{That: "p(95) of login_success < 2s", Kind: objective.Latency, Quantile: 0.95, Limit: 2, Unit: objective.Seconds, Less: true}, "p95 of login_success of shop is over 2s: 10 % of 1,000 values took longer, 5 % may (95 % interval "},
		{objective.Objective{That: "p(95) of login_success < 20", Kind: objective.Latency, Quantile: 0.95, Limit: 20, Unit: "items", Less: true}, "p95 of login_success of shop is over 20: 10 % of 1,000 values were larger, 5 % may (95 % interval "},
	} {
		c.o.Scenario, c.o.Step, c.o.Metric = "shop", "login_success", true
		w := &clause{Objective: c.o}
		got := w.sentence(tally{events: 1000, bad: 100, value: 0.1}, load.Fail)
		if !strings.HasPrefix(got, c.want) {
			t.Errorf("%q, want %q", got, c.want)
		}
		if f := w.about(&scenario{}, load.Fail, time.Time{}); f.Metric != "login_success" || f.Step != "" {
			t.Errorf("the finding is about step %q and metric %q, want the metric login_success", f.Step, f.Metric)
		}
	}
}

func allFail(windows []*load.Window) {
	for _, w := range windows {
		w.Failures = [load.NumCauses]uint64{load.Status: w.Requests}
		w.ResponseTime, w.Duration = new(hist.Histogram), new(hist.Histogram)
		for i := range w.Good {
			w.Good[i] = 0
		}
		if w.Step != "" {
			w.Codes = []load.CodeCount{{Code: 500, Count: w.Requests}}
		}
	}
}

func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		that    string
		step    string
		change  func(*analysistest.Load)
		verdict load.Verdict
		says    string
	}{
		{"p(95) < 500ms", "login", nil, load.Pass, "p95 of shop/login is within 500ms: 0 % of "},
		{"p(95) < 500ms", "", nil, load.Pass, "p95 of shop is within 500ms: 0 % of "},
		{"p(95) < 500ms", "login", func(l *analysistest.Load) { l.Median = 400 * ms }, load.Fail, "requests took longer or failed, 5 % may (95 % interval "},
		{"error_ratio < 0.1%", "", func(l *analysistest.Load) { l.ErrorRatio = 0.01 }, load.Fail, "error ratio of shop is over 0.1%: "},
		{"availability > 99.9%", "login", func(l *analysistest.Load) { l.ErrorRatio = 0.01 }, load.Fail, "availability of shop/login is under 99.9%: "},
		{"availability > 90%", "login", func(l *analysistest.Load) { l.ErrorRatio = 0.01 }, load.Pass, "availability of shop/login is at least 90%: "},
		{"rate > 30/s", "login", nil, load.Fail, "rate of shop/login is under 30/s: "},
		{"rate > 15/s", "login", nil, load.Pass, "rate of shop/login is at least 15/s: "},
		{"rate > 15/s", "", nil, load.Pass, "rate of shop is at least 15/s: "},
		{"check_ratio > 99%", "", nil, load.Inconclusive, "check ratio of shop: nothing was measured that counts"},
	} {
		r := newRig(clauseOf(t, c.step, c.that))
		if c.change != nil {
			c.change(r.Load)
		}
		r.feed(2 * time.Hour)
		f := r.one(t)
		if f.Verdict != c.verdict || !strings.Contains(f.Sentence, c.says) {
			t.Errorf("%s: %v: %s\nwant %v: …%s…", c.that, f.Verdict, f.Sentence, c.verdict, c.says)
		}
		if c.verdict == load.Inconclusive {
			continue
		}
		if f.Lower > f.Value || f.Value > f.Upper {
			t.Errorf("%s: value %v is outside of its interval %v to %v", c.that, f.Value, f.Lower, f.Upper)
		}
		if got := r.series()["perfd_objective_verdict{shop,"+c.that+","+c.verdict.String()+"}"]; got != 1 {
			t.Errorf("%s: the metric of verdict %v is %v", c.that, c.verdict, got)
		}
	}
}

func TestLatencyValueAndItsInterval(t *testing.T) {
	r := newRig(clauseOf(t, "login", "p(50) < 500ms"))
	r.feed(time.Hour)
	f := r.one(t)
	if math.Abs(float64(f.Value)-0.1) > 0.005 || f.Lower >= f.Value || f.Upper <= f.Value || f.Unit != "seconds" || f.Limit != 0.5 {
		t.Errorf("p50 of latencies with a median of 100ms is %v (%v to %v) %s, limit %v", f.Value, f.Lower, f.Upper, f.Unit, f.Limit)
	}
	r.feed(5*time.Minute, allFail)
	if f = r.one(t); !math.IsInf(float64(f.Value), 1) {
		t.Errorf("p50 of failures is %v, want +Inf", f.Value)
	}
}

func TestEverythingFailingIsFoundWithinAMinute(t *testing.T) {
	for _, that := range []string{"p(95) < 500ms", "p(50) < 500ms", "error_ratio < 0.1%", "error_ratio < 20%", "availability > 99.9%"} {
		for _, before := range []time.Duration{0, 15 * time.Minute, 48 * time.Hour} {
			if testing.Short() && before > time.Hour {
				continue
			}
			t.Run(fmt.Sprint(that, " after ", before), func(t *testing.T) {
				t.Parallel()
				r := newRig(clauseOf(t, "", that))
				r.feed(before)
				r.feed(time.Minute, allFail)
				if f := r.one(t); f.Verdict != load.Fail {
					t.Errorf("%v after a minute of failures only: %s", f.Verdict, f.Sentence)
				}
			})
		}
	}
}

func TestAFewBadSecondsAreNoBreach(t *testing.T) {
	r := newRig(clauseOf(t, "", "error_ratio < 0.1%"))
	r.feed(time.Hour)
	for range 6 {
		r.feed(10*time.Second, allFail)
		if f := r.one(t); f.Verdict == load.Fail {
			t.Fatalf("ten seconds of failures: %s", f.Sentence)
		}
		r.feed(6 * time.Hour)
	}
	if f := r.one(t); f.Verdict == load.Fail {
		t.Errorf("ten seconds of failures in six hours, half of what may be: %s", f.Sentence)
	}
}

func TestRecoveryAndRelapse(t *testing.T) {
	t.Parallel()
	r := newRig(clauseOf(t, "", "error_ratio < 0.1%"))
	before := 3 * 24 * time.Hour
	if testing.Short() || raceDetector {
		before = 12 * time.Hour
	}
	r.feed(before)
	if f := r.one(t); f.Verdict != load.Pass {
		t.Fatalf("at first: %s", f.Sentence)
	}
	r.ErrorRatio = 0.05
	r.feed(5 * time.Minute)
	broken := r.one(t)
	if broken.Verdict != load.Fail {
		t.Fatalf("five minutes of 5 %% errors: %s", broken.Sentence)
	}
	if since := r.Now.Sub(broken.Since); since > 10*time.Minute {
		t.Errorf("the breach began %v ago, want about 5m: %s", since, broken.Sentence)
	}
	r.feed(before / 3)
	r.ErrorRatio = 0
	r.feed(10 * time.Minute)
	if f := r.one(t); f.Verdict != load.Fail {
		t.Errorf("ten minutes after: %v, want the breach to hold until a recovery is proven", f.Verdict)
	}
	r.feed(2 * time.Hour)
	if f := r.one(t); f.Verdict != load.Pass {
		t.Errorf("two hours after: %s", f.Sentence)
	}
}

func TestNoDataIsNoPass(t *testing.T) {
	r := newRig(clauseOf(t, "", "error_ratio < 1%"))
	if f := r.one(t); f.Verdict != load.Inconclusive || f.Needed != "load that counts" {
		t.Errorf("at first: %v, needed %q", f.Verdict, f.Needed)
	}
	r.feed(2 * time.Hour)
	if f := r.one(t); f.Verdict != load.Pass {
		t.Fatalf("after two hours: %s", f.Sentence)
	}
	last := r.Now
	r.Now = r.Now.Add(time.Hour)
	f := r.one(t)
	want := "error ratio of shop: nothing was measured that counts since " + last.Format("2006-01-02 15:04 MST") + ", and no data is no pass"
	if f.Verdict != load.Inconclusive || f.Sentence != want {
		t.Errorf("an hour of silence: %v: %s\nwant inconclusive: %s", f.Verdict, f.Sentence, want)
	}
	if _, there := r.series()["perfd_objective_value{shop,error_ratio < 1%}"]; there {
		t.Error("there is a value of nothing")
	}
}

func TestStallsAreNeverAFailAndHangsAre(t *testing.T) {
	stalled := func(windows []*load.Window) {
		allFail(windows)
		for _, w := range windows {
			w.Flags.Invalid = 1
		}
	}
	r := newRig(clauseOf(t, "", "error_ratio < 1%"))
	r.feed(2*time.Hour, stalled)
	f := r.one(t)
	if f.Verdict != load.Inconclusive || f.Sentence != "error ratio of shop: nothing was measured that counts (invalid)" {
		t.Errorf("stalled: %v: %s", f.Verdict, f.Sentence)
	}
	series := r.series()
	if n := series["perfd_objective_excluded_total{shop,error_ratio < 1%,invalid}"]; n < 100_000 {
		t.Errorf("%v excluded events, want all of two hours", n)
	}
	if n := series["perfd_objective_events_total{shop,error_ratio < 1%}"]; n != 0 {
		t.Errorf("%v events count, want none", n)
	}

	hangs := func(windows []*load.Window) {
		for _, w := range windows {
			w.Requests, w.ResponseTime, w.Duration = 0, new(hist.Histogram), new(hist.Histogram)
			clear(w.Good)
		}
		windows[len(windows)-1].Iterations.Dropped[load.NoFreeVU] = 200
	}
	for _, that := range []string{"error_ratio < 1%", "p(95) < 500ms", "availability > 99%"} {
		r = newRig(clauseOf(t, "login", that))
		r.feed(time.Hour)
		r.feed(time.Minute, hangs)
		if f = r.one(t); f.Verdict != load.Fail {
			t.Errorf("%s: a target that hangs: %s", that, f.Sentence)
		}
	}
}

func TestExclusion(t *testing.T) {
	for _, c := range []struct {
		flags  load.Flags
		reason string
	}{
		{load.Flags{Paused: true}, "paused"},
		{load.Flags{Invalid: 2}, "invalid"},
		{load.Flags{WarmUp: true}, "warm_up"},
		{load.Flags{Disturbed: true}, "disturbed"},
		{load.Flags{Settling: true}, "settling"},
		{load.Flags{BackedOff: true}, "backoff"},
	} {
		r := newRig(clauseOf(t, "login", "error_ratio < 1%"))
		r.Circumstances.Flags = c.flags
		r.feed(time.Minute)
		for _, reason := range load.ExcludedReasons {
			n, there := r.series()["perfd_objective_excluded_total{shop,error_ratio < 1%,"+reason+"}"]
			if !there || (n > 0) != (reason == c.reason) {
				t.Errorf("flags of %s: %v events excluded as %s", c.reason, n, reason)
			}
		}
	}
}

func TestAReleaseBeginsAnew(t *testing.T) {
	r := newRig(clauseOf(t, "", "error_ratio < 1%"))
	r.ErrorRatio = 0.05
	r.feed(time.Hour)
	before := r.one(t)
	if before.Verdict != load.Fail || before.Release != "v1" {
		t.Fatalf("before: %v of %s", before.Verdict, before.Release)
	}
	r.Event(load.Event{Kind: load.ReleaseChanged, Target: "other", Release: "v2", At: r.Now})
	if f := r.one(t); f.Verdict != load.Fail {
		t.Errorf("another target's release changed the verdict to %v", f.Verdict)
	}
	r.Event(load.Event{Kind: load.ReleaseChanged, Target: "web", Release: "v2", At: r.Now})
	if f := r.one(t); f.Verdict != load.Inconclusive || f.Release != "v2" {
		t.Errorf("with the new release: %v of %s", f.Verdict, f.Release)
	}
	epoch := r.scenarios[0].clauses[0].test.state().ledger.current
	r.Circumstances.Release, r.ErrorRatio = "v2", 0
	r.feed(2 * time.Hour)
	if f := r.one(t); f.Verdict != load.Pass {
		t.Errorf("two hours after: %s", f.Sentence)
	}
	r.Circumstances.Release = "v3"
	r.feed(10 * time.Second)
	if f := r.one(t); f.Verdict != load.Inconclusive || f.Release != "v3" {
		t.Errorf("windows of another release: %v of %s", f.Verdict, f.Release)
	}
	// One epoch for v3, and none for the pass.
	if got := r.scenarios[0].clauses[0].test.state().ledger.current; got != epoch+1 {
		t.Errorf("epoch %d, want %d", got, epoch+1)
	}
}

func TestReload(t *testing.T) {
	kept, changed := clauseOf(t, "", "error_ratio < 1%"), clauseOf(t, "login", "p(95) < 500ms")
	r := newRig(kept, changed)
	r.feed(2 * time.Hour)
	before := r.Judge.Judge(r.Now)
	counted := r.series()
	kept.Severity = objective.Critical
	changed.Quantile = 0.9
	r.Configure(&analysis.Description{Scenarios: []analysis.Scenario{{Name: "shop", Test: "stress", Model: "closed", Objectives: []objective.Objective{kept, changed}}}})
	after := r.Judge.Judge(r.Now)
	if after[0].Verdict != load.Pass || after[0].Sentence != before[0].Sentence {
		t.Errorf("one that says the same: %v: %s\nwant: %s", after[0].Verdict, after[0].Sentence, before[0].Sentence)
	}
	if after[1].Verdict != load.Inconclusive {
		t.Errorf("one that changed: %v", after[1].Verdict)
	}
	for name, n := range r.series() {
		if strings.Contains(name, "_total{") && n < counted[name] {
			t.Errorf("%s went back from %v to %v", name, counted[name], n)
		}
	}
	// Gone and back again: nothing is known, and counters go on.
	r.Configure(&analysis.Description{})
	if found := r.Judge.Judge(r.Now); found != nil {
		t.Errorf("findings of nothing: %v", found)
	}
	r.Configure(&analysis.Description{Scenarios: []analysis.Scenario{{Name: "shop", Objectives: []objective.Objective{kept}}}})
	if n := r.series()["perfd_objective_events_total{shop,error_ratio < 1%}"]; n != counted["perfd_objective_events_total{shop,error_ratio < 1%}"] {
		t.Errorf("%v events after it came back, want %v", n, counted["perfd_objective_events_total{shop,error_ratio < 1%}"])
	}
}

// A reload that changes how many objectives there are changes what evidence must reach, and
// nothing of the evidence, nor of a verdict that was proven before.
func TestReloadWithOtherObjectivesBesideIt(t *testing.T) {
	own := clauseOf(t, "", "error_ratio < 1%")
	beside := func(n int) *analysis.Description {
		d := &analysis.Description{Scenarios: []analysis.Scenario{{Name: "shop", Model: "open", Objectives: []objective.Objective{own}}, {Name: "other"}}}
		for i := range n {
			o := clauseOf(t, "", "error_ratio < 1%")
			o.Scenario, o.Name = "other", fmt.Sprint(i)
			d.Scenarios[1].Objectives = append(d.Scenarios[1].Objectives, o)
		}
		return d
	}
	fails := func(windows []*load.Window) {
		for _, w := range windows {
			w.Failures[load.Status] = w.Requests * 3 / 100
		}
	}
	for name, change := range map[string]func([]*load.Window){"met": func([]*load.Window) {}, "broken": fails} {
		r := newRig(own)
		r.feed(time.Hour, change)
		test := r.scenarios[0].clauses[0].test
		before, evidence := r.one(t), test.tally()
		last := test.state().alpha
		for _, n := range []int{8, 99, 2, 0, 499, 0} {
			r.Configure(beside(n))
			c := r.scenarios[0].clauses[0]
			if c.test != test || c.test.tally() != evidence {
				t.Errorf("%s: beside %d others: the evidence is %+v, want %+v", name, n, c.test.tally(), evidence)
			}
			if want := alphaOf(n + 1); test.state().alpha != want {
				t.Errorf("%s: beside %d others it may spend %v, want %v", name, n, test.state().alpha, want)
			}
			if got := r.Judge.Judge(r.Now)[0]; got.Verdict != before.Verdict || got.Sentence != before.Sentence {
				t.Errorf("%s: beside %d others: %s, want %s", name, n, got.Sentence, before.Sentence)
			}
		}
		if test.state().alpha != last {
			t.Errorf("%s: alone again it may spend %v, want %v", name, test.state().alpha, last)
		}
	}
	// The more there are, the later the same evidence is a breach.
	var took []time.Duration
	for _, n := range []int{0, 8, 499} {
		r := newRig(own)
		r.Configure(beside(n))
		after := time.Duration(0)
		for ; r.Judge.Judge(r.Now)[0].Verdict != load.Fail && after < 2*time.Hour; after += 10 * time.Second {
			r.feed(10*time.Second, fails)
		}
		took = append(took, after)
	}
	if !slices.IsSorted(took) || took[0] == took[2] || took[2] >= time.Hour {
		t.Errorf("one, nine and 500 objectives: broken after %v", took)
	}
}

// What is replayed after a restart leads to the same verdict, evidence and
// budget; counters begin at zero.
func TestRestart(t *testing.T) {
	o := clauseOf(t, "", "error_ratio < 1%")
	a, b := newRig(o), newRig(o)
	b.Judge = New(Options{Replayed: true})
	b.Configure(&analysis.Description{Scenarios: []analysis.Scenario{{Name: "shop", Test: "endurance", Model: "open", Objectives: []objective.Objective{o}}}})
	for _, r := range []*rig{a, b} {
		r.ErrorRatio = 0.002
		r.feed(3 * time.Hour)
	}
	b.Live()
	if diff := cmp.Diff(a.one(t), b.one(t)); diff != "" {
		t.Errorf("findings differ (-before +after):\n%s", diff)
	}
	before, after := a.series(), b.series()
	for name, n := range after {
		switch {
		case strings.Contains(name, "_total{"):
			if n != 0 {
				t.Errorf("%s = %v at the start, want 0", name, n)
			}
		case n != before[name]:
			t.Errorf("%s = %v, want %v", name, n, before[name])
		}
	}
	b.feed(10 * time.Second)
	if n := b.series()["perfd_objective_events_total{shop,error_ratio < 1%}"]; n == 0 {
		t.Error("counters stand still after the replay")
	}
}

func TestDoubtsAndNeeds(t *testing.T) {
	r := newRig(clauseOf(t, "login", "p(95) < 500ms"))
	r.Configure(&analysis.Description{Scenarios: []analysis.Scenario{{Name: "shop", Model: "closed", Objectives: []objective.Objective{clauseOf(t, "login", "p(95) < 500ms")}}}})
	r.feed(10 * time.Second)
	f := r.one(t)
	for _, want := range []string{"closed model: not corrected for coordinated omission", "less than 1 minute of evidence: how bad events cluster is hardly known"} {
		if !slices.Contains(f.Doubts, want) {
			t.Errorf("doubts %q do not hold %q", f.Doubts, want)
		}
	}
	if f.Verdict != load.Inconclusive || f.Needed == "" || !strings.HasSuffix(f.Needed, " more requests, about 2 minutes") {
		t.Errorf("%v, needed %q", f.Verdict, f.Needed)
	}
	// 5 % take longer than e^(1.645·0.3) times the median.
	r = newRig(clauseOf(t, "login", "p(95) < 500ms"))
	r.Median = time.Duration(500 * float64(ms) / math.Exp(1.6449*0.3))
	r.feed(time.Hour)
	if f = r.one(t); f.Verdict != load.Inconclusive || !strings.Contains(f.Needed, "requests") || f.Needed == "" {
		t.Errorf("at the limit: %v, needed %q", f.Verdict, f.Needed)
	}
}

func TestNeedIsAboutRight(t *testing.T) {
	r := newRatio(0.05)
	r.reset(analysistest.Zero)
	for i := range 2 * defaults.FirstLook {
		r.spread.add(float64(3+i%3), 100)
		r.all.intervals++
	}
	r.all.events, r.all.bad = 6000, 240
	if r.usual(true) != load.Inconclusive {
		t.Fatal("it is settled from the start")
	}
	need := r.needed(r.tally())
	for share, want := range map[float64]load.Verdict{0.9: load.Inconclusive, 1: load.Pass} {
		r.all.events, r.all.bad = 6000+share*need, 0.04*(6000+share*need)
		if got := r.usual(true); got != want {
			t.Errorf("with %v of the %v more events: %v, want %v", share, need, got, want)
		}
	}
	if need := r.needed(tally{events: 1000, bad: 50, value: 0.05, effect: 1}); !math.IsInf(need, 1) {
		t.Errorf("exactly at the limit: %v more events, want no end", need)
	}
}

func TestBudgetAndBurnLimits(t *testing.T) {
	r := newRig(clauseOf(t, "", "availability > 90%"), clauseOf(t, "login", "rate > 1/s"), clauseOf(t, "login", "error_ratio < 1%"))
	r.ErrorRatio = 0.02
	r.feed(3 * time.Hour)
	r.Judge.Judge(r.Now)
	series := r.series()
	events, bad := series["perfd_objective_events_total{shop,error_ratio < 1%}"], series["perfd_objective_bad_total{shop,error_ratio < 1%}"]
	want := map[string]float64{
		"perfd_objective_budget_ratio{shop,availability > 90%}":           0.1,
		"perfd_objective_budget_ratio{shop,error_ratio < 1%}":             0.01,
		"perfd_objective_burn_limit_ratio{shop,error_ratio < 1%,1h}":      0.144,
		"perfd_objective_burn_limit_ratio{shop,error_ratio < 1%,5m}":      0.144,
		"perfd_objective_burn_limit_ratio{shop,error_ratio < 1%,30m}":     0.06,
		"perfd_objective_burn_limit_ratio{shop,error_ratio < 1%,6h}":      0.06,
		"perfd_objective_burn_limit_ratio{shop,error_ratio < 1%,3d}":      0.01,
		"perfd_objective_burn_limit_ratio{shop,availability > 90%,30m}":   0.6,
		"perfd_objective_burn_limit_ratio{shop,availability > 90%,6h}":    0.6,
		"perfd_objective_burn_limit_ratio{shop,availability > 90%,3d}":    0.1,
		"perfd_objective_budget_remaining_ratio{shop,error_ratio < 1%}":   1 - bad/events/0.01,
		"perfd_objective_budget_remaining_ratio{shop,availability > 90%}": 1 - bad/events/0.1,
	}
	for name, v := range want {
		if got, there := series[name]; !there || math.Abs(got-v) > 1e-9 {
			t.Errorf("%s = %v, want %v", name, got, v)
		}
	}
	for name := range series {
		if _, wanted := want[name]; !wanted && (strings.Contains(name, "budget") || strings.Contains(name, "burn")) {
			t.Errorf("%s is there", name)
		}
	}
	r.Configure(&analysis.Description{Scenarios: []analysis.Scenario{{Name: "shop", Test: "spike", Objectives: []objective.Objective{clauseOf(t, "login", "error_ratio < 1%")}}}})
	for name := range r.series() {
		if strings.Contains(name, "burn") {
			t.Errorf("a spike test has %s", name)
		}
	}
}

func TestBudgetForgets(t *testing.T) {
	var b budget
	at := analysistest.Zero
	b.add(at, 100, 10)
	if got := b.remaining(0.1, at); got != 0 {
		t.Errorf("remaining %v, want 0", got)
	}
	b.add(at.Add(29*24*time.Hour), 100, 0)
	if got := b.remaining(0.1, at.Add(29*24*time.Hour)); got != 0.5 {
		t.Errorf("after 29 days: %v, want 0.5", got)
	}
	if got := b.remaining(0.1, at.Add(31*24*time.Hour)); got != 1 {
		t.Errorf("after 31 days: %v, want 1", got)
	}
	b.add(at.Add(365*24*time.Hour), 100, 5)
	if got := b.remaining(0.1, at.Add(365*24*time.Hour)); got != 0.5 {
		t.Errorf("after a year: %v, want 0.5", got)
	}
	if got := new(budget).remaining(0.1, at); !math.IsNaN(got) {
		t.Errorf("of nothing: %v, want NaN", got)
	}
}

func TestRun(t *testing.T) {
	for _, c := range []struct {
		name, that string
		errors     float64
		excluded   time.Duration
		verdict    load.Verdict
		says       string
	}{
		{"good", "error_ratio < 1%", 0.001, 0, load.Pass, "error ratio of shop is within 1%: "},
		{"bad", "error_ratio < 1%", 0.05, 0, load.Fail, "error ratio of shop is over 1%: "},
		{"at the limit", "error_ratio < 1%", 0.01, 0, load.Inconclusive, "error ratio of shop is not settled against 1%: "},
		{"mostly excluded", "error_ratio < 1%", 0.05, 15 * time.Minute, load.Inconclusive, "error ratio of shop: 15m of 25m do not count (mostly warm_up)"},
		{"slow", "p(95) < 500ms", 0.2, 0, load.Fail, "p95 of shop is over 500ms: "},
		{"too little", "rate > 30/s", 0, 0, load.Fail, "rate of shop is under 30/s: "},
		{"enough", "rate > 15/s", 0, 0, load.Pass, "rate of shop is at least 15/s: "},
	} {
		r := newRig(clauseOf(t, "", c.that))
		r.feed(time.Hour) // another run
		r.Circumstances.Run, r.ErrorRatio = "r2", c.errors
		r.Circumstances.Flags.WarmUp = true
		r.feed(c.excluded)
		r.Circumstances.Flags.WarmUp = false
		r.feed(10 * time.Minute)
		e := load.Event{Kind: load.RunEnded, Scenario: "shop", Run: "r2", Release: "v1", At: r.Now}
		found := r.Run(e, r.Now)
		if len(found) != 1 {
			t.Fatalf("%d findings, want 1", len(found))
		}
		f := found[0]
		if f.Verdict != c.verdict || !strings.HasPrefix(f.Sentence, c.says) || f.Run != "r2" {
			t.Errorf("%s: %v of %s: %s\nwant %v: %s", c.name, f.Verdict, f.Run, f.Sentence, c.verdict, c.says)
		}
		if f.Verdict == load.Inconclusive && f.Needed == "" {
			t.Errorf("%s: it does not say what is needed", c.name)
		}
		if n := f.Evidence[0]; n.Name != "events" || c.excluded == 0 && (n.Value < 11_000 || n.Value > 13_000) {
			t.Errorf("%s: %v %s, want those of ten minutes", c.name, n.Value, n.Name)
		}
		e.Run = "unknown"
		if f := r.Run(e, r.Now)[0]; f.Verdict != load.Inconclusive {
			t.Errorf("%s: a run without windows: %v", c.name, f.Verdict)
		}
	}
}

// Windows out of history may be hours long.
func TestLongWindows(t *testing.T) {
	r := newRig(clauseOf(t, "", "error_ratio < 1%"))
	r.Load.Window, r.Rate = time.Hour, 1
	r.ErrorRatio = 0.05
	for range 35 {
		for _, w := range r.Next() {
			r.Judge.Window(w)
		}
	}
	if f := r.one(t); f.Verdict != load.Fail {
		t.Errorf("35 hours of 5 %% errors: %s", f.Sentence)
	}
}

// A window of another interval before the scenario's own came is of an interval without one.
func TestIncompleteIntervals(t *testing.T) {
	r := newRig(clauseOf(t, "", "error_ratio < 1%"))
	lost := r.Next()
	r.Window(lost[0])
	r.feed(10 * time.Second)
	if n, m := r.series()["perfd_objective_events_total{shop,error_ratio < 1%}"], float64(r.scenarios[0].clauses[0].recent.over(r.Now).events); n != m || n > 260 {
		t.Errorf("%v events counted, %v in the value: want those of one interval", n, m)
	}
}

func (r *rig) Window(w *load.Window) { r.Judge.Window(w) }

func BenchmarkBeat(b *testing.B) {
	const scenarios = 100
	j := New(Options{})
	var all []analysis.Scenario
	var loads []*analysistest.Load
	for i := range scenarios {
		name := fmt.Sprintf("s%d", i)
		s := analysis.Scenario{Name: name, Model: "open"}
		for _, o := range []objective.Objective{
			{Kind: objective.Latency, Quantile: 0.95, Limit: 0.5, Unit: objective.Seconds, Less: true, That: "p(95) < 500ms"},
			{Kind: objective.Latency, Quantile: 0.99, Limit: 0.5, Unit: objective.Seconds, Less: true, That: "p(99) < 500ms"},
			{Kind: objective.ErrorRatio, Limit: 0.001, Unit: objective.Ratio, Less: true, That: "error_ratio < 0.1%"},
		} {
			o.Scenario, o.Name, o.Step, o.Window = name, o.That, "login", 5*time.Minute
			s.Objectives = append(s.Objectives, o)
		}
		all = append(all, s)
		loads = append(loads, &analysistest.Load{
			Scenario: name, Steps: []string{"login"}, Rate: 5, Median: 100 * ms, Sigma: 0.4, Limits: []time.Duration{500 * ms}, ErrorRatio: 0.001,
			Circumstances: load.Circumstances{Run: "r"},
		})
	}
	j.Configure(&analysis.Description{Scenarios: all})
	var beats [360][]*load.Window
	for i := range beats {
		for _, l := range loads {
			beats[i] = append(beats[i], l.Next()...)
		}
	}
	n, slowest := 0, time.Duration(0)
	for b.Loop() {
		began := time.Now()
		at := analysistest.Zero.Add(time.Duration(n+1) * 10 * time.Second)
		for _, w := range beats[n%len(beats)] {
			w.Start, w.End = at.Add(-10*time.Second), at
			j.Window(w)
		}
		j.Judge(at)
		slowest = max(slowest, time.Since(began))
		n++
	}
	b.ReportMetric(float64(slowest.Microseconds())/1000, "ms/slowest")
}

// What does not count leaves the shown percentile alone, whichever windows it hits: where nothing failed, none is infinite.
func TestExcludedWindowsDoNotMakeAPercentileInfinite(t *testing.T) {
	r := newRig(clauseOf(t, "", "p(95) < 500ms"), clauseOf(t, "login", "p(99) < 500ms"))
	n := 0
	invalid := func(windows []*load.Window) {
		n++
		for _, w := range windows {
			if n*n%7 < 4 {
				w.Flags.Invalid = 1
			}
		}
	}
	for range 200 {
		r.feed(10*time.Second, invalid)
		for _, f := range r.Judge.Judge(r.Now) {
			if v := float64(f.Value); math.IsInf(v, 0) || v > 0.4 {
				t.Fatalf("after %d windows %s is %v, want what requests took", n, f.Objective, v)
			}
		}
	}
}
