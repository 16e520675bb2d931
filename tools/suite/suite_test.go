package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What go test 1.26 prints of packages that pass, fail, panic, do not build
// and run out of time.
const goTestOutput = `ok  	github.com/perfd/perfd/internal/block	0.080s
ok  	github.com/perfd/perfd/internal/config	(cached)
?   	github.com/perfd/perfd/internal/kind	[no test files]
--- FAIL: TestA (0.00s)
    --- FAIL: TestA/sub (0.00s)
        a_test.go:5: wrong
--- FAIL: TestB (1.00s)
FAIL
FAIL	github.com/perfd/perfd/internal/app	2.004s
ok  	github.com/perfd/perfd/internal/wire	1.000s [no tests to run]
panic: test timed out after 1s
	running tests:
		TestHang (1s)
		TestSlow (1m1s)
		TestSlow/part (1m1s)

goroutine 7 [running]:
FAIL	github.com/perfd/perfd/internal/web	61.010s
# github.com/perfd/perfd/internal/pace [github.com/perfd/perfd/internal/pace.test]
internal/pace/pace_test.go:3:1: syntax error
FAIL	github.com/perfd/perfd/internal/pace [build failed]
FAIL
`

func TestResultsOfGoTestAreRead(t *testing.T) {
	var out bytes.Buffer
	got := pass(&printer{out: &out}, strings.NewReader(goTestOutput), true)
	const at = "github.com/perfd/perfd/internal/"
	want := []pkgResult{
		{name: at + "block", seconds: 0.08},
		{name: at + "config", cached: true},
		{name: at + "app", seconds: 2.004, failed: true, tests: []string{"TestA", "TestB"}},
		{name: at + "wire", seconds: 1},
		{name: at + "web", seconds: 61.01, failed: true, tests: []string{"TestHang", "TestSlow"}},
		{name: at + "pace", failed: true, why: "[build failed]"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("packages = %+v\nwant %+v", got, want)
	}
	if out.String() != goTestOutput {
		t.Errorf("go test's lines are passed through as\n%s", &out)
	}
}

func TestReportNamesWhatFailedAndHowToRunItAgain(t *testing.T) {
	tests := step{flags: []string{"-race", "-count=1", "-p=1", "-timeout=30m"}, packages: []string{"./internal/..."}, hint: "make docs"}
	results := []result{
		{stage: "lint", took: time.Minute, steps: []stepResult{{step: step{args: []string{"make", "lint"}}, err: errors.New("exit status 2")}}},
		{stage: "unit", took: 90 * time.Second, steps: []stepResult{{step: tests, err: errors.New("exit status 1"), packages: []pkgResult{
			{name: module + "internal/app", seconds: 12.04, failed: true, tests: []string{"TestA", "TestB"}},
			{name: module + "internal/web", seconds: 2},
			{name: module + "internal/pace", failed: true, why: "[build failed]"},
		}}}},
		{stage: "e2e", took: time.Second, steps: []stepResult{{step: tests}}},
	}
	limits, err := parseBudgets("budgets.txt", "unit ./internal/app 10 # slow\nunit ./internal/... 5\ntotal test 120\n")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	report(&out, "test", results, limits, 151*time.Second)
	const want = `
== times
lint          1:00  FAILED
unit          1:30  FAILED
e2e           0:01  ok
total         2:31  of 2:00  over budget

== packages, in seconds
unit       ./internal/app                          12.0 of   10  over budget
unit       ./internal/web                           2.0 of    5
1 over budget

== failed, with the command that runs it again
lint: exit status 2
	make lint
unit: ./internal/app TestA, TestB
	go test -race -timeout=30m -count=1 -run='^(TestA|TestB)$' ./internal/app
	make docs
unit: ./internal/pace [build failed]
	go test -race -timeout=30m -count=1 ./internal/pace
	make docs
`
	if out.String() != want {
		t.Errorf("report =\n%s\nwant\n%s", &out, want)
	}
}

func TestStagesGoOnAfterAFailure(t *testing.T) {
	var out bytes.Buffer
	results := runLanes(t.Context(), &printer{out: &out}, []stage{
		{name: "wait", waits: true, steps: []step{{args: []string{"true"}}}},
		{name: "first", steps: []step{{args: []string{"false"}}, {args: []string{"echo", "the second step"}}}},
		{name: "second", steps: []step{{args: []string{"no such program"}}}},
		{name: "third", steps: []step{{args: []string{"echo", "the third stage"}}}},
	})
	var failed []string
	for _, r := range results {
		if r.failed() {
			failed = append(failed, r.stage)
		}
	}
	if want := []string{"first", "second"}; !slices.Equal(failed, want) {
		t.Errorf("failed: %v, want %v", failed, want)
	}
	for _, want := range []string{"the second step\n", "the third stage\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output has no %q:\n%s", want, &out)
		}
	}
}

