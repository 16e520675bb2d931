// Command perfd keeps synthetic load on a staging system and says, in
// Prometheus, the moment a release gets slower, leaks memory or breaks its SLA.
//
// It translates flags and signals into options and a context; package app is the
// daemon, package command everything else that a command does.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	_ "time/tzdata" // a scratch image has no time zones of its own

	"github.com/prometheus/common/promslog"
	"github.com/prometheus/common/version"
	_ "golang.org/x/crypto/x509roots/fallback" // nor CA roots

	"github.com/perfd/perfd/internal/app"
	"github.com/perfd/perfd/internal/command"
	"github.com/perfd/perfd/internal/logging"
)

// Exit codes. Those of once that are a verdict are in package command: 3 for an objective that failed, 4 for inconclusive.
const (
	exitOK     = 0
	exitFailed = 1 // failed while running
	exitUsage  = 2 // wrong usage or configuration
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

const usage = `perfd keeps synthetic load on a staging system and says what it finds in Prometheus.

Usage: perfd [COMMAND] [FLAGS]
       perfd once SCENARIO|SUITE [FLAGS]
       perfd plan SCENARIO [FLAGS]
       perfd scale SCENARIO --vus=N|--rate=R [FLAGS]

Commands:
  run       the daemon (the default)
  check     load, validate and build the configuration, start nothing, print each scenario's rates
  plan      draw the load of a scenario over time, its schedule and blackouts included; start nothing
  once      one run of a scenario or suite in the foreground: progress, a summary and an exit code for pipelines
  scale     set the load of a scenario that a daemon runs, where its executor is externally-controlled
  analyze   what is found in a time that is over, out of what the daemon stored
  demo      the daemon and a demo shop in one process; nothing else is needed
  rules     write the rules and alerts for Prometheus that perfd brings along
  runbook   print what to do about an alert
  dashboards
            write the dashboards for Grafana that perfd brings along
  version   print version and build

"perfd COMMAND --help" prints the command's flags with their defaults.

Exit codes: 0 fine, 1 failed while running, 2 wrong usage or configuration; of once also 3 an objective, every request or a check failed, or
most requests where there is no objective, 4 inconclusive.
`

func run(args []string, stdout, stderr io.Writer) int {
	name := "run"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	}
	switch name {
	case "run", "check", "plan", "once", "analyze", "demo":
	case "rules":
		return runRules(args, stdout, stderr)
	case "scale":
		return runScale(args, stdout, stderr)
	case "runbook":
		return runRunbook(args, stdout, stderr)
	case "dashboards":
		return runDashboards(args, stdout, stderr)
	case "version":
		fmt.Fprintln(stdout, version.Print("perfd"))
		return exitOK
	case "help":
		fmt.Fprint(stdout, usage)
		return exitOK
	default:
		fmt.Fprintf(stderr, "perfd: unknown command %q\n\thint: the commands are run, check, plan, once, scale, analyze, demo, rules, runbook, dashboards, version\n", name)
		return exitUsage
	}

	c := newCommandLine(name, stderr)
	if err := c.parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return exitOK
		}
		return exitUsage
	}
	if c.showVersion {
		fmt.Fprintln(stdout, version.Print("perfd"))
		return exitOK
	}
	opts, err := c.options(stderr)
	if err == nil {
		err = c.check()
	}
	if err != nil {
		fmt.Fprintf(stderr, "perfd: %v\n", err)
		return exitUsage
	}

	switch name {
	case "check":
		if err := command.Check(opts, stdout); err != nil {
			fmt.Fprintln(stderr, err)
			return exitUsage
		}
		return exitOK
	case "plan":
		return c.runPlan(opts, stdout, stderr)
	case "once":
		return c.runOnce(opts, stdout, stderr)
	case "analyze":
		return c.runAnalyze(opts, stdout, stderr)
	case "demo":
		return serve(opts, stderr, func(ctx context.Context, opts app.Options) (int, error) {
			return exitOK, command.Demo(ctx, opts, c.demo)
		})
	}
	return serve(opts, stderr, func(ctx context.Context, opts app.Options) (int, error) { return exitOK, app.Run(ctx, opts) })
}

// serve calls f, which returns an exit code, until it ends or a signal stops it. The first SIGINT or SIGTERM drains, a
// second one ends the process at once; SIGHUP reloads.
func serve(opts app.Options, stderr io.Writer, f func(context.Context, app.Options) (int, error)) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stops := make(chan os.Signal, 2)
	signal.Notify(stops, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(stops)
	hups := make(chan os.Signal, 1)
	signal.Notify(hups, syscall.SIGHUP)
	defer signal.Stop(hups)
	reloads := make(chan struct{}, 1)
	opts.Reload = reloads

	done := make(chan error, 1)
	code := exitOK
	go func() {
		var err error
		code, err = f(ctx, opts)
		done <- err
	}()
	stopping := false
	for {
		select {
		case <-hups:
			select {
			case reloads <- struct{}{}:
			default: // one is already waiting, and will read the newest file
			}
		case s := <-stops:
			if stopping {
				opts.Log.Warn("second signal, exiting at once", "signal", s.String())
				return exitFailed
			}
			stopping = true
			opts.Log.Info("draining; a second signal exits at once", "signal", s.String(), "grace", opts.Grace)
			cancel()
		case err := <-done:
			var usage *app.UsageError
			switch {
			case err == nil:
				return code
			case errors.As(err, &usage):
				fmt.Fprintln(stderr, err)
				return exitUsage
			default:
				opts.Log.Error("perfd failed", "err", err)
				return exitFailed
			}
		}
	}
}

