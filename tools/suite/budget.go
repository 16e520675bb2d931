package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// A budget is how many seconds the tests of packages may take in a stage.
type budget struct {
	stage   string
	pattern string // a package, or the beginning of packages followed by ...
	seconds float64
}

// budgets are limits, of which the first that matches holds.
type budgets []budget

func (b budgets) of(stage, pkg string) float64 {
	for _, x := range b {
		begin, many := strings.CutSuffix(x.pattern, "...")
		if x.stage == stage && (pkg == x.pattern || many && strings.HasPrefix(pkg+"/", begin)) {
			return x.seconds
		}
	}
	return 0
}

func readBudgets(file string) (budgets, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return parseBudgets(file, string(text))
}

// parseBudgets reads lines of stage, pattern and seconds; a hash begins a comment.
func parseBudgets(file, text string) (budgets, error) {
	var all budgets
	n := 0
	for line := range strings.Lines(text) {
		n++
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if len(words) != 3 {
			return nil, fmt.Errorf("%s:%d: want stage, package and seconds, got %q", file, n, strings.TrimSpace(line))
		}
		seconds, err := strconv.ParseFloat(words[2], 64)
		if err != nil || seconds <= 0 {
			return nil, fmt.Errorf("%s:%d: %q is no positive number of seconds", file, n, words[2])
		}
		all = append(all, budget{words[0], words[1], seconds})
	}
	return all, nil
}
