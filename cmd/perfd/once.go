package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/perfd/perfd/internal/app"
	"github.com/perfd/perfd/internal/command"
)

// A once holds the flags of `perfd once` beyond those of every command.
type once struct {
	length      time.Duration
	format      string
	file        string
	remoteWrite bool
}

func (c *commandLine) onceFlags() {
	f := c.flags
	f.DurationVar(&c.once.length, "for", 0, "how long the run lasts, such as 5m; as long as its schedule and workload say if 0")
	f.StringVar(&c.once.format, "summary", "text", "how the summary on stdout looks: text or json")
	f.StringVar(&c.once.file, "summary.file", "", "file that takes the summary too")
	f.BoolVar(&c.once.remoteWrite, "remote-write", false, "send metrics to the remote-write endpoints of the configuration")
	f.StringVar(&c.opts.StoragePath, "storage.path", "", "folder for what is measured; a temporary one if empty")
}

// runOnce runs a scenario in the foreground. Its verdict is the exit code.
func (c *commandLine) runOnce(opts app.Options, stdout, stderr io.Writer) int {
	o := command.OnceOptions{
		Scenario: c.args[0], For: c.once.length, Format: c.once.format, RemoteWrite: c.once.remoteWrite,
		Summary: stdout, Progress: stderr, Terminal: terminal(stderr),
	}
	var file *os.File
	if c.once.file != "" {
		var err error
		// A file that cannot be written is an error before any load is sent.
		if file, err = os.Create(c.once.file); err != nil {
			fmt.Fprintf(stderr, "perfd: --summary.file: %v\n", err)
			return exitUsage
		}
		o.Summary = io.MultiWriter(stdout, file)
	}
	code := serve(opts, stderr, func(ctx context.Context, opts app.Options) (int, error) { return command.Once(ctx, opts, o) })
	if file != nil {
		if err := file.Close(); err != nil {
			fmt.Fprintf(stderr, "perfd: --summary.file: %v\n", err)
			return exitFailed
		}
	}
	return code
}

// check returns what is wrong with the flags.
func (o once) check() error {
	switch {
	case o.length < 0:
		return fmt.Errorf("--for: must not be less than 0, got %s", o.length)
	case o.format != "text" && o.format != "json":
		return fmt.Errorf("--summary: want text or json, got %q", o.format)
	}
	return nil
}

// scenario is the one argument of a command.
func scenario(command string, args []string) error {
	if len(args) == 0 {
		what := "SCENARIO; perfd check lists the scenarios of a configuration"
		if command == "once" {
			what = "SCENARIO, or the name of a suite; perfd check lists both"
		}
		return fmt.Errorf("%[1]s: which scenario?\n\thint: perfd %[1]s %[2]s", command, what)
	}
	return unexpected(args[1:])
}

// terminal reports whether w is a terminal that can overwrite a line.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	i, err := f.Stat()
	return err == nil && i.Mode()&os.ModeCharDevice != 0
}
