package history

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/queue"
)

// disturbed returns the windows of a tick of which perfd itself disturbed something.
func disturbed(n int) []*load.Window {
	a, b := step("shop", "list", n), step("shop", "pay", n)
	a.Touched = []load.TouchedCount{{By: load.ByGap, Count: 3}, {By: load.ByClock, Cause: load.Timeout, Count: 1}}
	all := own(a, b)
	all.Touched = a.Touched
	all.Iterations.Excused, all.Iterations.Dropped[load.NoFreeVU] = 2, 5
	for _, w := range []*load.Window{a, b, all} {
		w.Stalled = 150 * time.Millisecond
	}
	return []*load.Window{a, b, all}
}

func TestWhatPerfdDisturbedIsKept(t *testing.T) {
	dir := t.TempDir()
	h := opened(t, Options{Dir: dir})
	want := slices.Concat(interval("shop", 1), disturbed(2), interval("shop", 3))
	must(t, h.Append(want[:3], nil))
	must(t, h.Append(want[3:6], nil))
	must(t, h.Append(want[6:], nil))
	if diff := cmp.Diff(want, replayed(t, h).windows, same); diff != "" {
		t.Errorf("windows differ (-want +got):\n%s", diff)
	}

	// Folded to a minute, it is the sum.
	must(t, h.Maintain(zero.Add(24*time.Hour)))
	folded := replayed(t, h).windows
	if len(folded) != 3 {
		t.Fatalf("%d windows after thinning, want 3", len(folded))
	}
	list, all := folded[0], folded[2]
	if diff := cmp.Diff(want[3].Touched, list.Touched); diff != "" {
		t.Errorf("touched, folded (-want +got):\n%s", diff)
	}
	if list.Stalled != 150*time.Millisecond || all.Iterations.Excused != 2 || list.Requests != 1+2+3 {
		t.Errorf("folded: %v stalled, %d excused, %d requests", list.Stalled, all.Iterations.Excused, list.Requests)
	}
}

// An older perfd reads the frames of windows that nothing disturbed, and skips others.
func TestOnlyDisturbedWindowsNeedTheirOwnFrames(t *testing.T) {
	e := newEncoder()
	for _, c := range []struct {
		windows []*load.Window
		kind    byte
	}{{interval("shop", 1), windowsFrame}, {disturbed(1), touchedFrame}} {
		if got := queue.Frame(e.windows(nil, c.windows)).Kind(); got != c.kind {
			t.Errorf("a frame of kind %c, want %c", got, c.kind)
		}
	}
}

// Numbers of a newer perfd are kept under the next best name.
func TestUnknownDisturbances(t *testing.T) {
	w := disturbed(1)
	w[0].Touched = []load.TouchedCount{{By: 200, Cause: 100, Count: 7}, {By: 201, Cause: 100, Count: 1}}
	d := newDecoder()
	defer d.close()
	frame := queue.Frame(newEncoder().windows(nil, w[:1]))
	got, err := d.windows(version, frame.Kind(), frame.Payload())
	must(t, err)
	want := []load.TouchedCount{{By: load.ByGap, Cause: load.Internal, Count: 8}}
	if diff := cmp.Diff(want, got[0].Touched); diff != "" {
		t.Errorf("touched (-want +got):\n%s", diff)
	}
}
