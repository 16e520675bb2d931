package report

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
)

func TestStepsAreTablesOfCSV(t *testing.T) {
	f := load.Finding{Kind: load.KindLeak, Target: "shop", Resource: "heap", Sentence: "heap of shop grows\n# not a comment"}
	steps := []analysis.Step{
		{Name: "floors", What: "the lowest level of each block", Columns: []string{"time", "from", "floor_bytes"}, Rows: [][]float64{
			{1767571200.25, 1767571200, 123456789},
			{1e300, math.NaN(), 0.1},
		}},
		{Name: "falls", What: "none", Columns: []string{"time"}},
	}
	const want = `# leak shop / heap: heap of shop grows # not a comment
# floors: the lowest level of each block
time,from,floor_bytes
2026-01-05T00:00:00.250Z,2026-01-05T00:00:00.000Z,1.2345679e+08
,,0.1

# falls: none
time

`
	var out strings.Builder
	if err := Steps(&out, kinds, f, steps); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, out.String()); d != "" {
		t.Errorf("steps (-want +got):\n%s", d)
	}
	if err := Steps(broken{}, kinds, f, steps); !errors.Is(err, errBroken) {
		t.Errorf("to a writer that fails: %v", err)
	}
}

var errBroken = errors.New("broken")

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errBroken }
