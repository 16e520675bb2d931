package analysis

import (
	"math"
	"strings"

	"github.com/perfd/perfd/internal/amount"
	"github.com/perfd/perfd/internal/load"
)

// Place writes what a finding is about, from the large to the small.
func Place(f load.Finding) string {
	parts := []string{f.Scenario, f.Step, f.Metric}
	if f.Scenario == "" {
		parts = []string{f.Target}
	}
	if f.Objective != "" {
		parts = append(parts, f.Objective)
	} else {
		parts = append(parts, f.Resource, f.Member, f.Statistic)
	}
	var out []string
	for _, p := range parts {
		if p != "" {
			out = append(out, p)
		}
	}
	return strings.Join(out, " / ")
}

// Measured writes a number of a finding; without a unit there is none.
func Measured(n load.Number, unit string) string {
	if unit == "" {
		return amount.None
	}
	return amount.Of(float64(n), unit)
}

// Interval writes what the number of a finding lies between, amount.None where
// that is not known.
func Interval(f load.Finding) string {
	low, high := finite(f.Lower), finite(f.Upper)
	switch {
	case f.Confidence <= 0 || f.Unit == "":
		return amount.None
	case low && high:
		return Measured(f.Lower, f.Unit) + " to " + Measured(f.Upper, f.Unit)
	case low:
		return "at least " + Measured(f.Lower, f.Unit)
	case high:
		return "at most " + Measured(f.Upper, f.Unit)
	}
	return amount.None
}

// Evidence writes what a finding rests on, its facts separated by sep.
func Evidence(f load.Finding, sep string) string {
	facts := make([]string, len(f.Evidence))
	for i, x := range f.Evidence {
		facts[i] = x.Name + " " + amount.Of(float64(x.Value), x.Unit)
	}
	return strings.Join(facts, sep)
}

func finite(n load.Number) bool { return !math.IsNaN(float64(n)) && !math.IsInf(float64(n), 0) }
