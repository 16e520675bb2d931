package leak

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/analysis/analysistest"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

// A rig feeds an analysis of one heap with readings and windows.
type rig struct {
	*Analysis
	now  time.Time
	rand *rand.Rand
}

func newRig(limit float64) *rig {
	a := New()
	a.configure([]Target{{Name: "shop", Resources: []Resource{{Name: "heap", Kind: load.ResourceMemory, Limit: limit}}}})
	return &rig{a, analysistest.Zero, rand.New(rand.NewPCG(1, 2))}
}

// feed sends 100 requests per second and readings of level, in MiB after so many seconds.
func (r *rig) feed(d, every time.Duration, level func(s float64) float64) {
	began := r.now
	for end := r.now.Add(d); r.now.Before(end); r.now = r.now.Add(every) {
		v := (level(r.now.Sub(began).Seconds()) + 0.3*r.rand.NormFloat64()) * mib
		r.Sample(sample("heap", r.now, v))
		r.Window(&load.Window{Step: "home", Target: "shop", Start: r.now, End: r.now.Add(every), Requests: uint64(100 * every.Seconds())})
	}
}

func (r *rig) judge(t *testing.T) load.Finding {
	t.Helper()
	found := r.Judge(r.now)
	if len(found) != 1 {
		t.Fatalf("%d findings, want 1: %+v", len(found), found)
	}
	f := found[0]
	if f.Kind != load.KindLeak || f.Target != "shop" || f.Resource != "heap" || f.Sentence == "" || (f.Verdict == load.Inconclusive) != (f.Needed != "") {
		t.Errorf("finding is not whole: %+v", f)
	}
	return f
}

func climbing(base, perHour float64) func(float64) float64 {
	return func(s float64) float64 { return base + perHour*s/3600 }
}

func TestAFastLeakIsFoundInTenMinutes(t *testing.T) {
	for _, every := range []time.Duration{time.Second, 15 * time.Second} {
		r := newRig(0)
		r.feed(11*time.Minute, every, climbing(8, 300))
		if f := r.judge(t); f.Verdict != load.Fail {
			t.Errorf("readings every %s: %s, %s", every, f.Sentence, f.Needed)
		}
	}
}

func TestFewReadingsNeverFail(t *testing.T) {
	r := newRig(0)
	r.feed(30*time.Second*time.Duration(Defaults.MinReadings-1), 30*time.Second, climbing(8, 3000))
	if f := r.judge(t); f.Verdict != load.Inconclusive || !strings.Contains(f.Needed, "20 readings") {
		t.Errorf("%s: %s, needed %s", f.Verdict, f.Sentence, f.Needed)
	}
}

func TestASlightRiseForAShortWhileIsNotCalledALeak(t *testing.T) {
	r := newRig(0)
	r.feed(time.Hour, 15*time.Second, climbing(200, 30))
	if f := r.judge(t); f.Verdict != load.Inconclusive {
		t.Errorf("%s: %s", f.Verdict, f.Sentence)
	}
}

func TestTheFindingOfALeak(t *testing.T) {
	r := newRig(512 * mib)
	r.feed(50*time.Hour, time.Minute, climbing(200, 3.6)) // 3.6 MiB/h at 100 requests per second: 10.5 bytes each
	f := r.judge(t)
	if f.Verdict != load.Fail || f.Unit != "bytes_per_second" || f.Confidence != 0.95 {
		t.Fatalf("%+v", f)
	}
	if want := 3.6 * mib / 3600; math.Abs(float64(f.Value)-want) > 0.03*want || float64(f.Lower) > want || float64(f.Upper) < want {
		t.Errorf("slope %g in %g to %g, want %g", f.Value, f.Lower, f.Upper, want)
	}
	for _, part := range []string{"heap of shop grows from a floor of 2", " MiB/h (95 % interval 3.", "no load taken out, seen for 37h ", "at most 4 % are ever called so, ", " B per request, ", "h ", " to its limit of 512 MiB"} {
		if !strings.Contains(f.Sentence, part) {
			t.Errorf("sentence %q has no %q", f.Sentence, part)
		}
	}
	facts := map[string]float64{}
	for _, e := range f.Evidence {
		facts[e.Name] = float64(e.Value)
	}
	order := []string{"floor at the start", "floor at the end", "growth per hour", "growth per hour, at least", "growth per hour, at most", "taken out for load, at most", "swing of collections, taken out", "span", "harmless ones called so, at most"}
	for i, name := range order {
		if f.Evidence[i].Name != name {
			t.Errorf("fact %d is %q, want %q", i, f.Evidence[i].Name, name)
		}
	}
	if from, to := facts["floor at the start"]/mib, facts["floor at the end"]/mib; math.Abs(to-from-3.6*facts["span"]/3600) > 2 || math.Abs(to-380) > 2 {
		t.Errorf("floors from %g to %g MiB", from, to)
	}
	if v := facts["bytes per request"]; math.Abs(v-10.5) > 0.5 {
		t.Errorf("%g bytes per request, want 10.5", v)
	}
	// 512 - 200 - 180 MiB are left at 3.6 MiB/h.
	if v := facts["to the limit"] / 3600; math.Abs(v-132/3.6) > 3 || facts["to the limit, at least"] > facts["to the limit"] || facts["to the limit, at most"] < facts["to the limit"] {
		t.Errorf("%g h to the limit, want %g: %v", v, 132/3.6, facts)
	}
}

