package app

import (
	"io"
	"os"
	"path/filepath"

	"github.com/perfd/perfd/dashboards"
)

// DashboardsOptions of Dashboards.
type DashboardsOptions struct {
	Format string // grafana or kubernetes
	Folder string // takes the files; empty writes manifests to Out
	Out    io.Writer
}

// Dashboards writes the dashboards that are shipped with perfd.
func Dashboards(o DashboardsOptions) error {
	files := dashboards.All()
	if o.Format == "kubernetes" {
		files = dashboards.ConfigMaps()
	}
	if o.Folder == "" {
		for _, f := range files {
			if _, err := o.Out.Write(append([]byte("---\n"), f.Text...)); err != nil {
				return err
			}
		}
		return nil
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
