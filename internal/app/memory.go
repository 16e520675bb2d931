package app

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"

	"github.com/perfd/perfd/internal/config"
)

// manySteps is from how many steps on most memory is what they are counted in, which lives as
// long as they do, and manyStepsGC by how many per cent the heap grows then until it is
// collected. Go's default of 100 would double that memory for garbage of which there is little:
// windows, verdicts and reloads make it, requests hardly any. A small heap keeps the default,
// as its collections would be many more.
const (
	manySteps   = 2000
	manyStepsGC = 35

	// reloadGC is the same during a reload, which for a moment takes what would be
	// collected several times over.
	reloadGC = 60
)

// loosen lets the heap of a daemon with many steps grow more until restore is called.
func loosen() (restore func()) {
	was := debug.SetGCPercent(reloadGC)
	if was != manyStepsGC {
		debug.SetGCPercent(was)
		return func() {}
	}
	return func() { debug.SetGCPercent(was) }
}

// boundGarbage sets when the heap of a daemon with a document is collected, where the
// environment does not say it by GOGC, until restore is called.
func boundGarbage(doc *config.Document) (restore func()) {
	steps, garbage := 0, false
	for _, s := range doc.Scenarios {
		steps += len(s.Program.Steps)
		for i := range s.Program.Steps {
			garbage = garbage || s.Program.Steps[i].Garbage
		}
	}
	switch {
	case os.Getenv("GOGC") != "":
	case steps >= manySteps:
		debug.SetGCPercent(manyStepsGC)
	case garbage:
		k := &keeper{was: debug.SetGCPercent(100)}
		k.adjust()
		k.watch()
		return k.stop
	}
	return func() {}
}

const (
	// roomForGarbage is how much a heap may grow at least until it is collected, in bytes, where requests leave
	// garbage. What is alive in a daemon with few steps is 10 to 20 MB, and a request of gRPC leaves 10 KB: by Go's
	// default a core that makes 40,000 of them a second would collect the heap 30 times a second, for a fifth of its time.
	roomForGarbage = 64 << 20
	// mostGC bounds the per cent that this comes to.
	mostGC = 1000
)

// percentFor returns by how many per cent a heap grows until it is collected, of which so many bytes are alive.
func percentFor(alive uint64) int {
	return int(min(mostGC, max(100, 100*roomForGarbage/max(1, alive)))) //nolint:gosec // it is at most mostGC
}

// A keeper sets after each collection when the next one is due.
type keeper struct {
	was, now int // per cent; the goroutine of finalizers owns now
	ended    atomic.Bool
}

// adjust sets the per cent by what is alive. Each setting stops all goroutines for a moment, so that small differences are let be.
func (k *keeper) adjust() {
	alive := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(alive)
	to := percentFor(alive[0].Value.Uint64())
	if 4*to > 5*k.now || 5*to < 4*k.now {
		k.now = to
		debug.SetGCPercent(to)
	}
}

// watch adjusts after the next collection, and so on.
func (k *keeper) watch() {
	type canary struct{ _ [16]byte }
	runtime.SetFinalizer(&canary{}, func(*canary) {
		if !k.ended.Load() {
			k.adjust()
			k.watch()
		}
	})
}

func (k *keeper) stop() {
	k.ended.Store(true)
	debug.SetGCPercent(k.was)
}