func TestASteadyLevelPasses(t *testing.T) {
	r := newRig(0)
	r.feed(24*time.Hour, time.Minute, climbing(200, 0))
	if f := r.judge(t); f.Verdict != load.Pass {
		t.Errorf("%s: %s", f.Verdict, f.Sentence)
	}
}

// collected returns the metrics of the heap by name.
func (r *rig) collected() map[string]float64 {
	got := map[string]float64{}
	r.Collect(func(d *metric.Desc, v float64, labels ...string) {
		if diff := cmp.Diff([]string{"shop", "heap", ""}, labels[:3]); diff != "" {
			return
		}
		got[strings.Join(append([]string{d.Name}, labels[3:]...), " ")] = v
	})
	return got
}

func TestMetrics(t *testing.T) {
	r := newRig(512 * mib)
	if got := r.collected(); len(got) != 0 {
		t.Errorf("before the first judgement: %v", got)
	}
	verdicts := func(got map[string]float64) [3]float64 {
		return [3]float64{got["perfd_leak_verdict inconclusive"], got["perfd_leak_verdict pass"], got["perfd_leak_verdict fail"]}
	}
	r.feed(10*time.Minute, time.Minute, climbing(200, 3.6))
	r.judge(t)
	got := r.collected()
	if _, ok := got["perfd_leak_suspected"]; ok || verdicts(got) != [3]float64{1, 0, 0} {
		t.Errorf("while nothing is proven: %v", got)
	}
	if _, ok := got["perfd_leak_seconds_to_limit"]; ok {
		t.Errorf("while nothing is proven there is a time to the limit: %v", got)
	}
	r.feed(50*time.Hour, time.Minute, climbing(200.6, 3.6))
	r.judge(t)
	got = r.collected()
	slope := got["perfd_leak_slope_bytes_per_second"]
	if got["perfd_leak_suspected"] != 1 || verdicts(got) != [3]float64{0, 0, 1} || !(got["perfd_leak_slope_lower_bytes_per_second"] < slope && slope < got["perfd_leak_slope_upper_bytes_per_second"]) || !(got["perfd_leak_seconds_to_limit"] > 3600) || len(got) != 8 {
		t.Errorf("of a leak: %v", got)
	}
	r = newRig(512 * mib)
	r.feed(24*time.Hour, time.Minute, climbing(200, 0))
	r.judge(t)
	got = r.collected()
	if v, ok := got["perfd_leak_suspected"]; !ok || v != 0 || verdicts(got) != [3]float64{0, 1, 0} || !math.IsInf(got["perfd_leak_seconds_to_limit"], 1) {
		t.Errorf("without growth: %v", got)
	}
	r = newRig(0)
	r.feed(24*time.Hour, time.Minute, climbing(200, 0))
	r.judge(t)
	if _, ok := r.collected()["perfd_leak_seconds_to_limit"]; ok {
		t.Error("without a limit there is a time to it")
	}
}

func TestAnotherReleaseBeginsAnew(t *testing.T) {
	r := newRig(0)
	r.feed(50*time.Hour, time.Minute, climbing(200, 10))
	if f := r.judge(t); f.Verdict != load.Fail {
		t.Fatalf("%s", f.Sentence)
	}
	r.Event(load.Event{At: r.now, Kind: load.ReleaseChanged, Target: "shop", Release: "v2", Previous: "v1", Settled: r.now.Add(5 * time.Minute)})
	if found := r.Judge(r.now); len(found) != 0 {
		t.Errorf("of a release that was not read yet: %+v", found)
	}
	r.feed(24*time.Hour, time.Minute, climbing(200, 0))
	if f := r.judge(t); f.Verdict != load.Pass || f.Release != "v2" {
		t.Errorf("of the next release: %s %s", f.Verdict, f.Sentence)
	}
}

func TestARestartKeepsWhatIsKnown(t *testing.T) {
	r := newRig(0)
	for range 5 {
		r.feed(10*time.Hour, time.Minute, climbing(200, 10))
		r.Event(load.Event{At: r.now, Kind: load.ReleaseChanged, Target: "shop", Release: "v1", Previous: "v1"})
	}
	r.feed(30*time.Minute, time.Minute, climbing(200, 10))
	f := r.judge(t)
	if f.Verdict != load.Fail {
		t.Errorf("after five restarts: %s %s, needed %s", f.Verdict, f.Sentence, f.Needed)
	}
	if want := 10. * mib / 3600; math.Abs(float64(f.Value)-want) > 0.1*want {
		t.Errorf("slope %g, want %g", f.Value, want)
	}
}

