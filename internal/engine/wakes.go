package engine

import (
	"time"

	"github.com/perfd/perfd/internal/pace"
)

// A wake is the engine time at which a slot needs the loop. It holds no pointer, so
// that the garbage collector need not scan a heap of thinking VUs.
type wake struct {
	at   time.Duration
	slot int
}

// wakes is a binary heap of wakes, the soonest first.
type wakes []wake

// next is the time of the soonest wake, Forever where there is none.
func (w wakes) next() time.Duration {
	if len(w) == 0 {
		return pace.Forever
	}
	return w[0].at
}

func (w *wakes) push(x wake) {
	*w = append(*w, x)
	w.up(len(*w) - 1)
}

// pop removes the soonest wake and returns its slot.
func (w *wakes) pop() int {
	s := (*w)[0].slot
	w.removeAt(0)
	return s
}

// remove removes the wake of a slot and reports whether there was one. It scans every entry: slots are removed early
// only at the end of a grace.
func (w *wakes) remove(slot int) bool {
	for i := range *w {
		if (*w)[i].slot == slot {
			w.removeAt(i)
			return true
		}
	}
	return false
}

func (w *wakes) removeAt(i int) {
	h := *w
	last := len(h) - 1
	h[i] = h[last]
	*w = h[:last]
	if i < last {
		w.down(i)
		w.up(i)
	}
}

func (w wakes) up(i int) {
	x := w[i]
	for i > 0 {
		parent := (i - 1) / 2
		if w[parent].at <= x.at {
			break
		}
		w[i] = w[parent]
		i = parent
	}
	w[i] = x
}

func (w wakes) down(i int) {
	x := w[i]
	for {
		child := 2*i + 1
		if child >= len(w) {
			break
		}
		if right := child + 1; right < len(w) && w[right].at < w[child].at {
			child = right
		}
		if x.at <= w[child].at {
			break
		}
		w[i] = w[child]
		i = child
	}
	w[i] = x
}
