package analysis_test

import (
	"math"
	"testing"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
)

func TestNumbersOfAFinding(t *testing.T) {
	nan, inf := load.Number(math.NaN()), load.Number(math.Inf(1))
	bounds := func(low, high load.Number) string {
		return analysis.Interval(load.Finding{Lower: low, Upper: high, Confidence: 0.95, Unit: "ratio"})
	}
	for _, c := range []struct{ got, want string }{
		{analysis.Measured(0, ""), "–"},
		{analysis.Measured(0, "count"), "0"},
		{bounds(0.01, 0.02), "1 % to 2 %"},
		{bounds(0.01, inf), "at least 1 %"},
		{bounds(nan, 0.02), "at most 2 %"},
		{bounds(nan, nan), "–"},
		{analysis.Interval(load.Finding{Unit: "ratio"}), "–"},
		{analysis.Place(load.Finding{Scenario: "shop", Step: "pay", Target: "web", Statistic: "p95"}), "shop / pay / p95"},
		{analysis.Place(load.Finding{Scenario: "shop", Objective: "fast", Statistic: "p95"}), "shop / fast"},
		{analysis.Place(load.Finding{Target: "web", Resource: "heap", Member: "pod-1"}), "web / heap / pod-1"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}
