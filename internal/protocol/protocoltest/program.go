package protocoltest

import (
	"os/exec"
	"testing"
)

// Program returns the path of the first program that is installed of those with the names, which may be paths. Where none is, a
// short test is skipped, and any other fails: make test installs what it needs.
func Program(t testing.TB, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if testing.Short() {
		t.Skipf("%s is not installed; make deps installs it", names[0])
	}
	t.Fatalf("%s is not installed; make deps installs it", names[0])
	return ""
}
