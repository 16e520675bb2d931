package app

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/perfd/perfd/internal/analysis"
	"github.com/perfd/perfd/internal/load"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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

func TestStorageBelongsToOneDaemon(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	release, err := lockStorage(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockStorage(dir); err == nil || !strings.Contains(err.Error(), "give this one its own --storage.path") {
		t.Errorf("a second lock: %v, want an error that says what to do", err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	again, err := lockStorage(dir)
	if err != nil {
		t.Fatalf("after the release: %v", err)
	}
	again()
}

func TestStoreOutlivesItsProcess(t *testing.T) {
	dir := t.TempDir()
	open := func() *store {
		s, aside, err := openStore(dir)
		if err != nil || aside != "" {
			t.Fatalf("openStore: %v, set aside %q", err, aside)
		}
		return s
	}
	s := open()
	for key, v := range map[string]any{"a/1": 1, "a/2": "two", "b": map[string]int{"x": 3}} {
		if err := s.set(key, v); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.set("a/2", nil); err != nil {
		t.Fatal(err)
	}
	s = open()
	var one int
	if !s.get("a/1", &one) || one != 1 {
		t.Errorf("a/1 = %d, want 1", one)
	}
	if s.get("a/2", new(string)) {
		t.Error("what was forgotten is still there")
	}
	if d := cmp.Diff([]string{"a/1"}, s.all("a/")); d != "" {
		t.Errorf("keys (-want +got):\n%s", d)
	}
	if names, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(names) != 1 {
		t.Errorf("files %v (%v), want the state alone", names, err)
	}
}

func TestDamagedStateIsSetAside(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, stateFile)
	if err := os.WriteFile(path, []byte(`{"a": tru`), 0o600); err != nil {
		t.Fatal(err)
	}
	s, aside, err := openStore(dir)
	if err != nil || aside != path+".damaged" {
		t.Fatalf("openStore: %v, set aside %q", err, aside)
	}
	if err := s.set("a", true); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil || !json.Valid(text) {
		t.Errorf("the state is %s (%v), want JSON", text, err)
	}
}

func TestFailuresAreKeptAndLoggedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		r := newFailureRing(slog.New(slog.NewTextHandler(&log, nil)))
		fail := func(cause load.Cause, code int32) {
			r.add(Failure{At: time.Now(), Step: "a", Cause: cause, Code: code, Text: "x"})
		}
		for i := range keptFailures + 5 {
			fail(load.Timeout, int32(i))
		}
		fail(load.Reset, 1000)
		time.Sleep(logEvery)
		fail(load.Timeout, 2000)
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 3 || !strings.Contains(lines[2], "more_since_last_line=54") {
			t.Errorf("the log is\n%s\nwant three lines, the last counting 54 more", log.String())
		}
		kept := r.recent()
		if len(kept) != keptFailures || kept[0].Code != 2000 || kept[1].Code != 1000 || kept[2].Code != keptFailures+4 {
			t.Errorf("%d failures kept, the newest with codes %d %d %d; want %d with 2000 1000 %d",
				len(kept), kept[0].Code, kept[1].Code, kept[2].Code, keptFailures, keptFailures+4)
		}
	})
}

