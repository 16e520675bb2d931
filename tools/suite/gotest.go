package main

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A pkgResult is what go test says of a package.
type pkgResult struct {
	name    string   // import path
	seconds float64  // of the test binary; 0 where the result was cached or nothing was built
	cached  bool     // go test ran nothing, because nothing has changed
	failed  bool     // some test failed, or the package does not build
	tests   []string // the top-level tests and benchmarks that failed, empty where go test names none
	why     string   // what go test says beside the name, such as [build failed]
}

// A testOutput reads go test's output line by line.
type testOutput struct {
	packages []pkgResult
	tests    []string // that failed in the package whose lines are being read
	hanging  bool     // the lines that follow name tests that ran when the time was up
}

var (
	lineOK      = regexp.MustCompile(`^ok  \t(\S+)\t(?:([\d.]+)s|\(cached\))`)
	lineFail    = regexp.MustCompile(`^FAIL\t(\S+)(?:\t([\d.]+)s)?(?: (\[.*\]))?$`)
	lineNone    = regexp.MustCompile(`^\?   \t\S+\t\[no test files\]|^\t\S+\t\tcoverage`)
	lineTest    = regexp.MustCompile(`^--- FAIL: (\S+)`)
	lineHanging = regexp.MustCompile(`^\t\t(\S+) \([\dhms.]+\)$`)
)

// line reads a line and reports whether it is the last one of a package.
func (t *testOutput) line(l string) bool {
	if m := lineTest.FindStringSubmatch(l); m != nil {
		t.failed(m[1])
		return false
	}
	if m := lineHanging.FindStringSubmatch(l); t.hanging && m != nil {
		t.failed(m[1])
		return false
	}
	t.hanging = l == "\trunning tests:"
	if m := lineOK.FindStringSubmatch(l); m != nil {
		seconds, _ := strconv.ParseFloat(m[2], 64) // empty where it is cached
		t.end(pkgResult{name: m[1], seconds: seconds, cached: m[2] == ""})
		return true
	}
	if m := lineFail.FindStringSubmatch(l); m != nil {
		seconds, _ := strconv.ParseFloat(m[2], 64) // empty where nothing was built
		t.end(pkgResult{name: m[1], seconds: seconds, failed: true, tests: t.tests, why: m[3]})
		return true
	}
	if lineNone.MatchString(l) {
		t.tests = nil
		return true
	}
	return false
}

// failed notes the top-level test of a test that failed.
func (t *testOutput) failed(name string) {
	top, _, _ := strings.Cut(name, "/")
	if !slices.Contains(t.tests, top) {
		t.tests = append(t.tests, top)
	}
}

func (t *testOutput) end(p pkgResult) {
	t.packages = append(t.packages, p)
	t.tests = nil
}
