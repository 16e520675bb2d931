package protocol

import (
	"errors"
	"testing"
)

// line is a session that counts what is done to it.
type line struct{ interrupted, closed, resets int }

func (l *line) Interrupt() { l.interrupted++ }
func (l *line) Close()     { l.closed++ }
func (l *line) Reset()     { l.resets++ }

// opening returns the session under a key of a VU, which it opens with a new line.
func opening(t *testing.T, v *VU, k Key) *line {
	t.Helper()
	s, err := v.Session(k, func(*VU) (Session, error) { return &line{}, nil })
	if err != nil {
		t.Fatal(err)
	}
	return s.(*line)
}

func TestSessionsAreKeptByKeyUntilTheyAreDropped(t *testing.T) {
	v := &VU{}
	a, b := Key{Kind: "a"}, Key{Kind: "a", Name: "second"}
	first, other := opening(t, v, a), opening(t, v, b)
	if first == other || opening(t, v, a) != first || opening(t, v, b) != other {
		t.Fatal("a key does not name one session")
	}
	v.Drop(first)
	v.Drop(first) // which is no session of the VU any more
	second := opening(t, v, a)
	if first.closed != 1 || second == first || opening(t, v, b) != other {
		t.Errorf("first session closed %d times, want once and then another", first.closed)
	}
	v.Begin()
	v.Interrupt()
	v.Close()
	if *first != (line{closed: 1}) {
		t.Errorf("a session that was dropped: %+v, want it closed and left alone", *first)
	}
	for _, l := range []*line{second, other} {
		if *l != (line{1, 1, 1}) {
			t.Errorf("a session: %+v, want it reset, interrupted and closed once", *l)
		}
	}
}

func TestASessionThatDoesNotOpenIsTriedAgain(t *testing.T) {
	v := &VU{}
	wrong := errors.New("wrong")
	if _, err := v.Session(Key{}, func(*VU) (Session, error) { return nil, wrong }); !errors.Is(err, wrong) {
		t.Errorf("error %v, want %v", err, wrong)
	}
	opening(t, v, Key{})
}

func TestASessionThatIsOpenedTooLateIsInterrupted(t *testing.T) {
	v := &VU{}
	v.Interrupt()
	if l := opening(t, v, Key{}); l.interrupted != 1 {
		t.Error("a session of an interrupted user is not interrupted")
	}
}

func TestScratchIsKeptByType(t *testing.T) {
	type first struct{ n int }
	type second struct{ n int }
	var c, other Call
	Scratch[first](&c).n = 1
	Scratch[second](&c).n = 2
	if a, b := Scratch[first](&c).n, Scratch[second](&c).n; a != 1 || b != 2 {
		t.Errorf("two types hold %d and %d, want 1 and 2", a, b)
	}
	if n := Scratch[first](&other).n; n != 0 {
		t.Errorf("the scratch of another call holds %d, want 0", n)
	}
	if n := testing.AllocsPerRun(100, func() {
		Scratch[first](&c).n++
		Scratch[second](&c).n++
	}); n > 0 {
		t.Errorf("taking turns allocates %v times, want 0", n)
	}
}
