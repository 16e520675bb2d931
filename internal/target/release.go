package target

import (
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"
)

// A Change of a target's release.
type Change struct {
	At                time.Time // first sight of the release, or when it was pushed
	Release, Previous string
	// Settled is the earliest instant from which its windows count. While the
	// target answers with several releases it moves on; the windows themselves
	// say so (Watch.During).
	Settled time.Time
}

// A ReleaseState is what is known of a target's release at an instant.
type ReleaseState struct {
	Release, Previous string // Previous is empty where there was no change yet
	Since             time.Time
	Settled           bool // the target has answered with nothing but Release for long enough
	Known             bool
}

const (
	longestRelease = 200 // bytes
	// heldFor is how long a pushed release holds while the target still answers
	// with an older one. A deployment that is not seen for so long did not happen,
	// and a target that never settles would never be judged again.
	heldFor = time.Hour
	// What is remembered is bounded. Windows ask within seconds of their end.
	mostTurns  = 64
	mostSpans  = 64
	mostOthers = 16
)

// checkRelease returns an error if s cannot be a release.
func checkRelease(s string) error {
	switch {
	case s == "":
		return errors.New("a release must not be empty")
	case len(s) > longestRelease:
		return fmt.Errorf("a release has at most %d bytes, got %d", longestRelease, len(s))
	case !utf8.ValidString(s):
		return fmt.Errorf("a release is valid UTF-8, got %q", s)
	}
	for _, r := range s {
		if unicode.IsControl(r) {
			return fmt.Errorf("a release holds no control characters, got %q", s)
		}
	}
	return nil
}

// A rollout follows the release of one target through sightings, which are
// answers of the target, and pushes:
//
//	settled   sight of the release           nothing
//	settled   sight of another               change to it, settling
//	settling  sight of the release           settled once settle has passed without another
//	settling  sight of one it rolls out from still settling: the versions are mixed
//	settling  that one alone for settle      change to it, settled: the rollout was taken back
//	settling  sight of a third               change to it, settling
//	any       push of another                change to it, settling; for heldFor not taken back by sightings
//	                                         of those before it, until it is seen itself
//
// It is not safe for concurrent use. Instants come in order, but for small steps
// of the clock, which cost a settle time at most.
type rollout struct {
	settle time.Duration

	known             bool
	release, previous string
	since             time.Time
	changes           uint64

	seen   sightings
	others []string  // what the target answered with before, in this rollout
	held   time.Time // until when a push holds

	turns []turn
	spans []span // in which the target settled; the last may be open
}

// sightings are the latest ones, all of the same release.
type sightings struct {
	release     string
	first, last time.Time
}

// A turn is the instant from which a release held.
type turn struct {
	at                time.Time
	release, previous string
}

// A span of settling. An open one has no end yet.
type span struct {
	from, to time.Time
	open     bool
}

// begin takes the first release ever known, which needs no settling.
func (r *rollout) begin(release string, at time.Time) {
	r.known, r.release, r.since = true, release, at
	r.seen = sightings{release, at.Add(-r.settle), at}
	r.turns = []turn{{at: at, release: release}}
}

// restore takes the release that was known before a restart, and when it
// settles. It comes before everything else.
func (r *rollout) restore(release string, settled, now time.Time) {
	r.known, r.release = true, release
	r.since = settled.Add(-r.settle)
	r.seen = sightings{release: release, first: r.since}
	r.turns = []turn{{release: release}}
	if settled.After(now) {
		r.unsettle(time.Time{})
	}
}

// sight takes an answer of the target.
func (r *rollout) sight(release string, at time.Time) *Change {
	if !r.known {
		r.begin(release, at)
		return nil
	}
	r.advance(at)
	before := r.seen
	if r.seen.release != release {
		r.seen = sightings{release, at, at}
	}
	r.seen.last = at
	switch {
	case release == r.release:
		r.held = time.Time{}
		return nil
	case !slices.Contains(r.others, release):
		r.held = time.Time{}
		r.unsettle(before.last)
		return r.turn(release, at, at.Add(r.settle))
	case at.Before(r.held), at.Sub(r.seen.first) < r.settle:
		r.unsettle(before.last)
		return nil
	}
	r.seen.first = at.Add(-r.settle)
	return r.turn(release, at, at)
}

// push takes the word of whoever deploys.
func (r *rollout) push(release string, at time.Time) (*Change, error) {
	switch {
	case !r.known:
		r.begin(release, at)
		return nil, nil
	case release == r.release:
		if !r.settled(at) {
			r.held = at.Add(heldFor)
		}
		return nil, nil
	case at.Before(r.since):
		return nil, fmt.Errorf("release %q of %s is older than %q, which holds since %s",
			release, at.Format(time.RFC3339), r.release, r.since.Format(time.RFC3339))
	}
	r.advance(at)
	r.unsettle(at)
	if r.seen.last.After(at) { // and showed the older release
		r.seen.first = later(r.seen.first, at)
	} else {
		r.seen = sightings{release, at, at}
	}
	r.held = at.Add(heldFor)
	return r.turn(release, at, at.Add(r.settle)), nil
}

// turn makes release the one that holds.
func (r *rollout) turn(release string, at, settled time.Time) *Change {
	r.others = slices.DeleteFunc(r.others, func(o string) bool { return o == release })
	r.others = last(append(r.others, r.release), mostOthers)
	r.previous, r.release, r.since = r.release, release, at
	r.changes++
	r.turns = last(append(r.turns, turn{at, release, r.previous}), mostTurns)
	return &Change{At: at, Release: release, Previous: r.previous, Settled: settled}
}

// settles is the instant at which the target has settled, if nothing happens
// until then; false while its last answer was another release.
func (r *rollout) settles() (time.Time, bool) {
	return r.seen.first.Add(r.settle), r.known && r.seen.release == r.release
}

func (r *rollout) settled(at time.Time) bool {
	end, ok := r.settles()
	return ok && !at.Before(end)
}

// unsettle begins a span of settling, unless one is open.
func (r *rollout) unsettle(from time.Time) {
	if n := len(r.spans); n == 0 || !r.spans[n-1].open {
		r.spans = last(append(r.spans, span{from: from, open: true}), mostSpans)
	}
}

// advance ends a rollout that has settled by an instant.
func (r *rollout) advance(at time.Time) {
	if !r.settled(at) {
		return
	}
	if n := len(r.spans); n > 0 && r.spans[n-1].open {
		end, _ := r.settles()
		r.spans[n-1] = span{from: r.spans[n-1].from, to: end}
	}
	if !at.Before(r.held) {
		r.others = nil
	}
}

// during returns the release at the end of an interval, empty where it was not
// known, and whether the target settled in any part of it.
func (r *rollout) during(start, end time.Time) (release string, settling bool) {
	for i, t := range r.turns {
		if !t.at.Before(end) {
			if i == 0 {
				release = t.previous
			}
			break
		}
		release = t.release
	}
	for _, s := range r.spans {
		to := s.to
		if s.open {
			var ok bool
			if to, ok = r.settles(); !ok {
				to = end
			}
		}
		settling = settling || s.from.Before(end) && to.After(start)
	}
	return release, settling
}

func (r *rollout) state(now time.Time) ReleaseState {
	return ReleaseState{
		Release: r.release, Previous: r.previous, Since: r.since,
		Known: r.known, Settled: r.settled(now),
	}
}

// last keeps the last n of list.
func last[T any](list []T, n int) []T { return list[max(0, len(list)-n):] }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
