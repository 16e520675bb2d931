package hist

import (
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// HDR returns the same counts as an hdrhistogram-go histogram of nanoseconds,
// exactly: percentiles that people see, and HDR logs, are made from it.
func (h *Histogram) HDR() *hdrhistogram.Histogram {
	counts := make([]int64, slots)
	for slot, n := range h.counts() {
		counts[slot] = int64(n)
	}
	return hdrhistogram.Import(&hdrhistogram.Snapshot{
		LowestTrackableValue:  int64(Lowest),
		HighestTrackableValue: int64(Highest),
		SignificantFigures:    Digits,
		Counts:                counts,
	})
}

// FromHDR returns the same counts as g, which must have this package's geometry
// and keeps no sum: the caller knows it.
func FromHDR(g *hdrhistogram.Histogram, sum time.Duration) (*Histogram, error) {
	s := g.Export()
	if s.LowestTrackableValue != int64(Lowest) || s.HighestTrackableValue != int64(Highest) || s.SignificantFigures != Digits {
		return nil, fmt.Errorf("hdr histogram of %d..%d with %d digits, want %d..%d with %d",
			s.LowestTrackableValue, s.HighestTrackableValue, s.SignificantFigures, int64(Lowest), int64(Highest), Digits)
	}
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("hdr histogram: %w", err)
	}
	h := &Histogram{sum: int64(sum)}
	for slot, n := range s.Counts {
		if n > 0 {
			h.add(slot, uint64(n))
			h.count += uint64(n)
		}
	}
	return h, nil
}
