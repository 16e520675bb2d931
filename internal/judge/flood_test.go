package judge

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/history"
	"github.com/perfd/perfd/internal/load"
)

// A slow is an analysis that takes its time for each event.
type slow struct{ counter }

func (s *slow) Event(load.Event) { time.Sleep(5 * time.Millisecond) }

// However much was handed over, and whatever it is, a judge that is hurried ends soon, and what it did not judge is counted.
func TestAJudgeInAHurryEnds(t *testing.T) {
	for _, c := range []struct {
		name string
		put  func(j *Judge, i int)
	}{
		{"releases", func(j *Judge, i int) {
			j.Event(load.Event{At: time.Now(), Kind: load.ReleaseChanged, Target: "t", Release: fmt.Sprint(i)})
		}},
		{"runs", func(j *Judge, i int) {
			j.Ended(Run{Event: load.Event{At: time.Now(), Kind: load.RunEnded, Scenario: "shop", Run: fmt.Sprint(i)}, HandedOver: time.Now()})
		}},
		{"events and samples", func(j *Judge, i int) {
			j.Event(load.Event{At: time.Now(), Kind: load.RunBegan, Scenario: "shop", Run: fmt.Sprint(i)})
			j.Sample(load.Sample{Target: "t", Resource: "heap", End: time.Now()})
		}},
	} {
		if testing.Short() && c.name == "releases" { // events too, as the last ones are
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				h, err := history.Open(history.Options{Dir: dir, Fault: func(error) {}})
				if err != nil {
					t.Fatal(err)
				}
				kind := counterKind
				kind.New = func() analysis.Analysis { return &slow{} }
				j := New(&analysis.Description{}, Options{Kinds: analysis.Kinds{kind}, History: h, Log: quiet})
				for i := range 2 * mostAtAll {
					c.put(j, i)
				}
				if n := len(j.inbox.items); n > mostAtAll {
					t.Errorf("%d wait, want at most %d", n, mostAtAll)
				}
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() {
					defer close(done)
					j.Run(ctx)
				}()
				cancel()
				time.Sleep(2 * time.Second)
				began := time.Now()
				j.Hurry()
				<-done
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("the judge went on for %v", took)
				}
				if j.inbox.lost.Load() == 0 {
					t.Error("nothing was counted as lost")
				}
				if err := h.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
