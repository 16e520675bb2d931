package engine

import (
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/perfd/perfd/internal/pace"
)

func TestWakesComeInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w wakes
		model := map[int]time.Duration{}
		for i := range rapid.IntRange(0, 200).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0, 1:
				at := time.Duration(rapid.IntRange(0, 50).Draw(t, "at"))
				w.push(wake{at, i})
				model[i] = at
			case 2:
				slot := rapid.IntRange(0, 200).Draw(t, "slot")
				_, there := model[slot]
				if got := w.remove(slot); got != there {
					t.Fatalf("remove(%d) = %v, want %v", slot, got, there)
				}
				delete(model, slot)
			case 3:
				if len(model) == 0 {
					continue
				}
				at := w.next()
				if slot := w.pop(); model[slot] != at {
					t.Fatalf("pop = slot %d, due at %v, but next = %v", slot, model[slot], at)
				} else {
					delete(model, slot)
				}
			}
			soonest := pace.Forever
			for _, at := range model {
				soonest = min(soonest, at)
			}
			if got := w.next(); got != soonest {
				t.Fatalf("next = %v, want %v", got, soonest)
			}
		}
	})
}

func TestStackLosesNothing(t *testing.T) {
	const pushers, each = 4, 2000
	var st stack[slot, *slot]
	var pushing sync.WaitGroup
	for p := range pushers {
		pushing.Go(func() {
			for i := range each {
				st.push(&slot{index: p*each + i})
			}
		})
	}
	var got []int
	for len(got) < pushers*each {
		if s := st.pop(); s != nil {
			got = append(got, s.index)
			if len(got)%3 == 0 {
				st.push(s) // comes back once, then is counted again
				got = got[:len(got)-1]
				s = st.pop()
				got = append(got, s.index)
			}
		}
		for s := st.take(); s != nil; s = s.next {
			got = append(got, s.index)
		}
	}
	pushing.Wait()
	slices.Sort(got)
	if n := len(slices.Compact(slices.Clone(got))); n != pushers*each || len(got) != n {
		t.Errorf("%d nodes came out, %d different ones, want %d", len(got), n, pushers*each)
	}
}
