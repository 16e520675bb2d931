package pace

import (
	"fmt"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/block"
)

// An End says when a run is over by itself: after a time, after a number of
// iterations, at whichever of its bounds comes first, or, the zero End, never.
type End struct {
	// Time bounds how long the run lasts from the plan's zero on; 0 is no bound.
	Time time.Duration
	// Total bounds the iterations that start on all VUs of all shards together; 0 is no bound.
	Total uint64
	// PerVU bounds the iterations that start on each VU; 0 is no bound.
	PerVU uint64
}

// Never reports whether the run goes on until it is stopped.
func (e End) Never() bool { return e == End{} }

// Counted reports whether a number of iterations may end the run. The clock
// alone cannot tell how far such a run has come, so that no process can take it
// up where another left it.
func (e End) Counted() bool { return e.Total > 0 || e.PerVU > 0 }

// Within returns the end of a run that also lasts at most d; 0 is no bound.
func (e End) Within(d time.Duration) End {
	if e.Time == 0 || d > 0 && d < e.Time {
		e.Time = d
	}
	return e
}

// String returns "never", "after 5m", "after 100 iterations" or "after 10
// iterations of each VU or 5m, whichever is first".
func (e End) String() string {
	var bounds []string
	if e.Total > 0 {
		bounds = append(bounds, iterations(e.Total))
	}
	if e.PerVU > 0 {
		bounds = append(bounds, iterations(e.PerVU)+" of each VU")
	}
	if e.Time > 0 {
		bounds = append(bounds, block.Duration(e.Time).String())
	}
	switch len(bounds) {
	case 0:
		return "never"
	case 1:
		return "after " + bounds[0]
	}
	return "after " + strings.Join(bounds, " or ") + ", whichever is first"
}

func iterations(n uint64) string {
	if n == 1 {
		return "1 iteration"
	}
	return fmt.Sprintf("%d iterations", n)
}