func TestAnInterruptEndsWhatRunsAndSkipsTheRest(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	var out bytes.Buffer
	began := time.Now()
	results := runLanes(ctx, &printer{out: &out}, []stage{
		{name: "long", steps: []step{{args: []string{"sh", "-c", "sleep 60 & wait"}}}},
		{name: "next", steps: []step{{args: []string{"true"}}}},
	})
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("an interrupt takes %v to end a command of a minute", took)
	}
	for _, r := range results {
		if !r.failed() {
			t.Errorf("%s counts as passed after an interrupt", r.stage)
		}
	}
}

func TestStagesThatWaitRunBesideOthersWithTheRightToIt(t *testing.T) {
	stages := []stage{{name: "w", waits: true}, {name: "a"}, {name: "b"}}
	for realtime, want := range map[bool][][]string{true: {{"a", "b"}, {"w"}}, false: {{"a", "b", "w"}}} {
		var got [][]string
		for _, l := range lanes(stages, realtime) {
			got = append(got, names(l))
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("lanes with the right to real-time priority %v = %v, want %v", realtime, got, want)
		}
	}
}

func TestEveryStageHasABudgetForItsPackages(t *testing.T) {
	limits, err := readBudgets("budgets.txt")
	if err != nil {
		t.Fatal(err)
	}
	for group, stages := range groups {
		for _, s := range stages {
			for _, x := range s.steps {
				for _, pkg := range x.packages {
					if limits.of(s.name, strings.TrimSuffix(pkg, "/...")) <= 0 {
						t.Errorf("%s, stage %s: no budget for %s", group, s.name, pkg)
					}
				}
			}
		}
	}
	for _, bad := range []string{"unit ./internal/app", "unit ./internal/app fast", "unit ./internal/app -1"} {
		if _, err := parseBudgets("b", "# comment\n"+bad); err == nil || !strings.HasPrefix(err.Error(), "b:2: ") {
			t.Errorf("parseBudgets(%q) = %v, want an error of line 2", bad, err)
		}
	}
}

func TestPackagesAreLeftOut(t *testing.T) {
	t.Chdir("../..")
	argv, err := step{flags: []string{"-race"}, packages: []string{"./internal/..."}, except: sequential}.command()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(argv[:3], []string{"go", "test", "-race"}) || !slices.Contains(argv, module+"internal/app") {
		t.Errorf("command = %v", argv)
	}
	if i := slices.IndexFunc(argv, func(w string) bool {
		return strings.HasPrefix(w, module+"internal/analysis") || w == module+"internal/stats" || w == module+"internal/config"
	}); i >= 0 {
		t.Errorf("command has %s, want none of %v", argv[i], sequential)
	}
}

func TestStagesAreChosenByName(t *testing.T) {
	if got, err := choose("test", []string{"e2e", "lint"}); err != nil || !slices.Equal(names(got), []string{"e2e", "lint"}) {
		t.Errorf("choose = %v, %v", names(got), err)
	}
	for _, bad := range [][]string{{"test", "none"}, {"none", ""}} {
		if _, err := choose(bad[0], bad[1:]); err == nil {
			t.Errorf("choose(%q) is no error", bad)
		}
	}
}

