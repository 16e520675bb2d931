package main

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
)

// A stage is a part of the suite with a time of its own. Its steps run one
// after another, also after one that failed.
type stage struct {
	name  string
	steps []step
	// waits marks a stage that waits more than it computes, for which the
	// programs it starts are put before all others by real-time priority. It
	// runs beside the other stages where this process has the right to do so,
	// and after them elsewhere.
	waits bool
}

// A step is one command. If packages is set it is "go test FLAGS PACKAGES",
// otherwise it is args.
type step struct {
	args     []string
	flags    []string
	packages []string // patterns of go list
	except   []string // patterns of packages that are left out
	env      []string // of the step, besides that of this process
	ram      bool     // the files of tests are in memory, where it has room
	hint     string   // what to do about a failure, besides running it again
}

// command returns the words of the command. Where packages are left out, go
// list names the others.
func (s step) command() ([]string, error) {
	if s.packages == nil {
		return s.args, nil
	}
	packages := s.packages
	if len(s.except) > 0 {
		all, err := list(s.packages)
		if err != nil {
			return nil, err
		}
		without, err := list(s.except)
		if err != nil {
			return nil, err
		}
		packages = slices.DeleteFunc(all, func(p string) bool { return slices.Contains(without, p) })
	}
	return slices.Concat([]string{"go", "test"}, s.flags, packages), nil
}

// list returns the import paths of the packages that match patterns.
func list(patterns []string) ([]string, error) {
	out, err := exec.Command("go", append([]string{"list"}, patterns...)...).Output()
	if err != nil {
		return nil, fmt.Errorf("go list %s: %w", strings.Join(patterns, " "), err)
	}
	return strings.Fields(string(out)), nil
}

// String describes the step as a command line.
func (s step) String() string {
	words := slices.Clone(s.env)
	if s.packages == nil {
		return strings.Join(append(words, s.args...), " ")
	}
	words = slices.Concat(words, []string{"go", "test"}, s.flags, s.packages)
	if len(s.except) > 0 {
		words = append(words, "but", strings.Join(s.except, " "))
	}
	return strings.Join(words, " ")
}

// again returns the command line that reruns a package of the step, or some
// tests of it, or the whole step where pkg is empty.
func (s step) again(pkg string, tests []string) string {
	if pkg == "" {
		return s.String()
	}
	words := append(slices.Clone(s.env), "go", "test")
	for _, f := range s.flags {
		if !strings.HasPrefix(f, "-count=") && f != "-p=1" {
			words = append(words, f)
		}
	}
	words = append(words, "-count=1")
	if len(tests) > 0 {
		words = append(words, fmt.Sprintf("-run='^(%s)$'", strings.Join(tests, "|")))
	}
	return strings.Join(append(words, pkg), " ")
}

// unit are the packages whose tests need no other program than Go, chromium
// for the pages excepted; what ./test/... starts is installed by make deps.
var unit = []string{"./alerts/...", "./cmd/...", "./config/...", "./dashboards/...", "./internal/..."}

// longest are the packages whose short tests wait longest. They begin first, so that nothing waits for them at the end.
var longest = []string{"./internal/app", "./internal/command", "./internal/demo", "./internal/protocol/grpc"}

// sequential are the packages whose code runs in one goroutine and whose full
// tests compute for long: they simulate error rates, or try every value at every
// place of a document. The full tests run without the race detector, under which
// they are ten times as slow, and the short ones with it.
var sequential = []string{"./internal/analysis/...", "./internal/config", "./internal/stats"}

var groups = map[string][]stage{
	"check": {
		// vet checks the types of what the tests do not compile, and the test of cmd/perfd links the program.
		{name: "vet", steps: []step{{args: []string{"go", "vet", "./..."}}}},
		// Most of the tests that run in parallel wait, and so do some packages, beside which others compute. A heap of
		// some megabytes is not worth collecting as often as Go does. Daemons in fake time write to their storage every four
		// seconds of it, and wait for the disk each time.
		{name: "short", steps: []step{{
			flags: []string{"-short", "-vet=off", "-p=4", "-parallel=4"}, packages: slices.Concat(longest, unit), env: []string{"GOGC=400"}, ram: true,
		}}},
	},
	"test": {
		{name: "stories", waits: true, steps: []step{
			{flags: []string{"-race", "-count=1", "-timeout=45m"}, packages: []string{"./test/stories"}},
		}},
		{name: "lint", steps: []step{
			{args: []string{"make", "golangci"}},
			{args: []string{"make", "tidy"}},
			{args: []string{"make", "deadcode"}},
			{args: []string{"make", "vulncheck"}},
		}},
		{name: "drift", steps: []step{
			{packages: []string{"./config", "./internal/metric"}, hint: "make docs"},
			{packages: []string{"./dashboards/build"}, hint: "make dashboards"},
		}},
		{name: "unit", steps: []step{
			{flags: []string{"-race", "-timeout=30m"}, packages: unit, except: sequential, ram: true},
			{flags: []string{"-race", "-short", "-timeout=30m"}, packages: sequential, ram: true},
		}},
		{name: "compute", steps: []step{
			// The daemon in fake time judges weeks.
			{flags: []string{"-timeout=20m"}, packages: append([]string{"./internal/app/..."}, sequential...), ram: true},
		}},
		{name: "bench", steps: []step{
			{flags: []string{"-race", "-count=1", "-timeout=10m"}, packages: []string{"./bench/..."}},
			{flags: []string{"-run=^$", "-bench=.", "-benchtime=1x", "-timeout=10m"}, packages: []string{"./internal/..."}},
		}},
		{name: "e2e", steps: []step{
			// One package after another: what they start shares the processors with what others time.
			{flags: []string{"-race", "-count=1", "-p=1", "-timeout=30m"}, packages: []string{"./test", "./test/daemon", "./test/peers", "./test/proc"}},
		}},
		{name: "tools", steps: []step{{args: []string{"make", "test-tools"}}}},
	},
}

// choose returns the stages of a group, or those of it that are named.
func choose(group string, only []string) ([]stage, error) {
	all, ok := groups[group]
	if !ok {
		return nil, fmt.Errorf("no group of stages %q: it is check or test", group)
	}
	if len(only) == 0 {
		return all, nil
	}
	var chosen []stage
	for _, name := range only {
		i := slices.IndexFunc(all, func(s stage) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no stage %q in %s: it has %s", name, group, strings.Join(names(all), ", "))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

func names(stages []stage) []string {
	var list []string
	for _, s := range stages {
		list = append(list, s.name)
	}
	return list
}

// lanes divides stages into those that run one after another, and those that run beside them.
func lanes(stages []stage, realtime bool) [][]stage {
	var computing, waiting []stage
	for _, s := range stages {
		if s.waits {
			waiting = append(waiting, s)
		} else {
			computing = append(computing, s)
		}
	}
	if realtime {
		return [][]stage{computing, waiting}
	}
	return [][]stage{append(computing, waiting...)}
}

// mayRealtime reports whether this process may give real-time priority to others.
func mayRealtime() bool {
	return exec.Command("chrt", "--rr", "10", "true").Run() == nil
}
