package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/perfd/perfd/alerts"
	"github.com/perfd/perfd/internal/app"
)

// runRules writes the rules for Prometheus that perfd ships. It reads no
// configuration: limits and objectives reach the rules as metrics.
func runRules(args []string, stdout, stderr io.Writer) int {
	o := rulesOptions{Out: stdout}
	f := flag.NewFlagSet("perfd rules", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() { printFlags(f, stderr) }
	f.StringVar(&o.Folder, "out", "", "folder that takes the files; one file on stdout if empty")
	f.StringVar(&o.Format, "format", "prometheus", "what is written: prometheus, or kubernetes for a PrometheusRule manifest")
	f.Float64Var(&o.TimeScale, "time-scale", 1, "what every window, for, keep_firing_for and interval is divided by, for demonstrations")
	f.StringVar(&o.Grafana, "grafana", "", "address that links to dashboards begin with, such as https://grafana.example.com")
	f.StringVar(&o.Runbooks, "runbook-url", "", "address below which the runbook of alert NAME is NAME.md; the project's own if empty")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return exitOK
		}
		return exitUsage
	}
	o.Grafana, o.Runbooks = strings.TrimRight(o.Grafana, "/"), strings.TrimRight(o.Runbooks, "/")
	err := unexpected(f.Args())
	if err == nil && o.Format != "prometheus" && o.Format != "kubernetes" {
		err = fmt.Errorf("--format: want prometheus or kubernetes, got %q", o.Format)
	}
	if err != nil {
		fmt.Fprintf(stderr, "perfd: %v\n", err)
		return exitUsage
	}
	if err := writeRules(o); err != nil {
		fmt.Fprintf(stderr, "perfd: %v\n", err)
		if usage := (*app.UsageError)(nil); errors.As(err, &usage) {
			return exitUsage
		}
		return exitFailed
	}
	return exitOK
}

// rulesOptions of writeRules.
type rulesOptions struct {
	TimeScale float64 // what every duration is divided by
	Grafana   string  // address that links to dashboards begin with; empty leaves them without one
	Runbooks  string  // address that links to runbooks begin with; empty leaves the project's own
	Format    string  // prometheus or kubernetes
	Folder    string  // takes the files; empty writes one to Out
	Out       io.Writer
}

// writeRules writes the recording rules and alerts that are shipped with perfd. A
// *app.UsageError says that a time scale makes no rules.
func writeRules(o rulesOptions) error {
	files, err := alerts.Rules(alerts.Options{TimeScale: o.TimeScale, Grafana: o.Grafana, Runbooks: o.Runbooks})
	if err != nil {
		return &app.UsageError{Err: fmt.Errorf("rules: %w", err)}
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
	return writeFolder(o.Folder, files)
}

// runRunbook prints the runbook of an alert, or the names of all of them.
func runRunbook(args []string, stdout, stderr io.Writer) int {
	f := flag.NewFlagSet("perfd runbook [ALERT]", flag.ContinueOnError)
	f.SetOutput(stderr)
	out := f.String("out", "", "folder that takes all runbooks")
	f.Usage = func() { printFlags(f, stderr) }
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return exitOK
		}
		return exitUsage
	}
	names := alerts.Runbooks()
	var all []alerts.File
	if args := f.Args(); *out == "" && len(args) == 0 {
		fmt.Fprintln(stdout, strings.Join(names, "\n"))
		return exitOK
	} else if *out == "" {
		names = args
	} else if err := unexpected(args); err != nil {
		fmt.Fprintf(stderr, "perfd: %v\n", err)
		return exitUsage
	}
	for _, name := range names {
		text, err := alerts.Runbook(name)
		if err != nil {
			fmt.Fprintf(stderr, "perfd: no alert is called %q\n\thint: perfd runbook lists them\n", name)
			return exitUsage
		}
		all = append(all, alerts.File{Name: name + ".md", Text: text})
	}
	if *out != "" {
		if err := writeFolder(*out, all); err != nil {
			fmt.Fprintf(stderr, "perfd: %v\n", err)
			return exitFailed
		}
		return exitOK
	}
	for _, r := range all {
		if _, err := stdout.Write(r.Text); err != nil {
			fmt.Fprintf(stderr, "perfd: %v\n", err)
			return exitFailed
		}
	}
	return exitOK
}
