package app

import (
	"errors"
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/config"
)

// A step is a part of a daemon that writes down what happens to it.
type step struct {
	name string
	fail error
	log  *[]string
}

func (s step) prepare(*config.Document) (change, error) {
	*s.log = append(*s.log, "prepare "+s.name)
	return s, s.fail
}

func (s step) Commit() { *s.log = append(*s.log, "commit "+s.name) }
func (s step) Abort()  { *s.log = append(*s.log, "abort "+s.name) }

func TestAReloadChangesAllPartsOrNone(t *testing.T) {
	bad := errors.New("no room on the disk")
	for _, c := range []struct {
		name string
		fail int // index of the part that cannot be prepared; -1 for none
		want []string
	}{
		{"all parts are prepared", -1, []string{
			"prepare outputs", "prepare judge", "prepare fleet", "commit outputs", "commit judge", "commit fleet",
		}},
		{"the first fails", 0, []string{"prepare outputs"}},
		{"the last fails", 2, []string{"prepare outputs", "prepare judge", "prepare fleet", "abort judge", "abort outputs"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log []string
			var parts []preparation
			for i, name := range []string{"outputs", "judge", "fleet"} {
				s := step{name: name, log: &log}
				if i == c.fail {
					s.fail = bad
				}
				parts = append(parts, s.prepare)
			}
			err := changeAll(nil, parts...)
			if (c.fail >= 0) != errors.Is(err, bad) {
				t.Errorf("changeAll = %v", err)
			}
			if d := cmp.Diff(c.want, log); d != "" {
				t.Errorf("what happened (-want +got):\n%s", d)
			}
		})
	}
}

// Nothing holds a document that another has replaced, even where some of its scenarios go on.
func TestAReloadLetsGoOfTheOldDocument(t *testing.T) {
	r := newRig(t)
	old := weak.Make(r.fleet.Document())
	steady := r.fleet.Scenario("steady")
	r.write(3)
	must(t, r.Reload())
	if r.fleet.Scenario("steady") != steady {
		t.Fatal("a scenario that is unchanged is another one")
	}
	for deadline := time.Now().Add(45 * time.Second); old.Value() != nil; time.Sleep(10 * time.Millisecond) {
		if runtime.GC(); time.Now().After(deadline) {
			t.Fatal("the document before is still in memory")
		}
	}
}
