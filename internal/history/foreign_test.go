//go:build unix

package history

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/load"
)

const huge = 40 << 30

// memory is how much the process has asked for so far.
func memory() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// Whatever lies in the folder, opening, reading, appending and maintaining it neither hang nor take memory for it; the start says what was set aside, and what is sound is kept.
func TestWhatLiesInTheFolderHoldsNothingUp(t *testing.T) {
	segment := func(dir string) string { return files(t, dir, "*.seg")[0] }
	other := func(dir string) string {
		return filepath.Join(dir, (&segmentAt{zero.Add(time.Hour)}).name())
	}
	for _, c := range []struct {
		name string
		put  func(dir string)
		says string
	}{
		{"a sparse segment", func(dir string) { must(t, os.Truncate(segment(dir), huge)) }, "was cut off"},
		{"a sparse segment that is no segment", func(dir string) {
			must(t, os.WriteFile(other(dir), []byte("hello"), 0o644))
			must(t, os.Truncate(other(dir), huge))
		}, "was cut off"},
		{"a pipe of a segment's name", func(dir string) { must(t, syscall.Mkfifo(other(dir), 0o644)) }, "not its own"},
		{"a folder of a segment's name", func(dir string) { must(t, os.MkdirAll(filepath.Join(other(dir), "x"), 0o755)) }, "not its own"},
		{"a folder of an unfinished segment's name", func(dir string) { must(t, os.MkdirAll(filepath.Join(dir, "x"+partSuffix, "y"), 0o755)) }, "not its own"},
		{"a file of somebody else", func(dir string) { must(t, os.WriteFile(filepath.Join(dir, "core.1234"), []byte("x"), 0o644)) }, "core.1234"},
		{"a segment full of marks", func(dir string) {
			must(t, os.WriteFile(other(dir), append(bytes.Clone(header), bytes.Repeat([]byte("\xf7pQ\x9d\x00\x00\x40\x00"), 1<<19)...), 0o644))
		}, ""},
		{"a sparse ledger", func(dir string) { must(t, os.Truncate(filepath.Join(dir, ledgerFile), huge)) }, ""},
		{"a ledger of nothing but a hole", func(dir string) {
			must(t, os.WriteFile(filepath.Join(dir, ledgerFile), nil, 0o644))
			must(t, os.Truncate(filepath.Join(dir, ledgerFile), huge))
		}, "were set aside"},
		{"a pipe for a ledger", func(dir string) {
			must(t, os.Remove(filepath.Join(dir, ledgerFile)))
			must(t, syscall.Mkfifo(filepath.Join(dir, ledgerFile), 0o644))
		}, "were set aside"},
		{"a folder for a ledger, and one where it would go", func(dir string) {
			must(t, os.Remove(filepath.Join(dir, ledgerFile)))
			must(t, os.MkdirAll(filepath.Join(dir, ledgerFile, "x"), 0o755))
			must(t, os.MkdirAll(filepath.Join(dir, ledgerFile+".damaged", "x"), 0o755))
		}, "were set aside"},
		{"a dangling link", func(dir string) { must(t, os.Symlink("/nowhere/at/all", other(dir))) }, "cannot be read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			before := opened(t, Options{Dir: dir})
			must(t, before.Append(interval("s", 0), nil))
			must(t, before.Event(load.Event{At: zero, Kind: load.ReleaseChanged, Target: "t", Release: "r1"}))
			must(t, before.Close())
			c.put(dir)

			began, asked := time.Now(), memory()
			var log bytes.Buffer
			h := opened(t, Options{Dir: dir, Log: slog.New(slog.NewTextHandler(&log, nil)), Fault: func(error) {}})
			seen := &seenWindows{}
			_ = h.Replay(context.Background(), time.Time{}, time.Time{}, seen) // reports what is damaged
			must(t, h.Append(interval("s", 1), nil))
			_ = h.Event(load.Event{At: zero.Add(time.Hour), Kind: load.ReleaseChanged, Target: "t", Release: "r2"}) // set aside at the latest by now
			must(t, h.Event(load.Event{At: zero.Add(2 * time.Hour), Kind: load.ReleaseChanged, Target: "t", Release: "r3"}))
			must(t, h.Maintain(zero.Add(time.Minute)))
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("took %v", took)
			}
			if n := memory() - asked; n > 256<<20 {
				t.Errorf("took %d MiB", n>>20)
			}
			if want := len(interval("s", 0)); seen.n != want {
				t.Errorf("%d windows are read back, want the %d that were kept", seen.n, want)
			}
			if !strings.Contains(log.String(), c.says) {
				t.Errorf("the log is %s\nwant %q in it", log.String(), c.says)
			}
			total := int64(0)
			for _, n := range h.Sizes() {
				total += n
			}
			if total > 64<<20 {
				t.Errorf("the history counts %d bytes", total)
			}
		})
	}
}

// A segmentAt names the finest segment that begins at an instant.
type segmentAt struct{ from time.Time }

func (s *segmentAt) name() string {
	return (&segment{from: s.from, to: s.from.Add(tiers[0].stretch)}).name()
}

// seenWindows counts what is replayed.
type seenWindows struct{ n int }

func (s *seenWindows) Window(*load.Window) { s.n++ }
func (s *seenWindows) Sample(load.Sample)  {}
func (s *seenWindows) Event(load.Event)    {}
