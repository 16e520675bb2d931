package record

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/load"
)

func TestCountsAreOfWhatHappened(t *testing.T) {
	c := newClock()
	r := New(c.options())
	if got := r.Counts("shop"); !cmp.Equal(got, Counts{}) {
		t.Errorf("of a scenario that is not there: %+v", got)
	}
	s := open(t, r, shop())
	defer s.Close()
	record := func(n, step int, cause load.Cause, checks, failed uint64) {
		for range n {
			x := answered(time.Millisecond)
			x.Step, x.Cause, x.Checks, x.ChecksFailed = step, cause, checks, failed
			s.Record(0, &x)
		}
	}
	record(5, 0, load.None, 0b1, 0)
	record(2, 0, load.Status, 0b1, 0b1)
	record(3, 1, load.Timeout, 0, 0)
	s.Drop(load.NoFreeVU, 7)
	c.advance(time.Second)
	r.Fold(c.now)
	want := Counts{
		Failures: []FailureCount{{"list", load.Timeout, 3, 3}, {"login", load.Status, 2, 7}},
		Checks:   []CheckCount{{"has a token", 7, 2}},
	}
	want.Dropped[load.NoFreeVU] = 7
	if d := cmp.Diff(want, r.Counts("shop")); d != "" {
		t.Errorf("counts (-want +got):\n%s", d)
	}
}
