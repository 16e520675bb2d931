package schedule

import (
	"fmt"
	"log/slog"
	"time"
)

// A Span is a time in which one run has load.
type Span struct {
	Run        Run
	Begin, End time.Time
	Why        Reason // for which it ends, Over for one that ends by itself; empty where it goes on
}

// mostSpans bounds how many runs Spans lists.
const mostSpans = 10_000

// Spans returns the runs that have load at any time from one instant to another, as a
// runner begins and ends them that lives throughout, that nobody stops, and whose runs
// drain at once. A run ends by itself after lasts, 0 for never. Cuts do not divide a
// span. Of a schedule whose runs the clock does not begin, the one that begins at from is
// listed. A span may begin before from; none ends after to. It fails where there are
// too many.
func (s *Schedule) Spans(from, to time.Time, lasts time.Duration) (spans []Span, err error) {
	m := machine{schedule: s, log: slog.New(slog.DiscardHandler)}
	now := from.Add(-s.length - s.cfg.Jitter.D()) // where runs begin that are under way at from
	switch s.mode() {
	case always:
		now = from.Add(-2 * day) // a run begins at the end of a blackout, too
	case manual, after:
		now = from
		if err := m.start(from); err != nil { // a blackout
			return nil, nil
		}
	}
	m.mem.Due = now.Add(-1)
	begun := now
	var open *Span
	shut := func(why Reason) {
		open.End, open.Why = now, why
		if open.End.After(from) {
			spans = append(spans, *open)
		}
		open = nil
	}
	for now.Before(to) {
		if open != nil && lasts > 0 && !now.Before(open.Begin.Add(lasts)) {
			shut(Over)
			m.close(now, now.Sub(begun))
		}
		m.collect(now)
		switch do := m.decide(now, now.Sub(begun)); {
		case do.begin != nil:
			if len(spans) == mostSpans {
				return nil, fmt.Errorf("schedule: more than %d runs from %s to %s", mostSpans, from.Format(time.RFC3339), to.Format(time.RFC3339))
			}
			open = &Span{Run: *do.begin, Begin: now}
		case do.end != "":
			shut(do.end)
			m.close(now, now.Sub(begun))
		case do.cut == nil:
			wait := m.idle(now, now.Sub(begun), to.Sub(now))
			if open != nil && lasts > 0 {
				wait = min(wait, open.Begin.Add(lasts).Sub(now))
			}
			now = now.Add(max(1, wait))
		}
	}
	if open != nil {
		now = to
		if open.Run.ended(to) || lasts > 0 && !to.Before(open.Begin.Add(lasts)) {
			shut(Over)
		} else {
			shut("")
		}
	}
	return spans, nil
}

// A Closure is an occurrence of a blackout, or of several that touch.
type Closure struct {
	Name       string // of the first
	Begin, End time.Time
}

// Closures returns the times from one instant to another in which a blackout forbids load.
func (b *Blackouts) Closures(from, to time.Time) (all []Closure) {
	for at := from; at.Before(to); {
		if name, until, in := b.In(at); in {
			if until.After(to) {
				until = to
			}
			all = append(all, Closure{name, at, until})
			at = until
			continue
		}
		begin, ok := b.Next(at)
		if !ok {
			break
		}
		at = begin
	}
	return all
}

// Location is the time zone that the schedule's times are written in.
func (s *Schedule) Location() *time.Location { return s.loc }
