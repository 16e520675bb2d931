package schedule

import (
	"errors"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// A cronSpec is a set of instants, given by readings of the wall clock in a time
// zone. A reading that the clock passes over in spring stands for the gap's end, one
// that it shows twice in autumn for the first of the two (SEMANTICS section 5).
type cronSpec struct {
	spec *cron.SpecSchedule // evaluated in UTC, on readings of the wall clock
	loc  *time.Location
}

var cronParser = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)

func parseCron(text string, loc *time.Location) (cronSpec, error) {
	if strings.HasPrefix(text, "TZ=") || strings.HasPrefix(text, "CRON_TZ=") {
		return cronSpec{}, errors.New("must not name a time zone")
	}
	parsed, err := cronParser.Parse(text)
	spec, ok := parsed.(*cron.SpecSchedule)
	if err != nil || !ok {
		return cronSpec{}, errors.New("must be a cron expression of five fields, or one of @hourly, @daily, @weekly, @monthly, @yearly")
	}
	spec.Location = time.UTC
	return cronSpec{spec, loc}, nil
}

// cronHint is a hint at what a refused expression may have meant.
func cronHint(text string) string {
	switch {
	case strings.Contains(text, "TZ="):
		return "write the time zone as time_zone"
	case strings.HasPrefix(text, "@every"):
		return "write every: " + strings.TrimSpace(strings.TrimPrefix(text, "@every"))
	case len(strings.Fields(text)) == 6:
		return "there is no field for seconds: minute, hour, day of month, month, day of week"
	}
	return "minute, hour, day of month, month, day of week: 30 2 * * mon-fri"
}

// next is the first instant after t, the zero time where none comes in five years.
func (c cronSpec) next(t time.Time) time.Time {
	// First instants have the order of their readings, so that the answer is among
	// the readings after t's own. Where those are shown for the second time, the
	// first instants of some are before t.
	for wall := c.spec.Next(wallAt(t, c.loc)); !wall.IsZero(); wall = c.spec.Next(wall) {
		if first, _ := instants(wall, c.loc); first.After(t) {
			return first
		}
	}
	return time.Time{}
}

// shortestGap is the shortest time between two of the next hundreds of instants.
func (c cronSpec) shortestGap(first time.Time) time.Duration {
	const looked = 400
	shortest := time.Duration(1<<63 - 1)
	for range looked {
		next := c.next(first)
		if next.IsZero() {
			break
		}
		shortest = min(shortest, next.Sub(first))
		first = next
	}
	return shortest
}
