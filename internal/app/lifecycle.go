package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// A lifecycle is the stack of what must be stopped. Each part pushes its stop
// when it comes to life; stop unwinds last in, first out, so sources stop
// before the sinks they feed. It is also the roll-back of a half-done New.
type lifecycle struct {
	mu    sync.Mutex
	steps []stopStep
}

type stopStep struct {
	name string
	stop func(context.Context) error
}

func (l *lifecycle) onStop(name string, stop func(context.Context) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.steps = append(l.steps, stopStep{name, stop})
}

// overtime bounds what all steps together may take beyond the deadline of a stop, and
// stepOvertime what one of them may: a disk that hangs keeps whoever writes to it for good.
const (
	overtime     = 400 * time.Millisecond
	stepOvertime = 100 * time.Millisecond
)

// stop runs every step once, whatever the others answer, under one deadline
// (ctx's), and joins their errors. A step that does not end soon after it is left
// behind: what it holds ends with the process. A second call does nothing.
func (l *lifecycle) stop(ctx context.Context, log *slog.Logger) error {
	l.mu.Lock()
	steps := l.steps
	l.steps = nil
	l.mu.Unlock()
	var errs []error
	for _, step := range slices.Backward(steps) {
		log.Debug("stopping", "part", step.name)
		if err := step.within(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", step.name, err))
		}
	}
	return errors.Join(errs...)
}

var errLeftBehind = errors.New("it had not ended when the grace was over, and is left behind")

// within runs the step for a moment longer than ctx at most.
func (s stopStep) within(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- s.stop(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		return <-done
	}
	more := time.NewTimer(min(stepOvertime, time.Until(deadline.Add(overtime))))
	defer more.Stop()
	select {
	case err := <-done:
		return err
	case <-more.C:
		return errLeftBehind
	}
}
