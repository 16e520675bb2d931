package web

import (
	"github.com/perfd/perfd/internal/amount"
	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
)

// confidence writes how sure the interval of a finding is.
func confidence(f load.Finding) string {
	if analysis.Interval(f) == amount.None {
		return ""
	}
	return amount.Share(f.Confidence)
}

// evidence writes what a finding rests on.
func evidence(f load.Finding) string { return analysis.Evidence(f, " · ") }
