package flow

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/perfd/perfd/internal/block"
	"github.com/perfd/perfd/internal/feeder"
)

// rowsOf returns a feeder of ten rows.
func rowsOf(t *testing.T) *feeder.Feeder {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rows.txt")
	if err := os.WriteFile(file, []byte(strings.Repeat("row\n", 10)), 0o600); err != nil {
		t.Fatal(err)
	}
	var errs block.Errors
	f := feeder.Open("rows", &feeder.Config{File: block.Text{S: file}}, "", &errs)
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	return f
}

// Rows of a pair are dealt once for both runs, whichever asks first, and a run that is alone deals them all the same.
func TestTheRowsOfAPair(t *testing.T) {
	t.Parallel()
	var p Pair
	d := p.dealer(rowsOf(t), &Runtime{Shards: 1})
	for _, c := range []struct{ paired, want uint64 }{
		{100, 0}, {200, 1}, {100, 0}, {300, 2}, {200, 1}, // 300 was dropped on the other side
		{400, 3}, {400, 3}, {500, 4},
	} {
		if got := p.turn(turnKey{d, c.paired, 1}); got != c.want {
			t.Errorf("turn %d of %d, want %d", got, c.paired, c.want)
		}
	}
	if n := len(p.turns); n != 2 {
		t.Errorf("%d turns wait for the other run, want those of 300 and 500", n)
	}
}

// What one run takes alone is forgotten in time, and the two runs never wait for each other.
func TestAPairIsBounded(t *testing.T) {
	var p Pair
	d := p.dealer(rowsOf(t), &Runtime{Shards: 1})
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			for i := range uint64(keptTurns) {
				p.turn(turnKey{d, i, 1})
			}
		})
	}
	both.Wait()
	if n := len(p.turns); n > 0 {
		t.Errorf("%d turns are kept though both runs have taken all", n)
	}
	for i := range uint64(3 * keptTurns) {
		p.turn(turnKey{d, 1 << 32 & i, uint32(i)})
	}
	if len(p.turns) > keptTurns || len(p.asked) != keptTurns {
		t.Errorf("%d turns and %d keys are kept, want at most %d", len(p.turns), len(p.asked), keptTurns)
	}
	before := d.Turn()
	if got := p.turn(turnKey{d, 9, 9}); got != before+1 {
		t.Errorf("the next turn is %d, want %d", got, before+1)
	}
	if raceDetector {
		return
	}
	if allocs := testing.AllocsPerRun(1000, func() {
		p.turn(turnKey{d, before, 7})
		p.turn(turnKey{d, before, 7})
		before++
	}); allocs > 0 {
		t.Errorf("%v allocations for a row of both runs", allocs)
	}
}
