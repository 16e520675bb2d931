package main

import (
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/perfd/perfd/dashboards"
)

// runDashboards writes the Grafana dashboards that perfd ships. It reads no configuration: limits and objectives reach
// the dashboards as metrics.
func runDashboards(args []string, stdout, stderr io.Writer) int {
	o := dashboardsOptions{Out: stdout}
	f := flag.NewFlagSet("perfd dashboards", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() { printFlags(f, stderr) }
	f.StringVar(&o.Folder, "out", "", "folder that takes the files; manifests go to stdout if empty")
	f.StringVar(&o.Format, "format", "grafana", "what is written: grafana for JSON that Grafana provisions, or kubernetes for ConfigMaps")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return exitOK
		}
		return exitUsage
	}
	err := unexpected(f.Args())
	switch {
	case err != nil:
	case o.Format != "grafana" && o.Format != "kubernetes":
		err = fmt.Errorf("--format: want grafana or kubernetes, got %q", o.Format)
	case o.Format == "grafana" && o.Folder == "":
		err = errors.New("--out: is required\n\thint: Grafana reads a folder of files, one for each dashboard")
	}
	if err != nil {
		fmt.Fprintf(stderr, "perfd: %v\n", err)
		return exitUsage
	}
	if err := writeDashboards(o); err != nil {
		fmt.Fprintf(stderr, "perfd: %v\n", err)
		return exitFailed
	}
	return exitOK
}

// dashboardsOptions of writeDashboards.
type dashboardsOptions struct {
	Format string // grafana or kubernetes
	Folder string // takes the files; empty writes manifests to Out
	Out    io.Writer
}

// writeDashboards writes the dashboards that are shipped with perfd.
func writeDashboards(o dashboardsOptions) error {
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
	return writeFolder(o.Folder, files)
}
