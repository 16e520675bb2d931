package history

import (
	"encoding/binary"
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/perfd/perfd/internal/load"
)

var update = flag.Bool("update", false, "write testdata/v1.seg anew; only before version 1 was released")

// goldenWindows are what testdata/v1.seg holds.
func goldenWindows() ([]*load.Window, []load.Sample) {
	d := shapes(2, 500, 20*time.Millisecond)
	w := step("shop", "sign-in/login", 1)
	w.Duration, w.ResponseTime = d[0], d[1]
	w.Flags = load.Flags{WarmUp: true, Settling: true, Invalid: 5}
	w.Planned, w.Busy = 100, 2.75
	w.Failures[load.Timeout], w.Failures[load.Internal] = 3, 1
	w.Codes = []load.CodeCount{{Code: 200, Count: 500}, {Code: -1, Count: 2}}
	w.Limits, w.Good = []time.Duration{200 * time.Millisecond, time.Second}, []uint64{400, 500}
	w.Phases = [load.NumPhases]time.Duration{1, 2, 3, 4, 5}
	w.Waited, w.SentBytes, w.ReceivedBytes = time.Second, 1234, 5678
	w.Checks = []load.CheckCount{{Name: "has a token", Evaluated: 500, Failed: 1}}
	o := own(w)
	o.Iterations.Dropped[load.NoFreeVU] = 9
	o.Iterations.Spent = time.Minute
	folded := reading(1)
	folded.Count, folded.Min, folded.Max = 2, 1, 2000
	return []*load.Window{w, o}, []load.Sample{reading(1), folded}
}

func TestVersion1StaysReadable(t *testing.T) {
	const name = "10s-20260105T0000-20260105T0010.seg"
	golden := filepath.Join("testdata", "v1.seg")
	windows, samples := goldenWindows()
	if *update {
		h := opened(t, Options{})
		must(t, h.Append(windows, samples))
		text, err := os.ReadFile(filepath.Join(h.o.Dir, name))
		must(t, err)
		must(t, os.WriteFile(golden, text, 0o644))
	}
	text, err := os.ReadFile(golden)
	must(t, err)
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, name), text, 0o644))
	h, err := OpenReadOnly(dir)
	must(t, err)
	got := replayed(t, h)
	if diff := cmp.Diff(windows, got.windows, same) + cmp.Diff(samples, got.samples, same); diff != "" {
		t.Errorf("testdata/v1.seg differs (-want +got):\n%s", diff)
	}
}

// A decoder must take whatever bytes there are: no panic, and not more memory
// than a bound that goes with their length.
func FuzzSegment(f *testing.F) {
	windows, samples := goldenWindows()
	e := newEncoder()
	whole := e.samples(e.windows(nil, windows), samples)
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add([]byte(nil))
	// A frame's sum keeps hostile bytes from the decoder, so they go there directly too.
	const frameHeader = 13
	first := len(e.windows(nil, windows))
	f.Add(whole[frameHeader:first])
	f.Add(whole[first+frameHeader:])
	const name = "10s-20260105T0000-20260105T0010.seg"
	f.Fuzz(func(t *testing.T, content []byte) {
		d := newDecoder()
		defer d.close()
		for _, payload := range [][]byte{content, plain(content)} {
			if got, err := d.windows(version, touchedFrame, payload); err == nil {
				for _, w := range got {
					if w.Duration == nil || w.ResponseTime == nil || len(w.Good) != len(w.Limits) {
						t.Fatalf("windows = %+v, which is no window", w)
					}
				}
				e.windows(nil, got)
			}
			if got, err := d.samples(version, payload); err == nil {
				e.samples(nil, got)
			}
		}
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, name), append([]byte(family+"\x01"), content...), 0o644))
		h := opened(t, Options{Dir: dir, Fault: func(error) {}})
		var got heard
		_ = h.Replay(t.Context(), time.Time{}, time.Time{}, &got)
		before := len(got.windows)
		must(t, h.Append(interval("a", 7), nil))
		got = heard{}
		_ = h.Replay(t.Context(), time.Time{}, time.Time{}, &got)
		if len(got.windows) < before+3 {
			t.Fatalf("%d windows after an append to hostile bytes, want 3 more than %d", len(got.windows), before)
		}
	})
}

func TestHostileBytesTakeLittleMemory(t *testing.T) {
	many := binary.AppendUvarint(nil, 1<<40)
	packed := newEncoder().zstd.EncodeAll(make([]byte, 10*maxBody), nil)
	d := newDecoder()
	defer d.close()
	for name, payload := range map[string][]byte{
		"many strings":   plain(many),
		"many windows":   plain(append([]byte{0}, many...)),
		"a long string":  plain(append([]byte{1}, many...)),
		"a long name":    append([]byte{0}, many...),
		"a packed body":  append([]byte{0, 0, zstdBody}, packed...),
		"an unknown way": {0, 0, 7, 1, 2, 3},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		windows, err := d.windows(version, touchedFrame, payload)
		_, serr := d.samples(version, payload[2:])
		runtime.ReadMemStats(&after)
		if len(windows) > 0 || err == nil && serr == nil {
			t.Errorf("%s: %d windows and no error", name, len(windows))
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > 4*maxBody {
			t.Errorf("%s: %d bytes were allocated", name, got)
		}
	}
}

// plain makes a payload whose body are the bytes as they are.
func plain(body []byte) []byte {
	return append([]byte{0, 0, plainBody}, body...)
}
