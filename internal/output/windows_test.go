package output

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/perfd/perfd/internal/load"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var discard = slog.New(slog.DiscardHandler)

// sink is a WindowWriter that keeps the names of what it is given.
type sink struct {
	took  []string
	err   error
	block bool // until the context ends
}

func (s *sink) WriteWindow(ctx context.Context, w *load.Window) error {
	if s.block {
		<-ctx.Done()
		return ctx.Err()
	}
	s.took = append(s.took, w.Step)
	return s.err
}

func put(f *feed, from, to int) (names []string) {
	for i := from; i < to; i++ {
		names = append(names, fmt.Sprint(i))
		f.put(&load.Window{Step: fmt.Sprint(i)})
	}
	return names
}

func TestAFeedKeepsTheOrder(t *testing.T) {
	to, lost := &sink{}, &losses{}
	f := newFeed("a", discard, lost)
	want := put(f, 0, 500) // before it runs
	go f.run(to)
	want = append(want, put(f, 500, 1000)...)
	f.end(t.Context())
	if diff := cmp.Diff(want, to.took); diff != "" {
		t.Errorf("windows differ (-want +got):\n%s", diff)
	}
	if lost.full.Load() != 0 || lost.failed.Load() != 0 {
		t.Errorf("lost %d and %d windows, want none", lost.full.Load(), lost.failed.Load())
	}
}

func TestASlowOutputLosesWindowsAndBlocksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost := &losses{}
		f := newFeed("slow", discard, lost)
		go f.run(&sink{block: true})
		put(f, 0, 1)
		synctest.Wait() // the output holds the first window
		put(f, 1, queueLength+11)
		if got := lost.full.Load(); got != 10 {
			t.Errorf("%d windows were dropped, want 10", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		f.end(ctx)
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("end took %v, want the three seconds it was given", took)
		}
		if got := lost.failed.Load(); got != queueLength+1 {
			t.Errorf("%d windows failed, want %d", got, queueLength+1)
		}
	})
}

func TestErrorsAreCountedAndLoggedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		lost := &losses{}
		f := newFeed("history", slog.New(slog.NewTextHandler(&log, nil)), lost)
		go f.run(&sink{err: errors.New("disk is full")})
		for i := range 150 {
			put(f, i, i+1)
			time.Sleep(time.Second)
		}
		f.end(t.Context())
		if got := lost.failed.Load(); got != 150 {
			t.Errorf("failed = %d, want 150", got)
		}
		if got := strings.Count(log.String(), "disk is full"); got != 3 {
			t.Errorf("%d messages in 150 s, want 3:\n%s", got, log.String())
		}
		if !strings.Contains(log.String(), "output=history") {
			t.Errorf("log = %q, want the output's name in it", log.String())
		}
	})
}
