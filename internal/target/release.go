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
	At                time.Time // when the release was first read, or pushed
	Release, Previous string
	// Settled is the earliest instant from which windows of the release count. It
	// is later while the target answers with several releases: Watch.During says
	// whether a window counts.
	Settled time.Time
}

// A ReleaseState is the state of a target's release at an instant.
type ReleaseState struct {
	Release, Previous string    // Previous is empty before the first change
	Since             time.Time // when Release was first read, or pushed
	Settled           bool      // for the settle time the target has answered with Release only
	Known             bool      // Release was read, pushed or restored
}

const (
	longestRelease = 200 // bytes
	// heldFor is how long a pushed release holds while the target still answers
	// with an older one. A deployment that has no effect for so long did not happen,
	// and a target that never settles would never be judged again.
	heldFor = time.Hour
	// Bounds of memory. During is asked about a window within seconds of its end.
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

// A rollout follows the release of one target by sightings, which are answers of
// the target, and by pushes:
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
// It is not safe for concurrent use. Instants must be in order; a step of the clock
// back may prolong settling by the settle time.
type rollout struct {
	settle time.Duration

	known             bool
	release, previous string
	since             time.Time
	changes           uint64

	seen   sightings
	others []string  // the releases that the target answered with before, in this rollout
	held   time.Time // end of the time for which a push holds

	turns []turn
	spans []span // in which the target settled; the last may be open
}

// sightings is the latest series of sightings of one release.
type sightings struct {
	release     string
	first, last time.Time
}

// A turn is a change of the release, or its first sighting.
type turn struct {
	at                time.Time
	release, previous string
}

// A span of settling. An open one has no end yet.
type span struct {
	from, to time.Time
	open     bool
}

// begin sets the first release that is known, which need not settle.
func (r *rollout) begin(release string, at time.Time) {
	r.known, r.release, r.since = true, release, at
	r.seen = sightings{release, at.Add(-r.settle), at}
	r.turns = []turn{{at: at, release: release}}
}

// restore sets the release that was known before a restart, and when it settles.
// It must be called before any other method.
func (r *rollout) restore(release string, settled, now time.Time) {
	r.known, r.release = true, release
	r.since = settled.Add(-r.settle)
	r.seen = sightings{release: release, first: r.since}
	r.turns = []turn{{release: release}}
	if settled.After(now) {
		r.unsettle(time.Time{})
	}
}

// sight processes an answer of the target.
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

// push processes the announcement of a deployment.
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
	if r.seen.last.After(at) { // a sighting of the older release
		r.seen.first = later(r.seen.first, at)
	} else {
		r.seen = sightings{release, at, at}
	}
	r.held = at.Add(heldFor)
	return r.turn(release, at, at.Add(r.settle)), nil
}

// turn makes release the current one.
func (r *rollout) turn(release string, at, settled time.Time) *Change {
	r.others = slices.DeleteFunc(r.others, func(o string) bool { return o == release })
	r.others = last(append(r.others, r.release), mostOthers)
	r.previous, r.release, r.since = r.release, release, at
	r.changes++
	r.turns = last(append(r.turns, turn{at, release, r.previous}), mostTurns)
	return &Change{At: at, Release: release, Previous: r.previous, Settled: settled}
}

// settles returns the instant at which the target has settled unless another
// release is sighted before; false if its last answer was another release.
func (r *rollout) settles() (time.Time, bool) {
	return r.seen.first.Add(r.settle), r.known && r.seen.release == r.release
}

func (r *rollout) settled(at time.Time) bool {
	end, ok := r.settles()
	return ok && !at.Before(end)
}

// unsettle begins a span of settling unless one is open.
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

// during returns the release at the end of an interval, empty if it was not
// known, and whether the target was settling in any part of the interval.
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

// last returns the last n elements of list.
func last[T any](list []T, n int) []T { return list[max(0, len(list)-n):] }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
