package leak

import (
	"sort"
)

// A mark is how many requests had ended at an instant.
type mark struct{ at, total float64 }

// Traffic counts the requests that perfd sent to a target. Marks in between are
// left out when there are too many: what lies between two others stays.
type traffic struct{ marks []mark }

func (t *traffic) add(from, to, requests float64) {
	n := len(t.marks)
	switch {
	case n == 0:
		t.marks = append(t.marks, mark{from, 0})
	case from > t.marks[n-1].at: // nothing was sent in between
		t.marks = append(t.marks, mark{from, t.marks[n-1].total})
	}
	n = len(t.marks)
	last := &t.marks[n-1]
	if to > last.at {
		t.marks = append(t.marks, mark{to, last.total + requests})
	} else {
		last.total += requests
	}
	if len(t.marks) > mostMarks {
		half := t.marks[:0]
		for i, m := range t.marks {
			if i%2 == 0 || i == len(t.marks)-1 {
				half = append(half, m)
			}
		}
		t.marks = half
	}
}

// at returns how many requests had ended at an instant.
func (t *traffic) at(s float64) float64 {
	i := sort.Search(len(t.marks), func(i int) bool { return t.marks[i].at >= s })
	switch {
	case len(t.marks) == 0:
		return 0
	case i == 0:
		return t.marks[0].total
	case i == len(t.marks):
		return t.marks[i-1].total
	}
	a, b := t.marks[i-1], t.marks[i]
	return a.total + (b.total-a.total)*(s-a.at)/(b.at-a.at)
}

// rate returns requests per second between two instants.
func (t *traffic) rate(from, to float64) float64 {
	if to <= from {
		return 0
	}
	return (t.at(to) - t.at(from)) / (to - from)
}

// fell says whether load went down by a fifth between two instants, as compared
// with as long before, five minutes at least.
func (t *traffic) fell(from, to float64) bool {
	return t.rate(from, to) < 0.8*t.rate(from-max(300, to-from), from)
}
