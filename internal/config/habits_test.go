package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/block"
)

// habitsBefore is the document before the flow of each case.
const habitsBefore = `targets: [{name: shop, url: "http://127.0.0.1:9798"}]
data: {users: {file: users.csv}}
scenarios:
  - name: s
    target: shop
    schedule: {manual: true, duration: 1m}
    workload: {executor: constant-vus, vus: 1}
    flow:
`

// TestHabitsOfOtherTools holds what people are told who write flows as they know them from elsewhere: each flow of
// testdata/habits.txt with its messages is in testdata/habits.golden. Those that are right stand there as such.
func TestHabitsOfOtherTools(t *testing.T) {
	text, err := os.ReadFile("testdata/habits.txt")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "users.csv"), []byte("email,password\na@x,1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	wrong, hinted := 0, 0
	for flow := range strings.SplitSeq(string(text), "\n---\n") {
		flow = strings.TrimSpace(flow)
		document := habitsBefore + "      " + strings.ReplaceAll(flow, "\n", "\n      ") + "\n"
		var errs block.Errors
		_, err := load(Options{File: filepath.Join(dir, "perfd.yaml"), Environ: []string{}, Kinds: kinds}, []byte(document), &errs)
		b.WriteString(flow + "\n")
		if err == nil {
			b.WriteString("\tis right\n\n")
			continue
		}
		wrong++
		said := strings.ReplaceAll(err.Error(), dir+"/", "")
		if strings.Contains(said, "hint:") {
			hinted++
		}
		for line := range strings.SplitSeq(strings.TrimSpace(said), "\n") {
			b.WriteString("\t" + strings.TrimSpace(line) + "\n")
		}
		b.WriteString("\n")
	}
	if wrong < 120 || hinted < wrong*4/5 {
		t.Errorf("%d flows are wrong, and %d of them get a hint; want 120 or more, and four of five", wrong, hinted)
	}
	const golden = "testdata/habits.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), b.String()); d != "" {
		t.Errorf("messages (-want +got):\n%s", d)
	}
}
