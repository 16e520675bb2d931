package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"

	"github.com/perfd/perfd/internal/command"
)

// runScale sets the load of a scenario that a daemon runs.
func runScale(args []string, stdout, stderr io.Writer) int {
	f := flag.NewFlagSet("perfd scale SCENARIO --vus=N|--rate=R", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() { printFlags(f, stderr) }
	o := command.ScaleOptions{}
	vus := f.String("vus", "", "number of virtual users")
	f.StringVar(&o.Rate, "rate", "", "iterations per time, such as 50/s or 300/m")
	f.StringVar(&o.URL, "url", "http://127.0.0.1:9797", "where the daemon listens; https://user:password@host names a user")
	var names []string
	for rest := args; ; {
		if err := f.Parse(rest); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return exitOK
			}
			return exitUsage
		}
		if rest = f.Args(); len(rest) == 0 {
			break
		}
		names, rest = append(names, rest[0]), rest[1:]
	}
	err := scenario("scale", names)
	switch {
	case err != nil:
	case (*vus == "") == (o.Rate == ""):
		err = errors.New("scale: want one of --vus and --rate\n\thint: perfd scale " + names[0] + " --vus=20")
	case *vus != "":
		n, wrong := strconv.Atoi(*vus)
		if wrong != nil {
			err = fmt.Errorf("--vus: must be a whole number, got %q", *vus)
		}
		o.VUs = &n
	}
	if err != nil {
		fmt.Fprintf(stderr, "perfd: %v\n", err)
		return exitUsage
	}
	o.Scenario = names[0]
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := command.Scale(ctx, o, stdout); err != nil {
		fmt.Fprintf(stderr, "perfd: %v\n", err)
		if strings.HasPrefix(err.Error(), "--") {
			return exitUsage
		}
		return exitFailed
	}
	return exitOK
}
