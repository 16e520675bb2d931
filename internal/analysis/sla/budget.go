package sla

import (
	"math"
	"time"
)

// A budget keeps the events of the last 30 days by the hour.
type budget struct {
	hours  [30 * 24]hour
	latest int64 // hour since 1970 of the latest event
	sum    hour  // of all hours
}

type hour struct{ events, bad float64 }

func hourOf(at time.Time) int64 { return at.Unix() / 3600 }

// of returns the place of an hour.
func (b *budget) of(h int64) *hour { return &b.hours[h%int64(len(b.hours))] }

func (b *budget) add(at time.Time, events, bad float64) {
	now, size := hourOf(at), int64(len(b.hours))
	if now <= b.latest-size {
		return
	}
	for h := max(b.latest+1, now-size+1); h <= now; h++ {
		old := b.of(h)
		b.sum.events -= old.events
		b.sum.bad -= old.bad
		*old = hour{}
	}
	b.latest = max(b.latest, now)
	for _, h := range []*hour{b.of(now), &b.sum} {
		h.events += events
		h.bad += bad
	}
}

// remaining returns the share of the budget of the 30 days up to an instant that is left, where
// budget is the share of events that may be bad; NaN where there is none.
func (b *budget) remaining(budget float64, at time.Time) float64 {
	sum, size := b.sum, int64(len(b.hours))
	for h := b.latest - size + 1; h <= min(hourOf(at)-size, b.latest); h++ {
		if h > 0 {
			sum.events -= b.of(h).events
			sum.bad -= b.of(h).bad
		}
	}
	if !(sum.events > 0) || math.IsNaN(budget) {
		return math.NaN()
	}
	return 1 - sum.bad/(budget*sum.events)
}

// burns are the factors by which a budget may burn over a window: they take 2 %
// of a budget of 30 days in 1 h, 5 % in 6 h and 10 % in 3 d (Google, "The Site
// Reliability Workbook", 2018, chapter 5); the short windows say that it still burns.
var burns = []struct {
	window string
	factor float64
}{{"5m", 14.4}, {"1h", 14.4}, {"30m", 6}, {"6h", 6}, {"3d", 1}}