// A commandLine is the flags of one command.
type commandLine struct {
	name        string // of the command
	flags       *flag.FlagSet
	args        []string // the arguments that are no flags
	opts        app.Options
	once        once
	plan        plan
	analysis    analysis
	timeScale   float64
	loadScale   float64
	listen      list
	logLevel    string
	logFormat   string
	shard       string
	demo        command.DemoOptions
	showVersion bool
}

func newCommandLine(name string, stderr io.Writer) *commandLine {
	usage := "perfd " + name
	if name == "once" || name == "plan" {
		usage += " SCENARIO"
	}
	c := &commandLine{name: name, flags: flag.NewFlagSet(usage, flag.ContinueOnError)}
	f := c.flags
	f.SetOutput(stderr)
	f.Usage = func() { printFlags(f, stderr) }
	f.BoolVar(&c.showVersion, "version", false, "print version and build, and exit")
	level := "info"
	if name == "once" || name == "analyze" || name == "plan" {
		level = "warn" // so that the log does not hide progress and findings
	}
	f.StringVar(&c.logLevel, "log.level", level, "least severe message to log: debug, info, warn or error")
	f.StringVar(&c.logFormat, "log.format", "logfmt", "how log lines look: logfmt, json or ecs (Elastic Common Schema)")
	f.StringVar(&c.shard, "shard", "0/1", "which share of all load this instance carries, as i/n with i from 0")
	if name != "demo" {
		f.StringVar(&c.opts.ConfigFile, "config.file", "perfd.yaml", "configuration file")
	}
	if name != "demo" && name != "analyze" {
		f.Float64Var(&c.timeScale, "time-scale", 0, "how many times faster everything goes in a rehearsal, such as 60: stages, schedules, think times; what the file says if 0")
		f.Float64Var(&c.loadScale, "load-scale", 0, "what part of users, rates and iterations there is in a rehearsal, such as 0.02; what the file says if 0")
	}
	switch name {
	case "check":
		return c
	case "plan":
		c.planFlags()
		return c
	case "analyze":
		c.analyzeFlags(time.Now())
		return c
	case "once":
		c.onceFlags()
	case "demo":
		c.listen = list{values: []string{"127.0.0.1:9797"}} // it may be paused and its knobs turned by whoever reaches it
	default:
		c.listen = list{values: []string{":9797"}}
	}
	f.Var(&c.listen, "web.listen-address", "address to serve /metrics, API and pages on; may be given more than once")
	f.StringVar(&c.opts.ExternalURL, "web.external-url", "", "address under which browsers reach perfd, such as https://example.com/perfd/ behind a reverse proxy; links lead there, and its path comes before all routes")
	f.StringVar(&c.opts.RoutePrefix, "web.route-prefix", "", "what the paths of all routes begin with; the path of --web.external-url if empty")
	f.StringVar(&c.opts.WebConfigFile, "web.config.file", "", "file that turns on TLS or basic authentication (exporter-toolkit's format)")
	f.IntVar(&c.opts.Connections, "web.max-connections", 512, "most connections to the web server at once, and a quarter of the open files that the process may have")
	f.BoolVar(&c.opts.Profiles, "web.enable-pprof", false, "serve Go's profiles at /debug/pprof/")
	f.DurationVar(&c.opts.Grace, "shutdown.grace", 30*time.Second, "how long a stop may take, iterations under way included")
	f.BoolVar(&c.opts.NoClassic, "metrics.no-classic-histograms", false, "expose native histograms only, without classic buckets")
	switch name {
	case "once":
		return c
	case "demo":
		f.StringVar(&c.demo.Address, "demo.listen-address", "127.0.0.1:9798", "address the demo shop and its knobs listen on")
		f.BoolVar(&c.demo.Quiet, "quiet", false, "play no script: the shop stays as it is until its knobs are turned")
		f.BoolVar(&c.demo.Services, "services", false, "run seven microservices beside the shop: user, order, payment, inventory, catalog, cart, notification")
		f.StringVar(&c.demo.ServicesAddress, "services.listen-address", "127.0.0.1:9801", "address the first of the services listens on; the others have the ports that follow")
		f.StringVar(&c.opts.StoragePath, "storage.path", "", "folder for state that survives a restart; a temporary one if empty")
		c.opts.Lifecycle = true
		return c
	}
	f.StringVar(&c.opts.StoragePath, "storage.path", "data", "folder for state that survives a restart; one daemon at a time")
	f.DurationVar(&c.opts.AutoReload, "config.auto-reload-interval", 0, "how often to look whether a file of the configuration changed, and reload then; 0s is never")
	f.BoolVar(&c.opts.Lifecycle, "web.enable-lifecycle", false, "allow reload, resume, and start and stop of scenarios by HTTP")
	return c
}

