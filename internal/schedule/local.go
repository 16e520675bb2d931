package schedule

import (
	"errors"
	"time"
)

// The reading of a wall clock in a time zone is represented by a time in UTC with
// the same digits. A reading is shown twice where clocks are set back, and never in
// the gap where they are set forward.

// wallAt is what the wall clock shows at t.
func wallAt(t time.Time, loc *time.Location) time.Time {
	t = t.In(loc)
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// instants returns the first and last instant at which the wall clock shows
// wall. For a reading that the clock passes over, both are the gap's end.
func instants(wall time.Time, loc *time.Location) (first, last time.Time) {
	near := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), wall.Nanosecond(), loc)
	begin, end := near.ZoneBounds()
	try := []time.Time{near}
	if !begin.IsZero() {
		try = append(try, begin.Add(-1))
	}
	if !end.IsZero() {
		try = append(try, end)
	}
	for _, in := range try {
		_, offset := in.Zone()
		t := wall.Add(-time.Duration(offset) * time.Second).In(loc)
		if !wallAt(t, loc).Equal(wall) {
			continue
		}
		if first.IsZero() || t.Before(first) {
			first = t
		}
		if last.IsZero() || t.After(last) {
			last = t
		}
	}
	if first.IsZero() {
		// In a gap, time.Date uses the offset of one of the gap's sides.
		first = end
		if !begin.IsZero() && !wall.Before(wallAt(begin.Add(-1), loc)) && wall.Before(wallAt(begin, loc)) {
			first = begin
		}
		last = first
	}
	return first, last
}

var anchorLayouts = []string{
	time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02",
}

// parseAnchor reads an instant; one without an offset is the time zone's.
func parseAnchor(text string, loc *time.Location) (time.Time, error) {
	for i, layout := range anchorLayouts {
		t, err := time.Parse(layout, text)
		switch {
		case err != nil:
		case i == 0:
			return t, nil
		default:
			first, _ := instants(t, loc)
			return first, nil
		}
	}
	return time.Time{}, errors.New("no known form of an instant")
}
