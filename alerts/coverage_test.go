package alerts

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/kind/builtin"
	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/metric"
)

// throughRuns are the kinds of findings that reach people by PerfdRunFailed, since
// they are about a run that ended.
var throughRuns = []load.Kind{load.KindCleanUp}

// uncovered returns the analyses whose findings can be active and reach nobody: no
// rule reads one of their metrics.
func uncovered(t *testing.T, kinds analysis.Kinds) (names []string) {
	t.Helper()
	var read strings.Builder
	for _, a := range alerting(t) {
		read.WriteString(a.Expr)
	}
	for _, f := range rules(t, Options{TimeScale: 1}) {
		for _, g := range readRecords(t, f.Text) {
			read.WriteString(g)
		}
	}
	for i := range kinds {
		k := &kinds[i]
		silent := func(f analysis.FindingKind) bool { return f.OfRuns || slices.Contains(throughRuns, f.Kind) }
		if !slices.ContainsFunc(k.Findings, func(f analysis.FindingKind) bool { return !silent(f) }) {
			continue
		}
		reads := func(d *metric.Desc) bool {
			return regexp.MustCompile(`\b` + regexp.QuoteMeta(d.Name) + `\b`).MatchString(read.String())
		}
		if !slices.ContainsFunc(k.Metrics, reads) {
			names = append(names, k.Name)
		}
	}
	return names
}

// readRecords returns the expressions of recording rules, which alerts read in their place.
func readRecords(t *testing.T, text []byte) (all []string) {
	t.Helper()
	for _, g := range read(t, text) {
		for _, r := range g.Rules {
			if r.Record != "" {
				all = append(all, r.Expr)
			}
		}
	}
	return all
}

func TestEveryAnalysisReachesSomebody(t *testing.T) {
	kinds := builtin.Kinds().Analyses
	if names := uncovered(t, kinds); len(names) > 0 {
		t.Errorf("no alert reads a metric of %v", names)
	}
	more := append(slices.Clone(kinds), analysis.Kind{
		Name: "toy", Findings: []analysis.FindingKind{{Kind: "toy"}}, Metrics: []*metric.Desc{{Name: "perfd_toy"}},
	})
	if d := cmp.Diff([]string{"toy"}, uncovered(t, more)); d != "" {
		t.Errorf("with one more analysis that no alert knows (-want +got):\n%s", d)
	}
}
