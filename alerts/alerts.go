// Package alerts holds perfd's Prometheus rules, so that the binary alone is
// enough to install them, and writes them in other forms: faster, for
// demonstrations and tests, or as a manifest for Kubernetes. It holds the runbooks of the alerts, too.
//
// The rules are the files beside this one. Nothing here knows what they say.
package alerts

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"math"
	"path"
	"strings"
)

//go:embed perfd-*.yaml runbooks/*.md
var shipped embed.FS

// shippedRunbooks is what links to runbooks begin with in the shipped files.
const shippedRunbooks = "https://github.com/perfd/perfd/blob/main/alerts/runbooks/"

// A File is one file of rules.
type File struct {
	Name string // without a folder
	Text []byte
}

// Options of Rules.
type Options struct {
	TimeScale float64 // what every window, for, keep_firing_for and interval is divided by; more than 0
	Grafana   string  // address that links to dashboards begin with, such as https://grafana.example.com; may be empty
	Runbooks  string  // address below which NAME.md is the runbook of alert NAME; the project's own if empty
}

// Rules returns the shipped files in the order of their names. A time scale of 1 and no
// address return them as they are. It is an error if a scale makes a duration shorter than Prometheus knows.
func Rules(o Options) ([]File, error) {
	if !(o.TimeScale > 0) || math.IsInf(o.TimeScale, 0) {
		return nil, fmt.Errorf("time scale: must be more than 0, got %v", o.TimeScale)
	}
	names, err := fs.Glob(shipped, "*.yaml")
	if err != nil {
		return nil, err
	}
	var files []File
	for _, name := range names {
		text, err := shipped.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if o.TimeScale != 1 {
			if text, err = scale(text, o.TimeScale); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
		if o.Grafana != "" {
			text = bytes.ReplaceAll(text, []byte("dashboard_url: /d/"), []byte("dashboard_url: "+o.Grafana+"/d/"))
		}
		if o.Runbooks != "" {
			text = bytes.ReplaceAll(text, []byte("runbook_url: "+shippedRunbooks), []byte("runbook_url: "+o.Runbooks+"/"))
		}
		files = append(files, File{name, text})
	}
	return files, nil
}

// Runbooks returns the names of all alerts, each of which has a runbook, in order.
func Runbooks() []string {
	names, err := fs.Glob(shipped, "runbooks/*.md")
	if err != nil {
		panic(err) // the pattern is constant
	}
	for i, n := range names {
		names[i] = strings.TrimSuffix(path.Base(n), ".md")
	}
	return names
}

// Runbook returns the runbook of an alert as Markdown. The error wraps fs.ErrNotExist if there is no such alert.
func Runbook(alert string) ([]byte, error) {
	return shipped.ReadFile(path.Join("runbooks", path.Base(alert)+".md"))
}

// One returns the groups of all files as one file of rules.
func One(files []File) []byte {
	var out bytes.Buffer
	out.WriteString("groups:\n")
	for _, f := range files {
		out.Write(groups(f.Text))
	}
	return out.Bytes()
}

// manifest is what comes before the groups. Its labels are those by which kube-prometheus chooses rules.
const manifest = `apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: perfd
  labels:
    app.kubernetes.io/name: perfd
    prometheus: k8s
    role: alert-rules
spec:
  groups:
`

// Kubernetes returns the groups of all files as one manifest of kind PrometheusRule.
func Kubernetes(files []File) []byte {
	out := bytes.NewBufferString(manifest)
	for _, f := range files {
		for line := range bytes.Lines(groups(f.Text)) {
			if len(bytes.TrimSpace(line)) > 0 {
				out.WriteString("  ")
			}
			out.Write(line)
		}
	}
	return out.Bytes()
}

// groups returns what comes after the line that begins the groups.
func groups(text []byte) []byte {
	_, after, _ := bytes.Cut(text, []byte("\ngroups:\n"))
	return after
}
