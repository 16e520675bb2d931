package fleet

import (
	"context"
	"time"

	"github.com/perfd/perfd/internal/pace"
)

// follow reads what the scenario's workload follows until ctx ends, again and again while a run is under way; stopped
// is closed at the end. While the source cannot be read, the workload goes on by its rule for what is missing.
func (s *Scenario) follow(ctx context.Context, f *pace.Feed) (stopped <-chan struct{}) {
	from := s.targets[s.home()].watch.Range(f.Source.Address, f.Source.Query, f.Source.Headers)
	var last time.Time // when the last read that succeeded began
	read := func() {
		f.Extend(time.Now())
		now := time.Now()
		begin, end := f.Wanted(now)
		values, err := from.Read(ctx, begin, end, f.Step)
		if err == nil {
			all := make([]pace.Measured, len(values))
			for i, v := range values {
				all[i] = pace.Measured(v)
			}
			f.Put(all, time.Now())
			last = now
		}
		s.refresh()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		again := time.NewTicker(f.Every)
		defer again.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case asked := <-s.reads:
				if time.Since(last) >= f.Every {
					read()
				}
				close(asked)
			case <-again.C:
				if s.current() != nil {
					read()
				}
			}
		}
	}()
	return done
}

// awaitLevel returns once what the workload follows was read, or could not be, so that a run begins at the level
// that it should have; or when ctx ends.
func (s *Scenario) awaitLevel(ctx context.Context) {
	if s.primary != nil {
		s = s.primary
	}
	if pace.FeedOf(s.plan) == nil {
		return
	}
	asked := make(chan struct{})
	select {
	case s.reads <- asked:
	case <-ctx.Done():
		return
	}
	select {
	case <-asked:
	case <-ctx.Done():
	}
}

// refresh has the runs under way look again at what their plan asks for.
func (s *Scenario) refresh() {
	for _, side := range s.sides() {
		if r := side.current(); r != nil {
			r.engine.Refresh()
		}
	}
}
