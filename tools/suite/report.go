package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

const module = "github.com/perfd/perfd/"

// local is a package as the commands of the repository name it.
func local(pkg string) string {
	return "./" + strings.TrimPrefix(pkg, module)
}

// report writes the times of stages and packages of a group, and what failed
// with the command that runs it again.
func report(out io.Writer, group string, results []result, limits budgets, total time.Duration) {
	fmt.Fprintf(out, "\n== times\n")
	for _, r := range results {
		verdict := "ok"
		if r.failed() {
			verdict = "FAILED"
		}
		fmt.Fprintf(out, "%-10s %7s  %s\n", r.stage, clock(r.took), verdict)
	}
	fmt.Fprintf(out, "%-10s %7s", "total", clock(total))
	if most := limits.of("total", group); most > 0 {
		fmt.Fprintf(out, "  of %s", clock(time.Duration(most*float64(time.Second))))
		if total.Seconds() > most {
			fmt.Fprint(out, "  over budget")
		}
	}
	fmt.Fprintln(out)
	packages(out, results, limits)
	failures(out, results)
}

// packages writes the packages that took a second or more, the slowest first,
// each with its budget.
func packages(out io.Writer, results []result, limits budgets) {
	type row struct {
		stage, pkg    string
		seconds, most float64
	}
	var rows []row
	over := 0
	for _, r := range results {
		for _, s := range r.steps {
			for _, p := range s.packages {
				if p.seconds < 1 {
					continue
				}
				x := row{r.stage, local(p.name), p.seconds, limits.of(r.stage, local(p.name))}
				if x.seconds > x.most {
					over++
				}
				rows = append(rows, x)
			}
		}
	}
	if len(rows) == 0 {
		return
	}
	slices.SortStableFunc(rows, func(a, b row) int { return cmp.Compare(b.seconds, a.seconds) })
	fmt.Fprintf(out, "\n== packages, in seconds\n")
	for _, x := range rows {
		mark := ""
		if x.seconds > x.most {
			mark = "  over budget"
		}
		fmt.Fprintf(out, "%-10s %-36s %7.1f of %4.0f%s\n", x.stage, x.pkg, x.seconds, x.most, mark)
	}
	fmt.Fprintf(out, "%d over budget\n", over)
}

func failures(out io.Writer, results []result) {
	n := 0
	say := func(stage, what, again, hint string) {
		if n == 0 {
			fmt.Fprintf(out, "\n== failed, with the command that runs it again\n")
		}
		n++
		fmt.Fprintf(out, "%s: %s\n\t%s\n", stage, what, again)
		if hint != "" {
			fmt.Fprintf(out, "\t%s\n", hint)
		}
	}
	for _, r := range results {
		for _, s := range r.steps {
			if s.err == nil {
				continue
			}
			named := false
			for _, p := range s.packages {
				if !p.failed {
					continue
				}
				named = true
				what := strings.Join(slices.DeleteFunc([]string{local(p.name), p.why, strings.Join(p.tests, ", ")}, func(w string) bool { return w == "" }), " ")
				say(r.stage, what, s.step.again(local(p.name), p.tests), s.step.hint)
			}
			if !named {
				say(r.stage, s.err.Error(), s.step.again("", nil), s.step.hint)
			}
		}
	}
	if n == 0 {
		fmt.Fprintf(out, "\nnothing failed\n")
	}
}

// clock writes a duration as minutes and seconds.
func clock(d time.Duration) string {
	d = d.Round(time.Second)
	return fmt.Sprintf("%d:%02d", int(d.Minutes()), int(d.Seconds())%60)
}
