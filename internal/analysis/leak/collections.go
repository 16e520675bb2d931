package leak

import (
	"math"

	"github.com/perfd/perfd/internal/stats"
)

// collections are the falls at which a collector gave memory back.
type collections struct {
	at     []float64 // instants, in seconds
	length float64   // mean seconds between them, the ends of the series included; 0 without any
	swing  float64   // median fall
}

// findCollections finds the falls of p that are sharp, large beside the range of
// p about its line, and come after a slow rise. A bend, a daily course and
// correlated noise have no sharp falls; the end of a pulse comes after a sharp rise.
func findCollections(p []point, th *Thresholds) collections {
	var c collections
	n := len(p)
	if n < 8 {
		return c
	}
	slope := stats.Slopes(sparse(p)).Median()
	flat := make([]float64, n)
	for i, q := range p {
		flat[i] = q.low - slope*(q.at-p[0].at)
	}
	spread := stats.Quantile(flat, 0.99) - stats.Quantile(flat, 0.01)
	between := make([]float64, n-1)
	for i := range between {
		between[i] = math.Abs(flat[i+1] - flat[i])
	}
	least := max(th.Drop*spread, th.DropNoise*stats.Median(between))
	if least <= 0 {
		return c
	}
	var falls []float64
	for i := 1; i < n; i++ {
		top := i - 1
		if i > 1 && flat[i-2] > flat[top] {
			top = i - 2
		}
		fall := flat[top] - flat[i]
		if fall <= least || isPulse(flat, top, flat[i]+fall/2, fall) {
			continue
		}
		falls = append(falls, fall)
		c.at = append(c.at, p[i].at)
		i++ // the second half of the same fall
	}
	if len(c.at) == 0 {
		return c
	}
	c.swing = stats.Median(falls)
	c.length = (p[n-1].at - p[0].at) / float64(len(c.at)+1)
	if k := len(c.at); k >= 3 {
		c.length = max(c.length, (c.at[k-1]-c.at[0])/float64(k-1))
	}
	return c
}

// lastCollected returns when memory was last collected, if it is: falls within two readings that give back half of what it rose by
// since the one before. They are sought without regard to the range of p, because a heap that is young is collected at
// small sizes first, and at ever larger ones.
func lastCollected(p []point, th *Thresholds) (at float64, ok bool) {
	if len(p) < 8 {
		return 0, false
	}
	between := make([]float64, len(p)-1)
	for i := range between {
		between[i] = math.Abs(p[i+1].low - p[i].low)
	}
	least := th.CollectedNoise * stats.Median(between)
	low, falls := p[0].low, 0
	for i := 1; i < len(p); i++ {
		top := max(p[i-1].low, p[max(0, i-2)].low)
		if fall := top - p[i].low; fall > max(least, (top-low)/2) {
			falls, at, low = falls+1, p[i].at, p[i].low
			i++ // the second half of the same fall
			continue
		}
		low = min(low, p[i].low)
	}
	return at, falls >= th.Collected
}

// isPulse says whether x rose to its value at top as sharply as it falls by fall
// after it: whether half of the rise above middle happened within two readings.
func isPulse(x []float64, top int, middle, fall float64) bool {
	for j := top; j >= 0; j-- {
		if x[j] <= middle {
			high := x[min(j+1, len(x)-1)]
			if j+2 <= top {
				high = max(high, x[j+2])
			}
			return high-x[j] > fall/2
		}
	}
	return top < minLife // a fall at once follows no rise
}

// sparse takes few of the points: enough for a line to be taken out.
func sparse(p []point) stats.Track {
	var t stats.Track
	step := float64(len(p)) / float64(min(len(p), 24))
	for i := 0.0; int(i) < len(p); i += step {
		t.T, t.Y = append(t.T, p[int(i)].at), append(t.Y, p[int(i)].low)
	}
	return t
}