func TestMemoryThatFallsBelowItsWholeLifeIsAnotherProcess(t *testing.T) {
	r := newRig(0)
	r.feed(5*time.Hour, time.Minute, climbing(300, 0))
	r.feed(5*time.Hour, time.Minute, climbing(100, 0))
	if m := r.targets["shop"].resources["heap"].members[""]; m.restarts != 1 || len(m.earlier) != 1 {
		t.Errorf("%d restarts", m.restarts)
	}
}

func TestLevelsThatFallWithTheLoadAreNoRestart(t *testing.T) {
	a := New()
	a.configure([]Target{{Name: "shop", Resources: []Resource{{Name: "goroutines", Kind: load.ResourceGoroutines}}}})
	for i := range 600 {
		at := analysistest.Zero.Add(time.Duration(i) * 15 * time.Second)
		requests, level := uint64(1500), 300.0
		if i/60%2 == 1 {
			requests, level = 0, 20
		}
		a.Window(&load.Window{Step: "home", Target: "shop", Start: at, End: at.Add(15 * time.Second), Requests: requests})
		a.Sample(sample("goroutines", at.Add(15*time.Second), level+float64(i%3)))
	}
	if m := a.targets["shop"].resources["goroutines"].members[""]; m.restarts != 0 {
		t.Errorf("%d restarts seen where load went up and down", m.restarts)
	}
}

func TestARunIsJudgedByItsOwnTime(t *testing.T) {
	r := newRig(0)
	r.feed(30*time.Hour, time.Minute, climbing(200, 0))
	run := load.Event{At: r.now, Kind: load.RunBegan, Scenario: "soak", Run: "7", Test: "endurance", Target: "shop", Targets: []string{"shop"}}
	r.Event(run)
	r.feed(60*time.Hour, time.Minute, climbing(200, 2))
	run.Kind, run.At = load.RunEnded, r.now
	r.Event(run)
	found := r.Run(run, r.now)
	if len(found) != 1 || found[0].Verdict != load.Fail || found[0].Run != "7" || found[0].Scenario != "soak" {
		t.Fatalf("%+v", found)
	}
	if again := r.Run(run, r.now); again != nil {
		t.Errorf("a run that is over has a say again: %+v", again)
	}
	short := run
	short.Kind, short.Run, short.Test = load.RunBegan, "8", "load"
	r.Event(short)
	r.feed(5*time.Minute, time.Minute, climbing(320, 0))
	short.Kind = load.RunEnded
	if found := r.Run(short, r.now); found != nil {
		t.Errorf("of a short run that proves nothing: %+v", found)
	}
}

func TestMembersAreBoundedAndForgotten(t *testing.T) {
	r := newRig(0)
	for i := range 3 * mostMembers {
		at := r.now.Add(time.Duration(i) * time.Second)
		s := sample("heap", at, 1e8)
		s.Member = fmt.Sprintf("pod-%d", i)
		r.Sample(s)
	}
	members := r.targets["shop"].resources["heap"].members
	if len(members) != mostMembers {
		t.Errorf("%d members", len(members))
	}
	if found := r.Judge(r.now.Add(time.Hour)); len(found) != 0 {
		t.Errorf("%d findings about members that are gone", len(found))
	}
	r.Judge(r.now.Add(48 * time.Hour))
	if len(members) != 0 {
		t.Errorf("%d members after two days", len(members))
	}
}

// Months of readings stay within the bounds, and keep their floors.
func TestSeriesAreBounded(t *testing.T) {
	r := newRig(0)
	lowest := math.Inf(1)
	for i := range 400_000 {
		v := 1e8 + 1e7*r.rand.Float64()
		lowest = min(lowest, v)
		at := r.now.Add(time.Duration(i) * 15 * time.Second)
		r.Sample(sample("heap", at, v))
		if i%100 == 0 {
			r.Window(&load.Window{Step: "home", Target: "shop", Start: at, End: at.Add(time.Second), Requests: 1})
		}
	}
	m := r.targets["shop"].resources["heap"].members[""]
	if n := len(m.life.points); n > mostPoints || n < mostPoints/3 {
		t.Errorf("%d points", n)
	}
	if n := len(r.targets["shop"].traffic.marks); n > mostMarks {
		t.Errorf("%d marks", n)
	}
	got := math.Inf(1)
	for i, p := range m.life.points {
		got = min(got, p.low)
		if i > 0 && p.at <= m.life.points[i-1].at {
			t.Fatalf("point %d is not after the one before", i)
		}
	}
	if got != lowest || m.life.readings != 400_000 {
		t.Errorf("lowest %g of %d readings, want %g", got, m.life.readings, lowest)
	}
}

