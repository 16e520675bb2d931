package fleet

import (
	"time"

	"github.com/perfd/perfd/internal/engine"
	"github.com/perfd/perfd/internal/flow"
	"github.com/perfd/perfd/internal/schedule"
)

// addTwin makes the baseline's side of a scenario with a twin, and adds it behind the scenario. It has a recorder's
// sink, limits and a watch over validity of its own; schedule and plan are the scenario's.
func (f *Fleet) addTwin(s *Scenario, g *generation) error {
	c := s.cfg.BaselineSide()
	if c == nil {
		return nil
	}
	t := f.newSide(c, g)
	t.primary, t.plan, t.runner = s, s.plan, s.runner
	if err := t.openSink(); err != nil {
		return err
	}
	s.twin = t
	g.scenarios = append(g.scenarios, t)
	return nil
}

// sides returns the scenario and, where it has a twin, its baseline's side.
func (s *Scenario) sides() []*Scenario {
	if s.twin == nil {
		return []*Scenario{s}
	}
	return []*Scenario{s, s.twin}
}

// A besideRun is the run of a baseline's side beside that of its scenario. A nil one is none.
type besideRun struct {
	s *Scenario
	r *run
}

// beside makes the run of the baseline's side: with the same plan from the same zero on, and what one arrival becomes
// is the same on both sides. The scenario's run goes on alone where it cannot be made.
func (s *Scenario) beside(r *run, sr schedule.Run) *besideRun {
	t := s.twin
	if t == nil {
		return nil
	}
	b, err := t.newRun(sr, r.plan)
	if err != nil {
		t.log.Error("the baseline gets no load in this run", "run", sr.ID, "err", err)
		return nil
	}
	pair := &flow.Pair{}
	for _, one := range []*run{r, b} {
		one.vus.Pair = pair
		if s.open {
			one.vus.Arrival = func(due time.Duration) uint64 { return uint64(one.engine.Planned(due)) }
		}
	}
	return &besideRun{t, b}
}

// begin starts the run. Neither run waits for what the other does.
func (b *besideRun) begin() {
	if b == nil {
		return
	}
	b.s.takeUp(b.r, b.r.identity.Load().id)
	b.r.start(b.s.paused(), func(o engine.Outcome) {
		b.s.letGo(b.r, time.Now())
		b.s.log.Info("run of the baseline ended", "run", b.r.identity.Load().id, "outcome", o.String(), "after", time.Since(b.r.joined).Round(time.Millisecond))
	})
}

// join has the run end, with its grace, after that of the scenario, and waits for it.
func (b *besideRun) join() {
	if b == nil {
		return
	}
	b.r.stops(time.Now())
	b.r.cancel()
	<-b.r.done
}
