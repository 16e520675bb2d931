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

// fake is an output that keeps the names of what it is given.
type fake struct {
	took   []string
	err    error
	block  bool // until the context ends
	closed int
}

func (f *fake) Write(ctx context.Context, w *load.Window) error {
	if f.block {
		<-ctx.Done()
		return ctx.Err()
	}
	f.took = append(f.took, w.Step)
	return f.err
}

func (f *fake) Close(context.Context) error {
	f.closed++
	return f.err
}

func write(f *FanOut, from, to int) (names []string) {
	for i := from; i < to; i++ {
		names = append(names, fmt.Sprint(i))
		f.Write(&load.Window{Step: fmt.Sprint(i)})
	}
	return names
}

func TestEveryOutputTakesEveryWindowInOrder(t *testing.T) {
	a, b := &fake{}, &fake{}
	f := Start(slog.New(slog.DiscardHandler), Named{"a", a}, Named{"b", b})
	want := write(f, 0, 1000)
	if err := f.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]*fake{"a": a, "b": b} {
		if diff := cmp.Diff(want, o.took); diff != "" {
			t.Errorf("output %s took others (-want +got):\n%s", name, diff)
		}
		if o.closed != 1 {
			t.Errorf("output %s was closed %d times, want once", name, o.closed)
		}
	}
	if diff := cmp.Diff([]Lost{{Output: "a"}, {Output: "b"}}, f.Lost()); diff != "" {
		t.Errorf("Lost() differs (-want +got):\n%s", diff)
	}
}

func TestASlowOutputLosesItsOwnWindowsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow, quick := &fake{block: true}, &fake{}
		f := Start(slog.New(slog.DiscardHandler), Named{"slow", slow}, Named{"quick", quick})
		write(f, 0, 1)
		synctest.Wait() // slow holds the first window now
		for i := range queueLength + 10 {
			write(f, i+1, i+2)
			synctest.Wait()
		}
		if got := len(quick.took); got != queueLength+11 {
			t.Errorf("the quick output took %d windows, want %d", got, queueLength+11)
		}
		if diff := cmp.Diff([]Lost{{Output: "slow", Dropped: 10}, {Output: "quick"}}, f.Lost()); diff != "" {
			t.Errorf("Lost() differs (-want +got):\n%s", diff)
		}

		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		if err := f.Close(ctx); err != nil {
			t.Errorf("Close() = %v, want nil: giving up is counted, not an error of closing", err)
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("Close() took %v, want the three seconds it was given", took)
		}
		if got := f.Lost()[0].Failed; got != queueLength+1 {
			t.Errorf("the slow output failed %d windows, want %d", got, queueLength+1)
		}
	})
}

func TestErrorsAreCountedAndLoggedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		broken := &fake{err: errors.New("disk is full")}
		f := Start(slog.New(slog.NewTextHandler(&log, nil)), Named{"history", broken})
		for i := range 150 {
			write(f, i, i+1)
			time.Sleep(time.Second)
		}
		err := f.Close(t.Context())
		if err == nil || !strings.Contains(err.Error(), "close output history: disk is full") {
			t.Errorf("Close() = %v, want the output's error", err)
		}
		if got := f.Lost()[0].Failed; got != 150 {
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
