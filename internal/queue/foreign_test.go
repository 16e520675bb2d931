//go:build unix

package queue

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
)

// Whatever lies in the folder, the queue opens, takes records and gives those back that are sound, without hanging or taking memory for it.
func TestWhatLiesInTheFolderHoldsNothingUp(t *testing.T) {
	const huge = 40 << 30
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	first := func(dir string) string { return filepath.Join(dir, segmentName(1)) }
	other := func(dir string) string { return filepath.Join(dir, segmentName(0x20)) }
	for _, c := range []struct {
		name string
		put  func(dir string)
		says string
		want int // records from before
	}{
		{"a sparse segment", func(dir string) { must(os.Truncate(first(dir), huge)) }, "was cut off", 5},
		{"a sparse segment before others", func(dir string) {
			must(os.Truncate(first(dir), huge))
			must(os.WriteFile(other(dir), []byte(version), 0o644))
		}, "was cut off", 5},
		{"a hole that is no segment", func(dir string) {
			must(os.WriteFile(other(dir), nil, 0o644))
			must(os.Truncate(other(dir), huge))
		}, "none of its segments", 5},
		{"a segment of nothing but a hole", func(dir string) {
			must(os.WriteFile(other(dir), []byte(version), 0o644))
			must(os.Truncate(other(dir), huge))
		}, "was cut off", 5},
		{"a pipe of a segment's name", func(dir string) { must(syscall.Mkfifo(other(dir), 0o644)) }, "left alone", 5},
		{"a folder of a segment's name", func(dir string) { must(os.MkdirAll(filepath.Join(other(dir), "x"), 0o755)) }, "left alone", 5},
		{"a pipe where the next segment goes", func(dir string) { must(syscall.Mkfifo(filepath.Join(dir, segmentName(2)), 0o644)) }, "left alone", 5},
		{"a pipe for a position", func(dir string) {
			must(os.Remove(filepath.Join(dir, "r"+cursorSuffix)))
			must(syscall.Mkfifo(filepath.Join(dir, "r"+cursorSuffix), 0o644))
		}, "cannot be kept", 5},
		{"a segment full of marks", func(dir string) {
			must(os.WriteFile(other(dir), append([]byte(version), bytes.Repeat([]byte(frameMark+"\x00\x00\x40\x00"), 1<<19)...), 0o644))
		}, "was cut off", 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			q := opened(Options{FS: Dir(dir)})
			r := q.Reader("r")
			appendAll(t, q, 0, 5, 100)
			r.Commit(r.Saved())
			must(r.Close())
			must(q.Close())
			c.put(dir)

			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			began := time.Now()
			var log bytes.Buffer
			q = opened(Options{FS: Dir(dir), Log: slog.New(slog.NewTextHandler(&log, nil))})
			r = q.Reader("r")
			appendAll(t, q, 5, 8, 100)
			got, dropped := rest(t, r)
			runtime.ReadMemStats(&after)
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("took %v", took)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 256<<20 {
				t.Errorf("took %d MiB", n>>20)
			}
			if len(got)+len(dropped) != c.want+3 {
				t.Errorf("records %v and dropped %v come back, want %d", got, dropped, c.want+3)
			}
			if n := q.Stats().Bytes; n > 32<<20 {
				t.Errorf("the queue counts %d bytes", n)
			}
			if !strings.Contains(log.String(), c.says) {
				t.Errorf("the log is %s\nwant %q in it", log.String(), c.says)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := r.Next(ctx); err == nil {
				t.Error("there is more than there was")
			}
			must(r.Close())
			must(q.Close())
		})
	}
}
