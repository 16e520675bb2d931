package app

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// Tests that change their environment cannot run in parallel.
	for name, value := range map[string]string{"TEST_TOKEN": "MARKER-environment", "TEST_SHORT": "MARKER"} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

var quiet = slog.New(slog.DiscardHandler)

func TestStopsUnwindLastInFirstOut(t *testing.T) {
	var l lifecycle
	var order []string
	bad := errors.New("bad")
	for _, name := range []string{"sink", "source", "listener"} {
		l.onStop(name, func(context.Context) error {
			order = append(order, name)
			if name != "sink" {
				return bad
			}
			return nil
		})
	}
	err := l.stop(context.Background(), quiet)
	if d := cmp.Diff([]string{"listener", "source", "sink"}, order); d != "" {
		t.Errorf("order (-want +got):\n%s", d)
	}
	if !errors.Is(err, bad) || !strings.Contains(err.Error(), "stop listener") || !strings.Contains(err.Error(), "stop source") {
		t.Errorf("stop = %v, want both errors with their names", err)
	}
	if err := l.stop(context.Background(), quiet); err != nil || len(order) != 3 {
		t.Errorf("a second stop = %v and %d steps run, want nil and no more", err, len(order))
	}
}
