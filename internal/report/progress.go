package report

import (
	"fmt"
	"time"

	"github.com/perfd/perfd/internal/amount"
	"github.com/perfd/perfd/internal/load"
)

// A ProgressLine is the state of a run that is under way. Rates are requests per second.
type ProgressLine struct {
	Elapsed, Total time.Duration // Total is 0 without a planned end

	AskedRate    float64 // 0 where the workload is closed
	AchievedRate float64
	Failed       float64 // share of requests; NaN before the first
	P95          float64 // of response times, in seconds; 0 without an answer
	Dropped      uint64

	Objectives int          // their number; without one no verdict is written
	Verdict    load.Verdict // so far
}

// Progress returns one line without a newline. Its parts have fixed widths, so that
// they keep their places on a terminal while the numbers change.
func Progress(l ProgressLine) string {
	elapsed := amount.Span(l.Elapsed)
	if l.Total > 0 {
		elapsed += " of " + amount.Span(l.Total)
	}
	rate := amount.Of(l.AchievedRate, "per_second")
	if l.AskedRate > 0 {
		rate += " of " + amount.Of(l.AskedRate, "per_second")
	}
	line := fmt.Sprintf("%-17s  %-18s  %7s failed  p95 %7s  %d dropped",
		elapsed, rate, amount.Share(l.Failed), amount.Of(float64(number(l.P95, l.P95 > 0)), "seconds"), l.Dropped)
	if l.Objectives > 0 {
		line += "  SLA " + verdict(l.Verdict)
	}
	return line
}
