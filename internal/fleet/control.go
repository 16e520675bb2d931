package fleet

import (
	"errors"
	"fmt"
	"time"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/pace"
)

// controlPrefix begins the keys of the state that hold to what scenarios were set from outside.
const controlPrefix = "control/"

// What SetLoad refuses, and says, beside what is wrong with the level.
var (
	ErrNotControlled = errors.New("its load is not set from outside: its executor is not externally-controlled")
	ErrNotKept       = errors.New("set, but a restart would not know")
)

// Load is to what the scenario was set from outside, and the most that it may be; false where its workload says
// everything.
func (s *Scenario) Load() (now pace.Setting, most pace.Target, ok bool) {
	p, ok := s.plan.(pace.Controlled)
	if !ok {
		return now, most, false
	}
	return p.Now(), p.Most(), true
}

// SetLoad sets the level of a scenario whose load is set from outside, for the run under way and those to come, over
// restarts and reloads. By says who did it.
func (s *Scenario) SetLoad(to pace.Target, by string) (pace.Setting, error) {
	p, ok := s.plan.(pace.Controlled)
	if !ok {
		return pace.Setting{}, ErrNotControlled
	}
	if s.primary != nil {
		return s.primary.SetLoad(to, by)
	}
	s.setting.Lock()
	defer s.setting.Unlock()
	r := s.current()
	if r != nil {
		p = r.plan.(pace.Controlled)
	}
	was := p.Now()
	set, err := p.Set(to, time.Now().Round(0), by)
	if err != nil {
		return was, err
	}
	s.refresh()
	s.loadSet(was.Level(), set)
	return set, s.keepLoad(set)
}

// loadSet puts a new level on the timeline and in the log.
func (s *Scenario) loadSet(was pace.Target, set pace.Setting) {
	e := load.Event{At: set.Since, Kind: load.LoadSet, Scenario: s.name, Target: s.home(), Level: set.Level().String(), Previous: was.String(), By: set.By}
	if r := s.current(); r != nil {
		e.Run = r.identity.Load().id
	}
	s.log.Info("load set from outside", "level", e.Level, "previous", e.Previous, "by", e.By, "run", e.Run)
	s.o.Judge.Event(e)
}

func (s *Scenario) keepLoad(set pace.Setting) error {
	if err := s.o.State.Set(controlPrefix+s.name, set); err != nil {
		return fmt.Errorf("%w: %w", ErrNotKept, err)
	}
	return nil
}

// restoreLoad takes up what the scenario was set to under an earlier process or configuration, as far as it may be by
// now.
func (s *Scenario) restoreLoad() {
	key := controlPrefix + s.name
	p, ok := s.plan.(pace.Controlled)
	var was pace.Setting
	if !ok || !s.o.State.Get(key, &was) {
		s.o.State.Forget(key)
		return
	}
	set, err := p.Restore(was, time.Now().Round(0))
	if err != nil {
		s.log.Warn("what the load was set to does not hold any more", "level", was.Level().String(), "by", was.By, "why", err)
		s.o.State.Forget(key)
		return
	}
	if set.Level().Level() == was.Level().Level() {
		return
	}
	s.log.Warn("what the load was set to is more than the configuration allows", "level", was.Level().String(), "most", set.Level().String())
	s.loadSet(was.Level(), set)
	if err := s.keepLoad(set); err != nil {
		s.log.Warn("keep what the load is set to", "err", err)
	}
}
