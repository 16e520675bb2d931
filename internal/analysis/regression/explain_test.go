package regression

import (
	"math"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/stats"
)

// logs returns the logarithms of a column.
func logs(t *testing.T, s analysis.Step, column string) (out []float64) {
	t.Helper()
	for i, c := range s.Columns {
		if c != column {
			continue
		}
		for _, row := range s.Rows {
			if len(row) != len(s.Columns) {
				t.Fatalf("%s: %d values for %d columns", s.Name, len(row), len(s.Columns))
			}
			out = append(out, math.Log(row[i]))
		}
	}
	return out
}

func TestTheStepsOfARegressionGiveItsNumbers(t *testing.T) {
	r, f := regressed(t, 1)
	steps := r.a.Explain(&f)
	if len(steps) != 3 {
		t.Fatalf("%d steps", len(steps))
	}
	column := f.Statistic + "_seconds"
	before, after := logs(t, steps[0], column), logs(t, steps[1], column)
	if len(before) < thresholds.Effective || len(after) < thresholds.FirstLook {
		t.Fatalf("%d intervals before and %d after", len(before), len(after))
	}
	if change := math.Expm1(stats.Mean(after) - stats.Mean(before)); math.Abs(change-float64(f.Value)) > 0.01 {
		t.Errorf("the intervals change by %.3f, the finding says %.3f", change, f.Value)
	}
}

func TestTheStepsOfAChangeAreItsHours(t *testing.T) {
	r, f := changed(t, 1, 1.15)
	steps := r.a.Explain(&f)
	if len(steps) != 1 || len(steps[0].Rows) < 40 {
		t.Fatalf("%d steps, want the hours", len(steps))
	}
	var levels [2][]float64
	for i, v := range logs(t, steps[0], "p50_seconds") {
		after := 0
		if !time.Unix(int64(steps[0].Rows[i][0]), 0).Before(f.Since) {
			after = 1
		}
		levels[after] = append(levels[after], v)
	}
	if change := math.Expm1(stats.Mean(levels[1]) - stats.Mean(levels[0])); change < 0.1 || change > 0.2 {
		t.Errorf("the hours change by %.3f, want 0.15", change)
	}
}

func TestWhatARegressionDoesNotExplain(t *testing.T) {
	r := newRig(t, 1)
	r.feed(3 * time.Minute)
	first := load.Finding{Kind: load.KindRegression, Scenario: "shop-soak"}
	if steps := r.a.Explain(&first); len(steps) != 1 || len(steps[0].Rows) < 2 {
		t.Errorf("the first release is explained by %+v, want its intervals", steps)
	}
	for _, f := range []load.Finding{
		{Kind: load.KindRegression, Scenario: "other"},
		{Kind: load.KindRegression, Scenario: "shop-soak", Step: "other"},
		{Kind: load.KindRegression, Scenario: "shop-soak", Run: "1"},
		{Kind: load.KindLeak, Scenario: "shop-soak"},
	} {
		if steps := r.a.Explain(&f); steps != nil {
			t.Errorf("%+v is explained by %d steps", f, len(steps))
		}
	}
	if steps := newRig(t, 2).a.Explain(&first); steps != nil {
		t.Errorf("before any interval there are %d steps", len(steps))
	}
}
