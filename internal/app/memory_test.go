package app

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"github.com/perfd/perfd/internal/config"
)

// A heap is collected seldom where requests leave garbage and little is alive, as Go does where much is.
func TestGarbageHasRoom(t *testing.T) {
	for alive, want := range map[uint64]int{0: mostGC, 8 << 20: 800, 16 << 20: 400, 64 << 20: 100, 1 << 30: 100} {
		if got := percentFor(alive); got != want {
			t.Errorf("a heap of which %d bytes are alive grows by %d %%, want %d", alive, got, want)
		}
	}
	t.Setenv("GOGC", "")
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	file := filepath.Join(t.TempDir(), "perfd.yaml")
	must(t, os.WriteFile(file, []byte(`targets: [{name: shop, url: "http://127.0.0.1:1"}]
scenarios:
  - {name: s, test: load, target: shop, schedule: {manual: true}, workload: {executor: constant-vus}, flow: [{name: a, grpc: {method: a.B/C}}]}
`), 0o600))
	doc, err := Load(Options{ConfigFile: file})
	must(t, err)
	percent := func() uint64 { // and leaves it as it is, which a collection may adjust at any time
		gogc := []metrics.Sample{{Name: "/gc/gogc:percent"}}
		metrics.Read(gogc)
		return gogc[0].Value.Uint64()
	}
	var c collection
	c.bound(doc)
	if got := percent(); got <= 100 {
		t.Errorf("beside a step of gRPC a small heap grows by %d %%, want more than 100", got)
	}
	held := make([]byte, 256<<20)
	for end := time.Now().Add(30 * time.Second); percent() != 100; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a heap that has become large still grows by more than 100 %")
		}
		runtime.GC() // it is adjusted after a collection
	}
	runtime.KeepAlive(held)
	c.stop()
	if got := debug.SetGCPercent(100); got != 100 {
		t.Errorf("after the stop the heap grows by %d %%, want 100", got)
	}
}

// manySteps100 writes a document with 100 steps in each of some scenarios, and loads it.
func manySteps100(t *testing.T, scenarios int, step string) *config.Document {
	t.Helper()
	var c strings.Builder
	c.WriteString("targets: [{name: shop, url: \"http://127.0.0.1:1\"}]\nscenarios:\n")
	for i := range scenarios {
		fmt.Fprintf(&c, "  - name: s%d\n    test: load\n    target: shop\n    schedule: {manual: true}\n    workload: {executor: constant-vus, vus: 1}\n    flow:\n", i)
		for j := range 100 {
			fmt.Fprintf(&c, "      - {name: p%d, %s}\n", j, step)
		}
	}
	file := filepath.Join(t.TempDir(), "perfd.yaml")
	must(t, os.WriteFile(file, []byte(c.String()), 0o600))
	doc, err := Load(Options{ConfigFile: file})
	must(t, err)
	return doc
}

// A reload sets when the heap is collected for the new document, and nothing is left of the one before.
func TestAReloadSetsWhenTheHeapIsCollected(t *testing.T) {
	t.Setenv("GOGC", "")
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	calls, few := manySteps100(t, 1, "grpc: {method: a.B/C}"), manySteps100(t, 1, "http: {url: /}")
	var c collection
	percent := func() (p int) {
		c.mu.Lock()
		defer c.mu.Unlock()
		p = debug.SetGCPercent(100)
		debug.SetGCPercent(p)
		return p
	}
	c.bound(few)
	if got := percent(); got != 100 {
		t.Errorf("a small heap without garbage grows by %d %%, want 100", got)
	}
	runtime.GC() // what is alive is known of the last one
	for range 3 {
		c.bound(calls)
	}
	if got := percent(); got <= 100 {
		t.Errorf("after a reload to steps of gRPC a small heap grows by %d %%, want more than 100", got)
	}
	many := manySteps100(t, manySteps/100, "grpc: {method: a.B/C}")
	collected := func() { // finalizers run in their order, of which this one is the last
		for range 3 {
			done := make(chan struct{})
			runtime.SetFinalizer(&[16]byte{}, func(*[16]byte) { close(done) })
			for end := time.Now().Add(30 * time.Second); ; runtime.GC() {
				select {
				case <-done:
				case <-time.After(time.Millisecond):
					if time.Now().After(end) {
						t.Fatal("no finalizer ran within 30 s")
					}
					continue
				}
				break
			}
		}
	}
	func() {
		defer c.loosen()()
		c.bound(many)
	}()
	held := make([]byte, 256<<20) // by which what is alive differs, so that it would be adjusted
	collected()
	if got := percent(); got != manyStepsGC {
		t.Errorf("after a reload to many steps the heap grows by %d %%, want %d", got, manyStepsGC)
	}
	func() {
		defer c.loosen()()
		c.bound(few)
	}()
	collected()
	if got := percent(); got != 100 {
		t.Errorf("after a reload to few steps the heap grows by %d %%, want 100", got)
	}
	runtime.KeepAlive(held)
	c.stop()
}

func TestManyStepsAreCollectedSooner(t *testing.T) {
	t.Setenv("GOGC", "")
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	percent := func(scenarios int) int {
		var c collection
		defer c.stop()
		c.bound(manySteps100(t, scenarios, "http: {url: /}"))
		return debug.SetGCPercent(100)
	}
	if got := percent(manySteps/100 - 1); got != 100 {
		t.Errorf("with few steps the heap grows by %d %%, want 100", got)
	}
	if got := percent(manySteps / 100); got != manyStepsGC {
		t.Errorf("with many steps the heap grows by %d %%, want %d", got, manyStepsGC)
	}
	var c collection
	c.bound(manySteps100(t, manySteps/100, "http: {url: /}"))
	restore := c.loosen()
	if got := debug.SetGCPercent(reloadGC); got != reloadGC {
		t.Errorf("during a reload the heap grows by %d %%, want %d", got, reloadGC)
	}
	restore()
	if got := debug.SetGCPercent(manyStepsGC); got != manyStepsGC {
		t.Errorf("after a reload the heap grows by %d %%, want %d", got, manyStepsGC)
	}
	c.stop()
	debug.SetGCPercent(200)
	c.loosen()()
	if got := debug.SetGCPercent(100); got != 200 {
		t.Errorf("where it grew by 200 %% it grows by %d %% after a reload", got)
	}
	t.Setenv("GOGC", "200")
	if got := percent(manySteps / 100); got != 100 {
		t.Errorf("beside GOGC the heap grows by %d %%, want what it says", got)
	}
}
