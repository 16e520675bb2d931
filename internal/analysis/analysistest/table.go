package analysistest

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var (
	update = flag.Bool("update", false, "rewrite this package's table in docs/verdicts.md")
	seed   = flag.Uint64("seed", 0, "moves the seeds of the simulations; other than 0 the tables are not compared")
)

// Seed returns what simulations add to the first word of their seeds: 0 for the
// tables, and otherwise far enough from that of any other -seed that no two share a draw.
func Seed() uint64 { return *seed << 20 }

// Table compares the table of a name in docs/verdicts.md with the result of a
// seeded simulation; with -update it writes it. The table lies between
// <!-- NAME --> and <!-- end NAME -->. With another -seed it only logs the table.
func Table(t *testing.T, name, table string) {
	t.Helper()
	if *seed != 0 {
		t.Logf("-seed %d\n%s", *seed, table)
		return
	}
	path := verdictsPage(t)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- "+name+" -->\n", "<!-- end "+name+" -->"
	before, rest, ok := strings.Cut(string(text), begin)
	old, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no place for the table %q", path, name)
	}
	table = strings.TrimSpace(table) + "\n"
	if old == table {
		return
	}
	if !*update {
		t.Errorf("the table %q in docs/verdicts.md is not what the simulation finds; go test with -args -update rewrites it.\ngot:\n%s\nwant:\n%s", name, old, table)
		return
	}
	if err := os.WriteFile(path, []byte(before+begin+table+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// verdictsPage returns the path of the page from the folder of the test that runs.
func verdictsPage(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		page := filepath.Join(dir, "docs", "verdicts.md")
		if _, err := os.Stat(page); err == nil {
			return page
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no docs/verdicts.md above this folder")
		}
		dir = up
	}
}
