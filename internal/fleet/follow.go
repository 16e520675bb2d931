package fleet

import (
	"context"
	"time"

	"github.com/perfd/perfd/internal/pace"
)

// follow reads what the scenario's workload follows until ctx ends, again and again. It returns once a read has
// succeeded or failed, so that a run begins at the level that it should have; stopped is closed at the end. While
// the source cannot be read, the workload goes on by its rule for what is missing.
func (s *Scenario) follow(ctx context.Context, f *pace.Feed) (stopped <-chan struct{}) {
	from := s.targets[s.home()].watch.Range(f.Source.Address, f.Source.Query, f.Source.Headers)
	read := func() {
		f.Extend(time.Now())
		begin, end := f.Wanted(time.Now())
		values, err := from.Read(ctx, begin, end, f.Step)
		if err == nil {
			all := make([]pace.Measured, len(values))
			for i, v := range values {
				all[i] = pace.Measured(v)
			}
			f.Put(all, time.Now())
		}
		s.refresh()
	}
	read()
	done := make(chan struct{})
	go func() {
		defer close(done)
		again := time.NewTicker(f.Every)
		defer again.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-again.C:
				read()
			}
		}
	}()
	return done
}

// refresh has the runs under way look again at what their plan asks for.
func (s *Scenario) refresh() {
	for _, side := range s.sides() {
		if r := side.current(); r != nil {
			r.engine.Refresh()
		}
	}
}
