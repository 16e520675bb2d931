package report

import (
	"math"

	"github.com/perfd/perfd/internal/amount"
	"github.com/perfd/perfd/internal/load"
)

// measured writes a number of a finding; without a unit it has none.
func measured(n load.Number, unit string) string {
	if unit == "" {
		return amount.None
	}
	return amount.Of(float64(n), unit)
}

// interval writes what a finding's number lies between, and how sure that is.
func interval(f load.Finding) string {
	low, high := finite(f.Lower), finite(f.Upper)
	text := ""
	switch {
	case f.Unit == "" || f.Confidence <= 0 || !low && !high:
		return amount.None
	case low && high:
		text = measured(f.Lower, f.Unit) + " to " + measured(f.Upper, f.Unit)
	case low:
		text = "at least " + measured(f.Lower, f.Unit)
	default:
		text = "at most " + measured(f.Upper, f.Unit)
	}
	if f.Confidence != shownConfidence {
		text += " at " + amount.Share(f.Confidence)
	}
	return text
}

// shownConfidence is the one that the head of a table names.
const shownConfidence = 0.95

func finite(n load.Number) bool { return !math.IsNaN(float64(n)) && !math.IsInf(float64(n), 0) }
