package schedule

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/perfd/perfd/internal/block"
)

// A Blackout is an entry of the blackouts block: times at which no scenario runs.
type Blackout struct {
	Name     string   `yaml:"name" block:"required" doc:"Name of the blackout, for people."`
	TimeZone string   `yaml:"time_zone" doc:"Time zone of from, to and the days, such as Europe/Berlin; UTC by default."`
	Weekdays []string `yaml:"weekdays" doc:"Days of the week on which it begins: mon, tue, wed, thu, fri, sat, sun. Without weekdays and dates it begins every day."`
	Dates    []string `yaml:"dates" doc:"Further days on which it begins, as 2006-01-02."`
	From     string   `yaml:"from" doc:"When it begins, by the wall clock, as 15:04; the beginning of the day by default."`
	To       string   `yaml:"to" doc:"When it ends; before from, on the day after. The end of the day by default."`
}

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} // by time.Weekday

const dateLayout = "2006-01-02"

// Validate checks the entry.
func (b *Blackout) Validate(at *block.Node, errs *block.Errors) {
	v := validator{at, errs}
	v.zone(b.TimeZone)
	for i, day := range b.Weekdays {
		if !slices.Contains(weekdays, day) {
			n := at.Get("weekdays").Items[i]
			errs.Add(n.Pos, n.Path, "must be a day of the week, got %q", day).Hint = "known are " + strings.Join(weekdays, ", ")
		}
	}
	for i, date := range b.Dates {
		if _, err := time.Parse(dateLayout, date); err != nil {
			n := at.Get("dates").Items[i]
			errs.Add(n.Pos, n.Path, "must be a date such as 2026-12-24, got %q", date)
		}
	}
	from, okFrom := v.timeOfDay("from", b.From, 0)
	to, okTo := v.timeOfDay("to", b.To, day)
	switch {
	case !okFrom || !okTo:
	case from == to:
		v.fail("to", "must differ from from, both are %s", b.From)
	case from == day:
		v.fail("from", "must be before the end of the day, got %q", b.From)
	case from == 0 && to == day && len(b.Weekdays) == 0 && len(b.Dates) == 0:
		errs.Add(at.Pos, at.Path, "covers all of every day").Hint = "say when it is with from and to, weekdays or dates"
	}
}

const day = 24 * time.Hour

// timeOfDay reads 15:04, up to 24:00.
func (v validator) timeOfDay(key, text string, otherwise time.Duration) (time.Duration, bool) {
	d, err := parseTimeOfDay(text, otherwise)
	if err != nil {
		v.fail(key, "must be a time of day such as 20:00, got %q", text)
	}
	return d, err == nil
}

func parseTimeOfDay(text string, otherwise time.Duration) (time.Duration, error) {
	switch text {
	case "":
		return otherwise, nil
	case "24:00":
		return day, nil
	}
	t, err := time.Parse("15:04", text)
	if err != nil {
		return 0, fmt.Errorf("time of day %q: %w", text, err)
	}
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, nil
}

// Blackouts are the times at which load is not allowed. The nil *Blackouts always
// allows it. Blackouts are immutable.
type Blackouts struct{ list []window }

// A window is one blackout in computable form. from and to are offsets on the
// wall clock from the midnight that begins the day; to is after from.
type window struct {
	name     string
	loc      *time.Location
	days     [7]bool // by time.Weekday
	dates    []time.Time
	from, to time.Duration
}

// NewBlackouts compiles validated entries. It fails only for one that was not
// validated.
func NewBlackouts(list []Blackout) (*Blackouts, error) {
	out := &Blackouts{}
	for _, b := range list {
		w, err := b.window()
		if err != nil {
			return nil, fmt.Errorf("blackout %q: %w", b.Name, err)
		}
		out.list = append(out.list, w)
	}
	return out, nil
}

func (b Blackout) window() (w window, err error) {
	w.name = b.Name
	if w.loc, err = (Config{TimeZone: b.TimeZone}).location(); err != nil {
		return w, err
	}
	if w.from, err = parseTimeOfDay(b.From, 0); err != nil {
		return w, err
	}
	if w.to, err = parseTimeOfDay(b.To, day); err != nil {
		return w, err
	}
	if w.to <= w.from {
		w.to += day
	}
	for i, name := range weekdays {
		w.days[i] = slices.Contains(b.Weekdays, name) || len(b.Weekdays)+len(b.Dates) == 0
	}
	for _, text := range b.Dates {
		date, err := time.Parse(dateLayout, text)
		if err != nil {
			return w, err
		}
		w.dates = append(w.dates, date)
	}
	slices.SortFunc(w.dates, time.Time.Compare)
	return w, nil
}

// on is the occurrence that begins on a day, which is given as its midnight by the
// wall clock. An occurrence ends at the last instant that shows its end, so that it
// covers every instant whose reading lies in it.
func (w *window) on(date time.Time) (begin, end time.Time, ok bool) {
	if !w.days[date.Weekday()] && !slices.ContainsFunc(w.dates, date.Equal) {
		return begin, end, false
	}
	begin, _ = instants(date.Add(w.from), w.loc)
	_, end = instants(date.Add(w.to), w.loc)
	return begin, end, begin.Before(end)
}

func (w *window) midnight(t time.Time) time.Time { return wallAt(t, w.loc).Truncate(day) }

// covers returns the end of the window's occurrence that holds t.
func (w *window) covers(t time.Time) (end time.Time, ok bool) {
	today := w.midnight(t)
	for _, date := range []time.Time{today.Add(-day), today} {
		if b, e, ok := w.on(date); ok && !t.Before(b) && t.Before(e) {
			return e, true
		}
	}
	return end, false
}

// next returns the begin of the window's first occurrence after t.
func (w *window) next(t time.Time) (begin time.Time, ok bool) {
	today := w.midnight(t)
	var days []time.Time
	for i := range 9 { // yesterday, in case clocks differ, to a week from today
		days = append(days, today.Add(time.Duration(i-1)*day))
	}
	for _, date := range append(days, w.dates...) {
		if b, _, on := w.on(date); on && b.After(t) && (!ok || b.Before(begin)) {
			begin, ok = b, true
		}
	}
	return begin, ok
}

// In reports whether t lies in a blackout, the name of one, and when load is
// allowed again.
func (b *Blackouts) In(t time.Time) (name string, until time.Time, in bool) {
	// Blackouts that touch or overlap are one; a chain that goes on for longer
	// than a year is cut there.
	const longest = 2 * 366
	until = t
	for range longest {
		further := false
		for i := range b.windows() {
			if end, ok := b.list[i].covers(until); ok {
				if !in {
					name = b.list[i].name
				}
				in, further, until = true, true, end
			}
		}
		if !further {
			break
		}
	}
	return name, until, in
}

// Next returns when the first blackout after t begins.
func (b *Blackouts) Next(t time.Time) (begin time.Time, ok bool) {
	for i := range b.windows() {
		if at, comes := b.list[i].next(t); comes && (!ok || at.Before(begin)) {
			begin, ok = at, true
		}
	}
	return begin, ok
}

// Between reports whether any time from one instant to another lies in a blackout.
func (b *Blackouts) Between(from, to time.Time) bool {
	_, _, in := b.In(from)
	begin, ok := b.Next(from)
	return in || ok && !begin.After(to)
}

func (b *Blackouts) windows() []window {
	if b == nil {
		return nil
	}
	return b.list
}
