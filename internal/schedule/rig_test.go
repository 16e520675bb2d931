package schedule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A rig runs a Runner in a synctest bubble, whose clock begins on Saturday,
// 2000-01-01 00:00 UTC, and writes down what its starter is asked for.
type rig struct {
	t        *testing.T
	schedule *Schedule
	options  RunnerOptions
	memory   *jsonMemory
	runner   *Runner
	leave    context.CancelFunc
	left     chan struct{}

	mu     sync.Mutex
	events []string
	begun  time.Time // wall clock of the bubble at its beginning
	ended  func()    // of the run under way
	runs   int
	shift  time.Duration // of the wall clock against the bubble's
	drain  time.Duration // from End to the run's end
	lasts  time.Duration // a run ends by itself after this; 0 for never
	broken bool          // Begin fails
}

// A jsonMemory forgets what JSON does not carry.
type jsonMemory struct {
	mu   sync.Mutex
	text []byte
	sets int
}

func (m *jsonMemory) Get(v any) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.text != nil && json.Unmarshal(m.text, v) == nil
}

func (m *jsonMemory) Set(v any) (err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.text, err = json.Marshal(v)
	m.sets++
	return err
}

// copy is what a killed process leaves on disk.
func (m *jsonMemory) copy() *jsonMemory {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &jsonMemory{text: m.text}
}

// play runs a script in a bubble of its own.
func play(t *testing.T, schedule string, o Options, script func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if o.Scenario == "" {
			o.Scenario = "shop"
		}
		r := &rig{t: t, schedule: compile(t, schedule, o), memory: &jsonMemory{}, begun: time.Now()}
		script(r)
		if r.leave != nil {
			r.stop()
		}
	})
}

func (r *rig) launch() {
	o := r.options
	o.Schedule, o.Starter, o.Memory, o.Log = r.schedule, r, r.memory, slog.New(slog.DiscardHandler)
	o.Clock = func() (time.Time, time.Duration) {
		r.mu.Lock()
		defer r.mu.Unlock()
		return time.Now().Round(0).Add(r.shift), time.Since(r.begun)
	}
	o.Lost = func(run Run) { r.note("lost " + run.ID) }
	o.Stepped = func(by time.Duration) { r.note("stepped " + by.String()) }
	r.runner = NewRunner(o)
	ctx, cancel := context.WithCancel(context.Background())
	left := make(chan struct{})
	r.leave, r.left = cancel, left
	runner := r.runner
	go func() {
		defer close(left)
		runner.Run(ctx)
	}()
	synctest.Wait()
}

// stop ends the process with its grace.
func (r *rig) stop() {
	r.leave()
	<-r.left
	r.leave = nil
}

// kill ends the process without grace: nothing of what it does from now on is
// kept or seen.
func (r *rig) kill() {
	r.memory = r.memory.copy()
	r.options.Alive = time.Now().Round(0).Add(r.shift)
	r.mu.Lock()
	events, drain := r.events, r.drain
	r.drain = 0
	r.mu.Unlock()
	r.stop()
	r.mu.Lock()
	r.events, r.drain, r.ended = events, drain, nil
	r.mu.Unlock()
}

// sleepUntil lets the bubble's clock come to an offset since its beginning.
func (r *rig) sleepUntil(since time.Duration) {
	time.Sleep(time.Until(r.begun.Add(since)))
	synctest.Wait()
}

// step moves the wall clock.
func (r *rig) step(by time.Duration) {
	r.mu.Lock()
	r.shift += by
	r.mu.Unlock()
}

// note writes an event down, with the day and time that the wall clock shows.
func (r *rig) note(event string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, time.Now().Add(r.shift).UTC().Format("02 15:04:05")+" "+event)
}

func (r *rig) Begin(run Run, ended func()) error {
	text := "begin " + run.ID
	if run.Manual {
		text += " manual"
	}
	if run.Resumed {
		text += " resumed"
	}
	if run.Gap > 0 {
		text += " gap " + run.Gap.String()
	}
	if run.Broken {
		text += " broken"
	}
	if now := time.Now().Add(r.shift); !run.Zero.Equal(now.Round(0)) && !run.End.IsZero() {
		text += fmt.Sprintf(" at %v", now.Sub(run.Zero))
	}
	r.note(text)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken {
		return errors.New("broken")
	}
	r.runs++
	r.ended = ended
	if r.lasts > 0 {
		time.AfterFunc(r.lasts, ended)
	}
	return nil
}

func (r *rig) End(why Reason) {
	r.note("end " + string(why))
	r.mu.Lock()
	ended, drain := r.ended, r.drain
	r.mu.Unlock()
	if drain == 0 {
		ended()
		return
	}
	time.AfterFunc(drain, ended)
}

func (r *rig) Cut(run Run) { r.note("cut " + run.ID) }

// want compares what happened since the last time with one event a line.
func (r *rig) want(lines string) {
	r.t.Helper()
	synctest.Wait()
	r.mu.Lock()
	got := r.events
	r.events = nil
	r.mu.Unlock()
	var want []string
	for line := range strings.Lines(lines) {
		if line = strings.TrimSpace(line); line != "" {
			want = append(want, line)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		r.t.Errorf("events (-want +got):\n%s", diff)
	}
}

// wantStatus compares the parts of the status that a test is about.
func (r *rig) wantStatus(what string, got, want any, o ...cmp.Option) {
	r.t.Helper()
	if diff := cmp.Diff(want, got, o...); diff != "" {
		r.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}
