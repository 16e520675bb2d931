package demo

import (
	"context"
	"time"
)

// A Scene is a turn of the knobs that a script makes by itself.
type Scene struct {
	At     time.Duration // since the script began
	What   string        // what happens
	Expect string        // what perfd says of it, and by when
	Turn   func(*Knobs)
}

// Script is what `perfd demo` plays: within ten minutes a release that is slower and leaks, a stall that breaks
// objectives, and a release that mends all of it.
func Script() []Scene {
	return []Scene{
		{
			At: 0, What: "v1.0.0 serves, and nothing is wrong with it", Expect: "within three minutes the objectives of shop-soak pass",
			Turn: func(k *Knobs) { *k = Default() },
		},
		{
			At: 3 * time.Minute, What: "v1.1.0 is rolled out: half as slow again, though within all limits, and each request leaks",
			Expect: "within three minutes a leak of the heap, with the time to its limit; within five a regression that names v1.1.0",
			Turn:   func(k *Knobs) { k.Release, k.Slowdown, k.LeakPerRequest = "v1.1.0", 1.5, 24<<10 },
		},
		{
			At: 8 * time.Minute, What: "v1.1.0 stalls: nothing is answered for two seconds of every five", Expect: "within a minute the objective p95 of shop-soak fails",
			Turn: func(k *Knobs) { k.StallEvery, k.StallFor = Duration(5*time.Second), Duration(2*time.Second) },
		},
		{
			At: 9 * time.Minute, What: "v1.2.0 is rolled out: it is fast again, does not stall, and leaks nothing",
			Expect: "within two minutes the objective p95 passes again and the leak is over; the regression is once that is proven, which takes another four to eight",
			Turn: func(k *Knobs) {
				*k = Default()
				k.Release = "v1.2.0"
			},
		},
	}
}

// Play turns the knobs as a script says until it is over, ctx ends, or somebody else turns them. It calls said
// before each scene.
func (s *Shop) Play(ctx context.Context, script []Scene, said func(Scene)) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	began := time.Now()
	s.mu.Lock()
	s.script, s.began, s.endScript = script, began, cancel
	s.mu.Unlock()
	for _, scene := range script {
		timer := time.NewTimer(time.Until(began.Add(scene.At)))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		said(scene)
		err := s.change(func(k *Knobs) error {
			scene.Turn(k)
			return ctx.Err() // somebody turned the knobs meanwhile
		})
		if err != nil {
			return
		}
	}
}

// playing returns the script that is played, and since when; none once somebody turned the knobs.
func (s *Shop) playing() (script []Scene, began time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.script, s.began
}

// takeOver ends the script: from now on the knobs are somebody's.
func (s *Shop) takeOver() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.endScript != nil {
		s.endScript()
	}
	s.script, s.endScript = nil, nil
}
