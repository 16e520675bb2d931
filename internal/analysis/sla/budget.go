package sla

import (
	"math"
	"time"
)

// A budget holds the events of the last 30 days, hour by hour.
type budget struct {
	hours  [30 * 24]hour // a ring, indexed by the hour since 1970
	latest int64         // the hour since 1970 of the latest event
	sum    hour          // of all hours
}

// An hour holds the number of events and of bad events.
type hour struct{ events, bad float64 }

func hourOf(at time.Time) int64 { return at.Unix() / 3600 }

// of returns the element of an hour since 1970.
func (b *budget) of(h int64) *hour { return &b.hours[h%int64(len(b.hours))] }

// add counts events at an instant. Those older than 30 days are dropped.
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

// remaining returns the share of the error budget of the 30 days up to an instant
// that is left: 1 - bad/(budget·events), where budget is the share of events that
// may be bad. It is NaN without events or budget.
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
