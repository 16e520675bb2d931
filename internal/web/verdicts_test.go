package web

import (
	"fmt"
	"math"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/load"
)

func ids(findings []load.Finding) string {
	var out []string
	for _, f := range findings {
		out = append(out, f.ID)
	}
	return strings.Join(out, " ")
}

func TestSumsOfScenarios(t *testing.T) {
	other := objective("z", load.Fail, load.Active)
	other.Scenario = "other"
	got := slaOf(kinds, []load.Finding{
		objective("a", load.Pass, ""), objective("b", load.Inconclusive, ""), objective("c", load.Fail, load.Recovered), other,
		{Kind: load.KindLeak, Scenario: "unjudged", Verdict: load.Fail, State: load.Active},
	})
	if len(got) != 2 || got["shop"].Share() != "2 of 3" || got["shop"].Tone() != "warn" || got["other"].Share() != "1 of 1" || got["other"].Tone() != "bad" {
		t.Errorf("sums = %+v, want shop with 2 of 3 open, other with 1 of 1 failing, and nothing of what has no objectives", got)
	}
}

// No data is not a doubt.
func TestNothingMeasuredIsNoVerdict(t *testing.T) {
	nothing := objective("a", load.Inconclusive, "")
	nothing.Value = load.Number(math.NaN())
	was := objective("b", load.Fail, load.Recovered)
	some := objective("c", load.Inconclusive, "")
	for _, c := range []struct {
		findings []load.Finding
		want     string
	}{
		{[]load.Finding{nothing}, "–  idle"},
		{[]load.Finding{nothing, was}, "–  idle"},
		{[]load.Finding{nothing, some}, "inconclusive 2 of 2 warn"},
	} {
		s := slaOf(kinds, c.findings)["shop"]
		if got := s.Word() + " " + s.Share() + " " + s.Tone(); got != c.want {
			t.Errorf("%d findings: %q, want %q", len(c.findings), got, c.want)
		}
	}
}

func TestNewsIsActiveFirst(t *testing.T) {
	f := shop(time.Now())
	if got, want := ids(news(f.findings)), "objective-1 regression-1 leak-1 run-1 change-1 drift-1"; got != want {
		t.Errorf("news = %s, want %s", got, want)
	}
	for name, want := range map[string]string{
		"shop-soak":   "regression-1 leak-1 change-1",
		"shop-stress": "leak-1 drift-1",
	} {
		d, _ := f.Scenario(name)
		if got := ids(newsOf(kinds, f.findings, d)); got != want {
			t.Errorf("news of %s = %s, want %s", name, got, want)
		}
	}
	elsewhere := Detail{Scenario: Scenario{Name: "x", Target: "pay"}}
	if got := ids(newsOf(kinds, f.findings, elsewhere)); got != "" {
		t.Errorf("news of a scenario on another target = %s, want none", got)
	}
	elsewhere.Steps = []Step{{Target: "shop"}}
	if got := ids(newsOf(kinds, f.findings, elsewhere)); got != "leak-1" {
		t.Errorf("news of a scenario with a step to the target = %s, want leak-1", got)
	}
}

func TestPagesListSoMany(t *testing.T) {
	f := shop(time.Now())
	for i := range 60 {
		f.findings = append(f.findings, load.Finding{ID: fmt.Sprintf("more-%d", i), Kind: load.KindLeak, State: load.Recovered, Target: "shop"})
		f.findings = append(f.findings, load.Finding{ID: fmt.Sprintf("run-more-%d", i), Kind: load.KindRun, State: load.Final, Scenario: "shop-soak", Parts: make([]load.Finding, 1)})
	}
	for path, want := range map[string]struct {
		more    string
		details int
	}{
		"/":                    {`<a href="/api/v1/findings">46 more as JSON</a>`, 0},
		"/scenarios/shop-soak": {`<a href="/api/v1/findings?scenario=shop-soak">`, 11}, // of ten runs and the configuration
	} {
		w := httptest.NewRecorder()
		handler(f, true).ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		body := w.Body.String()
		if n := strings.Count(body, `class="sentence"`); n != findingsListed {
			t.Errorf("%s lists %d findings, want %d", path, n, findingsListed)
		}
		if n := strings.Count(body, "<details"); n != want.details {
			t.Errorf("%s has %d things to open, want %d", path, n, want.details)
		}
		if !strings.Contains(body, want.more) {
			t.Errorf("%s has no %s", path, want.more)
		}
	}
}

func TestHostileNamesAreText(t *testing.T) {
	const hostile = `x"'><script>alert(1)</script>`
	f := shop(time.Now())
	for i, x := range f.findings {
		x.ID, x.Step, x.Release, x.Baseline, x.Sentence, x.Needed, x.Objective = hostile, hostile, hostile, hostile, hostile, hostile, hostile
		x.Resource, x.Member, x.Run = hostile, hostile, hostile
		x.Doubts, x.Evidence, x.Parts = []string{hostile}, []load.Fact{{Name: hostile}}, []load.Finding{x}
		f.findings[i] = x
	}
	for _, path := range []string{"/", "/scenarios/shop-soak"} {
		w := httptest.NewRecorder()
		handler(f, true).ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if body := w.Body.String(); strings.Contains(body, "<script>") || strings.Contains(body, `x"`) || !strings.Contains(body, "&lt;script&gt;") {
			t.Errorf("%s lets a name become markup:\n%s", path, body)
		}
	}
}

func TestToneOfAScenario(t *testing.T) {
	s := Scenario{State: "running"}
	for _, c := range []struct {
		name                 string
		objectives, findings []load.Finding
		want                 string
	}{
		{"nothing known", nil, nil, "good"},
		{"an objective fails", []load.Finding{objective("a", load.Fail, load.Active)}, nil, "bad"},
		{"an objective failed", []load.Finding{objective("a", load.Fail, load.Recovered)}, nil, "good"},
		{"a leak", nil, []load.Finding{{State: load.Recovered}, {State: load.Active}}, "bad"},
		{"a leak that was", nil, []load.Finding{{State: load.Recovered}}, "good"},
	} {
		if got := scenarioTone(s, kinds.Sum(slices.Concat(c.objectives, c.findings))); got != c.want {
			t.Errorf("%s: tone = %s, want %s", c.name, got, c.want)
		}
	}
}

func TestConfidenceOfAFinding(t *testing.T) {
	nan := load.Number(math.NaN())
	for _, c := range []struct{ got, want string }{
		{confidence(load.Finding{Lower: nan, Upper: nan, Confidence: 0.95, Unit: "ratio"}), ""},
		{confidence(load.Finding{Confidence: 0.999, Unit: "ratio"}), "99.9 %"},
		{evidence(load.Finding{Evidence: []load.Fact{{Name: "requests", Value: 1200}, {Name: "slope", Value: 2048, Unit: "bytes"}}}), "requests 1,200 · slope 2 KiB"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}