func TestCandidatesAreReadWithTheirFlags(t *testing.T) {
	const text = "# comment\n./internal/wire\n./test -test.run=^TestA$ # slow\n"
	list, err := candidates(text, nil)
	if err != nil || len(list) != 2 || list[1].name() != "./test -test.run=^TestA$" {
		t.Errorf("candidates = %v, %v", list, err)
	}
	list, err = candidates(text, []string{"./internal/wire"})
	if err != nil || len(list) != 1 || list[0].name() != "./internal/wire" {
		t.Errorf("candidates of wire = %v, %v", list, err)
	}
	if _, err := candidates(text, []string{"./none"}); err == nil {
		t.Error("candidates of an unknown package are no error")
	}
}

func TestFilesOfTestsAreInMemoryWhereItIsMemory(t *testing.T) {
	t.Setenv("TMPDIR", "")
	t.Setenv("GOTMPDIR", "")
	if got := inMemory("/proc"); got != nil {
		t.Errorf("in /proc, which is no memory: %q", got)
	}
	if got := inMemory(filepath.Join(t.TempDir(), "none")); got != nil {
		t.Errorf("in a folder that is not there: %q", got)
	}
	got := inMemory(memory)
	t.Logf("in %s: %q", memory, got)
	if got != nil && !slices.Equal(got, []string{"TMPDIR=" + memory}) {
		t.Errorf("the environment is %q", got)
	}
	for _, name := range []string{"TMPDIR", "GOTMPDIR"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, "/elsewhere")
			if got := inMemory(memory); got != nil {
				t.Errorf("beside a %s of the user's: %q", name, got)
			}
		})
	}
}

func TestMemoryHasRoomAndRunsPrograms(t *testing.T) {
	fs := syscall.Statfs_t{Type: tmpfsMagic, Bsize: 4096, Bavail: memoryLeft / 4096}
	if !fits(fs) {
		t.Errorf("%+v does not fit", fs)
	}
	for why, spoil := range map[string]func(*syscall.Statfs_t){
		"it is no memory":                  func(f *syscall.Statfs_t) { f.Type = 0xef53 },
		"it has too little room":           func(f *syscall.Statfs_t) { f.Bavail-- },
		"programs in it are not to be run": func(f *syscall.Statfs_t) { f.Flags |= noExec },
	} {
		bad := fs
		spoil(&bad)
		if fits(bad) {
			t.Errorf("%+v fits, though %s", bad, why)
		}
	}
}

// A test's TempDir is where the suite puts it, whatever go test makes of the environment.
func TestTempDirOfATestIsInTheFolder(t *testing.T) {
	env := inMemory(memory)
	if env == nil {
		t.Skip(memory + " is no place for the files of tests")
	}
	module := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":    "module place\n",
		"p_test.go": "package place\n\nimport \"testing\"\n\nfunc TestPlace(t *testing.T) { println(t.TempDir()) }\n",
	} {
		if err := os.WriteFile(filepath.Join(module, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "test", "-count=1", "-v", ".")
	cmd.Dir, cmd.Env = module, append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "\n"+memory+"/") {
		t.Errorf("go test = %v: %s", err, out)
	}
}

// apart are the packages with tests that no stage runs, and what does.
var apart = map[string]string{"./test/leaks": "make leaks"}

func TestEveryPackageIsInAStage(t *testing.T) {
	root := filepath.Join("..", "..")
	found := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root {
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil || strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" {
				return filepath.SkipDir
			}
		}
		if strings.HasSuffix(path, "_test.go") {
			pkg, err := filepath.Rel(root, filepath.Dir(path))
			if err != nil {
				return err
			}
			found["./"+filepath.ToSlash(pkg)] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 50 {
		t.Fatalf("%d packages have tests, want many", len(found))
	}
	runs := func(pkg string) bool {
		return slices.ContainsFunc(groups["test"], func(s stage) bool {
			return slices.ContainsFunc(s.steps, func(x step) bool {
				return !slices.Contains(x.flags, "-run=^$") && slices.ContainsFunc(x.packages, func(p string) bool {
					below, all := strings.CutSuffix(p, "/...")
					return p == pkg || all && (pkg == below || strings.HasPrefix(pkg, below+"/"))
				})
			})
		})
	}
	for pkg := range found {
		if by := apart[pkg]; runs(pkg) == (by != "") {
			t.Errorf("%s: a stage of make test runs it: %v, and apart says %q", pkg, runs(pkg), by)
		}
	}
}
