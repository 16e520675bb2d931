package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
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

// stop runs every step once, whatever the others answer, under one deadline
// (ctx's), and joins their errors. A second call does nothing.
func (l *lifecycle) stop(ctx context.Context, log *slog.Logger) error {
	l.mu.Lock()
	steps := l.steps
	l.steps = nil
	l.mu.Unlock()
	var errs []error
	for _, step := range slices.Backward(steps) {
		log.Debug("stopping", "part", step.name)
		if err := step.stop(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", step.name, err))
		}
	}
	return errors.Join(errs...)
}
