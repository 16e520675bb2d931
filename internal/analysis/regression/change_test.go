package regression

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

// days returns a rig whose windows are long enough to feed days of them.
func days(t testing.TB, seed uint64) *rig {
	r := newRig(t, seed)
	r.load.Window, r.load.Rate = 30*time.Minute, 1
	return r
}

// changed returns a rig after two days and a change by a factor that no release explains.
func changed(t *testing.T, seed uint64, by float64) (*rig, load.Finding) {
	t.Helper()
	r := days(t, seed)
	r.feed(48 * time.Hour)
	if fs := r.failing(); len(fs) != 0 {
		t.Fatalf("two quiet days: %s", texts(fs))
	}
	r.slower(by)
	_, fs := r.until(24 * time.Hour)
	return r, one(t, fs, load.KindChange, load.Fail)
}

func TestAChangeThatNoReleaseExplains(t *testing.T) {
	r, f := changed(t, 1, 1.15)
	at := r.load.Now
	since := time.Date(2026, 1, 7, 0, 0, 0, 0, time.UTC)
	if d := f.Since.Sub(since); d < -3*time.Hour || d > 3*time.Hour || f.Step != "" || f.Release != "" || at.Sub(since) > 8*time.Hour {
		t.Errorf("found at %v: %+v, want a change of the scenario as a whole since about %v", at, f, since)
	}
	if f.Value < 0.1 || f.Value > 0.2 || f.Lower <= 0 || f.Lower >= f.Value || f.Upper <= f.Value || !strings.Contains(f.Sentence, "no release explains it") {
		t.Errorf("%v in %v to %v: %s", f.Value, f.Lower, f.Upper, f.Sentence)
	}
	for range 3 {
		r.feed(12 * time.Hour)
		if g := one(t, r.failing(), load.KindChange, load.Fail); g.ID != f.ID {
			t.Fatalf("later %q, want %q", g.ID, f.ID)
		}
	}
	r.slower(1 / 1.15)
	r.feed(12 * time.Hour)
	if fs := r.failing(); len(fs) != 0 {
		t.Errorf("gone, and still %s", texts(fs))
	}
	r.feed(48 * time.Hour)
	if fs := r.failing(); len(fs) != 0 {
		t.Errorf("gone for days, and found again: %s", texts(fs))
	}
}

func TestAnAcceptedChangeIsTheLevel(t *testing.T) {
	r, f := changed(t, 2, 1.2)
	r.a.Event(load.Event{At: r.load.Now, Kind: load.FindingTaken, Finding: f.ID})
	if fs := r.failing(); len(fs) != 0 {
		t.Errorf("accepted, and still %s", texts(fs))
	}
	r.feed(48 * time.Hour)
	if fs := r.failing(); len(fs) != 0 {
		t.Errorf("accepted for days, and found again: %s", texts(fs))
	}
	r.slower(1.2)
	_, fs := r.until(24 * time.Hour)
	if g := one(t, fs, load.KindChange, load.Fail); g.ID == f.ID {
		t.Error("a further change has the ID of the accepted one")
	}
}

func TestAnAcceptedStepsChangeIsTheScenariosToo(t *testing.T) {
	r := days(t, 9)
	r.feed(48 * time.Hour)
	r.slow["login"] = 1.5
	r.feed(24 * time.Hour)
	f := one(t, r.failing(), load.KindChange, load.Fail)
	if f.Step != "login" {
		t.Fatalf("%s, want login's", f.Sentence)
	}
	r.a.Event(load.Event{At: r.load.Now, Kind: load.FindingTaken, Finding: f.ID})
	r.feed(48 * time.Hour)
	if fs := r.failing(); len(fs) != 0 {
		t.Errorf("accepted, and still %s", texts(fs))
	}
}

func TestAChangeAtAReleaseIsTheReleases(t *testing.T) {
	r := days(t, 3)
	r.feed(48 * time.Hour)
	r.release("v1.1.0")
	r.slower(1.15)
	r.feed(48 * time.Hour)
	one(t, r.failing(), load.KindRegression, load.Fail)
}

func TestFasterIsNoFinding(t *testing.T) {
	r := days(t, 4)
	r.feed(48 * time.Hour)
	r.slower(1 / 1.2)
	r.feed(48 * time.Hour)
	if fs := r.failing(); len(fs) != 0 {
		t.Errorf("faster, and %s", texts(fs))
	}
}

func TestAnotherObserverEndsAChange(t *testing.T) {
	r, _ := changed(t, 5, 1.2)
	r.end()
	r.begin("b")
	r.feed(24 * time.Hour)
	if fs := r.failing(); len(fs) != 0 {
		t.Errorf("measured by another, and still %s", texts(fs))
	}
}

func TestRunsAreAsLongASeriesAsHours(t *testing.T) {
	r := newRig(t, 6)
	r.end()
	r.load.Window, r.load.Rate = time.Minute, 10
	r.load.Circumstances.Release = "" // unknown
	r.runs(40, 0.01)
	if fs := r.failing(); len(fs) != 0 {
		t.Fatalf("forty equal runs: %s", texts(fs))
	}
	r.slower(1.15)
	r.runs(12, 0.01)
	if f := one(t, r.judge(), load.KindChange, load.Fail); !strings.Contains(f.Sentence, "hours or runs") {
		t.Errorf("%s", f.Sentence)
	}
}

