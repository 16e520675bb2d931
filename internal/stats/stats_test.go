package stats

import (
	"math"
	"testing"
)

func TestInterval(t *testing.T) {
	in := Interval{-1, 3}
	for x, want := range map[float64]bool{-1: true, 0: true, 3: true, 3.1: false, -1.1: false} {
		if got := in.Contains(x); got != want {
			t.Errorf("%v contains %g: %v, want %v", in, x, got, want)
		}
	}
	if in.Contains(math.NaN()) {
		t.Errorf("%v contains NaN", in)
	}
	if got := in.Width(); got != 4 {
		t.Errorf("width = %g, want 4", got)
	}
}
