package fleet

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/perfd/perfd/internal/load"
	"github.com/perfd/perfd/internal/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A memoryDisk keeps state for as long as a test runs.
type memoryDisk map[string][]byte

func (d memoryDisk) States() (map[string][]byte, error) { return d, nil }

func (d memoryDisk) PutState(key string, value []byte) {
	if d[key] = value; value == nil {
		delete(d, key)
	}
}

func (d memoryDisk) FlushState() error { return nil }

func openState(t *testing.T, d memoryDisk) *state.Store {
	t.Helper()
	s, err := state.Open(t.TempDir(), d)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestFailuresAreKeptAndLoggedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		r := newFailureRing(slog.New(slog.NewTextHandler(&log, nil)), nil)
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

// Secrets are struck out when somebody reads, or before they are forgotten, and not of each of thousands of failures.
func TestSecretsOfFailuresAreStruckOutOnce(t *testing.T) {
	struck, secret := 0, "old"
	r := newFailureRing(slog.New(slog.DiscardHandler), func(text string) string {
		struck++
		return strings.ReplaceAll(text, secret, "<secret>")
	})
	fail := func(n int, text string) {
		for range n {
			r.add(Failure{At: time.Now(), Step: "a", Cause: load.Timeout, Text: text})
		}
	}
	fail(3*keptFailures, "old and new")
	if struck > 0 {
		t.Errorf("%d texts were looked at, and nobody read any", struck)
	}
	r.conceal() // a reload, which brings another secret
	secret = "new"
	fail(2, "old and new")
	texts := map[string]int{}
	for range 2 {
		clear(texts)
		for _, f := range r.recent() {
			texts[f.Text]++
		}
	}
	want := map[string]int{"<secret> and new": keptFailures - 2, "old and <secret>": 2}
	if d := cmp.Diff(want, texts); d != "" {
		t.Errorf("texts (-want +got):\n%s", d)
	}
	if struck != keptFailures+2 {
		t.Errorf("%d texts were looked at, want each that is kept, once", struck)
	}
}

func TestPause(t *testing.T) {
	disk := memoryDisk{}
	synctest.Test(t, func(t *testing.T) {
		var changes []bool
		open := func() *pause {
			p := &pause{store: openState(t, disk), changed: func(on bool) { changes = append(changes, on) }}
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
		if d := cmp.Diff([]bool{true, true, false, true, true, false}, changes); d != "" {
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
	var changes []bool
	p := &pause{store: openState(t, memoryDisk{}), changed: func(on bool) { changes = append(changes, on) }}
	file := filepath.Join(dir, "STOP")
	p.look(file)
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p.look(file)
	p.look(file)
	if err := p.resume(); err != nil { // a request does not override the file
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
	if d := cmp.Diff([]bool{true, false}, changes); d != "" {
		t.Errorf("changes (-want +got):\n%s", d)
	}
}

func TestTheRunOfAWindowIsTheOneThatWasThereFirst(t *testing.T) {
	at := func(s int) time.Time { return time.Date(2026, 1, 5, 0, 0, s, 0, time.UTC) }
	s := &Scenario{}
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