func TestTrafficInterpolatesAndForgetsNoRequest(t *testing.T) {
	var f traffic
	f.add(0, 10, 100)
	f.add(0, 10, 20) // another step of the same window
	f.add(20, 30, 60)
	for at, want := range map[float64]float64{-5: 0, 0: 0, 5: 60, 10: 120, 15: 120, 25: 150, 30: 180, 99: 180} {
		if got := f.at(at); got != want {
			t.Errorf("%g requests after %g s, want %g", got, at, want)
		}
	}
	if got := f.rate(0, 30); got != 6 {
		t.Errorf("%g per second, want 6", got)
	}
}

// Long samples of history and short live ones make one series.
func TestHistoryAndLiveReadingsGoTogether(t *testing.T) {
	r := newRig(0)
	for range 24 * 6 * 2 {
		v := 2e8 * (1 + 0.002*r.rand.NormFloat64())
		r.Sample(load.Sample{Target: "shop", Resource: "heap", Start: r.now, End: r.now.Add(10 * time.Minute), Count: 40, Min: 0.99 * v, Mean: v, Max: 1.01 * v, Last: v})
		r.now = r.now.Add(10 * time.Minute)
	}
	r.feed(2*time.Hour, 15*time.Second, climbing(0.995*2e8/mib, 0))
	if f := r.judge(t); f.Verdict != load.Pass {
		t.Errorf("%s: %s", f.Verdict, f.Sentence)
	}
}

// A beat is 10 s: what 100 members cost of it, readings and looks spread over an hour.
func BenchmarkHundredMembers(b *testing.B) {
	a := New()
	a.configure([]Target{{Name: "shop", Resources: []Resource{{Name: "heap", Kind: load.ResourceMemory}}}})
	r := rand.New(rand.NewPCG(1, 2))
	at := analysistest.Zero
	names := make([]string, 100)
	for i := range names {
		names[i] = fmt.Sprintf("pod-%d", i)
	}
	beat := func() {
		a.Window(&load.Window{Step: "home", Target: "shop", Start: at, End: at.Add(10 * time.Second), Requests: 1000})
		at = at.Add(10 * time.Second)
		for _, name := range names {
			s := sample("heap", at, 2e8*(1+r.Float64()))
			s.Member = name
			a.Sample(s)
		}
		a.Judge(at)
	}
	for range 360 {
		beat()
	}
	for b.Loop() {
		beat()
	}
}

// Rates cannot leak, and a disk fills up as memory does: in bytes.
func TestRatesAreNotLookedAtAndDisksAre(t *testing.T) {
	a := New()
	a.Configure(&analysis.Description{Targets: []analysis.Target{{Name: "shop", Resources: []analysis.Resource{
		{Name: "cpu", Kind: load.ResourceCPU}, {Name: "net", Kind: load.ResourceNetwork}, {Name: "disk", Kind: load.ResourceDisk},
	}}}})
	at := analysistest.Zero
	for i := range 8 * 60 {
		for _, name := range []string{"cpu", "net", "disk"} {
			a.Sample(sample(name, at, 1e9*(1+float64(i)/480)))
		}
		a.Window(&load.Window{Step: "home", Target: "shop", Start: at, End: at.Add(time.Minute), Requests: 6000})
		at = at.Add(time.Minute)
	}
	found := a.Judge(at)
	if len(found) != 1 || found[0].Resource != "disk" || found[0].Verdict != load.Fail || !strings.Contains(found[0].Sentence, "MiB/h") {
		t.Errorf("found %+v, want that the disk fills up", found)
	}
}

// Each lifetime of a process that warms up rises like the one before; none of them leaks.
func TestWarmUpsOfSeveralLifetimes(t *testing.T) {
	for _, c := range shapes() {
		if c.name != "restarts" {
			continue
		}
		for k := range uint64(10) {
			if o := c.make(rand.New(rand.NewPCG(k, 6)), 6).once(); o.once == load.Fail {
				t.Errorf("trace %d is called a leak over %d lifetimes: growth %.2f", k, o.m.judgement.x.lives, o.m.judgement.x.growth)
			}
		}
	}
}

// A leak that was called holds while it is in doubt, and no longer than its trend is there.
func TestWhatHoldsALeak(t *testing.T) {
	for p, want := range map[float64]bool{0.01: true, 0.19: true, 0.21: false, 0.9: false} {
		x := examination{trend: trend{p: p, slope: 1}}
		if got := x.spares(chance, &Defaults); got != want {
			t.Errorf("a trend of p %v holds: %v, want %v", p, got, want)
		}
	}
}