// parse reads flags and arguments in any order.
func (c *commandLine) parse(args []string) error {
	for {
		if err := c.flags.Parse(args); err != nil {
			return err
		}
		if args = c.flags.Args(); len(args) == 0 {
			return nil
		}
		c.args, args = append(c.args, args[0]), args[1:]
	}
}

// scale has the flags of a rehearsal take the place of what the file says.
func (c *commandLine) scale(o *app.Options) error {
	o.Flags = map[string]string{}
	for _, f := range []struct {
		flag, key   string
		value, from float64
		to          float64
	}{{"time-scale", "scale.time", c.timeScale, 1, command.MostTimeScale}, {"load-scale", "scale.load", c.loadScale, 1e-6, command.MostLoadScale}} {
		switch {
		case f.value == 0:
		case f.value >= f.from && f.value <= f.to:
			o.Flags[f.key] = strconv.FormatFloat(f.value, 'f', -1, 64)
		default:
			return fmt.Errorf("--%s: must be between %v and %v, got %v", f.flag, f.from, f.to, f.value)
		}
	}
	return nil
}

// check returns what is wrong with flags and arguments of the command.
func (c *commandLine) check() error {
	switch c.name {
	case "once":
		return errors.Join(scenario(c.name, c.args), c.once.check())
	case "plan":
		return errors.Join(scenario(c.name, c.args), c.plan.check())
	case "analyze":
		return errors.Join(unexpected(c.args), c.analysis.check())
	}
	if c.opts.AutoReload < 0 || c.opts.AutoReload > 0 && c.opts.AutoReload < time.Second {
		return fmt.Errorf("--config.auto-reload-interval: must be 0s or at least 1s, got %s", c.opts.AutoReload)
	}
	if c.opts.Connections < 0 {
		return fmt.Errorf("--web.max-connections: must be at least 1, got %d", c.opts.Connections)
	}
	return unexpected(c.args)
}

func unexpected(args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("unexpected argument %q\n\thint: flags are written --name=value", args[0])
}

func (c *commandLine) options(stderr io.Writer) (app.Options, error) {
	o := c.opts
	o.Listen = c.listen.values
	level, format := promslog.NewLevel(), promslog.NewFormat()
	if err := level.Set(c.logLevel); err != nil {
		return o, fmt.Errorf("--log.level: %w", err)
	}
	if c.logFormat == ecsFormat {
		var least slog.Level
		if err := least.UnmarshalText([]byte(c.logLevel)); err != nil {
			return o, fmt.Errorf("--log.level: %w", err)
		}
		o.Log = newECSLog(least, stderr)
	} else {
		if err := format.Set(c.logFormat); err != nil {
			return o, fmt.Errorf("--log.format: %w; ecs is known too", err)
		}
		o.Log = promslog.New(&promslog.Config{Level: level, Format: format, Writer: stderr})
	}
	// What libraries say by themselves is bounded, and holds no secret once the configuration is known.
	o.Log = logging.Bound(o.Log, nil)
	slog.SetDefault(o.Log)
	var rest string
	if n, _ := fmt.Sscanf(c.shard, "%d/%d%s", &o.Shard, &o.Shards, &rest); n != 2 || o.Shards < 1 || o.Shard < 0 || o.Shard >= o.Shards {
		return o, fmt.Errorf("--shard: want i/n with 0 <= i < n, such as 0/3, got %q", c.shard)
	}
	err := c.scale(&o)
	return o, err
}

// printFlags lists the flags as Prometheus programs write them, with two dashes.
func printFlags(f *flag.FlagSet, w io.Writer) {
	fmt.Fprintf(w, "Usage: %s [FLAGS]\n\nFlags:\n", f.Name())
	f.VisitAll(func(fl *flag.Flag) {
		def := ""
		if fl.DefValue != "" && fl.DefValue != "false" {
			def = fmt.Sprintf(" (default %s)", fl.DefValue)
		}
		fmt.Fprintf(w, "  --%s\n\t%s%s\n", fl.Name, fl.Usage, def)
	})
}

// A list is a flag that may be given more than once; the first use replaces the default.
type list struct {
	values []string
	given  bool
}

func (l *list) String() string { return strings.Join(l.values, ",") }

func (l *list) Set(s string) error {
	if !l.given {
		l.values, l.given = nil, true
	}
	l.values = append(l.values, s)
	return nil
}
