package leak

import (
	"encoding/csv"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/analysis/analysistest"
	"github.com/perfd/perfd/internal/load"
)

// TestProcesses judges what real programs needed, as test/leaks recorded it: a reading each two seconds for 25 minutes
// of ten requests a second, bytes in KiB. All leaks are called and nothing harmless ever is.
func TestProcesses(t *testing.T) {
	file, err := os.Open("testdata/processes.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for column, name := range rows[0] {
		leaks := rows[1][column] == "true"
		kind, unit := load.ResourceMemory, 1024.0
		switch name {
		case "go-goroutine":
			kind, unit = load.ResourceGoroutines, 1
		case "go-descriptor":
			kind, unit = "descriptors", 1
		}
		a := New()
		a.configure([]Target{{Name: "shop", Resources: []Resource{{Name: "heap", Kind: kind}}}})
		at, first := analysistest.Zero, time.Duration(0) // first is when it was called, 0 if it was not
		var last load.Finding
		for i, row := range rows[2:] {
			v, err := strconv.ParseFloat(row[column], 64)
			if err != nil {
				t.Fatal(err)
			}
			end := at.Add(2 * time.Second)
			a.Window(&load.Window{Step: "work", Target: "shop", Start: at, End: end, Requests: 20})
			a.Sample(sample("heap", end, v*unit))
			at = end
			if i%5 != 4 {
				continue
			}
			last = a.Judge(at)[0]
			if last.Verdict == load.Fail && first == 0 {
				first = at.Sub(analysistest.Zero)
			}
		}
		switch {
		case !leaks && first > 0:
			t.Errorf("%s is harmless and is called after %v; at the end %s: %s", name, first, last.Verdict, last.Sentence)
		case leaks && last.Verdict != load.Fail:
			t.Errorf("%s leaks, was called after %v (0s: never), and is %s at the end: %s", name, first, last.Verdict, last.Sentence)
		}
	}
}
