// Package dashboardstest reads perfd's dashboards the way Grafana does, for the
// tests that lint them and the ones that ask a real Prometheus.
package dashboardstest

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/perfd/perfd/dashboards"
	"github.com/perfd/perfd/dashboards/build"
)

// A Dashboard is a dashboard as it is read from its file.
type Dashboard struct {
	build.Dashboard
	Name string // the file's name
	Text string // the file
}

// A Panel of a dashboard.
type Panel = build.Panel

// A Target of a panel: one query.
type Target = build.Target

// Read reads every dashboard.
func Read(t *testing.T) []Dashboard {
	t.Helper()
	var list []Dashboard
	for _, f := range dashboards.All() {
		d := Dashboard{Name: f.Name, Text: string(f.Text)}
		if err := json.Unmarshal(f.Text, &d.Dashboard); err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		list = append(list, d)
	}
	return list
}

var variable = regexp.MustCompile(`\$(\w+)|\$\{(\w+)(?::\w+)?\}`)

// Fill puts values in the place of variables. What has no value stays, and is returned too.
func Fill(text string, values map[string]string) (filled string, missing []string) {
	filled = variable.ReplaceAllStringFunc(text, func(found string) string {
		m := variable.FindStringSubmatch(found)
		name := m[1] + m[2]
		v, ok := values[name]
		if !ok {
			missing = append(missing, name)
			return found
		}
		return v
	})
	return filled, missing
}

// Asked returns the PromQL inside label_values(…) or query_result(…), with a
// bare metric or selector as it is.
func Asked(query string) string {
	inner, ok := strings.CutPrefix(query, "label_values(")
	if !ok {
		return query
	}
	if i := strings.LastIndex(inner, ","); i >= 0 {
		return inner[:i]
	}
	return strings.TrimSuffix(inner, ")")
}
