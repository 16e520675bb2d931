package analysis_test

import (
	"testing"
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
)

func TestARunIsSummedUpInOneSentence(t *testing.T) {
	start := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	part := func(kind load.Kind, v load.Verdict, sentence string) load.Finding {
		return load.Finding{Kind: kind, Verdict: v, Sentence: sentence, Needed: map[bool]string{true: "2,000 more requests"}[v == load.Inconclusive]}
	}
	met := part(load.KindObjective, load.Pass, "p95 met")
	all := part(load.KindEfficiency, load.Pass, "100.0 % of the load asked for")
	for _, c := range []struct {
		name   string
		result string
		parts  []load.Finding
		doubts []string
		want   load.Verdict
		basis  analysis.Basis
		say    string
	}{
		{
			"everything is well", "",
			[]load.Finding{met, met, part(load.KindLeak, load.Pass, "flat"), part(load.KindDrift, load.Pass, "flat"), all},
			nil, load.Pass, analysis.Judged,
			"run r7 of shop on v2, 24h: pass; 2 of 2 objectives met; no leak; no drift; 100.0 % of the load asked for",
		},
		{
			"a leak", "",
			[]load.Finding{met, part(load.KindLeak, load.Pass, "flat"), part(load.KindLeak, load.Fail, "heap grows 3 MiB/h"), part(load.KindLeak, load.Fail, "fds grow")},
			nil, load.Fail, analysis.Judged,
			"run r7 of shop on v2, 24h: fail; 1 of 1 objectives met; heap grows 3 MiB/h (and 1 more)",
		},
		{
			"too little for a leak", "",
			[]load.Finding{met, part(load.KindLeak, load.Inconclusive, "too short")},
			nil, load.Pass, analysis.Judged,
			"run r7 of shop on v2, 24h: pass; 1 of 1 objectives met; leaks: 1 of 1 not proven",
		},
		{
			"an objective is open", "",
			[]load.Finding{met, part(load.KindObjective, load.Inconclusive, "?")},
			nil, load.Inconclusive, analysis.Judged,
			"run r7 of shop on v2, 24h: inconclusive; objectives: 1 of 2 not proven",
		},
		{
			"no objectives", "",
			[]load.Finding{all},
			nil, load.Inconclusive, analysis.NoObjectives,
			"run r7 of shop on v2, 24h: inconclusive; 100.0 % of the load asked for",
		},
		{
			"interrupted", "interrupted",
			[]load.Finding{met},
			nil, load.Inconclusive, analysis.Cut,
			"run r7 of shop on v2, 24h: interrupted; 1 of 1 objectives met",
		},
		{
			"a gap", "",
			[]load.Finding{met},
			[]string{"5 % of it had no load"},
			load.Inconclusive, analysis.Doubted,
			"run r7 of shop on v2, 24h: inconclusive; 1 of 1 objectives met",
		},
		{
			"a gap and no objectives", "",
			[]load.Finding{all},
			[]string{"5 % of it had no load"},
			load.Inconclusive, analysis.Doubted,
			"run r7 of shop on v2, 24h: inconclusive; 100.0 % of the load asked for",
		},
		{
			"no objectives and a leak", "",
			[]load.Finding{part(load.KindLeak, load.Fail, "heap grows 3 MiB/h"), part(load.KindChange, load.Fail, "of which runs do not speak")},
			nil, load.Fail, analysis.Judged,
			"run r7 of shop on v2, 24h: fail; heap grows 3 MiB/h",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := load.Event{Kind: load.RunEnded, Scenario: "shop", Run: "r7", Release: "v2", Result: c.result, At: start.Add(24 * time.Hour)}
			f, basis := analysis.RunOf(kinds, e, start, c.parts, c.doubts, start.Add(24*time.Hour+10*time.Second))
			if f.Verdict != c.want || basis != c.basis || f.Sentence != c.say {
				t.Errorf("got %v by %d: %s\nwant %v by %d: %s", f.Verdict, basis, f.Sentence, c.want, c.basis, c.say)
			}
			if c.want == load.Inconclusive && len(f.Doubts) == 0 && f.Needed == "" && c.result == "" {
				t.Error("an inconclusive run says neither why nor what it needs")
			}
		})
	}
}