func TestErrorsAndRatesChangeToo(t *testing.T) {
	r := days(t, 7)
	r.feed(48 * time.Hour)
	r.load.ErrorRatio = 0.02
	r.feed(24 * time.Hour)
	if f := one(t, r.failing(), load.KindChange, load.Fail); f.Statistic != errorRatio || !strings.Contains(f.Sentence, "points") {
		t.Errorf("%s, want an error ratio", f.Sentence)
	}
	q := days(t, 8)
	q.load.Circumstances.Planned = 1800
	q.feed(48 * time.Hour)
	q.load.Rate = 0.8
	q.feed(24 * time.Hour)
	if f := one(t, q.failing(), load.KindChange, load.Fail); f.Statistic != rate || f.Value > -0.1 {
		t.Errorf("%s, want a rate", f.Sentence)
	}
}

// metrics returns what the analysis sends, by metric and labels.
func (r *rig) metrics() map[string]float64 {
	got := map[string]float64{}
	r.a.Collect(func(d *metric.Desc, v float64, labels ...string) {
		if len(labels) != len(d.Labels) {
			r.t.Errorf("%s with %d labels, want %d", d.Name, len(labels), len(d.Labels))
		}
		key := d.Name + " " + strings.Join(labels, " ")
		if _, twice := got[key]; twice {
			r.t.Errorf("%s sent twice", key)
		}
		got[key] = v
	})
	return got
}

func TestMetrics(t *testing.T) {
	r := newRig(t, 20)
	watched := r.metrics()
	want := map[string]float64{"perfd_regression_verdict shop-soak inconclusive": 1, "perfd_regression_verdict shop-soak pass": 0, "perfd_regression_verdict shop-soak fail": 0}
	if d := cmp.Diff(want, watched); d != "" {
		t.Errorf("while nothing is known (-want +got):\n%s", d)
	}
	r.feed(2 * time.Hour)
	r.release("v1.1.0")
	r.feed(14 * time.Minute)
	early := r.metrics()
	if _, compared := early["perfd_regression_change_ratio shop-soak  p99"]; !compared {
		t.Errorf("after the first look nothing is compared: %v", early)
	}
	if _, known := early["perfd_regression_suspected shop-soak  p99"]; known || early["perfd_regression_verdict shop-soak inconclusive"] != 1 {
		t.Errorf("what was compared and is not proven is said to be: %v", early)
	}
	r.feed(6 * time.Hour)
	equal := r.metrics()
	if v, ok := equal["perfd_regression_suspected shop-soak login p95"]; !ok || v != 0 || equal["perfd_regression_verdict shop-soak pass"] != 1 {
		t.Errorf("an equal release is not proven to be one: %v", equal)
	}
	r, _ = regressed(t, 2)
	r.feed(2 * time.Hour)
	got := r.metrics()
	for _, step := range []string{"", "login", "list", "checkout"} {
		pair := "shop-soak " + step + " p50"
		if got["perfd_regression_verdict shop-soak fail"] != 1 || got["perfd_regression_suspected "+pair] != 1 || got["perfd_regression_info "+pair+" shop v1.1.0 v1.0.0"] != 1 {
			t.Errorf("%s is not suspected: %v", pair, got)
		}
		if c := got["perfd_regression_change_ratio "+pair]; c < 0.1 || c > 0.2 {
			t.Errorf("%s changed by %v, want about 0.15", pair, c)
		}
	}
	if _, ok := got["perfd_regression_change_ratio shop-soak login error_ratio"]; ok {
		t.Error("an error ratio that was 0 has a relative change")
	}
	c, f := changed(t, 1, 1.15)
	got = c.metrics()
	if ratio := got["perfd_regression_change_ratio shop-soak  "+f.Statistic]; ratio < 0.1 || ratio > 0.2 {
		t.Errorf("a change is one by %v, want about 0.15", ratio)
	}
	if got["perfd_regression_suspected shop-soak  p50"] != 1 || got["perfd_regression_info shop-soak  p50 shop  "] != 1 {
		t.Errorf("a change is not suspected: %v", got)
	}
}

// BenchmarkBeat is ten seconds of a hundred pairs: their windows and one judgement.
func BenchmarkBeat(b *testing.B) {
	a := New()
	var list []Scenario
	var rigs []*rig
	for i := range 25 {
		r := newRig(b, uint64(i))
		r.load.Scenario = fmt.Sprint("shop", i)
		r.a = a
		list = append(list, Scenario{Name: r.load.Scenario, Target: "shop", Steps: r.load.Steps})
		rigs = append(rigs, r)
	}
	a.configure(list)
	beat := func() {
		for _, r := range rigs {
			r.next()
		}
		a.Judge(rigs[0].load.Now)
	}
	for range 400 {
		beat()
	}
	for _, r := range rigs {
		r.load.Circumstances.Release = "v1.1.0"
	}
	var windows []*load.Window
	for b.Loop() {
		b.StopTimer()
		windows = windows[:0]
		for _, r := range rigs {
			windows = append(windows, r.load.Next()...)
		}
		b.StartTimer()
		for _, w := range windows {
			a.Window(w)
		}
		a.Judge(rigs[0].load.Now)
	}
}
