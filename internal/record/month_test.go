package record

import (
	"runtime"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/load"
)

// A month of folds, windows and scrapes must leave memory where a day left it.
func TestAMonthLeavesMemoryFlat(t *testing.T) {
	days := 30
	if testing.Short() {
		days = 3
	}
	c := newClock()
	o := c.options()
	o.Window, o.Shards = time.Minute, 1
	r := New(o)
	sink := open(t, r, shop(70*time.Millisecond))
	results := logNormal(997, 6)
	next := 0
	day := func() uint64 {
		for range 24 * 60 {
			for range 3 {
				res := &results[next%len(results)]
				res.Step = next % 2
				sink.Record(next, res)
				sink.Iteration(&load.Iteration{VU: next, Start: 1e5, End: res.Done})
				next++
			}
			c.advance(o.Window)
			if next%9 == 0 {
				scrape(r)
			}
			r.Fold(c.Now())
		}
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	first := day()
	last := first
	for range days - 1 {
		last = day()
	}
	if last > first+64<<10 {
		t.Errorf("heap is %d KiB after %d days, want at most 64 KiB above the %d KiB after one", last>>10, days, first>>10)
	}
	requests := values(t, r, "perfd_requests_total")
	if got := requests["scenario=shop,step=login"] + requests["scenario=shop,step=list"]; got != float64(next) {
		t.Errorf("requests = %v, want %d", got, next)
	}
}
