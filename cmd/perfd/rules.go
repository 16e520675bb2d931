package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/perfd/perfd/internal/app"
)

// runRules writes the rules for Prometheus that perfd ships. It reads no
// configuration: limits and objectives reach the rules as metrics.
func runRules(args []string, stdout, stderr io.Writer) int {
	o := app.RulesOptions{Out: stdout}
	f := flag.NewFlagSet("perfd rules", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() { printFlags(f, stderr) }
	f.StringVar(&o.Folder, "out", "", "folder that takes the files; one file on stdout if empty")
	f.StringVar(&o.Format, "format", "prometheus", "what is written: prometheus, or kubernetes for a PrometheusRule manifest")
	f.Float64Var(&o.TimeScale, "time-scale", 1, "what every window, for, keep_firing_for and interval is divided by, for demonstrations")
	f.StringVar(&o.Grafana, "grafana", "", "address that links to dashboards begin with, such as https://grafana.example.com")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return exitOK
		}
		return exitUsage
	}
	o.Grafana = strings.TrimRight(o.Grafana, "/")
	err := unexpected(f.Args())
	if err == nil && o.Format != "prometheus" && o.Format != "kubernetes" {
		err = fmt.Errorf("--format: want prometheus or kubernetes, got %q", o.Format)
	}
	if err != nil {
		fmt.Fprintf(stderr, "perfd: %v\n", err)
		return exitUsage
	}
	if err := app.Rules(o); err != nil {
		fmt.Fprintf(stderr, "perfd: %v\n", err)
		if usage := (*app.UsageError)(nil); errors.As(err, &usage) {
			return exitUsage
		}
		return exitFailed
	}
	return exitOK
}
