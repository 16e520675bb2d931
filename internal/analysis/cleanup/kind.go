package cleanup

import (
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
)

// Kind describes the analysis.
var Kind = analysis.Kind{
	Name: "cleanup",
	Doc:  "Do the resources of a target return to their level once load has stopped?",
	New:  func() analysis.Analysis { return New() },
	Findings: []analysis.FindingKind{{
		Kind: load.KindCleanUp, Word: "clean-up", Headline: "A target does not clean up", Gravity: 60, Late: time.Hour,
		Speech: analysis.Summed, Topic: "clean-up", Clean: "everything was cleaned up",
	}},
}
