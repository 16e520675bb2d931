// Command suite runs the stages of make check and make test, goes on where one
// fails, and ends with the time of each stage and package, what failed, and
// the command that runs each failure again.
//
//	suite [-root DIR] [-budgets FILE] check|test [STAGE...]
//	suite [-root DIR] [-for DURATION] [-load N] flaky [PACKAGE...]
//
// Stages that mostly wait run beside the stages that compute. go test's own
// lines are passed through, a package at a time.
//
// It knows the commands of the repository and nothing of perfd.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == busyCommand {
		busy(os.Args[2])
		return
	}
	root := flag.String("root", ".", "folder of the repository")
	budgetFile := flag.String("budgets", "tools/suite/budgets.txt", "seconds that a package may take, below root")
	span := flag.Duration("for", 30*time.Minute, "how long flaky reruns tests")
	load := flag.Int("load", 4, "processes that keep processors busy while flaky reruns tests")
	flag.Parse()
	if err := os.Chdir(*root); err != nil {
		fmt.Fprintln(os.Stderr, "suite:", err)
		os.Exit(2)
	}
	// The first signal ends what runs and leads to the report, the second is not caught.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	var err error
	switch name := flag.Arg(0); name {
	case "flaky":
		err = flaky(ctx, os.Stdout, *span, *load, flag.Args()[1:])
	default:
		err = run(ctx, os.Stdout, *budgetFile, name, flag.Args()[min(1, flag.NArg()):])
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "suite:", err)
		os.Exit(1)
	}
}

var errFailed = errors.New("something failed; the list is above")

// run runs a group of stages, or the named ones of it, and writes the report.
func run(ctx context.Context, out io.Writer, budgetFile, group string, only []string) error {
	stages, err := choose(group, only)
	if err != nil {
		return err
	}
	limits, err := readBudgets(budgetFile)
	if err != nil {
		return err
	}
	p := &printer{out: out}
	began := time.Now()
	results := runLanes(ctx, p, stages)
	report(out, group, results, limits, time.Since(began))
	for _, r := range results {
		if r.failed() {
			return errFailed
		}
	}
	return nil
}
