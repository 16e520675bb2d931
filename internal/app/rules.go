package app

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/perfd/perfd/alerts"
)

// RulesOptions of Rules.
type RulesOptions struct {
	TimeScale float64 // what every duration is divided by
	Grafana   string  // address that links to dashboards begin with; empty leaves them without one
	Format    string  // prometheus or kubernetes
	Folder    string  // takes the files; empty writes one to Out
	Out       io.Writer
}

// Rules writes the recording rules and alerts that are shipped with perfd. A
// *UsageError says that a time scale makes no rules.
func Rules(o RulesOptions) error {
	files, err := alerts.Rules(alerts.Options{TimeScale: o.TimeScale, Grafana: o.Grafana})
	if err != nil {
		return &UsageError{fmt.Errorf("rules: %w", err)}
	}
	one := alerts.One
	if o.Format == "kubernetes" {
		one = alerts.Kubernetes
		if o.Folder != "" {
			files = []alerts.File{{Name: "perfd-rules.yaml", Text: alerts.Kubernetes(files)}}
		}
	}
	if o.Folder == "" {
		_, err := o.Out.Write(one(files))
		return err
	}
	if err := os.MkdirAll(o.Folder, 0o755); err != nil {
		return err
	}
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(o.Folder, f.Name), f.Text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
