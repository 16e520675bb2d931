package app

import (
	"bytes"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

var update = flag.Bool("update", false, "rewrite golden files")

// TestTheMetricsOfADaemon holds the names, types and labels that are there from
// the start to a golden file: dashboards and rules of users read them.
func TestTheMetricsOfADaemon(t *testing.T) {
	const golden = "testdata/series.golden"
	r := newRig(t)
	r.until("requests", func() bool { return r.requests("steady") > 5 && r.requests("changing") > 5 })
	w := httptest.NewRecorder()
	r.server.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(w.Body.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for name, f := range families {
		if !strings.HasPrefix(name, "perfd_") {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName())
			}
			lines = append(lines, fmt.Sprintf("%s %s {%s}\n", name, strings.ToLower(f.GetType().String()), strings.Join(labels, ", ")))
		}
	}
	slices.Sort(lines)
	got := strings.Join(slices.Compact(lines), "")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	// Metrics that come with the first window may be there already: they are not compared.
	name := func(line string) string { return line[:strings.IndexByte(line, ' ')] }
	known := map[string]bool{}
	for line := range strings.Lines(string(want)) {
		known[name(line)] = true
	}
	var compared []string
	for line := range strings.Lines(got) {
		if known[name(line)] {
			compared = append(compared, line)
		}
	}
	if d := cmp.Diff(string(want), strings.Join(compared, "")); d != "" {
		t.Errorf("names, types and labels on /metrics (-want +got; -args -update accepts them):\n%s", d)
	}
}
