package report

import (
	"github.com/perfd/perfd/internal/amount"
	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
)

// shownConfidence is the confidence that the head of the table of objectives names.
const shownConfidence = 0.95

// interval writes what the number of a finding lies between, and how sure that
// is where the head of the table does not say it.
func interval(f load.Finding) string {
	text := analysis.Interval(f)
	if text != amount.None && f.Confidence != shownConfidence {
		text += " at " + amount.Share(f.Confidence)
	}
	return text
}
