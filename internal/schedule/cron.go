package schedule

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// A cronSpec is a set of instants, given by readings of the wall clock in a time
// zone. Where the hour is fixed, a reading that the clock passes over in spring stands
// for the gap's end, one that it shows twice in autumn for the first of the two. Where
// the hour is a wildcard, the readings are those that the clock shows, each time that it
// shows them, so that nothing stops for an hour; one that it passes over stands for the
// gap's end, unless every hour has one (SEMANTICS section 5; cron(8) of cronie).
type cronSpec struct {
	spec *cron.SpecSchedule // evaluated in UTC, on readings of the wall clock
	loc  *time.Location

	wild   bool // the hour is a wildcard
	hourly bool // every hour has readings
}

// allHours is the set of all hours.
const allHours = 1<<24 - 1

var cronParser = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)

func parseCron(text string, loc *time.Location) (cronSpec, error) {
	if strings.HasPrefix(text, "TZ=") || strings.HasPrefix(text, "CRON_TZ=") {
		return cronSpec{}, errors.New("must not name a time zone")
	}
	parsed, err := cronParser.Parse(sundays(text))
	spec, ok := parsed.(*cron.SpecSchedule)
	const want = "must be a cron expression of five fields, or one of @hourly, @daily, @weekly, @monthly, @yearly"
	switch {
	case err != nil && len(strings.Fields(text)) == 5:
		return cronSpec{}, fmt.Errorf("%s (%w)", want, err)
	case err != nil || !ok:
		return cronSpec{}, errors.New(want)
	}
	spec.Location = time.UTC
	c := cronSpec{spec: spec, loc: loc, hourly: spec.Hour&allHours == allHours}
	fields := strings.Fields(text)
	c.wild = c.hourly || len(fields) == 5 && strings.HasPrefix(fields[1], "*")
	return c, nil
}

// sundays returns an expression in which Sunday is 0 everywhere: crontab(5) takes
// it as 7, too, and as the end of a range, as in 5-7 and fri-sun. What it does not
// understand it leaves for the parser.
func sundays(text string) string {
	fields := strings.Fields(text)
	if len(fields) != 5 {
		return text
	}
	items := strings.Split(fields[4], ",")
	for i, item := range items {
		items[i] = daysOfWeek(item)
	}
	fields[4] = strings.Join(items, ",")
	return strings.Join(fields, " ")
}

// daysOfWeek returns an item of the field for the day of the week, as a list where
// it reaches Sunday as 7.
func daysOfWeek(item string) string {
	span, every, stepped := strings.Cut(item, "/")
	from, to, ranged := strings.Cut(span, "-")
	first, ok1 := dayOfWeek(from)
	last, ok2 := first, ok1
	if ranged {
		last, ok2 = dayOfWeek(to)
		if strings.EqualFold(to, "sun") {
			last = 7
		}
	}
	step, err := strconv.Atoi(cmp.Or(every, "1"))
	switch {
	case !ok1 || !ok2 || last != 7 || first > last || err != nil || step < 1:
		return item
	case stepped && !ranged:
		return item // begins at a day and goes on to the end of the week, which 7 is beyond
	}
	var days []string
	for day := first; day <= last; day += step {
		days = append(days, strconv.Itoa(day%7))
	}
	return strings.Join(days, ",")
}

// dayOfWeek reads a day as a number from 0 to 7 or as a name.
func dayOfWeek(text string) (int, bool) {
	if i := slices.Index(weekdays, strings.ToLower(text)); i >= 0 {
		return i, true
	}
	day, err := strconv.Atoi(text)
	return day, err == nil && day >= 0 && day <= 7
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
	if c.wild {
		return c.nextShown(t)
	}
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

// nextShown is next for a wildcard hour: it goes from one change of the clock to the next.
func (c cronSpec) nextShown(t time.Time) time.Time {
	t = t.In(c.loc)
	after := wallAt(t, c.loc)
	for {
		wall := c.spec.Next(after)
		if wall.IsZero() {
			return time.Time{}
		}
		_, offset := t.Zone()
		shown := wall.Add(-time.Duration(offset) * time.Second).In(c.loc)
		_, change := t.ZoneBounds()
		if change.IsZero() || shown.Before(change) {
			return shown
		}
		// No reading is left before the clock is changed.
		change = change.In(c.loc)
		to := wallAt(change, c.loc)
		if !c.hourly && wall.Before(to) {
			return change // the clock passes over it
		}
		t, after = change, to.Add(-time.Second) // readings are whole minutes, and the first may be that of the change
	}
}

// merged is how many readings an instant stands for beside the one that it was next for:
// those that the clock passes over when it is set forward to it.
func (c cronSpec) merged(fire time.Time) (n int) {
	begin, _ := fire.In(c.loc).ZoneBounds()
	if c.hourly || begin.IsZero() || !begin.Equal(fire) {
		return 0
	}
	from := wallAt(fire.Add(-time.Second), c.loc).Add(time.Second)
	to := wallAt(fire, c.loc)
	for wall := c.spec.Next(from.Add(-time.Second)); !wall.IsZero() && !wall.After(to); wall = c.spec.Next(wall) {
		n++
	}
	return max(0, n-1)
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
