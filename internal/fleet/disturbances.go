package fleet

import (
	"log/slog"
	"sync"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/validity"
)

// sumEvery is the shortest time between two log lines about one kind of disturbance.
const sumEvery = 5 * time.Minute

// A disturbanceLog says a disturbance once and what follows in sums: on a busy machine
// there are many a second.
type disturbanceLog struct {
	log *slog.Logger

	mu  sync.Mutex
	was [load.NumDisturbances]disturbances
}

// disturbances are those of one kind since the last line about it.
type disturbances struct {
	said           time.Time // zero: never
	count          int
	total, longest time.Duration
}

// note takes a disturbance of the measurements of some scenarios.
func (l *disturbanceLog) note(d validity.Disturbance, scenarios int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	span := d.To.Sub(d.From)
	was := &l.was[d.By]
	if was.said.IsZero() || d.From.Sub(was.said) >= sumEvery && was.count == 0 {
		was.said = d.To
		l.log.Warn("perfd disturbed its own measurement: what it touched does not count; further ones are logged in sums",
			"reason", d.By.String(), "for", span, "step", d.Step, "scenarios", scenarios)
		return
	}
	was.count++
	was.total += span
	was.longest = max(was.longest, span)
}

// sum says what came since the last lines, where that is long enough ago.
func (l *disturbanceLog) sum(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for by := range l.was {
		was := &l.was[by]
		if was.count == 0 || at.Sub(was.said) < sumEvery {
			continue
		}
		l.log.Warn("perfd disturbed its own measurement again",
			"reason", load.Disturbance(by).String(), "times", was.count, "for", was.total, "longest", was.longest, "within", at.Sub(was.said).Round(time.Second))
		*was = disturbances{said: at}
	}
}