func TestPause(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var told []bool
		open := func() *pause {
			s, _, err := openStore(dir)
			if err != nil {
				t.Fatal(err)
			}
			p := &pause{store: s, changed: func(on bool) { told = append(told, on) }}
			p.restore()
			return p
		}
		on := func(p *pause) bool { v, _ := p.state(); return v }

		p := open()
		begin := time.Now()
		if err := p.set(time.Hour); err != nil || !on(p) {
			t.Fatalf("set = %v, paused %v", err, on(p))
		}
		p.close()
		if p = open(); !on(p) {
			t.Error("a pause does not survive a restart")
		}
		time.Sleep(time.Hour + time.Second)
		synctest.Wait()
		if on(p) {
			t.Error("a pause of an hour goes on after an hour")
		}
		if p = open(); on(p) {
			t.Error("a pause that has ended is there again after a restart")
		}
		if err := p.set(0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(24 * time.Hour)
		if p = open(); !on(p) {
			t.Error("a pause without an end has ended")
		}
		if err := p.resume(); err != nil || on(p) {
			t.Errorf("resume = %v, paused %v", err, on(p))
		}
		if d := cmp.Diff([]bool{true, true, false, true, true, false}, told); d != "" {
			t.Errorf("changes (-want +got):\n%s", d)
		}
		if p.during(begin, begin.Add(time.Minute)) {
			t.Error("during asks about the last pause, which was later")
		}
		if now := time.Now(); !p.during(now.Add(-time.Hour), now.Add(time.Hour)) {
			t.Error("during = false for a time in which a pause ended")
		}
	})
}

func TestKillSwitchAndRequestPauseTogether(t *testing.T) {
	dir := t.TempDir()
	s, _, err := openStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	var told []bool
	p := &pause{store: s, changed: func(on bool) { told = append(told, on) }}
	file := filepath.Join(dir, "STOP")
	p.look(file)
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p.look(file)
	p.look(file)
	if err := p.resume(); err != nil { // what the file says, a request does not take back
		t.Fatal(err)
	}
	if on, _ := p.state(); !on {
		t.Error("load runs while the kill switch is there")
	}
	os.Remove(file)
	p.look(file)
	if on, _ := p.state(); on {
		t.Error("load is paused after the kill switch was taken away")
	}
	if d := cmp.Diff([]bool{true, false}, told); d != "" {
		t.Errorf("changes (-want +got):\n%s", d)
	}
}

func TestTheRunOfAWindowIsTheOneThatWasThereFirst(t *testing.T) {
	at := func(s int) time.Time { return time.Date(2026, 1, 5, 0, 0, s, 0, time.UTC) }
	s := &scenario{}
	for _, m := range []mark{{at(5), "a"}, {at(25), "b"}, {at(31), ""}, {at(52), "c"}, {at(58), ""}} {
		s.mark(m.at, m.id)
	}
	for _, c := range []struct {
		from, to int
		want     string
	}{
		{0, 5, ""},
		{0, 10, "a"}, // began in it
		{10, 20, "a"},
		{20, 30, "a"}, // was cut in it
		{30, 40, "b"}, // ended in it
		{40, 50, ""},
		{50, 60, "c"}, // began and ended in it
		{60, 70, ""},
	} {
		if got := s.runDuring(at(c.from), at(c.to)); got != c.want {
			t.Errorf("the run of second %d to %d is %q, want %q", c.from, c.to, got, c.want)
		}
	}
	for i := range 2 * keptMarks {
		s.mark(at(60+i), "d")
	}
	if len(s.marks) != keptMarks {
		t.Errorf("%d marks kept, want %d", len(s.marks), keptMarks)
	}
}

func TestExitCodesFollowTheVerdict(t *testing.T) {
	for _, c := range []struct {
		name    string
		result  string
		verdict load.Verdict
		basis   analysis.Basis
		want    int
	}{
		{"all is well", "", load.Pass, analysis.Judged, OncePassed},
		{"an objective fails", "", load.Fail, analysis.Judged, OnceBroken},
		{"too little evidence", "", load.Inconclusive, analysis.Judged, OnceInconclusive},
		{"nothing to pass", "", load.Inconclusive, analysis.NoObjectives, OncePassed},
		{"a doubt", "", load.Inconclusive, analysis.Doubted, OnceInconclusive},
		{"interrupted", "interrupted", load.Inconclusive, analysis.Cut, OnceInconclusive},
		{"died", "error", load.Inconclusive, analysis.Cut, OnceFailed},
	} {
		if got := onceCode(c.result, c.verdict, c.basis); got != c.want {
			t.Errorf("%s: exit code %d, want %d", c.name, got, c.want)
		}
	}
}
