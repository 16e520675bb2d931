package app

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/demo"
	"github.com/perfd/perfd/internal/load"
)

// A release that changes with each look, or each push, cuts runs once a second, and the last one counts.
func TestAFloodOfReleasesIsOneASecond(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		every  time.Duration
		pushes int
		most   int // events; least is half of it
	}{
		{"a thousand a second", time.Millisecond, 10_000, 12},
		{"five a second", 200 * time.Millisecond, 50, 12},
		{"one each two seconds", 2 * time.Second, 10, 10},
		{"two at once", 0, 2, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			play(t, demo.Knobs{}, 1, 0, func(s *stage) {
				time.Sleep(time.Minute)
				from := time.Now()
				for i := range c.pushes {
					if err := s.Fleet().Target("shop").Push(fmt.Sprintf("r%d", i), time.Now()); err != nil {
						t.Fatal(err)
					}
					time.Sleep(c.every)
				}
				time.Sleep(5 * time.Second)
				events, err := s.history.Events(from, time.Now())
				if err != nil {
					t.Fatal(err)
				}
				var releases []load.Event
				for _, e := range events {
					if e.Kind == load.ReleaseChanged {
						releases = append(releases, e)
					}
				}
				if n := len(releases); n > c.most || n < c.most/2 {
					t.Fatalf("%d releases on the timeline of %d pushed, want about %d", n, c.pushes, c.most)
				}
				for i := range releases[1:] {
					if releases[i+1].Previous != releases[i].Release {
						t.Errorf("release %s follows %s, the one before was %s", releases[i+1].Release, releases[i+1].Previous, releases[i].Release)
					}
				}
				if last := releases[len(releases)-1].Release; last != fmt.Sprintf("r%d", c.pushes-1) {
					t.Errorf("the last release is %s, want the last that was pushed", last)
				}
			})
		})
	}
}

// A lines counts what is logged.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) count(of string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), of)
}

// Two hundred signals a second reload once a second, at once for the first, and once more for the last.
func TestAFloodOfSignalsReloadsOnceASecond(t *testing.T) {
	for _, c := range []struct {
		name        string
		signals     int
		every       time.Duration
		least, most int
	}{
		{"200 a second for 5 s", 1000, 5 * time.Millisecond, 5, 7},
		{"a handful at once", 5, 0, 1, 2},
		{"one each 3 s", 4, 3 * time.Second, 4, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			play(t, demo.Knobs{}, 1, 0, func(s *stage) {
				out := &lines{}
				s.log = slog.New(slog.NewTextHandler(out, nil))
				reloads := make(chan struct{}, 1)
				s.opts.Reload = reloads
				ctx, cancel := context.WithCancel(context.Background())
				done := make(chan struct{})
				go func() {
					defer close(done)
					s.serveReloads(ctx)
				}()
				defer func() {
					cancel()
					<-done
				}()
				for i := range c.signals {
					select {
					case reloads <- struct{}{}:
					default:
					}
					time.Sleep(c.every)
					if i == 0 {
						time.Sleep(10 * time.Millisecond)
						if out.count("configuration reloaded") != 1 {
							t.Error("the first signal waits")
						}
					}
				}
				time.Sleep(2 * time.Second)
				if n := out.count("configuration reloaded"); n < c.least || n > c.most {
					t.Errorf("%d signals reloaded %d times, want %d to %d", c.signals, n, c.least, c.most)
				}
			})
		})
	}
}
