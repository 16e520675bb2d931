package analysis_test

import (
	"strings"
	"testing"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/kind/builtin"
	"github.com/perfd/perfd/internal/load"
)

var kinds = builtin.Kinds().Analyses

func objective(name string, v load.Verdict, s load.State) load.Finding {
	return load.Finding{ID: name, Kind: load.KindObjective, Scenario: "shop", Objective: name, Verdict: v, State: s}
}

// board is what a board may hold: an objective that failed and passes again is
// there twice, b as it is after c.
func board() []load.Finding {
	old := objective("b", load.Fail, load.Recovered)
	old.ID = "b of last week"
	other := objective("z", load.Fail, load.Active)
	other.Scenario = "other"
	return []load.Finding{
		objective("a", load.Pass, ""), old, objective("b", load.Pass, ""), objective("c", load.Fail, load.Recovered),
		objective("d", load.Fail, load.Active), objective("e", load.Inconclusive, ""), other,
		{ID: "leak", Kind: load.KindLeak, Target: "web", Verdict: load.Fail, State: load.Active},
		{ID: "drift", Kind: load.KindDrift, Scenario: "shop", Verdict: load.Fail, State: load.Active},
		{ID: "change", Kind: load.KindChange, Scenario: "shop", Verdict: load.Fail, State: load.Accepted},
		{ID: "run", Kind: load.KindRun, Scenario: "shop", Verdict: load.Fail, State: load.Final},
	}
}

func TestObjectivesAreWorstFirst(t *testing.T) {
	var got []string
	for _, f := range kinds.Objectives(board(), "shop") {
		got = append(got, f.ID)
	}
	if s := strings.Join(got, " "); s != "d c e a b" {
		t.Errorf("objectives of shop = %s, want d c e a b", s)
	}
}

func TestABoardIsAddedUp(t *testing.T) {
	all, each := kinds.Overview(board()), kinds.Scenarios(board())
	if want := (analysis.Tally{All: 6, Failing: 2, Open: 2}); all.Objectives != want || all.Others != 2 || all.Verdict() != load.Fail {
		t.Errorf("overview = %+v, want %+v, a leak and a drift, and fail", all, want)
	}
	if want := (analysis.Tally{All: 5, Failing: 1, Open: 2}); each["shop"].Objectives != want || each["shop"].Others != 1 {
		t.Errorf("shop = %+v, want %+v and a drift", each["shop"], want)
	}
	if got := all.Gravest.Kind; got != load.KindObjective {
		t.Errorf("gravest is %s, want an objective", got)
	}
	if got := kinds.Overview(board()[7:]).Gravest.Kind; got != load.KindLeak {
		t.Errorf("gravest besides objectives is %s, want a leak", got)
	}
}

func TestVerdictsOfSums(t *testing.T) {
	part := func(k load.Kind, v load.Verdict) load.Finding { return load.Finding{Kind: k, Verdict: v} }
	for _, c := range []struct {
		name  string
		parts []load.Finding
		want  load.Verdict
	}{
		{"nothing", nil, load.Inconclusive},
		{"no objective", []load.Finding{part(load.KindEfficiency, load.Pass), part(load.KindLeak, load.Pass)}, load.Inconclusive},
		{"an objective", []load.Finding{part(load.KindObjective, load.Pass)}, load.Pass},
		{"an open objective", []load.Finding{part(load.KindObjective, load.Pass), part(load.KindObjective, load.Inconclusive)}, load.Inconclusive},
		{"an open condition", []load.Finding{part(load.KindObjective, load.Pass), part(load.KindEfficiency, load.Inconclusive)}, load.Inconclusive},
		{"an open warning", []load.Finding{part(load.KindObjective, load.Pass), part(load.KindLeak, load.Inconclusive)}, load.Pass},
		{"a warning that fails", []load.Finding{part(load.KindObjective, load.Pass), part(load.KindLeak, load.Fail)}, load.Fail},
		{"a kind that nobody knows", []load.Finding{part(load.KindObjective, load.Pass), part("older", load.Fail)}, load.Fail},
	} {
		if got := kinds.Sum(c.parts).Verdict(); got != c.want {
			t.Errorf("%s: verdict = %s, want %s", c.name, got, c.want)
		}
	}
}

func TestWorstOfATally(t *testing.T) {
	for _, c := range []struct {
		sum   analysis.Tally
		want  load.Verdict
		worst int
	}{
		{analysis.Tally{}, load.Inconclusive, 0},
		{analysis.Tally{All: 3}, load.Pass, 3},
		{analysis.Tally{All: 3, Open: 1}, load.Inconclusive, 1},
		{analysis.Tally{All: 3, Open: 1, Failing: 2}, load.Fail, 2},
	} {
		if c.sum.Verdict() != c.want || c.sum.Worst() != c.worst {
			t.Errorf("%+v = %s of %d, want %s of %d", c.sum, c.sum.Verdict(), c.sum.Worst(), c.want, c.worst)
		}
	}
}
